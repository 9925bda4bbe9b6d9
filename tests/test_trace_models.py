"""Any PyTorch model: what comes out of the graph computes what the model computes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from trace_cases import Applies, listed, same_function

from archgauge.errors import GraphError
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.normal_form import live
from archgauge.graphs.realise import load_weights, realise
from archgauge.graphs.trace import trace, trace_with_state

pytestmark = pytest.mark.usefixtures("one_thread")


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
    graph = trace(Repeats(), torch.zeros(1_000_000, 400, 3, device="meta"))  # 640 GB, repeated
    assert listed(graph).count("matmul") == 1


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


@pytest.mark.parametrize(
    "function", [lambda x: x.clamp(0, 6), lambda x: x.clamp(min=0, max=6), lambda x: (x * 2).clamp_(0.0, 6.0), F.relu6]
)
def test_a_clamp_from_0_to_6_is_relu6(function):
    assert "relu6" in listed(same_function(Applies(function), 9 * torch.randn(2, 4, 5, 5)))


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
