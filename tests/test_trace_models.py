"""Any PyTorch model: what comes out of the graph computes what the model computes."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from archgauge.errors import GraphError
from archgauge.graphs import cost, meta
from archgauge.graphs.calls import tensors, unknown_operations
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.graph import Graphs
from archgauge.graphs.normal_form import live
from archgauge.graphs.operations import Kind, KindTable, as_extra
from archgauge.graphs.realise import load_weights, realise
from archgauge.graphs.trace import trace, trace_with_state


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def listed(graph: Graphs) -> list[str]:
    return [graph.kinds[kind].operation for kind in graph.kind]


def same_function(model: nn.Module, *inputs: Tensor) -> Graphs:
    """Check that the graph's network with the model's weights computes the same; and the three other promises."""
    for parameter in model.parameters():  # also what is initialised to zeros or ones must arrive
        parameter.data += 0.1 * torch.randn_like(parameter)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    model.eval()
    graph, state = trace_with_state(model, *inputs)
    network = realise(graph).eval()
    load_weights(network, model, state)
    with torch.no_grad():
        expected, got = list(tensors(model(*inputs))), list(tensors(network(*inputs)))
        assert len(got) == len(expected)
        for mine, theirs in zip(got, expected, strict=True):
            torch.testing.assert_close(mine.reshape(theirs.shape), theirs, rtol=1e-5, atol=1e-5)
    counted = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert (cost.params(graph) + graph.params_outside).tolist() == [counted]
    with torch.device("meta"):
        again = trace(realise(graph), *inputs)
    assert canonical_hash(again).tolist() == canonical_hash(graph).tolist()
    return graph


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


class Masked(nn.Module):
    """Attention to the tokens that a mask of truth values leaves."""

    def __init__(self, layer: nn.Module, **settings):
        super().__init__()
        self.layer, self.settings = layer, settings

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        if isinstance(self.layer, nn.MultiheadAttention):
            return self.layer(x, x, x, key_padding_mask=mask, **self.settings)[0]
        return self.layer(x, src_key_padding_mask=mask)


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


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.conv_strided = nn.Conv2d(4, 4, 3, 2, 1)
        self.conv_strided.weight = self.conv.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_strided(self.conv(self.conv(x)))


def test_a_weight_shared_by_two_different_layers_is_counted_once():
    graph = same_function(Shared(), torch.randn(2, 4, 8, 8))
    assert cost.params(graph).tolist() == [4 * 4 * 9 + 8]
    assert cost.macs(graph).tolist() == [(64 + 64 + 16) * 4 * 4 * 9]


class Shuffle(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        x = x.view(batch, 2, channels // 2, height, width).transpose(1, 2).contiguous()
        return x.view(batch, channels, height, width)


class Parts(nn.Module):
    """chunk, split, narrow, select, unbind, stack, in one."""

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, 1)
        third, fourth = torch.split(second, [3, 1], dim=1)
        rows = torch.stack(x.unbind(2), 2).narrow(3, 1, 4)
        return torch.cat([first, third.relu(), fourth], 1).mean((2, 3)) + rows[:, :, 2, 1] + x[:, -1:, 0, 0]


class OneByOne(nn.Module):
    """A gate that squeezes and unsqueezes all the way."""

    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Conv1d(1, 1, 3, padding=1), nn.Linear(8, 8)
        self.norm = nn.BatchNorm1d(8)

    def forward(self, x: Tensor) -> Tensor:
        y = F.adaptive_avg_pool2d(x, 1)
        y = self.down(y.squeeze(-1).transpose(-1, -2)).transpose(-1, -2).unsqueeze(-1)
        y = self.norm(self.up(y.flatten(1))).softmax(1)
        return x * torch.sigmoid(y)[..., None, None].expand_as(x) + y.view(-1, 8, 1, 1)


class ChannelsLast(nn.Module):
    """A ConvNeXt block: linear layers on (B, H, W, C)."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 7, padding=3, groups=8)
        self.norm, self.up, self.down = nn.LayerNorm(8), nn.Linear(8, 32), nn.Linear(32, 8)
        self.gamma = nn.Parameter(torch.ones(8))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x).permute(0, 2, 3, 1))
        return x + (self.gamma * self.down(F.gelu(self.up(y)))).permute(0, 3, 1, 2)


class Windows(nn.Module):
    """Windows folded into the batch, as Swin does, with a relative position bias looked up by a buffer."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(7, 4))
        self.register_buffer("index", torch.randint(7, (16, 16)))

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        x = torch.roll(x, (-2, -2), (1, 2))
        windows = x.view(batch, height // 4, 4, width // 4, 4, channels).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, 4, 2)
        windows = windows.transpose(1, 2)
        bias = self.bias[self.index.view(-1)].view(16, 16, 4).permute(2, 0, 1)
        weights = (windows @ windows.mT + bias[None]).softmax(-1)
        mixed = (weights @ windows).transpose(1, 2).reshape(-1, 4, 4, channels)
        mixed = mixed.view(batch, height // 4, width // 4, 4, 4, channels).permute(0, 1, 3, 2, 4, 5)
        return mixed.reshape(batch, height, width, channels)


class Standardised(nn.Conv2d):
    """A convolution whose weight is computed from parameters."""

    def forward(self, x: Tensor) -> Tensor:
        mean = self.weight.mean((1, 2, 3), keepdim=True)
        deviation = (self.weight - mean).pow(2).mean((1, 2, 3), keepdim=True).sqrt()
        return self._conv_forward(x, (self.weight - mean) / (deviation + 1e-5), self.bias)


class ViewChanged(nn.Module):
    """A tensor that is changed in place through a view of it."""

    def forward(self, x: Tensor) -> Tensor:
        x = x * 2
        x[:, :2] = x[:, 2:4].sigmoid()
        x[:, 3].relu_()
        return x + 1


class _Truncated(torch.autograd.Function):
    """A function with a gradient of its own, and no rule for the transforms of `torch.func`."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return x.clamp(min=0).sqrt()

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        return grad


