"""Which experiments, tables and figures can be made, and the fingerprint of each rule's code."""

from archgauge.config import (
    by_default,
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
    judging_families,
    judged_on,
    label_files,
    labelled_families,
    learnt_from,
    population_files,
    population_tables,
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
from archgauge.graph_search_config import (
    NETWORKS,
    cifar10_folder,
    graph_search_modules,
    graph_search_settings,
    guide_inputs,
    mutation_table_settings,
    recipe_of,
    searched_families,
    start_inputs,
    trained_files,
)
from archgauge.held_out_config import (
    held_out_families,
    held_out_modules,
    held_out_settings,
    held_out_sources,
    held_out_table_settings,
    source_tables,
    target_tables,
)
from archgauge.proxy_config import (
    PAPERS,
    can_score,
    comparison_settings,
    paper_experiments,
    paper_published,
    paper_sets,
    paper_settings,
    proxy_graph_options,
    proxy_images,
    proxy_labels,
    proxy_modules,
    proxy_settings,
    published_files,
    published_table,
    sample_settings,
    sampled_from,
)
from archgauge.search_config import (
    comparison_searches,
    guide_of,
    guide_models,
    guide_tables,
    judge_settings,
    search_comparison_settings,
    search_modules,
    search_report_settings,
    search_settings,
    searched_by_default,
    searched_space,
    strategies_of,
)
from archgauge.signatures import datasheet_of
from archgauge.transfer_config import (
    cluster_files,
    ensemble_members,
    ensemble_models,
    ensemble_settings,
    experiments_of,
    prediction_files,
    predictors_with,
    source_files,
    source_labels,
    source_settings,
    source_splits,
    transfer_metrics,
    transfer_modules,
    transfer_settings,
    transfer_table_settings,
    transferred_files,
)

EXPERIMENTS = [name for name in config["experiments"] if by_default(config, name)]
JUDGED = ("few_label", "zero_shot", "source", "transfer")
SEARCHES = [name for name in config["searches"] if searched_by_default(config, name)]
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
BUNDLES = (
    ["results/bundle/archgauge.bundle"]
    if has_labels(config, config["bundle"]["family"])
    else []
)


wildcard_constraints:
    table="|".join(config["tables"]) or "(?!)",
    transfer_table="|".join(config["transfer_tables"]) or "(?!)",
    search="|".join(config["searches"]) or "(?!)",
    search_table="|".join(config["search_tables"]) or "(?!)",
    held_out="|".join(config["held_out"]) or "(?!)",
    proxies="|".join(config["proxies"]) or "(?!)",
