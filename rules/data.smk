rule tabulate:
    input:
        published=lambda w: tabulated_from(config, w.family),
    output:
        architectures="results/architectures/{family}.parquet",
    log:
        "results/logs/tabulate/{family}.log",
    priority: 10  # on the longest chain of jobs
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        family="{family}",
        source=lambda w: config["families"][w.family]["labels"]["source"],
        sample=lambda w: sampled(config, w.family),
        seed=lambda w: config["families"][w.family]["seed"],
        code=lambda w: fingerprint(
            workflow.basedir,
            ["workflow_scripts/tabulate.py", f"archgauge.families.{w.family}"],
        ),
    script:
        "../workflow_scripts/tabulate.py"


rule label:
    input:
        published=lambda w: label_files(config, w.family),
    output:
        labels="results/labels/{family}.parquet",
    log:
        "results/logs/label/{family}.log",
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        family="{family}",
        source=lambda w: config["families"][w.family]["labels"]["source"],
        code=lambda w: fingerprint(
            workflow.basedir,
            ["workflow_scripts/label.py", f"archgauge.families.{w.family}"],
        ),
    script:
        "../workflow_scripts/label.py"


rule convert:
    input:
        architectures="results/architectures/{family}.parquet",
    output:
        graphs="results/graphs/{family}.parquet",
        kinds="results/graphs/{family}.kinds.parquet",
    log:
        "results/logs/convert/{family}.log",
    priority: 10  # on the longest chain of jobs
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        family="{family}",
        options=lambda w: config["families"][w.family]["graph"],
        code=lambda w: fingerprint(
            workflow.basedir,
            ["workflow_scripts/convert.py", f"archgauge.families.{w.family}"],
        ),
    script:
        "../workflow_scripts/convert.py"


rule spectra:
    input:
        graphs="results/graphs/{family}.parquet",
        kinds="results/graphs/{family}.kinds.parquet",
    output:
        spectra="results/spectra/{family}.parquet",
    log:
        "results/logs/spectra/{family}.log",
    priority: 10  # on the longest chain of jobs
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        eigenvalues=config["spectrum"]["eigenvalues"],
        code=fingerprint(workflow.basedir, ["workflow_scripts/spectra.py"]),
    script:
        "../workflow_scripts/spectra.py"


rule structures:
    input:
        graphs="results/graphs/{family}.parquet",
        kinds="results/graphs/{family}.kinds.parquet",
    output:
        structures="results/structures/{family}.parquet",
    log:
        "results/logs/structures/{family}.log",
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        code=fingerprint(workflow.basedir, ["workflow_scripts/structures.py"]),
    script:
        "../workflow_scripts/structures.py"


rule compositions:
    input:
        graphs="results/graphs/{family}.parquet",
        kinds="results/graphs/{family}.kinds.parquet",
    output:
        compositions="results/compositions/{family}.parquet",
    log:
        "results/logs/compositions/{family}.log",
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        code=fingerprint(workflow.basedir, ["workflow_scripts/compositions.py"]),
    script:
        "../workflow_scripts/compositions.py"
