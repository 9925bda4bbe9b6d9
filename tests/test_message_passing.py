"""The two backends against each other and against loops; the k-GNN and its colours against the plain computation."""

import sys

import numpy as np
import pytest
import torch
from memory_store import random_batch

from archgauge.errors import ConfigError
from archgauge.graphs.batch import GraphBatch
from archgauge.nn.colours import refine
from archgauge.nn.graph_conv import GraphConv, KGnn
from archgauge.nn.heads import initialise
from archgauge.nn.message_passing import backend

BACKENDS = ["torch", "dgl"]
TOLERANCE = {"rtol": 0, "atol": 1e-10}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.fixture
def batch(rng) -> GraphBatch:
    return random_batch(rng, [12, 1, 30, 7], n_kinds=4)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def _normal(generator: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


def _run(name: str, batch: GraphBatch, generator: torch.Generator) -> list[torch.Tensor]:
    """Every operation of a backend, and the gradients of a fixed function of its results."""
    nodes, links = len(batch.kind), len(batch.edge_source)
    x, heads, logits = _normal(generator, nodes, 5), _normal(generator, nodes, 2, 3), _normal(generator, links, 2)
    chosen = backend(name)
    edges = chosen.edges(batch.edge_source, batch.edge_target, nodes, nodes)
    attention = edges.edge_softmax(logits * 30)
    results = [
        edges.neighbour_sum(x),
        attention,
        edges.weighted_neighbour_sum(heads, attention),
        chosen.segment_sum(x, batch.node_offset),
        chosen.segment_mean(x, batch.node_offset),
    ]
    scales = [torch.randn(result.shape, generator=generator, dtype=torch.float64) for result in results]
    sum((result * scale).sum() for result, scale in zip(results, scales, strict=True)).backward()
    return [*results, x.grad, heads.grad, logits.grad]


def test_backends_agree_forward_and_backward(batch):
    ours, theirs = (_run(name, batch, torch.Generator().manual_seed(3)) for name in BACKENDS)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, **TOLERANCE)


@pytest.mark.parametrize("name", BACKENDS)
def test_operations_equal_loops(name, batch, generator):
    nodes = len(batch.kind)
    x, logits = _normal(generator, nodes, 3).detach(), _normal(generator, len(batch.edge_source), 2).detach()
    chosen = backend(name)
    edges = chosen.edges(batch.edge_source, batch.edge_target, nodes, nodes)
    total, share, heads = torch.zeros_like(x), torch.empty_like(logits), torch.zeros(nodes, 2, 3, dtype=x.dtype)
    for node in range(nodes):
        entering = [edge for edge in range(len(logits)) if batch.edge_target[edge] == node]
        power = logits[entering].exp()
        share[entering] = power / power.sum(0)
        for edge in entering:
            sent = x[batch.edge_source[edge]]
            total[node] += sent
            heads[node] += share[edge][:, None] * sent
    torch.testing.assert_close(edges.neighbour_sum(x), total, **TOLERANCE)
    torch.testing.assert_close(edges.edge_softmax(logits), share, **TOLERANCE)
    doubled = x[:, None, :].expand(-1, 2, -1).contiguous()
    torch.testing.assert_close(edges.weighted_neighbour_sum(doubled, share), heads, **TOLERANCE)
    segments = torch.stack([part.sum(0) for part in x.split(batch.node_offset.diff().tolist())])
    torch.testing.assert_close(chosen.segment_sum(x, batch.node_offset), segments, **TOLERANCE)


@pytest.mark.parametrize("name", BACKENDS)
def test_fewer_senders_than_receivers_and_none_at_all(name):
    edges = backend(name).edges(torch.tensor([1, 1, 0]), torch.tensor([0, 0, 3]), 2, 4)
    x = torch.tensor([[1.0], [10.0]])
    assert edges.neighbour_sum(x).flatten().tolist() == [20, 0, 0, 1]
    assert edges.in_degree().tolist() == [2, 0, 0, 1]
    none = torch.zeros(0, dtype=torch.int64)
    assert backend(name).edges(none, none, 2, 3).neighbour_sum(x).flatten().tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", BACKENDS)
