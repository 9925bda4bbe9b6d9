"""How a bundle does on the labels of other sources, of which neither its fit nor its choice has seen one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from archgauge.evaluation.labels import label_values, labelled
from archgauge.evaluation.metrics import mae, spearman
from archgauge.evaluation.tables import Heading, Note, ResultTable, pivot
from archgauge.ranking.assessment import Assessed, coverage
from archgauge.ranking.bundle import Bundle
from archgauge.ranking.description import describe
from archgauge.ranking.fitting import read_networks
from archgauge.schemas import METRICS

METRIC_TITLES = {
    "spearman": "ρ",
    "bias": "bias, points",
    "mae": "MAE, points",
    "coverage": "interval holds",
    "rank_coverage": "rank interval holds, of 10",
    "ranks_allowed": "ranks in it",
    "flagged": "flagged",
}
_TITLES = {"bundle": "bundle", "macs": "MACs", "params": "parameters"}
_LEGEND = (
    "Bias is predicted less measured; shares are of 1. A number hangs on its family's networks alone: it is one run. "
    "The bundle's accuracies mean its own label, so another recipe shifts the bias and empties the intervals. Flagged "
    "networks count, though `archgauge rank` gives them no rank."
)


def judged_elsewhere(
    bundle: Bundle, graphs: Path, kinds: Path, labels: pa.Table, keys: Mapping[str, str], seed: int
) -> pa.Table:
    """Judge a bundle, and the costs beside it, on the networks of a family that have a label.

    Args:
        graphs, kinds: the family's GRAPHS table and the kinds beside it.
        labels: its LABELS.
        keys: "experiment", "family" and "label".
        seed: of the companies that ranks are measured in.

    Returns:
        METRICS: of the predictor "bundle" those of `METRIC_TITLES`, of "macs" and "params" Spearman's correlation.
    """
    drawn, table = read_networks(graphs, kinds)
    arch_id = np.array(table["arch_id"].to_pylist())
    rows = labelled(labels, keys["label"], arch_id)
    true, networks = label_values(labels, keys["label"], arch_id[rows]), describe(drawn).rows(rows)
    assessed = Assessed.of(bundle.gauge.predict(networks.features, bundle.card["level"]), true)
    predicted = assessed.predicted.accuracy_pct
    holds = coverage(assessed, true, np.zeros(len(true)), seed)
    values = {
        ("bundle", "spearman"): spearman(predicted, true),
        ("bundle", "bias"): float((predicted - true).mean()),
        ("bundle", "mae"): mae(predicted, true),
        ("bundle", "coverage"): holds["coverage"],
        ("bundle", "rank_coverage"): holds["rank_coverage"],
        ("bundle", "ranks_allowed"): holds["ranks_allowed"],
        ("bundle", "flagged"): float(np.mean([bool(reasons) for reasons in bundle.unlike_each(networks)])),
        ("macs", "spearman"): spearman(networks.fact("macs"), true),
        ("params", "spearman"): spearman(networks.fact("params"), true),
    }
    run = {**keys, "population": "all", "n_train": 0, "split": 0, "seed": seed, "n": len(true), "backend": "none"}
    return pa.Table.from_pylist(
        [run | {"predictor": name, "metric": metric, "value": value} for (name, metric), value in values.items()],
        METRICS,
    )


def elsewhere_table(metrics: pa.Table, settings: Mapping[str, Any]) -> ResultTable:
    """Arrange what `judged_elsewhere` measured: the bundle and the costs in rows, families and metrics in columns.

    Args:
        metrics: METRICS of all families that were judged.
        settings: "families", the label of each; "judged", those whose labels can be had.
    """
    columns, notes = [], [Note(_LEGEND, row=_TITLES["bundle"])]
    for family, label in settings["families"].items():
        for metric, title in METRIC_TITLES.items():
            column = Heading(f"{family}: {title}", {"family": family, "metric": metric})
            columns.append(column)
            notes.append(Note(f"Label {label}.", column=column.text))
            if family not in settings["judged"]:
                why = "The labels need tables_dir, or a download that has not happened."
                notes += [Note(why, row=row, column=column.text) for row in _TITLES.values()]
            elif metric != "spearman":
                why = "A cost orders networks and says no accuracy."
                notes += [Note(why, row=_TITLES[cost], column=column.text) for cost in ("macs", "params")]
    return pivot(
        metrics,
        title="The bundle on labels of other sources",
        corner="predictor",
        rows=[Heading(title, {"predictor": name}) for name, title in _TITLES.items()],
        columns=columns,
        notes=notes,
    )
