# Tables and figures that describe families, by the names they have in the papers.
rule gennape_table2:
    input:
        labels=[
            f"results/labels/{family}.parquet"
            for family in labelled_families(config, "gennape_table2")
        ],
    output:
        page=report(
            "results/tables/gennape_table2.html",
            caption="captions/gennape_table2.rst",
            category="Tables",
            labels={"table": "GENNAPE, Table 2"},
        ),
        markdown="results/tables/gennape_table2.md",
        comma_separated="results/tables/gennape_table2.csv",
        latex="results/tables/gennape_table2.tex",
    log:
        "results/logs/gennape_table2.log",
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        labelled=labelled_families(config, "gennape_table2"),
        settings=family_table_settings(config, "gennape_table2"),
        code=fingerprint(
            workflow.basedir,
            ["workflow_scripts/family_table.py"]
            + family_modules(config, "gennape_table2"),
        ),
    script:
        "../workflow_scripts/family_table.py"


rule gennape_figure2:
    input:
        labels=[
            f"results/labels/{family}.parquet"
            for family in labelled_families(config, "gennape_figure2")
        ],
        graphs=[
            f"results/graphs/{family}.parquet"
            for family in config["papers"]["gennape_figure2"]["families"]
        ],
    output:
        figure=report(
            "results/figures/gennape_figure2.svg",
            caption="captions/gennape_figure2.rst",
            category="Figures",
            labels={"figure": "GENNAPE, Figure 2"},
        ),
    log:
        "results/logs/gennape_figure2.log",
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        labelled=labelled_families(config, "gennape_figure2"),
        settings=family_table_settings(config, "gennape_figure2"),
        code=fingerprint(
            workflow.basedir,
            ["workflow_scripts/family_figure.py"]
            + family_modules(config, "gennape_figure2"),
        ),
    script:
        "../workflow_scripts/family_figure.py"


rule transferable_table5:
    output:
        page=report(
            "results/tables/transferable_table5.html",
            caption="captions/transferable_table5.rst",
            category="Tables",
            labels={"table": "The transferable predictor, Table 5"},
        ),
        markdown="results/tables/transferable_table5.md",
        comma_separated="results/tables/transferable_table5.csv",
        latex="results/tables/transferable_table5.tex",
    log:
        "results/logs/transferable_table5.log",
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        code=fingerprint(workflow.basedir, ["workflow_scripts/operations_table.py"]),
    script:
        "../workflow_scripts/operations_table.py"
