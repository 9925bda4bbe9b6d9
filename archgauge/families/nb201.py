"""NAS-Bench-201 (Dong and Yang 2020, arXiv 2001.00326): a cell of four nodes, one of five operations on each edge.

The spec is the official architecture string `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`: the operations that lead to node 1,
to node 2, and to node 3, each with the node it comes from. There are 5^6 = 15,625 cells. The `arch_id` is
`nb201/<official index>`, the index that NATS-Bench's files are named by.

Labels (all percent, official training: 200 or 12 epochs):
- "tables": the collected nb201.parquet. `run0` is one run, `mean` the mean over the 1 to 3 runs of 200 epochs. The
  table's `val_*_naslib` columns are left out. They are no validation accuracies: the CIFAR-100 and ImageNet16-120 ones
  repeat one of the test runs, and the CIFAR-10 ones count 10,000 images where the validation set has 25,000.
- "analog": the cells trained anew by AnalogNAS-Bench (see `archgauge.formats.analog`).
- "natsbench": the official files (see `archgauge.formats.natsbench`), the only source of validation accuracies.
"""

import functools
import itertools
import random
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from archgauge.cells import Cell
from archgauge.download import Remote
from archgauge.errors import ConfigError, SpecError, TableError
from archgauge.families import _common, _nb201_network
from archgauge.formats import analog, natsbench
from archgauge.graphs.builder import GraphBuilder
from archgauge.graphs.graph import Graphs
from archgauge.graphs.operations import KindTable
from archgauge.schemas import ARCHITECTURES, LABELS, read_table

FAMILY = "nb201"
OPERATIONS = {
    "none": "none",
    "skip_connect": "skip",
    "nor_conv_1x1": "conv1x1",
    "nor_conv_3x3": "conv3x3",
    "avg_pool_3x3": "avgpool3x3",
}
"""Official operation name, in the official order -> our name for it in a cell."""

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""(source, target) of a cell's edges in the order of the spec."""

_FROM_TO = ((-1, 0), *EDGES, (3, 4))  # the vertices of `cell`: input, one for each edge, output
_CELL_EDGES = tuple(
    (a, b) for a, (_, end) in enumerate(_FROM_TO) for b, (start, _) in enumerate(_FROM_TO) if end == start
)
_ORDER_SEED = 88  # the authors enumerated the product of operations and shuffled it with this seed
_OPERATION = f"({'|'.join(OPERATIONS)})"
_SPEC = re.compile(r"\|OP~0\|\+\|OP~0\|OP~1\|\+\|OP~0\|OP~1\|OP~2\|".replace("OP", _OPERATION))


def parse(spec: str) -> tuple[str, ...]:
    """Return the official names of the six operations, in the order of `EDGES`.

    Raises:
        SpecError: when `spec` is no official architecture string.
    """
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise SpecError(
            "the spec of a NAS-Bench-201 cell",
            where=f"{FAMILY}/?",
            expected=f"|op~0|+|op~0|op~1|+|op~0|op~1|op~2| with op one of {', '.join(OPERATIONS)}",
            got=repr(spec),
            remedy="Give the official architecture string.",
        )
    return match.groups()


def spec_of(operations: Iterable[str]) -> str:
    """Return the spec of six official operation names in the order of `EDGES`. Inverse of `parse`."""
    nodes: dict[int, str] = {}
    for (source, target), operation in zip(EDGES, operations, strict=True):
        nodes[target] = nodes.get(target, "|") + f"{operation}~{source}|"
    return "+".join(nodes.values())


@functools.cache
def _official_specs() -> tuple[str, ...]:
    """Return all specs by official index. The authors' order is a seeded shuffle, so no table is needed."""
    specs = [spec_of(operations) for operations in itertools.product(OPERATIONS, repeat=len(EDGES))]
    random.Random(_ORDER_SEED).shuffle(specs)
    return tuple(specs)


@functools.cache
def _official_index() -> dict[str, int]:
    return {spec: index for index, spec in enumerate(_official_specs())}


def arch_id(spec: str) -> str:
    """Return `nb201/<official index>`.

    Raises:
        SpecError: when `spec` is no official architecture string.
    """
    return f"{FAMILY}/{_official_index()[spec_of(parse(spec))]}"


def enumerate_specs() -> pa.Table:
    """Return all 15,625 cells in the official order (schema ARCHITECTURES)."""
    specs = _official_specs()
    columns = {
        "arch_id": [f"{FAMILY}/{index}" for index in range(len(specs))],
        "family": [FAMILY] * len(specs),
        "spec": list(specs),
    }
    return pa.table(columns).cast(ARCHITECTURES)


