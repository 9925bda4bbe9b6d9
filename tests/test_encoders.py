"""The graph encoder, its Transformer half and the heads against torch's own layers and plain loops."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from memory_store import family_store, random_batch
from torch import nn

from archgauge.encoders import graph_encoder
from archgauge.encoders.graph_encoder import GraphEncoder, GraphEncoderConfig
from archgauge.encoders.node_embedding import NodeEmbedding
from archgauge.errors import ConfigError, FormatError
from archgauge.graphs.features import NodeFeatures
from archgauge.nn.attention import TransformerLayer, dropout, tokens_of
from archgauge.nn.heads import MlpEnsemble, initialise, mlp

SMALL = GraphEncoderConfig(node_width=8, half_width=16, feedforward=24, gnn_layers=2)


@pytest.fixture(scope="module")
def store():
    return family_store("nb201", 12)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(4)


@pytest.fixture
def encoder(generator) -> GraphEncoder:
    return GraphEncoder(SMALL, generator)


def test_node_embedding_sums_table_rows_and_a_linear_map():
    embedding = NodeEmbedding((3, 2), 1, 4)
    found = embedding(torch.tensor([[2, 1]]), torch.tensor([[0.5]]))
    expected = embedding.table.weight[2] + embedding.table.weight[3 + 1]
    expected = expected + 0.5 * embedding.numbers.weight[:, 0] + embedding.numbers.bias
    torch.testing.assert_close(found[0], expected)


def test_tokens_count_the_nodes_of_each_kind():
    batch = random_batch(np.random.default_rng(0), [9, 1, 20], n_kinds=5)
    tokens = tokens_of(batch, 5)
    for graph in range(3):
        kinds = batch.kind[batch.node_offset[graph] : batch.node_offset[graph + 1]]
        here = slice(*tokens.offset[graph : graph + 2].tolist())
        expected = kinds.unique(return_counts=True)
        assert torch.equal(tokens.kind[here], expected[0])
        assert torch.equal(tokens.count[here], expected[1])


def _torch_layer(ours: TransformerLayer, width: int, feedforward: int) -> nn.TransformerEncoderLayer:
    layer = nn.TransformerEncoderLayer(width, ours.heads, feedforward, 0.0, batch_first=True, dtype=torch.float64)
    attention = layer.self_attn
    pairs = [
        (attention.in_proj_weight, ours.project_in.weight),
        (attention.in_proj_bias, ours.project_in.bias),
        (attention.out_proj.weight, ours.project_out.weight),
        (attention.out_proj.bias, ours.project_out.bias),
    ]
    parts = [
        (layer.linear1, ours.feedforward[0]),
        (layer.linear2, ours.feedforward[2]),
        (layer.norm1, ours.attention_norm),
        (layer.norm2, ours.feedforward_norm),
    ]
    pairs += [pair for theirs, mine in parts for pair in ((theirs.weight, mine.weight), (theirs.bias, mine.bias))]
    with torch.no_grad():
        for theirs, mine in pairs:
            theirs.copy_(mine)
    return layer


def test_transformer_on_tokens_equals_torch_on_all_nodes(generator):
    """The mean over the nodes, and its gradient, of torch's own layer run on every graph's nodes, one at a time."""
    batch = random_batch(np.random.default_rng(1), [25, 1, 14], n_kinds=6)
    ours = TransformerLayer(8, 2, 12, 0.1).double()
    initialise(ours, generator)
    theirs = _torch_layer(ours, 8, 12)
    embedded = torch.randn(6, 8, generator=generator, dtype=torch.float64).requires_grad_()
    tokens = tokens_of(batch, 6)
    per_token = ours(embedded.index_select(0, tokens.kind), tokens)[0]
    found = [
        (rows * count[:, None]).sum(0) / count.sum()
        for rows, count in zip(
            per_token.split(tokens.offset.diff().tolist()),
            tokens.count.split(tokens.offset.diff().tolist()),
            strict=True,
        )
    ]
    expected = [
        theirs(embedded[kinds][None])[0].mean(0) for kinds in batch.kind.split(batch.node_offset.diff().tolist())
    ]
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-10)
    gradients = [torch.autograd.grad(torch.stack(x).pow(3).sum(), embedded)[0] for x in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-10)


def test_dropout_keeps_the_mean_and_needs_a_generator(generator):
    x = torch.ones(100_000)
    dropped = dropout(x, 0.1, generator)
    assert dropped.mean().item() == pytest.approx(1, abs=0.01)
    assert (dropped == 0).float().mean().item() == pytest.approx(0.1, abs=0.01)
    assert torch.equal(dropout(x, 0.1, None), x)


def test_twins_differ_in_the_transformer_half_only(encoder, store):
    batch, kinds = store.batch(np.arange(4)), encoder.kind_tensors(store.kinds)
    plain = encoder(batch, kinds)
    one, other = encoder.twins(batch, kinds, torch.Generator().manual_seed(1))
    again = encoder.twins(batch, kinds, torch.Generator().manual_seed(1))
    half = SMALL.half_width
    assert one.shape == (4, encoder.width)
    torch.testing.assert_close(one[:, :half], plain[:, :half])
    torch.testing.assert_close(other[:, :half], plain[:, :half])
    assert not torch.allclose(one[:, half:], other[:, half:])
    assert torch.equal(torch.stack([one, other]), again)


def test_dropout_masks_average_to_the_plain_embedding(encoder, store):
    batch, kinds = store.batch(np.arange(2)), encoder.kind_tensors(store.kinds)
    many = encoder.twins(batch, kinds, torch.Generator().manual_seed(1), copies=400).mean(0)
    torch.testing.assert_close(many, encoder(batch, kinds), rtol=0, atol=0.05)


def test_embedding_does_not_depend_on_the_batch_or_the_order(encoder, store):
    rows = np.array([7, 0, 3, 11, 3])
    found = encoder.embed(store, rows, batch_size=2)
    assert found.shape == (5, encoder.width)
    assert found.dtype == np.float32
    alone = np.concatenate([encoder.embed(store, rows[[place]]) for place in range(5)])
    np.testing.assert_allclose(found, alone, rtol=0, atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 1e-3


def test_embedding_nothing_gives_no_rows(encoder, store):
    assert encoder.embed(store, np.zeros(0, np.int64)).shape == (0, encoder.width)


def test_dgl_and_torch_encoders_agree(store):
    found = [
        GraphEncoder(SMALL, torch.Generator().manual_seed(1), name).embed(store, np.arange(6))
        for name in ("torch", "dgl")
    ]
    np.testing.assert_allclose(*found, rtol=0, atol=1e-5)


def test_default_widths_are_gennapes(generator):
    encoder = GraphEncoder(GraphEncoderConfig(), generator)
    assert encoder.width == 128
    assert len(encoder.gnn.convolutions) == 4


@pytest.mark.parametrize("config", [SMALL, replace(SMALL, features="extended", direction="both", aggregation="mean")])
def test_checkpoint_rebuilds_the_encoder(config, generator, store, tmp_path):
    encoder = GraphEncoder(config, generator)
    encoder.save(tmp_path / "encoder.pt")
    loaded = GraphEncoder.load(tmp_path / "encoder.pt")
    assert loaded.config == config
    rows = np.arange(len(store))
    np.testing.assert_array_equal(loaded.embed(store, rows), encoder.embed(store, rows))


def test_same_seed_same_weights():
    states = [GraphEncoder(SMALL, torch.Generator().manual_seed(3)).state_dict() for _ in range(2)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_damaged_checkpoint_is_refused(content, encoder, tmp_path):
    path = tmp_path / "encoder.pt"
    encoder.save(path)
    path.write_bytes(path.read_bytes()[:-500] if content is None else content)
    with pytest.raises(FormatError, match=r"checkpoint of a graph encoder at .*encoder.pt: expected a file that says"):
        GraphEncoder.load(path)


def test_checkpoint_of_something_else_is_refused(tmp_path):
    torch.save({"format": "another thing"}, tmp_path / "other.pt")
    with pytest.raises(FormatError, match=r"got another thing.*train the encoder again"):
        GraphEncoder.load(tmp_path / "other.pt")


def test_checkpoint_with_code_inside_runs_nothing(tmp_path):
    torch.save({"format": Bomb()}, tmp_path / "bomb.pt")
    with pytest.raises(FormatError, match="UnpicklingError"):
        GraphEncoder.load(tmp_path / "bomb.pt")


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("the checkpoint ran code",)


def test_checkpoint_of_changed_features_is_refused(encoder, tmp_path, monkeypatch):
    encoder.save(tmp_path / "encoder.pt")

    def swapped(kinds):
        found = graph_encoder.feature_sets.gennape(kinds)
        return NodeFeatures(found.categories, found.cardinality, found.numbers, found.names[::-1])

    monkeypatch.setitem(graph_encoder.FEATURES, "gennape", swapped)
    with pytest.raises(FormatError, match=r"'gennape' at .*expected C_out.*got label.*Train the encoder again"):
        GraphEncoder.load(tmp_path / "encoder.pt")


def test_unknown_features_list_the_choices():
    with pytest.raises(ConfigError, match=r"at features: expected one of gennape, extended, got 'gates'"):
        GraphEncoderConfig(features="gates")


def test_mlp_has_the_hidden_layers_of_the_paper(generator):
    shapes = [tuple(part.weight.shape) for part in mlp(128, 1, generator) if isinstance(part, nn.Linear)]
    assert shapes == [(256, 128), (256, 256), (256, 256), (256, 256), (1, 256)]


def test_ensemble_equals_a_loop_over_heads(generator):
    ensemble = MlpEnsemble(5, 3, generator, hidden=(7, 6), outputs=2).double()
    h = torch.randn(4, 5, generator=generator, dtype=torch.float64).requires_grad_()
    membership = torch.rand(4, 3, generator=generator, dtype=torch.float64).requires_grad_()
    expected = torch.zeros(4, 2, dtype=torch.float64)
    for head in range(3):
        x = h
        for layer in range(3):
            x = x @ ensemble.weights[layer][head] + ensemble.biases[layer][head]
            x = x.relu() if layer < 2 else x
        expected = expected + membership[:, head, None] * x
    wanted = [h, membership, *ensemble.parameters()]
    gradients = [torch.autograd.grad(y.square().sum(), wanted) for y in (ensemble(h, membership), expected)]
    torch.testing.assert_close(ensemble(h, membership), expected)
    for mine, other in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, other)
        assert mine.abs().sum() > 0
