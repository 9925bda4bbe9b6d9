"""GCN and GIN against dense matrices and loops, on both backends; the predictors that train them end to end."""

import numpy as np
import pytest
import torch
from memory_store import family_store, random_batch
from scipy.stats import spearmanr
from torch import nn

from archgauge.errors import ConfigError
from archgauge.graphs.batch import GraphBatch
from archgauge.nn.gcn import Gcn
from archgauge.nn.gin import Gin
from archgauge.nn.heads import initialise
from archgauge.predictors import gcn, gin, k_gnn
from archgauge.predictors.population import Population

BACKENDS = ["torch", "dgl"]
TOLERANCE = {"rtol": 0, "atol": 1e-10}
ALL = pytest.mark.parametrize("module", [k_gnn, gcn, gin])


@pytest.fixture(autouse=True)
def one_thread():
    """Operations as small as these wait longer for a second thread than they take."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def batch() -> GraphBatch:
    return random_batch(np.random.default_rng(5), [12, 1, 30, 7], n_kinds=4)


def _made(kind: type[nn.Module], backend: str = "torch") -> nn.Module:
    network = kind(3, 4, 3, backend).double()
    generator = torch.Generator().manual_seed(1)
    initialise(network, generator)
    with torch.no_grad():
        for name, part in network.named_parameters():
            if name.endswith("bias"):
                part.uniform_(-1, 1, generator=generator)
    return network


def _adjacency(batch: GraphBatch) -> torch.Tensor:
    """(V, V): row v counts the edges u -> v, parallel ones too."""
    adjacency = torch.zeros(len(batch.kind), len(batch.kind), dtype=torch.float64)
    for source, target in zip(batch.edge_source.tolist(), batch.edge_target.tolist(), strict=True):
        adjacency[target, source] += 1
    return adjacency


def _dense_gcn(network: Gcn, embedded: torch.Tensor, batch: GraphBatch) -> torch.Tensor:
    """D^-1/2 (A + I) D^-1/2 H W + b as matrices, with no colours and no backend."""
    looped = _adjacency(batch) + torch.eye(len(batch.kind), dtype=torch.float64)
    root = torch.diag(looped.sum(1) ** -0.5)
    x = embedded[batch.kind]
    for layer in network.convolutions:
        x = torch.tanh(root @ looped @ root @ x @ layer.linear.weight.T + layer.bias)
    return _means(x, batch)


def _dense_gin(network: Gin, embedded: torch.Tensor, batch: GraphBatch) -> torch.Tensor:
    x, adjacency = embedded[batch.kind], _adjacency(batch)
    for layer in network.convolutions:
        first, _, second = layer.mlp
        hidden = ((x + adjacency @ x) @ first.weight.T + first.bias).clamp(min=0)
        x = torch.tanh(hidden @ second.weight.T + second.bias)
    return _means(x, batch)


def _means(x: torch.Tensor, batch: GraphBatch) -> torch.Tensor:
    return torch.stack([part.mean(0) for part in x.split(batch.node_offset.diff().tolist())])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("kind", "dense"), [(Gcn, _dense_gcn), (Gin, _dense_gin)])
def test_coloured_network_equals_dense_matrices(kind, dense, backend, batch):
    network = _made(kind, backend)
    embedded = torch.randn(4, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64, requires_grad=True)
    found = []
    for result in (network(embedded, batch), dense(network, embedded, batch)):
        found.append((result, *torch.autograd.grad(result.square().sum(), [embedded, *network.parameters()])))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, **TOLERANCE)


@pytest.mark.parametrize("kind", [Gcn, Gin])
def test_backends_agree_in_float64(kind, batch):
    embedded = torch.randn(4, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    one, other = (_made(kind, name)(embedded, batch) for name in BACKENDS)
    torch.testing.assert_close(one, other, **TOLERANCE)


def test_gcn_is_the_papers_where_every_edge_has_its_reverse(batch):
    """There both ends' degrees are the same whichever way they are counted."""
    both = GraphBatch(
        batch.kind,
        torch.cat([batch.edge_source, batch.edge_target]),
        torch.cat([batch.edge_target, batch.edge_source]),
        batch.node_offset,
    )
    adjacency = _adjacency(both)
    assert torch.equal(adjacency, adjacency.T)
    network, embedded = _made(Gcn), torch.eye(4, 3, dtype=torch.float64)
    torch.testing.assert_close(network(embedded, both), _dense_gcn(network, embedded, both), **TOLERANCE)


def test_gcn_sees_the_degree_of_senders_of_one_kind():
    """Two senders of the same kind, one of which reads two nodes itself: their messages weigh differently."""
    kind = torch.zeros(7, dtype=torch.int64)
    source, target = torch.tensor([0, 1, 3, 4, 5]), torch.tensor([1, 2, 5, 5, 6])
    batch = GraphBatch(kind, source, target, torch.tensor([0, 3, 7]))
    network = Gcn(1, 1, 1).double()
    with torch.no_grad():
        network.convolutions[0].linear.weight.fill_(1)
    found = network(torch.ones(1, 1, dtype=torch.float64), batch).flatten()
    root = 2**-0.5
    first = [1, root + 0.5, 0.5 + 0.5]
    second = [1, 1, 2 * 3**-0.5 + 1 / 3, (3 * 2) ** -0.5 + 0.5]
    expected = [np.tanh(first).mean(), np.tanh(second).mean()]
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-12)


@pytest.mark.parametrize("kind", [Gcn, Gin])
def test_unknown_backend_is_refused(kind):
    with pytest.raises(ConfigError, match="expected one of dgl, torch"):
        kind(3, 4, 1, "pyg")


def graphs(n: int) -> tuple[Population, np.ndarray]:
    store = family_store("nb201", n)
    store.live_hash = store.arch_id.astype(str)
    macs = store.macs.astype(float)
    population = Population(store.arch_id, macs, store.params.astype(float), graphs=(store, np.arange(n)))
    return population, 60 + 10 * np.log10(macs / macs.min())


def test_k_gnn_predicts_what_it_did_before_it_had_relatives():
    """Numbers of the k-GNN when all of it was one file."""
    population, accuracy = graphs(40)
    predictor = k_gnn.Predictor(epochs=3, learning_rate=1e-3, seed=0).fit(population.take(slice(20)), accuracy[:20])
    before = [67.38534276616309, 67.37625485300404, 67.38912471320039, 67.38648006719025, 67.38254288333675]
    np.testing.assert_allclose(predictor.predict(population)[:5], before, rtol=0, atol=2e-5)


@ALL
def test_learns_from_graphs(module):
    population, accuracy = graphs(150)
    predictor = module.Predictor(epochs=30, learning_rate=3e-3, seed=0).fit(population.take(slice(100)), accuracy[:100])
    assert spearmanr(predictor.predict(population)[100:], accuracy[100:])[0] > 0.6


@ALL
def test_has_the_size_of_gennape(module):
    population, _ = graphs(2)
    network = module.Predictor(epochs=1, seed=0).fit(population, np.array([80.0, 90.0])).network_
    assert len(network.gnn.convolutions) == 6
    assert {part.out_features for part in network.gnn.modules() if isinstance(part, nn.Linear)} == {32}
    assert [part.out_features for part in network.head if isinstance(part, nn.Linear)] == [32, 32, 32, 32, 1]


@ALL
def test_backends_train_to_the_same_predictions(module):
    population, accuracy = graphs(24)
    one, other = (
        module.Predictor(epochs=2, backend=name, seed=0).fit(population, accuracy).predict(population)
        for name in BACKENDS
    )
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-3)
