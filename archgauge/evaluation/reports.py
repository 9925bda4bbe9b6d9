"""The tables of the configured experiments: a row for each predictor, a column for each population and size."""

from collections.abc import Mapping
from itertools import product
from typing import Any

import pyarrow as pa

from archgauge.evaluation.tables import Heading, Note, ResultTable, pivot

POPULATIONS = {"all": "all", "without_none": "without none", "unseen_functions": "unseen functions"}
_POPULATION_NOTES = {
    "without none": "The 4,096 cells without the operation `none`, the set that papers report on, less training cells.",
    "unseen functions": "Without cells whose live graph equals that of a training cell.",
    "all": "All cells less training cells.",
}
_METRIC_NAMES = {"spearman": "ρ", "kendall": "τ", "mae": "MAE (pp)"}


def experiment_table(metrics: pa.Table, settings: Mapping[str, Any]) -> ResultTable:
    """Arrange the METRICS of one experiment.

    Args:
        metrics: METRICS of the experiment.
        settings: as `archgauge.config.table_settings` gives them.
    """
    rows = [Heading(title, {"predictor": name}) for name, title in settings["titles"].items()]
    columns, notes = [], []
    for metric, population, size in product(settings["metrics"], settings["populations"], settings["n_train"]):
        labels = f"n={size}" if settings["protocol"] == "few_label" else f"{size} source labels"
        text = f"{_METRIC_NAMES.get(metric, metric)}, {POPULATIONS[population]}, {labels}"
        columns.append(Heading(text, {"metric": metric, "population": population, "n_train": size}))
        notes.append(Note(_POPULATION_NOTES[POPULATIONS[population]], column=text))
    notes.append(Note("Named in the configuration before the run; the others are compared with it.", row=settings["headline"]))
    return pivot(
        metrics,
        title=settings["title"],
        corner="predictor",
        rows=rows,
        columns=columns,
        notes=notes,
        reference=settings["headline"],
    )