def sample(n: int, rng: np.random.Generator) -> list[str]:
    """Draw `n` distinct specs, each set of `n` equally likely.

    Raises:
        ConfigError: when there are fewer than `n` cells.
    """
    specs = _official_specs()
    if not 0 <= n <= len(specs):
        raise ConfigError(
            "the size of a sample",
            where=FAMILY,
            expected=f"0 to {len(specs)} distinct cells",
            got=n,
            remedy="Ask for fewer.",
        )
    return [specs[index] for index in rng.choice(len(specs), size=n, replace=False)]


def mutate(spec: str, rng: np.random.Generator) -> str:
    """Replace the operation of one edge by another one, all 24 neighbours equally likely.

    Raises:
        SpecError: when `spec` is no official architecture string.
    """
    operations = list(parse(spec))
    edge = rng.integers(len(EDGES))
    others = [name for name in OPERATIONS if name != operations[edge]]
    operations[edge] = others[rng.integers(len(others))]
    return spec_of(operations)


def crossover(first: str, second: str, rng: np.random.Generator) -> str:
    """Replace one operation of the first cell by a different one of the second, all such pairs equally likely.

    The place in the second cell does not count. Cells that share one single operation leave the first as it is.

    Raises:
        SpecError: when `first` or `second` is no official architecture string.
    """
    operations, given = list(parse(first)), parse(second)
    pairs = [(edge, name) for edge, own in enumerate(operations) for name in given if name != own]
    if pairs:
        edge, name = pairs[rng.integers(len(pairs))]
        operations[edge] = name
    return spec_of(operations)


def without_none(spec: str) -> bool:
    """Tell whether the cell is one of the 4,096 that use no `none`, the set that papers report on.

    Raises:
        SpecError: when `spec` is no official architecture string.
    """
    return "none" not in parse(spec)


def cell(spec: str) -> Cell:
    """Return the cell with its operations as vertices: input, one for each edge in the order of `EDGES`, output.

    A vertex feeds another where its edge ends at the node from which the other's starts.

    Raises:
        SpecError: when `spec` is no official architecture string.
    """
    operations = ("input", *(OPERATIONS[name] for name in parse(spec)), "output")
    return Cell(operations, _CELL_EDGES)


def to_graph(
    spec: str, kinds: KindTable | None = None, *, skeleton: Literal["authors", "gennape"] = "authors"
) -> Graphs:
    """Return the computation graph of the network that a cell unfolds to.

    Args:
        kinds: the table to build over; a new one by default.
        skeleton: "authors" for the benchmark's own network, "gennape" for GENNAPE's simplified one.

    Raises:
        SpecError: when `spec` is no official architecture string.
        ConfigError: when the skeleton is unknown.
    """
    edges = [(*edge, name) for edge, name in zip(EDGES, parse(spec), strict=True)]
    if skeleton not in _SKELETONS:
        raise ConfigError(
            "the skeleton of a network",
            where=f"families.{FAMILY}.graph.skeleton",
            expected=f"one of {', '.join(_SKELETONS)}",
            got=repr(skeleton),
            remedy="Name one of these.",
        )
    return _SKELETONS[skeleton](edges, KindTable() if kinds is None else kinds)


def operation_graph(name: str) -> Graphs:
    """Return input, one operation of a cell by its official name, and output, as the authors' network has it."""
    build = GraphBuilder(KindTable())
    build.output(_nb201_network.operation(build, build.input(8, 8, 16), name))
    return build.finish()


_SKELETONS = {"authors": _nb201_network.authors_network, "gennape": _nb201_network.gennape_network}

table_flops = _common.table_flops
"""What the collected table calls FLOPs, on graphs of the skeleton "authors"."""

COLLECTED = "nb201.parquet"
"""The file of the collected tables that its labels are in."""

REMOTES: dict[str, Remote] = {
    "natsbench": Remote(
        sources=(
            "https://drive.usercontent.google.com/download?id=17_saCsj_krKjlCBLOJEpNtzPXArMCqxU&export=download&confirm=t",
        ),
        file="NATS-tss-v1_0-3ffb9-simple.tar",
    ),
}
"""What a label source is fetched from where no path is given. Neither size nor sha256 is published."""

DATASHEET = {
    "title": "NAS-Bench-201",
    "space": "Cells of four nodes with one of five operations on each of six edges, fifteen times in one skeleton: "
    "5^6 = 15,625 cells, of which 5,425 are distinct once what is dead is pruned.",
    "labels": "Every cell was trained by the authors for 12 and for 200 epochs on CIFAR-10, CIFAR-100 and "
    "ImageNet16-120, up to three times; `+analog` is one training of each cell on CIFAR-10 by AnalogNAS-Bench.",
    "licence": "MIT (NAS-Bench-201, NATS-Bench).",
    "citation": "Dong and Yang, NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search, "
    "ICLR 2020.",
}

