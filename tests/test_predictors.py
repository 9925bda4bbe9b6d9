"""Every predictor keeps its contract; a new one is tested the moment its file exists."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.stats import rankdata

from archgauge import predictors
from archgauge.errors import PredictorError
from archgauge.families import nb201
from archgauge.graphs.composition import write_compositions
from archgauge.graphs.paths import write_structures
from archgauge.graphs.store import GraphStore
from archgauge.graphs.tables import convert
from archgauge.predictors.inputs import read_matrix
from archgauge.predictors.neural import Ranker
from archgauge.predictors.population import Population
from archgauge.schemas import ARCHITECTURES, COMPOSITIONS, STRUCTURES, write_table

NO_PREDICTORS = {"population", "inputs", "neural", "matern_gp", "shared_gp_columns"}
NAMES = sorted(
    module.name
    for module in pkgutil.iter_modules(predictors.__path__)
    if not module.name.startswith("_") and module.name not in NO_PREDICTORS
)

SMALL: dict[str, dict] = {
    "gradient_boosting": {"rounds": 20},
    "random_forest": {"trees": 20},
    "k_gnn": {"epochs": 3},
    "gcn": {"epochs": 3},
    "gin": {"epochs": 3},
    "regressor": {"epochs": 3, "flops_transform": "eq5"},
    "fuzzy_ensemble": {"epochs": 3},
    "pairwise": {"epochs": 3},
    "pairwise_fuzzy": {"epochs": 3},
    "proxy": {"proxy": "snip"},
}
"""Settings that make a predictor's tests fast, and those that it requires."""

RANKED_TOGETHER = {"pairwise", "pairwise_fuzzy"}
"""Predictors that compare: what they predict is a rank among the architectures that they are given at once."""

N_CELLS, N_TRAIN = 60, 24

every_predictor = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Networks as small as these wait longer for a second thread than they take."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make(name: str, seed: int = 3):
    return importlib.import_module(f"archgauge.predictors.{name}").Predictor(**SMALL.get(name, {}), seed=seed)


@pytest.fixture(scope="module")
def population(tmp_path_factory) -> Population:
    """NB201 cells with every column a predictor may ask for; the embedding says something of the cell."""
    folder = tmp_path_factory.mktemp("graphs")
    rng = np.random.default_rng(0)
    specs = nb201.sample(N_CELLS, rng)
    rows = [{"arch_id": nb201.arch_id(spec), "family": "nb201", "spec": spec} for spec in specs]
    write_table(folder / "architectures.parquet", pa.Table.from_pylist(rows, ARCHITECTURES), ARCHITECTURES)
    convert(folder / "architectures.parquet", nb201.to_graph, folder / "graphs.parquet", folder / "kinds.parquet", 1)
    store = GraphStore(folder / "graphs.parquet", folder / "kinds.parquet")
    np.testing.assert_array_equal(store.arch_id, [row["arch_id"] for row in rows])
    cells = tuple(nb201.cell(spec) for spec in specs)
    write_structures(folder / "graphs.parquet", folder / "kinds.parquet", folder / "structures.parquet")
    write_compositions(folder / "graphs.parquet", folder / "kinds.parquet", folder / "compositions.parquet")
    counts = np.array([[cell.operations.count(name) for name in ("conv3x3", "conv1x1", "none")] for cell in cells])
    embedding = np.hstack([counts, rng.normal(size=(N_CELLS, 13))]).astype(np.float32)
    membership = rng.dirichlet(np.ones(3), size=N_CELLS).astype(np.float32)
    return Population(
        arch_id=np.array([row["arch_id"] for row in rows], dtype=object),
        macs=store.macs.astype(np.float64),
        params=store.params.astype(np.float64),
        cells=cells,
        embedding=embedding,
        membership=membership,
        structure=read_matrix(folder / "structures.parquet", STRUCTURES, "structure"),
        composition=read_matrix(folder / "compositions.parquet", COMPOSITIONS, "composition"),
        proxies=np.array([(score,) for score in rng.random(N_CELLS)], dtype=[("snip", np.float64)]),
        graphs=(store, np.arange(N_CELLS)),
    )


@pytest.fixture(scope="module")
def accuracy_pct(population) -> np.ndarray:
    return 60 + 5 * population.embedding[:, 0].astype(np.float64) + np.random.default_rng(1).random(N_CELLS)


@pytest.fixture(scope="module")
def train_fit(population, accuracy_pct) -> Callable:
    """Fit each predictor once; the tests that only predict share it."""
    fitted: dict = {}

    def get(name: str):
        if name not in fitted:
            fitted[name] = make(name).fit(population.take(slice(N_TRAIN)), accuracy_pct[:N_TRAIN])
        return fitted[name]

    return get


def assert_same(got: np.ndarray, wanted: np.ndarray) -> None:
    """Equal up to the rounding of float32 networks, which the size of a batch changes."""
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-4)


