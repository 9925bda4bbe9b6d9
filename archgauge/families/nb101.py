"""NAS-Bench-101: cells of at most 7 vertices and 9 edges with three operations; 423,624 distinct modules on CIFAR-10.

Source: Ying et al. 2019, "NAS-Bench-101: Towards Reproducible Neural Architecture Search", and its code
(google-research/nasbench).

A spec is `<V>:<upper triangle of the adjacency, row by row, 0 or 1>:<interior operations, comma separated>`. What is
not on a path from input to output is pruned, as the benchmark does, before limits are checked. Specs that this module
makes are canonical: equal modules give equal text. The arch_id is `nb101/` and the benchmark's md5.
"""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from archgauge.cells import Cell
from archgauge.download import Remote
from archgauge.errors import ConfigError, SpecError, TableError
from archgauge.families import _nb101_network, _nb101_space
from archgauge.families._nb101_space import MAX_EDGES, MAX_VERTICES, OPERATIONS
from archgauge.formats import nasbench101
from archgauge.graphs.builder import GraphBuilder
from archgauge.graphs.graph import Graphs
from archgauge.graphs.operations import KindTable
from archgauge.schemas import ARCHITECTURES, LABELS, read_table

FAMILY = "nb101"

_SPEC = re.compile(r"(?P<vertices>[0-9]{1,2}):(?P<bits>[01]*):(?P<operations>[a-z0-9,]*)")

_TABLE = pa.schema(
    [
        ("module_hash", pa.large_string()),
        ("cifar10_test_acc_e108_run0", pa.float64()),
        ("cifar10_valid_acc_e4", pa.float64()),
        ("cifar10_valid_acc_e12", pa.float64()),
        ("cifar10_valid_acc_e36", pa.float64()),
        ("cifar10_valid_acc_e108", pa.float64()),
        ("train_seconds_e108", pa.float64()),
        ("macs", pa.int64()),
        ("params", pa.int64()),
    ]
)
_TABLE_LABELS = {
    "cifar10_test_acc_e108_run0": "cifar10/test@108/run0",
    "cifar10_valid_acc_e4": "cifar10/validation@4/selected_run",
    "cifar10_valid_acc_e12": "cifar10/validation@12/selected_run",
    "cifar10_valid_acc_e36": "cifar10/validation@36/selected_run",
    "cifar10_valid_acc_e108": "cifar10/validation@108/selected_run",
    "train_seconds_e108": "cifar10/train_seconds@108",
}


def enumerate_specs() -> pa.Table:
    """Return all 423,624 modules, schema ARCHITECTURES, sorted by arch_id. Hashing takes most of a minute."""
    every = _nb101_space.space()
    rows = zip(*(column.tolist() for column in every), strict=True)
    progress = tqdm(rows, total=len(every.code), desc="nb101 modules", mininterval=2.0)
    hashes = [_nb101_space.module_hash(*row) for row in progress]
    specs = [_spec(*row) for row in zip(*(column.tolist() for column in every), strict=True)]
    arch_id = pa.array([f"nb101/{module_hash}" for module_hash in hashes])
    family = pa.DictionaryArray.from_arrays(np.zeros(len(specs), dtype=np.int32), ["nb101"])
    return pa.table([arch_id, family, pa.array(specs)], schema=ARCHITECTURES).sort_by("arch_id")


def sample(n: int, rng: np.random.Generator) -> list[str]:
    """Draw `n` distinct modules, uniformly over the 423,624; needs no hash and no table, under a second at first.

    Raises:
        ConfigError: when `n` is negative or larger than the space.
    """
    every = _nb101_space.space()
    if not 0 <= n <= len(every.code):
        raise ConfigError(
            "the size of a sample",
            where="family nb101",
            expected=f"0 to {len(every.code)} modules",
            got=n,
            remedy="Ask for fewer architectures.",
        )
    chosen = rng.choice(len(every.code), size=n, replace=False)
    return [_spec(*row) for row in zip(*(column[chosen].tolist() for column in every), strict=True)]


