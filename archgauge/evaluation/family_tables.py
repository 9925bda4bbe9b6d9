"""Tables that describe families: how their accuracies are distributed, and what their operations become in a graph."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from archgauge.evaluation.published import Published, published
from archgauge.evaluation.statistics import Summary
from archgauge.evaluation.tables import Entry, Note, ResultTable, annotated

STATISTICS: dict[str, tuple[str, int, Callable[[np.ndarray], float]]] = {
    "architectures": ("#CGs", 0, len),
    "mean (%)": ("Mean", 2, np.mean),
    "standard deviation (%)": ("Std", 2, np.std),
    "least (%)": ("Least", 2, np.min),
    "greatest (%)": ("Greatest", 2, np.max),
}
"""Column -> (GENNAPE's, digits, what is computed)."""

_COUNTED = "Counted over all architectures that have the label here; in brackets the paper's (GENNAPE, Table 2)."
_NODES = "Counted in our computation graphs; in brackets the paper's (the transferable predictor, Table 5)."
_UNLABELLED = "no labels here: they need a download, which the configuration does not name"
_TYPING_SLIP = "A standard deviation below 0.1 does not fit the paper's own range of several points."


def accuracy_table(accuracies: Mapping[str, np.ndarray | None], settings: Mapping[str, Any]) -> ResultTable:
    """GENNAPE's Table 2: the accuracies of each family.

    Args:
        accuracies: (N,) percent by family, or None where there are no labels.
        settings: "title"; by family "titles", "labels" and "rows" (the paper's row), and "notes" where there are some.
    """
    entries, notes = {}, []
    for family, values in accuracies.items():
        row = settings["titles"][family]
        for column, (printed, digits, compute) in STATISTICS.items():
            paper = published("gennape", "2", settings["rows"][family], printed)
            entries[row, column] = _number(None if values is None else float(compute(values)), digits, paper)
            if values is None:
                notes.append(Note(_UNLABELLED, row, column))
            if printed == "Std" and paper.value < 0.1:
                notes.append(Note(_TYPING_SLIP, row, column))
        if values is not None:
            notes.append(Note(f"Label {settings['labels'][family]}.", row))
        notes += [Note(text, row) for text in settings["notes"].get(family, [])]
    rows = [settings["titles"][family] for family in accuracies]
    return annotated(settings["title"], "family", rows, list(STATISTICS), entries, notes, (_COUNTED,))


def operations_table(sequences: Mapping[str, tuple[str, ...]], title: str) -> ResultTable:
    """The transferable predictor's Table 5: the primitive nodes of each operation.

    Args:
        sequences: by the paper's row, the operations of our nodes in order.
    """
    column = "nodes"
    papers = {name: published("transferable", "5", name, "#Nodes") for name in sequences}
    rows = {name: f"{name}: {', '.join(nodes) or 'none'}" for name, nodes in sequences.items()}
    entries = {(rows[name], column): _number(float(len(nodes)), 0, papers[name]) for name, nodes in sequences.items()}
    return annotated(title, "operation: its nodes", list(rows.values()), [column], entries, [], (_NODES,))


def _number(value: float | None, digits: int, paper: Published) -> Entry:
    summary = None if value is None else Summary(value, float("nan"), 0, 0)
    return Entry(summary, digits, False, "", None, paper)