class OwnFunctionAndViewChanged(nn.Module):
    """A custom function before a tensor is changed in place through a view of it."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(8, 6, 1), nn.BatchNorm2d(6)

    def forward(self, x: Tensor) -> Tensor:
        x = _Truncated.apply(self.norm(self.conv(x)))
        first, second = x.chunk(2, 1)
        first.add_(second)
        return x


class InPlaceUnknown(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x * 2
        z = y.clone()
        z.cumsum_(1)
        return z - y.clamp_(-0.5, 0.5)


class TwoTowers(nn.Module):
    """Several inputs, a nest of outputs, one of them an input."""

    def __init__(self):
        super().__init__()
        self.image, self.text, self.mix = nn.Conv2d(3, 8, 3), nn.LSTM(6, 8, batch_first=True), nn.Bilinear(8, 8, 5)

    def forward(self, image: Tensor, text: Tensor) -> dict:
        seen = self.image(image).amax((2, 3))
        read = self.text(text)[0][:, -1]
        return {"mixed": self.mix(seen, read), "parts": (seen, [read, image])}


class Grids(nn.Module):
    """Everything that resizes."""

    def forward(self, x: Tensor) -> Tensor:
        size = (12, 12)
        return (
            F.interpolate(x, size)
            + F.interpolate(x, scale_factor=1.5, mode="bilinear")
            + F.interpolate(F.adaptive_max_pool2d(x, 4), size, mode="bilinear", align_corners=True)
            + F.interpolate(F.adaptive_avg_pool2d(x, 3), scale_factor=4, mode="nearest")
            + F.adaptive_avg_pool2d(x, 12)
            + F.pixel_shuffle(F.pixel_unshuffle(F.pad(x, (2, 2, 2, 2), mode="reflect"), 2), 2)
        )


LAYERS = {
    "shuffle": (nn.Sequential(nn.Conv2d(4, 8, 1), Shuffle(), nn.Conv2d(8, 4, 1)), (2, 4, 6, 6)),
    "parts": (Parts(), (2, 8, 6, 6)),
    "one by one": (OneByOne(), (2, 8, 5, 5)),
    "channels last": (ChannelsLast(), (2, 8, 5, 6)),
    "windows": (Windows(), (2, 8, 8, 8)),
    "computed weight": (
        nn.Sequential(Standardised(4, 6, 3, bias=True), Standardised(6, 4, 1, bias=False)),
        (2, 4, 5, 5),
    ),
    "view changed": (ViewChanged(), (2, 8, 5, 5)),
    "own function and view changed": (OwnFunctionAndViewChanged(), (2, 8, 5, 5)),
    "unknown in place": (InPlaceUnknown(), (2, 8, 5, 5)),
    "grids": (Grids(), (2, 4, 8, 8)),
    "norms": (
        nn.Sequential(
            *(nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True), nn.InstanceNorm2d(4), nn.PReLU(), nn.PReLU(4)),
            *(nn.LayerNorm([4, 5, 5]), nn.LocalResponseNorm(3), nn.BatchNorm2d(4, eps=1e-3), nn.Softmax(1), nn.Mish()),
            *(nn.GroupNorm(4, 4, eps=1e-3, affine=False), nn.LayerNorm(5, elementwise_affine=False), nn.GELU("tanh")),
            *(nn.BatchNorm2d(4, track_running_stats=False), nn.LayerNorm(5, bias=False), nn.ELU(), nn.Softplus()),
        ),
        (2, 4, 5, 5),
    ),
    "one axis": (nn.Sequential(nn.Conv1d(4, 6, 3), nn.BatchNorm1d(6), nn.AvgPool1d(2), nn.Flatten(1)), (2, 4, 9)),
    "three axes": (
        nn.Sequential(nn.Conv3d(4, 6, 2), nn.BatchNorm3d(6), nn.MaxPool3d(2), nn.Flatten(2)),
        (2, 4, 5, 5, 5),
    ),
    "recurrent": (nn.GRU(4, 6, 2, batch_first=True, bidirectional=True), (2, 5, 4)),
    "padding by name": (
        nn.Sequential(nn.Conv2d(4, 4, 3, padding="same"), nn.Conv2d(4, 4, 3, padding_mode="circular", padding=1)),
        (2, 4, 6, 6),
    ),
    "flat": (
        nn.Sequential(nn.Flatten(), nn.Linear(4 * 36, 7), nn.BatchNorm1d(7), nn.ReLU(inplace=True), nn.Linear(7, 3)),
        (2, 4, 6, 6),
    ),
    "one row": (
        nn.Sequential(nn.Conv2d(4, 6, (1, 6)), nn.BatchNorm2d(6), nn.Sigmoid(), nn.Flatten(2), nn.Softmax(2)),
        (2, 4, 6, 6),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_compute_the_same(name):
    model, shape = LAYERS[name]
    same_function(model, torch.randn(shape))


def test_several_inputs_and_a_nest_of_outputs():
    graph = same_function(TwoTowers(), torch.randn(3, 3, 8, 8), torch.randn(3, 4, 6))
    assert listed(graph).count("input") == 2
    assert listed(graph).count("output") == 4


def test_an_input_without_a_batch():
    class Masked(nn.Module):
        def forward(self, x: Tensor, mask: Tensor, temperature: Tensor) -> Tensor:
            return (x.masked_fill(mask, -1e9) / temperature).softmax(-1)

    same_function(Masked(), torch.randn(3, 5, 7), torch.rand(5, 7) > 0.5, torch.tensor(2.0))


def test_paths_may_depend_on_small_tensors_that_the_pass_makes_up():
    class Depends(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            for rate in torch.linspace(0, 1, 3).tolist():
                x = x * (1 + rate)
            return x if torch.arange(4).sum().item() == 6 else x.cumsum(1)

    assert listed(same_function(Depends(), torch.randn(2, 4))).count("scale") == 3


def test_paths_may_depend_on_a_number_in_a_buffer():
    class Repeats(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("times", torch.tensor(3))

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(int(self.times)):
                x = x.relu() * 2
            return x

    assert listed(same_function(Repeats(), torch.randn(2, 4))).count("relu") == 3
    with pytest.raises(GraphError, match="depends on the values of a tensor"):
        trace(Repeats().to("meta"), torch.zeros(2, 4))


def test_a_made_up_tensor_that_is_repeated_for_each_sample_is_not_allocated():
    class Repeats(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.eye(400).repeat(x.shape[0], 1, 1) @ x

    same_function(Repeats(), torch.randn(2, 400, 3))


def test_a_tensor_that_a_model_keeps_for_itself_is_loaded_too():
    class Keeps(nn.Module):
        def __init__(self):
            super().__init__()
            self.small, self.large, self.row = torch.randn(1, 4, 1, 1), torch.randn(9, 20), torch.randn(1, 21)

        def forward(self, x: Tensor) -> Tensor:
            y = (x * self.small).flatten(1) @ self.large.repeat(4, 1)
            return torch.cat([y, self.row[:, 1:].expand(len(x), -1)], 1)

    same_function(Keeps(), torch.randn(2, 4, 3, 3))


def test_what_a_model_remembers_of_a_pass_is_forgotten():
    class Remembers(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("last", torch.ones(3))
            self.cache = None

        def forward(self, x: Tensor) -> Tensor:
            self.cache, self.last = x + 1, x.mean(0)
            return self.cache

    model = Remembers()
    trace(model, torch.randn(2, 3))
    assert model.cache is None
    assert model.last.tolist() == [1, 1, 1]


def test_unknown_operations_are_listed_with_arguments_and_shapes():
    graph = trace(nn.Sequential(nn.Softplus(2.0), nn.Softplus(2.0), nn.Hardtanh(-2, 2)), torch.zeros(1, 4, 8, 8))
    most, other = unknown_operations(graph)
    assert (most.name, most.nodes, most.inputs, most.outputs) == (
        "aten.softplus.default",
        2,
        ((8, 8, 4),),
        ((8, 8, 4),),
    )
    assert most.arguments == '{"arguments": [{"tensor": 0}, 2.0, 20.0], "keywords": {}}'
    assert other.name == "aten.hardtanh.default"


class _Raises(nn.Module):
    def __init__(self, forward):
        super().__init__()
        self.run = forward

    def forward(self, x):
        return self.run(x)


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda x: x * 2 if x.sum() > 0 else x, r"_Raises, operation \d+ \(aten\..*depends on the values of a tensor"),
        (lambda x: x[x > 0], "depends on the values of a tensor"),
        (lambda x: x.nonzero(), "depends on the values of a tensor"),
        (lambda x: F.linear(x, torch.zeros(5, 5)), r"got \[6, 4\] X \[5, 5\]"),
        (lambda x: x.view(1, 7), r"operation 1 \(aten.view.default\).*shapes, batch axis first; the model must run"),
        (lambda x: [x.relu() for _ in range(len(x))], "operations, as of a loop over the samples"),
        (lambda x: x.unknown, "got AttributeError"),
        (lambda x: "nothing", "no tensor in a result of str"),
    ],
)
def test_a_model_that_cannot_be_traced_is_named_with_operation_and_remedy(forward, message):
    with pytest.raises(GraphError, match=message):
        trace(_Raises(forward), torch.zeros(2, 3, 4))


def _packed(x: Tensor) -> Tensor:
    return nn.utils.rnn.pack_padded_sequence(x, torch.tensor([3, 2]), batch_first=True).data


def _quantised(x: Tensor) -> Tensor:
    return torch.ops.quantized.mul_scalar(x, 2)


@pytest.mark.parametrize(
    ("forward", "remedy"), [(_packed, "without pack_padded_sequence"), (_quantised, "before it was quantised")]
)
def test_the_remedy_fits_what_failed(forward, remedy):
    with pytest.raises(GraphError, match=remedy):
        trace(_Raises(forward), torch.zeros(2, 3, 4))


@pytest.mark.parametrize(
    "call",
    [
        {"name": "aten.from_file.default", "arguments": [{"text": "/etc/passwd"}], "keywords": {}},
        {"name": "aten.save.default", "arguments": [], "keywords": {}},
        {"name": "os.system.default", "arguments": [{"text": "true"}], "keywords": {}},
        {"name": "aten.__class__.mro", "arguments": [], "keywords": {}},
        {"name": "aten.relu", "arguments": [], "keywords": {}},
        {"name": "aten.relu.default", "arguments": [{"unknown": "x"}], "keywords": {}},
    ],
)
def test_a_graph_can_only_call_operations_on_tensors(call):
    kinds = KindTable([Kind("other", (), ((1, 1, 1),), extra=as_extra(**call))])
    from archgauge.graphs.builder import GraphBuilder

    build = GraphBuilder(kinds)
    build.output(build.node(kinds[0], ()))
    with pytest.raises(GraphError, match="the operation of a node to realise at node 0: expected a call of an ATen"):
        realise(build.finish())


def test_weights_of_another_model_are_refused():
    model = nn.Linear(3, 4)
    graph, state = trace_with_state(model, torch.zeros(1, 3))
    with pytest.raises(GraphError, match=r"the weights to load at layers.1.weight from Linear: expected the model"):
        load_weights(realise(graph), nn.Linear(3, 5), state)
    with pytest.raises(GraphError, match="got none of that name"):
        load_weights(realise(graph), nn.ReLU(), state)


class Applies(nn.Module):
    """A function of the input, and of modules where there are some."""

    def __init__(self, function, *parts: nn.Module):
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(parts)

    def forward(self, x: Tensor):
        return self.function(x, *self.parts)


def _changed_at_a_list(x: Tensor) -> Tensor:
    x = x.clone()
    x[:, [2, 0]] = 0.0
    x[:, :, [1]] = x.new_tensor([5.0])
    return x


INDICES = {
    "list": lambda x: x[:, [2, 0]],
    "tuple": lambda x: x[:, (2, 0)],
    "range": lambda x: x[:, range(1, 3)],
    "nested": lambda x: x[:, [[2, 0], [1, 1]]],
    "two lists": lambda x: x[:, [2, 0], :, [1, 3]],
    "empty list": lambda x: torch.cat([x, x[:, []]], 1),
    "array": lambda x: x[:, np.array([2, 0])],
    "tensor": lambda x: x[:, torch.tensor([2, 0])],
    "tensor where the input is": lambda x: x[:, torch.tensor([2, 0], device=x.device)],
    "tensor like the input": lambda x: x * x.new_tensor([1, 2, 3, 4, 5, 6]),
    "array where the input is": lambda x: x * torch.as_tensor(np.arange(6.0), device=x.device).to(x),
    "change in place": _changed_at_a_list,
}


@pytest.mark.parametrize("name", INDICES)
def test_numbers_of_python_keep_their_values(name):
    same_function(Applies(INDICES[name]), torch.randn(2, 4, 6, 6))


def test_another_index_is_another_graph():
    x = torch.randn(2, 4, 6, 6)
    model = [Applies(lambda x, index=index: x[:, index]) for index in ([2, 0], [0, 1], [2, 0])]
    first, other, again = (canonical_hash(live(trace(each, x))).tolist() for each in model)
    assert first != other
    assert first == again


def test_a_list_of_parameters_is_read_by_its_numbers():
    model = Applies(lambda x, linear: F.linear(x, linear.weight[[2, 0]]), nn.Linear(4, 3))
    graph, state = trace_with_state(model, torch.zeros(1, 4))
    network = realise(graph)
    load_weights(network, model, state)
    x = torch.randn(3, 4)
    torch.testing.assert_close(network(x), model(x))


class WithWeight(nn.Module):
    """A function of the input and of a bare weight and bias."""

    def __init__(self, function, *sizes: int, trainable: bool = True):
        super().__init__()
        self.function = function
        self.weight, self.bias = nn.Parameter(torch.randn(sizes), trainable), nn.Parameter(torch.randn(sizes[-1]))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.weight, self.bias)


CONVOLUTIONS = [  # by hand: output elements of a sample (input elements where transposed) x what each is multiplied by
    (nn.Conv1d(8, 16, 3, padding=1), (8, 20), 16 * 20 * 8 * 3),
    (nn.Conv1d(8, 16, 5, 2, padding=2, dilation=1, groups=4), (8, 20), 16 * 10 * 2 * 5),
    (nn.Conv1d(8, 16, 4, padding="same"), (8, 20), 16 * 20 * 8 * 4),
    (nn.Conv3d(2, 4, 3, padding=1), (2, 4, 5, 6), 4 * 4 * 5 * 6 * 2 * 27),
    (nn.Conv3d(4, 8, (1, 2, 3), groups=2), (4, 4, 5, 6), 8 * 4 * 4 * 4 * 2 * 6),
    (nn.ConvTranspose1d(8, 6, 4, 2), (8, 20), 8 * 20 * 6 * 4),
    (nn.ConvTranspose3d(4, 6, 2, 2, groups=2), (4, 2, 3, 4), 4 * 24 * 3 * 8),
]


@pytest.mark.parametrize(("model", "sizes", "macs"), CONVOLUTIONS, ids=str)
def test_convolutions_along_any_number_of_axes_are_counted(model, sizes, macs):
    assert cost.macs(same_function(model, torch.randn(2, *sizes))).tolist() == [macs]


@pytest.mark.parametrize(
    ("layer", "macs"), [(nn.Conv2d(4, 6, 3), 6 * 3 * 4 * 4 * 9), (nn.ConvTranspose2d(4, 6, 3), 6480)]
)
def test_a_convolution_of_an_image_without_a_batch_is_counted(layer, macs):
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor, image: Tensor) -> Tensor:
            return x * self.layer(image).mean()

    assert cost.macs(same_function(Shared(), torch.randn(2, 3), torch.randn(4, 5, 6))).tolist() == [macs]


PRODUCTS = {  # function, sizes of the weight, of a sample, multiply-adds by hand
    "mm": (lambda x, weight, bias: x @ weight, (8, 5), (8,), 8 * 5),
    "matmul": (lambda x, weight, bias: x @ weight, (8, 5), (7, 8), 7 * 8 * 5),
    "one output": (lambda x, weight, bias: x @ weight, (8, 1), (7, 8), 7 * 8),
    "addmm": (lambda x, weight, bias: torch.addmm(bias, x, weight), (8, 5), (8,), 8 * 5),
    "scaled addmm": (lambda x, weight, bias: torch.addmm(bias, x, weight, alpha=2), (8, 5), (8,), 8 * 5),
    "einsum": (lambda x, weight, bias: torch.einsum("bnd,de->bne", x, weight), (8, 5), (7, 8), 7 * 8 * 5),
    "einsum by groups": (lambda x, weight, bias: torch.einsum("bgd,gde->bge", x, weight), (3, 8, 5), (3, 8), 3 * 8 * 5),
    "einsum over two": (lambda x, weight, bias: torch.einsum("bgd,gde->be", x, weight), (3, 8, 5), (3, 8), 3 * 8 * 5),
    "bmm": (lambda x, w, b: torch.bmm(x.transpose(0, 1), w).transpose(0, 1), (3, 8, 5), (3, 8), 3 * 8 * 5),
    "baddbmm": (
        lambda x, w, b: torch.baddbmm(b.view(1, 1, 5), x.transpose(0, 1), w).transpose(0, 1),
        (3, 8, 5),
        (3, 8),
        120,
    ),
    "weight first": (lambda x, weight, bias: weight @ x, (6, 7), (7, 8), 6 * 7 * 8),
    "computed weight": (lambda x, weight, bias: x @ (weight * bias), (8, 5), (7, 8), 7 * 8 * 5),
    "two weights": (lambda x, weight, bias: x * (weight @ weight.t()).mean(), (8, 5), (7, 8), 0),
    "two activations": (lambda x, weight, bias: x @ (x * bias).transpose(1, 2), (7, 8), (7, 8), 0),
    "own covariance": (lambda x, weight, bias: torch.einsum("bnd,bmd->bnm", x, x), (8, 5), (7, 8), 0),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_with_a_weight_are_counted_as_linear_layers_are(name):
    function, weight, sizes, macs = PRODUCTS[name]
    graph = same_function(WithWeight(function, *weight), torch.randn(2, *sizes))
    assert cost.macs(graph).tolist() == [macs]


def test_a_product_with_a_weight_is_a_linear_layer():
    for name in ("mm", "matmul", "addmm", "computed weight"):
        function, weight, sizes, _ = PRODUCTS[name]
        assert "linear" in listed(trace(WithWeight(function, *weight), torch.zeros(1, *sizes)))
    frozen = WithWeight(PRODUCTS["mm"][0], 8, 5, trainable=False)
    assert cost.macs(trace(frozen, torch.zeros(1, 8))).tolist() == [40]


def _by_frame(x: Tensor, *layers: nn.Module) -> Tensor:
    frames = nn.Sequential(*layers)(x.flatten(0, 1))
    return frames.mean((2, 3)).view(x.shape[0], x.shape[1], -1).mean(1)


def _by_window(x: Tensor, conv: nn.Module) -> Tensor:
    windows = x.unflatten(2, (2, 4)).unflatten(4, (2, 4)).permute(0, 2, 4, 1, 3, 5).reshape(-1, 3, 4, 4)
    return conv(windows).mean((2, 3)).view(x.shape[0], -1)


def _siamese(x: Tensor, conv: nn.Module) -> Tensor:
    first, second = F.adaptive_avg_pool2d(conv(torch.cat([x[:, :3], x[:, 3:]], 0)), 1).flatten(1).chunk(2, 0)
    return first * second


def _once_and_by_frame(x: Tensor, conv: nn.Module) -> Tensor:
    return conv(x[:, 0]).amax((2, 3)) + conv(x.flatten(0, 1)).amax((2, 3)).view(x.shape[0], x.shape[1], -1).sum(1)


def _of_batch_last(x: Tensor, norm: nn.Module) -> Tensor:
    return norm(x.permute(1, 0, 2, 3)).permute(1, 0, 2, 3)


FOLDED = {  # function, layers, sizes of a sample, multiply-adds by hand, operations
    "video": (_by_frame, [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)], (4, 3, 8, 8), 4 * 36 * 8 * 27, "conv batch_norm"),
    "transposed": (_by_frame, [nn.ConvTranspose2d(3, 6, 3)], (4, 3, 8, 8), 4 * 64 * 3 * 6 * 9, "conv_transpose"),
    "grouped": (_by_frame, [nn.Conv2d(4, 4, 3, groups=4)], (5, 4, 6, 6), 5 * 16 * 4 * 9, "conv"),
    "same": (_by_frame, [nn.Conv2d(3, 5, 2, padding="same")], (4, 3, 6, 6), 4 * 36 * 5 * 12, "pad conv"),
    "group norm": (_by_frame, [nn.GroupNorm(2, 4)], (3, 4, 6, 6), 0, "group_norm"),
    "instance norm": (_by_frame, [nn.InstanceNorm2d(4, affine=True)], (3, 4, 6, 6), 0, "instance_norm"),
    "prelu": (_by_frame, [nn.PReLU(4), nn.PReLU()], (3, 4, 6, 6), 0, "prelu"),
    "crops": (lambda x, conv: conv(x.view(-1, 3, 8, 8)).mean((2, 3)), [nn.Conv2d(3, 5, 3)], (6, 8, 8), 9720, "conv"),
    "windows": (_by_window, [nn.Conv2d(3, 5, 3)], (3, 8, 8), 4 * 4 * 5 * 27, "conv"),
    "siamese": (_siamese, [nn.Conv2d(3, 5, 1)], (6, 4, 4), 2 * 16 * 15, "conv global_avg_pool"),
    "shared": (_once_and_by_frame, [nn.Conv2d(3, 5, 1)], (4, 3, 4, 4), 5 * 16 * 15, "conv max_pool"),
    "batch second": (_of_batch_last, [nn.InstanceNorm2d(4)], (4, 6, 6), 0, "other"),
}


@pytest.mark.parametrize("name", FOLDED)
def test_a_layer_that_runs_over_a_folded_batch_has_its_own_parameters(name):
    function, layers, sizes, macs, operations = FOLDED[name]
    graph = same_function(Applies(function, *layers), torch.randn(2, *sizes))
    assert cost.macs(graph).tolist() == [macs]
    assert set(operations.split()) <= set(listed(graph))
    assert "constant" not in listed(graph)  # also a layer that runs on one image and on several is one


@pytest.mark.parametrize(("groups", "own"), [(4, True), (2, False)])
def test_a_depthwise_convolution_over_frames_is_still_one(groups, own):
    layer = nn.Conv2d(4, 4, 3, groups=groups)
    graph = trace(Applies(lambda x, conv: conv(x.flatten(0, 1)).relu(), layer), torch.zeros(1, 5, 4, 6, 6))
    (kind,) = [graph.kinds[kind] for kind in graph.kind if graph.kinds[kind].operation == "conv"]
    assert (kind.depthwise, kind.copies, kind.params) == (own, 5, sum(each.numel() for each in layer.parameters()))


def test_a_shared_network_over_frames_costs_as_often_as_there_are_frames():
    """By PyTorch's own parameter count, and the multiply-adds of one frame as `torch.utils.flop_counter` has them."""
    network = nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3, groups=2))
    x = torch.randn(2, 7, 3, 12, 12)
    with FlopCounterMode(display=False) as counter:
        network(x[0, :1])
    graph = same_function(Applies(lambda x, net: net(x.flatten(0, 1)), network), x)
    assert cost.macs(graph).tolist() == [7 * counter.get_total_flops() // 2]


def test_a_convolution_whose_weights_are_each_samples_own_is_other():
    def dynamic(x: Tensor, attention: nn.Module, bank: nn.Module) -> Tensor:
        weight = bank(attention(x.mean((2, 3))).softmax(1)).view(-1, 3, 3, 3)
        grouped = F.conv2d(x.reshape(1, -1, *x.shape[2:]), weight, padding=1, groups=x.shape[0])
        return grouped.view(x.shape[0], 4, *x.shape[2:])

    layers = nn.Linear(3, 5), nn.Linear(5, 4 * 27, bias=False)
    graph = same_function(Applies(dynamic, *layers), torch.randn(2, 3, 6, 6))
    assert [each.name for each in unknown_operations(graph)] == ["aten.conv2d.default"]
    assert cost.macs(graph).tolist() == [15 + 5 * 108 + 36 * 4 * 27]


def test_a_layer_whose_tensors_have_other_sizes_reads_them():
    one_bias = WithWeight(lambda x, weight, bias: torch.addmm(bias, x, weight.t()), 5, 5)
    one_bias.bias = nn.Parameter(torch.randn(1))
    assert listed(same_function(one_bias, torch.randn(3, 5))).count("constant") == 2
    table = nn.Embedding(10, 4)
    assert "embedding" in listed(same_function(table, torch.randint(10, (2, 3, 5))))
    assert "embedding" in listed(same_function(table, torch.randint(10, (2, 3, 5, 2))))


BROADCASTS = {
    "normalised vector": lambda x: F.normalize(x.flatten(1), dim=1),
    "normalised tokens": lambda x: F.normalize(x.flatten(2), dim=1),
    "normalised image": lambda x: F.normalize(x, dim=1),
    "sub": lambda x: x - x.mean((2, 3), keepdim=True).expand_as(x),
    "sub from": lambda x: x.amax(1, keepdim=True).expand_as(x) - x,
    "div": lambda x: x / (1 + x.square().mean(1, keepdim=True)).expand_as(x),
    "mul": lambda x: x * x.mean(1, keepdim=True).expand_as(x),
}


@pytest.mark.parametrize("name", BROADCASTS)
def test_an_operand_that_was_expanded_first_comes_back(name):
    same_function(Applies(BROADCASTS[name]), torch.randn(2, 8, 4, 4))


@pytest.mark.parametrize(
    "function", [lambda x: x.clamp(0, 6), lambda x: x.clamp(min=0, max=6), lambda x: (x * 2).clamp_(0.0, 6.0), F.relu6]
)
def test_a_clamp_from_0_to_6_is_relu6(function):
    assert "relu6" in listed(same_function(Applies(function), 9 * torch.randn(2, 4, 5, 5)))


def test_another_clamp_is_none():
    low = Applies(lambda x: x.clamp(min=0) + x.clamp(0, 5) + x.clamp(torch.zeros(1, 4, 5, 5), torch.full((1, 1), 6.0)))
    assert "relu6" not in listed(same_function(low, 9 * torch.randn(2, 4, 5, 5)))


def test_the_largest_element_of_an_image_is_a_pool():
    kept, dropped, adaptive = (
        same_function(Applies(function), torch.randn(2, 4, 5, 6))
        for function in (
            lambda x: x.amax((2, 3), keepdim=True),
            lambda x: x.amax((-1, 2)),
            lambda x: F.adaptive_max_pool2d(x, 1),
        )
    )
    assert listed(kept) == listed(dropped) == listed(adaptive) == ["input", "max_pool", "output"]
    assert canonical_hash(kept).tolist() == canonical_hash(adaptive).tolist()


def test_results_that_are_remembered_lie_in_memory_as_their_inputs_do():
    x = torch.empty(2, 3, 4, 4, device="meta")
    for given in (x, x.transpose(2, 3), x[:, :2], x, x.transpose(2, 3), x[:, :2]):
        result = meta.run(torch.ops.aten.sigmoid.default, (given,), {})
        assert (result.shape, result.stride()) == (given.shape, torch.sigmoid(given).stride())


class _OwnTensor(nn.Module):
    def __init__(self):
        super().__init__()
        self.numbers = torch.ones(6, device="meta")

    def forward(self, x: Tensor) -> Tensor:
        return x * self.numbers


@pytest.mark.parametrize(
    ("model", "got"),
    [
        (_OwnTensor(), r"_OwnTensor: .*got float \[6\] on meta. Register it as a buffer"),
        (Applies(lambda x: x[list(range(len(x)))]), r"Applies: .*grow with the batch, got int64 \['B'\] on cpu"),
    ],
)
def test_a_tensor_without_values_or_as_large_as_the_batch_is_refused(model, got):
    with pytest.raises(GraphError, match=f"neither an input, a result, a parameter nor a buffer at {got}"):
        trace(model, torch.randn(2, 4, 6, 6))


LINEAR = {  # what a linear layer reads whose last axis is not the channels of an image, or the only one that is not 1
    "one column": (lambda x, linear: linear(x.mean((2, 3), keepdim=True)), 1),
    "one column kept": (lambda x, linear: linear(x[:, :, :1, :1]) * x[:, :, :1, :1], 1),
    "one row": (lambda x, linear: linear(x[:, :1, :1]) + x[:, :1, :1, :1], 5),
    "one pixel": (lambda x, linear: linear(x[:, :1, :1, :1]).relu() + x[:, :1, :1, :1], 1),
    "one pixel, pooled": (lambda x, linear: linear(x[:, :1].mean((2, 3), keepdim=True))[..., :1] + x, 1),
    "vector": (
        lambda x, linear: linear(x.mean((2, 3))).relu()[..., None, None] + x.mean((2, 3), keepdim=True)[:, :1],
        4,
    ),
    "flat pixel": (lambda x, linear: linear(F.adaptive_max_pool2d(x, 1).flatten(1)), 4),
}


@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_layer_reads_the_last_axis(name):
    function, size = LINEAR[name]
    graph = same_function(Applies(function, nn.Linear(size, 3)), torch.randn(2, 4, 5, 5))
    assert listed(graph).count("linear") == 1
    same_function(nn.Linear(5, 6), torch.randn(2, 1, 1, 5))


BAGS = [
    nn.EmbeddingBag(10, 4, mode="mean"),
    nn.EmbeddingBag(10, 4, mode="sum", padding_idx=0),
    nn.EmbeddingBag(10, 4, mode="max"),
]


@pytest.mark.parametrize("bag", BAGS, ids=str)
def test_bags_of_embeddings_can_be_realised_and_trained(bag):
    graph = same_function(bag, torch.randint(10, (3, 5)))
    network = realise(graph)
    network(torch.randint(10, (3, 5))).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


TRUTHS = torch.tensor([True, False, True])


class Picks(nn.Module):
    """Channels and pixels that buffers of truth values name."""

    def __init__(self):
        super().__init__()
        self.register_buffer("channels", torch.tensor([True, False, True, True]))
        self.register_buffer("pixels", torch.rand(5, 20) > 0.3)

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, self.channels].clone()
        x[:, TRUTHS] = 0.5
        return x[..., self.pixels]


