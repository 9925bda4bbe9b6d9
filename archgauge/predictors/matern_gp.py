"""Gaussian process regression of accuracies with an isotropic Matern-3/2 kernel: few labels, features of any kind."""

from collections.abc import Callable, Mapping, Sequence
from typing import Self

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.linalg.lapack import dpotri
from scipy.optimize import minimize

from archgauge.errors import PredictorError
from archgauge.predictors._standardiser import Standardiser

PRIOR_MEAN = np.array([0.3, 0.0, -1.25])
PRIOR_SD = np.array([0.7, 1.0, 1.0])
"""Normal priors of the logarithms of (length scale, amplitude, noise), for standardised features and targets."""

JITTER = 1e-6
IMPOSSIBLE = 1e10
"""The loss of hyperparameters so large that the kernel has no factor in float64."""

CHUNK = 2048
"""Rows that are predicted at a time."""

CEILING_PCT = 101.0
"""Errors are counted from here: a point more than the best accuracy that there can be."""


class PercentGp:
    """A `MaternGp` between raw features and accuracies in percent.

    It learns -log(101 - accuracy), in which a point is worth more the better the networks are, and features
    standardised by the training rows, so that the score of a network depends on nothing but itself and those. The
    statistics of a whole family in their place gained nothing on NAS-Bench-101 or 201 with 50 labels.

    Attributes:
        standard_: puts features on the training rows' scale.
        offset_, scale_: mean and standard deviation of the training targets.
        model_: the regression between the two.
    """

    def fit(self, features: np.ndarray, accuracy_pct: np.ndarray) -> Self:
        """Fit (n, F) features to (n,) labels.

        Raises:
            PredictorError: when an accuracy is above 100 percent.
        """
        target, self.offset_, self.scale_ = standard_target(accuracy_pct, "matern_gp")
        self.standard_ = Standardiser.fit(features)
        self.model_ = MaternGp().fit(self.placed(features), target)
        return self

    def predict_target(self, features: np.ndarray) -> np.ndarray:
        """Predict on the scale that is learnt, -log(101 - accuracy): (N, F) -> (N,)."""
        return self.model_.predict(self.placed(features)) * self.scale_ + self.offset_

    def deviation(self, features: np.ndarray) -> np.ndarray:
        """Posterior standard deviation of a label on the scale that is learnt, noise included: (N, F) -> (N,)."""
        return self.model_.deviation(self.placed(features)) * self.scale_

    def state(self) -> dict[str, np.ndarray]:
        """What was learnt, as arrays, but for the features of the training rows."""
        standard = self.standard_
        return {
            "standard": np.stack([standard.centre, standard.spread, standard.varying]),
            "target": np.array([self.offset_, self.scale_]),
            "logs": self.model_.logs_,
            "weights": self.model_.weights_,
        }

    @classmethod
    def restored(cls, state: Mapping[str, np.ndarray], features: np.ndarray) -> Self:
        """The fitted regression of a `state` and the features (n, F) that it was fitted on: equal to the bit."""
        gp = cls()
        centre, spread, varying = state["standard"]
        gp.standard_ = Standardiser(centre, spread, varying.astype(bool))
        gp.offset_, gp.scale_ = state["target"]
        gp.model_ = MaternGp()
        gp.model_.logs_, gp.model_.weights_ = state["logs"], state["weights"]
        gp.model_.features_ = gp.placed(features)
        return gp

    def placed(self, features: np.ndarray) -> np.ndarray:
        """Where networks lie among the training rows: (N, F) -> (N, F)."""
        return self.standard_.placed(features)


def standard_target(accuracy_pct: np.ndarray, predictor: str) -> tuple[np.ndarray, float, float]:
    """What is learnt of n labels: -log(101 - accuracy), standardised (n,), and its mean and standard deviation.

    Raises:
        PredictorError: naming the predictor, when an accuracy is above 100 percent.
    """
    if accuracy_pct.max() > 100:
        raise PredictorError(
            "the labels to learn from",
            where=predictor,
            expected="accuracies in percent",
            got=accuracy_pct.max(),
            remedy="Choose a label whose unit is percent.",
        )
    target = error_logs(accuracy_pct)
    offset, scale = target.mean(), target.std() or 1.0
    return (target - offset) / scale, offset, scale


def error_logs(accuracy_pct: np.ndarray) -> np.ndarray:
    """-log(101 - accuracy), (N,)."""
    return -np.log(CEILING_PCT - accuracy_pct)


def percent(error_log: np.ndarray) -> np.ndarray:
    """The accuracies in percent of (N,) values of `error_logs`."""
    return CEILING_PCT - np.exp(-error_log)


