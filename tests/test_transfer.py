"""Transfers: what a source hands over, what a target may and may not give away, and who is judged."""

import copy
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from memory_store import family_store
from test_neural_predictors import toy_population

from archgauge.errors import FormatError, TableError
from archgauge.evaluation import source_models
from archgauge.evaluation.results import Truth, metric_rows
from archgauge.evaluation.source_models import SourceModel, load_model, save_model, transferred
from archgauge.evaluation.splits import division, few_label_split, rows_of_role, source_split
from archgauge.evaluation.transfer import ensemble, train_source, transfer
from archgauge.predictors import fuzzy_ensemble, gcn, gin, k_gnn, macs, pairwise, pairwise_fuzzy, regressor
from archgauge.predictors.population import Population
from archgauge.schemas import LABELS, PREDICTIONS, SCORES, SPLITS, read_table, write_table

ROOT = Path(__file__).parents[1]

HEADS = {
    "regressor": regressor,
    "fuzzy_ensemble": fuzzy_ensemble,
    "pairwise": pairwise,
    "pairwise_fuzzy": pairwise_fuzzy,
}
GNNS = {"k_gnn": k_gnn, "gcn": gcn, "gin": gin}
SHORT = {"epochs": 4, "learning_rate": 1e-3}
TUNING = {"epochs": 5, "learning_rate": 1e-3, "batch_size": 1}
every_network = pytest.mark.parametrize("name", [*HEADS, *GNNS])


@pytest.fixture(autouse=True)
def one_thread():
    """Operations as small as these wait longer for a second thread than they take."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def graphs() -> Population:
    store = family_store("nb201", 24)
    store.live_hash = store.arch_id
    counts = store.macs.astype(float), store.params.astype(float)
    return Population(store.arch_id, *counts, graphs=(store, np.arange(24)))


def population_of(name: str, graphs: Population) -> tuple[Population, np.ndarray]:
    if name in HEADS:
        return toy_population(24)
    return graphs, 80 + np.random.default_rng(0).random(24)


def make(name: str):
    module = (HEADS | GNNS | {"macs": macs})[name]
    settings = {} if name == "macs" else SHORT
    return lambda seed: module.Predictor(**settings, seed=seed)


def trained(name: str, population: Population, accuracy: np.ndarray, seed: int = 0) -> SourceModel:
    splits = source_split(population.arch_id, np.random.default_rng(0))
    run = {"predictor": name, "n_train": 16, "split": 0, "seed": seed}
    return train_source(make(name), population, accuracy, splits, run, lambda *watched: None)[0]


def transferred_to(
    population, accuracy, model, splits, runs, folder: Path, name: str = "regressor", **tuning
) -> pa.Table:
    kept = {"settings": {}, "fragments": folder, "fingerprint": "", "inputs": []}
    models = [] if model is None else [model]
    return transfer(make(name), models, TUNING | tuning, population, accuracy, splits, runs, predictor=name, **kept)


def column(table: pa.Table, run: tuple, name: str = "predicted") -> np.ndarray:
    n_train, split, seed = (table[key].to_numpy() for key in ("n_train", "split", "seed"))
    return table[name].to_numpy()[(n_train == run[0]) & (split == run[1]) & (seed == run[2])]


@every_network
def test_what_is_saved_predicts_to_the_bit(name, graphs, tmp_path):
    population, accuracy = population_of(name, graphs)
    predictor = make(name)(3).fit(population.take(slice(16)), accuracy[:16])
    state = predictor.state()
    save_model(tmp_path / "m.pt", SourceModel(3, 0.5, np.arange(4.0), state, (90.0, 2.0)))
    found = load_model(tmp_path / "m.pt")
    restored = make(name)(3).restore(found.state)
    np.testing.assert_array_equal(restored.predict(population), predictor.predict(population))
    if name.startswith("pairwise"):
        np.testing.assert_array_equal(restored.score(population), predictor.score(population))
    assert vars(restored).keys() == vars(predictor).keys()
    assert (found.seed, found.spearman, found.scores.tolist()) == (3, 0.5, [0, 1, 2, 3])
    one, other = (
        each.fine_tune(population.take(slice(5)), accuracy[:5], **TUNING, seed=1).predict(population)
        for each in (predictor, restored)
    )
    np.testing.assert_array_equal(one, other)


@every_network
def test_fine_tuning_starts_from_the_source_and_keeps_its_scales(name, graphs):
    population, accuracy = population_of(name, graphs)
    predictor = make(name)(3).fit(population.take(slice(16)), accuracy[:16])
    before, scales = copy.deepcopy(predictor.state()), getattr(predictor, "target_", None)
    few = population.take(slice(16, 24))
    still = copy.deepcopy(predictor).fine_tune(few, accuracy[16:], epochs=1, learning_rate=1e-9, batch_size=1, seed=0)
    for key, value in before["network"].items():
        torch.testing.assert_close(still.network_.state_dict()[key], value, atol=1e-5, rtol=0)
    predictor.fine_tune(few, accuracy[16:], **TUNING, seed=0)
    moved = [
        (after - value).abs().max()
        for after, value in zip(predictor.network_.state_dict().values(), before["network"].values(), strict=True)
    ]
    assert max(moved) > 1e-4
    assert getattr(predictor, "target_", None) == scales


def test_fine_tuning_from_a_source_beats_a_start_from_nothing():
    """The target follows the source's rule: five labels are enough for one that knows it."""
    population, accuracy = toy_population(200)
    source = regressor.Predictor(epochs=60, learning_rate=1e-3, seed=0).fit(population.take(slice(160)), accuracy[:160])
    few, rest = population.take(slice(160, 165)), population.take(slice(165, 200))
    warm = source.fine_tune(few, accuracy[160:165], epochs=3, learning_rate=1e-4, batch_size=1, seed=0).predict(rest)
    cold = regressor.Predictor(epochs=3, learning_rate=1e-4, batch_size=1, seed=0).fit(few, accuracy[160:165])
    errors = [np.abs(guess - accuracy[165:]).mean() for guess in (warm, cold.predict(rest))]
    assert errors[0] < 0.5 * errors[1]


