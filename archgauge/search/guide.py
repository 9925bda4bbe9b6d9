"""What a strategy may know of architectures that it has not asked for: a predictor's scores."""

from typing import Any, Protocol

import numpy as np

from archgauge.predictors.population import Population


class Guide(Protocol):
    """Ranks architectures of a space, which are its rows."""

    def fit(self, rows: np.ndarray, accuracy_pct: np.ndarray) -> None:
        """Learn from the answers of an oracle: rows (Q,), percent (Q,)."""

    def score(self, rows: np.ndarray) -> np.ndarray:
        """Score rows (n,): (n,) float64, higher is better."""


class Described(Protocol):
    """N architectures of a space, in its order: a `Population`, or what becomes one for the rows that are asked for."""

    def take(self, rows: np.ndarray) -> Population:
        """Describe rows (n,) int64, without any label."""


class PredictorGuide:
    """A guide that asks a predictor. One that learns nothing, such as a cost, guides as well.

    Args:
        predictor: an estimator of `archgauge.predictors`.
        population: the architectures of the space.
    """

    def __init__(self, predictor: Any, population: Described):
        self._predictor = predictor
        self._population = population

    def fit(self, rows: np.ndarray, accuracy_pct: np.ndarray) -> None:
        """Fit the predictor on the queried architectures, rows (Q,), and their accuracies (Q,)."""
        self._predictor.fit(self._population.take(rows), accuracy_pct)

    def score(self, rows: np.ndarray) -> np.ndarray:
        """Predict rows (n,): (n,) float64."""
        return self._predictor.predict(self._population.take(rows))


class NoGuide:
    """Scores all architectures alike, so that what was drawn at random stays in random order."""

    def fit(self, rows: np.ndarray, accuracy_pct: np.ndarray) -> None:
        """Learn nothing."""

    def score(self, rows: np.ndarray) -> np.ndarray:
        """Return zeros (n,)."""
        return np.zeros(len(rows))
