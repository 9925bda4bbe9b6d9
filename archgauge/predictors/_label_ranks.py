"""Learning from ranks: a benchmark's accuracies have a long left tail that squared errors should not chase."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.stats import rankdata


@dataclass(frozen=True)
class LabelRanks:
    """The map between accuracies and their mid-ranks in (0, 1), fitted on training labels alone.

    Attributes:
        accuracy_pct: (K,) the distinct training labels, ascending.
        rank: (K,) their mid-ranks, ascending.
    """

    accuracy_pct: np.ndarray
    rank: np.ndarray

    @classmethod
    def fit(cls, accuracy_pct: np.ndarray) -> Self:
        """Fit on training labels (n,), which may be tied."""
        distinct, first = np.unique(accuracy_pct, return_index=True)
        return cls(distinct, _mid_ranks(accuracy_pct)[first])

    def to_rank(self, accuracy_pct: np.ndarray) -> np.ndarray:
        """Map accuracies (N,) to ranks (N,)."""
        return np.interp(accuracy_pct, self.accuracy_pct, self.rank)

    def to_accuracy(self, rank: np.ndarray) -> np.ndarray:
        """Map predicted ranks (N,) of any size back to percent (N,), strictly rising unless all labels were equal.

        Between training labels it interpolates. Beyond them it goes on with the slope between the median and the
        end, so that no two networks are tied for having been predicted better than all that was trained.
        """
        inside = np.interp(rank, self.rank, self.accuracy_pct)
        below, above = np.minimum(rank - self.rank[0], 0), np.maximum(rank - self.rank[-1], 0)
        middle = np.median(self.accuracy_pct)
        low = (middle - self.accuracy_pct[0]) / max(0.5, self.rank[-1] - self.rank[0])
        high = (self.accuracy_pct[-1] - middle) / max(0.5, self.rank[-1] - self.rank[0])
        return inside + below * low + above * high


def _mid_ranks(accuracy_pct: np.ndarray) -> np.ndarray:
    return (rankdata(accuracy_pct) - 0.5) / len(accuracy_pct)
