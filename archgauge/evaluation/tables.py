"""Tables of a paper as pivots of METRICS: which rows and columns, what each cell says, what stands under it.

`pivot` decides everything; `archgauge.evaluation.table_files` only writes it down.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from archgauge.errors import ConfigError, TableError
from archgauge.evaluation.metrics import higher_is_better
from archgauge.evaluation.published import Published
from archgauge.evaluation.statistics import PairedDifference, Run, Summary, paired_difference, summarise
from archgauge.schemas import METRICS

SIGNIFICANCE = 0.05
MARKS = "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ"
"""Raised letters, which neither numbers nor names end with. Fonts have none of q."""
NOT_RUN = "no such run was made"

DECIMALS = {"mae": 2, "bias": 2, "ranks_allowed": 1, "regret": 2, "found_accuracy": 2, "best_rank": 1, "found_rank": 1}
"""Digits after the point by metric, without its @K; 3 for all others."""


@dataclass(frozen=True)
class Heading:
    """A row or a column: its text, and the values that METRICS rows under it have, column by column."""

    text: str
    where: Mapping[str, object]


@dataclass(frozen=True)
class Note:
    """An explanation under the table, marked at a row, at a column, or (both given) at one cell."""

    text: str
    row: str | None = None
    column: str | None = None


@dataclass(frozen=True)
class Entry:
    """One cell.

    Attributes:
        summary: our number, or None where there is none; a note then says why.
        decimals: digits after the point.
        best: whether it is the best of its column's rows with the most runs, to the printed digits.
        direction: "↑" or "↓" where it is significantly better or worse than the reference row, else "".
        difference: to the reference row on the shared runs; None without a reference.
        published: the paper's number.
        marks: marks of the notes on this cell.
        interval: 95 % confidence interval of a number that is not a mean over runs.
    """

    summary: Summary | None
    decimals: int
    best: bool
    direction: str
    difference: PairedDifference | None
    published: Published | None
    marks: str = ""
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class ResultTable:
    """A table ready to be written.

    Attributes:
        title: one line.
        corner: heading of the first column.
        rows, columns: their texts, in order.
        row_marks, column_marks: marks of the notes on each of them.
        entries: by (row, column).
        notes: (mark, text), in the order of their marks.
        legend: sentences on how to read a cell.
    """

    title: str
    corner: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    row_marks: Mapping[str, str]
    column_marks: Mapping[str, str]
    entries: Mapping[tuple[str, str], Entry]
    notes: tuple[tuple[str, str], ...]
    legend: tuple[str, ...]


def pivot(
    metrics: pa.Table,
    *,
    title: str,
    corner: str,
    rows: Sequence[Heading],
    columns: Sequence[Heading],
    published: Mapping[tuple[str, str], Published] | None = None,
    notes: Sequence[Note] = (),
    reference: str | None = None,
) -> ResultTable:
    """Arrange METRICS as a table.

    Args:
        metrics: METRICS. The rows of one cell differ in split and seed only.
        title, corner: text over the table and over its first column.
        rows, columns: every column names at least its metric.
        published: numbers of a paper by (row text, column text).
        notes: explanations; equal texts share a mark. A note on an empty cell is the reason why it is empty.
        reference: text of the row that all others are compared with, run by run.

    Raises:
        TableError: when a cell would pool numbers that are named differently, or no cell has a number.
        ConfigError: when two headings share a text, or a note, a published number or the reference names a heading
            that is not there, or a heading a column that METRICS has not.
    """
    published = published or {}
    _check_names(rows, columns, notes, published, reference)
    values = {(row, column): runs for row, column, runs in _matched(metrics, rows, columns)}
    if not any(values.values()):
        raise TableError(
            "the numbers of a table",
            where=title,
            expected="METRICS rows under at least one cell",
            got="none",
            remedy="Compare the table's headings with the experiment's predictors, populations and metrics.",
        )
    summaries = {key: summarise(np.array(list(runs.values()))) if runs else None for key, runs in values.items()}
    printed = {key: None if summary is None or summary.undefined else summary for key, summary in summaries.items()}
    entries: dict[tuple[str, str], Entry] = {}
    for column in columns:
        name = str(column.where["metric"])
        digits = DECIMALS.get(name.partition("@")[0], 3)
        best = _best([printed[row.text, column.text] for row in rows], digits, higher_is_better(name))
        for row in rows:
            key = (row.text, column.text)
            summary = printed[key]
            difference = None
            if summary and reference is not None and reference != row.text:
                difference = compared(values[key], values[reference, column.text])
            entries[key] = Entry(
                summary=summary,
                decimals=digits,
                best=summary is not None and (summary.runs, round(summary.mean, digits)) == best,
                direction=direction(difference, higher_is_better(name)),
                difference=difference,
                published=published.get(key),
            )
    return annotated(
        title,
        corner,
        [row.text for row in rows],
        [column.text for column in columns],
        entries,
        [*notes, *_reasons(summaries, notes)],
        _legend(published, reference),
    )


def annotated(
    title: str,
    corner: str,
    rows: Sequence[str],
    columns: Sequence[str],
    entries: Mapping[tuple[str, str], Entry],
    notes: Sequence[Note],
    legend: Sequence[str],
) -> ResultTable:
    """Put a table together, with a mark wherever a note belongs; equal texts share a mark."""
    marks = _marks(notes)
    return ResultTable(
        title=title,
        corner=corner,
        rows=tuple(rows),
        columns=tuple(columns),
        row_marks={row: _marks_at(notes, marks, row, None) for row in rows},
        column_marks={column: _marks_at(notes, marks, None, column) for column in columns},
        entries={key: replace(entry, marks=_marks_at(notes, marks, *key)) for key, entry in entries.items()},
        notes=tuple((mark, text) for text, mark in marks.items()),
        legend=tuple(legend),
    )


def transposed(table: ResultTable, corner: str) -> ResultTable:
    """The same table with rows for columns; the best of a column is then the best of its row."""
    return replace(
        table,
        corner=corner,
        rows=table.columns,
        columns=table.rows,
        row_marks=table.column_marks,
        column_marks=table.row_marks,
        entries={(column, row): entry for (row, column), entry in table.entries.items()},
    )


def _matched(metrics: pa.Table, rows: Sequence[Heading], columns: Sequence[Heading]):
    """Yield (row text, column text, value by run) for every cell."""
    plain = {name: np.array(metrics[name].to_pylist(), dtype=object) for name in METRICS.names}
    masks = {
        heading.text: np.logical_and.reduce([plain[name] == value for name, value in heading.where.items()])
        for heading in (*rows, *columns)
    }
    for row in rows:
        for column in columns:
            found = np.flatnonzero(masks[row.text] & masks[column.text])
            runs: dict[Run, float] = {(plain["split"][i], plain["seed"][i]): plain["value"][i] for i in found}
            named = [name for name in METRICS.names if name not in ("split", "seed", "value", "n")]
            mixed = {name: sorted({str(plain[name][i]) for i in found}) for name in named}
            mixed = {name: choices for name, choices in mixed.items() if len(choices) > 1}
            if mixed or len(runs) < len(found):
                raise TableError(
                    "the numbers of one cell of a table",
                    where=f"{row.text} / {column.text}",
                    expected="numbers that differ in split and seed only",
                    got=mixed or f"{len(found)} numbers of {len(runs)} (split, seed) runs",
                    remedy="Name the choice in the row or the column of the table.",
                )
            yield row.text, column.text, runs


def _reasons(summaries: Mapping[tuple[str, str], Summary | None], notes: Sequence[Note]) -> list[Note]:
    """Explain every cell that has no number and no note of its own."""
    explained = {(note.row, note.column) for note in notes}
    reasons = []
    for (row, column), summary in summaries.items():
        if (row, column) not in explained and summary is None:
            reasons.append(Note(NOT_RUN, row, column))
        elif summary is not None and summary.undefined:
            text = f"undefined in {summary.undefined} of {summary.runs} runs: all predictions or all labels equal"
            reasons.append(Note(text, row, column))
    return reasons


def _marks(notes: Sequence[Note]) -> dict[str, str]:
    """Give each text its mark: a, b, ..., z, aa, bb, ..., raised."""
    texts = dict.fromkeys(note.text for note in notes)
    return {text: MARKS[index % len(MARKS)] * (index // len(MARKS) + 1) for index, text in enumerate(texts)}


def _marks_at(notes: Sequence[Note], marks: Mapping[str, str], row: str | None, column: str | None) -> str:
    here = dict.fromkeys(marks[note.text] for note in notes if (note.row, note.column) == (row, column))
    return ",".join(sorted(here, key=list(marks.values()).index))


def _best(summaries: Sequence[Summary | None], digits: int, higher: bool) -> tuple[int, float] | None:
    """Return (runs, best printed mean) of a column's rows with the most runs; None where there are no two."""
    known = [summary for summary in summaries if summary is not None]
    most = max((summary.runs for summary in known), default=0)
    means = [round(summary.mean, digits) for summary in known if summary.runs == most]
    if len(means) < 2:
        return None
    return most, max(means) if higher else min(means)


