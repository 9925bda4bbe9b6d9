"""The authors' network of GENNAPE's Inception family; `archgauge.families.inception` says what it looks like."""

from collections.abc import Sequence

from archgauge.families._gennape_blocks import IMAGE_PIXELS, classifier, conv_bn, pool_bn, separable
from archgauge.families._inception_space import (
    CHANNEL_CHANGERS,
    CONV_OPERATORS,
    VARIANTS,
    Path,
    Stage,
    variant_of,
)
from archgauge.graphs.builder import GraphBuilder, Value
from archgauge.graphs.graph import Graphs
from archgauge.graphs.operations import KindTable

STEM_CHANNELS, HEAD_CHANNELS = 32, 512


def authors_network(stages: Sequence[Stage], kinds: KindTable) -> Graphs:
    """Unfold stages into the network."""
    build = GraphBuilder(kinds)
    x = conv_bn(build, build.input(IMAGE_PIXELS, IMAGE_PIXELS, 3), STEM_CHANNELS, 3, bias=True)
    shapes, _ = VARIANTS[variant_of(stages)]
    for stage, (channels, stride) in zip(stages, shapes, strict=True):
        for position in range(stage.blocks):
            x = _block(build, x, stage.paths, channels, 1 if position else stride)
    classifier(build, conv_bn(build, x, HEAD_CHANNELS, 3, bias=True))
    return build.finish()


def _block(build: GraphBuilder, x: Value, paths: Sequence[Path], channels: int, stride: int) -> Value:
    y = build.concat([_path(build, x, path, stride) for path in paths])
    if build.shape(y)[2] != channels:
        y = conv_bn(build, y, channels, 1, activation=None, bias=True)
    return build.add([y, x]) if build.shape(y) == build.shape(x) else y


def _path(build: GraphBuilder, x: Value, path: Path, stride: int) -> Value:
    """The first operator that can goes to the inner channels, the last to the outer, and the first of
    `CONV_OPERATORS` takes the stride: pools before it see the whole image."""
    changers = [place for place, name in enumerate(path.operators) if name in CHANNEL_CHANGERS]
    turn = next(place for place, name in enumerate(path.operators) if name in CONV_OPERATORS)
    channels = {changers[-1]: path.outer, changers[0]: path.inner}
    for place, name in enumerate(path.operators):
        x = _operator(build, x, name, channels.get(place, build.shape(x)[2]), stride if place == turn else 1)
    return x


def _operator(build: GraphBuilder, x: Value, name: str, channels: int, stride: int) -> Value:
    kind, kernel = name[:-3], int(name[-1])
    match kind:
        case "avgpool":
            return pool_bn(build, x, "avg_pool")
        case "maxpool":
            return pool_bn(build, x, "max_pool")
        case "double":
            return conv_bn(build, conv_bn(build, x, channels, 1, bias=True), channels, 1, stride, bias=True)
        case "depthwise":
            if build.shape(x)[2] != channels:
                x = build.conv(x, channels, 1)
            return conv_bn(build, x, channels, kernel, stride, bias=True, depthwise=True)
        case "inception_s":
            return separable(build, x, channels, kernel, ((1, stride), (stride, 1)), bias=True)
        case "inception_p":
            return _parallel(build, x, channels, kernel, stride)
    return conv_bn(build, x, channels, kernel, stride, bias=True)


def _parallel(build: GraphBuilder, x: Value, channels: int, kernel: int, stride: int) -> Value:
    """A row beside a column, half the channels each. To halve the image, each is followed by the other."""
    row, column = ((1, kernel), (1, stride)), ((kernel, 1), (stride, 1))
    halves = []
    for first, second, half in ((row, column, channels // 2), (column, row, channels - channels // 2)):
        y = x
        for kernels, strides in (first, second)[:stride]:
            y = conv_bn(build, y, half, kernels, strides, activation=None, bias=True)
        halves.append(build.same("relu6", y))
    return build.same("relu6", build.concat(halves))
