"""Every strategy keeps its contract; a new one is tested the moment its file exists."""

import copy
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml
from scipy import stats

from archgauge.config_check import check
from archgauge.errors import ConfigError
from archgauge.families import nb101, nb201
from archgauge.fingerprint import choices
from archgauge.predictors.params import Predictor as Params
from archgauge.predictors.population import Population
from archgauge.schemas import ARCHITECTURES, TRACES
from archgauge.search import evolution, random_search
from archgauge.search.guide import NoGuide, PredictorGuide
from archgauge.search.oracle import Oracle, SearchError
from archgauge.search.runs import trace, traces
from archgauge.search.space import Space

SHIPPED = yaml.safe_load((Path(__file__).parents[1] / "config.yaml").read_text())


@pytest.fixture(scope="module")
def space() -> Space:
    return Space.of("nb201", nb201.enumerate_specs())


NAMES = choices("archgauge.search", "search")


SETTINGS: dict[str, dict] = {
    "evolution": {"drawn": 12, "labelled": 12, "initial": 6, "parents": 4, "children": 20, "batch": 5, "refit": True}
}
"""Settings of the strategies that require any."""


BUDGET = 39  # leaves a part of a batch at the end


every_strategy = pytest.mark.parametrize("name", NAMES)


def strategy(name: str, **changed):
    return partial(import_module(f"archgauge.search.{name}").search, **(SETTINGS.get(name, {}) | changed))


@pytest.fixture(scope="module")
def truth(space) -> np.ndarray:
    """Accuracies (15625,) that depend on the operations, with noise: neighbours are alike, none are equal."""
    worth = {"none": 0, "skip_connect": 6, "nor_conv_1x1": 7, "nor_conv_3x3": 8, "avg_pool_3x3": 4}
    sums = np.array([sum(worth[operation] for operation in nb201.parse(spec)) for spec in space.specs])
    return 40 + sums + np.random.default_rng(0).normal(0, 0.5, len(sums))


class Watched(Oracle):
    """An oracle that keeps every single query."""

    def __init__(self, *args):
        super().__init__(*args)
        self.asked: list[int] = []

    def query(self, row):
        self.asked.append(int(row))
        return super().query(row)


class Spy(NoGuide):
    """A guide that compares what it is given with what the oracle has answered."""

    def __init__(self, oracle: Watched, truth: np.ndarray):
        self.oracle, self.truth, self.learnt = oracle, truth, []

    def fit(self, rows, accuracy_pct):
        assert set(rows.tolist()) <= set(self.oracle.asked)
        np.testing.assert_array_equal(accuracy_pct, self.truth[rows])
        self.learnt.append(len(rows))

    def score(self, rows):
        assert rows.dtype == np.int64
        assert not set(rows.tolist()) & set(self.oracle.asked)
        return np.zeros(len(rows))


class Perfect(NoGuide):
    def __init__(self, truth: np.ndarray):
        self.truth = truth

    def score(self, rows):
        return self.truth[rows]


def test_the_strategies_are_found():
    assert {"evolution", "random_search"} <= set(NAMES)


@every_strategy
def test_each_query_is_another_architecture_of_the_space_until_the_budget_is_spent(name, space, truth):
    oracle = Watched(truth, BUDGET)
    table = trace(strategy(name), space, oracle, NoGuide(), name="mine", seed=4)
    assert table.schema == TRACES
    assert len(oracle.asked) == len(set(oracle.asked)) == BUDGET
    assert table["arch_id"].to_pylist() == space.arch_id[oracle.asked].tolist()
    assert table["step"].to_pylist() == list(range(1, BUDGET + 1))
    assert set(table["strategy"].to_pylist()) == {"mine"}
    assert set(table["seed"].to_pylist()) == {4}


