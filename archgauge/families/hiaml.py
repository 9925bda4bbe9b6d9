"""HiAML (Mills et al. 2023, "GENNAPE", arXiv 2211.17226): four stages of two equal blocks, out of 14 blocks.

The blocks were found by GA-NAS. There are 14^4 = 38,416 networks. The spec names the block of each stage,
`a22-j30-a22-src8`; the `arch_id` is `hiaml/<spec>`. The order is the authors': of the product of `BLOCKS`.

The network, on CIFAR-10 images of 32x32: a stem of 64 channels and stride 2 with ReLU, stages of 64, 128, 128 and 256
channels at 16, 8, 8 and 4 pixels (the first block of the second and the fourth stage has stride 2), a global average
pool and a classifier. Inside a block the activation is ReLU6, at its end ReLU.

Parameters, MACs and operations equal those of the authors' network on all 200 rows of the truth table. The authors
publish no counts of their own for this family. Labels: see `archgauge.families._gennape_labels`.
"""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from archgauge.download import Remote
from archgauge.families import _common, _gennape_labels
from archgauge.families._gennape_blocks import IMAGE_PIXELS, classifier, conv_bn, separable
from archgauge.graphs.builder import GraphBuilder, Value
from archgauge.graphs.graph import Graphs
from archgauge.graphs.operations import KindTable
from archgauge.schemas import architectures

FAMILY = "hiaml"
BLOCKS = ("z", "a22", "b23", "j30", "g30", "r30", "l20", "t20", "t31", "src0", "src1", "src3", "src7", "src8")
"""In the authors' order; their names have the prefix `hiaml_`."""

STAGES = ((64, 1), (128, 2), (128, 1), (256, 2))
"""(channels, stride of the first block) of each stage."""

BLOCKS_PER_STAGE = 2
SIZE = len(BLOCKS) ** len(STAGES)
STEM_CHANNELS = 64


def parse(spec: str) -> tuple[str, ...]:
    """The block of each stage.

    Raises:
        SpecError: when `spec` names no network of the family.
    """
    blocks = tuple(spec.split("-")) if isinstance(spec, str) else ()
    if len(blocks) != len(STAGES) or not set(blocks) <= set(BLOCKS):
        raise _common.bad_spec(FAMILY, spec, f"{len(STAGES)} of {', '.join(BLOCKS)}, joined by -")
    return blocks


def arch_id(spec: str) -> str:
    """`hiaml/<spec>`.

    Raises:
        SpecError: when `spec` names no network of the family.
    """
    return f"{FAMILY}/{'-'.join(parse(spec))}"


def enumerate_specs() -> pa.Table:
    """All 38,416 networks in the authors' order (schema ARCHITECTURES)."""
    specs = ["-".join(blocks) for blocks in itertools.product(BLOCKS, repeat=len(STAGES))]
    return architectures(FAMILY, [f"{FAMILY}/{spec}" for spec in specs], specs)


def sample(n: int, rng: np.random.Generator) -> list[str]:
    """Draw `n` distinct specs, each set of `n` equally likely: the authors draw each stage's block uniformly.

    Raises:
        ConfigError: when there are fewer than `n`.
    """

    def draw() -> str:
        return "-".join(BLOCKS[index] for index in rng.integers(len(BLOCKS), size=len(STAGES)))

    return _common.distinct(n, draw, FAMILY, SIZE)


def mutate(spec: str, rng: np.random.Generator) -> str:
    """Give one stage another block, all 52 neighbours equally likely.

    Raises:
        SpecError: when `spec` names no network of the family.
    """
    blocks = list(parse(spec))
    stage = rng.integers(len(STAGES))
    others = [name for name in BLOCKS if name != blocks[stage]]
    blocks[stage] = others[rng.integers(len(others))]
    return "-".join(blocks)


def crossover(first: str, second: str, rng: np.random.Generator) -> str:
    """Give one stage of the first network a different block out of the second, all such pairs equally likely.

    The place in the second network does not count. Networks of one single block leave the first as it is.

    Raises:
        SpecError: when `first` or `second` names no network of the family.
    """
    blocks, given = list(parse(first)), parse(second)
    pairs = [(stage, name) for stage, own in enumerate(blocks) for name in given if name != own]
    if pairs:
        stage, name = pairs[rng.integers(len(pairs))]
        blocks[stage] = name
    return "-".join(blocks)


def to_graph(spec: str, kinds: KindTable | None = None) -> Graphs:
    """The computation graph of the authors' network.

    Raises:
        SpecError: when `spec` names no network of the family.
    """
    blocks = parse(spec)
    build = GraphBuilder(KindTable() if kinds is None else kinds)
    image = build.input(IMAGE_PIXELS, IMAGE_PIXELS, 3)
    x = conv_bn(build, image, STEM_CHANNELS, 3, 2, activation="relu")
    for name, (channels, stride) in zip(blocks, STAGES, strict=True):
        for position in range(BLOCKS_PER_STAGE):
            x = build.same("relu", _Block(build, x, channels, 1 if position else stride).sum(name))
    classifier(build, x)
    return build.finish()


