"""Building blocks of mobile networks: convolution with batch norm, squeeze-and-excite, inverted residual block."""

from archgauge.graphs.builder import GraphBuilder, Value
from archgauge.graphs.operations import BATCH_NORM_EPS, Kind


def round_channels(wish: float) -> int:
    """The multiple of 8 that is nearest to `wish`, at least 8 and at least 90 % of it."""
    nearest = max(8, int(wish + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * wish else nearest + 8


def conv_bn(
    build: GraphBuilder,
    x: Value,
    channels: int,
    kernel: int,
    activation: str | None = None,
    *,
    stride: int = 1,
    groups: int = 1,
    eps: float = BATCH_NORM_EPS,
) -> Value:
    """A convolution without bias, batch norm, and an activation where one is named."""
    x = build.batch_norm(build.conv(x, channels, kernel, stride=stride, groups=groups), eps=eps)
    return x if activation is None else build.same(activation, x)


def squeeze_excite(build: GraphBuilder, x: Value, squeezed: int) -> Value:
    """Each channel times a gate from 0 to 1 that a bottleneck of `squeezed` channels reads off the pooled map."""
    shape = build.shape(x)
    hidden = build.same("relu", build.conv(build.global_avg_pool(x), squeezed, 1, bias=True))
    gate = build.same("hardsigmoid", build.conv(hidden, shape[2], 1, bias=True))
    return build.node(Kind("mul", (shape,), (shape,)), (x, gate))


def inverted_residual(
    build: GraphBuilder,
    x: Value,
    channels: int,
    expansion: int,
    kernel: int,
    activation: str,
    *,
    stride: int = 1,
    squeezed: int = 0,
    eps: float = BATCH_NORM_EPS,
) -> Value:
    """Expand by a 1x1 convolution, depthwise convolution, project; plus the input where the shape stays.

    Args:
        expansion: hidden channels for each input channel; with 1 there is no expanding convolution.
        squeezed: channels inside the squeeze-and-excite behind the depthwise activation; 0 for none.
    """
    entry, hidden = x, build.shape(x)[2] * expansion
    if expansion != 1:
        x = conv_bn(build, x, hidden, 1, activation, eps=eps)
    x = conv_bn(build, x, hidden, kernel, activation, stride=stride, groups=hidden, eps=eps)
    if squeezed:
        x = squeeze_excite(build, x, squeezed)
    x = conv_bn(build, x, channels, 1, eps=eps)
    return build.add([entry, x]) if build.shape(x) == build.shape(entry) else x