def test_an_index_of_known_truth_values_is_one_of_places():
    same_function(Picks(), torch.randn(2, 4, 5, 20))
    with pytest.raises(GraphError, match="depends on the values of a tensor"):
        trace(Picks().to("meta"), torch.zeros(2, 4, 5, 20))


OF_THE_BATCH = {
    "one more": lambda x: x * (x.shape[0] + 1),
    "one less": lambda x: x.sum(0, keepdim=True) / (len(x) - 1),
    "elements": lambda x: x + (x.numel() - 1),
    "as a fraction": lambda x: x * float(len(x) + 2),
    "half": lambda x: x.chunk(2)[0].relu(),
    "all but one": lambda x: (x[1:] - x[:-1]).relu(),
    "argument": lambda x: x.clamp(max=x.shape[0] + 1),
}


@pytest.mark.parametrize("name", OF_THE_BATCH)
def test_a_number_that_follows_from_the_batch_is_refused(name):
    with pytest.raises(GraphError, match=r"got ValueError: a number or size .* follows from that of the batch"):
        trace(Applies(OF_THE_BATCH[name]), torch.zeros(3, 4))
    same_function(
        Applies(lambda x: x * 1_000_000 / (x.shape[0] * x.shape[1]) + x.clamp(max=1_000_000)), torch.randn(3, 4)
    )


