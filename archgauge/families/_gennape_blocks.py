"""What GENNAPE's networks HiAML, Two-Path and Inception are made of (Mills et al. 2023, supplement).

All layers end in a batch normalisation; the activation is ReLU6 unless said. The released accuracies belong to a
TensorFlow twin of the authors' PyTorch networks: its batch normalisations have eps 1e-3 in place of 1e-5, its averages
leave out the padding, and a layer of stride 2 pads one pixel on the right and below only. Parameters, MACs and
operations are the same; the graphs here are the PyTorch networks.
"""

from collections.abc import Sequence

import numpy as np

from archgauge.graphs.builder import GraphBuilder, Value
from archgauge.graphs.operations import Pair

IMAGE_PIXELS = 32
CLASSES = 10


def draw_operators(
    rng: np.random.Generator, count: int, convolutions: Sequence[str], supplementary: Sequence[str]
) -> tuple[str, ...]:
    """A sequence of operators as the authors draw it.

    One is a convolution. Each further one is drawn out of all, but once there is a supplementary one, out of the
    convolutions. Then they are shuffled.
    """
    pools = [convolutions] * count
    if (rng.random(count - 1) < len(supplementary) / (len(convolutions) + len(supplementary))).any():
        pools[1] = supplementary
    drawn = [pool[int(rng.integers(len(pool)))] for pool in pools]
    return tuple(drawn[index] for index in rng.permutation(count))


def conv_bn(
    build: GraphBuilder,
    x: Value,
    channels: int,
    kernel: int | Pair,
    stride: int | Pair = 1,
    *,
    activation: str | None = "relu6",
    bias: bool = False,
    depthwise: bool = False,
) -> Value:
    """Convolution, batch normalisation, activation."""
    groups = channels if depthwise else 1
    x = build.batch_norm(build.conv(x, channels, kernel, stride=stride, groups=groups, bias=bias))
    return build.same(activation, x) if activation else x


def pool_bn(build: GraphBuilder, x: Value, operation: str) -> Value:
    """A 3x3 pool of stride 1 and its batch normalisation. An average counts the padding."""
    return build.batch_norm(build.pool(x, operation, 3, counts_padding=operation == "avg_pool"))


def separable(
    build: GraphBuilder, x: Value, channels: int, kernel: int, strides: Sequence[int | Pair], *, bias: bool = False
) -> Value:
    """The "inception_s" layer: a row, 1 x kernel, and a column, kernel x 1, each with its own stride."""
    row = conv_bn(build, x, channels, (1, kernel), strides[0], bias=bias)
    return conv_bn(build, row, channels, (kernel, 1), strides[1], bias=bias)


def classifier(build: GraphBuilder, x: Value) -> None:
    """Global average pool, linear layer, output."""
    build.output(build.linear(build.global_avg_pool(x), CLASSES))