def test_labels_of_the_target_never_reach_zero_shot_predictions(tmp_path):
    population, accuracy = toy_population(60)
    model = trained("regressor", *toy_population(24, seed=5))
    splits = few_label_split(population.arch_id, 2, np.random.default_rng(0))
    runs = [(0, 0, 0), (8, 0, 0)]
    shuffled = np.random.default_rng(1).permutation(accuracy)
    tables = [
        transferred_to(population, labels, model, splits, runs, tmp_path / str(i))
        for i, labels in enumerate((accuracy, shuffled))
    ]
    np.testing.assert_array_equal(*(column(table, (0, 0, 0)) for table in tables))
    assert not np.array_equal(*(column(table, (8, 0, 0)) for table in tables))
    scores = [
        ensemble("e", [table, table], [[model], [model]], labels, population.arch_id, splits, runs)
        for table, labels in zip((tables[0], tables[0]), (accuracy, shuffled), strict=True)
    ]
    np.testing.assert_array_equal(*(column(table, (0, 0, 0)) for table in scores))


def test_fine_tuned_predictions_see_the_labels_of_their_samples_only(tmp_path):
    population, accuracy = toy_population(60)
    model = trained("regressor", *toy_population(24, seed=5))
    splits = few_label_split(population.arch_id, 2, np.random.default_rng(0))
    rows = division(splits, 1, population.arch_id).training_rows(8)
    hidden = np.full(60, np.nan)
    hidden[rows] = accuracy[rows]
    tables = [
        transferred_to(population, labels, model, splits, [(8, 1, 1)], tmp_path / str(i))
        for i, labels in enumerate((accuracy, hidden))
    ]
    np.testing.assert_array_equal(*(column(table, (8, 1, 1)) for table in tables))
    members = [[tables[0]] * 2, [tables[1]] * 2]
    combined = [
        ensemble("e", tables_, [[model]] * 2, labels, population.arch_id, splits, [(8, 1, 1)])
        for tables_, labels in zip(members, (accuracy, hidden), strict=True)
    ]
    np.testing.assert_array_equal(*(table["predicted"].to_numpy() for table in combined))


