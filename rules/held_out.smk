# Families that are held out: learnt from several others, judged without a label of their own.
rule hold_out:
    input:
        population=lambda w: list(target_tables(config, w.held_out, w.family).values()),
        sources=lambda w: [
            path
            for family in held_out_sources(config, w.held_out, w.family)
            for path in source_tables(config, w.held_out, family).values()
        ],
        labels=lambda w: expand(
            "results/labels/{family}.parquet",
            family=held_out_sources(config, w.held_out, w.family),
        ),
    output:
        predictions="results/held_out/{held_out}/{family}.parquet",
    log:
        "results/logs/hold_out/{held_out}/{family}.log",
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        settings=lambda w: held_out_settings(config, w.held_out, w.family),
        code=lambda w: fingerprint(
            workflow.basedir,
            [
                "workflow_scripts/hold_out.py",
                *held_out_modules(config, w.held_out, w.family),
            ],
        ),
    script:
        "../workflow_scripts/hold_out.py"


rule held_out_table:
    input:
        predictions=lambda w: expand(
            "results/held_out/{{held_out}}/{family}.parquet",
            family=held_out_families(config, w.held_out),
        ),
        labels=lambda w: expand(
            "results/labels/{family}.parquet",
            family=held_out_families(config, w.held_out),
        ),
        architectures=lambda w: expand(
            "results/architectures/{family}.parquet",
            family=held_out_families(config, w.held_out),
        ),
    output:
        metrics="results/held_out/{held_out}.metrics.parquet",
        page=report(
            "results/tables/{held_out}.html",
            caption="captions/table.rst",
            category="Tables",
            labels=lambda w: {"table": config["held_out"][w.held_out]["title"]},
        ),
        markdown="results/tables/{held_out}.md",
        comma_separated="results/tables/{held_out}.csv",
        latex="results/tables/{held_out}.tex",
    log:
        "results/logs/held_out_table/{held_out}.log",
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        settings=lambda w: held_out_table_settings(config, w.held_out),
        code=lambda w: fingerprint(
            workflow.basedir,
            [
                "workflow_scripts/held_out_table.py",
                *(
                    f"archgauge.families.{family}"
                    for family in held_out_families(config, w.held_out)
                ),
            ],
        ),
    script:
        "../workflow_scripts/held_out_table.py"


# Each of these tables is a target of its own name.
for study in config["held_out"]:

    rule:
        name:
            study
        input:
            f"results/tables/{study}.md",
