rule bundle:
    input:
        graphs=f"results/graphs/{config['bundle']['family']}.parquet",
        kinds=f"results/graphs/{config['bundle']['family']}.kinds.parquet",
        labels=f"results/labels/{config['bundle']['family']}.parquet",
    output:
        bundle="results/bundle/archgauge.bundle",
        page=report(
            "results/bundle/card.html",
            caption="captions/bundle.rst",
            category="Ranking anyone's models",
            labels={"model card": "archgauge.bundle"},
        ),
        card="results/bundle/card.md",
    log:
        "results/logs/bundle.log",
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        family=config["bundle"]["family"],
        settings={
            key: value
            for key, value in config["bundle"].items()
            if key not in ("family", "elsewhere")
        },
        code=fingerprint(
            workflow.basedir,
            [
                "workflow_scripts/bundle.py",
                f"archgauge.families.{config['bundle']['family']}",
            ],
        ),
    script:
        "../workflow_scripts/bundle.py"


# On demand: how the bundle does where other sources measured.
rule bundle_elsewhere:
    input:
        bundle="results/bundle/archgauge.bundle",
        graphs=lambda w: expand(
            "results/graphs/{family}.parquet", family=judging_families(config)
        ),
        kinds=lambda w: expand(
            "results/graphs/{family}.kinds.parquet", family=judging_families(config)
        ),
        labels=lambda w: expand(
            "results/labels/{family}.parquet", family=judging_families(config)
        ),
    output:
        metrics="results/bundle/elsewhere.metrics.parquet",
        page=report(
            "results/tables/bundle_elsewhere.html",
            caption="captions/table.rst",
            category="Tables",
            labels={"table": "The bundle on labels of other sources"},
        ),
        markdown="results/tables/bundle_elsewhere.md",
        comma_separated="results/tables/bundle_elsewhere.csv",
        latex="results/tables/bundle_elsewhere.tex",
    log:
        "results/logs/bundle_elsewhere.log",
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        settings=lambda w: {
            "families": config["bundle"]["elsewhere"],
            "judged": judging_families(config),
            "seed": config["bundle"]["seed"],
        },
        code=fingerprint(workflow.basedir, ["workflow_scripts/bundle_elsewhere.py"]),
    script:
        "../workflow_scripts/bundle_elsewhere.py"
