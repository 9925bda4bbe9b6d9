"""Pickled XGBoost regressors of 2020 (versions 1.0 to 1.2), which current XGBoost cannot load, read by ourselves.

The pickle is one `xgboost.core.Booster` whose state holds the serialised model in `handle`: `CONFIG-offset:`, an int64
length, and a model of that length in XGBoost's old binary form. That is, little endian and after an optional `binf`:
- 136 bytes of learner parameters: float32 base score, uint32 number of features, and what does not matter here;
- the names of the objective and of the booster, each behind a uint64 length;
- 160 bytes of ensemble parameters, the first of which is the int32 number of trees;
- of each tree 148 bytes, whose second int32 is the number of nodes; then 20 bytes a node: parent, left and right child,
  feature in the lower 31 bits, float32 threshold or leaf value; and 16 bytes of statistics a node.
Checked against models that XGBoost 1.2.1 wrote: its predictions to the last bit.
"""

import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from archgauge.errors import FormatError
from archgauge.formats.pickles import Record, load_pickle

MAX_BYTES = 2**28
_HEADER = b"CONFIG-offset:"
_LEARNER_BYTES, _ENSEMBLE_BYTES, _TREE_BYTES, _STATISTICS_BYTES = 136, 160, 148, 16
_NODE = np.dtype([("parent", "<i4"), ("left", "<i4"), ("right", "<i4"), ("feature", "<u4"), ("value", "<f4")])
_ROWS = 1024  # scored at once
_FEATURE_BITS = 0x7FFFFFFF  # the highest bit says where gaps go
_ALLOWED = {("xgboost.core", "Booster"): Record, ("builtins", "bytearray"): bytes}


@dataclass(frozen=True)
class Forest:
    """Regression trees, their nodes (V,) one tree after another; a leaf is its own child.

    Attributes:
        root: (T,) first node of each tree.
        left, right: (V,) children; left where the feature is below the value.
        feature: (V,) which feature is compared, 0 at leaves.
        value: (V,) float32 threshold, or what a leaf adds.
        base_score: what all trees add to.
    """

    root: np.ndarray
    left: np.ndarray
    right: np.ndarray
    feature: np.ndarray
    value: np.ndarray
    base_score: np.float32

    def predict(self, features: np.ndarray) -> np.ndarray:
        """(N,) float32 predictions for (N, F) features without gaps, trees added in their order as XGBoost does."""
        rows = [self._predict(features[i : i + _ROWS].astype(np.float32)) for i in range(0, len(features), _ROWS)]
        return np.concatenate([np.empty(0, np.float32), *rows])

    def _predict(self, features: np.ndarray) -> np.ndarray:
        def goes_left(node: np.ndarray) -> np.ndarray:
            return np.take_along_axis(features, self.feature[node], 1) < self.value[node]

        leaf = leaves_of(np.tile(self.root, (len(features), 1)), self.left, self.right, goes_left)
        return self.base_score + np.add.accumulate(self.value[leaf], 1)[:, -1]


def leaves_of(
    node: np.ndarray, left: np.ndarray, right: np.ndarray, goes_left: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """(N, T) the leaves that N rows reach from (N, T) nodes; a leaf is its own child."""
    while True:
        below = np.where(goes_left(node), left[node], right[node])
        if np.array_equal(below, node):
            return node
        node = below


def read_pickled_forest(content: bytes, where: object, features: int) -> Forest:
    """Read a pickled regressor with squared loss.

    Args:
        where: what to call the file in an error.
        features: how many features it must look at.

    Raises:
        FormatError: when it is corrupt, hostile, of another kind of model, or its trees are none.
    """
    booster = load_pickle(io.BytesIO(content), where=where, allowed=_ALLOWED, max_bytes=MAX_BYTES)
    try:
        return _forest(booster.handle, features)
    except (AttributeError, IndexError, OverflowError, TypeError, ValueError, struct.error) as error:
        raise FormatError(
            "an XGBoost regressor",
            where=where,
            expected=f"trees with squared loss on {features} features, pickled by XGBoost 1.0 to 1.2",
            got=f"{type(error).__name__}: {error}",
            remedy="The file is damaged or of another model: fetch it again.",
        ) from error


def _forest(handle: bytes, features: int) -> Forest:
    if not handle.startswith(_HEADER):
        raise ValueError(f"a model that starts with {handle[: len(_HEADER)]!r}")
    start = len(_HEADER) + 8
    start += 4 * handle.startswith(b"binf", start)
    base_score, found = struct.unpack_from("<fI", handle, start)
    if found != features:
        raise ValueError(f"{found} features")
    start += _LEARNER_BYTES
    for expected in (b"reg:squarederror", b"gbtree"):
        (length,) = struct.unpack_from("<Q", handle, start)
        start += 8 + length
        if (name := handle[start - length : start]) != expected:
            raise ValueError(f"{name!r} in place of {expected!r}")
    (count,) = struct.unpack_from("<i", handle, start)
    trees = list(_trees(handle, start + _ENSEMBLE_BYTES, count, features))
    root = np.cumsum([0, *map(len, trees)])[:-1]
    shift = np.repeat(root, [len(tree) for tree in trees]).astype(np.int32)
    nodes = np.concatenate(trees)
    left, right = nodes["left"] + shift, nodes["right"] + shift
    return Forest(root, left, right, nodes["feature"].astype(np.int32), nodes["value"], np.float32(base_score))


def _trees(handle: bytes, start: int, count: int, features: int) -> Iterator[np.ndarray]:
    """The nodes of each tree, leaves their own children, checked so that every walk ends at a leaf."""
    for _ in range(count):
        (size,) = struct.unpack_from("<i", handle, start + 4)
        if size < 1:
            raise ValueError(f"a tree of {size} nodes")
        tree = np.frombuffer(handle, _NODE, size, start + _TREE_BYTES).copy()
        start += _TREE_BYTES + size * (_NODE.itemsize + _STATISTICS_BYTES)
        own = np.arange(size)
        leaf = tree["left"] == -1
        tree["feature"] = np.where(leaf, 0, tree["feature"] & _FEATURE_BITS)
        for side in ("left", "right"):
            child = np.where(leaf, own, tree[side])
            if np.any(leaf != (tree[side] == -1)) or np.any(child >= size) or np.any(child[~leaf] <= own[~leaf]):
                raise ValueError("a tree whose children are no later nodes")
            tree[side] = child
        if np.any(tree["feature"] >= features) or not np.isfinite(tree["value"]).all():
            raise ValueError("a split on a feature that is not there, or on no number")
        yield tree
