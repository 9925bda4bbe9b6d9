"""The protocols: a predictor learns from what its split reveals, and from nothing else."""

import runpy
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest

from archgauge.evaluation.protocols import factory, few_label, zero_shot
from archgauge.evaluation.splits import division, few_label_split
from archgauge.families import hiaml
from archgauge.families._common import architectures
from archgauge.graphs.tables import convert
from archgauge.predictors.population import Population
from archgauge.schemas import ARCHITECTURES, LABELS, METRICS, PREDICTIONS, SPLITS, read_table, write_table

N, SIZES = 40, [(5, 3), (12, 2)]
RNG = np.random.default_rng(0)


def population(family: str) -> Population:
    ids = np.array([f"{family}/{number}" for number in range(N)], object)
    return Population(ids, RNG.uniform(1e6, 1e9, N), RNG.uniform(1e4, 1e6, N))


SOURCE, TARGET = population("source"), population("target")
ACCURACY_PCT = RNG.permutation(np.linspace(10, 90, N))
DRAWN = few_label_split(SOURCE.arch_id, 3, np.random.default_rng(1))


class Recorder:
    """Writes down what it was fitted on, and predicts its seed and the size of what it is asked about."""

    fits: ClassVar[list[tuple[int, list[str], list[float]]]]

    def __init__(self, seed: int):
        self.seed = seed

    def fit(self, population: Population, accuracy_pct: np.ndarray):
        self.fits.append((self.seed, population.arch_id.tolist(), accuracy_pct.tolist()))
        return self

    def predict(self, population: Population) -> np.ndarray:
        return self.seed * 1000 + population.macs


@pytest.fixture
def recorder(tmp_path):
    class Fresh(Recorder):
        fits: ClassVar[list] = []

    kept = {"predictor": "recorder", "settings": {}, "fragments": tmp_path, "fingerprint": "f", "inputs": []}
    return Fresh, kept


def expected_fits() -> list[tuple[int, list[str], list[float]]]:
    rows = [
        (split, division(DRAWN, split, SOURCE.arch_id).training_rows(n)) for n, count in SIZES for split in range(count)
    ]
    return [(split, SOURCE.arch_id[index].tolist(), ACCURACY_PCT[index].tolist()) for split, index in rows]


def runs(table: pa.Table) -> dict[tuple[int, int, int], pa.Table]:
    keys = {tuple(row.values()) for row in table.select(["n_train", "split", "seed"]).to_pylist()}
    columns = [table[name].to_numpy() for name in ("n_train", "split", "seed")]
    masks = {key: np.logical_and.reduce([c == k for c, k in zip(columns, key, strict=True)]) for key in keys}
    return {key: table.filter(pa.array(mask)) for key, mask in masks.items()}


def check_predictions(table: pa.Table, judged: Population) -> None:
    """Every run predicts the whole family, with the predictor of its own seed."""
    found = runs(table)
    assert sorted(found) == [(n, split, split) for n, count in SIZES for split in range(count)]
    for (_, _, seed), rows in found.items():
        assert rows["arch_id"].to_pylist() == judged.arch_id.tolist()
        np.testing.assert_array_equal(rows["predicted"].to_numpy(), seed * 1000 + judged.macs)


def test_few_label_reveals_its_own_split_and_no_more(recorder):
    make, kept = recorder
    table = few_label(make, SOURCE, ACCURACY_PCT, DRAWN, SIZES, **kept)
    assert make.fits == expected_fits()
    check_predictions(table, SOURCE)


def test_zero_shot_reveals_source_labels_only(recorder):
    make, kept = recorder
    table = zero_shot(make, SOURCE, ACCURACY_PCT, DRAWN, TARGET, SIZES, **kept)
    assert make.fits == expected_fits()
    check_predictions(table, TARGET)


def test_a_finished_run_is_not_made_again(recorder):
    make, kept = recorder
    first = few_label(make, SOURCE, ACCURACY_PCT, DRAWN, SIZES, **kept)
    made = len(make.fits)
    assert few_label(make, SOURCE, ACCURACY_PCT, DRAWN, SIZES, **kept).equals(first)
    assert len(make.fits) == made
    few_label(make, SOURCE, ACCURACY_PCT, DRAWN, [(5, 3), (12, 3)], **kept)
    assert len(make.fits) == made + 1


def test_families_without_cells_are_judged_too(tmp_path):
    """They have no cells without `none`; everything else is the same."""
    specs = hiaml.sample(6, RNG)
    ids = [hiaml.arch_id(spec) for spec in specs]
    paths = {name: tmp_path / f"{name}.parquet" for name in ("architectures", "graphs", "kinds", "labels", "splits")}
    write_table(paths["architectures"], architectures(hiaml.FAMILY, ids, specs), ARCHITECTURES)
    convert(paths["architectures"], hiaml.to_graph, paths["graphs"], paths.pop("kinds"), 1)
    rows = [{"arch_id": one, "label": "x", "value": 90.0 + place, "unit": "percent"} for place, one in enumerate(ids)]
    write_table(paths["labels"], pa.Table.from_pylist(rows, LABELS), LABELS)
    splits = few_label_split(ids, 1, RNG)
    write_table(paths["splits"], splits, SPLITS)
    population = Population(np.array(ids, object), np.ones(6), np.arange(6.0))
    kept = {"predictor": "params", "settings": {}, "fragments": tmp_path / "f", "fingerprint": "f", "inputs": []}
    table = few_label(factory("params", {}), population, np.ones(6), splits, [(2, 1)], **kept)
    write_table(tmp_path / "predictions.parquet", table, PREDICTIONS)
    evaluate = runpy.run_path(str(Path(__file__).parents[1] / "workflow_scripts/evaluate.py"))["main"]
    settings = {
        "experiment": "e",
        "family": "hiaml",
        "label": "x",
        "metrics": ["spearman"],
        "in_percent": [],
        "learnt_from_family": True,
        "cells": False,
        "backend": "torch",
    }
    evaluate(predictions=[tmp_path / "predictions.parquet"], metrics=tmp_path / "m.parquet", settings=settings, **paths)
    found = read_table(tmp_path / "m.parquet", METRICS)
    assert set(found["population"].to_pylist()) == {"all", "unseen_functions"}
    assert found["value"].to_pylist() == [1.0, 1.0]
