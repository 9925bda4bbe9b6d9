"""Numbers over repeated runs: mean, standard error, and differences between predictors on the same runs."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from archgauge.errors import TableError

Run = tuple[int, int]
"""(split, seed): two predictors with the same run have seen the same labels."""


@dataclass(frozen=True)
class Summary:
    """A number over R runs.

    Attributes:
        mean: over all runs; nan when any run is nan, because leaving failed runs out would flatter the predictor.
        standard_error: sample standard deviation / sqrt(R); nan for a single run.
        runs: R; 0 for a number that is counted and not run.
        undefined: how many of the runs are nan.
    """

    mean: float
    standard_error: float
    runs: int
    undefined: int


@dataclass(frozen=True)
class PairedDifference:
    """First predictor minus second, run by run.

    Attributes:
        mean: of the R differences.
        standard_error: of that mean; nan for a single run.
        p: two-sided p of Student's paired t test; nan for a single run and for differences without spread. (A
            permutation of signs cannot reach .05 with five runs: its smallest p is 2 / 2^5.)
        runs: R, the runs that both have.
    """

    mean: float
    standard_error: float
    p: float
    runs: int


def summarise(values: np.ndarray) -> Summary:
    """Summarise a number over runs, values (R,).

    Raises:
        TableError: when there is no run.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.size == 0:
        raise _no_runs("the runs of a summary")
    error = float(stats.sem(values)) if values.size > 1 else float("nan")
    return Summary(float(values.mean()), error, values.size, int(np.isnan(values).sum()))


def paired_difference(first: Mapping[Run, float], second: Mapping[Run, float]) -> PairedDifference:
    """Compare two predictors on the runs that both have.

    Raises:
        TableError: when they share no run.
    """
    shared = sorted(first.keys() & second.keys())
    if not shared:
        raise _no_runs("the runs shared by two predictors")
    difference = np.array([first[run] - second[run] for run in shared])
    summary = summarise(difference)
    p = float("nan")
    # Equal differences leave a spread of rounding error only, and a p of it would mean nothing.
    if summary.standard_error > 1e-12 * np.abs(difference).max():
        p = float(stats.ttest_1samp(difference, 0.0).pvalue)
    return PairedDifference(summary.mean, summary.standard_error, p, summary.runs)


def spearman_interval(rho: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Confidence interval of Spearman's correlation of `n` pairs, by Fisher's transform.

    The variance of arctanh(rho) is (1 + rho^2 / 2) / (n - 3) (Bonett and Wright 2000, Psychometrika 65). It concerns
    the draw of the pairs only. (nan, nan) for fewer than four.
    """
    if n < 4:
        return float("nan"), float("nan")
    reach = stats.norm.ppf((1 + level) / 2) * np.sqrt((1 + rho**2 / 2) / (n - 3))
    with np.errstate(divide="ignore"):
        low, high = np.tanh(np.arctanh(rho) + reach * np.array([-1, 1]))
    return float(low), float(high)


def _no_runs(checked: str) -> TableError:
    return TableError(
        checked,
        where="METRICS",
        expected="at least one (split, seed)",
        got="none",
        remedy="Run the experiment for both predictors with the same splits and seeds.",
    )
