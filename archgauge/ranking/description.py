"""What is known of a network before training: its features, its costs, and facts that limit a prediction."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from archgauge.graphs import cost
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.composition import COMPOSITION, composition
from archgauge.graphs.graph import Graphs
from archgauge.graphs.normal_form import live
from archgauge.graphs.paths import FEATURES, path_statistics

NAMES = (*COMPOSITION, *(f"paths_{name}" for name in FEATURES))
"""Names of the F features: what a live graph is made of, then the statistics of its paths."""

FACTS = ("macs", "params", "input_pixels", "outputs", "unknown_share")
"""Names of the facts: multiply-adds, parameters, height x width of the largest input, numbers in all outputs, and the
share of live nodes whose operation is outside the vocabulary."""

CHUNK_GRAPHS = 250
"""Graphs that are described at a time: some 100,000 nodes of published networks."""


@dataclass(frozen=True, eq=False)
class Description:
    """N networks.

    Attributes:
        features: (N, F) float64, columns `NAMES`.
        facts: (N, 5) float64, columns `FACTS`.
        live_hash: (N,) canonical hashes of the live graphs.
    """

    features: np.ndarray
    facts: np.ndarray
    live_hash: np.ndarray

    def fact(self, name: str) -> np.ndarray:
        """(N,) of one of `FACTS`."""
        return self.facts[:, FACTS.index(name)]

    def rows(self, index: np.ndarray) -> Self:
        """The networks at `index`, positions or a mask."""
        return type(self)(self.features[index], self.facts[index], self.live_hash[index])


def describe(graphs: Graphs) -> Description:
    """Describe N graphs. Costs count dead branches, too, as elsewhere; the features are of the live graphs.

    Raises:
        GraphError: when a graph has a cycle.
    """
    rows = [np.arange(first, min(first + CHUNK_GRAPHS, len(graphs))) for first in range(0, len(graphs), CHUNK_GRAPHS)]
    parts = [_described(graphs.select(chunk)) for chunk in rows]
    return Description(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _described(graphs: Graphs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    alive = live(graphs)
    kinds = list(alive.kinds)
    pixels, outputs = np.zeros(len(kinds)), np.zeros(len(kinds))
    for row, kind in enumerate(kinds):
        if kind.operation in ("input", "output"):
            height, width, channels = (kind.outputs or kind.inputs)[0]
            pixels[row] = height * width * (kind.operation == "input")
            outputs[row] = height * width * channels * (kind.operation == "output")
    first = alive.node_offset[:-1]
    facts = [
        cost.macs(graphs),
        cost.params(graphs),
        np.maximum.reduceat(pixels[alive.kind], first),
        np.add.reduceat(outputs[alive.kind], first),
        np.add.reduceat(alive.having("other"), first, dtype=np.float64) / alive.node_count,
    ]
    features = np.hstack([composition(alive), path_statistics(alive)])
    return features, np.column_stack(facts).astype(np.float64), canonical_hash(alive)
