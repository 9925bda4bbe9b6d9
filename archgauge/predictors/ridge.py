"""Baseline: ridge regression on operation and path counts, its penalty from the closed-form leave-one-out error."""

from typing import ClassVar, Self

import numpy as np

from archgauge.predictors._cell_features import count_matrix, count_vocabulary
from archgauge.predictors._label_ranks import LabelRanks
from archgauge.predictors.population import Population, column, training_labels

PENALTIES = np.logspace(-3, 4, 29)
"""Quarter decades, wide enough that the best of count features is never at an end."""


class Predictor:
    """Ridge regression of label ranks.

    Args:
        seed: unused, the fit is closed-form.

    Attributes:
        penalty_: the chosen element of `PENALTIES`.
        vocabulary_: column of each count seen in training.
        centre_: (F,) mean of the training features.
        weights_: (F,).
        offset_: mean of the training ranks.
        ranks_: the map from ranks back to percent.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"cells"})
    predicts_percent: ClassVar[bool] = True

    def __init__(self, *, seed: int):
        self.seed = seed

    def fit(self, population: Population, accuracy_pct: np.ndarray) -> Self:
        """Fit on n labelled cells, labels (n,) in percent.

        Raises:
            PredictorError: without cells, with fewer than 2 labels, or with one that is not finite.
        """
        cells = column(population, "cells", "ridge")
        labels = training_labels(population, accuracy_pct, "ridge", at_least=2)
        self.ranks_ = LabelRanks.fit(labels)
        target = self.ranks_.to_rank(labels)
        self.vocabulary_ = count_vocabulary(cells)
        features = count_matrix(cells, self.vocabulary_)
        self.centre_, self.offset_ = features.mean(axis=0), target.mean()
        self.penalty_, self.weights_ = _ridge(features - self.centre_, target - self.offset_)
        return self

    def predict(self, population: Population) -> np.ndarray:
        """Predict percent accuracy: (N,) float64."""
        cells = column(population, "cells", "ridge")
        features = count_matrix(cells, self.vocabulary_)
        return self.ranks_.to_accuracy((features - self.centre_) @ self.weights_ + self.offset_)


def _ridge(features: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the penalty of least leave-one-out error, and its weights (F,), for centred (n, F) and (n,).

    The residual without a sample is its residual divided by 1 - leverage; the mean adds 1 / n to the leverage.
    """
    left, scale, right = np.linalg.svd(features, full_matrices=False)
    coordinates = left.T @ target
    shrunk = scale**2 / (scale**2 + PENALTIES[:, None])  # (penalties, rank)
    residual = target - (shrunk * coordinates) @ left.T
    leverage = shrunk @ (left**2).T + 1 / len(target)
    error = ((residual / (1 - leverage)) ** 2).mean(axis=1)
    best = int(error.argmin())
    return float(PENALTIES[best]), right.T @ (scale / (scale**2 + PENALTIES[best]) * coordinates)
