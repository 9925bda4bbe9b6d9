"""Protocols: train each predictor on what a split reveals, and predict everything. No truth enters a prediction."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from archgauge.evaluation.labels import label_values, labelled
from archgauge.evaluation.splits import division
from archgauge.fragments import FragmentStore, sweep
from archgauge.predictors.population import Population
from archgauge.schemas import PREDICTIONS


def few_label(
    make: Callable[[int], Any],
    population: Population,
    accuracy_pct: np.ndarray,
    splits: pa.Table,
    runs: Sequence[tuple[int, int]],
    **kept: Any,
) -> pa.Table:
    """Learn from the first labels of each split's pool and predict the whole family.

    Args:
        make: a predictor from its seed.
        population: N architectures of the family.
        accuracy_pct: (N,) their labels, of which a run sees those that its split reveals.
        splits: SPLITS of the family.
        runs: numbers of labels to learn from, each with how many of the splits.
        kept: where finished runs are kept; see `swept`.

    Returns:
        PREDICTIONS of all runs.
    """

    def compute(run: Mapping[str, Any]) -> pa.Table:
        rows = division(splits, run["split"], population.arch_id).training_rows(run["n_train"])
        predictor = make(run["split"]).fit(population.take(rows), accuracy_pct[rows])
        return prediction_rows(population.arch_id, predictor.predict(population), run)

    return swept(_tasks(splits, runs, population.arch_id), compute, **kept)


def zero_shot(
    make: Callable[[int], Any],
    source: Population,
    source_accuracy_pct: np.ndarray,
    source_splits: pa.Table,
    target: Population,
    runs: Sequence[tuple[int, int]],
    **kept: Any,
) -> pa.Table:
    """Learn from the labels of a source family and predict a target family, of which no label is given.

    Args:
        make: a predictor from its seed.
        source, source_accuracy_pct: S labelled architectures, (S,).
        source_splits: SPLITS of the source.
        target: N architectures of the target family.
        runs: numbers of source labels to learn from, each with how many of the splits.
        kept: where finished runs are kept; see `swept`.

    Returns:
        PREDICTIONS of the target; `n_train` counts source labels.
    """

    def compute(run: Mapping[str, Any]) -> pa.Table:
        rows = division(source_splits, run["split"], source.arch_id).training_rows(run["n_train"])
        predictor = make(run["split"]).fit(source.take(rows), source_accuracy_pct[rows])
        return prediction_rows(target.arch_id, predictor.predict(target), run)

    return swept(_tasks(source_splits, runs, source.arch_id), compute, **kept)


def labelled_population(population: Population, labels: pa.Table, label: str) -> tuple[Population, np.ndarray]:
    """The architectures of a population that have `label`, and its values (n,) for them."""
    known = population.take(labelled(labels, label, population.arch_id))
    return known, label_values(labels, label, known.arch_id)


def factory(module: str, settings: Mapping[str, Any]) -> Callable[[int], Any]:
    """A function that makes the predictor of a module from a seed."""
    predictor = import_module(f"archgauge.predictors.{module}").Predictor
    return lambda seed: predictor(**settings, seed=seed)


def _tasks(splits: pa.Table, runs: Sequence[tuple[int, int]], arch_id: np.ndarray) -> list[dict[str, Any]]:
    """One task for each size and split; the seed of a task is its split, so that runs of all predictors are paired."""
    numbers = sorted(splits["split"].unique().to_pylist())
    return named_tasks([(size, split, split) for size, count in runs for split in numbers[:count]], splits, arch_id)


def named_tasks(runs: Sequence[tuple[int, int, int]], splits: pa.Table, arch_id: np.ndarray) -> list[dict[str, Any]]:
    """One task for each (n_train, split, seed).

    A task names its own training set, and the table of splits is no input of its fragment: more splits are more runs.
    """
    divisions = {split: division(splits, split, arch_id) for split in {split for _, split, _ in runs}}
    return [
        {"n_train": size, "split": split, "seed": seed, "learns_from": _hash(arch_id[rows])}
        for size, split, seed in runs
        for rows in [divisions[split].training_rows(size)]
    ]


def _hash(arch_id: np.ndarray) -> str:
    return hashlib.sha256("\n".join(arch_id).encode()).hexdigest()


def prediction_rows(arch_id: np.ndarray, predicted: np.ndarray, run: Mapping[str, Any]) -> pa.Table:
    """PREDICTIONS of one run for architectures (N,); `run` holds the other columns."""
    keys = {name: pa.array(np.full(len(arch_id), value)) for name, value in run.items() if name != "predictor"}
    name = pa.DictionaryArray.from_arrays(np.zeros(len(arch_id), np.int32), [run["predictor"]])
    return pa.table({"arch_id": arch_id, "predictor": name, **keys, "predicted": predicted}).select(PREDICTIONS.names)


def swept(
    runs: Sequence[Mapping[str, Any]],
    compute: Callable[[Mapping[str, Any]], pa.Table],
    *,
    predictor: str,
    settings: Mapping[str, Any],
    fragments: Path,
    fingerprint: str,
    inputs: Sequence[Path],
    schema: pa.Schema = PREDICTIONS,
) -> pa.Table:
    """Run what is not yet kept in `fragments` under the run, the settings, the code and the inputs."""
    store = FragmentStore(fragments, schema)
    tasks = [{**run, "predictor": predictor, "settings": settings} for run in runs]
    keep = ("n_train", "split", "seed", "predictor")
    return sweep(
        tasks,
        lambda task: compute({name: task[name] for name in keep}),
        store,
        fingerprint=fingerprint,
        inputs=inputs,
        name=predictor,
    )
