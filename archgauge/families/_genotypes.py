"""Genotypes of the DARTS kind: two cells whose nodes sum two operations each; their text, edits and cell.

A cell has inputs 0 and 1, the outputs of the two cells before it, and nodes 2, 3, ... Each node sums two operations,
each on an input or an earlier node. The output concatenates some of the nodes: all of them, or the loose ends, which
no other node reads.

The text of a cell is `operation~input|operation~input+...`, one pair a node, ordered by input and then by operation,
so that equal cells have equal text. Cells that differ in the numbers of their nodes alone have different texts.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations_with_replacement
from math import prod

import numpy as np

from archgauge.cells import Cell

Edge = tuple[str, int]
"""(official name of the operation, the input or node that it reads)."""

NAMES = {
    "none": "none",
    "skip_connect": "skip",
    "max_pool_3x3": "maxpool3x3",
    "max_pool_5x5": "maxpool5x5",
    "max_pool_7x7": "maxpool7x7",
    "avg_pool_3x3": "avgpool3x3",
    "conv_1x1": "conv1x1",
    "conv_3x3": "conv3x3",
    "conv_3x1_1x3": "conv3x1_1x3",
    "conv_7x1_1x7": "conv7x1_1x7",
    "sep_conv_3x3": "sepconv3x3",
    "sep_conv_5x5": "sepconv5x5",
    "sep_conv_7x7": "sepconv7x7",
    "dil_conv_3x3": "dilconv3x3",
    "dil_conv_5x5": "dilconv5x5",
    "dil_sep_conv_3x3": "dilsepconv3x3",
}
"""Official name of an operation -> our name in specs and cells."""

_OFFICIAL = {name: official for official, name in NAMES.items()}
_EDGE = re.compile(r"([a-z0-9_]+)~([0-9])")
_FIRST_NODE = 2


@dataclass(frozen=True)
class Wiring:
    """One cell.

    Attributes:
        nodes: the two edges of each node, ordered by input and then by official name.
        concat: the nodes that the output concatenates, ascending.
    """

    nodes: tuple[tuple[Edge, Edge], ...]
    concat: tuple[int, ...]

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """All edges, node by node."""
        return tuple(edge for node in self.nodes for edge in node)


@dataclass(frozen=True)
class Genotype:
    """The two cells of a network."""

    normal: Wiring
    reduce: Wiring


@dataclass(frozen=True)
class Space:
    """What the cells of a family may be.

    Attributes:
        operations: official names.
        nodes: how many nodes a cell has.
        same_input: whether a node may read one input twice.
        loose_ends: whether the output concatenates the loose ends alone, else all nodes.
    """

    operations: tuple[str, ...]
    nodes: int
    same_input: bool
    loose_ends: bool

    @cached_property
    def choices(self) -> tuple[tuple[tuple[Edge, Edge], ...], ...]:
        """What each node can be, every pair once."""
        found = []
        for inputs in range(_FIRST_NODE, _FIRST_NODE + self.nodes):
            edges = [(name, source) for source in range(inputs) for name in sorted(self.operations)]
            pairs = combinations_with_replacement(edges, 2)
            found.append(tuple(pair for pair in pairs if self.same_input or pair[0][1] != pair[1][1]))
        return tuple(found)

    @cached_property
    def cells(self) -> int:
        """How many cells there are; the order of a node's two edges does not count, the numbers of nodes do."""
        return prod(map(len, self.choices))

    def wiring(self, edges: Sequence[Edge], concat: Iterable[int] | None = None) -> Wiring:
        """The cell of edges that stand node by node, in canonical order.

        Args:
            concat: the nodes of the output; by the rule of the space unless given.
        """
        nodes = tuple(_ordered(edges[i], edges[i + 1]) for i in range(0, len(edges), 2))
        read = {source for _, source in edges} if self.loose_ends else set()
        every = range(_FIRST_NODE, _FIRST_NODE + len(nodes))
        chosen = [node for node in every if node not in read] if concat is None else sorted(concat)
        return Wiring(nodes, tuple(chosen))

    def fault(self, cell: Wiring) -> str | None:
        """What makes a cell none of this space, or None."""
        if len(cell.nodes) != self.nodes:
            return f"{len(cell.nodes)} nodes where there are {self.nodes}"
        for number, node in enumerate(cell.nodes, _FIRST_NODE):
            for operation, source in node:
                if operation not in self.operations:
                    return f"the operation {operation}"
                if not 0 <= source < number:
                    return f"node {number} that reads {source}"
            if not self.same_input and node[0][1] == node[1][1]:
                return f"node {number} that reads {node[0][1]} twice"
        every = range(_FIRST_NODE, _FIRST_NODE + self.nodes)
        if not cell.concat or len(set(cell.concat)) != len(cell.concat) or not set(cell.concat) <= set(every):
            return f"an output of the nodes {cell.concat}"
        return None

    def draw(self, rng: np.random.Generator) -> Genotype:
        """A genotype, all texts equally likely."""
        places = rng.integers([len(pairs) for pairs in self.choices], size=(2, self.nodes)).tolist()
        drawn = [[pairs[i] for pairs, i in zip(self.choices, row, strict=True)] for row in places]
        return Genotype(*(self.wiring([edge for pair in pairs for edge in pair]) for pairs in drawn))

    def mutate(self, genotype: Genotype, rng: np.random.Generator) -> Genotype:
        """Give one edge another operation or another input (Real et al. 2019, section 3.2).

        The cell, the edge and which of the two are drawn uniformly; again where an edge has no other input.
        """
        while True:
            side = ("normal", "reduce")[rng.integers(2)]
            edges = list(getattr(genotype, side).edges)
            place = int(rng.integers(len(edges)))
            operation, source = edges[place]
            if rng.integers(2):
                others = [(name, source) for name in self.operations if name != operation]
            else:
                taken = {source} if self.same_input else {source, edges[place ^ 1][1]}
                others = [(operation, i) for i in range(_FIRST_NODE + place // 2) if i not in taken]
            if others:
                edges[place] = others[rng.integers(len(others))]
                return replace(genotype, **{side: self.wiring(edges)})

    def crossover(self, first: Genotype, second: Genotype, rng: np.random.Generator) -> Genotype:
        """Replace one operation of the first by a different one of the second's same cell, all pairs equally likely."""
        pairs = [
            (side, place, name)
            for side in ("normal", "reduce")
            for place, (own, _) in enumerate(getattr(first, side).edges)
            for name, _ in getattr(second, side).edges
            if name != own
        ]
        if not pairs:
            return first
        side, place, name = pairs[rng.integers(len(pairs))]
        cell = getattr(first, side)
        edges = list(cell.edges)
        edges[place] = (name, edges[place][1])
        return replace(first, **{side: self.wiring(edges, cell.concat)})


def text_of(cell: Wiring) -> str:
    """The text of a cell, without its output. Inverse of `edges_of` on cells in canonical order."""
    return "+".join("|".join(f"{NAMES[name]}~{source}" for name, source in node) for node in cell.nodes)


def edges_of(text: str) -> list[Edge] | None:
    """The edges that a cell's text names, node by node, or None where it is no such text."""
    edges: list[Edge] = []
    for node in text.split("+"):
        matches = [_EDGE.fullmatch(edge) for edge in node.split("|")]
        if len(matches) != 2:
            return None
        for match in matches:
            if match is None or match[1] not in _OFFICIAL:
                return None
            edges.append((_OFFICIAL[match[1]], int(match[2])))
    return edges


def merged_cell(genotype: Genotype) -> Cell:
    """Both cells as one DAG of operations.

    Vertices: "input"; of the normal cell "input1", "input2" and an operation for each edge; the same of the reduction
    cell, their names prefixed with "reduce:"; "output". An operation on a node reads the two operations that make the
    node (GMAE-NAS). "input" leads to all four inputs, the operations of the nodes that an output
    concatenates lead to "output", so that the paths of the two cells never meet and both are told apart.
    """
    operations = ["input"]
    edges: list[tuple[int, int]] = []
    last: list[int] = []
    for prefix, cell in (("", genotype.normal), ("reduce:", genotype.reduce)):
        start = len(operations)
        edges += [(0, start), (0, start + 1)]
        makers: list[tuple[int, ...]] = [(start,), (start + 1,)]
        operations += [f"{prefix}input1", f"{prefix}input2"]
        for node in cell.nodes:
            first = len(operations)
            for vertex, (name, source) in enumerate(node, first):
                edges += [(maker, vertex) for maker in makers[source]]
                operations.append(prefix + NAMES[name])
            makers.append((first, first + 1))
        last += [vertex for node in cell.concat for vertex in makers[node]]
    output = len(operations)
    return Cell((*operations, "output"), (*edges, *((vertex, output) for vertex in last)))


def _ordered(first: Edge, second: Edge) -> tuple[Edge, Edge]:
    return (first, second) if first[::-1] <= second[::-1] else (second, first)