def mutate(spec: str, rng: np.random.Generator) -> str:
    """Flip one edge or change one operation, drawn uniformly; draw again until the module is valid and another one.

    The edit is made on a form of the module with all seven vertices, in random topological order. Vertices that the
    module lacks get a random operation and one edge from an earlier vertex: they lead nowhere, so they are pruned
    unless the flipped edge connects them to the rest. So cells can grow as well as shrink.

    Raises:
        SpecError: when `spec` is not valid.
    """
    parent = cell(spec)
    parent_spec = _canonical_spec(parent)
    while True:
        child = _pruned(_edited(_padded(parent, rng), rng))
        if child is None or len(child.edges) > MAX_EDGES:
            continue
        child_spec = _canonical_spec(child)
        if child_spec != parent_spec:
            return child_spec


def crossover(first: str, second: str, rng: np.random.Generator) -> str:
    """Replace one operation of the first cell by a different one of the second, all such pairs equally likely.

    Where there is no such pair (a cell without operations, the same single operation) the first stays as it is.

    Raises:
        SpecError: when `first` or `second` is not valid.
    """
    parent, given = cell(first), cell(second).operations[1:-1]
    names = list(parent.operations)
    pairs = [(vertex, name) for vertex in range(1, len(names) - 1) for name in given if name != names[vertex]]
    if pairs:
        vertex, name = pairs[rng.integers(len(pairs))]
        names[vertex] = name
    return _canonical_spec(Cell(tuple(names), parent.edges))


def arch_id(spec: str) -> str:
    """Return `nb101/` and the benchmark's md5 of the pruned module; equal for all specs of one module.

    Raises:
        SpecError: when `spec` is not valid.
    """
    return f"nb101/{_nb101_space.module_hash(*_numbers(cell(spec)))}"


def cell(spec: str) -> Cell:
    """Return the pruned cell, its vertices in the order of the spec.

    Raises:
        SpecError: when the text is malformed, an operation is unknown, no path leads from input to output, or more
            than 7 vertices or 9 edges remain after pruning.
    """
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise _wrong(spec, "<V>:<upper-triangle bits>:<operations>", "another form")
    vertices, bits = int(match["vertices"]), match["bits"]
    operations = match["operations"].split(",") if match["operations"] else []
    order = _nb101_space.pairs(vertices)
    if vertices < 2 or len(bits) != len(order) or len(operations) != vertices - 2:
        expected = f"V(V-1)/2 bits and V-2 operations for V={vertices}, V at least 2"
        raise _wrong(spec, expected, f"{len(bits)} bits and {len(operations)} operations")
    edges = tuple(pair for pair, bit in zip(order, bits, strict=True) if bit == "1")
    return _checked(Cell(("input", *operations, "output"), edges), spec)


def spec_of(whole: Cell) -> str:
    """Return the canonical spec of a cell: pruned, and the same text for all isomorphic cells.

    Raises:
        SpecError: as `cell`, and when an edge leads to the same or an earlier vertex (a cycle, or an order that is not
            topological), leaves the cell or stands twice.
    """
    return _canonical_spec(_checked(whole, whole))


def to_graph(spec: str, kinds: KindTable | None = None) -> Graphs:
    """Return the computation graph of the network that the pruned module unfolds to.

    Args:
        kinds: the table to build over; a new one by default.

    Raises:
        SpecError: as `cell`.
    """
    return _nb101_network.network(cell(spec), KindTable() if kinds is None else kinds)


def operation_graph(name: str) -> Graphs:
    """Return input, one operation of a cell, and output."""
    build = GraphBuilder(KindTable())
    build.output(_nb101_network.operation(build, build.input(8, 8, 16), name, 16))
    return build.finish()


def _checked(whole: Cell, where: object) -> Cell:
    """Return the pruned cell, or raise SpecError."""
    names = whole.operations
    if len(names) < 2 or names[0] != "input" or names[-1] != "output":
        raise _wrong(where, "operations from input to output", ",".join(names) or "no operation")
    unknown = sorted(set(names[1:-1]) - set(OPERATIONS))
    if unknown:
        raise _wrong(where, f"operations of {', '.join(OPERATIONS)}", f"unknown operation {', '.join(unknown)}")
    backward = [edge for edge in whole.edges if not 0 <= edge[0] < edge[1] < len(names)]
    if backward or len(set(whole.edges)) < len(whole.edges):
        expected = "distinct edges from earlier to later vertices, without a cycle"
        raise _wrong(where, expected, f"edge {backward[0]}" if backward else "an edge twice")
    live = _pruned(whole)
    if live is None:
        raise _wrong(where, "a path from input to output", "a disconnected cell")
    if len(live.operations) > MAX_VERTICES or len(live.edges) > MAX_EDGES:
        got = f"{len(live.operations)} vertices and {len(live.edges)} edges"
        raise _wrong(where, f"at most {MAX_VERTICES} vertices and {MAX_EDGES} edges after pruning", got)
    return live


