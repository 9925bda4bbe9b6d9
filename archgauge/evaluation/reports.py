"""The tables of the configured experiments: a row for each predictor."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from itertools import product
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from archgauge.clustering import FuzzyClusters
from archgauge.evaluation.published import Published, published
from archgauge.evaluation.tables import Heading, Note, ResultTable, pivot, transposed

_POPULATION_NOTES = {
    "without_none": "Cells without `none`, the 4,096 of NAS-Bench-201 that papers report on, less training cells, "
    "which are drawn from all 15,625.",
    "unseen_functions": "Without cells whose live graph equals that of a training cell.",
    "all": "All architectures less those learnt from.",
}
_ZERO_SHOT_NOTES = {
    "without_none": "Cells without the operation `none`, the 4,096 of NAS-Bench-201 that papers report on.",
    "unseen_functions": "All cells: none was learnt from.",
    "all": "All architectures: none was learnt from.",
}
_SOURCE_NOTES = dict.fromkeys(
    _POPULATION_NOTES,
    "The second validation set, a tenth of the family. Encoders and clusters have seen its graphs, without labels.",
)
_PROTOCOL_NOTES = {"zero_shot": _ZERO_SHOT_NOTES, "source": _SOURCE_NOTES}
HEADLINE_NOTE = "The row that the configuration names to carry the result; the others are compared with it."
_METRIC_NAMES = {
    "spearman": "ρ",
    "kendall": "τ",
    "mae": "MAE (pp)",
    "ndcg": "NDCG@{}",
    "ndcg_linear": "NDCG@{}, linear gain",
    "precision": "precision@{}",
    "best_rank": "best true rank in the top {}",
}


def experiment_table(
    metrics: pa.Table, clusterings: Mapping[str, FuzzyClusters], settings: Mapping[str, Any]
) -> ResultTable:
    """Arrange the METRICS of one experiment.

    Args:
        metrics: METRICS of the experiment.
        clusterings: the fits whose memberships some of the predictors read.
        settings: as `archgauge.config.table_settings` gives them.
    """
    titles = settings["titles"]
    columns = {
        choice: _column(*choice, zero_shot=settings["protocol"] == "zero_shot")
        for choice in product(settings["metrics"], settings["populations"], settings["n_train"])
    }
    texts = _PROTOCOL_NOTES.get(settings["protocol"], _POPULATION_NOTES)
    notes = [Note(texts[choice[1]], column=column.text) for choice, column in columns.items()]
    if settings["protocol"] == "source":
        judged = {column.text: _judged(metrics, column.where) for column in columns.values()}
        notes += [Note(f"Label {settings['label']}; {n:,} networks judged.", column=text) for text, n in judged.items()]
    notes.append(Note(HEADLINE_NOTE, row=titles[settings["headline"]]))
    notes += [Note(text, row=title) for title, text in settings["notes"]]
    notes += cluster_notes(clusterings, settings["clusterings"])
    notes += _no_errors(settings, [column for (metric, *_), column in columns.items() if metric == "mae"])
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


def transfer_table(
    metrics: pa.Table, clusterings: Mapping[str, FuzzyClusters], settings: Mapping[str, Any]
) -> ResultTable:
    """Arrange how predictors transfer to families: GENNAPE's Tables 4 to 6 and 8 to 10.

    Args:
        metrics: METRICS of all experiments of the table.
        clusterings: the fits whose memberships some of the predictors read.
        settings: as `archgauge.transfer_config.transfer_table_settings` gives them.
    """
    titles, rows = settings["titles"], settings["rows"]
    lines = {
        (text, metric): _line(text if len(settings["metrics"]) == 1 else f"{text}, {metric}", row, metric)
        for metric, text, row in ((metric, *item) for metric in settings["metrics"] for item in rows.items())
    }
    notes = [Note(text, row=title) for title, text in settings["notes"]]
    notes += cluster_notes(clusterings, settings["clusterings"])
    notes += _no_errors(settings, [line for (_, metric), line in lines.items() if metric == "mae"])
    for (text, _), line in lines.items():
        row = rows[text]
        if "missing" in row:
            notes += [Note(row["missing"], title, line.text) for title in titles.values()]
        else:
            scale = settings["scales"][text]
            notes.append(Note(f"{scale} {_judged(metrics, line.where):,} networks judged.", column=line.text))
            notes += [Note(why, titles[name], line.text) for name, why in settings["not_run"][text].items()]
        notes += [Note(row["note"], column=line.text)] if "note" in row else []
    table = pivot(
        metrics,
        title=settings["title"],
        corner="predictor",
        rows=[Heading(title, {"predictor": name}) for name, title in titles.items()],
        columns=list(lines.values()),
        published={
            (titles[name], line.text): published(
                "gennape", settings["metrics"][metric], rows[text]["published"], column
            )
            for (text, metric), line in lines.items()
            for name, column in settings["predictors"].items()
            if column is not None and "published" in rows[text]
        },
        notes=notes,
        reference=titles[settings["headline"]],
    )
    legend = (*table.legend, *([settings["note"]] if "note" in settings else []))
    return transposed(replace(table, legend=legend), corner="family")


def _judged(metrics: pa.Table, where: Mapping[str, object]) -> int:
    """How many architectures the numbers under a heading are of; runs differ where groups stay together."""
    masks = (pc.equal(metrics[name], value) for name, value in where.items())
    return pc.max(metrics.filter(reduce(pc.and_, masks))["n"]).as_py() or 0


def _no_errors(settings: Mapping[str, Any], columns: Sequence[Heading]) -> list[Note]:
    """Why a predictor whose score is no accuracy has no error in percent points."""
    scoring = [title for name, title in settings["titles"].items() if name not in settings["in_percent"]]
    return [Note("Its score is no accuracy.", title, column.text) for title in scoring for column in columns]


def _line(text: str, row: Mapping[str, Any], metric: str) -> Heading:
    if "missing" in row:
        return Heading(text, {"metric": metric, "experiment": None})
    return Heading(text, {"metric": metric, **{key: row[key] for key in ("experiment", "n_train", "population")}})


def cluster_notes(clusterings: Mapping[str, FuzzyClusters], of_rows: Iterable[tuple[str, str]]) -> list[Note]:
    """Say at each predictor's row how its fuzzy clusters came out: a collapsed fit is never used silently.

    Args:
        of_rows: the text of each row and the name of its clustering.
    """
    notes = []
    for row, name in of_rows:
        fit, found = clusterings[name], clusterings[name].diagnosis
        notes.append(
            Note(
                f"Fuzzy clusters {name}: m = {fit.fuzzifier:g}, {found.distinct_centroids} of {len(fit.centroids)} "
                f"centroids distinct, λ = {found.largest_eigenvalue:.3f} ({found.bound}), entropy of "
                f"the memberships {found.membership_entropy:.3f} of 1.",
                row=row,
            )
        )
    return notes


def _column(metric: str, population: str, n_train: int, zero_shot: bool) -> Heading:
    labels = f"{n_train:,} source labels" if zero_shot else f"n={n_train}"
    name, _, top = metric.partition("@")
    text = f"{_METRIC_NAMES[name].format(top)}, {population.replace('_', ' ')}, {labels}"
    return Heading(text, {"metric": metric, "population": population, "n_train": n_train})


def _published(settings: Mapping[str, Any], columns: Mapping[tuple, Heading]) -> dict[tuple[str, str], Published]:
    """The papers' numbers that the table's settings name, where it has their cells."""
    return {
        (settings["titles"][one["predictor"]], columns[cell].text): published(*one["source"])
        for one in settings["published"]
        if (cell := (one["metric"], one["population"], one["n_train"])) in columns
    }
