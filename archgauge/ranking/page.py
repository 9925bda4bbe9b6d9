"""A ranking as one HTML page that needs nothing else, readable in light and dark."""

from html import escape
from typing import TYPE_CHECKING

from archgauge.ranking.text import APART, interval, rank
from archgauge.ranking.units import short, units

if TYPE_CHECKING:
    from archgauge.ranking.results import Known, Ranked, Ranking

_PLOT, _ROW, _DOT = 240, 26, 3.5  # pixels

_STYLE = """
.archgauge { color-scheme: light dark; --ink: light-dark(#1b1f24, #e6e8eb); --soft: light-dark(#5c6670, #9aa4af);
  --line: light-dark(#dfe3e8, #343b44); --mark: light-dark(#1f6feb, #6cb0ff); --warn: light-dark(#9a5b00, #f0b357);
  --paper: light-dark(#ffffff, #14181d);
  font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); padding: 1rem 1.5rem; }
.archgauge .wide { overflow-x: auto; }
.archgauge table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.archgauge th, .archgauge td { padding: .4rem .9rem .4rem 0; text-align: left; vertical-align: middle;
  border-bottom: 1px solid var(--line); white-space: nowrap; }
.archgauge th { color: var(--soft); font-weight: 500; font-size: .85em; }
.archgauge .number { text-align: right; }
.archgauge td.known { white-space: normal; min-width: 14rem; padding-right: 0; }
.archgauge .soft { color: var(--soft); font-size: .87em; }
.archgauge .warn { color: var(--warn); }
.archgauge ul { padding-left: 1.1rem; max-width: 60rem; }
.archgauge p { max-width: 60rem; }
.archgauge svg { display: block; }
.archgauge .rail { stroke: var(--line); } .archgauge .span { stroke: var(--mark); stroke-width: 7; opacity: .45; }
.archgauge .dot { fill: var(--mark); }
.archgauge .apart .span { stroke-dasharray: 3 5; } .archgauge .apart .dot { fill: var(--soft); }
.archgauge .axis { fill: var(--soft); font-size: 11px; }
"""


def page(ranking: "Ranking") -> str:
    """The whole page."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/><title>Archgauge ranking</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        "<style>html { color-scheme: light dark; background: light-dark(#ffffff, #14181d); } body { margin: 0; }"
        "</style>"
        f"</head><body>{table(ranking)}</body></html>\n"
    )


def table(ranking: "Ranking") -> str:
    """The part that a notebook shows: the table, and what is to be said of single models."""
    heading = f"<h2>Predicted accuracy of {len(ranking.ranked)} models</h2>"
    rows = f'<div class="wide"><table>{_header(ranking)}{_rows(ranking)}</table></div>' if ranking.ranked else ""
    notes = [
        f'<li class="warn">{escape(row.name)}: {escape(why)}.</li>' for row in ranking.ranked for why in row.unlike
    ]
    notes += [
        f"<li>{escape(row.name)} is a known network: {_measured(row.same_as)}.</li>"
        for row in ranking.ranked
        if row.same_as
    ]
    notes += [f'<li class="warn">{escape(name)}: {escape(why)}</li>' for name, why in ranking.failed.items()]
    told = (
        f"Accuracy in %, as the label {escape(ranking.label)} of {ranking.known} known networks, with intervals of "
        f"level {ranking.level:.0%}; MACs of one sample. In brackets the ranks that the intervals allow. Training is "
        "not seen: it moves real accuracies."
    )
    if any(row.unlike for row in ranking.ranked):
        told += f" {APART}"
    listed = f"<ul>{''.join(notes)}</ul>" if notes else ""
    return f'<div class="archgauge"><style>{_STYLE}</style>{heading}{rows}{listed}<p class="soft">{told}</p></div>'


def _header(ranking: "Ranking") -> str:
    low, high = _scale(ranking)
    axis = (
        f'<svg width="{_PLOT}" height="16" role="img" aria-label="scale from {low:.0f} to {high:.0f} percent">'
        f'<text class="axis" x="0" y="12">{low:.0f}</text>'
        f'<text class="axis" x="{_PLOT / 2}" y="12" text-anchor="middle">{(low + high) / 2:g}</text>'
        f'<text class="axis" x="{_PLOT}" y="12" text-anchor="end">{high:.0f} %</text></svg>'
    )
    number = '<th class="number">'
    level = f"{ranking.level:.0%} interval"
    return (
        f"<thead><tr><th>Rank</th><th>Model</th>{number}Accuracy</th><th>{level}</th><th>{axis}</th>"
        f"{number}MACs</th>{number}Parameters</th><th>Nearest known networks, measured</th></tr></thead>"
    )


def _rows(ranking: "Ranking") -> str:
    low, high = _scale(ranking)
    return f"<tbody>{''.join(_row(row, low, high) for row in ranking.ranked)}</tbody>"


def _row(row: "Ranked", low: float, high: float) -> str:
    place, _, span = rank(row).partition(" ")
    apart = "apart" if row.unlike else ""
    warning = ' <span class="warn" title="unlike the known networks">⚠</span>' if row.unlike else ""
    number = '<td class="number">'
    return (
        f'<tr class="{apart}"><td>{place} <span class="soft">{span}</span></td>'
        f"<td>{escape(row.name)}{warning}</td>{number}<b>{row.accuracy_pct:.1f}</b></td>"
        f"<td>{interval(row)}</td><td>{_interval(row, low, high)}</td>"
        f"{number}{units(row.macs)}</td>{number}{units(row.params)}</td>"
        f'<td class="soft known">{_measured(row.nearest)}</td></tr>'
    )


def _interval(row: "Ranked", low: float, high: float) -> str:
    """An interval and its prediction on the scale that all rows share."""

    def place(accuracy_pct: float) -> str:
        return f"{_DOT + (_PLOT - 2 * _DOT) * (accuracy_pct - low) / (high - low):.1f}"

    middle = _ROW / 2
    first, dot, last = map(place, (row.low_pct, row.accuracy_pct, row.high_pct))
    said = f"{row.accuracy_pct:.1f}, from {row.low_pct:.1f} to {row.high_pct:.1f} percent"
    return (
        f'<svg width="{_PLOT}" height="{_ROW}" role="img" aria-label="{said}">'
        f'<line class="rail" x1="0" x2="{_PLOT}" y1="{middle}" y2="{middle}"/>'
        f'<line class="span" x1="{first}" x2="{last}" y1="{middle}" y2="{middle}"/>'
        f'<circle class="dot" cx="{dot}" cy="{middle}" r="{_DOT}"/></svg>'
    )


def _scale(ranking: "Ranking") -> tuple[float, float]:
    """The tens of percent around all intervals."""
    low = min(row.low_pct for row in ranking.ranked) // 10 * 10
    high = -(-max(row.high_pct for row in ranking.ranked) // 10) * 10
    return low, max(high, low + 10)


def _measured(networks: "tuple[Known, ...]") -> str:
    return escape(", ".join(f"{short(known.arch_id)} {known.accuracy_pct:.1f}" for known in networks))
