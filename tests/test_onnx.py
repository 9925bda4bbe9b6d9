"""ONNX files against the traces of the models that they were exported from, and bad files."""

from collections import Counter

import numpy as np
import pytest
import torch
from onnx import helper
from onnx_cases import DEPLOYED, WHOLE, operations, same, weight, write
from torch import nn

from archgauge.families import nb101, nb201, transnas_macro, transnas_micro
from archgauge.graphs import cost
from archgauge.graphs.normal_form import live
from archgauge.graphs.onnx_import import load_onnx
from archgauge.graphs.realise import realise

NB201 = nb201.enumerate_specs()["spec"].to_pylist()


def zoo(name):
    return pytest.importorskip("pytorchcv.model_provider").get_model(name)


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
