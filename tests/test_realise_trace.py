"""From graph to network and from network to graph: each undoes the other, and costs are those of real layers."""

import gc
from dataclasses import replace

import numpy as np
import pytest
import torch
from graph_cases import random_graph
from torch import nn

from archgauge.errors import GraphError
from archgauge.families import nb101, nb201
from archgauge.graphs import cost
from archgauge.graphs.builder import GraphBuilder
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.graph import Graphs, concatenate, rekind
from archgauge.graphs.normal_form import live
from archgauge.graphs.operations import ACTIVATIONS, Kind, KindTable
from archgauge.graphs.realise import load_weights, realise
from archgauge.graphs.trace import trace, trace_with_state

IMAGE = torch.zeros(1, 3, 32, 32)


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def only(graph: Graphs) -> str:
    (value,) = canonical_hash(graph).tolist()
    return value


def listed(graph: Graphs) -> list[str]:
    return [graph.kinds[kind].operation for kind in graph.kind]


FAMILY_GRAPHS = [
    *(nb101.to_graph(spec) for spec in nb101.sample(12, np.random.default_rng(0))),
    *(nb201.to_graph(spec) for spec in nb201.sample(12, np.random.default_rng(1))),
    *(nb201.to_graph(spec, skeleton="gennape") for spec in nb201.sample(8, np.random.default_rng(2))),
]


@pytest.mark.parametrize("number", range(len(FAMILY_GRAPHS)))
def test_tracing_the_realised_graph_gives_the_graph_back(number):
    graph = FAMILY_GRAPHS[number]
    with torch.device("meta"):
        model = realise(graph)
    back = trace(model, IMAGE)
    assert only(back) == only(graph)
    assert only(live(back)) == only(live(graph))
    again = trace(realise(back).to("meta"), IMAGE)
    assert only(again) == only(graph)
    counted = sum(parameter.numel() for parameter in model.parameters())
    assert cost.params(graph).tolist() == cost.params(back).tolist() == [counted]
    assert cost.macs(graph).tolist() == cost.macs(back).tolist()
    assert back.params_outside.tolist() == [0]


