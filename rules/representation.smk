rule pretrain:
    input:
        graphs=lambda w: family_files(config, w.encoder, "results/graphs/{}.parquet"),
        kinds=lambda w: family_files(
            config, w.encoder, "results/graphs/{}.kinds.parquet"
        ),
        spectra=lambda w: family_files(config, w.encoder, "results/spectra/{}.parquet"),
    output:
        encoder="results/encoders/{encoder}.pt",
        losses="results/encoders/{encoder}.losses.parquet",
    log:
        "results/logs/pretrain/{encoder}.log",
    priority: 10  # on the longest chain of jobs
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=1,
    params:
        name="{encoder}",
        shape=lambda w: config["encoders"][w.encoder]["shape"],
        training=lambda w: config["encoders"][w.encoder]["training"],
        most=lambda w: config["encoders"][w.encoder].get("graphs"),
        seed=lambda w: config["encoders"][w.encoder]["seed"],
        eigenvalues=config["spectrum"]["eigenvalues"],
        backend=config["message_passing"],
        code=fingerprint(workflow.basedir, ["workflow_scripts/pretrain.py"]),
    script:
        "../workflow_scripts/pretrain.py"


rule embed:
    input:
        encoder="results/encoders/{encoder}.pt",
        graphs="results/graphs/{family}.parquet",
        kinds="results/graphs/{family}.kinds.parquet",
    output:
        embeddings="results/embeddings/{encoder}/{family}.parquet",
    log:
        "results/logs/embed/{encoder}/{family}.log",
    priority: 10  # on the longest chain of jobs
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=1,
    params:
        backend=config["message_passing"],
        code=fingerprint(workflow.basedir, ["workflow_scripts/embed.py"]),
    script:
        "../workflow_scripts/embed.py"


rule cluster:
    input:
        embeddings=lambda w: clustered_embeddings(config, w.clustering),
        graphs=lambda w: f"results/graphs/{config['clusterings'][w.clustering]['family']}.parquet",
    output:
        clusters="results/clusters/{clustering}.npz",
    log:
        "results/logs/cluster/{clustering}.log",
    priority: 10  # on the longest chain of jobs
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        settings=lambda w: cluster_settings(config, w.clustering),
        seed=lambda w: config["clusterings"][w.clustering]["seed"],
        code=fingerprint(workflow.basedir, ["workflow_scripts/cluster.py"]),
    script:
        "../workflow_scripts/cluster.py"


rule memberships:
    input:
        clusters="results/clusters/{clustering}.npz",
        embeddings=lambda w: f"results/embeddings/{config['clusterings'][w.clustering]['encoder']}/{w.family}.parquet",
        graphs="results/graphs/{family}.parquet",
    output:
        memberships="results/memberships/{clustering}/{family}.parquet",
    log:
        "results/logs/memberships/{clustering}/{family}.log",
    priority: 10  # on the longest chain of jobs
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        code=fingerprint(workflow.basedir, ["workflow_scripts/memberships.py"]),
    script:
        "../workflow_scripts/memberships.py"
