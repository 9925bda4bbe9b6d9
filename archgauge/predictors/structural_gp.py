"""A Gaussian process on the path statistics of live graphs."""

from typing import ClassVar, Self

import numpy as np

from archgauge.predictors._matern_gp import PercentGp
from archgauge.predictors.population import Population, column, training_labels


class Predictor:
    """`archgauge.predictors._matern_gp` on `Population.structure`.

    Args:
        seed: unused, the fit is deterministic.

    Attributes:
        model_: the fitted regression.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"structure"})
    predicts_percent: ClassVar[bool] = True

    def __init__(self, *, seed: int):
        self.seed = seed

    def fit(self, population: Population, accuracy_pct: np.ndarray) -> Self:
        """Fit on n labelled graphs, labels (n,) in percent.

        Raises:
            PredictorError: without structure, with fewer than 2 labels, or with one that is not finite or above 100.
        """
        structure = column(population, "structure", "structural_gp")
        labels = training_labels(population, accuracy_pct, "structural_gp", at_least=2)
        self.model_ = PercentGp().fit(structure, labels)
        return self

    def predict(self, population: Population) -> np.ndarray:
        """Predict percent accuracy: (N,) float64."""
        return self.model_.predict(column(population, "structure", "structural_gp"))
