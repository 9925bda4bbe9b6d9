"""The canonical hash: isomorphic graphs share it, different ones do not."""

from dataclasses import replace

import numpy as np
import pytest
from graph_cases import isomorphic, random_graph, reordered

from archgauge.families import nb101, nb201
from archgauge.graphs.builder import GraphBuilder
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.graph import Graphs, concatenate
from archgauge.graphs.normal_form import live
from archgauge.graphs.operations import Kind, KindTable


def only(graph: Graphs) -> str:
    (value,) = canonical_hash(graph).tolist()
    return value


@pytest.mark.parametrize("sharing", [False, True])
def test_the_order_of_nodes_terms_and_weight_ids_does_not_count(sharing):
    rng, kinds = np.random.default_rng(0), KindTable()
    graphs = [random_graph(rng, int(rng.integers(1, 25)), kinds, sharing=sharing) for _ in range(150)]
    moved = [reordered(graph, rng) for graph in graphs]
    assert canonical_hash(concatenate(graphs)).tolist() == canonical_hash(concatenate(moved)).tolist()
    assert len(set(canonical_hash(concatenate(graphs)))) > 100


def test_family_graphs_in_other_orders():
    rng, kinds = np.random.default_rng(1), KindTable()
    for family in (nb101, nb201):
        graphs = [live(family.to_graph(spec, kinds)) for spec in family.sample(10, rng)]
        hashes = [only(graph) for graph in graphs]
        assert hashes == [only(reordered(graph, rng)) for graph in graphs]
        assert len(set(hashes)) == 10


def test_a_hash_does_not_depend_on_the_other_graphs_or_the_numbering_of_kinds():
    rng, kinds = np.random.default_rng(2), KindTable()
    graphs = concatenate([random_graph(rng, 12, kinds) for _ in range(30)])
    together = canonical_hash(graphs).tolist()
    assert together == [only(graph) for graph in graphs]
    backwards = KindTable(list(kinds)[::-1])
    renumbered = replace(graphs, kinds=backwards, kind=np.array([backwards.index(kind) for kind in kinds])[graphs.kind])
    assert canonical_hash(renumbered).tolist() == together


def test_the_hash_is_the_same_in_every_version():
    """Tables hold the hash, so a change of it must be on purpose."""
    build = GraphBuilder(KindTable())
    x = build.input(8, 8, 3)
    build.output(build.add([build.conv(x, 3, 3), x]))
    assert only(build.finish()) == "9da9ff13870d0a3e5b83d4731364cea1"


@pytest.mark.parametrize("sharing", [False, True])
def test_equal_hash_means_isomorphic_and_the_other_way_round(sharing):
    """Second implementation: networkx, on small graphs, their near misses and pairs drawn from few shapes."""
    rng, kinds = np.random.default_rng(3), KindTable()
    pairs = []
    for _ in range(250):
        graph = random_graph(rng, int(rng.integers(2, 9)), kinds, sharing=sharing)
        pairs.append((graph, _near_miss(graph, rng)))
        pairs.append((graph, reordered(_near_miss(graph, rng), rng)))
    tiny = [random_graph(rng, 2, kinds, sharing=sharing) for _ in range(40)]
    pairs += [(tiny[i], tiny[j]) for i in range(40) for j in range(i)]
    left, right = (canonical_hash(concatenate(side)) for side in zip(*pairs, strict=True))
    same = np.array([isomorphic(*pair) for pair in pairs])
    assert 50 < same.sum() < len(pairs) - 200
    assert (left == right).tolist() == same.tolist()


