"""How the scores of zero-cost proxies correlate with something else."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from archgauge.evaluation.metrics import spearman
from archgauge.evaluation.statistics import spearman_interval
from archgauge.proxies.scores import ranked_last

Scores = Mapping[str, np.ndarray]
"""Proxy, "macs" or "params" -> (N,) float64; NaN where the score failed or is not there."""


@dataclass(frozen=True)
class Correlation:
    """Spearman's correlation of the scores of `n` architectures with something else.

    Attributes:
        rho: nan where all scores or all others are equal.
        interval: 95 %, over the draw of the architectures.
        n: architectures, those without a score among them: they rank last.
        failed: how many have none.
    """

    rho: float
    interval: tuple[float, float]
    n: int
    failed: int


def correlation(scores: np.ndarray, other: np.ndarray) -> Correlation:
    """Correlate scores (N,) with what has no NaN, or with other scores, (N,)."""
    rho = spearman(ranked_last(scores), ranked_last(other))
    return Correlation(rho, spearman_interval(rho, len(scores)), len(scores), int(np.isnan(scores).sum()))
