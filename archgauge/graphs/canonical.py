"""A hash that isomorphic graphs share, whatever the order of their nodes."""

from itertools import pairwise

import numpy as np

from archgauge.graphs.graph import Graphs
from archgauge.graphs.normal_form import edges_by_level
from archgauge.graphs.operations import COMMUTATIVE

_Level = tuple[np.ndarray, np.ndarray, np.ndarray]
_LANES = np.array([0x9E3779B97F4A7C15, 0xD1B54A32D192ED03], np.uint64)


def canonical_hash(graphs: Graphs) -> np.ndarray:
    """(B,) strings of 32 hexadecimal digits, equal for isomorphic graphs.

    Colour refinement along the topological order: each node takes in its inputs (a), then its readers (b), then its
    inputs again (c), and the colours of a graph are summed. Kinds, outputs, slots (except in sums and products),
    parallel edges and shared weights count; the order of nodes, of terms and the numbers of weight ids do not.
    Different graphs may collide as with any such refinement; the families' samples are tested not to.
    """
    digest = np.array([kind.digest for kind in graphs.kinds], np.uint64)
    commutative = np.array([kind.operation in COMMUTATIVE for kind in graphs.kinds], bool)
    slot = np.where(commutative[graphs.kind[graphs.edge_target]], 0, graphs.edge_slot + 1).astype(np.uint64)
    wire = slot << np.uint64(16) | graphs.edge_output.astype(np.uint64)
    colour = _mix(digest[graphs.kind][:, None] ^ _LANES)
    inputs = _grouped(edges_by_level(graphs), graphs.edge_target)
    readers = _grouped(_edges_by_reader_level(graphs), graphs.edge_source)
    for source, levels in ((graphs.edge_source, inputs), (graphs.edge_target, readers), (graphs.edge_source, inputs)):
        colour = _swept(_absorb_sharing(graphs, colour), source, wire, levels)
    total = np.zeros((len(graphs), 2), np.uint64)
    np.add.at(total, graphs.graph_of_node, _mix(colour))
    total = _mix(total)
    return np.array([f"{first:016x}{second:016x}" for first, second in total.tolist()])


def _swept(colour: np.ndarray, source: np.ndarray, wire: np.ndarray, levels: list[_Level]) -> np.ndarray:
    """One sweep: (V, 2) colours in which every node has taken in those before it."""
    start, wired = colour, wire[:, None] * _LANES
    colour = _mix(colour)
    for edges, first, reached in levels:
        taken = np.add.reduceat(_mix(colour[source[edges]] + wired[edges]), first)
        colour[reached] = _mix(start[reached] ^ _mix(taken))
    return colour


def _grouped(levels: list[np.ndarray], target: np.ndarray) -> list[_Level]:
    """With each level's edges, which stand grouped by target, where the groups start and what their targets are."""
    firsts = [np.flatnonzero(np.diff(target[edges], prepend=-1)) for edges in levels]
    return [(edges, first, target[edges[first]]) for edges, first in zip(levels, firsts, strict=True)]


def _edges_by_reader_level(graphs: Graphs) -> list[np.ndarray]:
    """Edges grouped so that all readers of a node are done before it: by falling level of the edge's source."""
    level = graphs.level[graphs.edge_source]
    order = np.lexsort((graphs.edge_source, -level))
    ends = np.searchsorted(-level[order], -np.arange(level.max(initial=-1), -2, -1))
    return [order[first:last] for first, last in pairwise(ends)]


def _absorb_sharing(graphs: Graphs, colour: np.ndarray) -> np.ndarray:
    """Let nodes that share weights know each other: each takes in the sum of its group's colours."""
    sharing = np.flatnonzero(graphs.weight_id >= 0)
    if not len(sharing):
        return colour
    keys = np.stack([graphs.graph_of_node[sharing], graphs.weight_id[sharing]])
    group = np.unique(keys, axis=1, return_inverse=True)[1]
    total = np.zeros((group.max() + 1, 2), np.uint64)
    np.add.at(total, group, _mix(colour[sharing]))
    colour = colour.copy()
    colour[sharing] = _mix(colour[sharing] ^ _mix(total[group] + _LANES))
    return colour


def _mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele et al. 2014): every input bit reaches every output bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
