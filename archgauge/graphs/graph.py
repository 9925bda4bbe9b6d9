"""Computation graphs, one or many, as flat arrays.

All algorithms work on many graphs at once: an array operation per topological level of the deepest graph instead of a
Python loop over graphs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Self

import numpy as np

from archgauge.errors import GraphError
from archgauge.graphs.operations import KindTable

INDEX = np.int32


@dataclass(frozen=True, eq=False)
class Graphs:
    """B graphs with V nodes and E edges in all, laid one after another.

    Attributes:
        kinds: the table that `kind` points into.
        kind: (V,) row of the kind table.
        node_offset: (B + 1,) the nodes of graph b are `node_offset[b]:node_offset[b + 1]`.
        edge_source: (E,) node index.
        edge_output: (E,) which output of the source.
        edge_target: (E,) node index, ascending, and the slots of one target ascend.
        edge_slot: (E,) which input of the target; parallel edges are legal.
        edge_offset: (B + 1,)
        weight_id: (V,) nodes with equal ids of 0 or more share one set of weights; -1 shares with none. An id says
            nothing beyond its own graph.
        params_outside: (B,) trainable parameters that no node of the graph holds (auxiliary heads).
    """

    kinds: KindTable
    kind: np.ndarray
    node_offset: np.ndarray
    edge_source: np.ndarray
    edge_output: np.ndarray
    edge_target: np.ndarray
    edge_slot: np.ndarray
    edge_offset: np.ndarray
    weight_id: np.ndarray
    params_outside: np.ndarray

    def __len__(self) -> int:
        """The number of graphs, B."""
        return len(self.node_offset) - 1

    def __getitem__(self, index: int) -> Self:
        """Graph `index` alone."""
        return self.select(np.array([range(len(self))[index]]))

    def __iter__(self) -> Iterator[Self]:
        return (self[index] for index in range(len(self)))

    @cached_property
    def node_count(self) -> np.ndarray:
        """(B,) nodes of each graph."""
        return np.diff(self.node_offset)

    @cached_property
    def edge_count(self) -> np.ndarray:
        """(B,) edges of each graph."""
        return np.diff(self.edge_offset)

    @cached_property
    def graph_of_node(self) -> np.ndarray:
        """(V,) the graph that each node belongs to."""
        return np.repeat(np.arange(len(self), dtype=INDEX), self.node_count)

    @cached_property
    def graph_of_edge(self) -> np.ndarray:
        """(E,) the graph that each edge belongs to."""
        return np.repeat(np.arange(len(self), dtype=INDEX), self.edge_count)

    def having(self, *operations: str) -> np.ndarray:
        """(V,) bool: whether a node's operation is one of these."""
        return np.array([kind.operation in operations for kind in self.kinds], bool)[self.kind]

    def select(self, rows: np.ndarray) -> Self:
        """The graphs of `rows`, in that order."""
        nodes, node_offset = ragged_rows(self.node_offset, rows)
        edges, edge_offset = ragged_rows(self.edge_offset, rows)
        shift = np.repeat(node_offset[:-1] - self.node_offset[rows], np.diff(edge_offset)).astype(INDEX)
        return type(self)(
            self.kinds,
            self.kind[nodes],
            node_offset,
            self.edge_source[edges] + shift,
            self.edge_output[edges],
            self.edge_target[edges] + shift,
            self.edge_slot[edges],
            edge_offset,
            self.weight_id[nodes],
            self.params_outside[rows],
        )

    @cached_property
    def level(self) -> np.ndarray:
        """(V,) longest path from a node without inputs.

        Raises:
            GraphError: when a graph has a cycle.
        """
        level = np.zeros(len(self.kind), INDEX)
        waiting = np.bincount(self.edge_target, minlength=len(level))
        order = np.argsort(self.edge_source, kind="stable")
        start = np.concatenate([[0], np.cumsum(np.bincount(self.edge_source, minlength=len(level)))])
        target = self.edge_target[order]
        front, depth, seen = np.flatnonzero(waiting == 0), 0, 0
        while len(front):
            level[front] = depth
            seen += len(front)
            reached = target[ragged_rows(start, front)[0]]
            np.subtract.at(waiting, reached, 1)
            front, depth = np.unique(reached[waiting[reached] == 0]), depth + 1
        if seen != len(level):
            stuck = int(np.flatnonzero(waiting > 0)[0])
            raise GraphError(
                "the order of a computation graph",
                where=f"graph {self.graph_of_node[stuck]}, node {stuck - self.node_offset[self.graph_of_node[stuck]]}",
                expected="no cycle",
                got=f"{len(level) - seen} nodes on or behind a cycle",
                remedy="A computation graph is a forward pass; unroll the recurrence.",
            )
        return level


def rekind(graphs: Graphs, kinds: KindTable) -> Graphs:
    """The same graphs over another kind table, which takes in the kinds that it lacks."""
    row = np.array([kinds.index(kind) for kind in graphs.kinds], INDEX)
    return replace(graphs, kinds=kinds, kind=row[graphs.kind])


def concatenate(parts: Sequence[Graphs]) -> Graphs:
    """Lay several `Graphs` over one kind table one after another.

    Raises:
        GraphError: when the parts do not share one kind table.
    """
    kinds = parts[0].kinds
    if any(part.kinds is not kinds for part in parts):
        raise GraphError(
            "the kind tables of graphs to concatenate",
            where="archgauge.graphs.graph.concatenate",
            expected="one table",
            got=f"{len({id(part.kinds) for part in parts})} tables",
            remedy="Build the graphs with one KindTable, or map them with `rekind` first.",
        )
    node_offset = _joined_offsets([part.node_offset for part in parts])
    shift = np.cumsum([0, *(len(part.kind) for part in parts)])
    arrays = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(Graphs)
        if field.name in ("kind", "edge_output", "edge_slot", "weight_id", "params_outside")
    }
    return Graphs(
        kinds=kinds,
        node_offset=node_offset,
        edge_offset=_joined_offsets([part.edge_offset for part in parts]),
        edge_source=np.concatenate([part.edge_source + INDEX(by) for part, by in zip(parts, shift, strict=False)]),
        edge_target=np.concatenate([part.edge_target + INDEX(by) for part, by in zip(parts, shift, strict=False)]),
        **arrays,
    )


def ragged_rows(offset: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the items of several rows of a ragged array, and the offsets of what they make.

    Args:
        offset: (R + 1,) the items of row r are `offset[r]:offset[r + 1]`.
        rows: (n,) row numbers, in any order.

    Returns:
        (items,) positions and (n + 1,) offsets.
    """
    first = offset[rows]
    count = offset[rows + 1] - first
    new_offset = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(count, out=new_offset[1:])
    positions = np.repeat(first - new_offset[:-1], count) + np.arange(new_offset[-1])
    return positions, new_offset


def _joined_offsets(offsets: list[np.ndarray]) -> np.ndarray:
    counts = np.concatenate([np.diff(offset) for offset in offsets])
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
