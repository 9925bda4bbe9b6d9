"""Pickled LightGBM regressors (checked against versions 2.3.1 and 3.3.5), read without LightGBM.

The pickle is one `lightgbm.basic.Booster`; its `handle` is the model as text and `best_iteration` the number of trees
that count, where training stopped early (else 0 or -1). The text holds a head of `key=value` lines and, up to "end of
trees", a block of such lines for each tree. `split_feature`, `threshold`, `decision_type`, `left_child` and
`right_child` have an entry for each split, `leaf_value` one for each leaf; a negative child c is leaf -1 - c. A split
sends what is not above its threshold left.

Supported are numeric splits on features without gaps. Refused are categorical splits, splits that take 0 for a gap,
linear leaves, averaged trees (random forests), several outputs, and objectives that transform their output.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from archgauge.errors import FormatError
from archgauge.formats.pickles import NUMPY_SCALARS, Allowed, Record, load_pickle
from archgauge.formats.xgboost_trees import MAX_BYTES, leaves_of

_ALLOWED: Allowed = {
    ("lightgbm.basic", "Booster"): Record,
    ("collections", "OrderedDict"): dict,
    ("collections", "defaultdict"): lambda *_factory: {},
    **NUMPY_SCALARS,
}
_HEAD = {"version": ("v2", "v3", "v4"), "num_class": ("1",), "num_tree_per_iteration": ("1",)}
_OBJECTIVES = ("regression", "regression_l1", "huber", "fair", "quantile", "mape")
_CATEGORICAL, _MISSING, _ZERO_IS_MISSING = 1, 12, 4  # bits of a decision type
_ROWS = 1024  # scored at once


@dataclass(frozen=True)
class LightForest:
    """Regression trees, their nodes (V,) one tree after another; a leaf is its own child.

    Attributes:
        root: (T,) first node of each tree.
        left, right: (V,) children; left where the feature is not above the value.
        feature: (V,) which feature is compared, 0 at leaves.
        value: (V,) float64 threshold, or what a leaf adds.
    """

    root: np.ndarray
    left: np.ndarray
    right: np.ndarray
    feature: np.ndarray
    value: np.ndarray

    def predict(self, features: np.ndarray) -> np.ndarray:
        """(N,) float64 predictions for (N, F) features without gaps."""
        rows = [self._predict(features[start : start + _ROWS]) for start in range(0, len(features), _ROWS)]
        return np.concatenate([np.empty(0), *rows])

    def _predict(self, features: np.ndarray) -> np.ndarray:
        def goes_left(node: np.ndarray) -> np.ndarray:
            return np.take_along_axis(features, self.feature[node], 1) <= self.value[node]

        leaf = leaves_of(np.tile(self.root, (len(features), 1)), self.left, self.right, goes_left)
        return np.add.accumulate(self.value[leaf], 1)[:, -1]  # in the order of the trees, as LightGBM adds


def read_pickled_lightgbm(content: bytes, where: object, features: int) -> LightForest:
    """Read a pickled regressor.

    Args:
        where: what to call the file in an error.
        features: how many features it must look at.

    Raises:
        FormatError: when it is corrupt, hostile, of another kind of model, or its trees are none.
    """
    booster = load_pickle(io.BytesIO(content), where=where, allowed=_ALLOWED, max_bytes=MAX_BYTES)
    try:
        head, *blocks = booster.handle.partition("end of trees")[0].split("\nTree=")
        _check(_entries(head), features)
        used = booster.best_iteration if booster.best_iteration > 0 else len(blocks)
        trees = [_tree(_entries(block), features) for block in blocks[:used]]
        size = [len(tree[0]) for tree in trees]
        root = np.cumsum([0, *size])[:-1]
        shift = np.repeat(root, size)
        left, right, feature, value = (np.concatenate(part) for part in zip(*trees, strict=True))
    except (AttributeError, KeyError, IndexError, OverflowError, TypeError, ValueError) as error:
        raise FormatError(
            "a LightGBM regressor",
            where=where,
            expected=f"trees with numeric splits on {features} features without gaps, pickled by LightGBM 2 to 4",
            got=f"{type(error).__name__}: {error}",
            remedy="The file is damaged or of another model: fetch it again.",
        ) from error
    return LightForest(root, left + shift, right + shift, feature, value)


def _entries(block: str) -> dict[str, str]:
    return {name: value for name, sign, value in (line.partition("=") for line in block.splitlines()) if name}


def _check(head: Mapping[str, str], features: int) -> None:
    wanted = {**_HEAD, "max_feature_idx": (str(features - 1),), "objective": _OBJECTIVES}
    for name, known in wanted.items():
        if head[name] not in known:
            raise ValueError(f"{name}={head[name]!r}")
    if "average_output" in head:
        raise ValueError("average_output")


def _tree(entries: Mapping[str, str], features: int) -> tuple[np.ndarray, ...]:
    """(left, right, feature, value) of the splits and behind them the leaves, checked so that every walk ends."""

    def numbers(name: str, count: int, kind: type = int) -> np.ndarray:
        found = np.array([kind(text) for text in entries[name].split()])
        if len(found) != count or not np.isfinite(found).all():
            raise ValueError(f"{name}={entries[name][:100]!r} in place of {count} numbers")
        return found

    splits = int(entries["num_leaves"]) - 1
    own = np.arange(2 * splits + 1)
    left, right, feature = own.copy(), own.copy(), np.zeros_like(own)
    value = np.concatenate([np.zeros(splits), numbers("leaf_value", splits + 1, float)])
    if entries.get("is_linear", "0") != "0":
        raise ValueError("linear leaves")
    if splits:
        decision = numbers("decision_type", splits)
        if np.any(decision & _CATEGORICAL) or np.any(decision & _MISSING == _ZERO_IS_MISSING):
            raise ValueError(f"decision_type={entries['decision_type'][:100]!r}")
        value[:splits], feature[:splits] = numbers("threshold", splits, float), numbers("split_feature", splits)
        for side, name in ((left, "left_child"), (right, "right_child")):
            child = numbers(name, splits)
            side[:splits] = np.where(child < 0, splits - 1 - child, child)
        children = np.sort(np.concatenate([left[:splits], right[:splits]]))
        if not np.array_equal(children, own[1:]) or feature.min() < 0 or feature.max() >= features:
            raise ValueError("splits that make no tree, or on a feature that is not there")
    return left, right, feature, value