POOLS = {  # model, input, operations
    "one axis": (nn.MaxPool1d(2), (2, 4, 6), ["max_pool"]),
    "adaptive, one axis": (nn.AdaptiveMaxPool1d(3), (2, 4, 6), ["max_pool"]),
    "adaptive": (nn.AdaptiveMaxPool2d(3), (2, 4, 6, 6), ["max_pool"]),
    "indices": (nn.MaxPool2d(2, return_indices=True), (2, 4, 6, 6), ["other"]),
    "indices, one axis": (nn.MaxPool1d(2, return_indices=True), (2, 4, 6), ["other"]),
    "indices, adaptive": (nn.AdaptiveMaxPool2d(3, return_indices=True), (2, 4, 6, 6), ["other"]),
    "one of two": (
        Applies(lambda x: F.max_unpool2d(*F.max_pool2d(F.max_pool2d(x, 2), 2, return_indices=True), 2)),
        (2, 4, 8, 8),
        ["max_pool", "other", "other"],
    ),
    "values of the indices' pool": (
        Applies(lambda x: F.max_pool2d(x, 2, return_indices=True)[0] + 1),
        (2, 4, 8, 8),
        ["max_pool", "shift"],
    ),
}


@pytest.mark.parametrize("name", POOLS)
def test_a_pool_gives_indices_where_something_reads_them(name):
    model, shape, operations = POOLS[name]
    graph = same_function(model, torch.randn(shape))
    assert [each for each in listed(graph) if each not in ("input", "output", "reshape")] == operations
    assert all(len(graph.kinds[kind].outputs) == 2 for kind in graph.kind if "with_indices" in graph.kinds[kind].extra)


