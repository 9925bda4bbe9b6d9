"""How good a predictor is on networks that it has not seen: other architectures, and other families of models."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from archgauge.evaluation.metrics import mae, spearman
from archgauge.graphs.composition import COMPOSITION
from archgauge.predictors.matern_gp import PercentGp, error_logs, percent
from archgauge.ranking.conformal import rank_intervals
from archgauge.ranking.description import NAMES
from archgauge.ranking.gauge import Gauge, Predicted

Score = dict[str, float]

RESAMPLES = 200
COMPANIES = 200
COMPANY = 10
"""Networks that are ranked together when the coverage of ranks is measured, and how often."""

_PATHS = tuple(name for name in NAMES if name.startswith("paths_"))

CANDIDATES: dict[str, tuple[str, Sequence[str]]] = {
    "macs": ("GP on log MACs", ("log_macs",)),
    "params": ("GP on log parameters", ("log_params",)),
    "macs_params": ("GP on log MACs and log parameters", ("log_macs", "log_params")),
    "paths": ("GP on path statistics", _PATHS),
    "composition": ("GP on composition (operations, MACs, parameters)", COMPOSITION),
    "composition_paths": ("GP on composition and path statistics", (*COMPOSITION, *_PATHS)),
}
"""What a bundle may hold: a title, and the features that the Gaussian process reads."""


def columns_of(candidate: str) -> np.ndarray:
    """(C,) int64, the features of one of `CANDIDATES`."""
    return np.array([NAMES.index(name) for name in CANDIDATES[candidate][1]], np.int64)


def folds(keys: np.ndarray, count: int, seed: int) -> np.ndarray:
    """(n,) int64: the fold of each row. Rows of equal keys (n,) share one; the largest keys go first, to the emptiest.

    Args:
        count: of folds; there are fewer when there are fewer keys.
    """
    names, which, sizes = np.unique(keys, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    filled, fold_of = np.zeros(min(count, len(names)), np.int64), np.empty(len(names), np.int64)
    for name in order[np.argsort(-sizes[order], kind="stable")]:
        fold_of[name] = filled.argmin()
        filled[fold_of[name]] += sizes[name]
    return fold_of[which]


@dataclass(frozen=True, eq=False)
class Partition:
    """Which of n networks are held out together.

    Attributes:
        fold: (n,) int64.
        unit: (n,) names. What shares a unit shares a fold, and is resampled as a whole for standard errors.
    """

    fold: np.ndarray
    unit: np.ndarray


def partitions(group: np.ndarray, family: np.ndarray, settings: Mapping[str, float]) -> dict[str, Partition]:
    """What must not be separated when n networks are held out.

    "architectures": the networks of a group, which are one architecture with several labels, are in one of `folds`
    folds. "families": so is a whole family of models. "each_family": every family has a fold of its own.

    Args:
        group, family: (n,) names.
        settings: `folds` and `seed`.
    """
    count, seed = int(settings["folds"]), int(settings["seed"])
    return {
        "architectures": Partition(folds(group, count, seed), group),
        "families": Partition(folds(family, count, seed), family),
        "each_family": Partition(np.unique(family, return_inverse=True)[1], family),
    }


Fit = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""From training features (n, C), training accuracies (n,) and new features (N, C) to predicted accuracies (N,)."""


