# GENNAPE's search by mutating computation graphs: on demand, by `snakemake gennape_table7`.
rule graph_search:
    input:
        models=lambda w: guide_inputs(config, w.family)["models"],
        encoder=lambda w: guide_inputs(config, w.family)["encoder"],
        clusters=lambda w: guide_inputs(config, w.family)["clusters"],
        population=lambda w: guide_inputs(config, w.family)["population"],
        splits=lambda w: guide_inputs(config, w.family)["splits"],
        architectures=lambda w: start_inputs(config, w.family)["architectures"],
        labels=lambda w: start_inputs(config, w.family)["labels"],
    output:
        candidates="results/graph_search/{family}.candidates.parquet",
        graphs="results/graph_search/{family}.parquet",
        kinds="results/graph_search/{family}.kinds.parquet",
    log:
        "results/logs/graph_search/{family}.log",
    wildcard_constraints:
        family="|".join(config["papers"]["gennape_table7"]["families"]),
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=1,
    params:
        settings=lambda w: graph_search_settings(config, w.family),
        backend=config["message_passing"],
        code=lambda w: fingerprint(
            workflow.basedir,
            [
                "workflow_scripts/graph_search.py",
                *graph_search_modules(config, w.family),
            ],
        ),
    script:
        "../workflow_scripts/graph_search.py"


rule train_network:
    input:
        graphs="results/graph_search/{family}.parquet",
        kinds="results/graph_search/{family}.kinds.parquet",
        images=cifar10_folder(config),
    output:
        trained="results/graph_search/trained/{family}/{network}/{seed}.parquet",
    log:
        "results/logs/train_network/{family}/{network}/{seed}.log",
    wildcard_constraints:
        family="|".join(config["papers"]["gennape_table7"]["families"]),
        network="|".join(NETWORKS),
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=1,
    params:
        network="{network}",
        seed=lambda w: int(w.seed),
        recipe=lambda w: recipe_of(config, w.family),
        code=fingerprint(workflow.basedir, ["workflow_scripts/train_network.py"]),
    script:
        "../workflow_scripts/train_network.py"


rule gennape_table7:
    input:
        candidates=[
            f"results/graph_search/{family}.candidates.parquet"
            for family in searched_families(config)
        ],
        graphs=[
            f"results/graph_search/{family}.parquet"
            for family in searched_families(config)
        ],
        trained=trained_files(config),
        clusters=(
            cluster_files(config, [config["papers"]["gennape_table7"]["guide"]])
            if searched_families(config)
            else []
        ),
    output:
        page=report(
            "results/tables/gennape_table7.html",
            caption="captions/gennape_table7.rst",
            category="Tables",
            labels={"table": "GENNAPE, Table 7"},
        ),
        markdown="results/tables/gennape_table7.md",
        comma_separated="results/tables/gennape_table7.csv",
        latex="results/tables/gennape_table7.tex",
    log:
        "results/logs/gennape_table7.log",
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        families=searched_families(config),
        settings=mutation_table_settings(config),
        code=fingerprint(workflow.basedir, ["workflow_scripts/mutation_table.py"]),
    script:
        "../workflow_scripts/mutation_table.py"


rule gennape_figure5:
    input:
        embeddings=[
            f"results/embeddings/{config['papers']['gennape_figure5']['encoder']}/{family}.parquet"
            for family in config["papers"]["gennape_figure5"]["families"]
        ],
    output:
        figure=report(
            "results/figures/gennape_figure5.svg",
            caption="captions/gennape_figure5.rst",
            category="Figures",
            labels={"figure": "GENNAPE, Figure 5"},
        ),
    log:
        "results/logs/gennape_figure5.log",
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        titles=[
            datasheet_of(family)["title"]
            for family in config["papers"]["gennape_figure5"]["families"]
        ],
        title=config["papers"]["gennape_figure5"]["title"],
        encoder=config["papers"]["gennape_figure5"]["encoder"],
        shown=config["papers"]["gennape_figure5"]["shown"],
        code=fingerprint(workflow.basedir, ["workflow_scripts/family_embedding.py"]),
    script:
        "../workflow_scripts/family_embedding.py"
