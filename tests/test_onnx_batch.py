"""Axes of the batch and shared weights in ONNX files."""

from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx_cases import DEPLOYED, WHOLE, operations, same, weight, write
from torch import nn

from archgauge.errors import GraphError
from archgauge.graphs import cost
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.onnx_import import load_onnx


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
