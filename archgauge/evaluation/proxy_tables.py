"""Tables of zero-cost proxies: one set beside published columns, and those of the papers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from archgauge.evaluation.proxy_scores import Correlation, Scores, correlation
from archgauge.evaluation.published import Published, published
from archgauge.evaluation.statistics import Run, Summary, summarise
from archgauge.evaluation.tables import NOT_RUN, Entry, Note, ResultTable, annotated, compared, comparison, direction

COSTS = {"macs": "MACs", "params": "parameters"}
_COUNTED = {"macs": ", once ReLUs, normalisations and pools are counted as there", "params": ""}
_READ = (
    "Spearman's correlation with its 95 % interval over the draw of architectures (Fisher's transform, variance of "
    "Bonett and Wright 2000). An architecture whose score failed ranks last."
)
_BRACKETS = "In brackets the paper's number ({})."
_UNLABELLED = "missing: its labels need a download, which the configuration does not name"
_NO_COLUMN = "not among the published columns"
_NOT_COMPUTED = "not in the configured set of proxies"
_CONSTANT = "undefined: all scores are equal"
_ANY_BATCH = "does not depend on the batch"
_LEARNT = "its transfer is not named by `learnt` of this table in the configuration"
_RUNS = (
    "Learnt predictors: mean ± standard error over runs, their number in parentheses; the paper's ± is a deviation. "
    "They are judged on all labelled networks of the family but the fine-tuning samples, proxies on n networks."
)
_JUDGED = "{} {:,} networks judged."
_OTHER_SIGN = (
    "the paper prints {}; here {} with an interval of {} to {}: of the other sign, and not by chance of the draw"
)
_OF_SAMPLE = "learnt; see the column of the computed proxies"


@dataclass(frozen=True)
class Source:
    """Where numbers of one family come from: one column of the transferable predictor's table, one row of GENNAPE's.

    Attributes:
        family: its name.
        row: the paper's name of the family.
        heading: ours, with the number of architectures.
        n: the number, where a cell has no other.
        cells: proxy -> correlation with accuracy.
        reason: why a cell is empty.
        notes: what has to be known of it.
        first: whether the paper's number stands here.
    """

    family: str
    row: str
    heading: str
    n: int
    cells: Mapping[str, Correlation]
    reason: str
    notes: Sequence[str]
    first: bool


def set_table(
    settings: Mapping[str, Any],
    images: str,
    ours: Mapping[int, Scores],
    accuracy: np.ndarray,
    theirs: Scores,
    equal: Mapping[str, int],
) -> ResultTable:
    """What a set of proxies agrees with: published columns, accuracies, and itself at other batch sizes.

    Args:
        settings: of `archgauge.proxy_config.comparison_settings`.
        ours: scores, with "macs" and "params", by batch size.
        accuracy: (N,) percent.
        theirs: the published scores; empty where there are none.
        equal: of "macs" and "params", how many of the N published counts are equal to ours.
    """
    first = settings["batch_sizes"][0]
    rows = {proxy: COSTS.get(proxy, proxy) for proxy in (*settings["proxies"], *COSTS)}
    columns: list[str] = []
    entries, notes = {}, []
    for batch, scores in ours.items():
        compared: dict[str, Scores] = {f"published, batch {batch}": theirs} if theirs else {}
        compared[f"accuracy, batch {batch}"] = dict.fromkeys(rows, accuracy)
        if batch != first:
            compared[f"batch {first}, at {batch}"] = ours[first]
        columns += [*compared, f"failed, batch {batch}"]
        for proxy, row in rows.items():
            for column, other in compared.items():
                known = _ANY_BATCH if proxy in COSTS and batch != first else "" if proxy in other else _NO_COLUMN
                found = None if known else correlation(scores[proxy], other[proxy])
                entries[row, column], reason = _entry(found, None, known)
                notes += [Note(reason, row, column)] if reason else []
            failed = int(np.isnan(scores[proxy]).sum())
            entries[row, columns[-1]] = Entry(Summary(failed, math.nan, 0, 0), 0, False, "", None, None)
    for cost, count in equal.items():
        text = f"{count} of {len(accuracy)} are equal to the published ones{_COUNTED[cost]}"
        notes.append(Note(text, COSTS[cost], f"published, batch {first}"))
    title = f"{settings['title']}: zero-cost proxies of {len(accuracy)} architectures"
    about = f"Batches of {images} images; accuracies {settings['label']}."
    return annotated(title, "proxy", list(rows.values()), columns, entries, notes, (_READ, about))


def sources(family: str, settings: Mapping[str, Any], parts: Mapping[str, Mapping[str, Correlation]]) -> list[Source]:
    """The columns (or rows) of one family.

    Args:
        settings: of one family in `archgauge.proxy_config.paper_settings`.
        parts: where scores come from -> proxy -> correlation; empty where the family has no labels.
    """
    common = {"family": family, "row": settings["row"], "notes": [settings["note"]] if settings["note"] else []}
    if not parts:
        return [Source(**common, heading=settings["title"], n=0, cells={}, reason=_UNLABELLED, first=True)]
    found: list[Source] = []
    for what, cells in parts.items():
        n = min(cell.n for cell in cells.values())
        heading, reason = f"{settings['title']}, {what} (n = {n})", _NO_COLUMN if found else _NOT_COMPUTED
        found.append(Source(**common, heading=heading, n=n, cells=cells, reason=reason, first=not found))
    return found


TRANSFERABLE = {
    "Synflow": "synflow",
    "Jacov": "jacov",
    "Fisher": "fisher",
    "GradNorm": "grad_norm",
    "Grasp": "grasp",
    "Snip": "snip",
    "plain": "plain",
    "NASWOT": "naswot",
    "Zen": "zen",
    "MACs": "macs",
    "parameters": "params",
}
"""Our row -> the proxy."""

PRINTED = tuple(TRANSFERABLE)[:6]
"""The proxies of the transferable predictor's table."""