def test_fine_tuning_samples_are_shared_and_never_judged(tmp_path):
    """The judged rows of two predictors at a split are the same, and exclude the samples."""
    population, accuracy = toy_population(60)
    splits = few_label_split(population.arch_id, 2, np.random.default_rng(0))
    runs = [(0, 0, 0), (8, 0, 0), (8, 1, 1)]
    seen: list[list[str]] = []

    class Spy(regressor.Predictor):
        def fine_tune(self, few, labels, **settings):
            seen.append(sorted(few.arch_id))
            return super().fine_tune(few, labels, **settings)

    for name in ("one", "other"):
        model = trained("regressor", *toy_population(24, seed=5))
        table = transfer(
            lambda seed: Spy(**SHORT, seed=seed), [model], TUNING, population, accuracy, splits, runs,
            predictor=name, settings={}, fragments=tmp_path / name, fingerprint="", inputs=[],
        )  # fmt: skip
    assert seen[:2] == seen[2:]
    assert seen[0] != seen[1]
    truth = Truth("toy", "label", population.arch_id, accuracy)
    settings = {"experiment": "x", "metrics": ["mae"], "predicts_percent": ["other"], "backend": "torch"}
    judged = metric_rows(table.drop_columns("score"), splits, truth, **settings).to_pylist()
    assert [(row["n_train"], row["n"]) for row in judged] == [(0, 60), (8, 52), (8, 52)]
    rest = np.setdiff1d(np.arange(60), division(splits, 0, population.arch_id).training_rows(8))
    assert judged[1]["value"] == pytest.approx(np.abs(column(table, (8, 0, 0)) - accuracy)[rest].mean())


def test_a_predictor_without_a_source_learns_from_the_few_labels_alone(tmp_path):
    population, accuracy = toy_population(60)
    splits = few_label_split(population.arch_id, 1, np.random.default_rng(0))
    table = transferred_to(population, accuracy, None, splits, [(8, 0, 0)], tmp_path)
    rows = division(splits, 0, population.arch_id).training_rows(8)
    alone = make("regressor")(0).fit(population.take(rows), accuracy[rows]).predict(population)
    np.testing.assert_array_equal(column(table, (8, 0, 0)), alone)
    counted = transferred_to(population, accuracy, None, splits, [(0, 0, 0)], tmp_path / "m", name="macs")
    np.testing.assert_array_equal(column(counted, (0, 0, 0)), np.log1p(population.macs))


def test_the_best_seed_is_the_one_of_the_second_validation_set():
    """Labels of all other roles may be anything: the correlation that decides does not see them."""
    population, accuracy = toy_population(100)
    splits = source_split(population.arch_id, np.random.default_rng(0))
    run = {"predictor": "regressor", "n_train": 60, "split": 0, "seed": 0}
    noise = np.random.default_rng(2).normal(size=100)
    judged = rows_of_role(splits, 0, "validation2", population.arch_id)
    other = np.where(np.isin(np.arange(100), judged), accuracy, accuracy)
    watched = rows_of_role(splits, 0, "validation", population.arch_id)
    other[watched] = noise[watched]
    spoilt = np.where(np.isin(np.arange(100), judged), noise, accuracy)
    models = [
        train_source(make("regressor"), population, labels, splits, run, lambda *watched: None)
        for labels in (accuracy, other, spoilt)
    ]
    assert models[0][0].spearman == models[1][0].spearman != models[2][0].spearman
    assert models[0][1].equals(models[1][1])
    assert models[0][1].equals(models[2][1])  # nor does training see the second validation set
    learnt = accuracy[division(splits, 0, population.arch_id).training_rows(run["n_train"])]
    assert models[2][0].label_scale == (learnt.mean(), learnt.std())
    assert sorted(models[0][1]["arch_id"].to_pylist()) == sorted(population.arch_id[judged])


def test_transferred_is_the_best_or_every_seed():
    found = (0.2, np.nan, 0.9, 0.5)
    models = [SourceModel(seed, rho, np.zeros(2), None, (90.0, 2.0)) for seed, rho in enumerate(found)]
    assert [model.seed for model in transferred(models, "best")] == [2]
    assert [model.seed for model in transferred(models, "every")] == [0, 1, 2, 3]
    assert transferred(models[1:2], "best")[0].seed == 1


def test_the_unit_of_a_targets_labels_is_of_no_account(tmp_path):
    """Labels of another data set, lower and further apart, fine-tune a source's model to the same ranks."""
    population, accuracy = toy_population(40)
    model = trained("regressor", *toy_population(24, seed=5))
    splits = few_label_split(population.arch_id, 1, np.random.default_rng(0))
    one, other = (
        column(transferred_to(population, labels, model, splits, [(8, 0, 0)], tmp_path / name), (8, 0, 0))
        for name, labels in (("as they are", accuracy), ("moved", accuracy / 4 + 3))
    )
    np.testing.assert_allclose(other, one / 4 + 3, rtol=1e-3)
    assert np.ptp(one) > 0.1


