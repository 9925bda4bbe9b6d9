"""Inception (Mills et al. 2023, "GENNAPE", arXiv 2211.17226): stages of equal blocks of one to four parallel paths.

A path is a sequence of operators: at least one of `CONV_OPERATORS`, at most one of `SUPPLEMENTARY_OPERATORS`. The paths
of a block share its output channels (one path has all; two or four the same share; of three one has half, two have a
quarter), but each at least 16, and are concatenated; where that gives other than the block's channels, a 1x1
convolution follows; a block that keeps the shape adds its input. Inside, a path may be half or twice as wide.

The spec is `<stage>;<stage>...`; a stage is `<blocks>x<path>|<path>...`, a path is
`<operator>+<operator>...@<inner>><outer>` with the channels inside and at its end:
`3xinception_s3x3@32>32;2xconv1x1+conv3x3@64>32|depthwise5x5@32>32;...`. The order of paths only permutes channels, so
they are sorted, as in the authors' own names. The `arch_id` is `inception/<16 hexadecimal digits>`, a hash of the spec.

Paper and code differ, and the number of stages in a spec tells which one it follows:
- "code", which the released labels follow: four stages of two to six blocks, the first one without reduction, with
  32, 64, 128 and 256 channels at 32, 16, 8 and 4 pixels;
- "paper": three stages of two to four blocks, each of which halves the image and doubles the channels.

The network, on CIFAR-10 images of 32x32: a 3x3 stem of 32 channels, the stages, a 3x3 convolution of 512 channels, a
global average pool and a classifier. Every convolution has a bias though a batch normalisation follows, except the
1x1 convolution before a depthwise one that changes the channels, which stands bare.

Parameters, MACs and operations equal those of the authors' network on all 200 rows of the truth table. The authors
publish no counts of their own for this family. Labels: see `archgauge.families._gennape_labels`.
"""

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path as FilePath

import numpy as np
import pyarrow as pa

from archgauge.download import Remote
from archgauge.errors import ConfigError
from archgauge.families import _common, _gennape_labels
from archgauge.families import _inception_space as space
from archgauge.families._gennape_blocks import draw_operators
from archgauge.families._inception_network import authors_network
from archgauge.families._inception_space import (
    CONV_OPERATORS,
    SUPPLEMENTARY_OPERATORS,
    VARIANTS,
    Stage,
    arch_id,
    parse,
    spec_of,
)
from archgauge.graphs.graph import Graphs
from archgauge.graphs.operations import KindTable

FAMILY = space.FAMILY

WIDTH_CHANCES = (0.3, 0.6, 0.1)
"""Of `WIDTHS`, in the authors' sampler."""


def sample(n: int, rng: np.random.Generator, *, variant: str = "code") -> list[str]:
    """Draw `n` distinct specs as the authors draw them, because the labelled networks are so distributed.

    That is not uniform over the family: one path is as likely as four, one operator as three, though there are far
    more of the latter, and half the width is three times as likely as twice.

    Args:
        variant: "code" or "paper"; see the module.

    Raises:
        ConfigError: when the variant is unknown or `n` negative.
    """
    if variant not in VARIANTS:
        raise ConfigError(
            "the variant of a family",
            where=f"families.{FAMILY}.sample.variant",
            expected=f"one of {', '.join(VARIANTS)}",
            got=repr(variant),
            remedy="Name one of these.",
        )
    shapes, blocks = VARIANTS[variant]

    def draw() -> str:
        return spec_of([Stage(int(rng.choice(blocks)), _draw_paths(rng, channels)) for channels, _ in shapes])

    return _common.distinct(n, draw, FAMILY)


def _draw_paths(rng: np.random.Generator, channels: int) -> tuple[space.Path, ...]:
    """Paths one after another, each with as many operators as the block's limits still allow, uniformly."""
    count = 1 + int(rng.integers(len(space.MAX_OPERATORS)))
    least, left = space.MIN_OPERATORS[count], space.MAX_OPERATORS[count]
    paths = []
    for place, share in enumerate(rng.permutation(space.shares(count, channels)).tolist()):
        most = left - least * (count - place - 1)
        operators = draw_operators(rng, int(rng.integers(least, most + 1)), CONV_OPERATORS, SUPPLEMENTARY_OPERATORS)
        left -= len(operators)
        paths.append(space.path_of(operators, rng.choice(space.WIDTHS, p=WIDTH_CHANCES), share))
    return tuple(paths)