def _pruned(whole: Cell) -> Cell | None:
    """Return the cell without vertices off every path from input to output; None when there is no such path."""
    last = len(whole.operations) - 1
    reached, leading = {0}, {last}
    for source, target in sorted(whole.edges):
        if source in reached:
            reached.add(target)
    for source, target in sorted(whole.edges, reverse=True):
        if target in leading:
            leading.add(source)
    if last not in reached:
        return None
    number = {vertex: index for index, vertex in enumerate(sorted(reached & leading))}
    edges = sorted((number[s], number[t]) for s, t in whole.edges if s in number and t in number)
    return Cell(tuple(whole.operations[vertex] for vertex in number), tuple(edges))


def _numbers(live: Cell) -> tuple[int, int, int]:
    """Return vertices, code and labelling of a pruned cell, as `_nb101_space` counts."""
    edges = set(live.edges)
    code = labelling = 0
    for pair in _nb101_space.pairs(len(live.operations)):
        code = 2 * code + (pair in edges)
    for operation in live.operations[1:-1]:
        labelling = len(OPERATIONS) * labelling + OPERATIONS.index(operation)
    return len(live.operations), code, labelling


def _canonical_spec(live: Cell) -> str:
    vertices, code, labelling = _numbers(live)
    return _spec(vertices, *_nb101_space.canonical(vertices, code, labelling))


def _spec(vertices: int, code: int, labelling: int) -> str:
    return f"{vertices}:{code:0{vertices * (vertices - 1) // 2}b}:{_operation_text(vertices - 2, labelling)}"


@cache
def _operation_text(count: int, labelling: int) -> str:
    return ",".join(OPERATIONS[label] for label in _nb101_space.labels(count, labelling))


def _padded(live: Cell, rng: np.random.Generator) -> Cell:
    """Return the cell with seven vertices in random topological order, as `mutate` says."""
    output = len(live.operations) - 1
    names = list(live.operations)
    names += [str(name) for name in rng.choice(OPERATIONS, size=MAX_VERTICES - len(names))]
    edges = list(live.edges)
    placed, waiting = [0], [vertex for vertex in range(1, len(names)) if vertex != output]
    while waiting:
        ready = [vertex for vertex in waiting if all(s in placed for s, t in live.edges if t == vertex)]
        vertex = ready[rng.integers(len(ready))]
        if vertex > output:
            edges.append((placed[rng.integers(len(placed))], vertex))
        waiting.remove(vertex)
        placed.append(vertex)
    placed.append(output)
    number = {vertex: index for index, vertex in enumerate(placed)}
    return Cell(tuple(names[vertex] for vertex in placed), tuple((number[s], number[t]) for s, t in edges))


def _edited(padded: Cell, rng: np.random.Generator) -> Cell:
    """Flip one of the 21 possible edges, or give one of the 5 vertices one of its 2 other operations."""
    order = _nb101_space.pairs(MAX_VERTICES)
    others = len(OPERATIONS) - 1
    edit = int(rng.integers(len(order) + others * (MAX_VERTICES - 2)))
    if edit < len(order):
        return Cell(padded.operations, tuple(set(padded.edges) ^ {order[edit]}))
    vertex, shift = divmod(edit - len(order), others)
    names = list(padded.operations)
    old = OPERATIONS.index(names[1 + vertex])
    names[1 + vertex] = OPERATIONS[(old + 1 + shift) % len(OPERATIONS)]
    return Cell(tuple(names), padded.edges)


