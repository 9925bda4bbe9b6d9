rule download:
    output:
        ready="results/downloads/{file}.ready",
    log:
        "results/logs/download/{file}.log",
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        family=lambda w: fetched_by(config, w.file)["family"],
        source=lambda w: fetched_by(config, w.file)["source"],
        code=fingerprint(workflow.basedir, ["workflow_scripts/download.py"]),
    script:
        "../workflow_scripts/download.py"


rule datasheet:
    input:
        graphs="results/graphs/{family}.parquet",
        labels=lambda w: (
            [f"results/labels/{w.family}.parquet"]
            if has_labels(config, w.family)
            else []
        ),
        splits=lambda w: [
            f"results/splits/{experiment}.parquet"
            for experiment in datasheet_splits(config, w.family)
        ],
    output:
        page=report(
            "results/datasheets/{family}.html",
            caption="captions/datasheet.rst",
            category="Data sheets",
            labels={"data sheet": "{family}"},
        ),
        sheet="results/datasheets/{family}.md",
        figure="results/figures/datasheet_{family}.svg",
    log:
        "results/logs/datasheet/{family}.log",
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        family="{family}",
        settings=lambda w: datasheet_settings(config, w.family),
        code=lambda w: fingerprint(
            workflow.basedir,
            ["workflow_scripts/datasheet.py", f"archgauge.families.{w.family}"],
        ),
    script:
        "../workflow_scripts/datasheet.py"


rule overlap:
    input:
        graphs=expand("results/graphs/{family}.parquet", family=config["families"]),
    output:
        page=report(
            "results/datasheets/overlap.html",
            caption="captions/overlap.rst",
            category="Data sheets",
            labels={"data sheet": "overlap"},
        ),
        markdown="results/datasheets/overlap.md",
    log:
        "results/logs/overlap.log",
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        families=list(config["families"]),
        code=fingerprint(workflow.basedir, ["workflow_scripts/overlap.py"]),
    script:
        "../workflow_scripts/overlap.py"
