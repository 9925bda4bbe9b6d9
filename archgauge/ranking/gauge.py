"""The predictor of a bundle: a Gaussian process on graph features, and its twins that calibrate the intervals."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from archgauge.predictors.matern_gp import PercentGp, error_logs, percent
from archgauge.ranking.conformal import cv_plus, scores
from archgauge.ranking.description import NAMES


class Predicted(NamedTuple):
    """Accuracies in percent, (N,) each: the prediction, and the ends of its interval within 0 to 100."""

    accuracy_pct: np.ndarray
    low_pct: np.ndarray
    high_pct: np.ndarray


@dataclass(frozen=True, eq=False)
class Gauge:
    """A Gaussian process on n known networks, and K more, each fitted without one fold of them.

    Residuals are taken on the scale that is learnt, -log(101 - accuracy): there an interval is as wide for a weak
    network as for a strong one, in points it is narrower the better the network is.

    Attributes:
        columns: (C,) int64, the features that it reads.
        model: fitted on all known networks.
        twins: K, fitted without fold k.
        fold: (n,) int64, the fold of each known network.
        score: (n,) out-of-fold residuals in predicted standard deviations.
    """

    columns: np.ndarray
    model: PercentGp
    twins: tuple[PercentGp, ...]
    fold: np.ndarray
    score: np.ndarray

    @classmethod
    def fit(cls, features: np.ndarray, accuracy_pct: np.ndarray, columns: np.ndarray, fold: np.ndarray) -> Self:
        """Fit on known networks.

        Args:
            features: (n, F).
            accuracy_pct: (n,).
            columns: (C,) the features to read.
            fold: (n,) int64 of 0 to K - 1. Whatever shares a fold is held out together.

        Raises:
            PredictorError: when an accuracy is above 100 percent.
        """
        read, true = _read(features, columns), error_logs(accuracy_pct)
        twins, score = [], np.empty(len(true))
        for held_out in range(fold.max() + 1):
            out = fold == held_out
            twin = PercentGp().fit(read[~out], accuracy_pct[~out])
            score[out] = scores(twin.predict_target(read[out]), twin.deviation(read[out]), true[out])
            twins.append(twin)
        return cls(columns, PercentGp().fit(read, accuracy_pct), tuple(twins), fold, score)

    def predict(self, features: np.ndarray, level: float) -> Predicted:
        """Predict N networks, features (N, F), with intervals of a level in (0, 1)."""
        read = _read(features, self.columns)
        centre = self.model.predict_target(read)
        predicted = np.stack([twin.predict_target(read) for twin in self.twins])
        deviation = np.stack([twin.deviation(read) for twin in self.twins])
        low, high = cv_plus(self.score, self.fold, predicted, deviation, level)
        # The twins may disagree with the model; an interval always holds its own prediction.
        ends = (centre, np.minimum(low, centre), np.maximum(high, centre))
        return Predicted(*(np.clip(percent(end), 0, 100) for end in ends))

    def place(self, features: np.ndarray) -> np.ndarray:
        """Where networks lie among the known ones: (N, F) -> (N, C); unrelated ones are some sqrt(2) apart."""
        return self.model.placed(_read(features, self.columns))

    def unseen(self, features: np.ndarray) -> list[str]:
        """The features of one network (1, F) that all known ones share and it does not."""
        new = self.model.standard_.unseen(features[0, self.columns])
        return [NAMES[column] for column in self.columns[new]]

    def state(self) -> dict[str, np.ndarray]:
        """All arrays but the features of the known networks, by name."""
        arrays = {"columns": self.columns, "fold": self.fold, "score": self.score}
        for name, model in (("model", self.model), *((f"twin{k}", twin) for k, twin in enumerate(self.twins))):
            arrays |= {f"{name}.{part}": values for part, values in model.state().items()}
        return arrays

    @classmethod
    def restored(cls, arrays: Mapping[str, np.ndarray], features: np.ndarray) -> Self:
        """The inverse of `state`, given the features (n, F) of the known networks.

        Raises:
            KeyError: when an array is missing.
        """
        columns, fold = arrays["columns"], arrays["fold"]
        read = _read(features, columns)

        def model(name: str, rows: np.ndarray) -> PercentGp:
            parts = {part: arrays[f"{name}.{part}"] for part in ("standard", "target", "logs", "weights")}
            return PercentGp.restored(parts, read[rows])

        twins = tuple(model(f"twin{k}", fold != k) for k in range(fold.max() + 1))
        return cls(columns, model("model", fold >= 0), twins, fold, arrays["score"])


def _read(features: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(N, F) -> (N, C), in one memory layout: sums in another order would differ in the last bit."""
    return np.ascontiguousarray(features[:, columns])
