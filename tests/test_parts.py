"""Counts of parts beside networkx, which walks each graph by itself."""

from collections import Counter

import networkx as nx
import numpy as np
import pytest
from graph_cases import random_graph, reordered, to_networkx
from memory_store import MemoryStore, family_store

from archgauge.graphs import parts
from archgauge.graphs.builder import GraphBuilder
from archgauge.graphs.graph import Graphs, concatenate
from archgauge.graphs.operations import Kind, KindTable
from archgauge.graphs.parts import PASSED, Parts


def store_of(graphs: list[Graphs]) -> MemoryStore:
    return MemoryStore(concatenate(graphs), [f"toy/{row}" for row in range(len(graphs))])


def random_store(n: int, seed: int = 0) -> MemoryStore:
    rng, kinds = np.random.default_rng(seed), KindTable()
    return store_of([random_graph(rng, int(rng.integers(3, 14)), kinds) for _ in range(n)])


def walked(graph: nx.MultiDiGraph, kind: dict) -> Counter:
    """Wires of one graph: from each edge into a node that is not passed, upwards through those that are."""
    found = Counter()
    for source, target, _ in graph.edges(keys=True):
        if kind[target].operation in PASSED:
            continue
        while kind[source].operation in PASSED:
            (source,) = graph.predecessors(source)
        found[kind[source], kind[target]] += 1
    return found


def test_counts_are_those_of_walking_each_graph():
    store = random_store(40)
    rows = np.arange(len(store))
    known = Parts.of(store, rows)
    kinds, wires = known.counted(store, rows)
    for row in rows:
        graph = store._graphs[int(row)]
        kind = {node: graph.kinds[int(number)] for node, number in enumerate(graph.kind)}
        nodes = Counter(kind.values())
        np.testing.assert_allclose(kinds[row], np.log1p([nodes[one] for one in known.kinds]))
        found = walked(to_networkx(graph), kind)
        np.testing.assert_allclose(wires[row], np.log1p([found[one] for one in known.wires]))
        assert set(found) <= set(known.wires)
    assert any(kind.operation in PASSED for kind in known.kinds)


def test_the_order_of_nodes_does_not_matter():
    rng, kinds = np.random.default_rng(3), KindTable()
    graphs = [random_graph(rng, 10, kinds) for _ in range(10)]
    one, other = store_of(graphs), store_of([reordered(graph, rng, topological=True) for graph in graphs])
    rows = np.arange(10)
    known = Parts.of(one, rows)
    for counts, others in zip(known.counted(one, rows), known.counted(other, rows), strict=True):
        np.testing.assert_array_equal(counts, others)


def test_a_wire_passes_through_a_chain_of_norms_and_activations():
    build = GraphBuilder(KindTable())
    image = build.input(8, 8, 4)
    pool = build.conv(image, 4, 3)
    value = build.batch_norm(build.same("relu", build.batch_norm(build.same("relu", pool))))
    build.output(build.conv(value, 4, 1))
    store = store_of([build.finish()])
    known = Parts.of(store, np.array([0])).wires
    wires = {(one.operation, one.kernel, two.operation, two.kernel) for one, two in known}
    assert wires == {
        ("input", (0, 0), "conv", (3, 3)),
        ("conv", (3, 3), "conv", (1, 1)),
        ("conv", (1, 1), "output", (0, 0)),
    }


def test_parts_are_counted_in_another_store_of_other_rows_of_kinds():
    """Kinds stand in the order of their first use; parts that a store does not have, or has beside, count nothing."""
    here, there = family_store("nb201", 30, seed=0), family_store("nb201", 40, seed=1)
    known = Parts.of(here, np.arange(5))
    counts = known.counted(there, np.arange(40))
    assert list(here.kinds) != list(there.kinds)
    everything = Parts.of(there, np.arange(40))
    place = {kind: row for row, kind in enumerate(everything.kinds)}
    all_kinds, _ = everything.counted(there, np.arange(40))
    for column, kind in enumerate(known.kinds):
        expected = all_kinds[:, place[kind]] if kind in place else np.zeros(40)
        np.testing.assert_array_equal(counts[0][:, column], expected)
    place = {wire: row for row, wire in enumerate(everything.wires)}
    _, all_wires = everything.counted(there, np.arange(40))
    for column, wire in enumerate(known.wires):
        expected = all_wires[:, place[wire]] if wire in place else np.zeros(40)
        np.testing.assert_array_equal(counts[1][:, column], expected)


def test_a_wire_to_a_kind_that_a_store_does_not_have_is_no_other_wire():
    """Were an absent kind a row of the table, this wire would have the key of another one: from row 1 into row 0."""
    build = GraphBuilder(KindTable([conv := Kind("conv", ((8, 8, 4),), ((8, 8, 4),), (1, 1), (1, 1), groups=1)]))
    build.output(build.node(conv, [build.input(8, 8, 4)]))
    store = store_of([build.finish()])
    first, second = list(store.kinds)[:2]
    assert (second, first) in Parts.of(store, np.array([0])).wires
    unknown = Parts((first,), ((first, Kind("sub", (), ())),))
    assert not unknown.counted(store, np.array([0]))[1].any()


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_chunks_change_nothing(monkeypatch, size):
    store = family_store("nb201", 25)
    rows = np.random.default_rng(0).permutation(25)
    known = Parts.of(store, rows)
    expected = known.counted(store, rows)
    monkeypatch.setattr(parts, "CHUNK_GRAPHS", size)
    assert Parts.of(store, rows[::-1]).wires == known.wires
    for counts, others in zip(known.counted(store, rows), expected, strict=True):
        np.testing.assert_array_equal(counts, others)


def test_what_nothing_was_learnt_of_is_not_counted():
    store = family_store("nb201", 4)
    kinds, wires = Parts.of(store, np.arange(0)).counted(store, np.arange(4))
    assert (kinds.shape, wires.shape) == ((4, 0), (4, 0))


def test_no_rows_have_no_counts():
    store = family_store("nb201", 4)
    known = Parts.of(store, np.arange(4))
    kinds, wires = known.counted(store, np.arange(0))
    assert (kinds.shape, wires.shape) == ((0, len(known.kinds)), (0, len(known.wires)))


def test_an_operation_on_several_values_is_not_passed():
    """A slope that is computed makes a PReLU a product of two branches, of which a wire could follow but one."""
    shape = (8, 8, 4)
    build = GraphBuilder(KindTable())
    image = build.input(*shape)
    branches = [build.conv(image, 4, 3), build.conv(image, 4, 1)]
    build.output(build.node(Kind("prelu", (shape, shape), (shape,)), branches))
    store = store_of([build.finish()])
    wires = {(one.operation, two.operation) for one, two in Parts.of(store, np.array([0])).wires}
    assert wires == {("input", "conv"), ("conv", "prelu"), ("prelu", "output")}
