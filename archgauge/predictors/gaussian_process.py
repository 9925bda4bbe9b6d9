"""Baseline: a Gaussian process on operation and path counts."""

from typing import ClassVar, Self

import numpy as np
from scipy.linalg import eigh

from archgauge.predictors._cell_features import count_matrix, count_vocabulary
from archgauge.predictors._label_ranks import LabelRanks
from archgauge.predictors.population import Population, column, training_labels

LENGTHS = np.logspace(-1, 1.5, 11)
"""Length scales tried, in units of the median distance between training cells."""

NOISES = np.logspace(-4, 1, 21)
"""Noise variances tried, in units of the signal's."""


class Predictor:
    """Gaussian process regression of label ranks: Matern-5/2 kernel, constant mean, white noise.

    Length and noise maximise the marginal likelihood over a grid; the signal's variance is its closed-form maximum.
    One eigendecomposition serves all noises of a length, so the fit is a few of them and has no local optimum.

    Args:
        seed: unused, the fit is deterministic.

    Attributes:
        length_: the chosen length scale, in counts.
        noise_: the chosen element of `NOISES`.
        features_: (n, F) counts of the training cells.
        weights_: (n,) of the training cells in the posterior mean.
        offset_: mean of the training ranks.
        vocabulary_: column of each count seen in training.
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
        cells = column(population, "cells", "gaussian_process")
        labels = training_labels(population, accuracy_pct, "gaussian_process", at_least=2)
        self.ranks_ = LabelRanks.fit(labels)
        target = self.ranks_.to_rank(labels)
        self.offset_ = target.mean()
        self.vocabulary_ = count_vocabulary(cells)
        self.features_ = count_matrix(cells, self.vocabulary_)
        distance = _distance(self.features_, self.features_)
        median = float(np.median(distance[np.triu_indices(len(labels), 1)])) or 1.0
        fits = [(*_fit(distance, target - self.offset_, length * median), length * median) for length in LENGTHS]
        _, self.noise_, self.weights_, self.length_ = max(fits, key=lambda fit: fit[0])
        return self

    def predict(self, population: Population) -> np.ndarray:
        """Predict percent accuracy, from the posterior mean of the rank: (N,) float64."""
        cells = column(population, "cells", "gaussian_process")
        distance = _distance(count_matrix(cells, self.vocabulary_), self.features_)
        return self.ranks_.to_accuracy(_matern(distance, self.length_) @ self.weights_ + self.offset_)


def _fit(distance: np.ndarray, target: np.ndarray, length: float) -> tuple[float, float, np.ndarray]:
    """Return the best log likelihood over `NOISES`, that noise, and the weights (n,), for centred `target` (n,)."""
    values, vectors = eigh(_matern(distance, length))
    spectrum = np.maximum(values, 0) + NOISES[:, None]  # (noises, n)
    coordinates = target @ vectors
    # Equal labels leave no signal; the smallest positive number stands for its variance.
    signal = np.maximum((coordinates**2 / spectrum).mean(axis=1), np.finfo(float).tiny)
    likelihood = -0.5 * (len(target) * (np.log(2 * np.pi * signal) + 1) + np.log(spectrum).sum(axis=1))
    best = int(likelihood.argmax())
    return float(likelihood[best]), float(NOISES[best]), vectors @ (coordinates / spectrum[best])


def _matern(distance: np.ndarray, length: float) -> np.ndarray:
    scaled = np.sqrt(5) * distance / length
    return (1 + scaled + scaled**2 / 3) * np.exp(-scaled)


def _distance(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Euclidean distances (N, n) of counts (N, F) to (n, F); the expanded square is exact for whole numbers."""
    squared = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1) - 2 * left @ right.T
    return np.sqrt(squared)
