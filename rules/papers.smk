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


rule transferable_table1:
    input:
        proxies=[
            f"results/proxies/{name}.parquet"
            for name in paper_sets(config, "transferable_table1")
        ],
        graphs=[
            f"results/proxies/graphs/{name}.parquet"
            for name in paper_sets(config, "transferable_table1")
        ],
        labels=lambda w: [
            proxy_labels(config, name)
            for name in paper_sets(config, "transferable_table1")
        ],
        whole=[
            f"results/graphs/{family}.parquet"
            for family in paper_published(config, "transferable_table1")
        ],
        published=[
            f"results/proxies/published/{family}.parquet"
            for family in paper_published(config, "transferable_table1")
        ],
        metrics=[
            f"results/metrics/{experiment}.parquet"
            for experiment in paper_experiments(config, "transferable_table1")
        ],
    output:
        page=report(
            "results/tables/transferable_table1.html",
            caption="captions/transferable_table1.rst",
            category="Tables",
            labels={"table": "The transferable predictor, Table 1"},
        ),
        markdown="results/tables/transferable_table1.md",
        comma_separated="results/tables/transferable_table1.csv",
        latex="results/tables/transferable_table1.tex",
    log:
        "results/logs/transferable_table1.log",
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        paper="transferable_table1",
        settings=paper_settings(config, "transferable_table1"),
        code=fingerprint(
            workflow.basedir,
            ["workflow_scripts/proxy_paper.py"]
            + family_modules(config, "transferable_table1"),
        ),
    script:
        "../workflow_scripts/proxy_paper.py"


rule gennape_table1:
    input:
        proxies=[
            f"results/proxies/{name}.parquet"
            for name in paper_sets(config, "gennape_table1")
        ],
        graphs=[
            f"results/proxies/graphs/{name}.parquet"
            for name in paper_sets(config, "gennape_table1")
        ],
        labels=lambda w: [
            proxy_labels(config, name) for name in paper_sets(config, "gennape_table1")
        ],
        whole=[
            f"results/graphs/{family}.parquet"
            for family in paper_published(config, "gennape_table1")
        ],
        published=[
            f"results/proxies/published/{family}.parquet"
            for family in paper_published(config, "gennape_table1")
        ],
        metrics=[
            f"results/metrics/{experiment}.parquet"
            for experiment in paper_experiments(config, "gennape_table1")
        ],
    output:
        page=report(
            "results/tables/gennape_table1.html",
            caption="captions/gennape_table1.rst",
            category="Tables",
            labels={"table": "GENNAPE, Table 1"},
        ),
        markdown="results/tables/gennape_table1.md",
        comma_separated="results/tables/gennape_table1.csv",
        latex="results/tables/gennape_table1.tex",
    log:
        "results/logs/gennape_table1.log",
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        paper="gennape_table1",
        settings=paper_settings(config, "gennape_table1"),
        code=fingerprint(
            workflow.basedir,
            ["workflow_scripts/proxy_paper.py"]
            + family_modules(config, "gennape_table1"),
        ),
    script:
        "../workflow_scripts/proxy_paper.py"
