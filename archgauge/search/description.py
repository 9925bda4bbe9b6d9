"""What guides read of a space too large to be described beforehand: worked out for the rows that they are asked about.

All 423,624 modules of NAS-Bench-101 would take minutes to convert; a search looks at a few thousand of them.
"""

from collections.abc import Mapping, Sequence, Set
from importlib import import_module
from typing import Any

import numpy as np

from archgauge.encoders.graph_encoder import GraphEncoder
from archgauge.graphs import cost
from archgauge.graphs.graph import concatenate
from archgauge.graphs.normal_form import live
from archgauge.graphs.operations import KindTable
from archgauge.graphs.paths import FEATURES, path_statistics
from archgauge.graphs.store import LiveGraphs
from archgauge.predictors.population import Population
from archgauge.search.space import Space

CHUNK_GRAPHS = 500
"""Graphs that are worked out at a time: some 100,000 nodes of NAS-Bench-101."""


class OnDemand:
    """The N architectures of a space; each row is described once, when it is first taken.

    Args:
        family: name of the family's module, which makes graphs of specs.
        options: keywords of its `to_graph`.
        space: the architectures.
        needs: columns of `Population`; costs are always there, "structure" and "embedding" on demand.
        encoder: makes the embeddings, where these are needed.
    """

    def __init__(
        self, family: str, options: Mapping[str, Any], space: Space, needs: Set[str], encoder: GraphEncoder | None
    ):
        self._to_graph = import_module(f"archgauge.families.{family}").to_graph
        self._options, self._space, self._encoder = options, space, encoder
        widths = {"structure": len(FEATURES), "embedding": encoder.width if encoder is not None else 0}
        self._known = np.zeros(len(space), bool)
        self._costs = np.empty((2, len(space)))
        # Pages that nobody writes to take no memory.
        self._columns = {
            name: np.empty((len(space), width), np.float32) for name, width in widths.items() if name in needs
        }

    def take(self, rows: np.ndarray) -> Population:
        """Describe rows (n,) int64, in that order."""
        new = np.unique(rows[~self._known[rows]])
        for first in range(0, len(new), CHUNK_GRAPHS):
            self._describe(new[first : first + CHUNK_GRAPHS])
        self._known[new] = True
        columns: dict[str, Any] = {name: values[rows] for name, values in self._columns.items()}
        return Population(self._space.arch_id[rows], *self._costs[:, rows], **columns)

    def _describe(self, rows: np.ndarray) -> None:
        specs: Sequence[str] = [self._space.specs[row] for row in rows]
        kinds = KindTable()
        graphs = concatenate([self._to_graph(spec, kinds, **self._options) for spec in specs])
        alive = live(graphs)
        self._costs[:, rows] = cost.macs(graphs), cost.params(graphs)
        if "structure" in self._columns:
            self._columns["structure"][rows] = path_statistics(alive)
        if self._encoder is not None:
            self._columns["embedding"][rows] = self._encoder.embed(LiveGraphs(alive), np.arange(len(rows)))
