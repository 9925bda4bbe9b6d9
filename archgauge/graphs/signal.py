"""How deep a live graph is for the signal that runs through it: what lies on the mean path, weighed by its share of it.

Paths are not equal. A sum passes on each of its terms by its variance, and a normalisation sets the variance to 1: of
a residual block's output, the branch has a small part after many blocks, the way around it the rest (Veit et al. 2016,
arXiv 1605.06431, measure the same on trained networks). No weight is drawn and no network is run.
"""

from collections.abc import Sequence

import numpy as np

from archgauge.graphs.graph import Graphs
from archgauge.graphs.normal_form import edges_by_level
from archgauge.graphs.operations import Kind
from archgauge.graphs.paths import CLASSES, classes_of

DEPTHS = tuple(f"log_depth_{name}" for name in CLASSES[:-1])  # the last class is all of them
"""Names of the columns of `signal_depths`."""

_NORMS = ("batch_norm", "layer_norm", "group_norm", "instance_norm")


def signal_depths(graphs: Graphs) -> np.ndarray:
    """Operations of each class on the mean path from an input to the output of B live graphs: (B, 5) float64, `DEPTHS`.

    Of the inputs of an operation, a sum weighs each by its variance, a concatenation by its channels, a product by the
    square of its elements (a gate counts little); others weigh all alike. What no input reaches weighs nothing. The
    variance of an input is 1, of a normalised tensor too, of a sum the sum; all else leaves it. Logarithms are natural,
    of one plus the number. Where a graph has several outputs, the first counts.

    Raises:
        GraphError: when a graph has a cycle.
    """
    kinds = list(graphs.kinds)
    own, elements, channels = (values[graphs.kind] for values in (classes_of(kinds)[:, : len(DEPTHS)], *_shapes(kinds)))
    sums, concats, products = (graphs.having(name) for name in ("add", "concat", "mul"))
    normalised, reached = graphs.having(*_NORMS), graphs.having("input")
    variance, depth = np.ones(len(own)), np.zeros(own.shape)
    for edges in edges_by_level(graphs):
        source, target = graphs.edge_source[edges], graphs.edge_target[edges]
        first = np.flatnonzero(np.diff(target, prepend=-1))
        node, size = target[first], np.diff(first, append=len(target))
        weight = np.where(concats[target], channels[source], np.where(products[target], elements[source] ** 2, 1.0))
        weight = np.where(sums[target], variance[source], weight) * reached[source]
        total = np.add.reduceat(weight, first)
        share = weight / np.repeat(np.where(total > 0, total, 1.0), size)
        depth[node] = np.add.reduceat(share[:, None] * depth[source], first) + own[node]
        passed = np.where(sums[node], total, np.add.reduceat(share * variance[source], first))
        variance[node], reached[node] = np.where(normalised[node], 1.0, passed), total > 0
    outputs = np.flatnonzero(graphs.having("output"))
    last = outputs[np.searchsorted(outputs, graphs.node_offset[:-1])]
    return np.log1p(np.where(reached[last, None], depth[last], 0.0))


def _shapes(kinds: Sequence[Kind]) -> tuple[np.ndarray, np.ndarray]:
    """Elements and channels of the first output of K kinds, (K,) each; ones where there is none."""
    shapes = np.array([kind.outputs[0] if kind.outputs else (1, 1, 1) for kind in kinds], np.float64).reshape(-1, 3)
    return shapes.prod(axis=1), shapes[:, 2]
