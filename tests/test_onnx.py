"""ONNX files against the traces of the models that they were exported from, and bad files."""

import logging
import warnings
from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from archgauge.errors import FormatError, GraphError  # noqa: E402
from archgauge.families import nb101, nb201, transnas_macro, transnas_micro  # noqa: E402
from archgauge.graphs import cost, onnx_import  # noqa: E402
from archgauge.graphs.canonical import canonical_hash  # noqa: E402
from archgauge.graphs.normal_form import live  # noqa: E402
from archgauge.graphs.onnx_import import load_onnx  # noqa: E402
from archgauge.graphs.operations import KindTable  # noqa: E402
from archgauge.graphs.realise import realise  # noqa: E402
from archgauge.graphs.trace import trace  # noqa: E402

WHOLE = {"dynamo": False, "training": torch.onnx.TrainingMode.TRAINING, "do_constant_folding": False}
"""The settings of torch.onnx.export that fold nothing."""

DEPLOYED = {"dynamo": False}
NB201 = nb201.enumerate_specs()["spec"].to_pylist()


@pytest.fixture
def export(tmp_path):
    """Export a model, load the file, and return its graph and the model's trace over one kind table."""

    def run(model, *inputs, **settings):
        path = tmp_path / "model.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logging.disable(logging.WARNING)
            torch.onnx.export(model.eval(), inputs, path, verbose=False, **settings)
            logging.disable(logging.NOTSET)
        kinds = KindTable()
        return load_onnx(path, kinds), trace(model, *inputs, kinds=kinds)

    return run


def same(graphs, others) -> bool:
    return bool((canonical_hash(live(graphs)) == canonical_hash(live(others))).all())


def operations(graph) -> Counter:
    return Counter(graph.kinds[kind].operation for kind in graph.kind.tolist())


def zoo(name):
    return pytest.importorskip("pytorchcv.model_provider").get_model(name)


# Models and their exports

IMAGE = torch.zeros(1, 3, 224, 224)


@pytest.mark.parametrize(
    "name", ["resnet18_wd4", "preresnet18_wd4", "mobilenetv2_wd4", "squeezenet_v1_1", "shufflenet_g3_wd4", "seresnet10"]
)
def test_a_published_network_and_its_export_are_one_graph(name, export):
    model = zoo(name)
    loaded, traced = export(model, IMAGE, **WHOLE)
    assert same(loaded, traced)
    assert cost.params(loaded)[0] == sum(parameter.numel() for parameter in model.parameters())
    assert cost.macs(loaded)[0] == cost.macs(traced)[0] > 0


@pytest.mark.parametrize("settings", [DEPLOYED, {"dynamo": True, "optimize": False}], ids=["script", "dynamo"])
def test_without_normalisation_nothing_is_folded(settings, export):
    assert same(*export(zoo("squeezenet_v1_1"), IMAGE, **settings))


def test_the_unoptimised_new_exporter_keeps_normalisations(export):
    assert same(*export(zoo("resnet10"), IMAGE, dynamo=True, optimize=False))


@pytest.mark.parametrize("name", ["resnet18_wd4", "mobilenetv2_wd4"])
def test_the_export_for_deployment_folds_normalisations_into_convolutions(name, export):
    loaded, traced = export(zoo(name), IMAGE, **DEPLOYED)
    folded = operations(traced)["batch_norm"]
    assert operations(traced) - operations(loaded) == Counter(batch_norm=folded)
    assert not operations(loaded) - operations(traced)
    scales = cost.params(traced)[0] - cost.params(loaded)[0]
    kinds = [traced.kinds[kind] for kind in traced.kind[traced.having("batch_norm")].tolist()]
    assert scales == sum(kind.params for kind in kinds) // 2  # scale and shift become a bias
    assert cost.macs(loaded)[0] == cost.macs(traced)[0]


def test_the_new_exporter_folds_too(export):
    model = zoo("resnet10").eval()
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1)  # it drops zeros and merges equal values
    loaded, traced = export(model, IMAGE, dynamo=True)
    assert operations(traced) - operations(loaded) == Counter(batch_norm=operations(traced)["batch_norm"])
    assert not operations(loaded) - operations(traced)


@pytest.mark.parametrize(
    ("family", "spec", "options", "pixels"),
    [
        (
            nb201,
            "|nor_conv_3x3~0|+|avg_pool_3x3~0|skip_connect~1|+|nor_conv_1x1~0|nor_conv_3x3~1|skip_connect~2|",
            {},
            32,
        ),
        (nb201, NB201[7], {}, 32),
        (nb201, NB201[4321], {}, 32),
        (nb101, nb101.sample(1, np.random.default_rng(0))[0], {}, 32),
        (nb101, nb101.sample(1, np.random.default_rng(1))[0], {}, 32),
        (transnas_micro, "1_21_333", {"resolution": 64}, 64),
        (transnas_macro, "1234", {"resolution": 64}, 64),
        (transnas_macro, "1234", {"resolution": 64, "task": "autoencoder"}, 64),
    ],
)
def test_a_network_of_a_family_comes_back_from_its_export(family, spec, options, pixels, export):
    graph = family.to_graph(spec, **options)
    loaded, traced = export(realise(graph), torch.zeros(1, 3, pixels, pixels), **WHOLE)
    assert cost.params(loaded)[0] == cost.params(graph)[0]
    assert cost.macs(loaded)[0] == cost.macs(graph)[0]
    more = operations(live(traced)) - operations(live(loaded))
    assert set(more) <= {"relu"}  # the exporter computes two ReLUs of one value once
    assert not operations(live(loaded)) - operations(live(traced))
    assert same(loaded, traced) == (not more)


