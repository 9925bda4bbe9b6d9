"""Random access to the live graphs of a family: an uncompressed Arrow file beside the Parquet, mapped, not read.

Parquet has to be decoded, so jobs that draw batches build this cache once and map it. It is keyed by the Parquet's
content: when that changes, or the cache is truncated, it is built again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from archgauge.errors import GraphError
from archgauge.files import sha256, whole_file
from archgauge.graphs.batch import GraphBatch
from archgauge.graphs.graph import Graphs, ragged_rows
from archgauge.graphs.normal_form import live
from archgauge.graphs.operations import KindTable
from archgauge.graphs.tables import graphs_to_table, iter_graphs, read_kinds
from archgauge.schemas import GRAPHS, read_table

_FORMAT = b"live-graphs-1"
_COLUMNS = ("kind", "edge_source", "edge_target")


@dataclass(frozen=True)
class _Chunk:
    """Flat arrays of one record batch, mapped."""

    first_row: int
    node_offset: np.ndarray
    edge_offset: np.ndarray
    kind: np.ndarray
    edge_source: np.ndarray
    edge_target: np.ndarray


class GraphStore:
    """The live graphs of one GRAPHS table.

    Attributes:
        kinds: the kind table.
        arch_id: (N,) names, in the table's order.
        macs, params: (N,) int64, of the full graphs, dead branches included, as benchmarks count them.
        live_hash: (N,) canonical hashes of the live graphs.
        node_count: (N,) nodes of each live graph.
    """

    def __init__(self, graphs: Path, kinds: Path):
        self.path = Path(graphs)
        self.kinds = read_kinds(kinds)
        table = read_table(graphs, GRAPHS, ["arch_id", "macs", "params", "live_hash"])
        self.arch_id = table["arch_id"].to_numpy()
        self.macs, self.params = table["macs"].to_numpy(), table["params"].to_numpy()
        self.live_hash = table["live_hash"].to_numpy()
        self._chunks = _mapped(self.path, self.kinds)
        self._first_row = np.array([chunk.first_row for chunk in self._chunks])
        self.node_count = np.concatenate([np.diff(chunk.node_offset) for chunk in self._chunks])
        self._edge_count = np.concatenate([np.diff(chunk.edge_offset) for chunk in self._chunks])

    def __len__(self) -> int:
        return len(self.arch_id)

    @cached_property
    def row(self) -> dict[str, int]:
        """Row of each `arch_id`."""
        return {name: row for row, name in enumerate(self.arch_id)}

    def batch(self, rows: np.ndarray) -> GraphBatch:
        """The live graphs of `rows`, in that order, gathered by offsets."""
        node_offset, edge_offset = _offsets(self.node_count[rows]), _offsets(self._edge_count[rows])
        kind = np.empty(node_offset[-1], np.int64)
        source, target = np.empty(edge_offset[-1], np.int64), np.empty(edge_offset[-1], np.int64)
        chunk_of = np.searchsorted(self._first_row, rows, "right") - 1
        for number in np.unique(chunk_of):
            chunk, here = self._chunks[number], np.flatnonzero(chunk_of == number)
            local = rows[here] - chunk.first_row
            from_nodes, count = ragged_rows(chunk.node_offset, local)
            from_edges, edge_count = ragged_rows(chunk.edge_offset, local)
            kind[_places(node_offset[here], count)] = chunk.kind[from_nodes]
            to_edges, shift = _places(edge_offset[here], edge_count), np.repeat(node_offset[here], np.diff(edge_count))
            source[to_edges] = chunk.edge_source[from_edges] + shift
            target[to_edges] = chunk.edge_target[from_edges] + shift
        return GraphBatch(*map(torch.from_numpy, (kind, source, target, node_offset)))


class LiveGraphs:
    """B live graphs in memory, behind the part of a graph store's interface that encoders read.

    Attributes:
        kinds: their kind table.
        node_count: (B,) nodes of each.
    """

    def __init__(self, graphs: Graphs):
        self._graphs = graphs
        self.kinds, self.node_count = graphs.kinds, graphs.node_count

    def batch(self, rows: np.ndarray) -> GraphBatch:
        """The graphs of `rows`, in that order."""
        chosen = self._graphs.select(rows)
        arrays = (chosen.kind, chosen.edge_source, chosen.edge_target, chosen.node_offset)
        return GraphBatch(*(torch.from_numpy(array.astype(np.int64)) for array in arrays))


def live_graphs(graphs: Path, kinds: KindTable) -> Iterator[Graphs]:
    """The live graphs of a GRAPHS table, one row group at a time."""
    return (live(group) for group, _ in iter_graphs(graphs, kinds))


def _mapped(graphs: Path, kinds: KindTable) -> list[_Chunk]:
    cache, key = graphs.with_suffix(".live.arrow"), sha256(graphs).encode()
    try:
        return _open(cache, key)
    except (FileNotFoundError, pa.ArrowInvalid, OSError):
        _build(cache, graphs, kinds, key)
        return _open(cache, key)


def _open(cache: Path, key: bytes) -> list[_Chunk]:
    """Map the cache; `ArrowInvalid` when it is truncated or made from another table or by another version."""
    reader = pa.ipc.open_file(pa.memory_map(str(cache)))
    if reader.schema.metadata != {b"parquet": key, b"format": _FORMAT}:
        raise pa.ArrowInvalid("the cache belongs to another table")
    chunks, first_row = [], 0
    for number in range(reader.num_record_batches):
        batch = reader.get_batch(number)
        columns = [batch.column(name) for name in _COLUMNS]
        node_offset, edge_offset, _ = (column.offsets.to_numpy() for column in columns)
        values = (column.values.to_numpy() for column in columns)
        chunks.append(_Chunk(first_row, node_offset, edge_offset, *values))
        first_row += len(batch)
    return chunks


def _build(cache: Path, graphs: Path, kinds: KindTable, key: bytes) -> None:
    schema = pa.schema([(name, pa.list_(pa.int32())) for name in _COLUMNS], {b"parquet": key, b"format": _FORMAT})
    known = len(kinds)
    with whole_file(cache) as temporary, pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, schema) as out:
        for group in live_graphs(graphs, kinds):
            empty = {name: np.zeros(len(group), np.int64) for name in GRAPHS.names}
            table = graphs_to_table(group, empty).select(_COLUMNS).cast(schema)
            for batch in table.combine_chunks().to_batches():
                out.write_batch(batch)
        if len(kinds) > known:
            raise GraphError(
                "the kinds of live graphs",
                where=graphs,
                expected="all of them in the table of kinds",
                got=f"{len(kinds) - known} that are not",
                remedy="Convert the family again: conversion writes the kinds that pruning adds.",
            )


def _offsets(count: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(count)]).astype(np.int64)


def _places(first: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """(items,) positions from `first` on, as many per row as `offset` counts."""
    return np.repeat(first - offset[:-1], np.diff(offset)) + np.arange(offset[-1])
