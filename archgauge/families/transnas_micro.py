"""TransNAS-Bench-101's cell space (Duan et al. 2021, arXiv 2105.11871): 4,096 cells trained on seven vision tasks.

A cell has four nodes and one of four operations on each of its six edges; a node is the sum of its incoming edges and
the last one is the output. The spec `a_bc_def` gives the operations that lead to node 1, to node 2 and to node 3, each
from node 0 on: 0 none, 1 skip, 2 ReLU-conv1x1-BN, 3 ReLU-conv3x3-BN. It is the end of the benchmark's own string
`64-41414-a_bc_def`, and the collected table's `abcdef`. The `arch_id` is `transnas_micro/<spec>`.

The network has five modules of two cells (digits 41414, see `_transnas_network`). Where a cell changes shape, the
edges from node 0 do it; a skip is then a factorised reduction (ReLU, two 1x1 convolutions of stride 2 with half of the
channels each, the second on the image moved by one pixel, BN). All edges are built, also those that lead nowhere:
the benchmark trains and counts them. Without any convolution 19,488 parameters of the stem are left.

Parameters and multiply-adds are equal to those of the authors' code for every head. The parameters that
NAS-Bench-Suite-Zero prints are ours of the encoder and of a linear layer for 63 classes; its flops are ours at 256x256
pixels, 2 for each output element of a BN, 1 for each of a ReLU, and 81 * 512 for the global pool.

Labels: see `_transnas_labels`.
"""

import functools
import itertools
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from archgauge.cells import Cell
from archgauge.download import Remote
from archgauge.families._common import Listed, bad_spec
from archgauge.families._transnas_labels import CITATION, LABELLED, LICENCE, OFFICIAL_FILE, read_official, read_tables
from archgauge.families._transnas_network import cells, relu_conv_bn, stem, unfold
from archgauge.graphs.builder import GraphBuilder, Value
from archgauge.graphs.graph import Graphs
from archgauge.graphs.operations import Kind, KindTable

FAMILY = "transnas_micro"
OPERATIONS = {"0": "none", "1": "skip", "2": "conv1x1", "3": "conv3x3"}
"""Digit of the spec -> name of the operation in a cell."""

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""(source, target) of a cell's edges in the order of the spec."""

MODULES = "41414"

_FROM_TO = ((-1, 0), *EDGES, (3, 4))  # the vertices of `cell`: input, one for each edge, output
_CELL_EDGES = tuple(
    (a, b) for a, (_, end) in enumerate(_FROM_TO) for b, (start, _) in enumerate(_FROM_TO) if end == start
)
_SPEC = re.compile("([0-3])_([0-3])([0-3])_([0-3])([0-3])([0-3])")


def parse(spec: str) -> tuple[str, ...]:
    """Return the six digits in the order of `EDGES`.

    Raises:
        SpecError: when `spec` is not of the form `a_bc_def` with digits 0 to 3.
    """
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise bad_spec(FAMILY, spec, "a_bc_def with digits 0 to 3")
    return match.groups()


def spec_of(digits: str) -> str:
    """Return the spec of six digits, as the collected table writes them. Inverse of `parse`."""
    return f"{digits[0]}_{digits[1:3]}_{digits[3:]}"


def arch_id(spec: str) -> str:
    """Return `transnas_micro/<spec>`.

    Raises:
        SpecError: when `spec` is none of this family.
    """
    parse(spec)
    return f"{FAMILY}/{spec}"


@functools.cache
def _specs() -> tuple[str, ...]:
    """All 4,096 cells in the order of their digits."""
    return tuple(spec_of("".join(digits)) for digits in itertools.product(OPERATIONS, repeat=len(EDGES)))


_LISTED = Listed(FAMILY, _specs)
enumerate_specs = _LISTED.enumerate_specs
sample = _LISTED.sample


def mutate(spec: str, rng: np.random.Generator) -> str:
    """Replace the operation of one edge by another one, all 18 neighbours equally likely.

    Raises:
        SpecError: when `spec` is none of this family.
    """
    digits = list(parse(spec))
    edge = rng.integers(len(EDGES))
    others = [digit for digit in OPERATIONS if digit != digits[edge]]
    digits[edge] = others[rng.integers(len(others))]
    return spec_of("".join(digits))