_EDITS = (space.operator_edits, space.width_edits, space.depth_edits, space.path_edits)


def mutate(spec: str, rng: np.random.Generator) -> str:
    """One edit of one stage: stage and kind of edit uniformly, then among its distinct neighbours uniformly.

    The kinds: an operator of a path is replaced, inserted or removed; the inner width of a path changes; there is one
    block more or less; a path is added or dropped, or of three another one gets half the channels. Paths keep the
    ratio of their inner to their outer channels where they can.

    Raises:
        SpecError: when `spec` is no network of the family in its canonical form.
    """
    choices = list(product(range(len(parse(spec))), _EDITS))
    tried = (_neighbours(spec, *choices[index]) for index in rng.permutation(len(choices)))
    found = next(filter(None, tried))  # there is some: one block more or less
    return found[rng.integers(len(found))]


def _neighbours(spec: str, place: int, edits: Callable[[Stage, int], Iterator[Stage]]) -> list[str]:
    """Specs, sorted, that one kind of edit of one stage leads to."""
    stages = parse(spec)
    shapes, blocks = VARIANTS[space.variant_of(stages)]
    channels = shapes[place][0]
    edited = [stage for stage in edits(stages[place], channels) if space.is_stage(stage, channels, blocks)]
    return sorted({spec_of((*stages[:place], stage, *stages[place + 1 :])) for stage in edited} - {spec})


def crossover(first: str, second: str, rng: np.random.Generator) -> str:
    """Replace one operator of the first network by a different one of the second, all such pairs equally likely.

    The place in the second network does not count, and the result is of the family. The path keeps the ratio of its
    channels where it can.

    Raises:
        SpecError: when `first` or `second` is no network of the family in its canonical form.
    """
    stages = parse(first)
    given = [name for stage in parse(second) for path in stage.paths for name in path.operators]
    places = [
        (number, row, place)
        for number, stage in enumerate(stages)
        for row, path in enumerate(stage.paths)
        for place in range(len(path.operators))
    ]
    for code in rng.permutation(len(places) * len(given)):
        (number, row, place), name = places[code // len(given)], given[code % len(given)]
        own = stages[number].paths[row].operators
        changed = space.with_operators(stages[number], row, (*own[:place], name, *own[place + 1 :]))
        child = (*stages[:number], changed, *stages[number + 1 :])
        if name != own[place] and space.is_network(child):
            return spec_of(child)
    return first


def to_graph(spec: str, kinds: KindTable | None = None) -> Graphs:
    """The computation graph of the authors' network, with as many stages as the spec has.

    Raises:
        SpecError: when `spec` is no network of the family in its canonical form.
    """
    return authors_network(parse(spec), KindTable() if kinds is None else kinds)


_FILE = "inception_cifar10_labelled_cg_data.json"


def _read(path: FilePath) -> pa.Table:
    return _gennape_labels.read(path, _FILE, 500, lambda config: arch_id(space.spec_of_config(config)))


def labelled_specs(path: FilePath) -> list[str]:
    """The specs of the networks that the authors' file has labels of; raises FormatError as the reader does."""
    return _gennape_labels.specs(path, _FILE, space.spec_of_config)


LABEL_SOURCES: dict[str, Callable[[FilePath], pa.Table]] = {"gennape": _read}
"""Source -> reader of CG_data.zip or of the JSON file in it, giving LABELS; FormatError when it cannot be read."""

REMOTES: dict[str, Remote] = {"gennape": _gennape_labels.CG_DATA}

DATASHEET = {
    "title": "Inception",
    "space": "Stages of equal blocks whose one to four paths share the channels; for 32x32 images.",
    "labels": "580 networks of four stages, drawn by the authors' sampler, trained 500 epochs; 89.08 to 94.03 %.",
    "graph": "The authors' PyTorch network; they trained its TensorFlow twin, of equal parameters and MACs.",
    "licence": _gennape_labels.LICENCE,
    "citation": _gennape_labels.CITATION,
}
