"""The protocol of held-out families: learn from several families and predict one whose labels nobody has seen."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from archgauge.evaluation.labels import label_values
from archgauge.evaluation.metrics import spearman
from archgauge.evaluation.protocols import prediction_rows
from archgauge.evaluation.tables import Heading, Note, ResultTable, pivot
from archgauge.predictors.population import Population
from archgauge.schemas import METRICS, PREDICTIONS

MEAN = "mean"
"""The column of the mean over families, each draw of labels a run."""


def hold_out(
    make: Mapping[str, Callable[[int], Any]],
    untrained: Mapping[str, Callable[[int], Any]],
    sources: Mapping[str, tuple[Population, np.ndarray]],
    target: Population,
    *,
    n_train: int,
    draws: int,
    seed: int,
) -> pa.Table:
    """Predict a target family after learning from draws of the labels of others.

    Args:
        make: predictors from a seed, by their names.
        untrained: such that learn nothing, and may read columns that the sources do not have.
        sources: labelled architectures and their labels, by family. A draw takes `n_train` of each, or all there are.
        target: N architectures of another family, of which no label is given.
        draws: how often to draw. A family's draw depends on `seed`, its number and the family's own rows only.

    Returns:
        PREDICTIONS of the target, `n_train` labels of each source; split and seed number the draws.
    """
    tables = []
    for draw in range(draws):
        parts, labels = [], []
        for population, accuracy_pct in sources.values():
            rows = np.random.default_rng([seed, draw]).permutation(len(population))[:n_train]
            parts.append(population.take(rows))
            labels.append(accuracy_pct[rows])
        learnt = Population.concatenate(parts)
        fitted = {name: made(draw).fit(learnt, np.concatenate(labels)) for name, made in make.items()}
        fitted |= {name: made(draw).fit(target.take(slice(0)), np.empty(0)) for name, made in untrained.items()}
        for name, predictor in fitted.items():
            predicted = predictor.predict(target)
            run = {"predictor": name, "n_train": n_train, "split": draw, "seed": draw}
            tables.append(prediction_rows(target.arch_id, predicted, run))
    return pa.concat_tables(tables).unify_dictionaries().cast(PREDICTIONS)


def judged(
    predictions: pa.Table, labels: pa.Table, counted: Mapping[str, np.ndarray], settings: Mapping[str, Any]
) -> pa.Table:
    """Spearman's correlation of each run of a held-out family.

    Args:
        predictions: PREDICTIONS of the family.
        labels: its LABELS.
        counted: names of the architectures that count, (n,), by population.
        settings: "experiment", "family" and "label".

    Returns:
        METRICS.
    """
    runs = predictions.to_pandas().groupby(["predictor", "n_train", "split", "seed"], observed=True)
    truth = {population: label_values(labels, settings["label"], names) for population, names in counted.items()}
    rows = []
    for (predictor, n_train, split, seed), table in runs:
        predicted = table.set_index("arch_id")["predicted"]
        for population, names in counted.items():
            value = spearman(predicted.loc[names].to_numpy(), truth[population])
            run = {"predictor": predictor, "n_train": n_train, "split": split, "seed": seed, "population": population}
            rows.append({**settings, **run, "metric": "spearman", "value": value, "n": len(names), "backend": "none"})
    return pa.Table.from_pylist(rows, METRICS)


def held_out_table(metrics: pa.Table, settings: Mapping[str, Any]) -> ResultTable:
    """Arrange the METRICS of held-out families: predictors in rows, families in columns, their mean beside them.

    Args:
        metrics: METRICS of all families of one study.
        settings: "title"; "titles" and "notes" of the predictors; "headline"; "columns", each with "text", "family",
            "population" and "note"; "legend".
    """
    columns = settings["columns"]
    if len({column["family"] for column in columns}) > 1:
        metrics = pa.concat_tables([metrics, _means(metrics, columns)]).unify_dictionaries()
        columns = [*columns, {"text": MEAN, "family": MEAN, "population": MEAN, "note": None}]
    where = {
        column["text"]: {"metric": "spearman", "family": column["family"], "population": column["population"]}
        for column in columns
    }
    titles = settings["titles"]
    notes = [Note(column["note"], column=column["text"]) for column in columns if column["note"]]
    notes += [Note(text, row=titles[name]) for name, text in settings["notes"].items()]
    notes.append(Note(settings["legend"], row=titles[settings["headline"]]))
    return pivot(
        metrics,
        title=settings["title"],
        corner="predictor",
        rows=[Heading(title, {"predictor": name}) for name, title in titles.items()],
        columns=[Heading(text, place) for text, place in where.items()],
        notes=notes,
        reference=titles[settings["headline"]],
    )


def _means(metrics: pa.Table, columns: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The mean over the columns of each run of a predictor that has all of them, as METRICS."""
    places = {(column["family"], column["population"]) for column in columns}
    values: dict[tuple, list[float]] = {}
    for row in metrics.to_pylist():
        if (row["family"], row["population"]) in places:
            key = (row["experiment"], row["predictor"], row["n_train"], row["split"], row["seed"])
            values.setdefault(key, []).append(row["value"])
    names = ("experiment", "predictor", "n_train", "split", "seed")
    same = {"family": MEAN, "population": MEAN, "label": MEAN, "metric": "spearman", "n": len(places), "backend": ""}
    return pa.Table.from_pylist(
        [
            {**dict(zip(names, key, strict=True)), **same, "value": float(np.mean(found))}
            for key, found in values.items()
            if len(found) == len(places)
        ],
        METRICS,
    )
