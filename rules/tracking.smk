rule tracking_database:
    output:
        ready="results/tracking/database.ready",
    log:
        "results/logs/tracking_database.log",
    priority: 100
    conda:
        "../envs/archgauge.yaml"
    resources:
        gpu=0,
    params:
        code=fingerprint(workflow.basedir, ["workflow_scripts/tracking_database.py"]),
    script:
        "../workflow_scripts/tracking_database.py"