@every_strategy
def test_a_seed_decides_the_trace(name, space, truth):
    first, again, other = (
        trace(strategy(name), space, Oracle(truth, BUDGET), Perfect(truth), name=name, seed=seed)["arch_id"].to_pylist()
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


@every_strategy
def test_equal_seeds_start_alike(name, space, truth):
    rows = space.sample(12, np.random.default_rng(9))
    table = trace(strategy(name), space, Oracle(truth, BUDGET), NoGuide(), name=name, seed=9)
    assert table["arch_id"].to_pylist()[:12] == space.arch_id[rows].tolist()


@every_strategy
def test_a_guide_learns_from_answers_only(name, space, truth):
    oracle = Watched(truth, BUDGET)
    guide = Spy(oracle, truth)
    strategy(name)(space, oracle, guide, np.random.default_rng(0))
    assert bool(guide.learnt) == (name != "random_search")


@every_strategy
def test_what_was_not_asked_for_changes_nothing(name, space, truth):
    first = Oracle(truth, BUDGET)
    strategy(name)(space, first, NoGuide(), np.random.default_rng(3))
    asked, _ = first.known()
    other = np.full(len(truth), 100.0)
    other[asked] = truth[asked]
    second = Oracle(other, BUDGET)
    strategy(name)(space, second, NoGuide(), np.random.default_rng(3))
    np.testing.assert_array_equal(second.known()[0], asked)


@every_strategy
def test_a_budget_of_the_whole_space_finds_everything(name):
    part = Space.of("nb201", nb201.enumerate_specs().slice(0, 60))
    oracle = Oracle(np.arange(60.0), 60)
    strategy(name)(part, oracle, NoGuide(), np.random.default_rng(0))
    assert sorted(oracle.known()[0]) == list(range(60))


def test_a_budget_larger_than_the_space_or_none():
    for budget in (4, 0):
        message = f"the budget of a search at queries: expected 1 to 3, .* got {budget}. Ask for fewer"
        with pytest.raises(SearchError, match=message):
            Oracle(np.zeros(3), budget)


def test_an_oracle_answers_again_for_free_and_then_no_more():
    oracle = Oracle(np.array([5.0, 6.0, 7.0]), 2)
    assert [oracle.query(row) for row in (2, 2, 0, 2)] == [7.0, 7.0, 5.0, 7.0]
    assert oracle.left == 0
    rows, accuracy = oracle.known()
    assert (rows.tolist(), accuracy.tolist()) == ([2, 0], [7.0, 5.0])
    with pytest.raises(SearchError, match="the queries of a search at row 1: expected no more than 2, got one more"):
        oracle.query(1)


def test_a_strategy_that_stops_early(space, truth):
    def idle(space, oracle, guide, rng):
        oracle.query(0)

    with pytest.raises(SearchError, match=r"strategy idle, seed 7: expected 3, got 1\. A strategy has to spend"):
        trace(idle, space, Oracle(truth, 3), NoGuide(), name="idle", seed=7)


def test_a_start_larger_than_the_budget(space, truth):
    with pytest.raises(SearchError, match=r"drawn <= 10 queries, .* got drawn=12, "):
        strategy("evolution")(space, Oracle(truth, 10), NoGuide(), np.random.default_rng(0))


@pytest.mark.parametrize(
    "wrong",
    [
        {"initial": 13},
        {"initial": 0},
        {"labelled": 13},
        {"labelled": 5},
        {"labelled": -1},
        {"drawn": 19},
        {"parents": 0},
        {"batch": 0},
        {"children": 4},
    ],
)
def test_settings_of_an_evolution_that_do_not_fit(wrong, space, truth):
    ((name, value),) = wrong.items()
    with pytest.raises(SearchError, match=f"the settings of an evolution at settings: .* got .*{name}={value}"):
        strategy("evolution", **wrong)(space, Oracle(truth, BUDGET), NoGuide(), np.random.default_rng(0))


def test_a_guide_learns_once_or_before_each_batch(space, truth):
    for refit, labelled, wanted in ((False, 12, [12]), (False, 6, [6]), (True, 8, [8, 17, 22, 27, 32, 37])):
        oracle = Watched(truth, BUDGET)
        spy = Spy(oracle, truth)
        strategy("evolution", refit=refit, labelled=labelled)(space, oracle, spy, np.random.default_rng(0))
        assert spy.learnt == wanted


def test_labels_and_population_may_be_apart(space, truth):
    """The paper's searches on NAS-Bench-101: 50 labels to learn from, and a P_init of 50 others."""

    class Notes(NoGuide):
        def fit(self, rows, accuracy_pct):
            self.rows = rows.tolist()

    oracle, guide = Watched(truth, 17), Notes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evolution, "CROSSED", 0.0)
        patch.setattr(evolution, "FURTHER_EDIT", 0.0)
        search = strategy("evolution", labelled=6, initial=6, parents=1, refit=False)
        search(space, oracle, guide, np.random.default_rng(1))
    assert guide.rows == oracle.asked[6:12]
    best = max(oracle.asked[:6], key=lambda row: truth[row])
    assert best != max(oracle.asked[:12], key=lambda row: truth[row])
    assert all(_differences(space.specs[best], space.specs[row]) <= 2 for row in oracle.asked[12:])


