"""Two views of a graph, two Gaussian processes: its path statistics and its embedding. Their mean is the prediction."""

from typing import ClassVar, Self

import numpy as np

from archgauge.predictors._matern_gp import PercentGp, percent
from archgauge.predictors.population import Population, column, training_labels

VIEWS = ("structure", "embedding")


class Predictor:
    """The mean of `archgauge.predictors._matern_gp` on `Population.structure` and on `Population.embedding`.

    The mean is taken on the scale that both learn, -log(101 - accuracy). One process on the joined columns lets the
    wider view drown the other one.

    Args:
        seed: unused, the fit is deterministic.

    Attributes:
        models_: the fitted regression of each of `VIEWS`.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"structure", "embedding"})
    predicts_percent: ClassVar[bool] = True

    def __init__(self, *, seed: int):
        self.seed = seed

    def fit(self, population: Population, accuracy_pct: np.ndarray) -> Self:
        """Fit on n labelled graphs, labels (n,) in percent.

        Raises:
            PredictorError: without a view, with fewer than 2 labels, or with one that is not finite or above 100.
        """
        labels = training_labels(population, accuracy_pct, "graph_gp", at_least=2)
        self.models_ = [PercentGp().fit(column(population, view, "graph_gp"), labels) for view in VIEWS]
        return self

    def predict(self, population: Population) -> np.ndarray:
        """Predict percent accuracy: (N,) float64."""
        views = zip(self.models_, VIEWS, strict=True)
        targets = [model.predict_target(column(population, view, "graph_gp")) for model, view in views]
        return percent(np.mean(targets, axis=0))
