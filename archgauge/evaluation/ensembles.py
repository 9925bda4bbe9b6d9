"""GENNAPE's ensemble: one score from those of its members ("Unseen Architecture Ranking Performance").

What the paper leaves open, and our choice:

- *Scales.* Accuracies, ranks and FLOPs are averaged, and the paper does not say how. Here each member's score is
  standardised by the mean and spread of its own scores of architectures that are known before the target is looked at:
  the source's first validation set for a zero-shot score, the fine-tuning samples for a fine-tuned one. Never by the
  evaluated population: one network alone gets the same score as in company.
- *Classifiers of pairs.* Their ranks depend on the company; see `archgauge.predictors.neural.Ranker` for the
  score that stands in for them.
- *FLOPs.* log(1 + MACs), the score of `archgauge.predictors.macs`: one large network does not stretch the scale.
- *Members without a Kendall correlation.* One that scores all fine-tuning samples alike gets the weight of tau = 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from archgauge.evaluation.metrics import kendall


@dataclass(frozen=True, eq=False)
class Combination:
    """A weighted mean of standardised scores.

    Attributes:
        centre, spread: (M,) of each member's scores; a spread of 0 counts as 1.
        weight: (M,), sum 1.
    """

    centre: np.ndarray
    spread: np.ndarray
    weight: np.ndarray

    @classmethod
    def zero_shot(cls, source_scores: Sequence[np.ndarray]) -> Self:
        """Equal weights; scales from each member's scores (V,) of source architectures."""
        count = len(source_scores)
        return cls(*_scales(source_scores), np.full(count, 1 / count))

    @classmethod
    def fine_tuned(cls, scores: np.ndarray, accuracy_pct: np.ndarray) -> Self:
        """Weights softmax(tau), tau each member's Kendall correlation on the n fine-tuning samples; scales from them.

        Args:
            scores: (n, M) of the fine-tuned members.
            accuracy_pct: (n,) labels.
        """
        tau = np.nan_to_num([kendall(member, accuracy_pct) for member in scores.T])
        weight = np.exp(tau - tau.max())
        return cls(*_scales(scores.T), weight / weight.sum())

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Scores (N, M) of the members to the ensemble's (N,), higher is better."""
        return (scores - self.centre) / self.spread @ self.weight


def _scales(scores: Sequence[np.ndarray] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    spread = np.array([member.std() for member in scores])
    return np.array([member.mean() for member in scores]), np.where(spread > 0, spread, 1.0)
