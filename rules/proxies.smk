# Zero-cost proxies: on demand, because they take minutes to hours. `snakemake proxies_report` makes all tables.
rule published_proxies:
    input:
        collected=lambda w: published_files(config, w.family),
    output:
        proxies="results/proxies/published/{family}.parquet",
    log:
        "results/logs/published_proxies/{family}.log",
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        family="{family}",
        code=lambda w: fingerprint(
            workflow.basedir,
            [
                "workflow_scripts/published_proxies.py",
                f"archgauge.families.{w.family}",
            ],
        ),
    script:
        "../workflow_scripts/published_proxies.py"


rule proxy_sample:
    input:
        architectures=lambda w: f"results/architectures/{config['proxies'][w.proxies]['family']}.parquet",
        published=lambda w: sampled_from(config, w.proxies),
    output:
        sample="results/proxies/samples/{proxies}.parquet",
    log:
        "results/logs/proxy_sample/{proxies}.log",
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        settings=lambda w: sample_settings(config, w.proxies),
        code=fingerprint(workflow.basedir, ["workflow_scripts/proxy_sample.py"]),
    script:
        "../workflow_scripts/proxy_sample.py"


rule proxy_graphs:
    input:
        architectures="results/proxies/samples/{proxies}.parquet",
    output:
        graphs="results/proxies/graphs/{proxies}.parquet",
        kinds="results/proxies/graphs/{proxies}.kinds.parquet",
    log:
        "results/logs/proxy_graphs/{proxies}.log",
    conda:
        "../envs/archgauge.yaml"
    threads: 2
    resources:
        gpu=0,
    params:
        family=lambda w: config["proxies"][w.proxies]["family"],
        options=lambda w: proxy_graph_options(config, w.proxies),
        code=lambda w: fingerprint(
            workflow.basedir,
            [
                "workflow_scripts/convert.py",
                f"archgauge.families.{config['proxies'][w.proxies]['family']}",
            ],
        ),
    script:
        "../workflow_scripts/convert.py"


rule proxies:
    input:
        sample="results/proxies/samples/{proxies}.parquet",
        graphs="results/proxies/graphs/{proxies}.parquet",
        kinds="results/proxies/graphs/{proxies}.kinds.parquet",
        images=lambda w: proxy_images(config, w.proxies),
    output:
        proxies="results/proxies/{proxies}.parquet",
    log:
        "results/logs/proxies/{proxies}.log",
    conda:
        "../envs/archgauge.yaml"
    threads: 2
    resources:
        gpu=0,
    params:
        settings=lambda w: proxy_settings(config, w.proxies),
        code=lambda w: fingerprint(
            workflow.basedir,
            ["workflow_scripts/proxies.py", *proxy_modules(config, w.proxies)],
        ),
    script:
        "../workflow_scripts/proxies.py"


rule proxy_table:
    input:
        proxies="results/proxies/{proxies}.parquet",
        graphs="results/proxies/graphs/{proxies}.parquet",
        kinds="results/proxies/graphs/{proxies}.kinds.parquet",
        published=lambda w: published_table(
            config, config["proxies"][w.proxies]["family"]
        ),
        collected=lambda w: published_files(
            config, config["proxies"][w.proxies]["family"]
        ),
        labels=lambda w: proxy_labels(config, w.proxies),
    output:
        page=report(
            "results/tables/proxies_{proxies}.html",
            caption="captions/proxies.rst",
            category="Tables",
            labels={"table": "Zero-cost proxies, {proxies}"},
        ),
        markdown="results/tables/proxies_{proxies}.md",
        comma_separated="results/tables/proxies_{proxies}.csv",
        latex="results/tables/proxies_{proxies}.tex",
    log:
        "results/logs/proxy_table/{proxies}.log",
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        settings=lambda w: comparison_settings(config, w.proxies),
        code=lambda w: fingerprint(
            workflow.basedir,
            [
                "workflow_scripts/proxy_table.py",
                f"archgauge.families.{config['proxies'][w.proxies]['family']}",
            ],
        ),
    script:
        "../workflow_scripts/proxy_table.py"


rule proxies_report:
    input:
        expand(
            "results/tables/proxies_{proxies}.md",
            proxies=[name for name in config["proxies"] if can_score(config, name)],
        ),
        expand("results/tables/{paper}.md", paper=PAPERS),
