"""The tables of the configured searches: a row for each strategy, and for methods that only their papers have run."""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from archgauge.evaluation.published import Published, published
from archgauge.evaluation.reports import HEADLINE_NOTE
from archgauge.evaluation.tables import Heading, Note, ResultTable, pivot

_METRICS = {"found_accuracy": "accuracy (%)", "regret": "regret (pp)", "found_rank": "true rank"}
_PUBLISHED = {"found_accuracy": "Acc. (%)", "found_rank": "Rank"}
_PAPER = "transferable"
_NOT_RUN_HERE = "Published; not run here."


def search_table(metrics: pa.Table, settings: Mapping[str, Any]) -> ResultTable:
    """Arrange the METRICS of one search: what each strategy has found after some of its queries.

    Args:
        metrics: METRICS of the search.
        settings: as `archgauge.search_config.search_report_settings` gives them.
    """
    titles, headline = settings["titles"], settings["titles"][settings["headline"]]
    columns = {
        (metric, queries): Heading(f"{text}, {queries} queries", {"metric": metric, "n_train": queries})
        for metric, text in _METRICS.items()
        for queries in settings["shown"]
    }
    beside = {
        (titles[name], columns[metric, settings["queries"]].text): published(paper, table, row, column)
        for name, (paper, table, row) in settings["published"].items()
        for metric, column in _PUBLISHED.items()
        if (metric, settings["queries"]) in columns
    }
    notes = [
        Note(HEADLINE_NOTE, row=headline),
        *(Note(text, row=titles[name]) for name, text in settings["notes"].items()),
    ]
    return pivot(
        metrics,
        title=settings["title"],
        corner="strategy",
        rows=[Heading(title, {"predictor": name}) for name, title in titles.items()],
        columns=list(columns.values()),
        published=beside,
        notes=notes,
        reference=headline,
    )


def comparison_table(metrics: pa.Table, settings: Mapping[str, Any]) -> ResultTable:
    """Arrange several searches as the transferable predictor's Tables 2 to 4, beside the numbers printed there.

    Args:
        metrics: METRICS of the searches whose labels can be had.
        settings: as `archgauge.search_config.search_comparison_settings` gives them.
    """
    titles, searches = settings["titles"], settings["searches"]
    columns = {
        (name, metric, queries): _column(name, entry, metric, queries, several=len(searches) > 1)
        for name, entry in searches.items()
        for metric, queries in product(settings["metrics"], entry["queries"])
    }
    texts = {key: column.text for key, column in columns.items()}
    methods = list(dict.fromkeys(method for entry in searches.values() for method in entry.get("methods", [])))
    notes = [Note(HEADLINE_NOTE, row=titles[settings["headline"]])]
    notes += [Note(text, row=titles[name]) for name, text in settings["notes"].items()]
    notes += [Note(_NOT_RUN_HERE, method, text) for method, text in product(methods, texts.values())]
    for (name, _, queries), text in texts.items():
        entry = searches[name]
        if not entry["missing"]:
            notes.append(Note(_scale(metrics, name, entry), column=text))
        notes += [Note(entry["note"], column=text)] if "note" in entry else []
        reasons = {title: _why_empty(entry, strategy, queries) for strategy, title in titles.items()}
        notes += [Note(reason, title, text) for title, reason in reasons.items() if reason]
    return pivot(
        metrics.filter(pc.is_in(metrics["n_train"], pa.array([queries for *_, queries in columns], pa.int32()))),
        title=settings["title"],
        corner="strategy",
        rows=[
            *(Heading(title, {"predictor": name}) for name, title in titles.items()),
            *(Heading(method, {"predictor": method}) for method in methods),
        ],
        columns=list(columns.values()),
        published=dict(_beside(settings, texts)),
        notes=notes,
        reference=titles[settings["headline"]],
    )


def _column(name: str, entry: Mapping[str, Any], metric: str, queries: int, *, several: bool) -> Heading:
    family = f"{entry['family']}, " if several else ""
    where = {"experiment": name, "metric": metric, "n_train": queries}
    return Heading(f"{family}{_METRICS[metric]}, {queries:,} queries", where)


def _scale(metrics: pa.Table, name: str, entry: Mapping[str, Any]) -> str:
    """What was searched, by which label, and how good its best architecture is."""
    rows = metrics.filter((pc.field("experiment") == name) & (pc.field("n_train") == 1))
    first = (rows.filter(pc.field("metric") == metric)["value"][0].as_py() for metric in ("found_accuracy", "regret"))
    searched = "" if entry["searched_label"] == entry["label"] else f", searched by {entry['searched_label']}"
    return (
        f"{rows['n'][0].as_py():,} architectures, the best of them at {sum(first):.2f} % by the label "
        f"{entry['label']}{searched}."
    )


def _why_empty(entry: Mapping[str, Any], strategy: str, queries: int) -> str | None:
    if entry["missing"]:
        return entry["missing"]
    if strategy not in entry["strategies"]:
        return entry["absent"][strategy]
    return f"Our searches end after {entry['most']:,} queries." if queries > entry["most"] else None


def _beside(settings: Mapping[str, Any], texts: Mapping[tuple, str]) -> Iterator[tuple[tuple[str, str], Published]]:
    """The printed numbers: at the last query of ours, or after as many queries as the paper says."""
    rows = {settings["titles"][name]: row for name, row in settings["strategies"].items() if row is not None}
    for name, entry in settings["searches"].items():
        for metric, (table, column) in entry.get("published", {}).items():
            for text, row in (rows | {method: method for method in entry.get("methods", [])}).items():
                spent = int(published(_PAPER, table, row, entry["at"]).value) if "at" in entry else entry["most"]
                yield (text, texts[name, metric, spent]), published(_PAPER, table, row, column)
