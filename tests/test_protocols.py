"""The protocols: a predictor learns from what its split reveals, and from nothing else."""

import runpy
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from archgauge.evaluation.protocols import few_label, prediction_rows, zero_shot
from archgauge.evaluation.splits import division, few_label_split
from archgauge.families import hiaml, nb201
from archgauge.graphs.tables import convert
from archgauge.predictors.population import Population
from archgauge.schemas import (
    ARCHITECTURES,
    GRAPHS,
    LABELS,
    METRICS,
    PREDICTIONS,
    SPLITS,
    architectures,
    read_table,
    write_table,
)

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


def judged(folder: Path, module, specs: list[str], unlabelled: set[int]) -> tuple[pa.Table, pa.Table]:
    """Split, predict by parameters from 3 labels, and evaluate: (SPLITS, METRICS). Labels follow the parameters."""
    ids = [module.arch_id(spec) for spec in specs]
    names = ("architectures", "graphs", "kinds", "labels", "splits", "predictions", "metrics")
    paths = {name: folder / f"{name}.parquet" for name in names}
    write_table(paths["architectures"], architectures(module.FAMILY, ids, specs), ARCHITECTURES)
    convert(paths["architectures"], module.to_graph, paths["graphs"], paths["kinds"], 1)
    params = read_table(paths["graphs"], GRAPHS, ["params"])["params"].to_pylist()
    rows = [
        {"arch_id": one, "label": "x", "value": 50 + size / max(params), "unit": "percent"}
        for place, (one, size) in enumerate(zip(ids, params, strict=True))
        if place not in unlabelled
    ]
    write_table(paths["labels"], pa.Table.from_pylist(rows, LABELS), LABELS)

    def run(script: str, inputs: list[str], output: str, **keywords) -> None:
        main = runpy.run_path(str(Path(__file__).parents[1] / f"workflow_scripts/{script}.py"))["main"]
        main(**{name: paths[name] for name in [*inputs, output]}, **keywords)

    common = {"family": module.FAMILY, "label": "x"}
    drawn = {**common, "minimum_label": None, "splits": 1, "seed": 0, "only": None}
    run("split", ["architectures", "labels"], "splits", graphs=[], settings=drawn)
    asked = {"predictor": "params", "module": "params", "keywords": {}, "source": None, "runs": [[3, 1]]}
    tables = ["architectures", "graphs", "kinds"]
    run(
        "predict",
        ["labels", "splits"],
        "predictions",
        population=[paths[name] for name in tables],
        source=[],
        settings={**common, **asked, "tables": tables},
        fingerprint="f",
    )
    shown = {"experiment": "e", "metrics": ["spearman"], "in_percent": [], "backend": "torch"}
    run(
        "evaluate",
        ["splits", "labels", "architectures", "graphs"],
        "metrics",
        predictions=[paths["predictions"]],
        settings={**common, **shown, "learnt_from_family": True, "cells": hasattr(module, "cell")},
    )
    return read_table(paths["splits"], SPLITS), read_table(paths["metrics"], METRICS)


def test_families_without_cells_are_judged_too(tmp_path):
    """They have no cells without `none`; everything else is the same."""
    _, found = judged(tmp_path, hiaml, hiaml.sample(8, RNG), set())
    assert set(found["population"].to_pylist()) == {"all", "unseen_functions"}
    assert found["value"].to_pylist() == pytest.approx([1.0, 1.0])
    assert found["n"].to_pylist() == [5, 5]


def test_architectures_without_a_label_are_left_out_everywhere(tmp_path):
    """Of 14 cells three have no label; each of five functions is there twice or more, so a shifted hash shows."""
    twins = ["skip_connect", "avg_pool_3x3", "nor_conv_1x1", "nor_conv_3x3"]
    specs = [f"|none~0|+|none~0|none~1|+|{one}~0|none~1|none~2|" for one in twins]
    specs += [f"|none~0|+|{other}~0|none~1|+|{one}~0|none~1|none~2|" for one in twins for other in twins[1:3]]
    specs += [f"|skip_connect~0|+|none~0|skip_connect~1|+|{one}~0|none~1|skip_connect~2|" for one in twins[1:3]]
    unlabelled = {0, 5, 9}
    splits, found = judged(tmp_path, nb201, specs, unlabelled)
    hashes = read_table(tmp_path / "graphs.parquet", GRAPHS, ["arch_id", "live_hash"]).to_pylist()
    function = {row["arch_id"]: row["live_hash"] for row in hashes}
    labelled = [nb201.arch_id(spec) for place, spec in enumerate(specs) if place not in unlabelled]
    assert set(splits["arch_id"].to_pylist()) == set(labelled)
    learnt = division(splits, 0, labelled).training_rows(3)
    left = [place for place in range(len(labelled)) if place not in learnt]
    seen = {function[labelled[place]] for place in learnt}
    unseen = [place for place in left if function[labelled[place]] not in seen]
    assert len(unseen) < len(left)
    counts = dict(zip(found["population"].to_pylist(), found["n"].to_pylist(), strict=True))
    assert counts == {"all": len(left), "unseen_functions": len(unseen)}


def test_a_zero_shot_target_is_judged_where_it_has_a_label(tmp_path):
    """Of 40 cells 25 have the label, in another order; the others' predictions and rows count nowhere."""
    rng = np.random.default_rng(5)
    specs = nb201.sample(40, rng)
    ids = np.array([nb201.arch_id(spec) for spec in specs])
    paths = {name: tmp_path / name for name in ("architectures", "graphs", "labels", "predictions", "metrics")}
    write_table(paths["architectures"], architectures("nb201", ids, specs), ARCHITECTURES)
    convert(paths["architectures"], nb201.to_graph, paths["graphs"], tmp_path / "kinds", 1)
    known = rng.permutation(40)[:25]
    true, predicted = rng.uniform(10, 90, 40), rng.normal(size=40)
    labels = [{"arch_id": ids[row], "label": "x", "value": true[row], "unit": "percent"} for row in known]
    labels += [{"arch_id": one, "label": "another", "value": 1.0, "unit": "percent"} for one in ids]
    write_table(paths["labels"], pa.Table.from_pylist(labels, LABELS), LABELS)
    run = {"predictor": "p", "n_train": 7, "split": 0, "seed": 0}
    write_table(paths["predictions"], prediction_rows(ids, predicted, run), PREDICTIONS)
    main = runpy.run_path(str(Path(__file__).parents[1] / "workflow_scripts/evaluate.py"))["main"]
    settings = {"family": "nb201", "label": "x", "experiment": "e", "metrics": ["spearman", "mae"], "in_percent": ["p"]}
    settings |= {"backend": "torch", "learnt_from_family": False, "cells": True}
    given = {name: paths[name] for name in ("architectures", "graphs", "labels", "metrics")}
    main(**given, predictions=[paths["predictions"]], splits=tmp_path / "of_the_source", settings=settings)
    found = {(row["population"], row["metric"]): row for row in read_table(paths["metrics"], METRICS).to_pylist()}
    whole = np.array([row for row in known if "none" not in specs[row]])
    assert 2 < len(whole) < 25
    for population, rows in (("all", known), ("without_none", whole)):
        rho, error = found[population, "spearman"], found[population, "mae"]
        assert rho["n"] == len(rows)
        assert rho["value"] == pytest.approx(stats.spearmanr(predicted[rows], true[rows]).statistic)
        assert error["value"] == pytest.approx(np.abs(predicted[rows] - true[rows]).mean())