def crossover(first: str, second: str, rng: np.random.Generator) -> str:
    """Replace one operation of the first cell by a different one of the second, all such pairs equally likely.

    The place in the second cell does not count. Cells that share one single operation leave the first as it is.

    Raises:
        SpecError: when `first` or `second` is none of this family.
    """
    digits, given = list(parse(first)), parse(second)
    pairs = [(edge, digit) for edge, own in enumerate(digits) for digit in given if digit != own]
    if pairs:
        edge, digit = pairs[rng.integers(len(pairs))]
        digits[edge] = digit
    return spec_of("".join(digits))


def cell(spec: str) -> Cell:
    """Return the cell with its operations as vertices: input, one for each edge in the order of `EDGES`, output.

    A vertex feeds another where its edge ends at the node from which the other's starts.

    Raises:
        SpecError: when `spec` is none of this family.
    """
    return Cell(("input", *(OPERATIONS[digit] for digit in parse(spec)), "output"), _CELL_EDGES)


def to_graph(
    spec: str, kinds: KindTable | None = None, *, task: str = "class_object", resolution: int | None = None
) -> Graphs:
    """Return the computation graph of the network that a cell unfolds to.

    Args:
        kinds: the table to build over; a new one by default.
        task: whose head the network has: one of `_transnas_network.TASKS`, or "encoder" for none.
        resolution: height and width of the images; by default 256, and 64 for the nine tiles of "jigsaw".

    Raises:
        SpecError: when `spec` is none of this family.
        ConfigError: when there is no such task, or the resolution is not positive.
    """
    edges = [(*edge, digit) for edge, digit in zip(EDGES, parse(spec), strict=True)]

    def encoder(build: GraphBuilder, x: Value) -> Value:
        x = stem(build, x)
        for channels, stride in cells(MODULES):
            x = _cell(build, x, edges, channels, stride)
        return x

    return unfold(encoder, MODULES, kinds, task, resolution)


def _cell(build: GraphBuilder, x: Value, edges: list[tuple[int, int, str]], channels: int, stride: int) -> Value:
    nodes = [x]
    for node in range(1, 4):
        terms = [
            _edge(build, nodes[source], digit, channels, stride if source == 0 else 1)
            for source, target, digit in edges
            if target == node
        ]
        nodes.append(build.add(terms))
    return nodes[-1]


def _edge(build: GraphBuilder, x: Value, digit: str, channels: int, stride: int) -> Value:
    height, width, before = build.shape(x)
    keeps_shape = stride == 1 and before == channels
    match digit:
        case "0" if keeps_shape:
            return build.same("zero", x)
        case "0":
            after = ((height - 1) // stride + 1, (width - 1) // stride + 1, channels)
            return build.node(Kind("zero", (), (after,)), ())
        case "1" if keeps_shape:
            return x
        case "1":
            return _factorised_reduction(build, x, channels, stride)
    return relu_conv_bn(build, x, channels, {"2": 1, "3": 3}[digit], stride)


def _factorised_reduction(build: GraphBuilder, x: Value, channels: int, stride: int) -> Value:
    height, width, _ = build.shape(x)
    x = build.same("relu", x)
    moved = build.pad(x, left=0, right=1, top=0, bottom=1)
    moved = build.slice(build.slice(moved, "height", 1, height + 1), "width", 1, width + 1)
    halves = [build.conv(half, channels // 2, 1, stride=stride) for half in (x, moved)]
    return build.batch_norm(build.concat(halves))


def _read_tables(path: Path) -> pa.Table:
    return read_tables(path, FAMILY, spec_of, frozenset(_specs()))


def _read_official(path: Path) -> pa.Table:
    return read_official(path, FAMILY, f"64-{MODULES}-", "", frozenset(_specs()))


LABEL_SOURCES: dict[str, Callable[[Path], pa.Table]] = {"tables": _read_tables, "transnas": _read_official}
"""Source -> reader of its file, giving LABELS.

Readers raise TableError when a row is of no cell of the space, a cell is missing or a value out of its range, and
FormatError or TableError when the file cannot be read.
"""

COLLECTED = "transnas101_micro.parquet"
"""The file of the collected tables that its labels are in."""

REMOTES: dict[str, Remote] = {"transnas": OFFICIAL_FILE}

DATASHEET = {
    "title": "TransNAS-Bench-101, cell space",
    "space": "Cells of four nodes with one of none, skip, 1x1 and 3x3 convolution on each of six edges: 4,096.",
    "labels": LABELLED,
    "licence": LICENCE,
    "citation": CITATION,
    "graph": "The class_object network on 256x256 images by default; `task` chooses another head.",
}
