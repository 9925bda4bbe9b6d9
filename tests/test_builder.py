"""The builder: shapes and kinds follow from inputs as PyTorch has them; wrong shapes are named."""

import numpy as np
import pytest
import torch
from torch import nn

from archgauge.errors import GraphError
from archgauge.graphs.builder import GraphBuilder
from archgauge.graphs.operations import Kind, KindTable


def started(height: int = 9, width: int = 7, channels: int = 8):
    build = GraphBuilder(KindTable())
    return build, build.input(height, width, channels)


@pytest.mark.parametrize("kernel", [1, 3, 5, (1, 7)])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2, 8])
def test_the_shape_of_a_convolution_is_pytorchs(kernel, stride, groups):
    build, x = started()
    y = build.conv(x, 16, kernel, stride=stride, groups=groups, bias=True)
    padding = kernel // 2 if isinstance(kernel, int) else tuple(size // 2 for size in kernel)
    layer = nn.Conv2d(8, 16, kernel, stride, padding, groups=groups)
    channels, height, width = layer(torch.zeros(1, 8, 9, 7)).shape[1:]
    assert build.shape(y) == (height, width, channels)
    assert build.kinds[1].params == sum(parameter.numel() for parameter in layer.parameters())
    assert build.kinds[1].macs == height * width * layer.weight.numel()


@pytest.mark.parametrize("operation", ["max_pool", "avg_pool"])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, None), (3, 2, None), (2, 2, 0), (5, 3, 1)])
def test_the_shape_of_a_pool_is_pytorchs(operation, kernel, stride, padding):
    build, x = started()
    y = build.pool(x, operation, kernel, stride=stride, padding=padding)
    layer = {"max_pool": nn.MaxPool2d, "avg_pool": nn.AvgPool2d}[operation]
    expected = layer(kernel, stride, kernel // 2 if padding is None else padding)(torch.zeros(1, 8, 9, 7))
    assert build.shape(y) == (*expected.shape[2:], 8)


def test_shapes_of_the_other_operations():
    build, x = started()
    assert build.shape(build.batch_norm(x)) == build.shape(build.same("silu", x)) == (9, 7, 8)
    assert build.shape(build.slice(x, "channels", 0, 3)) == (9, 7, 3)
    assert build.shape(build.concat([x, build.slice(x, "channels", 0, 3), x])) == (9, 7, 19)
    assert build.shape(build.global_avg_pool(x)) == (1, 1, 8)
    assert build.shape(build.linear(build.global_avg_pool(x), 10)) == (1, 1, 10)
    assert build.shape(build.constant((1, 1, 5), True)) == (1, 1, 5)
    split = build.node(Kind("other", ((9, 7, 8),), ((9, 7, 6), (9, 7, 2))), (x,))
    assert build.shape((split, 1)) == (9, 7, 2)
    assert build.shape(build.same("relu", (split, 1))) == (9, 7, 2)


def test_parameters_of_kinds():
    build, x = started()
    pooled = build.global_avg_pool(x)
    for value, expected in [
        (build.linear(pooled, 10), 90),
        (build.linear(pooled, 10, bias=False), 80),
        (build.batch_norm(x), 16),
        (build.batch_norm(x, affine=False), 0),
        (build.constant((2, 3, 5), True), 30),
        (build.constant((2, 3, 5), False), 0),
        (build.same("relu", x), 0),
    ]:
        assert build.kinds[build.finish().kind[value]].params == expected


def test_one_value_needs_no_sum_and_no_concatenation():
    build, x = started()
    assert build.add([x]) == x
    assert build.concat([x]) == x


@pytest.mark.parametrize(
    ("combine", "values", "message"),
    [
        ("add", "xy", r"the shapes of a sum at node 2: expected one shape, got \[\(9, 7, 3\), \(9, 7, 8\)\]\. Project"),
        ("add", "", "the shapes of a sum at node 2: expected one shape, got no values"),
        ("concat", "xz", r"the shapes of a concatenation at node 3: expected one height and width, got \[\(9, 7, 8\)"),
        ("concat", "", "expected one height and width, got no values. Bring the inputs to one resolution"),
    ],
)
def test_wrong_shapes_are_named(combine, values, message):
    build, x = started()
    made = {"x": x, "y": build.slice(x, "channels", 0, 3)}
    if "z" in values:
        made["z"] = build.conv(x, 8, 3, stride=2)
    with pytest.raises(GraphError, match=message):
        getattr(build, combine)([made[name] for name in values])


def test_equal_requests_make_one_kind():
    kinds = KindTable()
    for _ in range(2):
        build = GraphBuilder(kinds)
        x = build.input(9, 7, 8)
        for _ in range(3):
            x = build.batch_norm(build.same("relu", build.conv(x, 8, 3)))
        build.output(build.add([x, build.conv(x, 8, (3, 3)), build.pool(x, "max_pool", 3)]))
    assert [kind.operation for kind in kinds] == ["input", "conv", "relu", "batch_norm", "max_pool", "add", "output"]


def test_a_weight_id_that_one_node_has_is_dropped():
    build, x = started()
    kind = Kind("linear", ((9, 7, 8),), ((9, 7, 8),))
    a = build.node(kind, (x,), weight_id=4)
    b = build.node(kind, (a,), weight_id=4)
    build.output(build.node(kind, (b,), weight_id=9))
    assert build.finish().weight_id.tolist() == [-1, 4, 4, -1, -1]


def test_a_chain_of_sums_is_one_sum():
    build, x = started()
    a, b, c = (build.conv(x, 8, kernel) for kernel in (1, 3, 5))
    build.output(build.add([build.add([a, b]), c]))
    graph = build.finish()
    assert [graph.kinds[kind].operation for kind in graph.kind] == ["input", "conv", "conv", "conv", "add", "output"]
    assert graph.edge_source[graph.edge_target == 4].tolist() == [1, 2, 3]
    assert graph.edge_slot[graph.edge_target == 4].tolist() == [0, 1, 2]
    assert np.array_equal(np.sort(graph.edge_target), graph.edge_target)