LEARNT = ("GNN-fine-tune", "CL-fine-tune")
GENNAPE = {"Synflow": "synflow", "Jacov": "jacov", "Fisher": "fisher", "Snip": "snip", "FLOPs": "macs"}
"""GENNAPE's column -> the proxy."""


def transferable_table(
    title: str, columns: Sequence[Source], learnt: Mapping[str, Any], metrics: Mapping[str, pa.Table]
) -> ResultTable:
    """The transferable predictor's Table 1: proxies and learnt predictors in rows, families in columns.

    Args:
        learnt: of `archgauge.proxy_config.paper_settings`: which numbers of METRICS stand in the rows of the learnt
            predictors.
        metrics: METRICS by experiment.
    """
    entries, notes = {}, _source_notes(columns, as_rows=False)
    notes += [Note(text, row) for row, text in learnt["notes"].items()]
    rows = list(dict.fromkeys([*LEARNT, *learnt["rows"]]))
    for source in columns:
        for row, proxy in TRANSFERABLE.items():
            printed = published("transferable", "1", row, source.row) if row in PRINTED else None
            key = (row, source.heading)
            entries[key], reasons = _cell(source, proxy, printed)
            notes += [Note(text, *key) for text in reasons]
        for row, (entry, reason) in _learnt_cells(source, rows, learnt, metrics).items():
            entries[row, source.heading] = entry
            notes += [Note(reason, row, source.heading)] if reason else []
        if source.first and source.family in learnt["scales"]:
            n = _rows(metrics, learnt["rows"][learnt["headline"]][source.family])["n"][0].as_py()
            notes.append(Note(_JUDGED.format(learnt["scales"][source.family], n), column=source.heading))
    headings = [source.heading for source in columns]
    legend = [_READ, _BRACKETS.format("the transferable predictor, Table 1"), _RUNS]
    legend += [comparison(learnt["headline"])] if learnt["rows"] else []
    return annotated(title, "method", [*TRANSFERABLE, *rows], headings, entries, notes, legend)