@pytest.mark.parametrize(("family", "spec", "pixels"), [(nb201, NB201[7], 32), (transnas_micro, "1_20_303", 64)])
def test_the_unoptimised_new_exporter_keeps_all_of_a_cell(family, spec, pixels, export):
    graph = family.to_graph(spec, **({} if pixels == 32 else {"resolution": pixels}))
    loaded, traced = export(realise(graph), torch.zeros(1, 3, pixels, pixels), dynamo=True, optimize=False)
    assert same(loaded, traced)


class Images(nn.Module):
    """Most of the vocabulary on images."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, (3, 5), (2, 1), (1, 2), (1, 1), bias=True)
        self.grouped = nn.Conv2d(8, 16, 3, padding=2, dilation=2, groups=4, bias=False)
        self.norm, self.plain = nn.BatchNorm2d(16, eps=1e-3), nn.BatchNorm2d(16, affine=False)
        self.up = nn.ConvTranspose2d(16, 8, 3, 2, 1, output_padding=1)
        self.pools = nn.ModuleList([nn.AvgPool2d(3, 1, 1), nn.AvgPool2d(3, 1, 1, count_include_pad=False)])
        self.hangs = nn.MaxPool2d(3, 2, 0, ceil_mode=True)
        self.prelu = nn.PReLU(8)
        self.gate = nn.Linear(8, 8, bias=False)

    def forward(self, x):
        x = self.plain(torch.relu(self.norm(self.grouped(self.conv(x)))))
        x = self.prelu(self.up(nn.functional.relu6(x)))
        x = self.pools[0](x) + self.pools[1](x) - self.pools[1](torch.tanh(x))
        x = nn.functional.hardswish(nn.functional.gelu(nn.functional.silu(x)))
        x = nn.functional.hardsigmoid(nn.functional.leaky_relu(x, 0.2))
        a, b = x.chunk(2, 1)
        x = torch.cat([b, a], 1) * 0.5 + 1
        x = nn.functional.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
        x = self.hangs(nn.functional.interpolate(x, scale_factor=2))
        gate = torch.sigmoid(self.gate(x.mean((2, 3))))
        x = x * gate[:, :, None, None]
        return x.mean((2, 3)), nn.functional.interpolate(x, scale_factor=2, mode="bilinear")


class Tokens(nn.Module):
    """Tokens with positions, a normalisation, attention by hand, and a shared layer."""

    def __init__(self):
        super().__init__()
        self.table, self.position = nn.Embedding(11, 8), nn.Parameter(torch.rand(1, 5, 8))
        self.norm, self.key, self.out = nn.LayerNorm(8), nn.Linear(8, 8), nn.Linear(8, 8, bias=False)

    def forward(self, words):
        x = self.norm(self.table(words) + self.position)
        key = self.key(x)
        mixed = (x @ key.transpose(1, 2)).softmax(-1) @ self.out(key)
        return self.key(mixed[:, 0])


@pytest.mark.parametrize("settings", [WHOLE, {"dynamo": True}], ids=["script", "dynamo"])
def test_the_vocabulary_on_images(settings, export):
    model = Images()
    if settings is not WHOLE:
        model.plain = nn.BatchNorm2d(16)  # its ones and zeros would be folded to initializers
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1)
    loaded, traced = export(model, torch.zeros(1, 3, 16, 17), **settings)
    missing, more = operations(traced) - operations(loaded), operations(loaded) - operations(traced)
    if settings is WHOLE:
        assert (missing, more) == ({}, {})
        assert same(loaded, traced)
    else:
        assert missing == {"batch_norm": 1}
        assert not more
    assert "other" not in operations(loaded)


def test_tokens(export):
    loaded, traced = export(Tokens(), torch.zeros(1, 5, dtype=torch.int64), **WHOLE)
    assert operations(loaded) == operations(traced)
    assert cost.params(loaded)[0] == cost.params(traced)[0]
    assert same(loaded, traced)


class Does(nn.Module):
    """A function of the input and a layer or a weight."""

    def __init__(self, function, part=None):
        super().__init__()
        self.function, self.part = function, part

    def forward(self, x):
        return self.function(x, self.part)


IMPORTED = {
    "chunk": Does(lambda x, conv: torch.cat(conv(x).chunk(2, 1)[::-1], 1), nn.Conv2d(8, 8, 1)),
    "uneven chunk": Does(lambda x, conv: torch.cat(x.chunk(3, 2)[::-1], 2)),
    "split": Does(lambda x, conv: torch.cat(conv(x).split([3, 5], 1)[::-1], 1), nn.Conv2d(8, 8, 1)),
    "instance norm": nn.InstanceNorm2d(8),
    "affine instance norm": nn.InstanceNorm2d(8, affine=True),
    "largest": Does(lambda x, part: nn.functional.adaptive_max_pool2d(x, 1)),
    "expand_as": Does(lambda x, part: x * x.mean((2, 3), keepdim=True).expand_as(x)),
    "expand": Does(lambda x, part: x - nn.functional.adaptive_avg_pool2d(x, 1).expand(-1, 8, 8, 8)),
}


@pytest.mark.parametrize("settings", [WHOLE, {"dynamo": True, "optimize": False}], ids=["script", "dynamo"])
@pytest.mark.parametrize("name", IMPORTED)
@pytest.mark.parametrize("batch", [1, 2])
def test_parts_normalisations_and_broadcasts_are_those_of_the_trace(name, batch, settings, export):
    loaded, traced = export(IMPORTED[name], torch.zeros(batch, 8, 8, 8), **settings)
    assert same(loaded, traced)
    assert cost.params(loaded).tolist() == cost.params(traced).tolist()


def test_a_clamp_from_0_to_6_is_relu6(export):
    assert same(*export(Does(lambda x, part: x.clamp(0, 6)), torch.zeros(1, 8, 8, 8), **WHOLE))


@pytest.mark.parametrize("limits", [(0, 5), (0, None), (-6, 6), (None, 6)])
def test_another_clamp_is_none(limits, export):
    loaded, traced = export(Does(lambda x, part: x.clamp(*limits)), torch.zeros(1, 8, 8, 8), **WHOLE)
    assert "relu6" not in operations(loaded) + operations(traced)


POOLED = lambda x: nn.functional.adaptive_avg_pool2d(x, 1)  # noqa: E731
UNEQUAL = {  # terms whose values have other numbers of axes than the result
    "convolution and vector": Does(lambda x, conv: conv(POOLED(x)).flatten(1) + x.mean((2, 3)), nn.Conv2d(4, 4, 1)),
    "convolution and bias": Does(lambda x, conv: conv(POOLED(x)).flatten(1) * conv.bias, nn.Conv2d(4, 4, 1)),
    "two convolutions": Does(
        lambda x, conv: conv(POOLED(x)).flatten(1) + conv(x[:, :, :1, :1]).flatten(1), nn.Conv2d(4, 4, 1)
    ),
    "image and vector": Does(lambda x, linear: x.flatten(1) + linear(x.mean((2, 3))), nn.Linear(4, 64)),
    "tokens and image": Does(lambda x, conv: conv(x).flatten(2) - x.flatten(2), nn.Conv2d(4, 4, 1)),
    "image and matrix": Does(lambda x, matrix: x + matrix, nn.Parameter(torch.randn(4, 4))),
}


@pytest.mark.parametrize("settings", [WHOLE, DEPLOYED, {"dynamo": True}], ids=["whole", "deployed", "dynamo"])
@pytest.mark.parametrize("name", UNEQUAL)
def test_terms_of_unequal_rank_are_those_of_the_trace(name, settings, export):
    assert same(*export(UNEQUAL[name], torch.zeros(1, 4, 4, 4), **settings))


def test_a_batch_folded_into_another_axis_is_no_broadcast(export):
    def by_halves(x, conv):
        halves = x.view(len(x), 8, 2, 4, 8).transpose(1, 2).reshape(-1, 8, 4, 8)
        return conv(halves).view(len(x), 2, 8, 4, 8)

    loaded, traced = export(Does(by_halves, nn.Conv2d(8, 8, 3, padding=1)), torch.zeros(1, 8, 8, 8), **WHOLE)
    assert cost.params(loaded).tolist() == cost.params(traced).tolist() == [8 * 8 * 9 + 8]
    assert cost.macs(loaded).tolist() == cost.macs(traced).tolist() == [64 * 8 * 8 * 9]
    assert (
        operations(loaded)
        == operations(traced)
        == {**dict.fromkeys(("input", "permute", "conv", "output"), 1), "reshape": operations(traced)["reshape"]}
    )


FRAMES = nn.ModuleList([nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.PReLU(8), nn.ConvTranspose2d(8, 4, 2)])


@pytest.mark.parametrize("settings", [WHOLE, {"dynamo": True, "optimize": False}], ids=["script", "dynamo"])
@pytest.mark.parametrize("batch", [1, 2])
def test_a_layer_over_frames_has_its_own_parameters_and_the_work_of_all(batch, settings, export):
    model = Does(lambda x, layers: nn.Sequential(*layers)(x.flatten(0, 1)).mean((2, 3)).view(len(x), -1), FRAMES)
    loaded, traced = export(model, torch.zeros(batch, 4, 3, 8, 8), **settings)
    macs = 4 * 36 * 8 * 27 + 4 * 36 * 8 * 4 * 4
    assert cost.macs(loaded).tolist() == cost.macs(traced).tolist() == [macs]
    own = sum(each.numel() for each in FRAMES.parameters())
    assert cost.params(loaded).tolist() == cost.params(traced).tolist() == [own]
    assert operations(loaded) == operations(traced)


def test_one_bias_for_all_channels_is_read(tmp_path):
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Gemm", ["f", "w", "b"], ["y"])]
    graph = load_onnx(write(tmp_path / "m.onnx", nodes, [weight("w", 256, 5), weight("b", 1)]))
    assert cost.params(graph)[0] == 256 * 5 + 1


MULTIPLIES = {
    "conv1d": (nn.Conv1d(8, 16, 3, groups=2), (8, 20), 16 * 18 * 4 * 3),
    "conv3d": (nn.Conv3d(2, 4, 3), (2, 4, 5, 6), 4 * 2 * 3 * 4 * 2 * 27),
    "conv_transpose1d": (nn.ConvTranspose1d(8, 6, 4, 2), (8, 20), 8 * 20 * 6 * 4),
    "matmul": (Does(lambda x, w: x @ w, nn.Parameter(torch.randn(8, 5))), (7, 8), 7 * 8 * 5),
    "weight first": (Does(lambda x, w: w @ x, nn.Parameter(torch.randn(6, 7))), (7, 8), 6 * 7 * 8),
    "grouped": (Does(lambda x, w: x @ w, nn.Parameter(torch.randn(3, 8, 5))), (3, 7, 8), 3 * 7 * 8 * 5),
    "einsum": (Does(lambda x, w: torch.einsum("bgd,gde->bge", x, w), nn.Parameter(torch.randn(3, 8, 5))), (3, 8), 120),
    "two activations": (Does(lambda x, w: x @ x.transpose(1, 2)), (7, 8), 0),
    "own covariance": (Does(lambda x, w: torch.einsum("bnd,bmd->bnm", x, x)), (7, 8), 0),
}


@pytest.mark.parametrize("settings", [WHOLE, {"dynamo": True}], ids=["script", "dynamo"])
@pytest.mark.parametrize("name", MULTIPLIES)
def test_products_with_a_weight_are_counted(name, settings, export):
    model, sizes, macs = MULTIPLIES[name]
    loaded, traced = export(model, torch.zeros(1, *sizes), **settings)
    assert cost.macs(loaded).tolist() == cost.macs(traced).tolist() == [macs]
    assert cost.params(loaded).tolist() == cost.params(traced).tolist()


class Twice(nn.Module):
    """One convolution and one normalisation, run twice each."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)

    def forward(self, x, y):
        return self.norm(torch.relu(self.conv(x))), self.norm(torch.relu(self.conv(y)))