def test_empty_segments_are_zero(name):
    x, offset = torch.tensor([[2.0], [4.0]]), torch.tensor([0, 0, 2, 2])
    assert backend(name).segment_sum(x, offset).flatten().tolist() == [0, 6, 0]
    assert backend(name).segment_mean(x, offset).flatten().tolist() == [0, 3, 0]


def test_unknown_backend_lists_the_choices():
    with pytest.raises(ConfigError, match=r"backend.*expected one of dgl, torch, got 'pyg'"):
        backend("pyg")


def test_dgl_that_cannot_be_imported_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "dgl", None)
    with pytest.raises(ConfigError, match=r"backend: dgl: expected an installed dgl.*use torch"):
        backend("dgl")


def test_graph_conv_by_hand():
    layer = GraphConv(1, 1)
    with torch.no_grad():
        layer.own.weight.fill_(2), layer.own.bias.fill_(0.5), layer.neighbours.weight.fill_(10)
    edges = backend("torch").edges(torch.tensor([0, 1, 1]), torch.tensor([2, 2, 2]), 3, 3)
    x = torch.tensor([[1.0], [3.0], [4.0]])
    assert layer(x, edges).flatten().tolist() == [2.5, 6.5, 8.5 + 10 * (1 + 3 + 3)]
    layer.aggregation = "mean"
    assert layer(x, edges).flatten().tolist() == [2.5, 6.5, pytest.approx(8.5 + 10 * 7 / 3)]


def _plain(gnn: KGnn, embedded: torch.Tensor, batch: GraphBatch) -> torch.Tensor:
    """The k-GNN node by node, with no colours and no backend."""
    x = embedded[batch.kind]
    pairs = list(zip(batch.edge_source.tolist(), batch.edge_target.tolist(), strict=True))
    if gnn.direction == "both":
        pairs += [(target, source) for source, target in pairs]
    for layer in gnn.convolutions:
        total, degree = torch.zeros_like(x), torch.zeros(len(x), 1, dtype=x.dtype)
        for source, target in pairs:
            total[target] = total[target] + x[source]
            degree[target] += 1
        if layer.aggregation == "mean":
            total = total / degree.clamp(min=1)
        x = torch.tanh(x @ layer.own.weight.T + layer.own.bias + total @ layer.neighbours.weight.T)
    return torch.stack([part.mean(0) for part in x.split(batch.node_offset.diff().tolist())])


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("direction", ["forward", "both"])
@pytest.mark.parametrize("aggregation", ["sum", "mean"])
def test_coloured_knn_equals_the_plain_one(name, direction, aggregation, batch, generator):
    gnn = KGnn(3, 4, 3, aggregation, direction, name).double()
    initialise(gnn, generator)
    embedded = _normal(generator, 4, 3)
    gradients = []
    for result in (gnn(embedded, batch), _plain(gnn, embedded, batch)):
        gradients.append(torch.autograd.grad(result.square().sum(), [embedded, *gnn.parameters()]))
        gradients[-1] += (result,)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, **TOLERANCE)


@pytest.mark.parametrize("key", ["aggregation", "direction"])
def test_knn_refuses_unknown_choices(key):
    with pytest.raises(ConfigError, match=rf"k-GNN at {key}: expected one of .*, got 'up'"):
        KGnn(3, 4, 1, **{key: "up"})


def test_colours_are_the_classical_refinement(rng):
    batch = random_batch(rng, [40, 40, 25], n_kinds=2)
    rounds, colour = refine(batch.kind, batch.edge_source, batch.edge_target, 3)
    name = [(kind,) for kind in batch.kind.tolist()]
    for made in rounds:
        entering: list[list] = [[] for _ in name]
        for source, target in zip(batch.edge_source.tolist(), batch.edge_target.tolist(), strict=True):
            entering[target].append(name[source])
        name = [(own, tuple(sorted(sent))) for own, sent in zip(name, entering, strict=True)]
        assert len(made.own) == len(set(name))
    assert len(set(zip(name, colour.tolist(), strict=True))) == len(set(name)) == len(colour.unique())


def test_parallel_edges_change_a_colour():
    kind = torch.zeros(6, dtype=torch.int64)
    source, target = torch.tensor([0, 2, 2]), torch.tensor([1, 3, 3])
    _, colour = refine(kind, source, target, 1)
    assert colour[1] != colour[3]
    assert colour[0] == colour[2] == colour[4]
