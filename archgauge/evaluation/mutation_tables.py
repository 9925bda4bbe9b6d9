"""GENNAPE's Table 7: networks found by mutating computation graphs, beside those that the search began with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from archgauge.clustering import FuzzyClusters
from archgauge.evaluation.mutations import improved, mutants
from archgauge.evaluation.published import Published, published
from archgauge.evaluation.reports import cluster_notes
from archgauge.evaluation.statistics import Summary, summarise
from archgauge.evaluation.tables import Entry, Note, ResultTable, annotated

MACS, FLOPS, PARAMS = "MACs (10⁶)", "FLOPs (G)", "parameters (10⁶)"
PREDICTED, ACCURACY = "predicted (%)", "test accuracy (%)"
COLUMNS = {MACS: 1, FLOPS: 3, PARAMS: 2, PREDICTED: 2, ACCURACY: 2}
"""Column -> digits."""

_PAPERS = {FLOPS: "FLOPs", ACCURACY: "Top-1 Acc.(%)"}
_LEGEND = (
    "In brackets the paper's number (GENNAPE, Table 7). FLOPs are two for each multiply-add, by its numbers there too.",
    "Accuracy: mean ± standard error over trainings, their number in parentheses.",
)
_UNSEARCHED = "no search here: the labels that the guide learns from need a folder of collected tables"
_OTHER_IMAGES = "not trained: the network is for other images; the paper trains it on ImageNet's first 120 classes"
_NO_IMAGES = "not trained: there is no folder cifar-10-batches-bin"
_EXTRAPOLATES = "has seen nothing like these mutants, and the search goes where it errs upwards"
_KEPT_START = "the search has found nothing better: this is the start"


@dataclass(frozen=True)
class Searched:
    """What is known of a family.

    Attributes:
        arch_ids: of the start, of what was found and of the random descent's end.
        candidates: CANDIDATES.
        accuracy_pct: the networks' accuracies, one for each training, by `arch_id`.
    """

    arch_ids: tuple[str, ...]
    candidates: pa.Table
    accuracy_pct: Mapping[str, list[float]]


def mutation_table(
    settings: Mapping[str, Any], searched: Mapping[str, Searched], clusterings: Mapping[str, FuzzyClusters]
) -> ResultTable:
    """Arrange starts, found networks and the ends of random descents.

    Args:
        settings: of `archgauge.graph_search_config.mutation_table_settings`.
        searched: by family; a family whose guide cannot be had is missing.
        clusterings: the fit whose memberships the guide reads, if it reads any.
    """
    rows: list[str] = []
    entries: dict[tuple[str, str], Entry] = {}
    notes: list[Note] = []
    for family, one in settings["families"].items():
        names = _names(one)
        rows += names
        known = searched.get(family)
        for place, (row, printed) in enumerate(names.items()):
            numbers = {} if known is None else _numbers(known, known.arch_ids[place])
            papers = {
                column: published("gennape", "7", printed, theirs) for column, theirs in _PAPERS.items() if printed
            }
            for column, digits in COLUMNS.items():
                entries[row, column] = _entry(numbers.get(column), digits, papers.get(column))
                if column not in numbers:
                    notes.append(Note(_reason(known, one), row, column))
        notes += _row_notes(list(names), one, known, settings)
        if known is not None:
            found = list(names)[1]
            notes += cluster_notes(clusterings, [(found, name) for _, name in settings["clusterings"]])
    return annotated(settings["title"], "network", rows, list(COLUMNS), entries, notes, _LEGEND)


def _names(one: Mapping[str, Any]) -> dict[str, str | None]:
    """Row -> the paper's row, in the order of `archgauge.graph_search_config.NETWORKS`."""
    return {
        f"{one['title']}, start": one["rows"]["start"],
        f"{one['title']}, found": one["rows"]["found"],
        f"{one['title']}, random mutations": None,
    }


def _numbers(known: Searched, arch_id: str) -> dict[str, list[float]]:
    """Values by column; several where a network was trained several times."""
    (row,) = [one for one in known.candidates.to_pylist() if one["arch_id"] == arch_id]
    numbers = {
        MACS: [row["macs"] / 1e6],
        FLOPS: [2 * row["macs"] / 1e9],
        PARAMS: [row["params"] / 1e6],
        PREDICTED: [row["predicted"]],
    }
    accuracy_pct = known.accuracy_pct.get(arch_id)
    return numbers | ({ACCURACY: accuracy_pct} if accuracy_pct else {})


def _entry(values: list[float] | None, digits: int, paper: Published | None) -> Entry:
    if values is None:
        return Entry(None, digits, False, "", None, paper)
    summary = summarise(np.array(values)) if len(values) > 1 else Summary(values[0], float("nan"), 0, 0)
    return Entry(summary, digits, False, "", None, paper)


def _reason(known: Searched | None, one: Mapping[str, Any]) -> str:
    """Why a cell is empty."""
    if known is None:
        return _UNSEARCHED
    return _OTHER_IMAGES if one["training"] is None else _NO_IMAGES


def _row_notes(
    rows: list[str], one: Mapping[str, Any], known: Searched | None, settings: Mapping[str, Any]
) -> list[Note]:
    start, found, lighter = rows
    notes = [Note(one["note"], start)] if one["note"] else []
    if known is None:
        return notes
    search = settings["search"]
    notes += [
        Note(
            f"{search['iterations']} iterations, the best {search['kept']} mutated {search['children']} times each: of "
            f"{len(mutants(known.candidates)):,} mutants, {improved(known.candidates):,} are predicted better than the "
            f"start with fewer multiply-adds. Found: the fewest multiply-adds of all predicted no worse than the "
            f"start. {one['guide']}",
            found,
        ),
        Note(
            "No predictor ranks them: each that does not add multiply-adds is taken, until there are no more than in "
            "what was found.",
            lighter,
        ),
    ]
    beyond = int(np.sum(known.candidates["predicted"].to_numpy() > 100))
    if beyond:
        notes.append(Note(f"{beyond:,} graphs are predicted above 100 %: the guide {_EXTRAPOLATES}.", found, PREDICTED))
    if known.arch_ids[0] == known.arch_ids[1]:
        notes.append(Note(_KEPT_START, found))
    if one["training"] is not None and known.accuracy_pct:
        notes += [Note(_scale(one["training"]), row, ACCURACY) for row in rows]
    return notes


def _scale(training: Mapping[str, Any]) -> str:
    drawn = "all of CIFAR-10's training images" if training["images"] is None else f"{training['images']:,} images"
    tested = "all test images" if training["test_images"] is None else f"{training['test_images']:,} test images"
    epochs = f"{training['epochs']:,} epoch{'s' if training['epochs'] > 1 else ''}"
    small = "" if training["images"] is None else " Far too little to tell networks apart: the rule is shown to run."
    return f"Trained on {drawn} for {epochs} and tested on {tested}, {training['seeds']} times.{small}"