def _near_miss(graph: Graphs, rng: np.random.Generator) -> Graphs:
    """The graph after one small edit that may or may not change it."""
    source, kind, slot = graph.edge_source.copy(), graph.kind.copy(), graph.edge_slot.copy()
    weight_id = graph.weight_id.copy()
    edit = rng.integers(4)
    if edit == 0:  # an edge comes from another node before its target
        edge = rng.integers(len(source))
        source[edge] = rng.integers(graph.edge_target[edge])
    elif edit == 1:  # two nodes change places
        a, b = rng.integers(1, len(kind) - 1, 2)
        kind[[a, b]] = kind[[b, a]]
    elif edit == 2:  # two inputs of one node change places
        many = np.flatnonzero(np.diff(graph.edge_target, append=-1) == 0)
        if len(many):
            edge = rng.choice(many)
            source[[edge, edge + 1]] = source[[edge + 1, edge]]
    else:  # a node leaves its weights, or takes those of another
        a, b = rng.integers(1, len(kind) - 1, 2)
        weight_id[[a, b]] = weight_id[[b, a]]
    return replace(graph, edge_source=source, kind=kind, edge_slot=slot, weight_id=weight_id)


def _two(combine: str, swap: bool = False, twice: bool = False, share: bool = False, kernel: int = 3) -> str:
    build = GraphBuilder(KindTable())
    x = build.input(8, 8, 4)
    kinds = [Kind("conv", ((8, 8, 4),), ((8, 8, 4),), (k, k), (1, 1), (k // 2, k // 2), (1, 1), 1) for k in (kernel, 1)]
    a, b = (build.node(kind, (x,), 7 if share else -1) for kind in kinds)
    values = [b, a] if swap else [a, b]
    values += [a] * twice
    shape = (8, 8, 4 * len(values)) if combine == "concat" else (8, 8, 4)
    build.output(build.node(Kind(combine, (shape,), (shape,)), values))
    return only(build.finish())


def test_slots_count_only_where_order_matters():
    assert _two("add") == _two("add", swap=True)
    assert _two("mul") == _two("mul", swap=True)
    assert _two("concat") != _two("concat", swap=True)


def test_kinds_parallel_edges_and_sharing_count():
    variants = [_two("add"), _two("mul"), _two("add", kernel=5), _two("add", twice=True), _two("add", share=True)]
    assert len(set(variants)) == len(variants)


def test_the_output_that_is_read_counts():
    def reading(outputs: list[int]) -> str:
        build = GraphBuilder(KindTable())
        x = build.input(8, 8, 4)
        split = build.node(Kind("other", ((8, 8, 4),), ((8, 8, 2), (8, 8, 2)), extra='{"name":"split"}'), (x,))
        build.output(build.concat([(split, output) for output in outputs]))
        return only(build.finish())

    assert len({reading([0, 1]), reading([1, 0]), reading([0, 0]), reading([1, 1])}) == 4


def test_twin_layers_are_not_one_layer_read_twice():
    def twins(layers: int) -> str:
        build = GraphBuilder(KindTable())
        x = build.input(8, 8, 4)
        values = [build.conv(x, 4, 3) for _ in range(layers)]
        build.output(build.add([values[0], values[-1]]))
        return only(build.finish())

    assert twins(1) != twins(2)


def test_who_shares_with_whom_counts():
    """Two chains of two equal layers: shared within a chain, or across the chains at equal depth."""

    def chains(sharing: list[int]) -> str:
        build = GraphBuilder(KindTable())
        x = build.input(8, 8, 4)
        kind = Kind("conv", ((8, 8, 4),), ((8, 8, 4),), (3, 3), (1, 1), (1, 1), (1, 1), 1)
        ends = [build.node(kind, (build.node(kind, (x,), sharing[2 * i]),), sharing[2 * i + 1]) for i in range(2)]
        build.output(build.add(ends))
        return only(build.finish())

    variants = [
        chains([-1] * 4),
        chains([0, 0, 1, 1]),
        chains([0, 1, 0, 1]),
        chains([0, 0, 0, 0]),
        chains([0, 1, 0, 2]),
    ]
    assert len(set(variants)) == len(variants)


def test_20000_modules_of_nb101_have_20000_hashes():
    """Different modules have different live graphs. All 423,624 do; that takes four minutes, so this is a sample."""
    kinds, found = KindTable(), set()
    specs = nb101.sample(COUNT, np.random.default_rng(4))
    for first in range(0, COUNT, 500):
        graphs = concatenate([nb101.to_graph(spec, kinds) for spec in specs[first : first + 500]])
        found.update(canonical_hash(live(graphs)).tolist())
    assert len(found) == COUNT


COUNT = 20_000