def test_the_best_of_the_ranking_are_asked_for(space, truth):
    """The last batch of a perfectly guided evolution is better than an unguided one's."""
    last = []
    for guide in (Perfect(truth), NoGuide()):
        oracle = Oracle(truth, 17)
        strategy("evolution", children=200)(space, oracle, guide, np.random.default_rng(5))
        last.append(oracle.known()[1][12:])
    assert last[0].min() > last[1].max()


def test_a_perfect_guide_finds_the_optimum_fast(space, truth):
    for seed in range(5):
        oracle = Oracle(truth, 90)
        search = strategy("evolution", drawn=10, labelled=10, initial=10, parents=10, children=200, batch=10)
        search(space, oracle, Perfect(truth), np.random.default_rng(seed))
        assert oracle.known()[1].max() == truth.max()


def test_parents_are_the_best_of_the_population(space, truth):
    """With one parent, no crossover and one edit, children are neighbours of the best that was asked for."""
    oracle = Watched(truth, 17)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evolution, "CROSSED", 0.0)
        patch.setattr(evolution, "FURTHER_EDIT", 0.0)
        strategy("evolution", parents=1)(space, oracle, NoGuide(), np.random.default_rng(8))
    best = max(oracle.asked[:6], key=lambda row: truth[row])
    assert all(_differences(space.specs[best], space.specs[row]) <= 2 for row in oracle.asked[12:])
    assert any(_differences(space.specs[best], space.specs[row]) == 1 for row in oracle.asked[12:])


def test_random_search_finds_what_order_statistics_say():
    """The best of n out of N ranks has mean (N + 1) / (n + 1) and variance (N + 1)(N - n) n / ((n + 1)^2 (n + 2))."""
    total, drawn, runs = 200, 9, 3000
    part = Space(np.arange(total), [str(row) for row in range(total)], nb201.mutate, nb201.crossover)
    best = np.empty(runs)
    for seed in range(runs):
        oracle = Oracle(-np.arange(1.0, total + 1), drawn)
        random_search.search(part, oracle, NoGuide(), np.random.default_rng(seed))
        best[seed] = -oracle.known()[1].max()
    variance = (total + 1) * (total - drawn) * drawn / ((drawn + 1) ** 2 * (drawn + 2))
    assert abs(best.mean() - (total + 1) / (drawn + 1)) < 3 * np.sqrt(variance / runs)
    assert 0.9 < best.var() / variance < 1.1


def _differences(first: str, second: str) -> int:
    return sum(a != b for a, b in zip(nb201.parse(first), nb201.parse(second), strict=True))


def test_mutation_reaches_all_neighbours_alike(space):
    rng = np.random.default_rng(0)
    counts = np.unique([space.mutate(77, rng) for _ in range(4800)], return_counts=True)
    assert len(counts[0]) == 24
    assert all(_differences(space.specs[77], space.specs[row]) == 1 for row in counts[0])
    assert stats.chisquare(counts[1]).pvalue > 0.001


def test_crossover_brings_in_one_operation_of_the_second(space):
    rng = np.random.default_rng(1)
    for _ in range(300):
        first, second = rng.integers(len(space), size=2)
        child = nb201.parse(space.specs[space.crossover(first, second, rng)])
        given = nb201.parse(space.specs[second])
        own = nb201.parse(space.specs[first])
        changed = [name for name, before in zip(child, own, strict=True) if name != before]
        assert len(changed) == (len({*own, *given}) > 1)
        assert set(changed) <= set(given)


def test_crossover_of_cells_with_one_common_operation_changes_nothing():
    plain = nb201.spec_of(["skip_connect"] * 6)
    assert nb201.crossover(plain, plain, np.random.default_rng(0)) == plain