class _Block:
    """One block on x. `into` layers take the stride and the change of channels; the others keep the shape."""

    def __init__(self, build: GraphBuilder, x: Value, channels: int, stride: int):
        self.build, self.x, self.channels, self.stride = build, x, channels, stride
        self.before = build.shape(x)[2]

    def into(self, kernel: int, activation: str | None = "relu6") -> Value:
        return conv_bn(self.build, self.x, self.channels, kernel, self.stride, activation=activation)

    def conv(self, y: Value, kernel: int, activation: str | None = "relu6") -> Value:
        return conv_bn(self.build, y, self.channels, kernel, activation=activation)

    def bare(self, y: Value, kernel: int = 1) -> Value:
        return self.conv(y, kernel, activation=None)

    def separable_into(self) -> Value:
        return separable(self.build, self.x, self.channels, 3, (self.stride, 1))

    def separable(self, y: Value) -> Value:
        return separable(self.build, y, self.channels, 3, (1, 1))

    def shortcut(self) -> Value:
        """x itself, or a projection with weights of its own where the shape changes."""
        changes = self.stride > 1 or self.before != self.channels
        return self.into(1, activation=None) if changes else self.x

    def sum(self, name: str) -> Value:
        """What the block's last ReLU reads."""
        return self.build.add(_TERMS[name](self))


def _j30(block: _Block) -> list[Value]:
    return [block.shortcut(), block.separable(block.into(3))]


def _b23(block: _Block) -> list[Value]:
    return [block.shortcut(), block.separable(block.separable_into())]


def _z(block: _Block) -> list[Value]:
    first = block.into(3)
    return [first, block.separable(first)]


def _a22(block: _Block) -> list[Value]:
    first = block.into(3)
    return [first, block.bare(block.conv(first, 1))]


def _g30(block: _Block) -> list[Value]:
    first = block.separable_into()
    second = block.separable(block.build.add([block.shortcut(), first]))
    return [first, block.bare(second)]


def _r30(block: _Block) -> list[Value]:
    first = block.separable_into()
    second = block.bare(block.build.add([block.shortcut(), first]))
    return [block.shortcut(), second, block.separable(first)]


def _t31(block: _Block) -> list[Value]:
    second = block.conv(block.separable_into(), 1)
    third = block.separable(block.build.add([block.shortcut(), second]))
    return [block.shortcut(), second, third]


def _l20(block: _Block) -> list[Value]:
    return [block.bare(block.into(3))]


def _t20(block: _Block) -> list[Value]:
    return [block.into(1, activation=None), block.separable_into()]


def _src0(block: _Block) -> list[Value]:
    first = block.into(1)
    return [first, block.bare(block.conv(first, 3), 3)]


def _src1(block: _Block) -> list[Value]:
    """Here the second convolution of the branch changes the shape, not the first."""
    narrow = conv_bn(block.build, block.x, block.before, 3)
    branch = conv_bn(block.build, narrow, block.channels, 3, block.stride, activation=None)
    return [block.into(1), branch]


def _src3(block: _Block) -> list[Value]:
    narrow = conv_bn(block.build, block.x, block.before, 1)
    branch = conv_bn(block.build, narrow, block.channels, 3, block.stride)
    return [block.into(1, activation=None), block.bare(branch)]


def _src7(block: _Block) -> list[Value]:
    first = block.into(1, activation=None)
    return [first, block.separable(block.separable(first))]


def _src8(block: _Block) -> list[Value]:
    first = block.into(1, activation=None)
    return [first, block.bare(block.separable(first))]


_TERMS: dict[str, Callable[[_Block], list[Value]]] = {
    **{"z": _z, "a22": _a22, "b23": _b23, "j30": _j30, "g30": _g30, "r30": _r30, "l20": _l20, "t20": _t20},
    **{"t31": _t31, "src0": _src0, "src1": _src1, "src3": _src3, "src7": _src7, "src8": _src8},
}
"""Block -> the terms of the sum at its end."""


def spec_of(config: Any) -> str:
    """The spec of the authors' configuration: the names of four blocks with the prefix `hiaml_`.

    Raises:
        SpecError: when it is no such list.
    """
    names = config if isinstance(config, list | tuple) else ()
    blocks = [str(name).removeprefix("hiaml_") for name in names if str(name).startswith("hiaml_")]
    if len(blocks) != len(STAGES) or len(names) != len(STAGES) or not set(blocks) <= set(BLOCKS):
        raise _common.bad_spec(FAMILY, config, f"a list of {len(STAGES)} names like hiaml_{BLOCKS[0]}")
    return "-".join(blocks)


def _read(path: Path) -> pa.Table:
    return _gennape_labels.read(
        path, "gpi_test_hiaml_cifar10_labelled_cg_data.json", 200, lambda c: arch_id(spec_of(c))
    )


LABEL_SOURCES: dict[str, Callable[[Path], pa.Table]] = {"gennape": _read}
"""Source -> reader of CG_data.zip or of the JSON file in it, giving LABELS; FormatError when it cannot be read."""

REMOTES: dict[str, Remote] = {"gennape": _gennape_labels.CG_DATA}

DATASHEET = {
    "title": "HiAML",
    "space": "Four stages of two equal blocks out of 14 found by GA-NAS: 38,416 networks for 32x32 images.",
    "labels": "4,629 networks, drawn uniformly, trained 200 epochs on CIFAR-10; test accuracies from 91.11 to 93.44 %.",
    "graph": "The authors' PyTorch network; they trained its TensorFlow twin, of equal parameters and MACs.",
    "licence": _gennape_labels.LICENCE,
    "citation": _gennape_labels.CITATION,
}
