"""Normal forms: n-ary sums, and the live graph, structurally and by the numbers that the networks compute."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from graph_cases import random_graph

from archgauge.families import nb101, nb201
from archgauge.graphs import cost
from archgauge.graphs.builder import GraphBuilder
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.graph import Graphs, concatenate
from archgauge.graphs.normal_form import edges_by_level, live, merge_sums
from archgauge.graphs.operations import Kind, KindTable, as_extra
from archgauge.graphs.realise import realise

SHAPE = (8, 8, 4)
ADD, MUL = Kind("add", (SHAPE,), (SHAPE,)), Kind("mul", (SHAPE,), (SHAPE,))


def started() -> tuple[GraphBuilder, int]:
    build = GraphBuilder(KindTable())
    return build, build.input(*SHAPE)


def operations(graph: Graphs) -> list[str]:
    return [graph.kinds[kind].operation for kind in graph.kind]


def finished(build: GraphBuilder, value) -> Graphs:
    build.output(value)
    return build.finish()


def same(first: Graphs, second: Graphs) -> bool:
    return canonical_hash(first).tolist() == canonical_hash(second).tolist()


def test_sums_associate():
    def nested(left: bool) -> Graphs:
        build, x = started()
        a, b, c = (build.conv(x, 4, kernel) for kernel in (1, 3, 5))
        return finished(build, build.add([build.add([a, b]), c] if left else [a, build.add([b, c])]))

    assert same(nested(True), nested(False))
    assert operations(nested(True)).count("add") == 1


def test_a_deep_chain_of_sums_is_one_sum():
    build, x = started()
    total = x
    for _ in range(30):
        total = build.add([total, build.conv(x, 4, 1)])
    graph = finished(build, total)
    assert operations(graph).count("add") == 1
    assert (graph.edge_target == len(graph.kind) - 2).sum() == 31


def test_a_sum_that_is_read_twice_stays():
    build, x = started()
    both = build.add([x, build.same("relu", x)])
    graph = finished(build, build.add([both, build.conv(both, 4, 3)]))
    assert operations(graph).count("add") == 2
    twice = build.add([both, both])
    assert operations(finished(build, twice)).count("add") == 3


def test_a_sum_that_broadcasts_stays():
    build, x = started()
    small = build.node(
        Kind("add", ((1, 1, 4),), ((1, 1, 4),)), [build.global_avg_pool(x), build.constant((1, 1, 4), True)]
    )
    graph = finished(build, build.node(ADD, [x, small]))
    assert operations(graph).count("add") == 2


def test_products_and_concatenations_do_not_merge():
    build, x = started()
    y = build.node(MUL, [build.node(MUL, [x, x]), x])
    assert operations(finished(build, y)).count("mul") == 2


def test_sums_of_one_value_vanish_even_in_a_row():
    build, x = started()
    split = build.node(Kind("other", (SHAPE,), (SHAPE, SHAPE)), (x,))
    y = build.node(ADD, [build.node(ADD, [build.node(ADD, [(split, 1)])])])
    graph = finished(build, build.same("relu", y))
    assert operations(graph) == ["input", "other", "relu", "output"]
    assert graph.edge_output.tolist() == [0, 1, 0]


def test_parallel_edges_survive():
    """Two skips into one sum are twice the value, not once."""
    build, x = started()
    graph = live(finished(build, build.add([x, x, build.conv(x, 4, 3)])))
    assert Counter(zip(graph.edge_source.tolist(), graph.edge_target.tolist(), strict=True))[0, 2] == 2


def test_normal_forms_of_normal_forms_are_themselves():
    rng, kinds = np.random.default_rng(0), KindTable()
    graphs = concatenate([random_graph(rng, 15, kinds, sharing=True) for _ in range(100)])
    pruned = live(graphs)
    for once, again in ((merge_sums(graphs), graphs), (live(pruned), pruned), (merge_sums(pruned), pruned)):
        for name in ("kind", "edge_source", "edge_output", "edge_target", "edge_slot", "weight_id", "node_offset"):
            assert getattr(once, name).tolist() == getattr(again, name).tolist(), name


@pytest.mark.parametrize("operation", ["relu", "batch_norm", "conv", "pool"])
def test_what_reads_only_zeros_is_zero(operation):
    build, x = started()
    dead = build.same("zero", x)
    dead = {
        "relu": lambda: build.same("relu", dead),
        "batch_norm": lambda: build.batch_norm(dead),
        "conv": lambda: build.conv(dead, 4, 3, bias=True),
        "pool": lambda: build.pool(dead, "avg_pool", 3),
    }[operation]()
    assert operations(live(finished(build, build.add([x, build.same("relu", x), dead])))) == [
        "input",
        "relu",
        "add",
        "output",
    ]


def test_a_sum_of_zeros_is_zero_and_a_product_with_one_too():
    build, x = started()
    zero = build.same("zero", x)
    zeros = build.add([zero, build.same("zero", x)])
    product = build.node(MUL, [build.conv(x, 4, 3), build.same("relu", zeros)])
    graph = live(finished(build, build.add([product, x, build.same("relu", x)])))
    assert operations(graph) == ["input", "relu", "add", "output"]


def test_a_vanished_part_of_a_concatenation_stays_as_zeros_of_its_shape():
    build, x = started()
    dead = build.slice(build.same("zero", x), "channels", 0, 3)
    graph = live(finished(build, build.concat([dead, x])))
    assert operations(graph) == ["input", "zero", "concat", "output"]
    zero = graph.kinds[graph.kind[1]]
    assert (zero.inputs, zero.outputs) == ((), ((8, 8, 3),))
    assert graph.edge_slot.tolist()[:2] == [0, 1]
    assert graph.edge_source.tolist()[:2] == [1, 0]


def test_a_network_of_nothing_is_a_zero_and_an_output():
    build, x = started()
    graph = live(finished(build, build.conv(build.same("zero", x), 4, 3)))
    assert operations(graph) == ["zero", "output"]
    assert torch.equal(realise(graph)(torch.ones(2, 4, 8, 8)), torch.zeros(2, 4, 8, 8))


def test_what_no_output_reads_is_pruned():
    build, x = started()
    build.conv(build.same("relu", x), 4, 3)
    assert operations(live(finished(build, build.same("silu", x)))) == ["input", "silu", "output"]


def test_a_constant_is_no_dead_input():
    build, x = started()
    one = build.constant(SHAPE, True)
    graph = live(finished(build, build.node(ADD, [build.same("relu", one), build.same("zero", x)])))
    assert operations(graph) == ["constant", "relu", "output"]


def test_pruned_graphs_equal_graphs_built_without_the_dead_branch():
    """Also where a dead branch shared the weights of a living layer: nobody shares with it any more."""
    kind = Kind("conv", (SHAPE,), (SHAPE,), (3, 3), (1, 1), (1, 1), (1, 1), 1)

    def network(dead: bool) -> Graphs:
        build, x = started()
        values = [build.node(kind, (x,), 0), build.same("relu", x)]
        if dead:
            values.append(build.node(kind, (build.same("zero", x),), 0))
        return live(finished(build, build.add(values)))

    assert same(network(True), network(False))


def test_a_term_that_vanishes_leaves_the_shape_of_a_broadcast_sum():
    build, x = started()
    small = build.global_avg_pool(x)
    graph = live(finished(build, build.node(ADD, [build.same("zero", x), small])))
    with torch.no_grad():
        assert realise(graph)(torch.ones(1, 4, 8, 8)).shape == (1, 4, 8, 8)


def test_edges_by_level_cover_every_edge_once_behind_its_sources():
    rng, kinds = np.random.default_rng(0), KindTable()
    graphs = concatenate([random_graph(rng, 15, kinds) for _ in range(20)])
    levels = edges_by_level(graphs)
    assert sorted(np.concatenate(levels).tolist()) == list(range(len(graphs.edge_source)))
    for depth, edges in enumerate(levels, 1):
        assert set(graphs.level[graphs.edge_target[edges]]) == {depth}
        assert graphs.level[graphs.edge_source[edges]].max() < depth


def outputs_agree(graph: Graphs) -> None:
    """The whole and the live network compute the same with the same weights, where nothing revives a dead branch."""
    tagged = _tagged(graph)
    pruned = live(tagged)
    whole, part = realise(tagged).eval(), realise(pruned).eval()
    for layer in whole.layers.values():
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.zeros_(layer.bias)
    layer_of = {tagged.kinds[kind].extra: f"{node}" for node, kind in enumerate(tagged.kind)}
    for node, kind in enumerate(pruned.kind):
        if str(node) in part.layers and pruned.kinds[kind].extra:
            part.layers[str(node)] = whole.layers[layer_of[pruned.kinds[kind].extra]]
    x = torch.randn(1, *(graph.kinds[graph.kind[0]].outputs[0][axis] for axis in (2, 0, 1)))
    with torch.no_grad():
        torch.testing.assert_close(whole(x), part(x))


def _tagged(graph: Graphs) -> Graphs:
    """Every layer gets a kind of its own, so that it is known again after pruning."""
    kinds, kind = KindTable(), []
    for node, row in enumerate(graph.kind):
        old = graph.kinds[row]
        kind.append(
            kinds.index(
                replace(old, extra=as_extra(tag=node)) if old.operation in ("conv", "linear", "batch_norm") else old
            )
        )
    return replace(graph, kinds=kinds, kind=np.array(kind, np.int32))


def test_random_graphs_compute_what_their_live_graphs_compute():
    rng, kinds = np.random.default_rng(5), KindTable()
    torch.manual_seed(0)
    for _ in range(60):
        outputs_agree(random_graph(rng, int(rng.integers(3, 15)), kinds))


def test_networks_compute_what_their_live_graphs_compute():
    torch.manual_seed(0)
    specs = [spec for spec in nb201.sample(12, np.random.default_rng(7)) if not nb201.without_none(spec)]
    assert len(specs) > 6
    for spec in specs:
        outputs_agree(nb201.to_graph(spec))


def test_nothing_is_dead_in_a_pruned_module_of_nb101():
    kinds = KindTable()
    graphs = concatenate([nb101.to_graph(spec, kinds) for spec in nb101.sample(200, np.random.default_rng(0))])
    assert live(graphs).kind.tolist() == graphs.kind.tolist()
    assert live(graphs).edge_source.tolist() == graphs.edge_source.tolist()


def test_dead_layers_cost_what_the_benchmark_counts_but_the_live_graph_has_none():
    dead = nb201.spec_of(["nor_conv_3x3", "skip_connect", "none", "none", "none", "skip_connect"])
    lean = nb201.spec_of(["none", "skip_connect", "none", "none", "none", "skip_connect"])
    dead, lean = nb201.to_graph(dead), nb201.to_graph(lean)
    assert cost.params(dead) > cost.params(lean)
    assert cost.params(live(dead)) == cost.params(live(lean)) == cost.params(lean)
    assert same(live(dead), live(lean))
