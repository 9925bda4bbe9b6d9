"""Once-for-All ResNet-50 (code and weights of Cai et al. 2020, arXiv 1908.09791; the paper has the mobile spaces only).

The spec is image pixels, stem, and four stages: "r128-m24o40s1-w65:20,35-w100:20,20,25-w80:...-w100:...".
- The stem m24 or m32 (channels inside), o40, o48 or o64 (channels out), and s1 or s0: with or without a residual
  3x3 convolution in between.
- A stage has a width of 65, 80 or 100 % of ResNet-50's, and 2 to 4 (the third 4 to 6) bottlenecks, each with a
  middle of 20, 25 or 35 % of the stage's channels.

So there are 2 * 3 * 2 stems and (3 * 117)^3 * (3 * 1,053) bodies, some 1.6 * 10^12 networks, at each of 25 resolutions.
`arch_id` is `ofa_resnet50/<spec>`. `from_ofa` reads a sample of the supernet. Its width index 0 or 1 inside the stem
means 24 channels both times, and `e` also holds the slots that its depths leave unused, so samples of one subnet have
one spec. The space has no cell.

The only labels are in a cache of GENNAPE's CG_data.zip, see `archgauge.families._ofa_labels`.

The graph is what the supernet's own `get_active_subnet` gives: batch norm eps 1e-5; a shortcut that changes shape is an
average pool of the stride's size, which may hang over the edge (a pool of one pixel at stride 1), and a 1x1
convolution.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from archgauge.download import Remote
from archgauge.families import _gennape_labels, _ofa_labels
from archgauge.families._common import bad_spec
from archgauge.families._mobile_blocks import conv_bn, round_channels
from archgauge.families._ofa_mobile import CLASSES, RESOLUTION
from archgauge.families._segments import Part, Segment, Space, spec_of
from archgauge.graphs.builder import GraphBuilder, Value
from archgauge.graphs.graph import Graphs
from archgauge.graphs.operations import KindTable

FAMILY = "ofa_resnet50"

_WIDTHS = ("w65:", "w80:", "w100:")
_EXPANSIONS = {0.2: "20", 0.25: "25", 0.35: "35"}
_INSIDE, _OUT = ("m24", "m24", "m32"), ("o40", "o48", "o64")  # of the stem, by width index
_DEPTHS = (2, 2, 4, 2)  # the fewest blocks of each stage
_MORE_BLOCKS = 2
_CHANNELS, _STRIDES = (256, 512, 1024, 2048), (1, 2, 2, 2)

SPACE = Space(
    FAMILY,
    (
        RESOLUTION,
        Segment((tuple(dict.fromkeys(_INSIDE)), _OUT, ("s0", "s1"))),
        *(Segment((_WIDTHS,), (tuple(_EXPANSIONS.values()),), (fewest, fewest + _MORE_BLOCKS)) for fewest in _DEPTHS),
    ),
)

sample = SPACE.sample
mutate = SPACE.mutate
crossover = SPACE.crossover


def from_ofa(sampled: Mapping[str, Any], resolution: int) -> str:
    """The spec of a supernet's sample.

    Args:
        sampled: {"w": width indices 0 to 2 inside the stem, out of it and of four stages; "d": 2 keeps the stem's
            residual convolution and anything else skips it, then the blocks that each stage has beyond its fewest;
            "e": expansion ratios of 18 slots}.

    Raises:
        SpecError: when the lists do not fit the supernet.
    """
    try:
        (inside, out, *widths), (stem, *more) = sampled["w"], sampled["d"]
        expansions = iter([_EXPANSIONS[ratio] for ratio in sampled["e"]])
        parts = [Part((f"r{resolution}",)), Part((_INSIDE[inside], _OUT[out], f"s{int(stem == _MORE_BLOCKS)}"))]
        for fewest, width, extra in zip(_DEPTHS, widths, more, strict=True):
            slots = [next(expansions) for _ in range(fewest + _MORE_BLOCKS)]
            parts.append(Part((_WIDTHS[width],), tuple((ratio,) for ratio in slots[: fewest + extra])))
        if min(inside, out, *widths, *more) < 0 or max(more) > _MORE_BLOCKS or list(expansions):
            raise ValueError
    except (LookupError, TypeError, ValueError, StopIteration) as error:
        expected = "a sample with 6 indices `w` and 5 depths `d`, each 0 to 2, and 18 ratios `e` of 0.2, 0.25, 0.35"
        raise bad_spec(FAMILY, sampled, expected) from error
    spec = spec_of(parts)
    SPACE.parse(spec)
    return spec


def arch_id(spec: str) -> str:
    """Return `ofa_resnet50/<spec>`.

    Raises:
        SpecError: when `spec` is not of this space.
    """
    SPACE.parse(spec)
    return f"{FAMILY}/{spec}"


def to_graph(spec: str, kinds: KindTable | None = None) -> Graphs:
    """Return the computation graph of a subnet.

    Raises:
        SpecError: when `spec` is not of this space.
    """
    image, stem, *stages = SPACE.parse(spec)
    pixels = int(image.settings[0][1:])
    inside, out, residual = (int(text[1:]) for text in stem.settings)
    build = GraphBuilder(KindTable() if kinds is None else kinds)
    x = conv_bn(build, build.input(pixels, pixels, 3), inside, 3, "relu", stride=2)
    if residual:
        x = build.add([x, conv_bn(build, x, inside, 3, "relu")])
    x = build.pool(conv_bn(build, x, out, 3, "relu"), "max_pool", 3, stride=2)
    for part, base, stage_stride in zip(stages, _CHANNELS, _STRIDES, strict=True):
        channels = round_channels(base * int(part.settings[0][1:-1]) / 100)
        for slot, (ratio,) in enumerate(part.blocks):
            middle = round_channels(round(channels * int(ratio) / 100))
            x = _bottleneck(build, x, middle, channels, 1 if slot else stage_stride)
    build.output(build.linear(build.global_avg_pool(x), CLASSES))
    return build.finish()


def _bottleneck(build: GraphBuilder, x: Value, middle: int, channels: int, stride: int) -> Value:
    y = conv_bn(build, conv_bn(build, x, middle, 1, "relu"), middle, 3, "relu", stride=stride)
    y = conv_bn(build, y, channels, 1)
    if build.shape(y) != build.shape(x):
        pooled = build.pool(x, "avg_pool", stride, stride=stride, padding=0, ceil=True)
        x = conv_bn(build, pooled, channels, 1)
    return build.same("relu", build.add([y, x]))


def _read_gennape(path: Path) -> pa.Table:
    return _ofa_labels.read_resnet_cache(path, FAMILY, from_ofa)


LABEL_SOURCES: dict[str, Callable[[Path], pa.Table]] = {"gennape": _read_gennape}
"""Source -> reader of CG_data.zip or of the cache in it, giving LABELS; FormatError when it cannot be read."""

REMOTES: dict[str, Remote] = {"gennape": _gennape_labels.CG_DATA}

DATASHEET = {
    "title": "Once-for-All, ResNet-50",
    "space": "A stem of 12 forms and four stages of bottlenecks with 3 widths, 3 depths and an expansion of 0.2, 0.25 "
    "or 0.35 for each bottleneck, at 128 to 224 pixels: 12 * 351^3 * 3,159 networks for each of 25 resolutions.",
    "labels": "ImageNet top-1 with weights inherited from the supernet, not trained further: GENNAPE's cache.",
    "licence": "MIT (once-for-all)",
    "citation": "H. Cai, C. Gan, T. Wang, Z. Zhang, S. Han, Once-for-All: Train One Network and Specialize it for "
    "Efficient Deployment, ICLR 2020",
    "graph": "Once-for-All's own subnet on images of the resolution that the spec names, with 1,000 classes.",
}
