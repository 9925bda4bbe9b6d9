"""A cost, and a correction that families share: learnt from several source families, for one that is none of them."""

from collections.abc import Sequence
from typing import ClassVar, Literal, Self

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.stats import norm, rankdata

from archgauge.errors import PredictorError
from archgauge.graphs.composition import COMPOSITION_AND_DEPTHS
from archgauge.predictors._standardiser import Standardiser
from archgauge.predictors.matern_gp import CHUNK
from archgauge.predictors.population import Population, column, training_labels
from archgauge.predictors.shared_gp_columns import check_columns

LENGTH_SCALE, AMPLITUDE, NOISE = 2.0, 1.0, 0.3
"""Of the correction: in spreads of all source rows together, and as variances of standard normal targets."""

LINEAR_NOISE = 1.0
"""The same where the correction is linear."""

INTERCEPT = 1e3
"""Prior variance of a family's own level: accuracies of different families are never compared."""

_INPUT = COMPOSITION_AND_DEPTHS.index("log_input_pixels")
"""0 in dead graphs. The process does not see it: it tells data sets apart, not architectures."""


class Predictor:
    """Ranks by y(x) = m(x) + g(x), of which each source family f shows y(x) + b_f.

    The targets are normal scores of the labels within each family, so that no family's scale counts. m is the mean of
    the costs, each in units of its spread within families: a slope of 1 that nothing is learnt of. g is a Gaussian
    process on the composition and the depths of the live graph, with a Matern-3/2 kernel of fixed length: far from
    all that the sources have shown it fades, and the costs decide alone. A level b_f for each family takes up what
    sets families apart. Dead graphs are not learnt from. It predicts scores, not accuracies.

    Args:
        costs: names of COMPOSITION_AND_DEPTHS whose mean is m; none for no prior at all.
        correction: the kernel of g; "linear" extrapolates, "none" leaves m alone.
        without: prefixes of the columns that g does not see.
        seed: unused, the fit is deterministic.

    Raises:
        PredictorError: when a cost is no column, or a prefix begins none.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"composition"})
    predicts_percent: ClassVar[bool] = False

    def __init__(
        self,
        *,
        costs: Sequence[str] = ("log_macs",),
        correction: Literal["matern", "linear", "none"] = "matern",
        without: Sequence[str] = (),
        seed: int,
    ):
        check_columns(PredictorError, "shared_gp", costs=costs, without=without)
        self.costs = costs
        self.correction = correction
        self.without = without
        self.seed = seed

    def fit(self, population: Population, accuracy_pct: np.ndarray) -> Self:
        """Fit on n labelled architectures of several families, labels (n,) in percent.

        Raises:
            PredictorError: without compositions, with fewer than 2 labels, or one that is not finite.
        """
        labels = training_labels(population, accuracy_pct, "shared_gp", at_least=2)
        rows = column(population, "composition", "shared_gp").astype(np.float64)
        alive = rows[:, _INPUT] > 0
        rows, labels, family = rows[alive], labels[alive], population.family[alive]
        within = np.sqrt(np.mean([rows[family == name].var(axis=0) for name in np.unique(family)], axis=0))
        self.slopes_ = self._slopes(within)
        self.seen_ = np.array([not name.startswith(tuple(self.without)) for name in COMPOSITION_AND_DEPTHS])
        self.standard_ = Standardiser.fit(rows)
        if self.correction == "linear":  # a slope is one of differences within families
            self.standard_ = Standardiser(self.standard_.centre, within, within > 1e-6)
        self.seen_ &= self.standard_.varying & (np.arange(len(within)) != _INPUT)
        self.rows_ = self._placed(rows)
        if self.correction == "none":
            self.weights_ = np.zeros(len(rows))
            return self
        same = family[:, None] == family
        noise = NOISE if self.correction == "matern" else LINEAR_NOISE
        covariance = self._kernel(self.rows_) + INTERCEPT * same + noise * np.eye(len(rows))
        self.weights_ = cho_solve(cho_factor(covariance), _normal_scores(labels, family) - rows @ self.slopes_)
        return self

    def predict(self, population: Population) -> np.ndarray:
        """Score each architecture: (N,) float64, higher is better."""
        rows = column(population, "composition", "shared_gp").astype(np.float64)
        chunks = (self._placed(rows[at : at + CHUNK]) for at in range(0, len(rows), CHUNK))
        return rows @ self.slopes_ + np.concatenate([self._kernel(chunk) @ self.weights_ for chunk in chunks])

    def _slopes(self, within: np.ndarray) -> np.ndarray:
        """(F,) of the costs, 1 over their number and their spread within families; (F,) `within`."""
        slopes = np.zeros(len(within))
        for name in self.costs:
            place = COMPOSITION_AND_DEPTHS.index(name)
            slopes[place] = 1 / (len(self.costs) * max(within[place], 1e-6))
        return slopes

    def _placed(self, rows: np.ndarray) -> np.ndarray:
        """(N, F) -> (N, seen), standardised, over the root of their number: unrelated rows lie some sqrt(2) apart."""
        return self.standard_(rows)[:, self.seen_] / np.sqrt(max(1, self.seen_.sum()))

    def _kernel(self, rows: np.ndarray) -> np.ndarray:
        """Of (N, seen) placed rows with those that were learnt from, (N, n)."""
        products = rows @ self.rows_.T
        if self.correction == "linear":
            return products
        squared = (rows**2).sum(axis=1)[:, None] + (self.rows_**2).sum(axis=1) - 2 * products
        scaled = np.sqrt(3 * np.maximum(squared, 0)) / LENGTH_SCALE
        return AMPLITUDE * (1 + scaled) * np.exp(-scaled)


def _normal_scores(labels: np.ndarray, family: np.ndarray) -> np.ndarray:
    """Quantiles of the standard normal distribution at the mid-ranks of labels (n,) within their family (n,)."""
    scores = np.empty(len(labels))
    for name in np.unique(family):
        mine = family == name
        scores[mine] = norm.ppf((rankdata(labels[mine]) - 0.5) / mine.sum())
    return scores