NAMED_PADDING = [  # kernel, dilation, padding by name, [left, right, top, bottom]
    (3, 1, "same", [1, 1, 1, 1]),
    (4, 1, "same", [1, 2, 1, 2]),
    ((3, 4), 1, "same", [1, 2, 1, 1]),
    ((2, 5), 3, "same", [6, 6, 1, 2]),
    ((3, 4), 2, "same", [3, 3, 2, 2]),
    (4, 1, "valid", [0, 0, 0, 0]),
]


@pytest.mark.parametrize(("kernel", "dilation", "name", "frame"), NAMED_PADDING)
def test_padding_by_name_is_padding_by_numbers(kernel, dilation, name, frame):
    x = torch.randn(2, 4, 16, 15)
    model = nn.Conv2d(4, 8, kernel, padding=name, dilation=dilation, groups=2)
    graph = same_function(model, x)
    left, right, top, bottom = frame
    if (left, top) == (right, bottom):
        twin = nn.Conv2d(4, 8, kernel, padding=(top, left), dilation=dilation, groups=2)
    else:
        twin = nn.Sequential(nn.ZeroPad2d(frame), nn.Conv2d(4, 8, kernel, dilation=dilation, groups=2))
    assert canonical_hash(graph).tolist() == canonical_hash(trace(twin, x)).tolist()
    pixels = model(x)[0, 0].numel()
    assert cost.macs(graph).tolist() == [pixels * model.weight.numel()]


