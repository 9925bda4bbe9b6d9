"""The networks of TransNAS-Bench-101 (Duan et al. 2021, arXiv 2105.11871): one encoder, seven heads.

The encoder of both spaces: a stem conv3x3 of stride 2 to 32 channels, BN, then ReLU-conv3x3-BN of stride 2 to 64
channels; then modules of two cells each. A module's digit says what its first cell does: 1 nothing, 2 doubles the
channels, 3 halves the resolution, 4 both. Convolutions have no bias. Nothing stands between the last cell and a head.

The heads, with the class counts of the authors' configuration files (NASLib's code has 100 objects and 63 scenes):
- class_object (75), class_scene (47), room_layout (9): global average pool and a linear layer;
- jigsaw (1,000 permutations): nine tiles of 64x64 go through one encoder with shared weights, in the order of the
  inputs; their outputs are concatenated, pooled, and classified;
- segmentsemantic: a decoder of nine convolutions, biased, each with BN and LeakyReLU(0.2) but the bare last one;
- autoencoder, normal: a decoder of fourteen such convolutions that ends in a bare convolution and tanh. They are
  trained against a discriminator, whose 5,168,705 parameters are the graph's `params_outside`.
A decoder's number of upsamplings comes from the width that the encoder declares, which assumes images of 224 pixels;
every architecture of the benchmark makes 256x256 out of 256x256.
"""

from collections.abc import Callable, Iterator

import numpy as np

from archgauge.errors import ConfigError
from archgauge.graphs.builder import GraphBuilder, Value
from archgauge.graphs.graph import Graphs
from archgauge.graphs.operations import WEIGHTED, KindTable

Encoder = Callable[[GraphBuilder, Value], Value]
"""Adds the nodes of an encoder behind an image, and returns its features."""

CLASSES = {"class_object": 75, "class_scene": 47, "room_layout": 9, "jigsaw": 1_000, "segmentsemantic": 17}
TASKS = (*CLASSES, "autoencoder", "normal")
CELLS_PER_MODULE = 2
DISCRIMINATOR_PARAMS = 5_168_705  # biased convolutions 6-64-128-256 of 5x5 and 256-256-512-512-1 of 3x3
TILES = 9

_PIXELS, _TILE_PIXELS = 256, 64
_DECLARED_PIXELS = 224
_STEM_CHANNELS = (32, 64)
_SLOPE = 0.2


def unfold(encoder: Encoder, digits: str, kinds: KindTable | None, task: str, resolution: int | None) -> Graphs:
    """The network of an encoder and the head of a task.

    Args:
        encoder: adds everything from the stem to the last cell.
        digits: one digit a module.
        kinds: the table to build over; a new one by default.
        task: one of `TASKS`, or "encoder" for no head.
        resolution: height and width of the images in pixels; by default 256, and 64 for the tiles of "jigsaw".

    Raises:
        ConfigError: when there is no such task, or the resolution is not positive.
    """
    if task not in (*TASKS, "encoder"):
        raise ConfigError(
            "the task of a network",
            where="families.transnas_micro or families.transnas_macro, graph.task",
            expected=f"one of {', '.join(TASKS)}, or encoder",
            got=repr(task),
            remedy="Name one of these.",
        )
    pixels = (_TILE_PIXELS if task == "jigsaw" else _PIXELS) if resolution is None else resolution
    if pixels < 1:
        raise ConfigError(
            "the resolution of a network's images",
            where="families.transnas_micro or families.transnas_macro, graph.resolution",
            expected="one pixel or more",
            got=resolution,
            remedy="Leave it out to have the benchmark's own.",
        )
    build = GraphBuilder(KindTable() if kinds is None else kinds)
    features = (_tiles if task == "jigsaw" else _image)(build, encoder, pixels)
    match task:
        case "encoder":
            result = features
        case "segmentsemantic":
            result = _segmentation(build, features, _upsamplings(digits))
        case "autoencoder" | "normal":
            build.params_outside = DISCRIMINATOR_PARAMS
            result = _generation(build, features, _upsamplings(digits))
        case _:
            result = build.linear(build.global_avg_pool(features), CLASSES[task])
    build.output(result)
    return build.finish()