def gaussian_process(features: np.ndarray, accuracy_pct: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The `Fit` of all candidates."""
    return percent(PercentGp().fit(features, accuracy_pct).predict_target(new))


def forest(features: np.ndarray, accuracy_pct: np.ndarray, new: np.ndarray) -> np.ndarray:
    """A `Fit` to compare with: a random forest of 100 trees. It is no candidate, as a bundle holds numbers alone."""
    from sklearn.ensemble import RandomForestRegressor

    trees = RandomForestRegressor(100, max_features=1 / 3, random_state=0).fit(features, error_logs(accuracy_pct))
    return percent(trees.predict(new))


def held_out(fit: Fit, features: np.ndarray, accuracy_pct: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Predict each of n networks by what was fitted without its fold: (n,) percent."""
    predicted = np.empty(len(accuracy_pct))
    for out in (fold == one for one in np.unique(fold)):
        predicted[out] = fit(features[~out], accuracy_pct[~out], features[out])
    return predicted


def scored(predicted: np.ndarray, true: np.ndarray, cluster: np.ndarray, seed: int) -> Score:
    """Spearman's correlation and mean absolute error of n predictions, with standard errors.

    Args:
        cluster: (n,) what is resampled as a whole for the standard errors (`RESAMPLES` bootstraps).
    """
    members = [np.flatnonzero(cluster == name) for name in np.unique(cluster)]
    rng = np.random.default_rng(seed)
    drawn = [
        np.concatenate([members[at] for at in rng.integers(len(members), size=len(members))]) for _ in range(RESAMPLES)
    ]
    repeats = {metric: [metric(predicted[rows], true[rows]) for rows in drawn] for metric in (spearman, mae)}
    return {
        "spearman": spearman(predicted, true),
        "spearman_se": float(np.nanstd(repeats[spearman], ddof=1)),
        "mae_pct": mae(predicted, true),
        "mae_se_pct": float(np.std(repeats[mae], ddof=1)),
    }


@dataclass(frozen=True, eq=False)
class Assessed:
    """Intervals of networks that were held out, n of them.

    Attributes:
        predicted: accuracies and intervals, (n,) each.
        covered: (n,) bool.
    """

    predicted: Predicted
    covered: np.ndarray

    @classmethod
    def of(cls, predicted: Predicted, accuracy_pct: np.ndarray) -> Self:
        """Intervals beside what was measured (n,)."""
        return cls(predicted, (predicted.low_pct <= accuracy_pct) & (accuracy_pct <= predicted.high_pct))


def intervals(
    features: np.ndarray,
    accuracy_pct: np.ndarray,
    columns: np.ndarray,
    family: np.ndarray,
    outer: np.ndarray,
    settings: Mapping[str, float],
) -> Assessed:
    """Predict each of n networks, with its interval, by a whole `Gauge` that was made without its fold `outer` (n,).

    Args:
        features: (n, F).
        columns: (C,) the features to read.
        family: (n,) families of models; the folds that calibrate the intervals keep each of them together.
        settings: `level`, and `folds` and `seed` of the calibration.
    """
    ends = np.empty((3, len(accuracy_pct)))
    for out in (outer == fold for fold in np.unique(outer)):
        fold = folds(family[~out], int(settings["folds"]), int(settings["seed"]))  # as a bundle's own are made
        gauge = Gauge.fit(features[~out], accuracy_pct[~out], columns, fold)
        ends[:, out] = gauge.predict(features[out], settings["level"])
    return Assessed.of(Predicted(*ends), accuracy_pct)


def coverage(assessed: Assessed, accuracy_pct: np.ndarray, cluster: np.ndarray, seed: int) -> Score:
    """How often intervals of accuracies and of ranks hold the truth, and how wide they are, in points and in ranks."""
    low, high = assessed.predicted.low_pct, assessed.predicted.high_pct
    rng = np.random.default_rng(seed)
    held, allowed = [], []
    for _ in range(COMPANIES):
        rows = rng.choice(len(low), size=min(COMPANY, len(low)), replace=False)
        best, worst = rank_intervals(low[rows], high[rows])
        above = (accuracy_pct[rows][None, :] > accuracy_pct[rows][:, None]).sum(axis=1)
        held.append(((best <= 1 + above) & (1 + above <= worst)).mean())
        allowed.append((worst - best + 1).mean())
    shares = np.array([assessed.covered[cluster == name].mean() for name in np.unique(cluster)])
    weights = np.array([(cluster == name).sum() for name in np.unique(cluster)])
    share = assessed.covered.mean()
    return {
        "coverage": float(share),
        "coverage_se": float(np.sqrt(((weights * (shares - share)) ** 2).sum()) / weights.sum()),
        "mean_width_pct": float((high - low).mean()),
        "median_width_pct": float(np.median(high - low)),
        "rank_coverage": float(np.mean(held)),
        "ranks_allowed": float(np.mean(allowed)),
    }