def test_each_transferred_seed_makes_its_own_zero_shot_run(tmp_path):
    population, accuracy = toy_population(40)
    models = [trained("regressor", *toy_population(24, seed=5), seed) for seed in (0, 1)]
    splits = few_label_split(population.arch_id, 1, np.random.default_rng(0))
    kept = {"settings": {}, "fragments": tmp_path, "fingerprint": "", "inputs": []}
    runs = [(0, 0, 0), (0, 0, 1)]
    table = transfer(make("regressor"), models, TUNING, population, accuracy, splits, runs, predictor="r", **kept)
    for seed in (0, 1):
        wanted = make("regressor")(seed).restore(models[seed].state).predict(population)
        np.testing.assert_array_equal(column(table, (0, 0, seed)), wanted)


def test_validation_is_watched_after_every_epoch():
    population, accuracy = toy_population(100)
    splits = source_split(population.arch_id, np.random.default_rng(0))
    run = {"predictor": "regressor", "n_train": 60, "split": 0, "seed": 0}
    seen = []
    train_source(make("regressor"), population, accuracy, splits, run, lambda *watched: seen.append(watched))
    assert [(name, epoch) for name, _, epoch in seen] == [("validation/spearman", epoch) for epoch in range(4)]
    assert all(-1 <= value <= 1 for _, value, _ in seen)


@pytest.mark.parametrize("name", ["pairwise", "pairwise_fuzzy"])
def test_the_score_of_a_pairwise_classifier_is_its_mean_logit_and_knows_no_company(name):
    population, accuracy = toy_population(80)
    predictor = make(name)(0).fit(population.take(slice(70)), accuracy[:70])
    together = predictor.score(population)
    alone = [predictor.score(population.take(slice(row, row + 1)))[0] for row in range(5)]
    np.testing.assert_allclose(alone, together[:5], rtol=1e-4, atol=1e-5)
    inputs = predictor._inputs(population)
    with torch.inference_mode():
        latent = predictor.network_.latent(*inputs)
        by_hand = predictor.network_(latent[75].expand(64, -1), latent[:64]).mean()
    assert together[75] == pytest.approx(by_hand.item(), abs=1e-5)
    few = predictor.fine_tune(population.take(slice(70, 80)), accuracy[70:], **TUNING, seed=0)
    assert [len(part) for part in few.anchors_] == [10] * len(inputs)


def test_scores_stand_beside_ranks(tmp_path):
    population, accuracy = toy_population(40)
    model = trained("pairwise", *toy_population(24, seed=5))
    splits = few_label_split(population.arch_id, 1, np.random.default_rng(0))
    table = transferred_to(population, accuracy, model, splits, [(0, 0, 0)], tmp_path, name="pairwise")
    assert table.schema.names == SCORES.names
    assert sorted(table["predicted"].to_pylist()) == list(range(1, 41))
    predictor = make("pairwise")(0).restore(model.state)
    np.testing.assert_array_equal(table["score"].to_numpy(), predictor.score(population))


def test_the_ensemble_lays_its_members_along_each_other(tmp_path):
    """Rows of the members' tables stand in any order; only the names join them."""
    population, accuracy = toy_population(40)
    model = trained("regressor", *toy_population(24, seed=5))
    splits = few_label_split(population.arch_id, 1, np.random.default_rng(0))
    runs = [(0, 0, 0), (8, 0, 0)]
    table = transferred_to(population, accuracy, model, splits, runs, tmp_path)
    mixed = table.take(np.random.default_rng(3).permutation(len(table)))
    both = [
        ensemble("e", [table, other], [[model], [model]], accuracy, population.arch_id, splits, runs)
        for other in (table, mixed)
    ]
    assert both[0].equals(both[1])
    scores = column(table, (0, 0, 0), "score")
    np.testing.assert_allclose(column(both[0], (0, 0, 0)), (scores - model.scores.mean()) / model.scores.std())


