"""Mutations of computation graphs: what they keep, that every mutant is a network, and what cannot be mutated."""

from collections import Counter

import networkx as nx
import numpy as np
import pytest
import torch
from graph_cases import to_networkx
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from archgauge.errors import GraphError
from archgauge.families import hiaml, nb101, nb201, ofa_mbv3, ofa_resnet50
from archgauge.graphs import cost
from archgauge.graphs.builder import GraphBuilder
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.graph import Graphs
from archgauge.graphs.normal_form import live
from archgauge.graphs.operations import Kind, KindTable
from archgauge.graphs.realise import realise
from archgauge.graphs.trace import trace
from archgauge.search.graph_mutation import LONGEST, Style, images, mutate, runs

FAMILIES = {"nb101": nb101, "nb201": nb201, "ofa_resnet50": ofa_resnet50, "hiaml": hiaml, "ofa_mbv3": ofa_mbv3}
SMALL = {"ofa_resnet50": "r128-m24o40s0-w65:20,20-w65:20,35-w65:20,20,25,20-w65:20,20"}
WALKS, STEPS = 10, 20
"""200 mutations of each family; the graph at the end of each walk of twenty has taken in all of its mutations."""


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def start_of(family: str, seed: int = 0) -> Graphs:
    module = FAMILIES[family]
    return module.to_graph(SMALL.get(family) or module.sample(1, np.random.default_rng(seed))[0])


def interface(graph: Graphs) -> list:
    """What goes in and out."""
    nodes = np.flatnonzero(graph.having("input", "output"))
    return [(graph.kinds[int(kind)].inputs, graph.kinds[int(kind)].outputs) for kind in graph.kind[nodes]]


def wires(graph: Graphs) -> list[tuple]:
    """(what the source gives, what the reader expects) of each edge."""
    kinds = [graph.kinds[int(kind)] for kind in graph.kind]
    edges = zip(graph.edge_source, graph.edge_output, graph.edge_target, graph.edge_slot, strict=True)
    return [
        (kinds[source].outputs[output], kinds[target].inputs[slot])
        for source, output, target, slot in edges
        if kinds[target].operation not in ("add", "mul", "concat")
    ]


@pytest.mark.parametrize("family", ["nb101", "nb201", "ofa_resnet50", "hiaml"])
def test_200_mutants_keep_shapes_and_are_networks(family):
    rng, start = np.random.default_rng(1), start_of(family)
    height, width, channels = interface(start)[0][1][0]
    example = torch.zeros(2, channels, height, width, device="meta")
    for _ in range(WALKS):
        graph = start
        for _ in range(STEPS):
            graph = mutate(graph, rng)
            assert interface(graph) == interface(start)
        assert all(given == read for given, read in wires(graph))
        assert len(graph.level) == len(graph.kind)  # raises on a cycle
        assert canonical_hash(live(graph)) == canonical_hash(graph) != canonical_hash(live(start))
        with torch.device("meta"):
            network = realise(graph)
        with FlopCounterMode(display=False) as counter:
            assert network(example).shape == (2, interface(start)[-1][0][0][2])
        assert cost.macs(graph).tolist() == [counter.get_total_flops() // 2 // len(example)]
        assert cost.params(graph).tolist() == [sum(weight.numel() for weight in network.parameters())]
    assert canonical_hash(trace(network, example)) == canonical_hash(graph)


@pytest.mark.parametrize("family", FAMILIES)
def test_tracing_a_mutant_gives_it_back_and_it_trains(family):
    rng, graph = np.random.default_rng(2), start_of(family)
    for _ in range(STEPS):
        graph = mutate(graph, rng)
    network = realise(graph).train()
    height, width, channels = interface(graph)[0][1][0]
    network(torch.randn(2, channels, height, width)).square().mean().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in network.parameters())
    assert canonical_hash(trace(network, torch.zeros(1, channels, height, width))) == canonical_hash(graph)


def test_only_the_run_is_another():
    """And every node is reached and leads to the output: networkx's word."""
    rng, start = np.random.default_rng(3), live(start_of("nb101"))
    kinds = Counter(start.kind.tolist())
    for _ in range(10):
        mutant = mutate(start, rng)
        gone = kinds - Counter(mutant.kind.tolist())
        assert sum(gone.values()) <= LONGEST
        assert nx.is_directed_acyclic_graph(to_networkx(mutant))
        (first,), (last,) = (np.flatnonzero(mutant.having(end)) for end in ("input", "output"))
        whole = to_networkx(mutant)
        assert nx.descendants(whole, first) | {first} == nx.ancestors(whole, last) | {last} == set(whole)


