import os

from snakemake.utils import min_version

from archgauge.config import check
from archgauge.tracking import tracking_uri

min_version("9.27")


configfile: os.path.join(workflow.basedir, "config.yaml")


check(config)


include: "rules/names.smk"
include: "rules/data.smk"
include: "rules/representation.smk"
include: "rules/prediction.smk"
include: "rules/evaluation.smk"
include: "rules/figures.smk"
include: "rules/tracking.smk"


rule all:
    default_target: True
    input:
        expand("results/tables/{table}.md", table=TABLES),
        expand("results/figures/{figure}.svg", figure=FIGURES),
        "results/tracking/database.ready",


onsuccess:
    shell(f"python -m archgauge.tracking send results/records {tracking_uri('results')}")


onerror:
    shell(f"python -m archgauge.tracking send results/records {tracking_uri('results')}")
