"""The parts of live graphs, counted: how often each kind of node is there, and which kind feeds which.

Unlike `archgauge.graphs.composition`, whose columns all families share, this tells shapes apart: a 3 x 3 convolution of
the first stage from one of the last. So it is for learning within a family, and its columns are what the graphs at
hand have.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from archgauge.graphs.operations import ACTIVATIONS, Kind, KindTable
from archgauge.graphs.store import GraphStore

PASSED = frozenset({"batch_norm", "layer_norm", "group_norm", "instance_norm", "prelu", *ACTIVATIONS})
"""Operations on one value that a wire passes through: what feeds a convolution is the pool before its norm."""

CHUNK_GRAPHS = 500
"""Graphs that are counted at a time: 60,000 nodes of NAS-Bench-201, 170,000 of NAS-Bench-301."""


@dataclass(frozen=True, eq=False)
class Parts:
    """The kinds of nodes and the wires that some graphs have.

    Attributes:
        kinds: K kinds of nodes.
        wires: W pairs of them: the second reads the first, directly or through operations of `PASSED` alone.
    """

    kinds: tuple[Kind, ...]
    wires: tuple[tuple[Kind, Kind], ...]

    @classmethod
    def of(cls, store: GraphStore, rows: np.ndarray) -> Self:
        """The parts of the live graphs at `rows` (n,) of a store."""
        kinds, wires = set[int](), set[int]()
        for _, _, kind, _, wire in _chunks(store, rows):
            kinds.update(np.unique(kind).tolist())
            wires.update(np.unique(wire).tolist())
        known = [divmod(wire, len(store.kinds)) for wire in sorted(wires)]
        return cls(
            tuple(store.kinds[kind] for kind in sorted(kinds)),
            tuple((store.kinds[source], store.kinds[target]) for source, target in known),
        )

    def counted(self, store: GraphStore, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How often N live graphs, `rows` (N,) of a store, have each kind and each wire.

        Returns:
            (N, K) and (N, W) float64, log(1 + count). Parts that are not among these are not counted.
        """
        place = {kind: row for row, kind in enumerate(store.kinds)}
        absent = len(store.kinds)  # no node has this row
        kinds = np.array([place.get(kind, absent) for kind in self.kinds], np.int64)
        ends = np.array([[place.get(kind, absent) for kind in wire] for wire in self.wires], np.int64).reshape(-1, 2)
        wires = np.where((ends < absent).all(axis=1), ends[:, 0] * absent + ends[:, 1], -1)
        counts = [
            (_counts(node_graph, kind, kinds, size), _counts(wire_graph, wire, wires, size))
            for size, node_graph, kind, wire_graph, wire in _chunks(store, rows)
        ]
        of_kinds, of_wires = zip(*counts, strict=True)
        return np.log1p(np.concatenate(of_kinds)), np.log1p(np.concatenate(of_wires))


def _chunks(
    store: GraphStore, rows: np.ndarray
) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Of `CHUNK_GRAPHS` graphs at a time, their number, graph and kind of each node, graph and key of each wire.

    A key is the source's row of the table of kinds times its length plus the target's. No rows are one empty chunk.
    """
    passing = _passing(store.kinds)
    for at in range(0, max(1, len(rows)), CHUNK_GRAPHS):
        batch = store.batch(rows[at : at + CHUNK_GRAPHS])
        kind, source, target = (part.numpy() for part in (batch.kind, batch.edge_source, batch.edge_target))
        graph = batch.graph_of_node().numpy()
        passed = passing[kind]
        feeder = np.arange(len(kind))
        into = passed[target]
        feeder[target[into]] = source[into]
        while (passed[feeder] & (feeder[feeder] != feeder)).any():  # twice as far each time
            feeder = feeder[feeder]
        source, target = feeder[source[~into]], target[~into]
        yield len(batch), graph, kind, graph[target], kind[source] * len(store.kinds) + kind[target]


def _passing(kinds: KindTable) -> np.ndarray:
    """(K,) bool."""
    return np.array([kind.operation in PASSED and len(kind.inputs) == 1 for kind in kinds], bool)


def _counts(graph: np.ndarray, found: np.ndarray, wanted: np.ndarray, n_graphs: int) -> np.ndarray:
    """How often each of `n_graphs` graphs has each of the `wanted` keys (C,) among those `found`: (graphs, C)."""
    if not len(wanted):
        return np.zeros((n_graphs, 0))
    order = np.argsort(wanted)
    column = order[np.searchsorted(wanted, found, sorter=order).clip(max=len(wanted) - 1)]
    hit = wanted[column] == found
    cells = np.bincount(graph[hit] * len(wanted) + column[hit], minlength=n_graphs * len(wanted))
    return cells.reshape(n_graphs, len(wanted)).astype(np.float64)