def test_equal_seeds_give_equal_mutants_and_others_others():
    start = start_of("nb201")
    hashes = [str(canonical_hash(mutate(start, np.random.default_rng(seed)))) for seed in (5, 5, 6, 7, 8)]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) > 2


def test_the_start_stays_as_it_is():
    start = start_of("nb201")
    arrays = [array.copy() for array in (start.kind, start.edge_source, start.edge_target)]
    before = canonical_hash(start)
    mutate(start, np.random.default_rng(0))
    assert canonical_hash(start) == before
    assert all(map(np.array_equal, arrays, (start.kind, start.edge_source, start.edge_target)))


@pytest.mark.parametrize("family", ["nb101", "ofa_resnet50", "hiaml"])
def test_stems_heads_cells_and_reductions_mutate(family):
    start = live(start_of(family))
    replaced = {node for run in runs(start) for node in run}
    kept = {start.kinds[int(start.kind[node])].operation for node in set(range(len(start.kind))) - replaced}
    assert kept <= {"input", "output", "add", "concat", "slice"}


def chain(*layers: nn.Module) -> Graphs:
    return trace(nn.Sequential(*layers), torch.zeros(1, 3, 9, 12))


def test_runs_are_chains_that_nobody_else_reads():
    build = GraphBuilder(KindTable())
    x = build.conv(build.input(8, 8, 4), 4, 3)  # 1, read twice
    y = build.same("relu", build.batch_norm(x))  # 2, 3
    build.output(build.add([x, y]))
    assert sorted(runs(build.finish())) == [[1], [2], [2, 3], [3]]


@pytest.mark.parametrize(
    ("layers", "wanted"),
    [
        ([nn.Conv2d(3, 4, 3)], []),  # without padding: no padded layers lead to 7 x 10
        ([nn.Conv2d(3, 4, 3, 2, 1)], [[1]]),
        ([nn.Conv2d(3, 4, 3, (3, 2), 1)], []),  # no one stride leads to 3 x 6
        ([nn.Conv2d(3, 4, 3, (1, 2), 1), nn.Conv2d(4, 4, 3, (2, 1), 1)], [[1, 2]]),
        ([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5)], [[1], [1, 2]]),
        ([nn.Flatten(), nn.Linear(324, 5), nn.ReLU()], []),
        ([nn.LayerNorm(12), nn.GELU()], []),  # nobody knows whether these axes are an image's
    ],
)
def test_runs_lead_from_images_to_what_padded_layers_can_make(layers, wanted):
    graph = chain(*layers)
    assert runs(graph) == wanted
    if wanted:
        assert interface(mutate(graph, np.random.default_rng(0))) == interface(graph)


def test_shared_weights_are_left_alone():
    layer = nn.Conv2d(3, 3, 3, padding=1)
    assert runs(chain(layer, layer)) == []
    assert runs(chain(layer, nn.ReLU(), layer)) == [[2]]


def test_values_that_are_certainly_images():
    graph = chain(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Flatten(2), nn.ReLU())
    names = [graph.kinds[int(kind)].operation for kind in graph.kind]
    assert [name for name, image in zip(names, images(graph), strict=True) if image] == ["input", "conv", "relu"]


def test_what_a_gate_scales_and_a_slice_leaves_are_images():
    build = GraphBuilder(KindTable())
    x = build.conv(build.input(8, 8, 4), 6, 1)
    gate = build.same("sigmoid", build.linear(build.global_avg_pool(x), 6))
    kind = Kind("mul", ((8, 8, 6),), ((8, 8, 6),))
    y = build.conv(build.slice(build.node(kind, [x, gate]), "channels", 0, 3), 5, 3)
    build.output(y)
    graph = build.finish()
    assert [y] in runs(graph)
    assert not images(graph)[gate]


def test_new_layers_look_like_the_graphs_own():
    before, after = (Style.of(live(start_of(family))) for family in ("nb201", "nb101"))
    assert before.activation_last < after.activation_last == 1
    norm = nn.BatchNorm2d(4, eps=1e-3, affine=False)
    style = Style.of(chain(nn.Conv2d(3, 4, (1, 7), padding=(0, 3)), norm, nn.SiLU(), nn.Conv2d(4, 4, 2)))
    assert style == Style(((1, 1), (1, 7), (3, 3)), ("silu",), True, (False, 1e-3), 1.0)
    assert Style.of(chain(nn.MaxPool2d(3, 1, 1))).norm is None


def test_a_graph_without_a_layer_on_images_cannot_be_mutated():
    graph = chain(nn.Flatten(), nn.Linear(324, 5), nn.ReLU())
    with pytest.raises(
        GraphError, match=r"a mutation may replace .*: expected at least one of .*conv.* on images, got"
    ):
        mutate(graph, np.random.default_rng(0))
