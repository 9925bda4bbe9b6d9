# All that a family can list, for searches of a whole space.
rule list_space:
    output:
        architectures="results/spaces/{family}.parquet",
    log:
        "results/logs/list_space/{family}.log",
    priority: 10  # on the longest chain of jobs
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        family="{family}",
        code=lambda w: fingerprint(
            workflow.basedir,
            ["workflow_scripts/list_space.py", f"archgauge.families.{w.family}"],
        ),
    script:
        "../workflow_scripts/list_space.py"


rule search:
    input:
        architectures=lambda w: searched_space(config, w.search),
        labels=lambda w: f"results/labels/{config['searches'][w.search]['family']}.parquet",
        population=lambda w: list(guide_tables(config, w.search, w.strategy).values()),
        models=lambda w: guide_models(config, w.search, w.strategy),
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
            for strategy in strategies_of(config, w.search)
        ],
        labels=lambda w: f"results/labels/{config['searches'][w.search]['family']}.parquet",
        architectures=lambda w: searched_space(config, w.search),
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


rule search_comparison:
    input:
        metrics=lambda w: [
            f"results/search_metrics/{search}.parquet"
            for search in comparison_searches(config, w.search_table)
        ],
    output:
        page=report(
            "results/tables/{search_table}.html",
            caption="captions/search_table.rst",
            category="Tables",
            labels=lambda w: {
                "table": config["search_tables"][w.search_table]["title"]
            },
        ),
        markdown="results/tables/{search_table}.md",
        comma_separated="results/tables/{search_table}.csv",
        latex="results/tables/{search_table}.tex",
    log:
        "results/logs/search_comparison/{search_table}.log",
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        settings=lambda w: search_comparison_settings(config, w.search_table),
        code=fingerprint(workflow.basedir, ["workflow_scripts/search_comparison.py"]),
    script:
        "../workflow_scripts/search_comparison.py"


# Searches as the transferable predictor's paper makes them: its tables, and a figure of each search.
rule searches:
    input:
        expand("results/tables/{table}.md", table=config["search_tables"]),
        expand(
            "results/figures/{search}.svg",
            search=dict.fromkeys(
                search
                for table in config["search_tables"]
                for search in comparison_searches(config, table)
            ),
        ),


# Each of these tables is a target of its own name.
for table in config["search_tables"]:

    rule:
        name:
            table
        input:
            f"results/tables/{table}.md",
