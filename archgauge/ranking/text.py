"""A ranking and a model card as aligned text for a terminal."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from archgauge.ranking.units import short, units

if TYPE_CHECKING:
    from archgauge.ranking.results import Known, Ranked, Ranking

WIDTH = 110
APART = (
    "Models without a rank (–) are unlike the known networks: no measurement backs what is predicted for them, nor the "
    "intervals in parentheses."
)
_RIGHT = frozenset((0, 2, 4, 5))
"""Columns whose entries stand at the right."""


def text(ranking: "Ranking") -> str:
    """The table, then what is to be said of single models, then how to read it."""
    parts = []
    if ranking.ranked:
        header = ("rank", "model", "accuracy", f"{ranking.level:.0%} interval", "MACs", "params", "nearest, measured")
        parts.append(aligned([header, *map(_cells, ranking.ranked)]))
        notes = [note for row in ranking.ranked for note in _notes(row)]
        parts.append("\n".join(notes))
    parts.append("\n".join(_wrapped(f"x {name}: {reason}") for name, reason in ranking.failed.items()))
    if ranking.ranked:
        parts.append(
            _wrapped(
                f"Accuracy in %, as the label {ranking.label} of {ranking.known} known networks; MACs of one sample. "
                "In brackets the ranks that the intervals allow. Training is not seen: it moves real accuracies."
                + f" {APART}"
                * any(row.unlike for row in ranking.ranked)
            )
        )
    return "\n\n".join(part for part in parts if part)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells below one another, under a line."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if at in _RIGHT else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def _cells(row: "Ranked") -> tuple[str, ...]:
    return (
        rank(row),
        row.name + " !" * bool(row.unlike),
        f"{row.accuracy_pct:.1f}",
        interval(row),
        units(row.macs),
        units(row.params),
        ", ".join(map(measured, row.nearest)),
    )


def rank(row: "Ranked") -> str:
    """A rank and the ranks that the intervals allow: "2 [1–3]"; a dash for a model that stands apart."""
    if row.rank is None:
        return "–"
    return f"{row.rank}" if row.rank_best == row.rank_worst else f"{row.rank} [{row.rank_best}–{row.rank_worst}]"


def interval(row: "Ranked") -> str:
    """An interval, "75.6 – 78.3", in parentheses where nothing backs it."""
    ends = f"{row.low_pct:.1f} – {row.high_pct:.1f}"
    return ends if row.rank is not None else f"({ends})"


def _notes(row: "Ranked") -> list[str]:
    notes = [_wrapped(f"! {row.name}: {reason}.") for reason in row.unlike]
    if row.same_as:
        notes.append(_wrapped(f"= {row.name} is a known network: {', '.join(map(measured, row.same_as))}."))
    return notes


def measured(known: "Known") -> str:
    """A known network and its accuracy: "resnet50 77.9"."""
    return f"{short(known.arch_id)} {known.accuracy_pct:.1f}"


def _wrapped(line: str) -> str:
    return textwrap.fill(line, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
