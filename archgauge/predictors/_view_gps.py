"""Gaussian processes on views of a population: one for each view, and their mean is the prediction."""

from typing import ClassVar, Self

import numpy as np

from archgauge.predictors.matern_gp import PercentGp, percent
from archgauge.predictors.population import Population, column, training_labels


class ViewGps:
    """The mean of `archgauge.predictors.matern_gp` on each of the columns that the class needs.

    The mean is taken on the scale that all learn, -log(101 - accuracy). One process on joined columns lets the wider
    one drown the others.

    Args:
        seed: unused, the fit is deterministic.

    Attributes:
        models_: the fitted regression on each column, by name.
    """

    needs: ClassVar[frozenset[str]]

    def __init__(self, *, seed: int):
        self.seed = seed

    def fit(self, population: Population, accuracy_pct: np.ndarray) -> Self:
        """Fit on n labelled architectures, labels (n,) in percent.

        Raises:
            PredictorError: without a column, with fewer than 2 labels, or with one that is not finite or above 100.
        """
        name = type(self).__module__.rpartition(".")[2]
        labels = training_labels(population, accuracy_pct, name, at_least=2)
        views = {view: column(population, view, name) for view in sorted(self.needs)}
        self.models_ = {view: PercentGp().fit(values, labels) for view, values in views.items()}
        return self

    def predict(self, population: Population) -> np.ndarray:
        """Predict percent accuracy: (N,) float64."""
        name = type(self).__module__.rpartition(".")[2]
        targets = [model.predict_target(column(population, view, name)) for view, model in self.models_.items()]
        return percent(np.mean(targets, axis=0))
