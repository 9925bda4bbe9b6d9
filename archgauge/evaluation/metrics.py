"""How well predictions rank, or approximate, true values.

Every function takes predicted (N,) and true (N,), where more is better in both, and returns a float. N is at least 1.

- Rows are never ordered by where they stand in a table. Where predictions tie, a metric of the top K is its expectation
  over all orders of the tied rows, so a constant predictor scores what a random one does.
- Correlations of a constant vector, or of one row, are nan; so is NDCG when all true values are equal.
- A prediction that is not finite is a `PredictorError`, a true value that is not finite a `TableError`.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np
from scipy import stats

from archgauge.errors import ConfigError, PredictorError, TableError

RELEVANCE_MAX = 20.0  # GENNAPE, supplement, "Calculation of NDCG": accuracies are rescaled to [0, 20]

LOWER_IS_BETTER = frozenset({"mae", "best_rank", "regret", "found_rank"})
"""Metrics, without their @K, of which less is better; of all others more is."""


def spearman(predicted: np.ndarray, true: np.ndarray) -> float:
    """Pearson's correlation of average ranks, in [-1, 1]."""
    predicted, true = _checked(predicted, true)
    if _constant(predicted) or _constant(true):
        return float("nan")
    return float(stats.spearmanr(predicted, true).statistic)


def kendall(predicted: np.ndarray, true: np.ndarray) -> float:
    """Kendall's tau-b, in [-1, 1]: (P - Q) / sqrt((P + Q + T_p) (P + Q + T_t)); T: tied in that vector only."""
    predicted, true = _checked(predicted, true)
    if _constant(predicted) or _constant(true):
        return float("nan")
    return float(stats.kendalltau(predicted, true).statistic)


def mae(predicted: np.ndarray, true: np.ndarray) -> float:
    """Mean absolute error in the unit of the values, percent points for accuracies (GENNAPE, Tables 3 and 4)."""
    predicted, true = _checked(predicted, true)
    return float(np.abs(predicted - true).mean())


def ndcg_at(
    k: int, predicted: np.ndarray, true: np.ndarray, gain: Literal["exponential", "linear"] = "exponential"
) -> float:
    """Normalised discounted cumulative gain of the K rows predicted best, in [0, 1].

    GENNAPE, Eq. 6 and 7: relevance is `true` rescaled from its own minimum and maximum to [0, 20]; the row at place i
    adds gain / log2(i + 1); the sum is divided by that of the ideal order. The paper's gain is 2^relevance - 1; its
    published code uses the relevance itself (`gain="linear"`).
    """
    predicted, true = _checked(predicted, true, k)
    if _constant(true):
        return float("nan")
    relevance = (true - true.min()) / (true.max() - true.min()) * RELEVANCE_MAX
    gains = np.exp2(relevance) - 1 if gain == "exponential" else relevance
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.sort(gains)[::-1][:k] @ discounts
    return float(_mean_of_ties(predicted, gains)[:k] @ discounts / ideal)


def precision_at(k: int, predicted: np.ndarray, true: np.ndarray) -> float:
    """Share of the K rows predicted best that are among the truly best K, in [0, 1].

    A row counts as truly best when its true value is not below the K-th largest one.
    """
    predicted, true = _checked(predicted, true, k)
    among_best = true >= np.partition(true, -k)[-k]
    return float(_mean_of_ties(predicted, among_best.astype(float))[:k].mean())


def best_true_rank_in_top(k: int, predicted: np.ndarray, true: np.ndarray) -> float:
    """True rank of the best of the K rows predicted best, in [1, N]; 1 is the best row there is.

    Equal true values share the best of their ranks.
    """
    predicted, true = _checked(predicted, true, k)
    ranks = stats.rankdata(-true, method="min")
    threshold = np.partition(predicted, -k)[-k]
    above = ranks[predicted > threshold]
    tied = np.sort(ranks[predicted == threshold])
    if len(above):
        tied = np.minimum(tied, above.min())
    return float(_expected_first(tied, k - len(above)))


def incumbents(searched: np.ndarray) -> np.ndarray:
    """Return, after each query of a search, which query was the best so far.

    Args:
        searched: (Q,) value that the search saw, in the order of its queries; of equal ones the first stays.

    Returns:
        (Q,) int64, indices into the queries.
    """
    searched, _ = _checked(searched, searched)
    best = np.maximum.accumulate(searched)
    improved = np.concatenate([[True], searched[1:] > best[:-1]])
    return np.maximum.accumulate(np.where(improved, np.arange(len(searched)), 0))