def stem(build: GraphBuilder, x: Value) -> Value:
    """Two convolutions of stride 2; no ReLU behind them."""
    first, second = _STEM_CHANNELS
    return relu_conv_bn(build, build.batch_norm(build.conv(x, first, 3, stride=2)), second, 3, 2)


def cells(digits: str) -> Iterator[tuple[int, int]]:
    """Yield (output channels, stride) of each cell of a network."""
    channels = _STEM_CHANNELS[-1]
    for digit in digits:
        channels *= 2 if digit in "24" else 1
        yield channels, 2 if digit in "34" else 1
        yield from [(channels, 1)] * (CELLS_PER_MODULE - 1)


def relu_conv_bn(build: GraphBuilder, x: Value, channels: int, kernel: int, stride: int = 1) -> Value:
    """The benchmark's convolution."""
    return build.batch_norm(build.conv(build.same("relu", x), channels, kernel, stride=stride))


def _image(build: GraphBuilder, encoder: Encoder, pixels: int) -> Value:
    return encoder(build, build.input(pixels, pixels, 3))


def _tiles(build: GraphBuilder, encoder: Encoder, pixels: int) -> Value:
    """Nine inputs through one encoder, concatenated."""
    once = GraphBuilder(build.kinds)
    once.output(_image(once, encoder, pixels))
    graph = once.finish()
    return build.concat([_repeated(build, graph) for _ in range(TILES)])


def _repeated(build: GraphBuilder, graph: Graphs) -> Value:
    """Add the nodes of a graph but its output. A node with state shares it with its other repetitions."""
    values: list[Value] = []
    first = np.searchsorted(graph.edge_target, np.arange(len(graph.kind) + 1))
    for node, row in enumerate(graph.kind.tolist()):
        kind = graph.kinds[row]
        inputs = [values[source] for source in graph.edge_source[first[node] : first[node + 1]]]
        if kind.operation == "output":
            return inputs[0]
        holds_state = kind.operation in WEIGHTED or kind.operation == "batch_norm"
        values.append(build.node(kind, inputs, node if holds_state else -1))
    raise AssertionError("an encoder has an output")


def _upsamplings(digits: str) -> int:
    """floor(log2(256 / the width that the encoder declares))."""
    width = _DECLARED_PIXELS // 4
    for digit in digits:
        width //= 2 if digit in "34" else 1
    return (_PIXELS // width).bit_length() - 1


def _segmentation(build: GraphBuilder, x: Value, upsamplings: int) -> Value:
    """Nine layers: convolutions first, transposed ones last, so that there are `upsamplings` of these."""
    channels = 1024
    x = _decoding(build, x, channels)
    for layer in range(5):
        channels //= 2
        x = _decoding(build, x, channels, upsample=layer >= 6 - upsamplings)
    x = _decoding(build, x, channels, upsample=True)
    return build.conv(x, CLASSES["segmentsemantic"], 3, bias=True)


_GENERATOR = (1024, 1024, 512, 512, 256, 128, 64, 64, 32, 32, 16, 32, 16)
_UPSAMPLED_FROM = {3: 6, 5: 5, 7: 4, 9: 3, 11: 0, 13: 0}
"""Layer, counted from 1 -> it upsamples when there are at least so many upsamplings."""


def _generation(build: GraphBuilder, x: Value, upsamplings: int) -> Value:
    for layer, channels in enumerate(_GENERATOR, start=1):
        x = _decoding(build, x, channels, upsample=upsamplings >= _UPSAMPLED_FROM.get(layer, upsamplings + 1))
    return build.same("tanh", build.conv(x, 3, 3, bias=True))


def _decoding(build: GraphBuilder, x: Value, channels: int, upsample: bool = False) -> Value:
    """A 3x3 convolution, or a transposed one that doubles height and width; BN and LeakyReLU."""
    if upsample:
        x = build.conv_transpose(x, channels, 3, stride=2, padding=1, output_padding=1, bias=True)
    else:
        x = build.conv(x, channels, 3, bias=True)
    return build.leaky_relu(build.batch_norm(x), _SLOPE)