def test_shared_weights_and_several_inputs_and_outputs(export):
    image = torch.zeros(1, 4, 8, 8)
    for settings in (WHOLE, DEPLOYED):
        loaded, traced = export(Twice(), image, image, **settings)
        assert same(loaded, traced)
        assert cost.params(loaded)[0] == 4 * 4 * 9 + 4 + 8
        assert operations(loaded)["input"] == operations(loaded)["output"] == 2


class StartsFrom(nn.Module):
    """A GRU with an initial state that is learnt."""

    def __init__(self):
        super().__init__()
        self.gru, self.state = nn.GRU(5, 6, batch_first=True), nn.Parameter(torch.randn(1, 1, 6))

    def forward(self, x):
        return self.gru(x, self.state.expand(-1, len(x), -1).contiguous())[0]


class Looks(nn.Module):
    """A bias for each pair of positions, looked up in a table."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(19, 4))
        self.register_buffer("index", torch.arange(10)[:, None] - torch.arange(10) + 9)

    def forward(self, x):
        return x + self.table[self.index].permute(2, 0, 1)


NORMED = nn.utils.parametrizations.weight_norm(nn.Linear(8, 9))
OTHERWISE = [  # model, a sample, settings, parameters, those of the file
    (Looks(), (4, 10, 10), WHOLE, 19 * 4, 4 * 10 * 10),
    (NORMED, (8,), WHOLE, 8 * 9 + 9 + 9, 8 * 9 + 9),
    (nn.GRU(5, 6, batch_first=True), (4, 5), {"dynamo": True, "optimize": False}, 234, 234),
    (nn.GRU(5, 6, batch_first=True), (4, 5), {"dynamo": True}, 234, 234 + 2 * 6),
    (StartsFrom(), (4, 5), WHOLE, 240, 234 + 2 * 6),
]


@pytest.mark.parametrize(("model", "sample", "settings", "own", "exported"), OTHERWISE)
def test_what_a_file_counts_otherwise_is_as_the_docstring_says(model, sample, settings, own, exported, export):
    loaded, traced = export(model, torch.zeros(2, *sample), **settings)
    assert (cost.params(traced)[0], cost.params(loaded)[0]) == (own, exported)


def test_equal_initial_values_are_not_shared_weights(export):
    """The exporter merges equal initializers and reaches all but one of them through an Identity."""
    model = nn.Sequential(*(layer for _ in range(3) for layer in (nn.ReLU(), nn.BatchNorm2d(4))))
    loaded, traced = export(model, torch.zeros(1, 4, 8, 8), **DEPLOYED)
    assert same(loaded, traced)
    assert cost.params(loaded)[0] == 24


@pytest.mark.parametrize("batch", [1, 4, "dynamic"])
def test_the_batch_does_not_count(batch, export):
    settings = WHOLE | ({"dynamic_axes": {"x": {0: "n"}}, "input_names": ["x"]} if batch == "dynamic" else {})
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model.append(nn.Linear(4, 2))
    assert same(*export(model, torch.zeros(batch if batch != "dynamic" else 2, 3, 8, 8), **settings))


class Attention(nn.Module):
    """Attention of tokens to themselves, batch first: inside, the batch is the second axis, folded with the heads."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x, need_weights=False)[0]