def test_baselines_are_found():
    baselines = {"macs", "params", "ridge", "gaussian_process", "random_forest", "gradient_boosting"}
    assert baselines <= set(NAMES)


@every_predictor
def test_constructor_stores_its_keywords_and_nothing_else(name):
    predictor = make(name)
    parameters = inspect.signature(type(predictor)).parameters
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters.values())
    assert parameters["seed"].default is inspect.Parameter.empty
    wanted = {key: parameter.default for key, parameter in parameters.items()} | SMALL.get(name, {}) | {"seed": 3}
    assert vars(predictor) == wanted


@every_predictor
def test_needs_are_columns_of_a_population(name):
    needs = importlib.import_module(f"archgauge.predictors.{name}").Predictor.needs
    assert isinstance(needs, frozenset)
    columns = {"macs", "params", "cells", "embedding", "membership", "structure", "composition", "proxies", "graphs"}
    assert needs <= columns | {"family"}


@every_predictor
def test_fit_returns_itself_and_adds_only_fitted_attributes(name, population, accuracy_pct):
    predictor = make(name)
    before = dict(vars(predictor))
    assert predictor.fit(population.take(slice(N_TRAIN)), accuracy_pct[:N_TRAIN]) is predictor
    added = set(vars(predictor)) - set(before)
    assert all(attribute.endswith("_") for attribute in added)
    assert all(vars(predictor)[key] == value for key, value in before.items())


@every_predictor
def test_predicts_one_finite_float64_each(name, train_fit, population):
    predicted = train_fit(name).predict(population)
    assert predicted.shape == (N_CELLS,)
    assert predicted.dtype == np.float64
    assert np.isfinite(predicted).all()


@every_predictor
def test_same_seed_same_numbers_and_no_global_generator_is_touched(name, train_fit, population, accuracy_pct):
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    again = make(name).fit(population.take(slice(N_TRAIN)), accuracy_pct[:N_TRAIN]).predict(population)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(again, train_fit(name).predict(population))


@every_predictor
def test_fit_leaves_the_labels_alone(name, population, accuracy_pct):
    """Neither the caller's array changes nor what it shares memory with, whether it may be written to or not."""
    every = accuracy_pct.copy()
    labels = every[:N_TRAIN]
    make(name).fit(population.take(slice(N_TRAIN)), labels)
    assert np.array_equal(every, accuracy_pct)
    labels.flags.writeable = False
    make(name).fit(population.take(slice(N_TRAIN)), labels)


@every_predictor
def test_score_does_not_depend_on_order_or_company(name, train_fit, population):
    together = train_fit(name).predict(population)
    order = np.random.default_rng(5).permutation(N_CELLS)
    assert_same(train_fit(name).predict(population.take(order)), together[order])
    score = train_fit(name).predict
    assert isinstance(train_fit(name), Ranker) == (name in RANKED_TOGETHER)
    if name in RANKED_TOGETHER:
        assert sorted(together) == sorted(rankdata(together))
        score = train_fit(name).score
    alone = [score(population.take([row]))[0] for row in range(0, N_CELLS, 7)]
    assert_same(np.array(alone), score(population)[::7])


@every_predictor
@pytest.mark.parametrize("n", [2, N_TRAIN])
def test_equal_labels_do_not_crash(name, n, population):
    predicted = make(name).fit(population.take(slice(n)), np.full(n, 91.5)).predict(population)
    assert np.isfinite(predicted).all()


@every_predictor
def test_two_labels_are_enough(name, population):
    predicted = make(name).fit(population.take(slice(2)), np.array([70.0, 90.0])).predict(population)
    assert np.isfinite(predicted).all()


@every_predictor
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_label_that_is_not_finite_is_named(name, bad, population, accuracy_pct):
    labels = accuracy_pct[:N_TRAIN].copy()
    labels[4] = bad
    with pytest.raises(PredictorError, match=rf"{population.arch_id[4]}: expected finite accuracies"):
        make(name).fit(population.take(slice(N_TRAIN)), labels)


@every_predictor
def test_labels_of_another_size_are_refused(name, population, accuracy_pct):
    with pytest.raises(PredictorError, match=rf"{name}: expected shape \({N_TRAIN},\)"):
        make(name).fit(population.take(slice(N_TRAIN)), accuracy_pct[: N_TRAIN - 1])


@every_predictor
def test_missing_column_is_named(name, population, accuracy_pct):
    bare = Population(population.arch_id, population.macs, population.params)
    predictor = make(name)
    missing = sorted(predictor.needs - {"macs", "params"})
    if not missing:
        predictor.fit(bare, accuracy_pct).predict(bare)
        return
    with pytest.raises(PredictorError, match=rf"{name}: expected a column ({'|'.join(missing)}), got none"):
        predictor.fit(bare, accuracy_pct)
