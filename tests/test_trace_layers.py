"""Layers with weights, traced: counted as PyTorch counts them, wherever their images and tokens stand."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from trace_cases import Applies, listed, same_function

from archgauge.graphs import cost
from archgauge.graphs.calls import unknown_operations
from archgauge.graphs.realise import realise
from archgauge.graphs.trace import trace

pytestmark = pytest.mark.usefixtures("one_thread")


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
