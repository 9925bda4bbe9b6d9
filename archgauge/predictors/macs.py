"""Untrained baseline: the more multiply-adds, the better."""

from typing import ClassVar, Self

import numpy as np

from archgauge.predictors.population import Population, training_labels


class Predictor:
    """Ranks by log(1 + MACs). It learns nothing, so its score is no accuracy; `fit` only checks the labels."""

    needs: ClassVar[frozenset[str]] = frozenset({"macs"})
    predicts_percent: ClassVar[bool] = False
    untrained: ClassVar[bool] = True

    def __init__(self, *, seed: int):
        self.seed = seed

    def fit(self, population: Population, accuracy_pct: np.ndarray) -> Self:
        """Check the labels (n,), of which there may be none.

        Raises:
            PredictorError: when a label is not finite.
        """
        training_labels(population, accuracy_pct, "macs", at_least=0)
        return self

    def predict(self, population: Population) -> np.ndarray:
        """Score each architecture: (N,) float64, higher is better."""
        return np.log1p(np.asarray(population.macs, dtype=np.float64))