def gennape_table(title: str, rows: Sequence[Source]) -> ResultTable:
    """GENNAPE's Table 1: families in rows, proxies in columns."""
    entries, notes = {}, _source_notes(rows, as_rows=True)
    for source in rows:
        for column, proxy in GENNAPE.items():
            key = (source.heading, column)
            entries[key], reasons = _cell(source, proxy, published("gennape", "1", source.row, column))
            notes += [Note(text, *key) for text in reasons]
    legend = (_READ, _BRACKETS.format("GENNAPE, Table 1"))
    return annotated(title, "family", [source.heading for source in rows], list(GENNAPE), entries, notes, legend)


def _source_notes(found: Sequence[Source], as_rows: bool) -> list[Note]:
    pairs = [(source.heading, text) for source in found for text in source.notes]
    return [Note(text, heading) if as_rows else Note(text, column=heading) for heading, text in pairs]


def _cell(source: Source, proxy: str, printed: Published | None) -> tuple[Entry, list[str]]:
    """A correlation beside the paper's, and what has to be said of it."""
    found = source.cells.get(proxy)
    entry, reason = _entry(found, printed if source.first else None, source.reason)
    if found is None or reason:
        return entry, [reason]
    reasons = [f"over {found.n} architectures"] if found.n != source.n else []
    reasons += [f"{found.failed} of {found.n} failed"] if found.failed else []
    if printed is not None and _differs(found, printed):
        reasons.append(_OTHER_SIGN.format(printed.text, *(f"{number:.3f}" for number in (found.rho, *found.interval))))
    return entry, reasons


def _learnt_cells(
    source: Source, rows: Sequence[str], learnt: Mapping[str, Any], metrics: Mapping[str, pa.Table]
) -> dict[str, tuple[Entry, str]]:
    """The cells of learnt predictors in one column, each with why it is empty ("" where it is not)."""
    cells = {row: learnt["rows"].get(row, {}).get(source.family, {"missing": _LEARNT}) for row in rows}
    if not source.first:
        cells = {row: {"missing": _OF_SAMPLE} for row in rows}
    runs = {row: {} if "missing" in cell else _runs(metrics, cell) for row, cell in cells.items()}
    found = {}
    for row, values in runs.items():
        paper = published("transferable", "1", row, source.row) if source.first and row in LEARNT else None
        difference = compared(values, runs.get(learnt["headline"], {})) if row != learnt["headline"] else None
        summary = summarise(np.array(list(values.values()))) if values else None
        entry = Entry(summary, 3, False, direction(difference, higher=True), difference, paper)
        found[row] = entry, cells[row].get("missing", "" if values else NOT_RUN)
    return found


def _runs(metrics: Mapping[str, pa.Table], cell: Mapping[str, Any]) -> dict[Run, float]:
    """Spearman's correlations of a learnt predictor by run."""
    return {(row["split"], row["seed"]): row["value"] for row in _rows(metrics, cell).to_pylist()}


def _rows(metrics: Mapping[str, pa.Table], cell: Mapping[str, Any]) -> pa.Table:
    """The METRICS rows of one cell."""
    where = {name: cell[name] for name in ("predictor", "population", "n_train")} | {"metric": "spearman"}
    table = metrics[cell["experiment"]]
    return table.filter(reduce(pc.and_, (pc.equal(table[name], value) for name, value in where.items())))


def _differs(found: Correlation, printed: Published) -> bool:
    """Whether a correlation is of the other sign than a printed one, and not by chance."""
    low, high = found.interval
    return (low > 0 > printed.value) or (high < 0 < printed.value)


def _entry(found: Correlation | None, paper: Published | None, reason: str) -> tuple[Entry, str]:
    """A cell, and why it is empty ("" where it is not)."""
    if found is None or math.isnan(found.rho):
        return Entry(None, 3, False, "", None, paper), reason if found is None else _CONSTANT
    return Entry(Summary(found.rho, math.nan, 0, 0), 3, False, "", None, paper, interval=found.interval), ""
