rule split:
    input:
        architectures=lambda w: f"results/architectures/{learnt_from(config, w.experiment)}.parquet",
        labels=lambda w: f"results/labels/{learnt_from(config, w.experiment)}.parquet",
        graphs=lambda w: split_graphs(config, w.experiment),
    output:
        splits="results/splits/{experiment}.parquet",
    log:
        "results/logs/split/{experiment}.log",
    wildcard_constraints:
        experiment=experiments_of(config, *JUDGED),
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        settings=lambda w: split_settings(config, w.experiment),
        code=lambda w: fingerprint(
            workflow.basedir,
            ["workflow_scripts/split.py", *split_modules(config, w.experiment)],
        ),
    script:
        "../workflow_scripts/split.py"


rule predict:
    input:
        population=lambda w: population_files(
            config, w.experiment, w.predictor, "family"
        ),
        source=lambda w: population_files(config, w.experiment, w.predictor, "source"),
        labels=lambda w: f"results/labels/{learnt_from(config, w.experiment)}.parquet",
        splits="results/splits/{experiment}.parquet",
    output:
        predictions="results/predictions/{experiment}/{predictor}.parquet",
    log:
        "results/logs/predict/{experiment}/{predictor}.log",
    wildcard_constraints:
        experiment=experiments_of(config, "few_label", "zero_shot"),
    priority: lambda w: predict_priority(config, w.predictor)
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        settings=lambda w: predict_settings(config, w.experiment, w.predictor),
        code=lambda w: fingerprint(
            workflow.basedir,
            [
                "workflow_scripts/predict.py",
                *predict_modules(config, w.experiment, w.predictor),
            ],
        ),
    script:
        "../workflow_scripts/predict.py"
