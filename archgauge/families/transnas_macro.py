"""TransNAS-Bench-101's macro space (Duan et al. 2021, arXiv 2105.11871): 3,256 skeletons trained on seven tasks.

The spec is one digit for each of 4 to 6 modules, which says what the module does: 1 nothing, 2 doubles the channels,
3 halves the resolution, 4 both. Channels double one to three times and the resolution halves one to four times; these
are exactly the 3,256 strings of the benchmark. There they read `64-<spec>-basic`. The `arch_id` is
`transnas_macro/<spec>`.

A module has two residual blocks of ReLU-conv3x3-BN twice, without a ReLU behind the sum. The shortcut of a block that
changes shape is a 1x1 convolution and a BN whose eps is 1.0: the authors pass their flags by position, so that `True`
lands in eps (and in momentum, 1.0, which a graph does not hold). Counts do not change by it, behaviour does; the
graph says eps 1.0.

Parameters and multiply-adds are equal to those of the authors' code for every head. Labels: see `_transnas_labels`.
"""

import functools
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from archgauge.download import Remote
from archgauge.families._common import Listed, bad_spec
from archgauge.families._transnas_labels import CITATION, LABELLED, LICENCE, OFFICIAL_FILE, read_official, read_tables
from archgauge.families._transnas_network import cells, relu_conv_bn, stem, unfold
from archgauge.graphs.builder import GraphBuilder, Value
from archgauge.graphs.graph import Graphs
from archgauge.graphs.operations import KindTable

FAMILY = "transnas_macro"
DIGITS = "1234"
MODULES = range(4, 7)
CHANNEL_DOUBLINGS = range(1, 4)
RESOLUTION_HALVINGS = range(1, 5)
SHORTCUT_EPS = 1.0

_FORM = "4 to 6 digits of 1 to 4; one to three of them 2 or 4, one to four of them 3 or 4"


def _belongs(spec: str) -> bool:
    doublings, halvings = (sum(map(spec.count, digits)) for digits in ("24", "34"))
    lengths_fit = len(spec) in MODULES and doublings in CHANNEL_DOUBLINGS and halvings in RESOLUTION_HALVINGS
    return lengths_fit and set(spec) <= set(DIGITS)


def _checked(spec: str) -> str:
    if not _belongs(spec):
        raise bad_spec(FAMILY, spec, _FORM)
    return spec


def arch_id(spec: str) -> str:
    """Return `transnas_macro/<spec>`.

    Raises:
        SpecError: when `spec` is none of this family.
    """
    return f"{FAMILY}/{_checked(spec)}"


@functools.cache
def _specs() -> tuple[str, ...]:
    """All 3,256 skeletons, short ones first, then in the order of their digits."""
    strings = ("".join(digits) for modules in MODULES for digits in itertools.product(DIGITS, repeat=modules))
    return tuple(filter(_belongs, strings))


_LISTED = Listed(FAMILY, _specs)
enumerate_specs = _LISTED.enumerate_specs
sample = _LISTED.sample


def mutate(spec: str, rng: np.random.Generator) -> str:
    """Replace, add or remove one module; all skeletons that one such edit leads to are equally likely.

    Raises:
        SpecError: when `spec` is none of this family.
    """
    _checked(spec)
    replaced = {spec[:place] + digit + spec[place + 1 :] for place in range(len(spec)) for digit in DIGITS}
    longer = {spec[:place] + digit + spec[place:] for place in range(len(spec) + 1) for digit in DIGITS}
    shorter = {spec[:place] + spec[place + 1 :] for place in range(len(spec))}
    near = sorted(filter(_belongs, (replaced | longer | shorter) - {spec}))
    return near[rng.integers(len(near))]


def crossover(first: str, second: str, rng: np.random.Generator) -> str:
    """Replace one module of the first skeleton by a different one of the second, all such pairs equally likely.

    The place in the second skeleton does not count. Only pairs that stay in the space do; where there is none, the
    first comes back as it is.

    Raises:
        SpecError: when `first` or `second` is none of this family.
    """
    _checked(second)
    own = enumerate(_checked(first))
    children = [first[:place] + given + first[place + 1 :] for place, old in own for given in second if given != old]
    children = list(filter(_belongs, children))
    return children[rng.integers(len(children))] if children else first


def to_graph(
    spec: str, kinds: KindTable | None = None, *, task: str = "class_object", resolution: int | None = None
) -> Graphs:
    """Return the computation graph of the network of a skeleton.

    Args:
        kinds: the table to build over; a new one by default.
        task: whose head the network has: one of `_transnas_network.TASKS`, or "encoder" for none.
        resolution: height and width of the images; by default 256, and 64 for the nine tiles of "jigsaw".

    Raises:
        SpecError: when `spec` is none of this family.
        ConfigError: when there is no such task, or the resolution is not positive.
    """
    _checked(spec)

    def encoder(build: GraphBuilder, x: Value) -> Value:
        x = stem(build, x)
        for channels, stride in cells(spec):
            x = _block(build, x, channels, stride)
        return x

    return unfold(encoder, spec, kinds, task, resolution)


def _block(build: GraphBuilder, x: Value, channels: int, stride: int) -> Value:
    y = relu_conv_bn(build, relu_conv_bn(build, x, channels, 3, stride), channels, 3)
    if stride != 1 or build.shape(x)[2] != channels:
        x = build.batch_norm(build.conv(x, channels, 1, stride=stride), eps=SHORTCUT_EPS)
    return build.add([x, y])


def _read_tables(path: Path) -> pa.Table:
    return read_tables(path, FAMILY, str, frozenset(_specs()))


def _read_official(path: Path) -> pa.Table:
    return read_official(path, FAMILY, "64-", "-basic", frozenset(_specs()))


LABEL_SOURCES: dict[str, Callable[[Path], pa.Table]] = {"tables": _read_tables, "transnas": _read_official}
"""Source -> reader of its file, giving LABELS.

Readers raise TableError when a row is of no skeleton of the space, a skeleton is missing or a value out of its range,
and FormatError or TableError when the file cannot be read.
"""

COLLECTED = "transnas101_macro.parquet"
"""The file of the collected tables that its labels are in."""

REMOTES: dict[str, Remote] = {"transnas": OFFICIAL_FILE}

DATASHEET = {
    "title": "TransNAS-Bench-101, macro space",
    "space": "Skeletons of 4 to 6 residual modules that may double the channels or halve the resolution: 3,256.",
    "labels": LABELLED,
    "licence": LICENCE,
    "citation": CITATION,
    "graph": "The class_object network on 256x256 images by default; `task` chooses another head.",
}
