"""Computation graphs as Parquet, and back: streamed in row groups, so memory does not grow with the family."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, fields
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from archgauge.errors import ArchgaugeError, GraphError
from archgauge.graphs import cost
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.graph import INDEX, Graphs, concatenate, rekind
from archgauge.graphs.normal_form import live
from archgauge.graphs.operations import VOCABULARY, Kind, KindTable
from archgauge.schemas import ARCHITECTURES, GRAPHS, KINDS, read_row_groups, read_table, write_table
from archgauge.workers import Workers

CHUNK_GRAPHS = 500  # graphs that one process turns at a time: some 100,000 nodes
ToGraph = Callable[[str, KindTable], Graphs]


def convert(architectures: Path, to_graph: ToGraph, graphs: Path, kinds: Path, processes: int) -> None:
    """Turn each architecture into its computation graph, with costs and the hash of its live graph.

    The table of kinds also has those that only live graphs need: zeros that stand for a dead branch.

    Args:
        architectures: ARCHITECTURES table.
        to_graph: turns a spec into one graph over the given kind table; picklable.
        graphs, kinds: the GRAPHS and KINDS tables to write.
        processes: how many work in parallel; the result does not depend on it.

    Raises:
        ArchgaugeError: the family's own error, naming the first `arch_id` that could not be turned.
    """
    table = read_table(architectures, ARCHITECTURES, ["arch_id", "spec"])
    chunks = (table.slice(first, CHUNK_GRAPHS) for first in range(0, len(table), CHUNK_GRAPHS))
    known = KindTable()
    with Workers(processes) as workers, tqdm(total=len(table), unit="graph", desc="convert") as bar:
        done = workers.spread(partial(_converted, to_graph), chunks)
        write_table(graphs, _row_groups(done, known, bar), GRAPHS)
    write_table(kinds, kinds_to_table(known), KINDS)


def _converted(to_graph: ToGraph, chunk: pa.Table) -> tuple[Graphs, dict[str, np.ndarray]]:
    """One chunk's graphs over a table of their own, so that the numbering does not depend on who works when."""
    kinds, parts, arch_ids = KindTable(), [], chunk["arch_id"].to_pylist()
    for arch_id, spec in zip(arch_ids, chunk["spec"].to_pylist(), strict=True):
        try:
            parts.append(to_graph(spec, kinds))
        except ArchgaugeError as error:
            where = f"{arch_id}, {error.where}"
            raise type(error)(
                error.checked, where=where, expected=error.expected, got=error.got, remedy=error.remedy
            ) from error
    graphs = concatenate(parts)
    columns = {
        "arch_id": np.array(arch_ids),
        "macs": cost.macs(graphs),
        "params": cost.params(graphs),
        "params_outside": graphs.params_outside,
        "live_hash": canonical_hash(live(graphs)),
    }
    return graphs, columns


def _row_groups(chunks: Iterable[tuple[Graphs, dict]], kinds: KindTable, bar: tqdm) -> Iterator[pa.Table]:
    """Collect converted chunks into tables of some 10,000 rows, over the one table `kinds`."""
    waiting: list[pa.Table] = []
    for graphs, columns in chunks:
        waiting.append(graphs_to_table(rekind(graphs, kinds), columns))
        bar.update(len(graphs))
        if len(waiting) * CHUNK_GRAPHS >= 10_000:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()


def graphs_to_table(graphs: Graphs, columns: dict[str, np.ndarray]) -> pa.Table:
    """GRAPHS rows; node indices count from the first node of their own graph."""
    first = np.repeat(graphs.node_offset[:-1], graphs.edge_count).astype(INDEX)
    ragged = {
        "kind": _lists(graphs.kind, graphs.node_offset),
        "edge_source": _lists(graphs.edge_source - first, graphs.edge_offset),
        "edge_output": _sparse(graphs.edge_output, graphs.edge_offset, 0),
        "edge_target": _lists(graphs.edge_target - first, graphs.edge_offset),
        "edge_slot": _lists(graphs.edge_slot, graphs.edge_offset),
        "weight_id": _sparse(graphs.weight_id, graphs.node_offset, -1),
    }
    return pa.table({name: ragged[name] if name in ragged else columns[name] for name in GRAPHS.names})


