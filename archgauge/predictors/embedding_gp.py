"""A Gaussian process on the embeddings of an encoder, pretrained or not."""

from typing import ClassVar, Self

import numpy as np

from archgauge.predictors._matern_gp import PercentGp
from archgauge.predictors.population import Population, column, training_labels


class Predictor:
    """`archgauge.predictors._matern_gp` on `Population.embedding`.

    Args:
        seed: unused, the fit is deterministic.

    Attributes:
        model_: the fitted regression.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"embedding"})
    predicts_percent: ClassVar[bool] = True

    def __init__(self, *, seed: int):
        self.seed = seed

    def fit(self, population: Population, accuracy_pct: np.ndarray) -> Self:
        """Fit on n labelled embeddings, labels (n,) in percent.

        Raises:
            PredictorError: without embedding, with fewer than 2 labels, or with one that is not finite or above 100.
        """
        embedding = column(population, "embedding", "embedding_gp")
        labels = training_labels(population, accuracy_pct, "embedding_gp", at_least=2)
        self.model_ = PercentGp().fit(embedding, labels)
        return self

    def predict(self, population: Population) -> np.ndarray:
        """Predict percent accuracy: (N,) float64."""
        return self.model_.predict(column(population, "embedding", "embedding_gp"))