class Mixed(nn.Module):
    """Convolution, normalisation, a bare parameter, and a constant that the pass makes up in the input's type."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.scale = nn.Parameter(torch.randn(1, 4, 1, 1), requires_grad=False)

    def forward(self, x):
        shift = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=x.dtype).view(1, 4, 1, 1)
        return self.norm(self.conv(x)) * self.scale + shift


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_loaded_weights_keep_their_type(dtype):
    torch.manual_seed(0)
    model, x = Mixed().to(dtype).eval(), torch.randn(2, 3, 8, 8, dtype=dtype)
    graph, state = trace_with_state(model, x)
    network = realise(graph).eval()
    load_weights(network, model, state)
    assert network(x).dtype == dtype
    assert torch.equal(network(x), model(x))


def test_frozen_layers_count_and_frozen_bare_parameters_do_not():
    for frozen, bare in ((False, 4), (True, 0)):
        model = Mixed().requires_grad_(not frozen)
        assert cost.params(trace(model, torch.zeros(1, 3, 8, 8))).tolist() == [4 * 27 + 4 + 8 + bare]


@pytest.mark.parametrize("sharing", [False, True])
def test_random_graphs_come_back(sharing):
    rng, kinds = np.random.default_rng(3), KindTable()
    for _ in range(60):
        graph = live(random_graph(rng, int(rng.integers(2, 20)), kinds, sharing=sharing))
        if "input" not in listed(graph):
            continue
        back = trace(realise(graph), torch.zeros(1, 4, 8, 8), kinds=kinds)
        assert only(back) == only(graph)
        assert cost.params(back).tolist() == cost.params(graph).tolist()


@pytest.mark.parametrize("operation", ACTIVATIONS)
def test_activations_come_back(operation):
    build = GraphBuilder(KindTable())
    build.output(build.same(operation, build.conv(build.input(8, 8, 3), 4, 3, stride=2, bias=True)))
    graph = build.finish()
    assert only(trace(realise(graph), torch.zeros(1, 3, 8, 8))) == only(graph)


@pytest.mark.parametrize("graph", [FAMILY_GRAPHS[i] for i in (0, 12, 24)], ids=["nb101", "nb201", "gennape"])
def test_forward_and_backward_reach_every_living_layer(graph):
    """Gradients are finite everywhere, and there is none on a dead branch."""
    torch.manual_seed(0)
    model = realise(live(graph)).train()
    loss = model(torch.randn(2, 3, 32, 32)).square().sum()
    assert torch.isfinite(loss)
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_tracing_leaves_the_model_as_it_was():
    model = realise(FAMILY_GRAPHS[13])
    model.train()
    frozen = next(module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm))
    frozen.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    training = [module.training for module in model.modules()]
    pointers = [parameter.data_ptr() for parameter in model.parameters()]
    trace(model, IMAGE)
    assert [module.training for module in model.modules()] == training
    assert [parameter.data_ptr() for parameter in model.parameters()] == pointers
    assert all(parameter.grad is None for parameter in model.parameters())
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_a_model_without_weights_in_memory_can_be_traced():
    """1.6 TB of weights on the meta device: nothing is allocated."""
    with torch.device("meta"):
        model = nn.Linear(640_000, 640_000)
    assert cost.params(trace(model, torch.zeros(1, 640_000, device="meta"))).tolist() == [640_000**2 + 640_000]


def test_a_failing_model_is_left_in_training_mode():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(5)).train()
    with pytest.raises(GraphError, match="the forward pass of a model to trace at Sequential"):
        trace(model, IMAGE)
    assert gc.isenabled()
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize(
    ("model", "example", "message"),
    [
        (
            nn.Conv2d(3, 4, 3),
            torch.zeros(1, 5, 8, 8),
            r"inputs of shape \[\(1, 5, 8, 8\)\], got RuntimeError.*Check the",
        ),
        (nn.Linear(3, 4), torch.zeros(1, 5), "the forward pass of a model to trace at Linear"),
        (nn.Bilinear(3, 4, 5), torch.zeros(1, 3), "got TypeError"),
    ],
)
def test_a_model_that_does_not_run_is_named(model, example, message):
    with pytest.raises(GraphError, match=message):
        trace(model, example)


class _Twice(nn.Module):
    def __init__(self, layers: int):
        super().__init__()
        self.first = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.second = self.first if layers == 1 else nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        return self.second(self.norm(self.norm(self.first(x))))


def test_shared_weights_are_one_weight_counted_once():
    one, two = (trace(_Twice(layers), torch.zeros(1, 4, 8, 8)) for layers in (1, 2))
    assert (cost.params(one).item(), cost.params(two).item()) == (148 + 8, 2 * 148 + 8)
    assert cost.macs(one).tolist() == cost.macs(two).tolist() == [2 * 64 * 4 * 4 * 9]
    assert only(one) != only(two)
    convs = one.weight_id[one.having("conv")]
    assert convs[0] == convs[1] >= 0
    assert set(two.weight_id[two.having("conv")]) == {-1}
    for graph, layers in ((one, 1), (two, 2)):
        back = realise(graph)
        assert sum(isinstance(layer, nn.Conv2d) for layer in back.modules()) == layers
        assert only(trace(back, torch.zeros(1, 4, 8, 8))) == only(graph)


class _WithHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 4, 1)
        self.auxiliary = nn.Linear(4, 10)
        self.scale = nn.Parameter(torch.ones(1, 4, 1, 1))
        self.unused = nn.Parameter(torch.ones(7), requires_grad=False)
        self.register_buffer("shift", torch.ones(1, 4, 1, 1))

    def forward(self, x):
        x = self.body(x) * self.scale + self.shift
        return (x, self.auxiliary(x.mean((2, 3)))) if self.training else x


def test_parameters_off_the_forward_path_are_counted_apart_and_bare_ones_are_constants():
    graph = trace(_WithHead().train(), torch.zeros(1, 3, 8, 8))
    assert graph.params_outside.tolist() == [50]
    assert cost.params(graph).tolist() == [16 + 4]
    constants = [graph.kinds[kind] for kind in graph.kind if graph.kinds[kind].operation == "constant"]
    assert [(kind.outputs, kind.params) for kind in constants] == [(((1, 1, 4),), 4), (((1, 1, 4),), 0)]
    back = realise(graph)
    assert back(torch.ones(2, 3, 8, 8)).shape == (2, 4, 8, 8)
    assert only(trace(back, torch.zeros(1, 3, 8, 8))) == only(graph)


class _Unknown(nn.Module):
    def forward(self, x):
        values, places = torch.cumsum(x, 2).sort(1)
        return torch.relu(values) + places


def test_unknown_operations_are_other_nodes_with_their_name():
    graph = trace(_Unknown(), torch.zeros(1, 4, 8, 8))
    others = [graph.kinds[kind] for kind in graph.kind if graph.kinds[kind].operation == "other"]
    assert "aten.cumsum" in others[0].extra
    assert others[1].outputs == ((8, 8, 4), (8, 8, 4))
    assert sorted(graph.edge_output.tolist())[-1] == 1
    x = torch.randn(2, 4, 8, 8)
    torch.testing.assert_close(realise(graph)(x), _Unknown()(x))


def test_one_graph_is_realised_at_a_time():
    kinds = KindTable()
    both = concatenate([rekind(graph, kinds) for graph in FAMILY_GRAPHS[:2]])
    with pytest.raises(GraphError, match=r"the number of graphs at archgauge.*: expected 1, got 2. Pick one"):
        realise(both)


@pytest.mark.parametrize(
    ("layer", "operation"),
    [
        (nn.Conv2d(4, 4, 3, padding=1, dilation=2), "conv"),
        (nn.Conv2d(4, 8, (1, 7), groups=4, bias=False), "conv"),
        (nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1), "conv_transpose"),
        (nn.MaxPool2d(3, 2, 1), "max_pool"),
        (nn.MaxPool2d(2, 2, ceil_mode=True), "max_pool"),
        (nn.AvgPool2d(3, 1, 1, count_include_pad=False), "avg_pool"),
        (nn.AvgPool2d(3, 1, 1), "avg_pool"),
        (nn.AvgPool2d(2, 2, ceil_mode=True), "avg_pool"),
        (nn.ZeroPad2d((0, 1, 2, 0)), "pad"),
        (nn.UpsamplingNearest2d(scale_factor=2), "upsample"),
        (nn.BatchNorm2d(4, eps=1e-3), "batch_norm"),
        (nn.LeakyReLU(0.2), "leaky_relu"),
        (nn.AvgPool2d(2), "avg_pool"),
        (nn.AdaptiveAvgPool2d(1), "global_avg_pool"),
        (nn.BatchNorm2d(4, affine=False), "batch_norm"),
        (nn.ReLU6(), "relu6"),
        (nn.Hardtanh(), "other"),
        (nn.ReLU(inplace=True), "relu"),
    ],
)
def test_layers_are_known_by_what_they_compute(layer, operation):
    graph = trace(layer, torch.zeros(1, 4, 9, 9))
    assert [name for name in listed(graph) if name != "constant"] == ["input", operation, "output"]
    kind = graph.kinds[graph.kind[-2]]
    assert kind.inputs[0] == (9, 9, 4)
    if operation != "other":
        model, x = realise(graph).eval(), torch.randn(1, 4, 9, 9)
        for mine, theirs in zip(model.parameters(), layer.parameters(), strict=True):
            mine.data = theirs.data
        expected = layer.eval()(x)
        torch.testing.assert_close(model(x).reshape(expected.shape), expected)
        assert only(trace(model, x)) == only(graph)


class _SqueezeExcite(nn.Module):
    """With convolutions on the pooled image, or with linear layers on the pooled vector."""

    def __init__(self, linear: bool):
        super().__init__()
        self.linear = linear
        make = nn.Linear if linear else lambda a, b: nn.Conv2d(a, b, 1)
        self.squeeze, self.excite = make(8, 2), make(2, 8)

    def forward(self, x):
        pooled = x.mean((2, 3), keepdim=not self.linear)
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(pooled))))
        return x * (gate[:, :, None, None] if self.linear else gate)


@pytest.mark.parametrize("linear", [False, True])
def test_squeeze_and_excite_comes_back_and_computes_the_same(linear):
    block, x = _SqueezeExcite(linear), torch.randn(2, 8, 5, 5)
    graph = trace(block, x)
    layer = "linear" if linear else "conv"
    expected = ["input", "global_avg_pool", layer, "relu", layer, "sigmoid", "mul", "output"]
    assert listed(graph) == expected
    model = realise(graph)
    for mine, theirs in zip(model.parameters(), block.parameters(), strict=True):
        mine.data = theirs.data
    torch.testing.assert_close(model(x), block(x))
    assert only(trace(model, x)) == only(graph)


@pytest.mark.parametrize(("first", "last"), [(0, 2), (1, 3), (-2, None), (-3, -1)])
def test_slices_of_channels_come_back(first, last):
    class Slice(nn.Module):
        def forward(self, x):
            return x[:, first:last]

    x = torch.randn(1, 4, 5, 5)
    graph = trace(Slice(), x)
    assert listed(graph) == ["input", "slice", "output"]
    assert torch.equal(realise(graph)(x), x[:, first:last])
    assert only(trace(realise(graph), x)) == only(graph)


def test_linear_layers_over_tokens_count_every_token():
    block = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16, bias=False))
    graph = trace(block, torch.zeros(3, 10, 16))
    assert listed(graph) == ["input", "linear", "gelu", "linear", "output"]
    assert cost.macs(graph).tolist() == [10 * 2 * 16 * 32]
    model = realise(graph)
    assert model(torch.zeros(2, 10, 16)).shape == (2, 10, 16)
    assert only(trace(model, torch.zeros(1, 10, 16))) == only(graph)


def test_the_batch_size_of_the_example_does_not_count():
    graph = FAMILY_GRAPHS[12]
    assert only(trace(realise(graph), torch.zeros(4, 3, 32, 32))) == only(graph)


def test_several_outputs_come_in_order():
    build = GraphBuilder(KindTable())
    x = build.input(8, 8, 3)
    build.output(build.same("relu", x))
    build.output(build.global_avg_pool(x))
    graph = build.finish()
    outputs = realise(graph)(torch.full((2, 3, 8, 8), -1.0))
    assert [tuple(output.shape) for output in outputs] == [(2, 3, 8, 8), (2, 3)]
    assert only(trace(realise(graph), torch.zeros(1, 3, 8, 8))) == only(graph)


def test_a_model_that_changes_a_tensor_in_place_reads_the_changed_one():
    class InPlace(nn.Module):
        def forward(self, x):
            y = x + x
            y.relu_()
            y.add_(x)
            return y

    assert listed(trace(InPlace(), torch.zeros(1, 3, 8, 8))) == ["input", "add", "relu", "add", "output"]


def test_the_same_graph_over_a_given_table_adds_no_kind():
    graph = FAMILY_GRAPHS[0]
    kinds = KindTable(graph.kinds)
    back = trace(realise(graph), IMAGE, kinds=kinds)
    assert back.kinds is kinds
    assert len(kinds) == len(graph.kinds)


def test_frozen_dead_and_outside_parameters_do_not_reach_the_hash():
    graph = FAMILY_GRAPHS[13]
    assert only(replace(graph, params_outside=np.array([5]))) == only(graph)


def test_depthwise_and_dilated_kinds_survive():
    build = GraphBuilder(KindTable())
    x = build.input(9, 9, 6)
    x = build.conv(x, 6, 5, groups=6)
    x = build.node(Kind("conv", ((9, 9, 6),), ((9, 9, 12),), (3, 3), (1, 1), (2, 2), (2, 2), 3, True), (x,))
    build.output(build.batch_norm(x, affine=False))
    graph = build.finish()
    assert only(trace(realise(graph), torch.zeros(1, 6, 9, 9))) == only(graph)
    assert cost.params(graph).tolist() == [6 * 25 + 12 * 2 * 9 + 12]
