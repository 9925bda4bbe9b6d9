"""The tables of the configured experiments and searches: a row for each predictor or strategy."""

from collections.abc import Mapping
from itertools import product
from typing import Any

import pyarrow as pa

from archgauge.evaluation.published import Published, published
from archgauge.evaluation.tables import Heading, Note, ResultTable, pivot

_POPULATION_NOTES = {
    "without_none": "Cells without `none`, the 4,096 of NAS-Bench-201 that papers report on, less training cells.",
    "unseen_functions": "Without cells whose live graph equals that of a training cell.",
    "all": "All cells less training cells.",
}
_ZERO_SHOT_NOTES = {
    "without_none": "Cells without the operation `none`, the 4,096 of NAS-Bench-201 that papers report on.",
    "unseen_functions": "All cells: none was learnt from.",
    "all": "All cells: none was learnt from.",
}
_HEADLINE_NOTE = "The row that the configuration names to carry the result; the others are compared with it."
_METRIC_NAMES = {
    "spearman": "ρ",
    "kendall": "τ",
    "mae": "MAE (pp)",
    "ndcg": "NDCG",
    "ndcg_linear": "NDCG, linear gain",
    "precision": "precision",
    "best_rank": "best true rank in the top",
}
_SEARCH_METRICS = {"found_accuracy": "accuracy (%)", "regret": "regret (pp)", "found_rank": "true rank"}
_SEARCH_PUBLISHED = {"found_accuracy": "Acc. (%)", "found_rank": "Rank"}


def experiment_table(metrics: pa.Table, settings: Mapping[str, Any]) -> ResultTable:
    """Arrange the METRICS of one experiment.

    Args:
        metrics: METRICS of the experiment.
        settings: as `archgauge.config.table_settings` gives them.
    """
    titles = settings["titles"]
    columns = {
        choice: _column(*choice, zero_shot=settings["protocol"] == "zero_shot")
        for choice in product(settings["metrics"], settings["populations"], settings["n_train"])
    }
    texts = _ZERO_SHOT_NOTES if settings["protocol"] == "zero_shot" else _POPULATION_NOTES
    notes = [Note(texts[choice[1]], column=column.text) for choice, column in columns.items()]
    notes.append(Note(_HEADLINE_NOTE, row=titles[settings["headline"]]))
    notes += [Note(text, row=titles[name]) for name, text in settings["notes"].items()]
    return pivot(
        metrics,
        title=settings["title"],
        corner="predictor",
        rows=[Heading(title, {"predictor": name}) for name, title in titles.items()],
        columns=list(columns.values()),
        published=_published(settings, columns),
        notes=notes,
        reference=titles[settings["headline"]],
    )


def search_table(metrics: pa.Table, settings: Mapping[str, Any]) -> ResultTable:
    """Arrange the METRICS of one search: what each strategy has found after some of its queries.

    Args:
        metrics: METRICS of the search.
        settings: as `archgauge.search_config.search_report_settings` gives them.
    """
    titles, headline = settings["titles"], settings["titles"][settings["headline"]]
    columns = {
        (metric, queries): Heading(f"{text}, {queries} queries", {"metric": metric, "n_train": queries})
        for metric, text in _SEARCH_METRICS.items()
        for queries in settings["shown"]
    }
    beside = {
        (titles[name], columns[metric, settings["queries"]].text): published(paper, table, row, column)
        for name, (paper, table, row) in settings["published"].items()
        for metric, column in _SEARCH_PUBLISHED.items()
        if (metric, settings["queries"]) in columns
    }
    notes = [
        Note(_HEADLINE_NOTE, row=headline),
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


def _column(metric: str, population: str, n_train: int, zero_shot: bool) -> Heading:
    labels = f"{n_train:,} source labels" if zero_shot else f"n={n_train}"
    name, _, top = metric.partition("@")
    text = f"{_METRIC_NAMES[name]}{top and ' @' + top}, {population.replace('_', ' ')}, {labels}"
    return Heading(text, {"metric": metric, "population": population, "n_train": n_train})


def _published(settings: Mapping[str, Any], columns: Mapping[tuple, Heading]) -> dict[tuple[str, str], Published]:
    """The papers' numbers that the table's settings name, where it has their cells."""
    return {
        (settings["titles"][one["predictor"]], columns[cell].text): published(*one["source"])
        for one in settings["published"]
        if (cell := (one["metric"], one["population"], one["n_train"])) in columns
    }
