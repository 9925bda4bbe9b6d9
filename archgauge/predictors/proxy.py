"""Untrained baseline: one zero-cost proxy, computed or published."""

import warnings
from typing import ClassVar, Self

import numpy as np

from archgauge.errors import PredictorError
from archgauge.predictors.population import Population, column, training_labels


class Predictor:
    """Ranks by a proxy's score. It learns nothing, so its score is no accuracy; `fit` only checks the labels.

    Args:
        proxy: its name in the PROXIES table.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"proxies"})
    predicts_percent: ClassVar[bool] = False
    untrained: ClassVar[bool] = True

    def __init__(self, *, proxy: str, seed: int):
        self.proxy = proxy
        self.seed = seed

    def fit(self, population: Population, accuracy_pct: np.ndarray) -> Self:
        """Check the labels (n,), of which there may be none.

        Raises:
            PredictorError: when a label is not finite.
        """
        column(population, "proxies", "proxy")
        training_labels(population, accuracy_pct, "proxy", at_least=0)
        return self

    def predict(self, population: Population) -> np.ndarray:
        """Score each architecture: (N,) float64, higher is better. Those without a score rank last, with a warning.

        Raises:
            PredictorError: when the table has no score of this proxy.
        """
        scores = column(population, "proxies", "proxy")
        known = scores.dtype.names or ()
        if self.proxy not in known:
            raise PredictorError(
                "the proxy of a predictor",
                where=f"proxy {self.proxy}",
                expected=f"one of {', '.join(known) or 'none, because the table is empty'}",
                got="no score of this family",
                remedy="Name a proxy and a table that have scores of it; published ones need tables_dir.",
            )
        missing = np.isnan(scores[self.proxy])
        if missing.any():
            warnings.warn(f"{missing.sum()} of {len(missing)} have no {self.proxy}: they rank last.", stacklevel=2)
        return np.where(missing, -np.finfo(np.float64).max, scores[self.proxy])