@pytest.mark.parametrize(("kernel", "dilation", "name", "frame"), NAMED_PADDING)
def test_padding_by_name_is_the_graph_of_its_onnx_file(kernel, dilation, name, frame, tmp_path):
    pytest.importorskip("onnx")
    from archgauge.graphs.onnx_import import load_onnx

    x, kinds, file = torch.randn(1, 4, 16, 15), KindTable(), tmp_path / "conv.onnx"
    model = nn.Conv2d(4, 8, kernel, padding=name, dilation=dilation).eval()
    torch.onnx.export(model, (x,), file, dynamo=False)
    traced, loaded = trace(model, x, kinds=kinds), load_onnx(file, kinds)
    assert canonical_hash(live(traced)).tolist() == canonical_hash(live(loaded)).tolist()


class _NoInit(nn.Module):
    def __init__(self):
        """Forgets to call that of `nn.Module`."""


@pytest.mark.parametrize(
    ("model", "given", "message"),
    [
        ("resnet", torch.zeros(1, 3), "at the model: expected a torch.nn.Module, got str"),
        (_NoInit(), torch.zeros(1, 3), "got _NoInit. Give the module itself; its __init__ must call that of"),
        (nn.ReLU(), {"x": torch.zeros(1, 3)}, "at ReLU, input 0: expected a tensor, got dict. Wrap the model"),
        (nn.ReLU(), 5, "at ReLU, input 0: expected a tensor, got int"),
        (nn.Sequential(nn.LazyLinear(4)), torch.zeros(1, 3), "at Sequential.0: .*LazyLinear without. Run the model"),
        (nn.DataParallel(nn.ReLU()), torch.zeros(1, 3), "at DataParallel: .* Give the module that it wraps"),
        (nn.LazyBatchNorm2d(), torch.zeros(1, 3), "at LazyBatchNorm2d: expected parameters that have shapes"),
    ],
)
def test_what_is_no_module_or_no_tensor_is_refused(model, given, message):
    with pytest.raises(GraphError, match=f"a model to trace and its inputs.*{message}"):
        trace(model, given)


def test_a_compiled_script_is_refused_and_left_as_it_was():
    x = torch.randn(2, 3)
    model = nn.Sequential(nn.Linear(3, 4), torch.jit.script(nn.Linear(4, 5)))
    before = model(x)
    with pytest.raises(GraphError, match=r"at Sequential.1: expected modules that run in Python, .* before torch.jit"):
        trace(model, x)
    assert torch.equal(model(x), before)
    assert model.training
