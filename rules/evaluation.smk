rule evaluate:
    input:
        predictions=lambda w: prediction_files(config, w.experiment),
        splits="results/splits/{experiment}.parquet",
        labels=lambda w: f"results/labels/{config['experiments'][w.experiment]['family']}.parquet",
        architectures=lambda w: f"results/architectures/{config['experiments'][w.experiment]['family']}.parquet",
        graphs=lambda w: f"results/graphs/{config['experiments'][w.experiment]['family']}.parquet",
    output:
        metrics="results/metrics/{experiment}.parquet",
    log:
        "results/logs/evaluate/{experiment}.log",
    wildcard_constraints:
        experiment=experiments_of(config, *JUDGED),
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        settings=lambda w: evaluate_settings(config, w.experiment),
        code=lambda w: fingerprint(
            workflow.basedir,
            [
                "workflow_scripts/evaluate.py",
                f"archgauge.families.{config['experiments'][w.experiment]['family']}",
            ],
        ),
    script:
        "../workflow_scripts/evaluate.py"


rule table:
    input:
        metrics=lambda w: f"results/metrics/{config['tables'][w.table]['experiment']}.parquet",
        clusters=lambda w: cluster_files(
            config,
            config["experiments"][config["tables"][w.table]["experiment"]][
                "predictors"
            ],
        ),
    output:
        page=report(
            "results/tables/{table}.html",
            caption="captions/table.rst",
            category="Tables",
            labels=lambda w: {"table": config["tables"][w.table]["title"]},
        ),
        markdown="results/tables/{table}.md",
        comma_separated="results/tables/{table}.csv",
        latex="results/tables/{table}.tex",
    log:
        "results/logs/table/{table}.log",
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        settings=lambda w: table_settings(config, w.table),
        code=fingerprint(workflow.basedir, ["workflow_scripts/table.py"]),
    script:
        "../workflow_scripts/table.py"
