"""Intervals that hold the truth as often as they say: CV+ conformal prediction, scaled by the predictor's own doubt.

Barber, Candes, Ramdas, Tibshirani, "Predictive inference with the jackknife+", Annals of Statistics 2021, Section 3.1
(CV+): on exchangeable data an interval of level 1 - a covers with probability of at least 1 - 2 a - sqrt(2 / n), and
about 1 - a in practice. Residuals are divided by the predicted standard deviation (Lei et al., JASA 2018, Section 5.2),
so that a network unlike all known ones gets a wider interval.
"""

import math

import numpy as np


def scores(predicted: np.ndarray, deviation: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Out-of-fold residuals in predicted standard deviations: (n,) each -> (n,)."""
    return np.abs(true - predicted) / deviation


def cv_plus(
    score: np.ndarray, fold: np.ndarray, predicted: np.ndarray, deviation: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Intervals of N new rows.

    Args:
        score: (n,) of `scores`, of the calibration rows.
        fold: (n,) the fold of each of them, 0 to K - 1.
        predicted, deviation: (K, N) what the model that was fitted without a fold says of the new rows.
        level: 1 - a, in (0, 1).

    Returns:
        (N,) lower and upper ends: the floor(a (n + 1))-th smallest of predicted - score deviation, and the
        ceil((1 - a) (n + 1))-th smallest of predicted + score deviation. Infinite where n is too small for the level.
    """
    n = len(score)
    reach = score[:, None] * deviation[fold]
    # Decimals such as 0.9 are no binary fractions: the rank must not fall to the next one by their rounding.
    outside = math.floor((1 - level) * (n + 1) + 1e-9)
    if outside < 1:
        unbounded = np.full(predicted.shape[1], np.inf)
        return -unbounded, unbounded
    low = np.partition(predicted[fold] - reach, outside - 1, axis=0)[outside - 1]
    high = np.partition(predicted[fold] + reach, n - outside, axis=0)[n - outside]
    return low, high


def rank_intervals(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Best and worst rank of M rows that their intervals allow, (M,) each; 1 is the best.

    A row is surely behind those whose interval lies above its own, and surely before those whose interval lies below.
    """
    above = low[None, :] > high[:, None]
    below = high[None, :] < low[:, None]
    return 1 + above.sum(axis=1), len(low) - below.sum(axis=1)