def test_the_script_of_an_ensemble_keeps_each_members_seeds_together(tmp_path):
    population, accuracy = toy_population(40)
    splits = few_label_split(population.arch_id, 1, np.random.default_rng(0))
    names, runs = ["a", "b"], [[0, 0, 0], [8, 0, 0]]
    models = {name: [trained("regressor", *toy_population(24, seed=5), seed) for seed in start] for name, start in
              zip(names, ((0, 1), (2, 3)), strict=True)}  # fmt: skip
    best = {name: transferred(found, "best")[0] for name, found in models.items()}
    tables = {
        name: transferred_to(population, accuracy, model, splits, list(map(tuple, runs)), tmp_path / name)
        for name, model in best.items()
    }
    for name in names:
        write_table(tmp_path / f"{name}.parquet", tables[name], SCORES)
        for seed, model in enumerate(models[name]):
            save_model(tmp_path / f"{name}{seed}.pt", model)
    columns = {"arch_id": population.arch_id, "label": ["l"] * 40, "value": accuracy, "unit": ["percent"] * 40}
    write_table(
        tmp_path / "labels", pa.table({key: list(values) for key, values in columns.items()}).cast(LABELS), LABELS
    )
    write_table(tmp_path / "splits", splits, SPLITS)
    runpy.run_path(str(ROOT / "workflow_scripts/ensemble.py"))["main"](
        members=[tmp_path / f"{name}.parquet" for name in names],
        models=[tmp_path / f"{name}{seed}.pt" for name in names for seed in (0, 1)],
        labels=tmp_path / "labels",
        splits=tmp_path / "splits",
        predictions=tmp_path / "out.parquet",
        settings={"predictor": "e", "label": "l", "transferred": "best", "runs": runs},
    )
    found = read_table(tmp_path / "out.parquet", PREDICTIONS)
    z = [(column(tables[n], (0, 0, 0), "score") - best[n].scores.mean()) / best[n].scores.std() for n in names]
    order = np.argsort(population.arch_id)
    np.testing.assert_allclose(column(found, (0, 0, 0)), (sum(z) / 2)[order])


def test_the_scale_of_an_ensemble_never_comes_from_the_evaluated_rows(tmp_path):
    population, accuracy = toy_population(40)
    model = trained("regressor", *toy_population(24, seed=5))
    splits = few_label_split(population.arch_id, 1, np.random.default_rng(0))
    table = transferred_to(population, accuracy, model, splits, [(8, 0, 0)], tmp_path)
    rows = division(splits, 0, population.arch_id).training_rows(8)
    rest = np.setdiff1d(np.arange(40), rows)
    spoilt = table["score"].to_numpy().copy()
    spoilt[rest[1:]] += 1000.0
    other = table.set_column(table.schema.get_field_index("score"), "score", pa.array(spoilt))
    values = [
        ensemble("e", [one, one], [[model]] * 2, accuracy, population.arch_id, splits, [(8, 0, 0)])[
            "predicted"
        ].to_numpy()
        for one in (table, other)
    ]
    kept = np.append(rows, rest[0])
    np.testing.assert_array_equal(values[0][kept], values[1][kept])


@pytest.mark.parametrize("content", [b"", b"not a model", None])
def test_a_file_that_is_no_source_model(tmp_path, content):
    path = tmp_path / "0.pt"
    torch.save({"format": "another"}, path) if content is None else path.write_bytes(content)
    with pytest.raises(FormatError, match=r"a predictor trained on a source at .*0.pt: expected a file that says"):
        load_model(path)


def test_a_model_file_never_unpickles_code(tmp_path, capsys):
    class Bad:
        def __reduce__(self):
            return (print, ("unpickled",))

    torch.save({"format": source_models._FORMAT, "state": Bad()}, tmp_path / "bad.pt")
    with pytest.raises(FormatError, match="a predictor trained on a source"):
        load_model(tmp_path / "bad.pt")
    assert "unpickled" not in capsys.readouterr().out


def test_roles_that_a_split_does_not_have():
    population, _ = toy_population(40)
    splits = few_label_split(population.arch_id, 1, np.random.default_rng(0))
    with pytest.raises(TableError, match="the role validation of split 0"):
        rows_of_role(splits, 0, "validation", population.arch_id)


def test_roles_keep_their_positions():
    population, _ = toy_population(40)
    splits = source_split(population.arch_id, np.random.default_rng(0))
    order = np.random.default_rng(1).permutation(40)
    names = [population.arch_id[rows_of_role(splits, 0, "validation", population.arch_id)]]
    mixed = replace(population, arch_id=population.arch_id[order])
    names.append(mixed.arch_id[rows_of_role(splits, 0, "validation", mixed.arch_id)])
    np.testing.assert_array_equal(*names)
    roles = [set(rows_of_role(splits, 0, role, population.arch_id)) for role in ("train", "validation", "validation2")]
    assert [len(role) for role in roles] == [32, 4, 4]
    assert len(set.union(*roles)) == 40