class Windows(nn.Module):
    """Linear layers in 2 x 2 windows that are folded into the batch, and in a batch that is folded behind channels."""

    def __init__(self):
        super().__init__()
        self.mix, self.back = nn.Linear(6, 6), nn.Linear(4, 4)

    def forward(self, x):
        samples, height, width, channels = x.shape
        x = x.reshape(samples, height // 2, 2, width // 2, 2, channels).permute(0, 1, 3, 2, 4, 5)
        x = self.mix(x.reshape(-1, 4, channels)).reshape(samples, -1, 4, channels)
        x = self.back(x.permute(3, 0, 1, 2).reshape(channels * samples, -1, 4)).relu()
        return x.reshape(channels, samples, -1, 4).permute(1, 2, 3, 0)


class ClassToken(nn.Module):
    """A learnt token before the others."""

    def __init__(self):
        super().__init__()
        self.token, self.out = nn.Parameter(torch.rand(1, 1, 8)), nn.Linear(8, 3)

    def forward(self, x):
        return self.out(torch.cat([self.token.expand(len(x), -1, -1), x], 1))


ENCODER = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 1, enable_nested_tensor=False)


@pytest.mark.parametrize(
    ("model", "sizes", "macs"),
    [
        (Attention(), (7, 16), 7 * 16 * 16 * 4),
        (ENCODER, (7, 16), 7 * 16 * 16 * 4 + 7 * 16 * 32 * 2),
        (Windows(), (4, 6, 6), 24 * 36 + 144 * 4),
        (ClassToken(), (5, 8), 6 * 8 * 3),
    ],
    ids=["attention", "encoder", "windows", "token"],
)
@pytest.mark.parametrize("settings", [WHOLE, DEPLOYED, {"dynamo": True}], ids=["whole", "deployed", "dynamo"])
def test_the_batch_does_not_count_wherever_it_stands(model, sizes, macs, settings, export):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(0.5, 1)  # the new exporter drops zeros and merges equal values
    found = [export(model, torch.zeros(batch, *sizes), **settings) for batch in (1, 2, 4)]
    for loaded, traced in found:
        assert operations(loaded) == operations(found[0][0])
        assert cost.macs(loaded)[0] == cost.macs(traced)[0] == macs
        factor = settings["dynamo"] and (model is ENCODER or isinstance(model, Attention))
        assert cost.params(loaded)[0] == cost.params(traced)[0] + factor
        assert cost.params(traced)[0] == sum(parameter.numel() for parameter in model.parameters())


