"""Once-for-All ProxylessNAS (Cai et al. 2020, arXiv 1908.09791): subnets of the supernet of width 1.3.

The spec is width multiplier, image pixels, and the blocks of six stages: "w1.3-r176-e3k5,e6k7-e4k5,e4k3-...-e4k3".
The first five have 2 to 4 blocks, the last one has one; each block has an expansion of 3, 4, 6 and a kernel of 3, 5,
7. So there are 7,371^5 * 9, some 2 * 10^20, networks at each of the 25 resolutions. `arch_id` is
`ofa_proxyless/<spec>`. `from_ofa` reads a sample of the supernet, whose lists also hold the slots that its depths leave
unused. The space has no cell.

The only labels are in a cache of GENNAPE's CG_data.zip, see `archgauge.families._ofa_labels`.

The graph is what the supernet's own `get_active_subnet` gives: ReLU6 throughout, no squeeze-excite, batch norm eps
1e-3.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from archgauge.download import Remote
from archgauge.families import _gennape_labels, _ofa_labels
from archgauge.families import _ofa_mobile as ofa
from archgauge.families._mobile_blocks import conv_bn, inverted_residual
from archgauge.families._segments import Segment, Space
from archgauge.graphs.builder import GraphBuilder
from archgauge.graphs.graph import Graphs
from archgauge.graphs.operations import KindTable

FAMILY = "ofa_proxyless"
WIDTH = 1.3
SPACE = Space(
    FAMILY,
    (ofa.width_segment(WIDTH), ofa.RESOLUTION, *[ofa.STAGE] * 5, Segment(block=ofa.BLOCK, depths=(1, 1))),
)

_CHANNELS = (32, 16, 24, 40, 80, 96, 192, 320, 1280)  # stem, first block, six stages, head
_STRIDES = (2, 2, 2, 1, 2, 1)
_EPS = 1e-3

sample = SPACE.sample
mutate = SPACE.mutate
crossover = SPACE.crossover


def from_ofa(sampled: Mapping[str, Any], resolution: int) -> str:
    """The spec of a supernet's sample {"ks": 21 kernels, "e": 21 expansions, "d": 6 depths}.

    Raises:
        SpecError: when the lists do not fit the supernet.
    """
    return ofa.from_ofa(SPACE, sampled, WIDTH, resolution)


def from_blocks(blocks: Sequence[Sequence[str]], resolution: int) -> str:
    """The spec of GENNAPE's form of a subnet: for each stage the names of its blocks, like "mbconv2_e6_k5".

    Raises:
        SpecError: when a name or a depth is not of the supernet.
    """
    return ofa.from_blocks(SPACE, blocks, WIDTH, resolution)


def arch_id(spec: str) -> str:
    """Return `ofa_proxyless/<spec>`.

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
    width, pixels, stages = ofa.subnet(SPACE, spec)
    stem, first, *stage_channels, last = ofa.scaled(_CHANNELS, width)
    build = GraphBuilder(KindTable() if kinds is None else kinds)
    x = conv_bn(build, build.input(pixels, pixels, 3), stem, 3, "relu6", stride=2, eps=_EPS)
    x = inverted_residual(build, x, first, 1, 3, "relu6", eps=_EPS)
    for blocks, channels, stride in zip(stages, stage_channels, _STRIDES, strict=True):
        x = ofa.stage(build, x, blocks, channels, stride, "relu6", eps=_EPS)
    x = build.global_avg_pool(conv_bn(build, x, last, 1, "relu6", eps=_EPS))
    build.output(build.linear(x, ofa.CLASSES))
    return build.finish()


def _read_gennape(path: Path) -> pa.Table:
    return _ofa_labels.read_mobile_cache(path, FAMILY, from_blocks)


LABEL_SOURCES: dict[str, Callable[[Path], pa.Table]] = {"gennape": _read_gennape}
"""Source -> reader of CG_data.zip or of the cache in it, giving LABELS; FormatError when it cannot be read."""

REMOTES: dict[str, Remote] = {"gennape": _gennape_labels.CG_DATA}

DATASHEET = {
    "title": "Once-for-All, ProxylessNAS",
    "space": "Five stages of 2 to 4 and one of 1 inverted residual block, each with a kernel of 3, 5, 7 and an "
    "expansion of 3, 4, 6, at 128 to 224 pixels: 7,371^5 * 9 networks for each of 25 resolutions.",
    "labels": "ImageNet top-1 with weights inherited from the supernet, not trained further: GENNAPE's cache.",
    "licence": "MIT (once-for-all)",
    "citation": "H. Cai, C. Gan, T. Wang, Z. Zhang, S. Han, Once-for-All: Train One Network and Specialize it for "
    "Efficient Deployment, ICLR 2020",
    "graph": "Once-for-All's own subnet on images of the resolution that the spec names, with 1,000 classes.",
}