def regret_curve(searched: np.ndarray, reported: np.ndarray, optimum: float) -> np.ndarray:
    """Distance to the optimum of what a search has found, after each query (GMAE-NAS, Fig. 4).

    Args:
        searched: (Q,) value that the search saw, in the order of its queries.
        reported: (Q,) value by which the same architectures are judged, such as a test accuracy.
        optimum: the largest reported value that exists, in the same unit.

    Returns:
        (Q,) optimum minus the reported value of the architecture with the largest searched value so far.
    """
    searched, reported = _checked(searched, reported)
    return optimum - reported[incumbents(searched)]


_OF_ALL: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {"spearman": spearman, "kendall": kendall, "mae": mae}
_OF_TOP: dict[str, Callable[[int, np.ndarray, np.ndarray], float]] = {
    "ndcg": ndcg_at,
    "ndcg_linear": partial(ndcg_at, gain="linear"),
    "precision": precision_at,
    "best_rank": best_true_rank_in_top,
}


def metric(name: str) -> Callable[[np.ndarray, np.ndarray], float]:
    """Return the metric of a METRICS row: "spearman", "kendall", "mae", or a name with its K such as "ndcg@10".

    Raises:
        ConfigError: when there is no such metric.
    """
    base, at, k = name.partition("@")
    if not at and base in _OF_ALL:
        return _OF_ALL[base]
    if base in _OF_TOP and k.isdecimal() and int(k) > 0:
        return partial(_OF_TOP[base], int(k))
    raise ConfigError(
        "the name of a metric",
        where="metrics",
        expected=", ".join([*_OF_ALL, *(f"{base}@K" for base in _OF_TOP)]),
        got=repr(name),
        remedy="Correct the name; K is a positive whole number.",
    )


def higher_is_better(name: str) -> bool:
    """Say whether more is better of a metric, given by the name in its METRICS row."""
    return name.partition("@")[0] not in LOWER_IS_BETTER


def _checked(predicted: np.ndarray, true: np.ndarray, k: int = 1) -> tuple[np.ndarray, np.ndarray]:
    predicted, true = np.asarray(predicted, dtype=np.float64), np.asarray(true, dtype=np.float64)
    if predicted.ndim != 1 or predicted.shape != true.shape:
        raise PredictorError(
            "the shape of predictions",
            where="a metric",
            expected=f"one prediction for each of the true values, {true.shape}",
            got=predicted.shape,
            remedy="Predict every architecture of the evaluated population once.",
        )
    if len(true) < max(k, 1):
        raise TableError(
            "the number of evaluated architectures",
            where="a metric",
            expected=f"at least {max(k, 1)}",
            got=len(true),
            remedy="Evaluate a larger population, or ask for a smaller K.",
        )
    for values, kind, what in ((predicted, PredictorError, "predictions"), (true, TableError, "true values")):
        if not np.isfinite(values).all():
            bad = np.flatnonzero(~np.isfinite(values))
            raise kind(
                what,
                where="a metric",
                expected="finite numbers",
                got=f"{values[bad[0]]} in row {bad[0]} ({len(bad)} of {len(values)} rows)",
                remedy="Find the training or the table that made them; no metric is defined on such a row.",
            )
    return predicted, true


def _constant(values: np.ndarray) -> bool:
    return bool((values == values[0]).all())


def _mean_of_ties(predicted: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Order `values` (N,) by falling prediction; where that ties, each place holds the mean of the tied values."""
    _, place, count = np.unique(-predicted, return_inverse=True, return_counts=True)
    return np.repeat(np.bincount(place, weights=values) / count, count)


def _expected_first(ascending: np.ndarray, drawn: int) -> float:
    """Mean of the smallest of `drawn` values drawn without replacement from `ascending` (T,)."""
    total = len(ascending)
    index = np.arange(total - drawn + 1)
    # The chance that none of the first j values is drawn, for j = 0, 1, ...; once drawn = total - j + 1 it is 0.
    missed = np.concatenate([[1.0], np.cumprod((total - drawn - index) / (total - index))])
    return float((missed[:-1] - missed[1:]) @ ascending[: len(index)])