class MaternGp:
    """Posterior mean under k(x, x') = a^2 M(|x - x'| / l) + s^2 [x = x'], M(r) = (1 + sqrt(3) r) exp(-sqrt(3) r).

    The logarithms of l, a and s maximise their posterior (marginal likelihood times `PRIOR_MEAN`, `PRIOR_SD`), found
    by L-BFGS from the mean of the prior with the exact gradient: no seed, no grid.

    Attributes:
        logs_: (3,) of length scale, amplitude, noise.
        features_: (n, F) of the training rows.
        weights_: (n,) of the training rows in the posterior mean.
    """

    def fit(self, features: np.ndarray, target: np.ndarray) -> Self:
        """Fit features (n, F), typically a unit apart, to a standardised target (n,)."""
        between = distance(features, features)
        self.features_ = features
        self.logs_, self.weights_ = most_likely(lambda logs: _kernel(between, logs), PRIOR_MEAN, PRIOR_SD, target)
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Posterior mean of the target: (N, F) -> (N,)."""
        chunks = (features[at : at + CHUNK] for at in range(0, max(1, len(features)), CHUNK))
        return np.concatenate(
            [_kernel(distance(chunk, self.features_), self.logs_)[0] @ self.weights_ for chunk in chunks]
        )

    def deviation(self, features: np.ndarray) -> np.ndarray:
        """Posterior standard deviation of a label, noise included: (N, F) -> (N,)."""
        known = _kernel(distance(self.features_, self.features_), self.logs_)[0]
        across = _kernel(distance(features, self.features_), self.logs_)[0]
        explained = solve_triangular(_factor(known, self.logs_), across.T, lower=True)
        prior = np.exp(2 * self.logs_[1]) + np.exp(2 * self.logs_[2])
        return np.sqrt(prior - (explained**2).sum(axis=0))


Kernel = Callable[[np.ndarray], tuple[np.ndarray, Sequence[np.ndarray]]]
"""From logarithms of hyperparameters, that of the noise last, to the kernel (n, n) without noise and its derivatives by
all logarithms but the noise's."""


def most_likely(
    kernel: Kernel, prior_mean: np.ndarray, prior_sd: np.ndarray, target: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fit the hyperparameters of a kernel to a standardised target (n,).

    Args:
        prior_mean, prior_sd: (P,) normal priors of their logarithms.

    Returns:
        The logarithms (P,) whose posterior is largest, and the weights (n,) of the training rows in the posterior mean.
    """
    found = minimize(_loss, prior_mean, (kernel, prior_mean, prior_sd, target), jac=True, method="L-BFGS-B").x
    return found, cho_solve((_factor(kernel(found)[0], found), True), target)


def _loss(
    logs: np.ndarray, kernel: Kernel, prior_mean: np.ndarray, prior_sd: np.ndarray, target: np.ndarray
) -> tuple[float, np.ndarray]:
    """Negative log posterior of the hyperparameters, up to a constant, and its gradient (P,)."""
    off = (logs - prior_mean) / prior_sd
    try:
        with np.errstate(over="raise", invalid="raise"):
            covariance, slopes = kernel(logs)
            factor = _factor(covariance, logs)
    except (FloatingPointError, np.linalg.LinAlgError):
        return IMPOSSIBLE + 0.5 * off @ off, off / prior_sd  # the line search steps back
    weights = cho_solve((factor, True), target)
    inverse = dpotri(factor, lower=True)[0]  # the lower triangle; the upper one is zero
    inverse += np.tril(inverse, -1).T
    value = 0.5 * target @ weights + np.log(np.diag(factor)).sum() + 0.5 * off @ off
    sensitivity = inverse - np.outer(weights, weights)
    by_noise = np.exp(2 * logs[-1]) * np.trace(sensitivity)
    slope = np.array([*(0.5 * np.vdot(sensitivity, matrix) for matrix in slopes), by_noise])
    return float(value), slope + off / prior_sd


def _kernel(between: np.ndarray, logs: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """The kernel without noise, and its derivatives by the logarithms of the length scale and the amplitude."""
    covariance, by_length = matern(between, logs[0])
    scale = np.exp(2 * logs[1])
    return scale * covariance, (scale * by_length, 2 * scale * covariance)


def matern(between: np.ndarray, log_length: float) -> tuple[np.ndarray, np.ndarray]:
    """M of distances, with an amplitude of 1, and its derivative by the logarithm of the length scale."""
    scaled = np.sqrt(3) * np.exp(-log_length) * between
    decay = np.exp(-scaled)
    return (1 + scaled) * decay, scaled**2 * decay


def _factor(kernel: np.ndarray, logs: np.ndarray) -> np.ndarray:
    noise = np.exp(2 * logs[-1]) + JITTER
    return cholesky(kernel + noise * np.eye(len(kernel)), lower=True)


def distance(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Euclidean distances (N, n) of (N, F) to (n, F)."""
    squared = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1) - 2 * left @ right.T
    return np.sqrt(np.maximum(squared, 0))
