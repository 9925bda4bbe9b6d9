"""Which experiments, tables and figures can be made, and the fingerprint of each rule's code."""

from archgauge.config import (
    can_run,
    cluster_settings,
    clustered_embeddings,
    datasheet_settings,
    datasheet_splits,
    evaluate_settings,
    family_files,
    family_modules,
    family_table_settings,
    fetched_by,
    figures_of,
    has_labels,
    judged_on,
    label_files,
    labelled_families,
    learnt_from,
    population_files,
    predict_modules,
    predict_priority,
    predict_settings,
    predicted_settings,
    sampled,
    split_graphs,
    split_modules,
    split_settings,
    tabulated_from,
    table_settings,
)
from archgauge.fingerprint import fingerprint
from archgauge.search_config import (
    guide_of,
    guide_tables,
    judge_settings,
    search_modules,
    search_report_settings,
    search_settings,
)

EXPERIMENTS = [name for name in config["experiments"] if can_run(config, name)]
SEARCHES = [
    name
    for name, search in config["searches"].items()
    if has_labels(config, search["family"])
]
TABLES = [
    name
    for name, table in config["tables"].items()
    if table["experiment"] in EXPERIMENTS
]
FIGURES = [
    name
    for name, figure in config["figures"].items()
    if figure.get("experiment") in (None, *EXPERIMENTS)
    and ("label_family" not in figure or has_labels(config, figure["label_family"]))
]


wildcard_constraints:
    table="|".join(config["tables"]) or "(?!)",
    search="|".join(config["searches"]) or "(?!)",
