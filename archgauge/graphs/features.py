"""Node features, one row per kind: encoders embed the K kinds once and gather the rows of their nodes."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from archgauge.graphs.operations import WEIGHTED, Kind

GENNAPE_LABELS = {
    "input": 1,
    "output": 2,
    "conv": 3,
    "depthwise": 4,
    "batch_norm": 5,
    "relu": 6,
    "relu6": 7,
    "linear": 8,
    "matmul": 8,
    "add": 9,
    "mul": 10,
    "concat": 11,
    "max_pool": 12,
    "avg_pool": 13,
    "sigmoid": 14,
    "tanh": 15,
    "silu": 16,
    "gelu": 17,
    "pad": 18,
    "global_avg_pool": 19,
    "zero": 26,
}
"""Row of GENNAPE's table of operations, in the order of its public code's file; 0 is out of vocabulary.

A global pool is Mean, a product of two activations MatMul like a linear layer, but not weighted.
"""

GENNAPE_LABEL_COUNT = 32
GENNAPE_SIZE_UNIT = 256  # H and W are divided by this (max_derived_H/W)
GENNAPE_CHANNEL_UNIT = 512  # C is divided by this (max_hidden_size)
GENNAPE_KERNEL_COUNT = 8  # rows of the kernel embedding


@dataclass(frozen=True)
class NodeFeatures:
    """Features of K kinds.

    Attributes:
        categories: (K, c) int64, one column per categorical feature.
        cardinality: number of values of each category.
        numbers: (K, r) float32.
        names: of the c categories, then of the r numbers.
    """

    categories: np.ndarray
    cardinality: tuple[int, ...]
    numbers: np.ndarray
    names: tuple[str, ...]


def gennape(kinds: Iterable[Kind]) -> NodeFeatures:
    """GENNAPE's features: label, weighted, kernel, bias; resolution, as its public code builds them.

    The categories are (label of 32, weighted of 2, kernel height of 8, kernel width of 8, bias of 2); the last three
    are zero on nodes without weights, and a linear layer's kernel is 0. The numbers are
    [H_in, H_out, W_in, W_out] / 256 and [C_in, C_out] / 512. Kernels above 7 share the last row.
    """
    kinds = list(kinds)
    categories = np.zeros((len(kinds), 5), np.int64)
    for row, kind in enumerate(kinds):
        weighted = kind.operation in WEIGHTED
        kernel = np.minimum(kind.kernel, GENNAPE_KERNEL_COUNT - 1) * weighted
        categories[row] = _gennape_label(kind), weighted, *kernel, kind.bias
    numbers = _resolution(kinds) / np.repeat([GENNAPE_SIZE_UNIT, GENNAPE_CHANNEL_UNIT], [4, 2])
    return NodeFeatures(
        categories,
        (GENNAPE_LABEL_COUNT, 2, GENNAPE_KERNEL_COUNT, GENNAPE_KERNEL_COUNT, 2),
        numbers.astype(np.float32),
        ("label", "weighted", "kernel_height", "kernel_width", "bias", *_RESOLUTION),
    )


def extended(kinds: Iterable[Kind]) -> NodeFeatures:
    """GENNAPE's features plus what they leave out: stride, dilation, groups, kernels above 7 and of pools, log sizes.

    The numbers after the resolution are log2 of (H_in, H_out, W_in, W_out, C_in, C_out), kernel, stride, dilation and
    groups, each plus one, divided by 10, and log10(1 + MACs), log10(1 + parameters), also divided by 10.
    """
    kinds = list(kinds)
    base = gennape(kinds)
    counts = [[*kind.kernel, *kind.stride, *kind.dilation, kind.groups] for kind in kinds]
    costs = [[kind.macs, kind.params] for kind in kinds]
    numbers = [
        base.numbers,
        np.log2(1 + _resolution(kinds)) / 10,
        np.log2(1 + np.array(counts, np.float64).reshape(len(kinds), 7)) / 10,
        np.log10(1 + np.array(costs, np.float64).reshape(len(kinds), 2)) / 10,
    ]
    attributes = ("kernel_height", "kernel_width", "stride_height", "stride_width", "dilation_height", "dilation_width")
    names = [f"log_{name}" for name in (*_RESOLUTION, *attributes, "groups", "macs", "params")]
    return NodeFeatures(base.categories, base.cardinality, np.hstack(numbers).astype(np.float32), (*base.names, *names))


_RESOLUTION = ("H_in", "H_out", "W_in", "W_out", "C_in", "C_out")


def _resolution(kinds: list[Kind]) -> np.ndarray:
    """(K, 6) float64, `_RESOLUTION`; a node without input or output takes the shape of its other side."""
    rows = []
    for kind in kinds:
        before, after = (kind.inputs or kind.outputs)[0], (kind.outputs or kind.inputs)[0]
        rows.append([before[0], after[0], before[1], after[1], before[2], after[2]])
    return np.array(rows, np.float64).reshape(len(kinds), 6)


def _gennape_label(kind: Kind) -> int:
    return GENNAPE_LABELS.get("depthwise" if kind.depthwise else kind.operation, 0)
