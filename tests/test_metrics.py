"""Metrics against second implementations, worked examples, and what they do with ties and bad numbers."""

import itertools
import re

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import ndcg_score

from archgauge.errors import ConfigError, PredictorError, TableError
from archgauge.evaluation import metrics

ALL_NAMES = [
    "spearman",
    "kendall",
    "mae",
    "ndcg@10",
    "ndcg_linear@10",
    "precision@10",
    "best_rank@10",
]
UNCHANGED_BY_ORDER = pytest.mark.parametrize("name", ALL_NAMES)


def _vectors(seed: int, n: int = 60, levels: int | None = None):
    """Correlated vectors, with many ties when `levels` is given."""
    rng = np.random.default_rng(seed)
    true = rng.normal(90, 3, n)
    predicted = true + rng.normal(0, 3, n)
    if levels:
        true, predicted = (np.round(values / 12 * levels) for values in (true, predicted))
    return predicted, true


def _naive_tau_b(predicted, true):
    concordant = discordant = only_predicted = only_true = 0
    for i, j in itertools.combinations(range(len(true)), 2):
        a, b = np.sign(predicted[i] - predicted[j]), np.sign(true[i] - true[j])
        concordant += a * b > 0
        discordant += a * b < 0
        only_predicted += a == 0 and b != 0
        only_true += b == 0 and a != 0
    pairs = concordant + discordant
    return (concordant - discordant) / np.sqrt((pairs + only_predicted) * (pairs + only_true))


@pytest.mark.parametrize("levels", [None, 4, 12])
def test_kendall_equals_counting_pairs(levels):
    predicted, true = _vectors(1, levels=levels)
    assert metrics.kendall(predicted, true) == pytest.approx(_naive_tau_b(predicted, true), abs=1e-12)


@pytest.mark.parametrize("levels", [None, 4, 12])
def test_spearman_equals_pearson_of_average_ranks(levels):
    predicted, true = _vectors(2, levels=levels)

    def ranks(values):
        return [np.mean([np.sum(values < v) + 1, np.sum(values <= v)]) for v in values]

    expected = np.corrcoef(ranks(predicted), ranks(true))[0, 1]
    assert metrics.spearman(predicted, true) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("k", [1, 10, 50, 60])
@pytest.mark.parametrize("levels", [None, 4, 12])
@pytest.mark.parametrize("gain", ["exponential", "linear"])
def test_ndcg_equals_scikit_learn(k, levels, gain):
    predicted, true = _vectors(3, levels=levels)
    relevance = (true - true.min()) / (true.max() - true.min()) * 20
    gains = 2**relevance - 1 if gain == "exponential" else relevance
    expected = ndcg_score(gains[None], predicted[None], k=k)
    assert metrics.ndcg_at(k, predicted, true, gain=gain) == pytest.approx(expected, abs=1e-12)


def test_ndcg_worked_by_hand():
    # Relevances 20, 10, 0 in the predicted order 10, 20, 0; GENNAPE Eq. 6 and 7.
    predicted, true = np.array([2.0, 3.0, 1.0]), np.array([94.0, 92.0, 90.0])
    dcg = (2**10 - 1) / np.log2(2) + (2**20 - 1) / np.log2(3)
    ideal = (2**20 - 1) / np.log2(2) + (2**10 - 1) / np.log2(3)
    assert metrics.ndcg_at(3, predicted, true) == pytest.approx(dcg / ideal, rel=1e-14)
    assert metrics.ndcg_at(1, predicted, true, gain="linear") == 0.5


def test_mae_worked_by_hand():
    assert metrics.mae(np.array([90.0, 93.0]), np.array([91.0, 90.5])) == pytest.approx(1.75)


def _over_all_orders(name, predicted, true):
    """The metric's mean over every order of the rows that keeps better predictions first."""
    orders = [
        order
        for order in itertools.permutations(range(len(true)))
        if all(predicted[i] >= predicted[j] for i, j in itertools.pairwise(order))
    ]
    k = int(name.partition("@")[2])
    values = []
    for order in orders:
        top = true[list(order[:k])]
        if name.startswith("precision"):
            values.append(np.mean(top >= np.sort(true)[-k]))
        else:
            values.append(1 + np.sum(true > top.max()))
    return np.mean(values)


@pytest.mark.parametrize("name", ["precision@1", "precision@3", "precision@7", "best_rank@1", "best_rank@3"])
@pytest.mark.parametrize("seed", range(6))
def test_top_k_is_the_expectation_over_tied_orders(name, seed):
    rng = np.random.default_rng(seed)
    predicted, true = rng.integers(0, 3, 7).astype(float), rng.integers(0, 5, 7).astype(float)
    assert metrics.metric(name)(predicted, true) == pytest.approx(_over_all_orders(name, predicted, true), abs=1e-12)


