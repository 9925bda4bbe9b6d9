"""Random computation graphs, other orders of the same graph, and graphs as networkx sees them."""

from dataclasses import replace

import networkx as nx
import numpy as np

from archgauge.graphs.builder import GraphBuilder
from archgauge.graphs.graph import Graphs
from archgauge.graphs.operations import COMMUTATIVE, Kind, KindTable


def random_graph(rng: np.random.Generator, nodes: int, kinds: KindTable, *, sharing: bool = False) -> Graphs:
    """A DAG on 8x8x4 tensors with sums, products and concatenations, parallel edges, zeros and, if asked, sharing."""
    build = GraphBuilder(kinds)
    values = [build.input(8, 8, 4)]
    for _ in range(nodes):
        pick = [values[i] for i in rng.integers(max(0, len(values) - 5), len(values), rng.integers(2, 4))]
        match rng.integers(8):
            case 0 | 1:
                values.append(build.add(pick))
            case 2:
                values.append(build.conv(build.concat(pick), 4, 1))
            case 3:
                values.append(build.node(Kind("mul", ((8, 8, 4),), ((8, 8, 4),)), pick[:2]))
            case 4:
                values.append(build.same("zero", pick[0]))
            case 5:
                values.append(build.batch_norm(pick[0]))
            case _:
                values.append(build.conv(pick[0], 4, int(rng.choice([1, 3]))))
    build.output(values[-1])
    graph = build.finish()
    return shared_at_random(graph, rng) if sharing else graph


def shared_at_random(graph: Graphs, rng: np.random.Generator) -> Graphs:
    """The graph with some convolutions of one kind sharing their weights."""
    weight_id = graph.weight_id.copy()
    convs = np.flatnonzero(graph.having("conv"))
    for number, kind in enumerate(np.unique(graph.kind[convs])):
        same = convs[graph.kind[convs] == kind]
        chosen = same[rng.random(len(same)) < 0.5]
        if len(chosen) > 1:
            weight_id[chosen] = number
    return replace(graph, weight_id=weight_id)


def reordered(graph: Graphs, rng: np.random.Generator, *, topological: bool = False) -> Graphs:
    """The same graph with its nodes in another order, terms in other slots and other numbers for weight ids."""
    nodes = len(graph.kind)
    old = _topological_order(graph, rng) if topological else rng.permutation(nodes)
    new = np.argsort(old)
    source, target = new[graph.edge_source], new[graph.edge_target]
    slot = graph.edge_slot.copy()
    for node in np.flatnonzero(graph.having(*COMMUTATIVE)):
        inputs = np.flatnonzero(graph.edge_target == node)
        slot[inputs] = rng.permutation(slot[inputs])
    order = np.lexsort((slot, target))
    rename = rng.permutation(max(int(graph.weight_id.max(initial=-1)) + 1, 1)) + 100
    weight_id = graph.weight_id[old]
    return replace(
        graph,
        kind=graph.kind[old],
        edge_source=source[order].astype(np.int32),
        edge_output=graph.edge_output[order],
        edge_target=target[order].astype(np.int32),
        edge_slot=slot[order],
        weight_id=np.where(weight_id >= 0, rename[weight_id], -1).astype(np.int32),
    )


def _topological_order(graph: Graphs, rng: np.random.Generator) -> np.ndarray:
    waiting = np.bincount(graph.edge_target, minlength=len(graph.kind))
    ready, order = list(np.flatnonzero(waiting == 0)), []
    while ready:
        node = ready.pop(rng.integers(len(ready)))
        order.append(node)
        for target in graph.edge_target[graph.edge_source == node]:
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    return np.array(order)


def to_networkx(graph: Graphs) -> nx.MultiDiGraph:
    """Nodes with their kind, edges with output and slot (0 where the order of terms is free), a hub for each weight."""
    result = nx.MultiDiGraph()
    free = graph.having(*COMMUTATIVE)
    for node, kind in enumerate(graph.kind.tolist()):
        result.add_node(node, label=kind)
        if graph.weight_id[node] >= 0:
            hub = ("weight", int(graph.weight_id[node]))
            result.add_node(hub, label="weight")
            result.add_edge(hub, node, label="holds")
    columns = (graph.edge_source, graph.edge_output, graph.edge_target, graph.edge_slot)
    for source, output, target, slot in zip(*(column.tolist() for column in columns), strict=True):
        result.add_edge(source, target, label=(output, 0 if free[target] else slot + 1))
    return result


def isomorphic(first: Graphs, second: Graphs) -> bool:
    """networkx's word on it (VF2)."""
    return nx.is_isomorphic(
        to_networkx(first),
        to_networkx(second),
        node_match=nx.isomorphism.categorical_node_match("label", None),
        edge_match=nx.isomorphism.categorical_multiedge_match("label", None),
    )
