"""Normal forms: sums merged into n-ary ones, and the live graph, from which dead branches are pruned."""

from dataclasses import replace
from itertools import pairwise

import numpy as np

from archgauge.graphs.graph import INDEX, Graphs
from archgauge.graphs.operations import VARIADIC, Kind, Shape


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
    factor: as in NAS-Bench-201's own equivalence, biases and shifts do not revive a dead branch. Of an operation
    outside the vocabulary nobody knows what it makes of zeros: it stays. A vanished term drops
    out of its sum, unless the sum has its shape from that term alone; where anything else reads a vanished value, a
    `zero` without inputs stands for it. A weight id that one node alone is left with is dropped.
    """
    vanished = _vanished(graphs)
    needed = _needed(graphs, vanished)
    read, gone = needed[graphs.edge_target], vanished[graphs.edge_source]
    dropped = gone & _stretched(graphs, read & ~gone)[graphs.edge_target]
    held = np.zeros(len(needed), bool)
    held[graphs.edge_source[read & gone & ~dropped]] = True
    kind = graphs.kind.copy()
    for node_kind in np.unique(kind[held]):
        zero = Kind("zero", (), graphs.kinds[int(node_kind)].outputs)
        kind[held & (graphs.kind == node_kind)] = graphs.kinds.index(zero)
    edges = np.flatnonzero(read & ~dropped)
    pruned = _rebuilt(graphs, needed | held, kind, edges, graphs.edge_source, graphs.edge_output)
    return merge_sums(replace(pruned, weight_id=shared_ids(pruned.graph_of_node, pruned.weight_id)))


def shared_ids(graph_of_node: np.ndarray, weight_id: np.ndarray) -> np.ndarray:
    """(V,) weight ids, with -1 for those that one node alone has."""
    sharing = np.flatnonzero(weight_id >= 0)
    keys = np.stack([graph_of_node[sharing], weight_id[sharing]])
    _, group, uses = np.unique(keys, axis=1, return_inverse=True, return_counts=True)
    result = weight_id.copy()
    result[sharing[uses[group] == 1]] = -1
    return result


def edges_by_level(graphs: Graphs) -> list[np.ndarray]:
    """Edge indices of each topological level of their targets, from level 1 on."""
    level = graphs.level[graphs.edge_target]
    order = np.argsort(level, kind="stable")
    ends = np.searchsorted(level[order], np.arange(1, level.max(initial=0) + 2))
    return [order[first:last] for first, last in pairwise(ends)]


def _vanished(graphs: Graphs) -> np.ndarray:
    """(V,) bool."""
    vanished = graphs.having("zero")
    if not vanished.any():
        return vanished
    inputs = np.bincount(graphs.edge_target, minlength=len(vanished))
    spared = np.where(graphs.having("mul"), inputs, 1)  # living inputs that keep a node alive
    spared[graphs.having("output", "other") | (inputs == 0)] = 0
    for edges in edges_by_level(graphs):
        target = graphs.edge_target[edges]
        first = np.flatnonzero(np.diff(target, prepend=-1))
        living = np.add.reduceat(~vanished[graphs.edge_source[edges]], first, dtype=INDEX)
        reached = target[first]
        vanished[reached] |= living < spared[reached]
    return vanished


def _needed(graphs: Graphs, vanished: np.ndarray) -> np.ndarray:
    """(V,) bool: not vanished, and an output can be reached through nodes that have not vanished."""
    needed = graphs.having("output")
    for edges in reversed(edges_by_level(graphs)):
        source = graphs.edge_source[edges[needed[graphs.edge_target[edges]]]]
        needed[source[~vanished[source]]] = True
    return needed


def _stretched(graphs: Graphs, edges: np.ndarray) -> np.ndarray:
    """(V,) bool: sums that have, among the terms that the (E,) mask names, one of their own shape."""
    shapes: dict[Shape, int] = {}
    most = max(len(kind.outputs) for kind in graphs.kinds)
    number = np.full((len(graphs.kinds), most), -1)
    for row, kind in enumerate(graphs.kinds):
        number[row, : len(kind.outputs)] = [shapes.setdefault(shape, len(shapes)) for shape in kind.outputs]
    into = np.flatnonzero(edges & graphs.having("add")[graphs.edge_target])
    term = number[graphs.kind[graphs.edge_source[into]], graphs.edge_output[into]]
    target = graphs.edge_target[into]
    stretched = np.zeros(len(graphs.kind), bool)
    stretched[target[term == number[graphs.kind[target], 0]]] = True
    return stretched


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
    """The graphs with the nodes `keep` and the edges `edges`; `into` moves targets. Variadic nodes close up slots."""
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