def test_a_batch_that_cannot_be_followed_is_refused(tmp_path):
    for operation, attributes in (("ReduceSum", {"keepdims": 0}), ("Reshape", {})):
        numbers = np.array([0] if operation == "ReduceSum" else [3, 4, 64])
        nodes = [helper.make_node(operation, ["x", "n"], ["a"], **attributes), helper.make_node("Relu", ["a"], ["y"])]
        shape = (3, 4, 8, 8) if operation == "ReduceSum" else (6, 2, 8, 8)
        path = write(tmp_path / "m.onnx", nodes, [numpy_helper.from_array(numbers, "n")], shape=shape)
        with pytest.raises(GraphError, match=r"the batch of an ONNX file at .*Relu.* one axis of a .* with batch 1"):
            load_onnx(path)


def test_weights_for_each_sample_are_refused(tmp_path):
    different = numpy_helper.from_array(np.arange(2 * 4 * 64, dtype=np.float32).reshape(2, 4, 8, 8), "w")
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    with pytest.raises(GraphError, match=r"the batch of an ONNX file .*missing or differ from sample to sample"):
        load_onnx(write(tmp_path / "m.onnx", nodes, [different], shape=(2, 4, 8, 8)))
    outside = weight("w", 2, 4, 8, 8)
    outside.ClearField("raw_data")
    outside.data_location = TensorProto.EXTERNAL
    outside.external_data.add(key="location", value="weights.bin")
    with pytest.raises(GraphError, match=r"the batch of an ONNX file .*missing or differ from sample to sample"):
        load_onnx(write(tmp_path / "m.onnx", nodes, [outside], shape=(2, 4, 8, 8)))
    graph = load_onnx(write(tmp_path / "m.onnx", nodes, [weight("w", 2, 4, 8, 8)], shape=(2, 4, 8, 8)))
    assert cost.params(graph)[0] == 4 * 64


class TiedEmbedding(nn.Module):
    """An output layer with the weight of the embedding."""

    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(10, 16), nn.Linear(16, 10, bias=False)
        self.out.weight = self.table.weight

    def forward(self, x):
        return self.out(self.table(x))


