"""Flat arrays of many graphs: selection, joining, levels, ragged rows."""

import networkx as nx
import numpy as np
import pytest
from graph_cases import random_graph, reordered, to_networkx

from archgauge.errors import GraphError
from archgauge.graphs.builder import GraphBuilder
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.graph import Graphs, concatenate, ragged_rows, rekind
from archgauge.graphs.normal_form import live
from archgauge.graphs.operations import Kind, KindTable

ARRAYS = ("kind", "edge_source", "edge_output", "edge_target", "edge_slot", "weight_id", "params_outside")


def many(n: int, seed: int = 0) -> list[Graphs]:
    rng, kinds = np.random.default_rng(seed), KindTable()
    return [random_graph(rng, int(rng.integers(1, 20)), kinds, sharing=True) for _ in range(n)]


def assert_equal(first: Graphs, second: Graphs) -> None:
    for name in ("node_offset", "edge_offset", *ARRAYS):
        assert getattr(first, name).tolist() == getattr(second, name).tolist(), name


def test_a_joined_graph_comes_back_alone():
    parts = many(20)
    joined = concatenate(parts)
    assert len(joined) == len(list(joined)) == 20
    for part, back in zip(parts, joined, strict=True):
        assert_equal(part, back)
    assert_equal(joined[-1], parts[-1])
    with pytest.raises(IndexError):
        joined[20]


def test_selection_is_joining_in_another_order():
    parts = many(10)
    rows = np.array([7, 7, 0, 3, 9])
    assert_equal(concatenate(parts).select(rows), concatenate([parts[row] for row in rows]))
    assert len(concatenate(parts).select(rows[:0])) == 0


def test_graph_of_node_and_edge():
    joined = concatenate(many(5))
    for graph in range(5):
        nodes, edges = np.flatnonzero(joined.graph_of_node == graph), np.flatnonzero(joined.graph_of_edge == graph)
        assert nodes.tolist() == list(range(*joined.node_offset[graph : graph + 2]))
        assert edges.tolist() == list(range(*joined.edge_offset[graph : graph + 2]))
        assert set(joined.edge_source[edges]) | set(joined.edge_target[edges]) <= set(nodes)


def test_arrays_keep_the_index_type():
    joined = concatenate(many(5))
    for graphs in (joined, joined.select(np.array([2, 1])), live(joined)):
        for name in ARRAYS[:-1]:
            assert getattr(graphs, name).dtype == np.int32, name


def test_levels_are_longest_paths():
    rng = np.random.default_rng(1)
    for graph in many(20):
        moved = reordered(graph, rng)
        paths = nx.DiGraph([edge[:2] for edge in to_networkx(moved).edges if isinstance(edge[0], int)])
        expected = {}
        for node in nx.topological_sort(paths):
            expected[node] = max((expected[before] + 1 for before in paths.predecessors(node)), default=0)
        assert {node: moved.level[node] for node in expected} == expected
    joined = concatenate(many(20))
    assert joined.level.tolist() == np.concatenate([graph.level for graph in many(20)]).tolist()


def test_a_cycle_is_named():
    build = GraphBuilder(KindTable())
    x = build.input(8, 8, 4)
    y = build.add([build.same("relu", x), x])
    build.output(y)
    graph = build.finish()
    graph.edge_source[0] = y  # the ReLU reads the sum that reads it
    with pytest.raises(GraphError, match="the order of a computation graph at graph 0, node 1: expected no cycle"):
        _ = graph.level
    for function in (live, canonical_hash):
        with pytest.raises(GraphError, match=r"3 nodes on or behind a cycle\. A computation graph is a forward pass"):
            function(graph.select(np.array([0])))


def test_joining_over_different_tables_is_refused():
    with pytest.raises(GraphError, match=r"expected one table, got 2 tables\. Build the graphs with one KindTable"):
        concatenate([many(1)[0], many(1)[0]])


def test_rekind_changes_numbers_and_nothing_else():
    graphs = concatenate(many(10))
    other = KindTable([Kind("relu", ((1, 1, 1),), ((1, 1, 1),)), graphs.kinds[3]])
    renumbered = rekind(graphs, other)
    assert [other[kind] for kind in renumbered.kind] == [graphs.kinds[kind] for kind in graphs.kind]
    assert canonical_hash(renumbered).tolist() == canonical_hash(graphs).tolist()


def test_ragged_rows_against_a_loop():
    rng = np.random.default_rng(0)
    offset = np.concatenate([[0], np.cumsum(rng.integers(0, 4, 30))])
    for rows in (rng.integers(0, 30, 50), np.array([], int), np.array([4])):
        positions, new_offset = ragged_rows(offset, rows)
        expected = [list(range(offset[row], offset[row + 1])) for row in rows]
        assert positions.tolist() == [item for row in expected for item in row]
        assert new_offset.tolist() == np.cumsum([0, *map(len, expected)]).tolist()


def test_a_kind_table_holds_each_kind_once():
    relu, conv = Kind("relu", ((1, 1, 2),), ((1, 1, 2),)), Kind("linear", ((1, 1, 2),), ((1, 1, 3),))
    table = KindTable([relu, conv, Kind("relu", ((1, 1, 2),), ((1, 1, 2),))])
    assert list(table) == [relu, conv]
    assert [table.index(conv), table.index(relu), len(table), table[1]] == [1, 0, 2, conv]


def test_the_digest_of_a_kind_depends_on_every_field():
    base = Kind("conv", ((8, 8, 4),), ((8, 8, 4),), (3, 3), (1, 1), (1, 1), (1, 1), 1)
    changes = {
        "operation": "other",
        "inputs": ((8, 8, 5),),
        "outputs": ((8, 8, 5),),
        "kernel": (3, 1),
        "stride": (2, 1),
        "padding": (0, 1),
        "dilation": (2, 1),
        "groups": 2,
        "bias": True,
        "affine": True,
        "extra": "{}",
    }
    variants = [Kind(**{**base.__dict__, name: value}) for name, value in changes.items()]
    digests = {kind.digest for kind in [base, *variants]}
    assert len(digests) == 1 + len(Kind.__dataclass_fields__)
    assert all(0 <= digest < 2**64 for digest in digests)
