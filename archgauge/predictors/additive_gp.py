"""A Gaussian process on several views of a graph at once: its paths, its parts, its wires and its embedding."""

from typing import ClassVar, Self

import numpy as np

from archgauge.graphs.parts import Parts
from archgauge.predictors._standardiser import Standardiser
from archgauge.predictors.matern_gp import CHUNK, distance, matern, most_likely, percent, standard_target
from archgauge.predictors.population import Population, column, training_labels

NAME = "additive_gp"
VIEWS = 4

PRIOR_MEAN = np.array([0.7, *[-0.5 * np.log(2 * VIEWS)] * 2] * VIEWS + [-1.0])
PRIOR_SD = np.array([1.0, 0.5, 0.5] * VIEWS + [0.5])
"""Normal priors of the logarithms of (length scale, amplitude, slope) of each view, and of the noise. The views share
the variance of the target."""


class Predictor:
    """k(x, x') = sum over views of a^2 M(|x - x'| / l) + b^2 <x, x'>, with M as in `archgauge.predictors.matern_gp`.

    The views are path statistics, counts of kinds, counts of wires (`archgauge.graphs.parts`) and the embedding. The
    mean of a process for each view (`_view_gps`) lets the worse ones pull; here the labels say what each view is
    worth. Counts act on a log accuracy much as in a linear model, hence the slopes.

    Labels enter as -log(101 - accuracy). Features are standardised by the training rows; those that do not vary there,
    and kinds and wires that no training network has, are ignored.

    Args:
        seed: unused, the fit is deterministic.

    Attributes:
        parts_: kinds and wires of the training networks.
        standards_: put each view on the training rows' scale.
        views_: of the training rows, as they enter the kernel, (n, F) each.
        offset_, scale_: mean and standard deviation of the training targets.
        logs_: (P,) of the hyperparameters, as `PRIOR_MEAN`.
        weights_: (n,) of the training rows in the posterior mean.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"structure", "graphs", "embedding"})
    predicts_percent: ClassVar[bool] = True

    def __init__(self, *, seed: int):
        self.seed = seed

    def fit(self, population: Population, accuracy_pct: np.ndarray) -> Self:
        """Fit on n labelled architectures, labels (n,) in percent.

        Raises:
            PredictorError: without a column, with fewer than 2 labels, or with one that is not finite or above 100.
        """
        labels = training_labels(population, accuracy_pct, NAME, at_least=2)
        target, self.offset_, self.scale_ = standard_target(labels, NAME)
        self.parts_ = Parts.of(*column(population, "graphs", NAME))
        raw = self._raw(population)
        self.standards_ = [Standardiser.fit(view) for view in raw]
        self.views_ = self._placed(raw)
        terms = [(distance(view, view), view @ view.T) for view in self.views_]
        self.logs_, self.weights_ = most_likely(lambda logs: _kernel(terms, logs), PRIOR_MEAN, PRIOR_SD, target)
        return self

    def predict(self, population: Population) -> np.ndarray:
        """Predict percent accuracy: (N,) float64."""
        rows = [population.take(slice(at, at + CHUNK)) for at in range(0, max(1, len(population)), CHUNK)]
        return percent(np.concatenate([self._target(chunk) for chunk in rows]) * self.scale_ + self.offset_)

    def _target(self, population: Population) -> np.ndarray:
        views = zip(self._placed(self._raw(population)), self.views_, strict=True)
        terms = [(distance(here, known), here @ known.T) for here, known in views]
        return _kernel(terms, self.logs_)[0] @ self.weights_

    def _raw(self, population: Population) -> list[np.ndarray]:
        """The views of N architectures, (N, F) each."""
        counts = self.parts_.counted(*column(population, "graphs", NAME))
        return [column(population, "structure", NAME), *counts, column(population, "embedding", NAME)]

    def _placed(self, views: list[np.ndarray]) -> list[np.ndarray]:
        return [standard.placed(view) for view, standard in zip(views, self.standards_, strict=True)]


def _kernel(terms: list[tuple[np.ndarray, np.ndarray]], logs: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """The kernel without noise, and its derivatives by the logarithms of each view's hyperparameters.

    Args:
        terms: distances and inner products (N, n) in each view.
    """
    total, slopes = np.zeros(terms[0][0].shape), list[np.ndarray]()
    for (between, inner), (log_length, log_amplitude, log_slope) in zip(terms, logs[:-1].reshape(-1, 3), strict=True):
        shape, by_length = matern(between, log_length)
        amplitude, slope = np.exp(2 * log_amplitude), np.exp(2 * log_slope)
        total += amplitude * shape + slope * inner
        slopes += [amplitude * by_length, 2 * amplitude * shape, 2 * slope * inner]
    return total, slopes
