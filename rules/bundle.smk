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
            key: value for key, value in config["bundle"].items() if key != "family"
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
