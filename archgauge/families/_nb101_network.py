"""The network that NAS-Bench-101 trains from a cell (Ying et al. 2019, section 2.2; nasbench/lib/model_builder.py).

A 3x3 stem of 128 channels, three stacks of three cells with the channels doubled and a 2x2 max-pool between stacks, a
global average pool and a classifier of ten classes on 32x32 images. Every convolution is conv-BN-ReLU without bias.

The benchmark's published parameter counts are these on all 30,001 rows that carry them. The `macs` column of the
collected table counts two more for each output element of a batch normalisation, on every row.
"""

from collections.abc import Sequence

from archgauge.cells import Cell
from archgauge.graphs.builder import GraphBuilder, Value
from archgauge.graphs.graph import Graphs
from archgauge.graphs.operations import KindTable

STEM_CHANNELS = 128
STACKS = 3
CELLS_PER_STACK = 3
CLASSES = 10
IMAGE_PIXELS = 32


def network(cell: Cell, kinds: KindTable) -> Graphs:
    """Unfold a pruned cell into its computation graph."""
    build = GraphBuilder(kinds)
    x = _conv_bn_relu(build, build.input(IMAGE_PIXELS, IMAGE_PIXELS, 3), STEM_CHANNELS, 3)
    for stack in range(STACKS):
        if stack:
            x = build.pool(x, "max_pool", 2, stride=2, padding=0)
        for _ in range(CELLS_PER_STACK):
            x = _module(build, x, STEM_CHANNELS << stack, cell)
    build.output(build.linear(build.global_avg_pool(x), CLASSES))
    return build.finish()


def vertex_channels(before: int, after: int, cell: Cell) -> list[int]:
    """Channels of each vertex (model_builder.compute_vertex_channels).

    Vertices that feed the output share its channels, the first ones taking the remainder; any other vertex has the
    most that a reader of it has, and readers with fewer take its first channels.
    """
    last = len(cell.operations) - 1
    readers = _readers(cell)
    width = [before] + [0] * (last - 1) + [after]
    ends = [vertex for vertex in range(1, last) if last in readers[vertex]]
    for place, vertex in enumerate(ends):
        width[vertex] = after // len(ends) + (place < after % len(ends))
    for vertex in range(last - 1, 0, -1):
        if last not in readers[vertex]:
            width[vertex] = max(width[reader] for reader in readers[vertex])
    return width


def _module(build: GraphBuilder, x: Value, channels: int, cell: Cell) -> Value:
    last = len(cell.operations) - 1
    readers = _readers(cell)
    width = vertex_channels(build.shape(x)[2], channels, cell)
    values = [x]
    for vertex in range(1, last):
        terms = [_truncated(build, values[s], width[vertex]) for s in range(1, vertex) if vertex in readers[s]]
        if vertex in readers[0]:
            terms.append(_conv_bn_relu(build, x, width[vertex], 1))
        values.append(operation(build, build.add(terms), cell.operations[vertex], width[vertex]))
    ends = [values[vertex] for vertex in range(1, last) if last in readers[vertex]]
    terms = [build.concat(ends)] if ends else []
    if last in readers[0]:
        terms.append(_conv_bn_relu(build, x, channels, 1))
    return build.add(terms)


def operation(build: GraphBuilder, x: Value, name: str, channels: int) -> Value:
    """Add one operation of a cell."""
    if name == "maxpool3x3":
        return build.pool(x, "max_pool", 3)
    return _conv_bn_relu(build, x, channels, {"conv3x3": 3, "conv1x1": 1}[name])


def _truncated(build: GraphBuilder, x: Value, channels: int) -> Value:
    return x if build.shape(x)[2] == channels else build.slice(x, "channels", 0, channels)


def _conv_bn_relu(build: GraphBuilder, x: Value, channels: int, kernel: int) -> Value:
    return build.same("relu", build.batch_norm(build.conv(x, channels, kernel)))


def _readers(cell: Cell) -> Sequence[set[int]]:
    readers: list[set[int]] = [set() for _ in cell.operations]
    for source, target in cell.edges:
        readers[source].add(target)
    return readers
