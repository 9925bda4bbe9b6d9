"""Pools, clamps and padding, traced."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from trace_cases import Applies, listed, same_function

from archgauge.graphs import cost
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.normal_form import live
from archgauge.graphs.operations import KindTable
from archgauge.graphs.trace import trace

pytestmark = pytest.mark.usefixtures("one_thread")


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