def test_top_k_without_ties_equals_sorting():
    predicted, true = _vectors(4, n=500)
    top = np.argsort(-predicted)[:10]
    truly = np.argsort(-true)[:10]
    assert metrics.precision_at(10, predicted, true) == len(set(top) & set(truly)) / 10
    assert metrics.best_true_rank_in_top(10, predicted, true) == stats.rankdata(-true)[top].min()


def test_a_perfect_predictor_is_perfect():
    _, true = _vectors(5, levels=8)
    perfect = {"spearman": 1, "kendall": 1, "mae": 0, "ndcg@10": 1, "ndcg_linear@10": 1, "precision@10": 1}
    for name, expected in {**perfect, "best_rank@10": 1}.items():
        assert metrics.metric(name)(true, true) == pytest.approx(expected), name


@UNCHANGED_BY_ORDER
def test_the_order_of_rows_is_of_no_account(name):
    predicted, true = _vectors(6, levels=4)
    order = np.random.default_rng(0).permutation(len(true))
    assert metrics.metric(name)(predicted[order], true[order]) == pytest.approx(metrics.metric(name)(predicted, true))


@pytest.mark.parametrize("name", [name for name in ALL_NAMES if name != "mae"])
def test_only_the_order_of_predictions_counts(name):
    predicted, true = _vectors(7)
    scaled = metrics.metric(name)(np.exp(predicted / 10) - 7, true)
    assert scaled == pytest.approx(metrics.metric(name)(predicted, true), abs=1e-12)


def test_constant_predictions():
    _, true = _vectors(8, n=100)
    constant = np.full(100, 3.0)
    assert np.isnan(metrics.spearman(constant, true))
    assert np.isnan(metrics.kendall(constant, true))
    assert metrics.precision_at(10, constant, true) == pytest.approx(0.1)
    # The mean of the smallest of 10 ranks out of 100 drawn at random is (100 + 1) / (10 + 1).
    assert metrics.best_true_rank_in_top(10, constant, true) == pytest.approx(101 / 11)


def test_constant_truth_and_a_single_row():
    values = np.arange(5.0)
    for name in ("spearman", "kendall", "ndcg@2"):
        assert np.isnan(metrics.metric(name)(values, np.ones(5)))
        assert np.isnan(metrics.metric(name.replace("@2", "@1"))(values[:1], values[:1]))


@UNCHANGED_BY_ORDER
def test_bad_numbers_are_refused(name):
    predicted, true = _vectors(9)
    broken = predicted.copy()
    broken[[4, 7]] = np.nan, np.inf
    with pytest.raises(PredictorError, match=re.escape("predictions at a metric: expected finite numbers, got nan")):
        metrics.metric(name)(broken, true)
    with pytest.raises(TableError, match=re.escape("got nan in row 4 (2 of 60 rows)")):
        metrics.metric(name)(predicted, broken)
    with pytest.raises(PredictorError, match=r"expected one prediction for .* \(60,\), got \(59,\)"):
        metrics.metric(name)(predicted[1:], true)


def test_too_few_rows_for_k():
    with pytest.raises(TableError, match="expected at least 50, got 10"):
        metrics.ndcg_at(50, np.arange(10.0), np.arange(10.0))
    with pytest.raises(TableError, match="expected at least 1, got 0"):
        metrics.spearman(np.array([]), np.array([]))


@pytest.mark.parametrize("name", ["pearson", "ndcg", "ndcg@0", "ndcg@x", "spearman@10", "@10", ""])
def test_unknown_metric(name):
    with pytest.raises(ConfigError, match=r"name of a metric at metrics: expected spearman, kendall, mae, ndcg@K.*got"):
        metrics.metric(name)


def test_directions():
    assert metrics.higher_is_better("ndcg@10")
    assert metrics.higher_is_better("spearman")
    assert not metrics.higher_is_better("best_rank@10")
    assert not metrics.higher_is_better("mae")


def test_regret_curve_worked_by_hand():
    searched = np.array([90.0, 89.0, 92.0, 92.0, 93.0])
    reported = np.array([89.5, 95.0, 91.0, 96.0, 90.0])
    # The second 92.0 does not replace the first; 93.0 does, though its reported value is worse.
    assert metrics.incumbents(searched).tolist() == [0, 0, 2, 2, 4]
    assert metrics.regret_curve(searched, reported, 97.0).tolist() == [7.5, 7.5, 6.0, 6.0, 7.0]


def test_simple_regret_never_rises():
    searched = np.random.default_rng(3).normal(size=200)
    curve = metrics.regret_curve(searched, searched, searched.max())
    assert (np.diff(curve) <= 0).all()
    assert curve[-1] == 0
    with pytest.raises(PredictorError, match="got nan"):
        metrics.regret_curve(np.array([1.0, np.nan]), np.array([1.0, 1.0]), 2.0)
