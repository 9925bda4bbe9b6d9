"""What the two mobile spaces of Once-for-All share: the supernet's choices, its samples, and a row of stages.

The supernets are trained for kernels 3, 5, 7, expansions 3, 4, 6, depths 2, 3, 4, and images of 128 to 224 pixels in
steps of 4 (Cai et al. 2020, sections 3.1 and 4.1).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from archgauge.errors import SpecError
from archgauge.families._common import bad_spec
from archgauge.families._mobile_blocks import inverted_residual, round_channels
from archgauge.families._segments import Part, Segment, Space, spec_of
from archgauge.graphs.builder import GraphBuilder, Value

RESOLUTION = Segment((tuple(f"r{pixels}" for pixels in range(128, 225, 4)),))
BLOCK = (("e3", "e4", "e6"), ("k3", "k5", "k7"))
STAGE = Segment(block=BLOCK, depths=(2, 4))
CLASSES = 1000


def width_segment(*widths: float) -> Segment:
    """The width multiplier; a mutation stays in the supernet, whose weights the subnet inherits."""
    return Segment((tuple(f"w{width}" for width in widths),), fixed=True)


def from_ofa(space: Space, sample: Mapping[str, Any], width: float, resolution: int) -> str:
    """The spec of a supernet's sample {"ks", "e", "d"}: a kernel and an expansion for each slot, depths of the stages.

    Only the first `d` slots of a stage count, so samples of one subnet have one spec.

    Raises:
        SpecError: when the lists do not fit the supernet.
    """
    try:
        blocks = iter(zip(sample["e"], sample["ks"], strict=True))
        stages = []
        for segment, depth in zip(space.segments[2:], sample["d"], strict=True):
            slots = [next(blocks) for _ in range(segment.depths[1])]
            stages.append([(f"e{e}", f"k{k}") for e, k in slots[: max(depth, 0)]])
        left = len(list(blocks))
    except (LookupError, TypeError, ValueError, StopIteration) as error:
        raise _no_sample(space, sample) from error
    if left:
        raise _no_sample(space, sample)
    return _checked(space, width, resolution, stages)


def from_blocks(space: Space, blocks: Sequence[Sequence[str]], width: float, resolution: int) -> str:
    """The spec of GENNAPE's form of a subnet: for each stage the names of its blocks, like "mbconv3_e6_k5".

    Raises:
        SpecError: when a name or a depth is not of the supernet.
    """
    return _checked(space, width, resolution, [[tuple(name.split("_")[1:]) for name in stage] for stage in blocks])


def subnet(space: Space, spec: str) -> tuple[float, int, list[list[tuple[int, int]]]]:
    """Width multiplier, pixels of the image, and for each stage the (expansion, kernel) of its blocks.

    Raises:
        SpecError: when `spec` is not of the space.
    """
    width, resolution, *stages = space.parse(spec)
    blocks = [[(int(e[1:]), int(k[1:])) for e, k in stage.blocks] for stage in stages]
    return float(width.settings[0][1:]), int(resolution.settings[0][1:]), blocks


def scaled(channels: Iterable[int], width: float) -> list[int]:
    """Channels of a network that is `width` times as wide."""
    return [round_channels(base * width) for base in channels]


def stage(
    build: GraphBuilder,
    x: Value,
    blocks: Sequence[tuple[int, int]],
    channels: int,
    stride: int,
    activation: str,
    *,
    squeeze: bool = False,
    eps: float,
) -> Value:
    """Inverted residual blocks; the first one takes the stride and the new channels."""
    for position, (expansion, kernel) in enumerate(blocks):
        squeezed = round_channels(build.shape(x)[2] * expansion // 4) if squeeze else 0
        step = stride if position == 0 else 1
        x = inverted_residual(
            build, x, channels, expansion, kernel, activation, stride=step, squeezed=squeezed, eps=eps
        )
    return x


def _checked(space: Space, width: float, resolution: int, stages: Iterable[Sequence[tuple[str, ...]]]) -> str:
    settings = [Part((f"w{float(width)}",)), Part((f"r{resolution}",))]
    spec = spec_of([*settings, *(Part(blocks=tuple(blocks)) for blocks in stages)])
    space.parse(spec)
    return spec


def _no_sample(space: Space, sample: Any) -> SpecError:
    slots = [segment.depths[1] for segment in space.segments[2:]]
    expected = f"a sample with `d` for {len(slots)} stages, and `ks` and `e` for {' + '.join(map(str, slots))} slots"
    return bad_spec(space.family, sample, expected)
