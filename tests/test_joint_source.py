"""A source of several families: whose labels are learnt from, on which scale, and what a target gives away."""

import runpy
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr
from test_neural_predictors import toy_population

from archgauge.errors import PredictorError
from archgauge.evaluation.labels import LabelScale, on_one_scale
from archgauge.evaluation.source_models import SourceModel, load_model, save_model
from archgauge.evaluation.splits import division, few_label_split, joint_split, rows_of_role, source_split
from archgauge.evaluation.transfer import train_source, transfer
from archgauge.families import nb101, nb201
from archgauge.graphs.store import GraphStore
from archgauge.graphs.tables import convert
from archgauge.predictors import k_gnn, pairwise, regressor
from archgauge.predictors.population import Population
from archgauge.schemas import ARCHITECTURES, LABELS, SCORES, SPLITS, read_table, write_table

ROOT = Path(__file__).parents[1]
TUNING = {"epochs": 3, "learning_rate": 1e-3, "batch_size": 4}
FAMILIES = {"nb101": nb101, "nb201": nb201}


@pytest.fixture(autouse=True)
def one_thread():
    """Operations as small as these wait longer for a second thread than they take."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def toy_family(name: str, n: int, seed: int, centre: float, spread: float) -> tuple[Population, np.ndarray]:
    """A toy population under another name, its accuracies brought to another place."""
    population, accuracy = toy_population(n, seed)
    ids = np.array([f"{name}/{row}" for row in range(n)], dtype=object)
    moved = centre + spread * (accuracy - accuracy.mean()) / accuracy.std()
    return Population(ids, population.macs, population.params, embedding=population.embedding), moved


def joined(*families: tuple[Population, np.ndarray]) -> tuple[Population, np.ndarray]:
    populations, accuracies = zip(*families, strict=True)
    return Population.concatenate(populations), np.concatenate(accuracies)


def splits_of(*populations: Population, n_train: list[int]) -> pa.Table:
    made = [source_split(one.arch_id, np.random.default_rng(seed)) for seed, one in enumerate(populations)]
    return joint_split(made, n_train)


def make(module=regressor, **settings):
    settings = {"epochs": 40, "learning_rate": 1e-3} | settings
    return lambda seed: module.Predictor(**settings, seed=seed)


def train(families, n_train: list[int], by_family: bool, predictor=None) -> tuple[SourceModel, pa.Table]:
    splits = splits_of(*(population for population, _ in families), n_train=n_train)
    run = {"predictor": "p", "n_train": sum(n_train), "split": 0, "seed": 0}
    return train_source(
        predictor or make(), *joined(*families), splits, run, lambda *watched: None, by_family=by_family
    )


def two_families() -> list[tuple[Population, np.ndarray]]:
    """One whose accuracies lie far apart and one whose lie close together, as NAS-Bench-201's and 301's."""
    return [toy_family("wide", 200, 0, 85.0, 8.0), toy_family("narrow", 200, 1, 93.5, 0.4)]


def tuned(model, population, accuracy, folder: Path, runs, predictor=None) -> np.ndarray:
    splits = few_label_split(population.arch_id, 1, np.random.default_rng(0))
    kept = {"predictor": "p", "settings": {}, "fragments": folder, "fingerprint": "", "inputs": []}
    table = transfer(predictor or make(), [model], TUNING, population, accuracy, splits, runs, **kept)
    return table["predicted"].to_numpy()


# Splits


def test_a_joint_split_takes_so_many_training_rows_of_each_family_and_all_others():
    families = [one for one, _ in two_families()]
    table = splits_of(*families, n_train=[30, 100])
    roles = table["role"].cast(pa.string()).to_numpy()
    family = np.array([name.partition("/")[0] for name in table["arch_id"].to_pylist()])
    counts = {(f, r): int(((family == f) & (roles == r)).sum()) for f in ("wide", "narrow") for r in set(roles)}
    assert counts == {
        ("wide", "train"): 30, ("wide", "validation"): 20, ("wide", "validation2"): 20,
        ("narrow", "train"): 100, ("narrow", "validation"): 20, ("narrow", "validation2"): 20,
    }  # fmt: skip
    ids = Population.concatenate(families).arch_id
    rows = division(table, 0, ids).training_rows(130)
    assert set(ids[rows]) == set(table["arch_id"].to_numpy()[roles == "train"])
    alone = source_split(families[0].arch_id, np.random.default_rng(0))
    first = division(alone, 0, families[0].arch_id).training_rows(30)
    assert {name for name in ids[rows] if name.startswith("wide")} == set(families[0].arch_id[first])
    watched = ids[rows_of_role(table, 0, "validation", ids)[:10]]
    assert sum(name.startswith("wide") for name in watched) == 5  # in turn: the first ones are of all families
    with pytest.raises(PredictorError, match="the training size"):
        division(splits_of(*families, n_train=[500, 100]), 0, ids).training_rows(600)


# Scales of labels


@given(st.lists(st.sampled_from("abc"), min_size=2, max_size=40), st.integers(0, 99))
def test_on_one_scale_every_family_has_the_mean_and_spread_of_all(family, seed):
    family = np.array(family)
    accuracy = np.random.default_rng(seed).uniform(10, 95, len(family))
    moved, common = on_one_scale(accuracy, family), LabelScale.of(accuracy)
    assert (common.mean, common.std) == pytest.approx((accuracy.mean(), accuracy.std()))
    for name in set(family):
        part = family == name
        assert moved[part].mean() == pytest.approx(common.mean)
        if part.sum() > 1:
            assert moved[part].std() == pytest.approx(common.std)
        np.testing.assert_array_equal(rankdata(moved[part]), rankdata(accuracy[part]))


def test_a_scale_by_hand():
    few, other = LabelScale.of(np.array([90.0, 94.0])), LabelScale(70.0, 10.0)
    assert (few.mean, few.std) == (92.0, 2.0)
    np.testing.assert_allclose(few.moved(np.array([92.0, 94.0, 91.0]), other), [70, 80, 65])
    np.testing.assert_allclose(other.moved(few.moved(np.array([92.0, 94.0]), other), few), [92, 94])
    assert LabelScale.of(np.full(3, 5.0)) == LabelScale(5.0, 1.0)


def test_a_narrow_family_is_learnt_when_labels_are_scaled_by_family():
    """In percent a squared error sees the wide family alone; the correlation that is kept is the mean of both."""
    families = two_families()
    scores = {}
    for by_family in (False, True):
        model, table = train(families, [120, 120], by_family, make(epochs=15))
        predicted = dict(zip(table["arch_id"].to_pylist(), table["predicted"].to_pylist(), strict=True))
        rhos = []
        for population, accuracy in families:
            rows = [row for row, name in enumerate(population.arch_id) if name in predicted]
            rhos.append(spearmanr([predicted[population.arch_id[row]] for row in rows], accuracy[rows])[0])
        assert model.spearman == pytest.approx(np.mean(rhos))
        scores[by_family] = rhos
    assert scores[True][1] > scores[False][1] + 0.1
    assert scores[True][1] > 0.8


def test_scales_come_from_training_labels_only():
    """Labels that are watched or judged may be anything: the trained network does not see them."""
    (wide, accuracy), narrow = two_families()
    splits = source_split(wide.arch_id, np.random.default_rng(0))
    other = accuracy.copy()
    other[division(splits, 0, wide.arch_id).training_rows(160)[120:]] = 0.0  # not among the 120 that are learnt from
    for role in ("validation", "validation2"):
        other[rows_of_role(splits, 0, role, wide.arch_id)] = 1e3
    one, same = (train([(wide, labels), narrow], [120, 120], True)[0] for labels in (accuracy, other))
    assert one.label_scale == same.label_scale
    for key, value in one.state["network"].items():
        torch.testing.assert_close(value, same.state["network"][key], rtol=0, atol=0)


def test_the_scale_is_kept_with_the_model(tmp_path):
    model, _ = train(two_families(), [40, 40], True, make(epochs=1))
    save_model(tmp_path / "m.pt", model)
    assert load_model(tmp_path / "m.pt").label_scale == model.label_scale


# Targets


@pytest.mark.parametrize("by_family", [False, True])
def test_a_target_gives_away_its_few_labels_and_nothing_else(by_family, tmp_path):
    model, _ = train(two_families(), [60, 60], by_family, make(epochs=2))
    target, accuracy = toy_family("target", 60, 7, 70.0, 3.0)
    rows = division(few_label_split(target.arch_id, 1, np.random.default_rng(0)), 0, target.arch_id).training_rows(8)
    hidden = np.full(60, np.nan)
    hidden[rows] = accuracy[rows]
    planted = np.random.default_rng(1).uniform(0, 100, 60)
    zero = [tuned(model, target, labels, tmp_path / f"z{i}", [(0, 0, 0)]) for i, labels in enumerate((hidden, planted))]
    np.testing.assert_array_equal(*zero)
    few = [tuned(model, target, labels, tmp_path / f"f{i}", [(8, 0, 0)]) for i, labels in enumerate((accuracy, hidden))]
    np.testing.assert_array_equal(*few)
    planted[rows] = accuracy[rows]
    np.testing.assert_array_equal(few[0], tuned(model, target, planted, tmp_path / "p", [(8, 0, 0)]))
    assert not np.array_equal(few[0], zero[0])


def test_fine_tuned_predictions_are_on_the_scale_of_the_targets_labels(tmp_path):
    """By family, a target in other units is fine-tuned alike: its predictions are in those units."""
    model, _ = train(two_families(), [60, 60], True)
    target, accuracy = toy_family("target", 60, 7, 70.0, 3.0)
    one = tuned(model, target, accuracy, tmp_path / "a", [(20, 0, 0)])
    other = tuned(model, target, 0.1 * accuracy + 50, tmp_path / "b", [(20, 0, 0)])
    np.testing.assert_allclose(other, 0.1 * one + 50, atol=1e-3)
    assert np.abs(one - accuracy).mean() < 2.5
    assert 65 < one.mean() < 75


def test_ranks_stay_ranks(tmp_path):
    model, _ = train(two_families(), [60, 60], True, make(pairwise, epochs=1))
    target, accuracy = toy_family("target", 30, 7, 70.0, 3.0)
    ranks = tuned(model, target, accuracy, tmp_path, [(8, 0, 0)], make(pairwise, epochs=1))
    assert sorted(ranks) == list(range(1, 31))


# Graphs of several stores, and the scripts


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> Path:
    """Tables of 30 NAS-Bench-101 and 40 NAS-Bench-201 networks, labelled by their cost."""
    folder = tmp_path_factory.mktemp("tables")
    for name, module in FAMILIES.items():
        specs = module.sample(30 if name == "nb101" else 40, np.random.default_rng(0))
        rows = [{"arch_id": module.arch_id(spec), "family": name, "spec": spec} for spec in specs]
        write_table(folder / f"{name}.a.parquet", pa.Table.from_pylist(rows, ARCHITECTURES), ARCHITECTURES)
        graphs, kinds = folder / f"{name}.g.parquet", folder / f"{name}.k.parquet"
        convert(folder / f"{name}.a.parquet", module.to_graph, graphs, kinds, 1)
        store = GraphStore(graphs, kinds)
        value = 90 + 5 * rankdata(store.macs) / len(store)
        columns = {
            "arch_id": store.arch_id,
            "label": ["l"] * len(store),
            "value": value,
            "unit": ["percent"] * len(store),
        }
        write_table(
            folder / f"{name}.l.parquet", pa.table({k: list(v) for k, v in columns.items()}).cast(LABELS), LABELS
        )
        split = source_split(store.arch_id, np.random.default_rng(0))
        write_table(folder / f"{name}.s.parquet", split, SPLITS)
    return folder


def populations(tables: Path) -> list[Population]:
    found = []
    for name in FAMILIES:
        store = GraphStore(tables / f"{name}.g.parquet", tables / f"{name}.k.parquet")
        found.append(
            Population(
                store.arch_id,
                store.macs.astype(float),
                store.params.astype(float),
                graphs=(store, np.arange(len(store))),
            )
        )
    return found


def test_a_network_gets_the_same_prediction_in_a_joined_store(tables):
    parts = populations(tables)
    whole = Population.concatenate(parts)
    accuracy = rankdata(whole.macs)
    predictor = k_gnn.Predictor(epochs=2, learning_rate=1e-3, width=8, layers=2, seed=0)
    predictor.fit(whole.take(np.random.default_rng(0).permutation(70)[:50]), accuracy[:50])
    alone = np.concatenate([predictor.predict(part) for part in parts])
    np.testing.assert_allclose(predictor.predict(whole), alone, rtol=1e-5)
    assert np.ptp(alone) > 0


def test_the_script_joins_the_families_of_a_source(tables, tmp_path):
    names = ["a", "g", "k"]
    settings = {
        "module": "k_gnn",
        "keywords": {"epochs": 2, "width": 8, "layers": 2},
        "families": [
            {"family": name, "label": "l", "n_train": n, "tables": ["architectures", "graphs", "kinds"]}
            for name, n in (("nb201", 20), ("nb101", 10))
        ],
        "by_family": True,
        "run": {"predictor": "p", "n_train": 30, "split": 0, "seed": 0},
    }
    order = ("nb201", "nb101")
    runpy.run_path(str(ROOT / "workflow_scripts/source.py"))["main"](
        population=[tables / f"{family}.{name}.parquet" for family in order for name in names],
        labels=[tables / f"{family}.l.parquet" for family in order],
        splits=[tables / f"{family}.s.parquet" for family in order],
        model=tmp_path / "0.pt",
        predictions=tmp_path / "0.parquet",
        settings=settings,
        report=lambda *watched: None,
    )
    judged = read_table(tmp_path / "0.parquet", SCORES)["arch_id"].to_pylist()
    assert sorted(name.partition("/")[0] for name in judged) == ["nb101"] * 3 + ["nb201"] * 4
    model = load_model(tmp_path / "0.pt")
    parts = populations(tables)[::-1]
    labels = [read_table(tables / f"{family}.l.parquet", LABELS)["value"].to_numpy() for family in order]
    splits = joint_split([read_table(tables / f"{family}.s.parquet", SPLITS) for family in order], [20, 10])
    by_hand, _ = train_source(
        make(k_gnn, epochs=2, width=8, layers=2, learning_rate=1e-4),
        Population.concatenate(parts),
        np.concatenate(labels),
        splits,
        settings["run"],
        lambda *watched: None,
        by_family=True,
    )
    assert model.label_scale == by_hand.label_scale
    for key, value in by_hand.state["network"].items():
        torch.testing.assert_close(model.state["network"][key], value, rtol=0, atol=0)


@pytest.mark.parametrize("splits", [None, 2])
def test_a_split_may_leave_architectures_out(tables, tmp_path, splits):
    settings = {
        "family": "nb201",
        "label": "l",
        "minimum_label": None,
        "only": "without_none",
        "splits": splits,
        "seed": 0,
    }
    runpy.run_path(str(ROOT / "workflow_scripts/split.py"))["main"](
        architectures=tables / "nb201.a.parquet",
        labels=tables / "nb201.l.parquet",
        graphs=[],
        splits=tmp_path / "s.parquet",
        settings=settings,
    )
    made = set(read_table(tmp_path / "s.parquet", SPLITS)["arch_id"].to_pylist())
    table = read_table(tables / "nb201.a.parquet", ARCHITECTURES).to_pylist()
    assert made == {row["arch_id"] for row in table if "none" not in nb201.cell(row["spec"]).operations}
    assert 0 < len(made) < 40
