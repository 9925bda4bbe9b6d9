"""Intervals hold the truth as often as they say."""

import numpy as np
import pytest
from scipy import stats
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from archgauge.predictors.matern_gp import JITTER, MaternGp, PercentGp, error_logs
from archgauge.ranking.assessment import folds
from archgauge.ranking.conformal import cv_plus, rank_intervals, scores
from archgauge.ranking.gauge import Gauge


def one_model(score, level):
    """The interval around 0 of a single model: split conformal prediction."""
    low, high = cv_plus(np.array(score, float), np.zeros(len(score), int), np.zeros((1, 1)), np.ones((1, 1)), level)
    return float(low[0]), float(high[0])


@pytest.mark.parametrize(
    ("n", "level", "end"),
    [(9, 0.8, 8), (9, 0.9, 9), (19, 0.9, 18), (99, 0.9, 90), (8, 0.9, np.inf)],  # the ceil(level (n + 1))-th score
)
def test_split_conformal_in_closed_form(n, level, end):
    assert one_model(np.random.default_rng(0).permutation(n) + 1, level) == (-end, end)


def test_cv_plus_is_the_papers_formula():
    rng = np.random.default_rng(1)
    n, k, level = 37, 4, 0.8
    score, fold = rng.exponential(size=n), rng.integers(k, size=n)
    predicted, deviation = rng.normal(size=(k, 3)), rng.exponential(size=(k, 3))
    low, high = cv_plus(score, fold, predicted, deviation, level)
    for row in range(3):
        ends = [(predicted[f, row] - s * deviation[f, row], predicted[f, row] + s * deviation[f, row])
                for s, f in zip(score, fold, strict=True)]  # fmt: skip
        # Barber et al., Section 1.1: q-(v) is the floor(a (n + 1))-th smallest, q+(v) the ceil((1 - a) (n + 1))-th.
        assert low[row] == sorted(end for end, _ in ends)[7 - 1]
        assert high[row] == sorted(end for _, end in ends)[31 - 1]


def test_split_coverage_is_exact_on_exchangeable_scores():
    rng, n, repeats = np.random.default_rng(2), 29, 4000
    held = 0
    for _ in range(repeats):
        draws = rng.standard_t(3, size=n + 1)
        held += abs(draws[-1]) <= one_model(np.abs(draws[:-1]), 0.9)[1]
    low, high = stats.binom.interval(1 - 1e-6, repeats, 27 / 30)  # ceil(0.9 x 30) / 30
    assert low <= held <= high


def test_cv_plus_covers_where_noise_grows_with_distance():
    """Ridge through noise that grows: coverage stays between the guarantee and too much."""
    rng, repeats, held = np.random.default_rng(3), 1500, 0
    for _ in range(repeats):
        x = rng.uniform(0.1, 2, size=41)
        y = 3 * x + x * rng.normal(size=41)
        fold = folds(np.arange(40), 5, 0)
        score, predicted = np.empty(40), np.empty((5, 1))
        for k in range(5):
            out = fold == k
            slope = (x[:-1][~out] @ y[:-1][~out]) / (x[:-1][~out] @ x[:-1][~out])
            score[out] = scores(slope * x[:-1][out], x[:-1][out], y[:-1][out])
            predicted[k] = slope * x[-1]
        low, high = cv_plus(score, fold, predicted, np.full((5, 1), x[-1]), 0.9)
        held += low[0] <= y[-1] <= high[0]
    low, high = stats.binom.interval(1 - 1e-6, repeats, 0.9)
    assert low <= held <= high


def test_ranks_are_those_that_some_truth_within_the_intervals_has():
    low, high = np.array([1.0, 2.0, 5.0, 5.0]), np.array([2.5, 3.0, 6.0, 9.0])
    best, worst = rank_intervals(low, high)
    rng = np.random.default_rng(4)
    drawn = rng.uniform(low, high, size=(5000, 4))
    ranks = 1 + (drawn[:, None, :] > drawn[:, :, None]).sum(axis=2)
    assert (best == ranks.min(axis=0)).all()
    assert (worst == ranks.max(axis=0)).all()
    assert best.tolist() == [3, 3, 1, 1]


def test_folds_keep_keys_together_and_are_balanced():
    keys = np.repeat(np.arange(30), np.random.default_rng(5).integers(1, 9, size=30))
    fold = folds(keys, 5, 0)
    assert all(len(set(fold[keys == key])) == 1 for key in keys)
    assert np.ptp(np.bincount(fold)) <= 8
    assert (fold == folds(keys, 5, 0)).all()
    assert set(folds(np.array(["a", "b", "a"]), 10, 0)) == {0, 1}


def test_predicted_deviation_is_scikit_learns():
    rng = np.random.default_rng(6)
    features, new, target = rng.normal(size=(30, 4)), 3 * rng.normal(size=(7, 4)), rng.normal(size=30)
    gp = MaternGp().fit(features, target)
    length, amplitude, noise = np.exp(gp.logs_)
    kernel = ConstantKernel(amplitude**2) * Matern(length, nu=1.5) + WhiteKernel(noise**2)
    other = GaussianProcessRegressor(kernel, optimizer=None, alpha=JITTER).fit(features, target)
    mean, deviation = other.predict(new, return_std=True)
    np.testing.assert_allclose(gp.predict(new), mean, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(gp.deviation(new), deviation, rtol=1e-6)


@pytest.fixture(scope="module")
def known():
    rng = np.random.default_rng(7)
    features = rng.normal(size=(60, 5))
    return features, 70 + 8 * np.tanh(features[:, 0]) + rng.normal(size=60)


def test_a_gauge_is_out_of_fold_and_comes_back_to_the_bit(known):
    features, accuracy = known
    columns, fold = np.array([0, 2, 3]), folds(np.arange(60), 4, 0)
    gauge = Gauge.fit(features, accuracy, columns, fold)
    out = fold == 2
    alone = PercentGp().fit(features[~out][:, columns], accuracy[~out])
    read = features[out][:, columns]
    residual = np.abs(alone.predict_target(read) - error_logs(accuracy[out])) / alone.deviation(read)
    np.testing.assert_allclose(gauge.score[out], residual, rtol=1e-6)
    again = Gauge.restored(gauge.state(), features)
    new = np.random.default_rng(8).normal(size=(20, 5))
    np.testing.assert_array_equal(gauge.predict(new, 0.9), again.predict(new, 0.9))


def test_intervals_hold_their_prediction_grow_with_the_level_and_with_strangeness(known):
    features, accuracy = known
    gauge = Gauge.fit(features, accuracy, np.arange(5), folds(np.arange(60), 4, 0))
    near, far = features + 0.01, 50 + features
    for level in (0.5, 0.9):
        accuracy_pct, low, high = gauge.predict(np.vstack([near, far]), level)
        assert ((low <= accuracy_pct) & (accuracy_pct <= high) & (low >= 0) & (high <= 100)).all()
    widths = [gauge.predict(near, level).high_pct - gauge.predict(near, level).low_pct for level in (0.5, 0.9)]
    assert (widths[0] < widths[1]).all()
    strange = gauge.predict(far, 0.9)
    assert (strange.high_pct - strange.low_pct).min() > widths[1].mean()