def test_crossover_of_nb101_keeps_the_edges_and_the_canonical_form():
    rng = np.random.default_rng(2)
    specs = nb101.sample(60, rng)
    for first, second in zip(specs[:30], specs[30:], strict=True):
        child = nb101.crossover(first, second, rng)
        whole, own = nb101.cell(child), nb101.cell(first)
        assert nb101.spec_of(whole) == child
        assert (len(whole.operations), len(whole.edges)) == (len(own.operations), len(own.edges))
        kept, new = sorted(own.operations), sorted(whole.operations)
        came = [name for name in set(new) if new.count(name) > kept.count(name)]
        assert len(came) <= 1
        assert set(came) <= set(nb101.cell(second).operations)
    straight = "2:1:"
    assert nb101.crossover(straight, specs[0], rng) == straight


@pytest.mark.parametrize("family", [nb101, nb201])
def test_edits_stay_within_a_sample(family):
    rng = np.random.default_rng(3)
    specs = family.sample(200, rng)
    table = pa.table({"arch_id": [str(row) for row in range(200)], "family": ["x"] * 200, "spec": specs})
    part = Space.of(family.__name__.rpartition(".")[2], table.cast(ARCHITECTURES))
    rows = [part.mutate(5, rng) for _ in range(10)] + [part.crossover(5, 6, rng) for _ in range(10)]
    assert all(0 <= row < 200 for row in rows)
    assert len(set(rows)) > 5


def test_a_smaller_sample_begins_a_larger_one(space):
    small, large = (space.sample(n, np.random.default_rng(0)) for n in (10, 40))
    np.testing.assert_array_equal(small, large[:10])
    assert len(set(space.sample(len(space), np.random.default_rng(1)).tolist())) == len(space)


def test_a_cost_guides_without_learning():
    counts = np.array([3.0, 9.0, 5.0])
    population = Population(arch_id=np.array(["a", "b", "c"], object), macs=counts, params=counts)
    guide = PredictorGuide(Params(seed=0), population)
    guide.fit(np.array([0]), np.array([90.0]))
    assert np.argsort(-guide.score(np.array([0, 1, 2]))).tolist() == [1, 2, 0]


def test_more_seeds_run_only_the_new_ones(space, truth, tmp_path):
    made = []

    def run(seeds: int):
        def guide(seed):
            made.append(seed)
            return NoGuide()

        kept = {"settings": {}, "fragments": tmp_path, "fingerprint": "f", "inputs": []}
        return traces(
            strategy("random_search"), space, truth, guide, name="random", queries=5, seeds=seeds, **kept
        ).to_pylist()

    two = run(2)
    assert (made, len(two)) == ([0, 1], 10)
    assert run(3)[:10] == two
    assert made == [0, 1, 2]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("headline", "magic", "searches.nb201_search.headline: expected one of evolution.* got 'magic'"),
        ("shown", [30, 91], "searches.nb201_search.shown: expected at most 90, .* got 91"),
        ("strategies.random.settings", {"batch": 3}, "strategies.random.settings.batch: expected one of none"),
        ("strategies.random.module", "random_serach", "strategies.random.module: .*Did you mean 'random_search'"),
        ("strategies.random.predictor", "oracle", "strategies.random.predictor: expected one of macs"),
        ("strategies.evolution.settings", {}, "strategies.evolution.settings: expected drawn, labelled.* got no drawn"),
        ("strategies.evolution.settings.batch", "ten", "strategies.evolution.settings.batch: expected int"),
        ("strategies.evolution.settings.labelled", 41, "evolution.settings: expected 0 <= labelled <= drawn.*=41"),
        ("strategies.evolution.settings.batch", 201, "evolution.settings: expected .*batch <= children, got .*=201"),
        ("queries", 39, "strategies.evolution.settings: expected .*drawn <= 39 queries, .* got drawn=40"),
    ],
)
def test_a_wrong_search_is_named(path, value, message):
    config = copy.deepcopy(SHIPPED)
    node = config["searches"]["nb201_search"]
    *parents, last = path.split(".")
    for name in parents:
        node = node[name]
    node[last] = value
    with pytest.raises(ConfigError, match=message):
        check(config)