_TABLE_COLUMNS = {
    f"test{epochs}_{column}_{run}": f"{name}/test@{epochs}/{'mean' if run == 'mean' else 'run0'}"
    for column, name in {"cifar10": "cifar10", "cifar100": "cifar100", "imagenet16_120": "imagenet16-120"}.items()
    for epochs, run in ((12, "1seed"), (200, "1seed"), (200, "mean"))
}


def _read_tables(path: Path) -> pa.Table:
    """Read the collected nb201.parquet."""
    schema = pa.schema([("index", pa.int64()), ("arch_str", pa.large_string())])
    for column in _TABLE_COLUMNS:
        schema = schema.append(pa.field(column, pa.float64()))
    rows = read_table(path, schema).to_pylist()
    return _labels(
        (
            (row["index"], row["arch_str"], label, row[column])
            for column, label in _TABLE_COLUMNS.items()
            for row in rows
        ),
        path,
    )


_PROXIES = ("epe_nas", "fisher", "grad_norm", "grasp", "jacov", "l2_norm", "plain", "snip", "synflow", "zen")
_PROXY_COLUMNS = {name: f"zc_{name}_cifar10" for name in _PROXIES} | {"naswot": "zc_nwot_cifar10"}


def published_proxies(path: Path) -> pa.Table:
    """(arch_id, proxy, value) of the collected table: NASLib's zero-cost proxies on CIFAR-10 (NAS-Bench-Suite-Zero).

    9,445 cells have them, the 4,096 without `none` among them; all 15,625 have zen. Signs are as published; a value is
    null where the proxy gave no number. The values of synflow are logarithms.

    Raises:
        TableError: when a column is absent, or a value is not finite.
    """
    schema = pa.schema([("index", pa.int64()), *((column, pa.float64()) for column in _PROXY_COLUMNS.values())])
    table = read_table(path, schema)
    arch_ids = [f"{FAMILY}/{index}" for index in table["index"].to_pylist()]
    return _common.published_columns(path, arch_ids, table, _PROXY_COLUMNS)


def published_costs(path: Path) -> pa.Table:
    """(arch_id, params, macs) of the collected table; `macs` are its `table_flops`."""
    schema = pa.schema([("index", pa.int64()), ("params_M_cifar10", pa.float64()), ("flops_M_cifar10", pa.float64())])
    table = read_table(path, schema)
    arch_ids = [f"{FAMILY}/{index}" for index in table["index"].to_pylist()]
    counts = [pc.cast(pc.round(pc.multiply(table[name], 1e6)), pa.int64()) for name in schema.names[1:]]
    return pa.table([arch_ids, *counts], names=["arch_id", "params", "macs"])


def _read_analog(path: Path | None) -> pa.Table:
    """Read the data file of the package analog-nasbench; the installed one when no path is given."""
    path = path or analog.installed_file()
    accuracies = {spec_of(edges[edge] for edge in EDGES): value for edges, value in analog.read_baseline(path)}
    label = "cifar10/test@200/run0+analog"
    return _labels(((i, spec, label, accuracies[spec]) for i, spec in enumerate(_official_specs())), path)


def _read_natsbench(path: Path) -> pa.Table:
    """Read the official files: the simple folder, its tar, or the whole benchmark's pickle."""
    return _labels(natsbench.read_accuracies(path), path)


LABEL_SOURCES: dict[str, Callable[[Path], pa.Table]] = {
    "tables": _read_tables,
    "analog": _read_analog,
    "natsbench": _read_natsbench,
}
"""Source -> reader of its file or folder, giving LABELS.

Readers raise TableError when the file's order of cells is not the official one or a value is no percentage,
and FormatError or TableError when the file cannot be read.
"""


def _labels(rows: Iterable[tuple[int, str, str, float]], path: Path) -> pa.Table:
    """Make LABELS of (official index, spec, label, percent), every one of them checked."""
    specs = _official_specs()
    columns: dict[str, list] = {name: [] for name in LABELS.names}
    for index, spec, label, value in rows:
        if not (0 <= index < len(specs) and specs[index] == spec):
            raise TableError(
                "the official index of a cell",
                where=f"{path}, {FAMILY}/{index}",
                expected=specs[index] if 0 <= index < len(specs) else f"an index below {len(specs)}",
                got=spec,
                remedy="The file is not of NAS-Bench-201, or its rows were reordered: fetch it again.",
            )
        if value is None or not 0 <= value <= 100:
            raise TableError(
                f"the label {label}",
                where=f"{path}, {FAMILY}/{index}",
                expected="an accuracy of 0 to 100 percent",
                got=value,
                remedy="The file is damaged: fetch it again.",
            )
        for name, entry in zip(LABELS.names, (f"{FAMILY}/{index}", label, value, "percent"), strict=True):
            columns[name].append(entry)
    return pa.table(columns).cast(LABELS)
