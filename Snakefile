import os

from snakemake.utils import min_version

from archgauge.config_check import check
from archgauge.tracking import send_records, tracking_uri
from archgauge.workflow_lock import clear_stale_locks, hold

min_version("9.27")


configfile: os.path.join(workflow.basedir, "config.yaml")


check(config)
if workflow.is_main_process:
    clear_stale_locks()


include: "rules/names.smk"
include: "rules/data.smk"
include: "rules/datasheets.smk"
include: "rules/representation.smk"
include: "rules/prediction.smk"
include: "rules/bundle.smk"
include: "rules/transfer.smk"
include: "rules/held_out.smk"
include: "rules/evaluation.smk"
include: "rules/search.smk"
include: "rules/figures.smk"
include: "rules/papers.smk"
include: "rules/proxies.smk"
include: "rules/graph_search.smk"
include: "rules/tracking.smk"


rule all:
    default_target: True
    input:
        expand("results/tables/{table}.md", table=TABLES + SEARCHES),
        expand("results/figures/{figure}.svg", figure=FIGURES + SEARCHES),
        BUNDLES,
        "results/tracking/database.ready",


rule datasheets:
    input:
        expand("results/datasheets/{family}.md", family=config["families"]),
        "results/datasheets/overlap.md",


onstart:
    hold()


onsuccess:
    print(send_records("results/records", tracking_uri("results")))


onerror:
    print(send_records("results/records", tracking_uri("results")))
