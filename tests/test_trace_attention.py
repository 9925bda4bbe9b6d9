"""Attention, tokens and shared weights, traced: the graph computes what the model computes."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from trace_cases import Applies, Masked, Shared, listed, same_function

from archgauge.graphs import cost
from archgauge.graphs.calls import unknown_operations

pytestmark = pytest.mark.usefixtures("one_thread")


class Attention(nn.Module):
    """Multi-head attention as ViT code writes it: one projection for all three, heads folded out of the channels."""

    def __init__(self, width: int, heads: int, fused: bool):
        super().__init__()
        self.heads, self.fused = heads, fused
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        shape = (batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = self.qkv(x).reshape(shape).permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            mixed = F.scaled_dot_product_attention(query, key, value)
        else:
            weights = (query @ key.transpose(-2, -1)) * (width // self.heads) ** -0.5
            mixed = weights.softmax(dim=-1) @ value
        return self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))


class Block(nn.Module):
    def __init__(self, width: int, attention: nn.Module):
        super().__init__()
        self.first, self.second, self.attention = nn.LayerNorm(width), nn.LayerNorm(width, eps=1e-6), attention
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(0.1), nn.Linear(4 * width, width))
        self.scale = nn.Parameter(1e-2 * torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.first(x))
        return x + self.scale * self.mlp(self.second(x))


class Itself(nn.Module):
    """`nn.MultiheadAttention` of a tensor with itself."""

    def __init__(self, width: int, heads: int, **settings):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.settings = settings

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, **self.settings)[0]


class ViT(nn.Module):
    def __init__(self, attention, depth: int = 2, width: int = 32):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 8, 8)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, 17, width))
        self.blocks = nn.Sequential(*(Block(width, attention(width)) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1) + self.positions
        return self.head(self.norm(self.blocks(x))[:, 0])


ATTENTIONS = {
    "plain": lambda width: Attention(width, 4, fused=False),
    "fused": lambda width: Attention(width, 4, fused=True),
    "module": lambda width: Itself(width, 4),
    "module, no weights": lambda width: Itself(width, 4, need_weights=False),
}


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_vision_transformers(attention):
    graph = same_function(ViT(ATTENTIONS[attention]), torch.randn(2, 3, 32, 32))
    names = listed(graph)
    assert names.count("layer_norm") == 5
    assert names.count("gelu") == 2
    assert "attention" in names or names.count("softmax") == 2
    assert names.count("linear") >= 2 * 3 + 1
    # patches, and per block four token projections of MLP (4 + 4) and attention (3 + 1), and the head
    assert cost.macs(graph).tolist() == [16 * 32 * 3 * 64 + 2 * 17 * 12 * 32 * 32 + 320]


def test_the_operations_of_a_vision_transformer_are_known_by_name():
    graph = same_function(ViT(ATTENTIONS["fused"]), torch.randn(2, 3, 32, 32))
    assert unknown_operations(graph) == [] or {each.name for each in unknown_operations(graph)} == {"aten.slice.Tensor"}


def test_pytorchs_own_transformer_layers_are_not_traced_as_one_fused_operation():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    fused = torch.backends.mha.get_fastpath_enabled()
    graph = same_function(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), torch.randn(2, 5, 16))
    assert listed(graph).count("layer_norm") == 4
    assert torch.backends.mha.get_fastpath_enabled() == fused


ATTENTION_SETTINGS = [{}, {"is_causal": True}, {"scale": 0.3}, {"is_causal": True, "scale": 2.0}]


@pytest.mark.parametrize("settings", ATTENTION_SETTINGS)
def test_attention_keeps_its_settings(settings):
    def attends(x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x, 2 * x, x + 1, **settings)

    graph = same_function(Applies(attends), torch.randn(2, 3, 5, 4))
    (kind,) = [graph.kinds[kind] for kind in graph.kind if graph.kinds[kind].operation == "attention"]
    assert kind.settings == {name.removeprefix("is_"): value for name, value in settings.items()}


def _encoder() -> nn.Module:
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 2, enable_nested_tensor=False)


@pytest.mark.parametrize(
    "model",
    [
        Masked(nn.MultiheadAttention(16, 4, batch_first=True), need_weights=True),
        Masked(nn.MultiheadAttention(16, 4, batch_first=True), need_weights=False),
        Masked(_encoder()),
    ],
    ids=["weights", "no weights", "encoder"],
)
def test_padded_tokens_are_left_out(model):
    x, mask = torch.randn(2, 5, 16), torch.tensor([[0, 0, 0, 0, 1], [0, 0, 0, 1, 1]]).bool()
    graph = same_function(model, x, mask)
    assert "zero" not in listed(graph)


def test_zeros_keep_the_type_that_they_are_made_in():
    def bias(ids: Tensor, table: nn.Module) -> Tensor:
        return table(ids) + torch.zeros_like(ids, dtype=torch.float)[..., None].masked_fill(ids[..., None] > 5, -1.5)

    same_function(Applies(bias, nn.Embedding(10, 4)), torch.randint(10, (2, 5)))
    same_function(Applies(lambda x: torch.zeros_like(x, dtype=torch.double).add(x)), torch.randn(2, 5))
    read = Applies(lambda ids, linear: linear(torch.zeros(len(ids), 4)) + ids[:, :3], nn.Linear(4, 3))
    same_function(read, torch.randint(10, (2, 5)))


def test_the_same_view_taken_twice_is_one_node():
    model = Applies(lambda x, a, b: a(x.flatten(1)) + b(x.flatten(1)), nn.Linear(48, 4), nn.Linear(48, 4))
    assert listed(same_function(model, torch.randn(2, 3, 4, 4))).count("reshape") == 1


class TokenModel(nn.Module):
    """Token ids in, a mask made up on the way, the output projection tied to the embedding."""

    def __init__(self, tied: bool):
        super().__init__()
        self.embedding = nn.Embedding(50, 16)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.out = nn.Linear(16, 50)
        if tied:
            self.out.weight = self.embedding.weight

    def forward(self, ids: Tensor) -> Tensor:
        tokens = ids.shape[1]
        x = self.embedding(ids) * math.sqrt(16)
        x = x + torch.sin(torch.arange(tokens)[:, None] / 10 ** torch.linspace(0, 1, 16)[None])
        mask = torch.full((tokens, tokens), float("-inf")).triu(1)
        return self.out(x + self.attention(x, x, x, attn_mask=mask)[0])


@pytest.mark.parametrize("tied", [False, True])
def test_token_ids_and_tied_weights(tied):
    graph = same_function(TokenModel(tied), torch.randint(50, (3, 7)))
    (kind,) = [graph.kinds[kind] for kind in graph.kind if graph.kinds[kind].operation == "input"]
    assert kind.settings == {"dtype": "int64"}
    assert ("embedding" in listed(graph)) is not tied  # tied weights are a constant that both read


def test_a_weight_shared_by_two_different_layers_is_counted_once():
    graph = same_function(Shared(), torch.randn(2, 4, 8, 8))
    assert cost.params(graph).tolist() == [4 * 4 * 9 + 8]
    assert cost.macs(graph).tolist() == [(64 + 64 + 16) * 4 * 4 * 9]