def _labels_from_tables(path: Path) -> pa.Table:
    """Read `nb101.parquet`: test accuracy of one run for all modules, validation and seconds for 30,001 of them.

    The validation columns are not of the run behind the test column: on the 30,001 rows validation at 108 epochs is
    under 15 % five times less often than test (0.11 % against 0.56 %). All values are multiples of 1/9984, so each is
    one evaluation and no mean. The best of the three runs would look so at 108 epochs; who picked is not published,
    so the labels only say `selected_run`. Which run the seconds are of is not known either.
    """
    table = read_table(path, _TABLE, ["module_hash", *_TABLE_LABELS])
    ids = _arch_ids(table)
    return pa.concat_tables(
        [_label_column(path, ids, table[column], label) for column, label in _TABLE_LABELS.items()]
    ).unify_dictionaries()


def _label_column(path: Path, ids: pa.ChunkedArray, values: pa.ChunkedArray, label: str) -> pa.Table:
    measured = values.is_valid()
    ids, values = ids.filter(measured), values.filter(measured)
    is_accuracy = label.split("@")[0] != "cifar10/train_seconds"
    limit = 1.0 if is_accuracy else np.finfo(float).max
    # NaN compares as false, so it counts as out of range.
    wrong = pc.invert(pc.and_(pc.greater_equal(values, 0.0), pc.less_equal(values, limit)))
    if pc.any(wrong).as_py():
        row = pc.index(wrong, True).as_py()
        raise TableError(
            f"the label {label}",
            where=f"{path}, {ids[row]}",
            expected=f"a number between 0 and {limit:g}",
            got=values[row].as_py(),
            remedy="Give the collected table as it was published.",
        )
    zeros = np.zeros(len(ids), dtype=np.int32)
    columns = [
        ids,
        pa.DictionaryArray.from_arrays(zeros, [label]),
        pc.multiply(values, 100.0) if is_accuracy else values,
        pa.DictionaryArray.from_arrays(zeros, ["percent" if is_accuracy else "s"]),
    ]
    return pa.table(columns, schema=LABELS)


def _labels_from_tfrecord(path: Path) -> pa.Table:
    """Read an official file whole; `formats.nasbench101.read_labels` streams it."""
    return pa.concat_tables(nasbench101.read_labels(path)).unify_dictionaries()


LABEL_SOURCES: dict[str, Callable[[Path], pa.Table]] = {
    "tables": _labels_from_tables,
    "tfrecord": _labels_from_tfrecord,
}
"""Readers of measured labels: `tables` of the folder of collected tables, `tfrecord` of an official file."""


COLLECTED = "nb101.parquet"
"""The file of the collected tables that its labels are in."""

REMOTES: dict[str, Remote] = {
    "tfrecord": Remote(
        sources=("https://storage.googleapis.com/nasbench/nasbench_only108.tfrecord",),
        sha256="4c39c3936e36a85269881d659e44e61a245babcb72cb374eacacf75d0e5f4fd1",
    ),
}
"""What a label source is fetched from where no path is given: the 108-epoch runs, some 499 MB."""

DATASHEET = {
    "title": "NAS-Bench-101",
    "space": "Cells of up to seven vertices and nine edges with three operations, nine times in one skeleton: 423,624 "
    "distinct cells.",
    "labels": "Every cell was trained by the authors three times for 4, 12, 36 and 108 epochs on CIFAR-10. The "
    "collected table has the test accuracy of one run, and for 30,001 cells validation accuracies of a selected run.",
    "licence": "Apache-2.0.",
    "citation": "Ying et al., NAS-Bench-101: Towards Reproducible Neural Architecture Search, ICML 2019.",
}


def published_costs(path: Path) -> pa.Table:
    """Return arch_id, macs and params (null for all but 30,001 modules) as the collected table has them.

    The macs are thop's, which counts more than convolutions and linear layers.
    """
    table = read_table(path, _TABLE, ["module_hash", "macs", "params"])
    return pa.table({"arch_id": _arch_ids(table), "macs": table["macs"], "params": table["params"]})


def _arch_ids(table: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise("nb101", table["module_hash"].cast(pa.string()), "/")


def _wrong(where: object, expected: str, got: str) -> SpecError:
    return SpecError(
        "an nb101 spec",
        where=where,
        expected=expected,
        got=got,
        remedy="See the module docstring of archgauge/families/nb101.py for the form and limits of a spec.",
    )
