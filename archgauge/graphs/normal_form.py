"""Normal forms: sums merged into n-ary ones, and the live graph, from which dead branches are pruned."""

import numpy as np

from archgauge.graphs.graph import INDEX, Graphs
from archgauge.graphs.operations import VARIADIC, Kind


def merge_sums(graphs: Graphs) -> Graphs:
    """Make a chain of sums one n-ary sum, and a sum of one value that value.

    A sum flows into another one when that is its only reader, so `(a + b) + c` and `a + (b + c)` are one graph, and
    `s = a + b` that is read twice stays a node.
    """
    if "add" not in {kind.operation for kind in graphs.kinds}:
        return graphs
    return _merge_chains(_bypass_single_sums(graphs))


def live(graphs: Graphs) -> Graphs:
    """Prune what cannot influence an output: encoders and the canonical hash see what is left.

    An operation vanishes when it is `zero`, when all its inputs vanish, or when it is a product with a vanished
    factor: as in NAS-Bench-201's own equivalence, biases and shifts do not revive a dead branch. A vanished term drops
    out of its sum; where another operation reads a vanished value, a `zero` without inputs stands for it.
    """
    vanished = _vanished(graphs)
    needed = _needed(graphs, vanished)
    is_sum = graphs.having("add")
    read = needed[graphs.edge_target]
    gone = vanished[graphs.edge_source]
    held = np.zeros(len(needed), bool)
    held[graphs.edge_source[read & gone & ~is_sum[graphs.edge_target]]] = True
    kind = graphs.kind.copy()
    for node_kind in np.unique(kind[held]):
        zero = Kind("zero", (), graphs.kinds[int(node_kind)].outputs)
        kind[held & (graphs.kind == node_kind)] = graphs.kinds.index(zero)
    edges = np.flatnonzero(read & ~(gone & is_sum[graphs.edge_target]))
    return merge_sums(_rebuilt(graphs, needed | held, kind, edges, graphs.edge_source, graphs.edge_output))


def edges_by_level(graphs: Graphs) -> list[np.ndarray]:
    """Edge indices of each topological level of their targets, from level 1 on."""
    level = graphs.level[graphs.edge_target]
    order = np.argsort(level, kind="stable")
    ends = np.searchsorted(level[order], np.arange(1, level.max(initial=0) + 2))
    return [order[first:last] for first, last in zip(ends[:-1], ends[1:], strict=True)]


def _vanished(graphs: Graphs) -> np.ndarray:
    """(V,) bool."""
    vanished = graphs.having("zero")
    if not vanished.any():
        return vanished
    dead_inputs = np.zeros(len(vanished), INDEX)
    inputs = np.bincount(graphs.edge_target, minlength=len(vanished))
    needed_dead = np.where(graphs.having("mul"), 1, inputs)
    needed_dead[graphs.having("output") | (inputs == 0)] = len(vanished) + 1
    for edges in edges_by_level(graphs):
        target = graphs.edge_target[edges]
        np.add.at(dead_inputs, target, vanished[graphs.edge_source[edges]])
        vanished[target] |= dead_inputs[target] >= needed_dead[target]
    return vanished


def _needed(graphs: Graphs, vanished: np.ndarray) -> np.ndarray:
    """(V,) bool: not vanished, and an output can be reached through nodes that have not vanished."""
    needed = graphs.having("output")
    for edges in reversed(edges_by_level(graphs)):
        needed[graphs.edge_source[edges[needed[graphs.edge_target[edges]]]]] = True
        needed &= ~vanished
    return needed


def _bypass_single_sums(graphs: Graphs) -> Graphs:
    inputs = np.bincount(graphs.edge_target, minlength=len(graphs.kind))
    single = graphs.having("add") & (inputs == 1)
    if not single.any():
        return graphs
    into = np.flatnonzero(single[graphs.edge_target])
    source, output = np.arange(len(graphs.kind)), np.zeros(len(graphs.kind), INDEX)
    source[graphs.edge_target[into]] = graphs.edge_source[into]
    output[graphs.edge_target[into]] = graphs.edge_output[into]
    while (through := single[source]).any():
        output[through] = output[source[through]]
        source[through] = source[source[through]]
    edge_output = np.where(single[graphs.edge_source], output[graphs.edge_source], graphs.edge_output)
    edges = np.flatnonzero(~single[graphs.edge_target])
    return _rebuilt(graphs, ~single, graphs.kind, edges, source[graphs.edge_source], edge_output)


def _merge_chains(graphs: Graphs) -> Graphs:
    nodes = len(graphs.kind)
    is_sum = graphs.having("add")
    readers = np.bincount(graphs.edge_source, minlength=nodes)
    merging = is_sum[graphs.edge_source] & is_sum[graphs.edge_target] & (readers[graphs.edge_source] == 1)
    merging &= graphs.kind[graphs.edge_source] == graphs.kind[graphs.edge_target]
    if not merging.any():
        return graphs
    into = np.arange(nodes)
    into[graphs.edge_source[merging]] = graphs.edge_target[merging]
    while (into != into[into]).any():
        into = into[into]
    edges = np.flatnonzero(~merging)
    return _rebuilt(graphs, into == np.arange(nodes), graphs.kind, edges, graphs.edge_source, graphs.edge_output, into)


def _rebuilt(
    graphs: Graphs,
    keep: np.ndarray,
    kind: np.ndarray,
    edges: np.ndarray,
    edge_source: np.ndarray,
    edge_output: np.ndarray,
    into: np.ndarray | None = None,
) -> Graphs:
    """The graphs with the nodes `keep` and the edges `edges`; `into` moves targets. Slots of variadic nodes close up."""
    target = graphs.edge_target[edges] if into is None else into[graphs.edge_target[edges]]
    inside = keep[target] & keep[edge_source[edges]]
    edges, target = edges[inside], target[inside]
    order = np.lexsort((graphs.edge_slot[edges], graphs.edge_target[edges], target))
    edges, target = edges[order], target[order]
    number = np.cumsum(keep, dtype=INDEX) - 1
    place = np.arange(len(target)) - np.searchsorted(target, target)
    variadic = graphs.having(*VARIADIC)[target]
    return Graphs(
        kinds=graphs.kinds,
        kind=kind[keep],
        node_offset=_counted(graphs.graph_of_node[keep], len(graphs)),
        edge_source=number[edge_source[edges]],
        edge_output=edge_output[edges],
        edge_target=number[target],
        edge_slot=np.where(variadic, place, graphs.edge_slot[edges]).astype(INDEX),
        edge_offset=_counted(graphs.graph_of_edge[edges], len(graphs)),
        weight_id=graphs.weight_id[keep],
        params_outside=graphs.params_outside,
    )


def _counted(graph: np.ndarray, graphs: int) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.bincount(graph, minlength=graphs))]).astype(np.int64)