def table_to_graphs(table: pa.Table, kinds: KindTable) -> Graphs:
    """The inverse of `graphs_to_table`.

    Raises:
        GraphError: when an index points outside its graph or the kind table.
    """
    kind, node_offset = _flat(table, "kind")
    source, edge_offset = _flat(table, "edge_source")
    target, _ = _flat(table, "edge_target")
    slot, _ = _flat(table, "edge_slot")
    first = np.repeat(node_offset[:-1], np.diff(edge_offset))
    size = np.repeat(np.diff(node_offset), np.diff(edge_offset))
    bad_edges = np.flatnonzero((np.maximum(source, target) >= size) | (np.minimum(source, target) < 0))
    bad_nodes = np.flatnonzero((kind < 0) | (kind >= len(kinds)))
    if len(bad_edges) or len(bad_nodes):
        offset, bad = (edge_offset, bad_edges) if len(bad_edges) else (node_offset, bad_nodes)
        raise GraphError(
            "the indices of a computation graph",
            where=table["arch_id"][int(np.searchsorted(offset, bad[0], "right")) - 1],
            expected=f"nodes of its own graph and kinds below {len(kinds)}",
            got="an index outside",
            remedy="The table of graphs and the table of kinds do not belong together; convert the family again.",
        )
    return Graphs(
        kinds=kinds,
        kind=kind,
        node_offset=node_offset,
        edge_source=(source + first).astype(INDEX),
        edge_output=_dense(table, "edge_output", edge_offset, 0),
        edge_target=(target + first).astype(INDEX),
        edge_slot=slot,
        edge_offset=edge_offset,
        weight_id=_dense(table, "weight_id", node_offset, -1),
        params_outside=table["params_outside"].to_numpy(),
    )


def iter_graphs(
    graphs: Path, kinds: KindTable, columns: Sequence[str] = ("arch_id",)
) -> Iterator[tuple[Graphs, pa.Table]]:
    """The graphs of a GRAPHS table, one row group at a time, each with the asked columns of its rows.

    Raises:
        TableError: as `archgauge.schemas.read_table`.
        GraphError: as `table_to_graphs`.
    """
    wanted = [field.name for field in GRAPHS if pa.types.is_list(field.type)] + ["params_outside", "arch_id"]
    for table in read_row_groups(graphs, GRAPHS, list(dict.fromkeys([*wanted, *columns]))):
        yield table_to_graphs(table, kinds), table.select(list(columns))


def kinds_to_table(kinds: KindTable) -> pa.Table:
    """KINDS rows."""
    columns = zip(*(astuple(kind) for kind in kinds), strict=True)
    return pa.table(
        {field.name: pa.array(list(values), field.type) for field, values in zip(KINDS, columns, strict=True)}
    )


def read_kinds(path: Path) -> KindTable:
    """The kind table beside a GRAPHS table.

    Raises:
        TableError: when the file is no table of kinds.
        GraphError: when an operation is not in the vocabulary.
    """
    rows = read_table(path, KINDS).to_pylist()
    if unknown := sorted({row["operation"] for row in rows} - set(VOCABULARY)):
        raise GraphError(
            "the operations of computation graphs",
            where=path,
            expected=f"names of {', '.join(VOCABULARY)}",
            got=", ".join(unknown),
            remedy="Convert the family again; what the vocabulary lacks is `other` with its name in `extra`.",
        )
    return KindTable(Kind(**{field.name: _tuples(row[field.name]) for field in fields(Kind)}) for row in rows)


def _tuples(value):
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _lists(values: np.ndarray, offset: np.ndarray) -> pa.ListArray:
    return pa.ListArray.from_arrays(offset.astype(np.int32), pa.array(values, pa.int32()))


def _sparse(values: np.ndarray, offset: np.ndarray, default: int) -> pa.ListArray:
    """Lists that are empty where all values of a graph are the default."""
    count = np.diff(offset)
    row = np.repeat(np.arange(len(count)), count)
    used = np.bincount(row[values != default], minlength=len(count)) > 0
    return _lists(values[used[row]], np.concatenate([[0], np.cumsum(count * used)]))


def _flat(table: pa.Table, column: str) -> tuple[np.ndarray, np.ndarray]:
    """(items,) values and (B + 1,) offsets of a list column."""
    lists = table[column].combine_chunks()
    lists = lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists
    offset = lists.offsets.to_numpy().astype(np.int64)
    return lists.values.to_numpy()[offset[0] : offset[-1]], offset - offset[0]


def _dense(table: pa.Table, column: str, offset: np.ndarray, default: int) -> np.ndarray:
    values, given = _flat(table, column)
    dense = np.full(offset[-1], default, INDEX)
    dense[np.repeat(np.diff(given) > 0, np.diff(offset))] = values
    return dense