class TiedConvs(nn.Module):
    """One weight with two biases, and again with another stride."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)
        self.second.weight = self.first.weight

    def forward(self, x):
        return nn.functional.conv2d(self.second(self.first(x)), self.first.weight, stride=2)


@pytest.mark.parametrize(
    ("model", "example"),
    [(TiedEmbedding(), torch.zeros(2, 6, dtype=torch.int64)), (TiedConvs(), torch.zeros(2, 3, 16, 16))],
    ids=["embedding", "convolutions"],
)
@pytest.mark.parametrize("settings", [WHOLE, DEPLOYED, {"dynamo": True}], ids=["whole", "deployed", "dynamo"])
def test_weights_count_once_whoever_reads_them(model, example, settings, export):
    loaded, traced = export(model, example, **settings)
    assert cost.params(loaded)[0] == cost.params(traced)[0] == sum(each.numel() for each in model.parameters())
    assert cost.macs(loaded)[0] == cost.macs(traced)[0]
    if isinstance(model, TiedConvs):
        assert same(loaded, traced)


@pytest.mark.parametrize(("norm", "sizes"), [(nn.BatchNorm1d(8), (8, 20)), (nn.BatchNorm3d(8), (8, 6, 5, 4))])
def test_a_normalisation_of_no_image_is_other_as_in_a_trace(norm, sizes, export):
    loaded, traced = export(nn.Sequential(nn.ReLU(), norm), torch.zeros(2, *sizes), **WHOLE)
    assert cost.params(loaded)[0] == cost.params(traced)[0] == 16
    assert operations(loaded) == operations(traced) == Counter(input=1, relu=1, constant=4, other=1, output=1)


def test_weights_in_another_file_are_not_needed(tmp_path, export):
    loaded, traced = export(nn.Sequential(nn.Conv2d(3, 64, 7), nn.ReLU()), torch.zeros(1, 3, 9, 9), dynamo=True)
    assert same(loaded, traced)
    path = tmp_path / "model.onnx"
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "weights.bin").unlink()
    assert (canonical_hash(load_onnx(path)) == canonical_hash(loaded)).all()


# Files written by hand


def weight(name, *dims):
    return numpy_helper.from_array(np.ones(dims, np.float32), name)


def write(path, nodes, initializers=(), shape=(1, 4, 8, 8), output="y", opset=20, out_shape=None, domains=()):
    """A model of one input x."""
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    result = helper.make_tensor_value_info(output, TensorProto.FLOAT, out_shape)
    graph = helper.make_graph(nodes, "graph", [given], [result], list(initializers))
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    onnx.save(helper.make_model(graph, opset_imports=opsets), path)
    return path


def kinds_of(path):
    graph = load_onnx(path)
    return [graph.kinds[kind] for kind in graph.kind.tolist()]


def test_automatic_and_lopsided_padding(tmp_path):
    path, w = tmp_path / "m.onnx", weight("w", 6, 4, 2, 2)
    for attributes in ({"auto_pad": "SAME_UPPER"}, {"pads": [0, 0, 1, 1]}):
        write(path, [helper.make_node("Conv", ["x", "w"], ["y"], **attributes)], [w])
        _, pad, conv, _ = kinds_of(path)
        assert (pad.operation, pad.settings["frame"]) == ("pad", [0, 1, 0, 1])
        assert (conv.operation, conv.padding, conv.outputs) == ("conv", (0, 0), ((8, 8, 6),))
    write(path, [helper.make_node("Conv", ["x", "w"], ["y"], pads=[0, 1, 2, 0])], [w])  # top, left, bottom, right
    _, pad, conv, _ = kinds_of(path)
    assert (pad.settings["frame"], pad.outputs) == ([1, 0, 0, 2], ((10, 9, 4),))  # left, right, top, bottom
    assert (conv.padding, conv.outputs) == ((0, 0), ((9, 8, 6),))
    write(path, [helper.make_node("Conv", ["x", "w"], ["y"], auto_pad="SAME_LOWER", strides=[2, 2])], [w])
    assert [kind.operation for kind in kinds_of(path)] == ["input", "conv", "output"]
    write(path, [helper.make_node("Conv", ["x", "w"], ["y"], auto_pad="VALID")], [w])
    assert kinds_of(path)[1].outputs == ((7, 7, 6),)


def test_settings_in_attributes_of_old_operators(tmp_path):
    nodes = [
        helper.make_node("Clip", ["x"], ["a"], min=0.0, max=6.0),
        helper.make_node("Slice", ["a"], ["b"], starts=[1, -6], ends=[100, -1], axes=[1, 2]),
        helper.make_node("Pad", ["b"], ["c"], pads=[0, 0, 1, 0, 0, 0, 0, 2]),
        helper.make_node("Upsample", ["c", "s"], ["d"], mode="nearest"),
        helper.make_node("Dropout", ["d"], ["e"]),
        helper.make_node("ReduceMean", ["e"], ["y"], axes=[-1, -2], keepdims=0),
    ]
    scale = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "s")
    found = [
        (kind.operation, kind.settings, kind.outputs)
        for kind in kinds_of(write(tmp_path / "m.onnx", nodes, [scale], opset=9))[1:-1]
    ]
    assert found == [
        ("relu6", {}, ((8, 8, 4),)),
        ("slice", {"axis": "channels", "first": 1, "last": 4}, ((8, 8, 3),)),
        ("slice", {"axis": "height", "first": 2, "last": 7}, ((5, 8, 3),)),
        ("pad", {"frame": [0, 2, 1, 0]}, ((6, 10, 3),)),
        ("upsample", {"scale": 2}, ((12, 20, 3),)),
        ("global_avg_pool", {}, ((1, 1, 3),)),
    ]


def test_an_old_softmax_is_along_all_axes_from_one_on(tmp_path):
    for opset, attributes, operation, settings in (
        (11, {}, "other", {"name": "Softmax", "arguments": [], "keywords": {"axis": 1}}),
        (11, {"axis": 0}, "other", {"name": "Softmax", "arguments": [], "keywords": {"axis": 0}}),
        (11, {"axis": -1}, "softmax", {"axis": 2}),
        (13, {}, "softmax", {"axis": 2}),
        (13, {"axis": 1}, "softmax", {"axis": 1}),
    ):
        nodes = [helper.make_node("Softmax", ["x"], ["y"], **attributes)]
        path = write(tmp_path / "m.onnx", nodes, shape=(1, 5, 4), opset=opset)
        _, kind, _ = kinds_of(path)
        assert (kind.operation, kind.settings) == (operation, settings)
    old = onnx.defs.get_schema("Softmax", 11)
    assert (old.attributes["axis"].default_value.i, old.since_version) == (1, 11)
    assert "it will be coerced into one" in " ".join(old.doc.split())


def test_what_has_no_name_in_the_vocabulary_is_other(tmp_path):
    nodes = [
        helper.make_node("Elu", ["x"], ["a"], alpha=0.5),
        helper.make_node("MaxPool", ["a"], ["b"], kernel_shape=[3, 3], dilations=[2, 2]),
        helper.make_node("Sub", ["one", "b"], ["c"]),
        helper.make_node("Pad", ["c", "pads"], ["y"], mode="reflect"),
    ]
    pads = numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1]), "pads")
    one = numpy_helper.from_array(np.array(1, np.float32), "one")
    settings = [kind.settings for kind in kinds_of(write(tmp_path / "m.onnx", nodes, [pads, one]))[1:-1]]
    assert [each["name"] for each in settings] == ["Elu", "MaxPool", "Sub", "Pad"]
    assert settings[0]["keywords"] == {"alpha": 0.5}
    assert settings[1]["keywords"]["dilations"] == [2, 2]
    assert settings[2]["arguments"] == [1.0]
    assert settings[3] == {"name": "Pad", "arguments": [[0, 0, 1, 1, 0, 0, 1, 1]], "keywords": {"mode": "reflect"}}


def test_an_operator_of_another_domain_needs_a_shape(tmp_path):
    nodes = [helper.make_node("Swirl", ["x"], ["y"], domain="com.example", turns=3)]
    path = write(tmp_path / "m.onnx", nodes, out_shape=[1, 2, 4, 4], domains=["com.example"])
    kind = kinds_of(path)[1]
    assert (kind.settings["name"], kind.settings["keywords"]) == ("com.example::Swirl", {"turns": 3})
    assert kind.outputs == ((4, 4, 2),)
    write(path, [*nodes, helper.make_node("Relu", ["y"], ["z"])], output="z", domains=["com.example"])
    with pytest.raises(GraphError, match=r"the shape of a value .*node z \(Relu\): expected numbers for the axes of y"):
        load_onnx(path)


def test_shape_arithmetic_is_worked_out(tmp_path):
    """A flattening as exporters write it: Shape, Gather, Unsqueeze, Concat, Reshape."""
    numbers = {"zero": np.array(0), "axes": np.array([0]), "rest": np.array([-1])}
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "axes"], ["m"]),
        helper.make_node("Concat", ["m", "rest"], ["t"], axis=0),
        helper.make_node("Reshape", ["x", "t"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["y"], transB=1),
    ]
    constants = [numpy_helper.from_array(value, name) for name, value in numbers.items()]
    path = write(tmp_path / "m.onnx", nodes, [*constants, weight("w", 5, 256), weight("b", 5)], shape=("n", 4, 8, 8))
    graph = load_onnx(path)
    assert operations(graph) == {"input": 1, "reshape": 1, "linear": 1, "output": 1}
    assert cost.params(graph)[0] == 5 * 257


@pytest.mark.parametrize("sizes", [np.array(2), np.array([3, 1])], ids=["equal", "unequal"])
@pytest.mark.parametrize(("place", "axis"), [(-1, 1), (-2, 1), (-1, -3)])
def test_a_place_in_a_sequence_may_count_from_its_end(tmp_path, sizes, place, axis):
    """ONNX, SequenceAt: "Negative value means counting positions from the back"; so do axes."""

    def of(place, axis):
        nodes = [
            helper.make_node("SplitToSequence", ["x", "sizes"], ["s"], axis=axis),
            helper.make_node("SequenceAt", ["s", "place"], ["part"]),
            helper.make_node("Relu", ["part"], ["y"]),
        ]
        constants = [numpy_helper.from_array(sizes, "sizes"), numpy_helper.from_array(np.array(place), "place")]
        return load_onnx(write(tmp_path / "m.onnx", nodes, constants))

    graph, same_part = of(place, axis), of(2 + place, 1)
    assert same(graph, same_part)
    channels = (sizes.tolist() if sizes.ndim else [2, 2])[place]
    relu = next(kind for kind in graph.kinds if kind.operation == "relu")
    assert relu.inputs == ((8, 8, channels),)
    assert not same(graph, of(1 - (2 + place), 1))


# Bad files


def test_a_file_that_is_none_is_refused(tmp_path):
    path = tmp_path / "m.onnx"
    for content in (None, b"", b"no model at all", bytes(range(256)) * 9):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(
            FormatError, match=r"an ONNX file at .*m.onnx: expected one whole model.*export the model again"
        ):
            load_onnx(path)


def test_a_truncated_file_is_refused(tmp_path):
    path = write(tmp_path / "m.onnx", [helper.make_node("Conv", ["x", "w"], ["y"])], [weight("w", 6, 4, 3, 3)])
    whole = path.read_bytes()
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        with pytest.raises((FormatError, GraphError)):
            load_onnx(path)


def test_damage_raises_our_errors_or_none(tmp_path):
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["a"]), helper.make_node("Relu", ["a"], ["y"])]
    path = write(tmp_path / "m.onnx", nodes, [weight("w", 2, 4, 1, 1), weight("b", 2)])
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for place in range(0, len(whole), 2):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ int(rng.integers(1, 256))]) + whole[place + 1 :])
        try:
            load_onnx(path)
        except (FormatError, GraphError):
            continue


@pytest.mark.parametrize(
    "location", ["../weights.bin", "/etc/passwd", "a/../../b", "..\\weights.bin", "C:\\weights.bin"]
)
def test_weights_outside_the_folder_are_refused(tmp_path, location):
    outside = weight("w", 6, 4, 3, 3)
    outside.ClearField("raw_data")
    outside.data_location = TensorProto.EXTERNAL
    outside.external_data.add(key="location", value=location)
    path = write(tmp_path / "m.onnx", [helper.make_node("Conv", ["x", "w"], ["y"])], [outside])
    with pytest.raises(
        FormatError, match=r"where an ONNX file keeps its weights at .*m.onnx, w: .* model's own folder"
    ):
        load_onnx(path)


@pytest.mark.parametrize("shape", [(1, 4, "h", 8), ("n", "c", 8, 8), None, (1, 0, 8, 8)])
def test_an_axis_of_unknown_length_is_refused(tmp_path, shape):
    path = write(tmp_path / "m.onnx", [helper.make_node("Relu", ["x"], ["y"])], shape=shape)
    with pytest.raises(GraphError, match=r"the shape of a network's input at .*, x: .* without dynamic axes"):
        load_onnx(path)


def test_an_attribute_of_another_length_is_refused(tmp_path):
    nodes = [helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], pads=[1])]
    path = write(tmp_path / "m.onnx", nodes, out_shape=[1, 4, 6, 6])
    message = r"reader of ONNX files understands at .*m.onnx, node y \(MaxPool\): .* got ValueError.*check_model"
    with pytest.raises(FormatError, match=message):
        load_onnx(path)


def test_a_fault_of_the_reader_is_said_to_be_one(tmp_path, monkeypatch):
    def fails(run, call):
        raise ValueError("zip() argument 2 is longer than argument 1")

    def fails_between(*_):
        fails(None, None)

    monkeypatch.setitem(onnx_import._HANDLERS, "Relu", fails)
    path = write(tmp_path / "m.onnx", [helper.make_node("Relu", ["x"], ["y"], name="act")])
    with pytest.raises(FormatError, match=r"node act \(Relu\): .*ValueError: zip.* the reader is at fault: report"):
        load_onnx(path)
    monkeypatch.setattr(onnx_import, "_recorded", fails_between)
    with pytest.raises(FormatError, match=r"m.onnx, its inputs, initializers or outputs: .*ValueError: zip"):
        load_onnx(path)


def test_control_flow_is_refused(tmp_path):
    branch = helper.make_graph([], "b", [], [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)])
    truth = numpy_helper.from_array(np.array(True), "t")
    nodes = [helper.make_node("If", ["t"], ["y"], then_branch=branch, else_branch=branch, name="fork")]
    with pytest.raises(
        GraphError, match=r"the operations of an ONNX file at .*node fork \(If\): expected no control flow"
    ):
        load_onnx(write(tmp_path / "m.onnx", nodes, [truth]))


def test_nodes_out_of_order_are_refused(tmp_path):
    nodes = [helper.make_node("Relu", ["a"], ["y"]), helper.make_node("Relu", ["x"], ["a"])]
    with pytest.raises(FormatError, match=r"a value in an ONNX file at .*node y \(Relu\): .* got 'a'"):
        load_onnx(write(tmp_path / "m.onnx", nodes))


def test_a_name_that_stands_twice_is_refused(tmp_path):
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Tanh", ["x"], ["y"])]
    with pytest.raises(FormatError, match=r"the results of an ONNX file's nodes at .*node y \(Tanh\): .* got 'y'"):
        load_onnx(write(tmp_path / "m.onnx", nodes))


def test_an_initializer_that_is_too_short_is_refused(tmp_path):
    short = weight("w", 4)
    short.raw_data = short.raw_data[:-3]
    with pytest.raises(FormatError, match=r"an initializer of an ONNX file at .*, w: expected 4 elements"):
        load_onnx(write(tmp_path / "m.onnx", [helper.make_node("Add", ["x", "w"], ["y"])], [short]))


def test_a_huge_constant_is_not_worked_out(tmp_path):
    size = numpy_helper.from_array(np.array([2**20, 2**20, 2**10]), "n")
    nodes = [helper.make_node("ConstantOfShape", ["n"], ["c"]), helper.make_node("Size", ["c"], ["s"])]
    nodes += [helper.make_node("Relu", ["x"], ["y"])]
    graph = load_onnx(write(tmp_path / "m.onnx", nodes, [size]))
    assert operations(live(graph)) == {"input": 1, "relu": 1, "output": 1}
