# Transfers: a predictor is trained once on a source, one family or several, and goes to every target.
rule source:
    input:
        population=lambda w: source_files(config, w.experiment, w.predictor),
        labels=lambda w: source_labels(config, w.experiment),
        splits=lambda w: source_splits(config, w.experiment),
    output:
        model="results/sources/{experiment}/{predictor}/{seed}.pt",
        predictions="results/sources/{experiment}/{predictor}/{seed}.parquet",
    log:
        "results/logs/source/{experiment}/{predictor}/{seed}.log",
    wildcard_constraints:
        experiment=experiments_of(config, "source", "joint_source"),
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        settings=lambda w: source_settings(config, w.experiment, w.predictor, w.seed),
        code=lambda w: fingerprint(
            workflow.basedir,
            [
                "workflow_scripts/source.py",
                *transfer_modules(config, w.experiment, w.predictor),
            ],
        ),
    script:
        "../workflow_scripts/source.py"


rule transfer:
    input:
        population=lambda w: population_files(
            config, w.experiment, w.predictor, "family"
        ),
        models=lambda w: transferred_files(config, w.experiment, w.predictor),
        labels=lambda w: f"results/labels/{config['experiments'][w.experiment]['family']}.parquet",
        splits="results/splits/{experiment}.parquet",
    output:
        predictions="results/predictions/{experiment}/{predictor}.parquet",
    log:
        "results/logs/transfer/{experiment}/{predictor}.log",
    wildcard_constraints:
        experiment=experiments_of(config, "transfer"),
        predictor=predictors_with(config, "module"),
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        settings=lambda w: transfer_settings(config, w.experiment, w.predictor),
        code=lambda w: fingerprint(
            workflow.basedir,
            [
                "workflow_scripts/transfer.py",
                *transfer_modules(config, w.experiment, w.predictor),
            ],
        ),
    script:
        "../workflow_scripts/transfer.py"


rule ensemble:
    input:
        members=lambda w: ensemble_members(config, w.experiment, w.predictor),
        models=lambda w: ensemble_models(config, w.experiment, w.predictor),
        labels=lambda w: f"results/labels/{config['experiments'][w.experiment]['family']}.parquet",
        splits="results/splits/{experiment}.parquet",
    output:
        predictions="results/predictions/{experiment}/{predictor}.parquet",
    log:
        "results/logs/ensemble/{experiment}/{predictor}.log",
    wildcard_constraints:
        experiment=experiments_of(config, "transfer"),
        predictor=predictors_with(config, "members"),
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        settings=lambda w: ensemble_settings(config, w.experiment, w.predictor),
        code=fingerprint(workflow.basedir, ["workflow_scripts/ensemble.py"]),
    script:
        "../workflow_scripts/ensemble.py"


rule transfer_table:
    input:
        metrics=lambda w: transfer_metrics(config, w.transfer_table),
        clusters=lambda w: cluster_files(
            config, config["transfer_tables"][w.transfer_table]["predictors"]
        ),
    output:
        page=report(
            "results/tables/{transfer_table}.html",
            caption="captions/table.rst",
            category="Tables",
            labels=lambda w: {
                "table": config["transfer_tables"][w.transfer_table]["title"]
            },
        ),
        markdown="results/tables/{transfer_table}.md",
        comma_separated="results/tables/{transfer_table}.csv",
        latex="results/tables/{transfer_table}.tex",
    log:
        "results/logs/transfer_table/{transfer_table}.log",
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        settings=lambda w: transfer_table_settings(config, w.transfer_table),
        code=fingerprint(workflow.basedir, ["workflow_scripts/transfer_table.py"]),
    script:
        "../workflow_scripts/transfer_table.py"


TRANSFERS = [
    *config["transfer_tables"],
    *(
        name
        for name, table in config["tables"].items()
        if config["experiments"][table["experiment"]]["protocol"]
        in ("source", "transfer")
    ),
]


rule bars:
    input:
        expand("results/tables/{table}.md", table=TRANSFERS),


# Each of these tables is a target of its own name.
for table in TRANSFERS:

    rule:
        name:
            table
        input:
            f"results/tables/{table}.md",
