rule figure_predicted:
    input:
        predictions=lambda w: "results/predictions/{experiment}/{predictor}.parquet".format(
            **config["figures"][w.figure]
        ),
        splits=lambda w: f"results/splits/{config['figures'][w.figure]['experiment']}.parquet",
        labels=lambda w: f"results/labels/{judged_on(config, w.figure)}.parquet",
    output:
        figure=report(
            "results/figures/{figure}.svg",
            caption="captions/predicted.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
    log:
        "results/logs/figure/{figure}.log",
    wildcard_constraints:
        figure=figures_of(config, "predicted"),
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        settings=lambda w: predicted_settings(config, w.figure),
        code=fingerprint(workflow.basedir, ["workflow_scripts/figure_predicted.py"]),
    script:
        "../workflow_scripts/figure_predicted.py"


rule figure_embedding:
    input:
        embeddings=lambda w: [
            f"results/embeddings/{config['figures'][w.figure]['encoder']}/{family}.parquet"
            for family in config["figures"][w.figure]["families"]
        ],
        labels=lambda w: f"results/labels/{config['figures'][w.figure]['label_family']}.parquet",
    output:
        figure=report(
            "results/figures/{figure}.svg",
            caption="captions/embedding.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
    log:
        "results/logs/figure/{figure}.log",
    wildcard_constraints:
        figure=figures_of(config, "embedding"),
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        settings=lambda w: dict(config["figures"][w.figure]),
        code=fingerprint(workflow.basedir, ["workflow_scripts/figure_embedding.py"]),
    script:
        "../workflow_scripts/figure_embedding.py"


rule figure_memberships:
    input:
        memberships=lambda w: "results/memberships/{clustering}/{family}.parquet".format(
            **config["figures"][w.figure]
        ),
    output:
        figure=report(
            "results/figures/{figure}.svg",
            caption="captions/memberships.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
    log:
        "results/logs/figure/{figure}.log",
    wildcard_constraints:
        figure=figures_of(config, "memberships"),
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        settings=lambda w: dict(config["figures"][w.figure]),
        code=fingerprint(workflow.basedir, ["workflow_scripts/figure_memberships.py"]),
    script:
        "../workflow_scripts/figure_memberships.py"


rule figure_pretraining:
    input:
        losses=lambda w: expand(
            "results/encoders/{encoder}.losses.parquet",
            encoder=config["figures"][w.figure]["encoders"],
        ),
    output:
        figure=report(
            "results/figures/{figure}.svg",
            caption="captions/pretraining.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
    log:
        "results/logs/figure/{figure}.log",
    wildcard_constraints:
        figure=figures_of(config, "pretraining"),
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        code=fingerprint(workflow.basedir, ["workflow_scripts/figure_pretraining.py"]),
    script:
        "../workflow_scripts/figure_pretraining.py"
