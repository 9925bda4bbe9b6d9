"""Summaries and paired differences against scipy and worked examples."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from archgauge.errors import TableError
from archgauge.evaluation.statistics import paired_difference, summarise

RUNS = [(split, split) for split in range(5)]


def test_summary_worked_by_hand():
    summary = summarise(np.array([0.90, 0.92, 0.94]))
    assert summary.mean == pytest.approx(0.92)
    assert summary.standard_error == pytest.approx(0.02 / math.sqrt(3))
    assert (summary.runs, summary.undefined) == (3, 0)


def test_summary_of_one_run_has_no_error():
    summary = summarise(np.array([0.5]))
    assert summary.mean == 0.5
    assert math.isnan(summary.standard_error)


def test_an_undefined_run_is_not_dropped():
    summary = summarise(np.array([0.9, np.nan, 0.8]))
    assert math.isnan(summary.mean)
    assert (summary.runs, summary.undefined) == (3, 1)


def test_nothing_to_summarise():
    with pytest.raises(TableError, match=r"runs of a summary at METRICS: expected at least one .*, got none"):
        summarise(np.array([]))


def _pair(seed):
    rng = np.random.default_rng(seed)
    hard = rng.normal(0, 0.05, len(RUNS))
    return (
        dict(zip(RUNS, 0.90 + hard + rng.normal(0, 0.005, len(RUNS)), strict=True)),
        dict(zip(RUNS, 0.88 + hard + rng.normal(0, 0.005, len(RUNS)), strict=True)),
    )


def test_paired_difference_equals_scipy_and_uses_the_pairing():
    first, second = _pair(0)
    paired = paired_difference(first, dict(reversed(second.items())))
    a, b = np.array(list(first.values())), np.array(list(second.values()))
    assert paired.mean == pytest.approx((a - b).mean())
    assert paired.standard_error == pytest.approx((a - b).std(ddof=1) / math.sqrt(5))
    assert paired.p == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert paired.p < 0.05 < stats.ttest_ind(a, b).pvalue


def test_the_t_test_keeps_its_level():
    """Under no difference, p < .05 comes in 5 % of the cases; permuting signs never gets there with five runs."""
    rng = np.random.default_rng(1)
    none = dict.fromkeys(RUNS, 0.0)
    ps = [paired_difference(dict(zip(RUNS, row, strict=True)), none).p for row in rng.normal(size=(800, 5))]
    assert 0.03 < np.mean(np.array(ps) < 0.05) < 0.075
    best_case = [abs(sum(signs)) for signs in itertools.product([-1, 1], repeat=5)]
    assert np.mean(np.array(best_case) >= 5) == 2 / 32


def test_only_shared_runs_count():
    first, second = _pair(2)
    del first[RUNS[0]]
    second[9, 9] = 0.1
    paired = paired_difference(first, second)
    assert paired.runs == 4
    assert paired.mean == pytest.approx(np.mean([first[run] - second[run] for run in RUNS[1:]]))


def test_no_shared_run():
    with pytest.raises(TableError, match="runs shared by two predictors at METRICS"):
        paired_difference({(0, 0): 1.0}, {(1, 0): 1.0})


def test_differences_without_spread_have_no_p():
    first, second = _pair(3)
    shifted = {run: value + 0.01 for run, value in first.items()}
    assert math.isnan(paired_difference(shifted, first).p)
    assert math.isnan(paired_difference(first, first).p)
    assert math.isnan(paired_difference({RUNS[0]: 1.0}, second).p)