def compared(values: Mapping[Run, float], reference: Mapping[Run, float]) -> PairedDifference | None:
    """The difference to a reference on the shared runs; None where there are none."""
    return paired_difference(values, reference) if values.keys() & reference.keys() else None


def direction(difference: PairedDifference | None, higher: bool) -> str:
    """The arrow of a significant difference, "" where there is none."""
    if difference is None or not difference.p < SIGNIFICANCE:
        return ""
    return "↑" if (difference.mean > 0) == higher else "↓"


def _legend(published: Mapping[tuple[str, str], Published], reference: str | None) -> list[str]:
    legend = [
        "Mean ± standard error over paired (split, seed) runs, their number in parentheses.",
        "Best in bold, of the rows with the most runs.",
    ]
    if published:
        sources = "; ".join(sorted({number.source for number in published.values()}))
        legend.append(f"In brackets: published, with the paper's standard deviation ({sources}).")
    if reference is not None:
        legend.append(comparison(reference))
    return legend


def comparison(reference: str) -> str:
    """The sentence that says what an arrow is."""
    return (
        f"↑ / ↓: better / worse than {reference} on the same runs (paired t test, p < {SIGNIFICANCE:g}, "
        "not corrected for the number of comparisons)."
    )


def _check_names(rows, columns, notes, published, reference) -> None:
    row_texts, column_texts = [row.text for row in rows], [column.text for column in columns]
    for kind, texts in (("rows", row_texts), ("columns", column_texts)):
        if len(set(texts)) != len(texts) or not texts:
            raise _bad_table(f"the {kind} of a table", "at least one, with distinct texts", texts)
    for heading in (*rows, *columns):
        if not heading.where.keys() <= set(METRICS.names) or not heading.where:
            raise _bad_table(f"the heading {heading.text!r}", f"columns of METRICS: {METRICS.names}", [*heading.where])
    for column in columns:
        if "metric" not in column.where:
            raise _bad_table(f"the column {column.text!r}", "a metric among its values", [*column.where])
    named = [(note.row, note.column) for note in notes] + list(published) + [(reference, None)]
    for row, column in named:
        if row is not None and row not in row_texts:
            raise _bad_table("a row named by a note, a published number or the reference", row_texts, repr(row))
        if column is not None and column not in column_texts:
            raise _bad_table("a column named by a note or a published number", column_texts, repr(column))


def _bad_table(checked: str, expected: object, got: object) -> ConfigError:
    return ConfigError(checked, where="a table", expected=expected, got=got, remedy="Correct the table's definition.")
