"""The networks that a NAS-Bench-201 cell unfolds to (Dong and Yang 2020, section 2.1).

The authors' skeleton: a 3x3 stem of 16 channels, three stages of five cells at 16, 32 and 64 channels, a residual
block of stride 2 between stages, a last BN-ReLU, a global average pool and a classifier on 32x32 images. An operation
with weights is ReLU-conv-BN. Convolutions on dead branches are built, as the benchmark counts them: parameters equal
the published ones on all 15,625 cells, and six 3x3 convolutions make the 220,119,680 MACs that the authors print.

The `flops_M` columns of the collected table count more. On every row they are our MACs, and
- 3 for each output element of a batch normalisation (or 2, and 1 for each of a ReLU: there are equally many),
- the kernel's area (9 in cells, 4 in the residual blocks) for each output element of an average pool,
- H + W + 1 for each of the 64 channels of the global average pool over H x W.
For ImageNet16-120, whose images have 16x16 pixels, a convolution and the first two items are a quarter, the classifier
has 64 * 120 MACs, and the global pool sees 4x4. So six 3x3 convolutions count 222,860,992 on CIFAR-10.

GENNAPE's graphs have a simplified skeleton (its public code): a BN after each average pool, a residual block
conv3x3-ReLU-conv3x3 without BN whose shortcut is a 3x3 average pool of stride 2 and a 1x1 convolution, a ReLU behind
the sum, and no last BN-ReLU.
"""

from collections.abc import Sequence

from archgauge.graphs.builder import GraphBuilder, Value
from archgauge.graphs.graph import Graphs
from archgauge.graphs.operations import KindTable

STAGE_CHANNELS = (16, 32, 64)
CELLS_PER_STAGE = 5
CLASSES = 10
IMAGE_PIXELS = 32


def authors_network(edges: Sequence[tuple[int, int, str]], kinds: KindTable) -> Graphs:
    """Unfold a cell, given as (source, target, official operation) of each edge, into the benchmark's network."""
    build = GraphBuilder(kinds)
    x = build.batch_norm(build.conv(build.input(IMAGE_PIXELS, IMAGE_PIXELS, 3), STAGE_CHANNELS[0], 3))
    for stage, channels in enumerate(STAGE_CHANNELS):
        if stage:
            y = _relu_conv_bn(build, _relu_conv_bn(build, x, channels, 3, 2), channels, 3)
            shortcut = build.pool(x, "avg_pool", 2, stride=2, padding=0)
            x = build.add([y, build.conv(shortcut, channels, 1)])
        for _ in range(CELLS_PER_STAGE):
            x = _cell(build, x, edges, pool_bn=False)
    x = build.same("relu", build.batch_norm(x))
    build.output(build.linear(build.global_avg_pool(x), CLASSES))
    return build.finish()


def gennape_network(edges: Sequence[tuple[int, int, str]], kinds: KindTable) -> Graphs:
    """Unfold a cell into the simplified network of GENNAPE's computation graphs."""
    build = GraphBuilder(kinds)
    x = build.batch_norm(build.conv(build.input(IMAGE_PIXELS, IMAGE_PIXELS, 3), STAGE_CHANNELS[0], 3))
    for stage, channels in enumerate(STAGE_CHANNELS):
        if stage:
            y = build.conv(build.same("relu", build.conv(x, channels, 3)), channels, 3, stride=2)
            shortcut = build.conv(build.pool(x, "avg_pool", 3, stride=2), channels, 1)
            x = build.same("relu", build.add([y, shortcut]))
        for _ in range(CELLS_PER_STAGE):
            x = _cell(build, x, edges, pool_bn=True)
    build.output(build.linear(build.global_avg_pool(x), CLASSES))
    return build.finish()


def _cell(build: GraphBuilder, x: Value, edges: Sequence[tuple[int, int, str]], pool_bn: bool) -> Value:
    last = max(target for _, target, _ in edges)
    nodes = [x]
    for node in range(1, last + 1):
        terms = [operation(build, nodes[source], name, pool_bn) for source, target, name in edges if target == node]
        nodes.append(build.add(terms))
    return nodes[last]


def operation(build: GraphBuilder, x: Value, name: str, pool_bn: bool = False) -> Value:
    """Add one operation of a cell; GENNAPE has a batch norm behind pools."""
    channels = build.shape(x)[2]
    match name:
        case "skip_connect":
            return x
        case "none":
            return build.same("zero", x)
        case "avg_pool_3x3":
            pooled = build.pool(x, "avg_pool", 3)
            return build.batch_norm(pooled) if pool_bn else pooled
    return _relu_conv_bn(build, x, channels, {"nor_conv_1x1": 1, "nor_conv_3x3": 3}[name])


def _relu_conv_bn(build: GraphBuilder, x: Value, channels: int, kernel: int, stride: int = 1) -> Value:
    return build.batch_norm(build.conv(build.same("relu", x), channels, kernel, stride=stride))
