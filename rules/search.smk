rule search:
    input:
        architectures=lambda w: f"results/architectures/{config['searches'][w.search]['family']}.parquet",
        labels=lambda w: f"results/labels/{config['searches'][w.search]['family']}.parquet",
        population=lambda w: list(guide_tables(config, w.search, w.strategy).values()),
    output:
        traces="results/search/{search}/{strategy}.parquet",
    log:
        "results/logs/search/{search}/{strategy}.log",
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        settings=lambda w: search_settings(config, w.search, w.strategy),
        code=lambda w: fingerprint(
            workflow.basedir,
            [
                "workflow_scripts/search.py",
                *search_modules(config, w.search, w.strategy),
            ],
        ),
    script:
        "../workflow_scripts/search.py"


rule judge_search:
    input:
        traces=lambda w: [
            f"results/search/{w.search}/{strategy}.parquet"
            for strategy in config["searches"][w.search]["strategies"]
        ],
        labels=lambda w: f"results/labels/{config['searches'][w.search]['family']}.parquet",
        architectures=lambda w: f"results/architectures/{config['searches'][w.search]['family']}.parquet",
    output:
        metrics="results/search_metrics/{search}.parquet",
    log:
        "results/logs/judge_search/{search}.log",
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        settings=lambda w: judge_settings(config, w.search),
        code=fingerprint(workflow.basedir, ["workflow_scripts/judge_search.py"]),
    script:
        "../workflow_scripts/judge_search.py"


rule search_table:
    input:
        metrics="results/search_metrics/{search}.parquet",
    output:
        page=report(
            "results/tables/{search}.html",
            caption="captions/search_table.rst",
            category="Tables",
            labels=lambda w: {"table": config["searches"][w.search]["title"]},
        ),
        markdown="results/tables/{search}.md",
        comma_separated="results/tables/{search}.csv",
        latex="results/tables/{search}.tex",
    log:
        "results/logs/search_table/{search}.log",
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        settings=lambda w: search_report_settings(config, w.search),
        code=fingerprint(workflow.basedir, ["workflow_scripts/search_table.py"]),
    script:
        "../workflow_scripts/search_table.py"


rule search_figure:
    input:
        metrics="results/search_metrics/{search}.parquet",
    output:
        figure=report(
            "results/figures/{search}.svg",
            caption="captions/search.rst",
            category="Figures",
            labels=lambda w: {"figure": config["searches"][w.search]["title"]},
        ),
    log:
        "results/logs/search_figure/{search}.log",
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        settings=lambda w: search_report_settings(config, w.search),
        code=fingerprint(workflow.basedir, ["workflow_scripts/search_figure.py"]),
    script:
        "../workflow_scripts/search_figure.py"
