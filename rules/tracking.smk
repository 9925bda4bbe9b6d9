rule tracking_database:
    output:
        ready="results/tracking/database.ready",
    params:
        code=fingerprint(workflow.basedir, ["workflow_scripts/tracking_database.py"]),
    log:
        "results/logs/tracking_database.log",
    conda:
        "../envs/archgauge.yaml"
    priority: 100
    resources:
        gpu=0,
    script:
        "../workflow_scripts/tracking_database.py"
