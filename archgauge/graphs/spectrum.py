"""Laplacian spectra: the topological fingerprint that contrastive pretraining compares graphs by."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from archgauge.graphs.graph import Graphs
from archgauge.graphs.normal_form import live
from archgauge.graphs.operations import KindTable
from archgauge.graphs.tables import iter_graphs, read_kinds
from archgauge.schemas import SPECTRA, write_table
from archgauge.workers import Workers


def laplacian_eigenvalues(graphs: Graphs, count: int) -> np.ndarray:
    """The smallest eigenvalues of I - D^(-1/2) A D^(-1/2) of each underlying undirected graph.

    Parallel edges count once. A graph with fewer nodes than `count` is padded with zeros (the papers do not say).
    One dense `eigvalsh` a graph: on graphs of some 190 nodes every sparse, banded or partial solver was slower.

    Returns:
        (B, count) float32, ascending before the padding, within [0, 2].
    """
    spectra = np.zeros((len(graphs), count), np.float32)
    for row in range(len(graphs)):
        edges = slice(*graphs.edge_offset[row : row + 2])
        first, last = graphs.node_offset[row : row + 2]
        source, target = graphs.edge_source[edges] - first, graphs.edge_target[edges] - first
        smallest = np.linalg.eigvalsh(_normalised_laplacian(last - first, source, target))[:count]
        spectra[row, : len(smallest)] = smallest
    return spectra


def _normalised_laplacian(nodes: int, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    adjacency = np.zeros((nodes, nodes))
    adjacency[source, target] = adjacency[target, source] = 1
    degree = adjacency.sum(1)
    scale = np.divide(1, np.sqrt(degree), out=np.zeros(nodes), where=degree > 0)
    return np.diag((degree > 0).astype(float)) - scale[:, None] * adjacency * scale


def write_spectra(graphs: Path, kinds: Path, spectra: Path, count: int, processes: int) -> None:
    """Write the SPECTRA of a GRAPHS table; equal live graphs are worked out once.

    Args:
        graphs, kinds: the tables to read.
        spectra: the table to write.
        count: eigenvalues of each graph.
        processes: how many work in parallel, one thread each; the result does not depend on it.
    """
    table = read_kinds(kinds)
    with Workers(processes, _one_thread) as workers:
        write_table(spectra, _spectra(graphs, table, count, workers), SPECTRA)


def _spectra(graphs: Path, kinds: KindTable, count: int, workers: Workers) -> Iterator[pa.Table]:
    total = pq.ParquetFile(graphs).metadata.num_rows
    with tqdm(total=total, unit="graph", desc="spectra") as bar:
        for group, columns in iter_graphs(graphs, kinds, ["arch_id", "live_hash"]):
            _, first, which = np.unique(columns["live_hash"].to_numpy(), return_index=True, return_inverse=True)
            distinct = live(group.select(first))
            chunks = [np.arange(a, min(a + 100, len(first))) for a in range(0, len(first), 100)]
            parts = []
            work = partial(laplacian_eigenvalues, count=count)
            for part in workers.spread(work, map(distinct.select, chunks)):
                parts.append(part)
                bar.update(len(group) * len(part) / len(first))
            values = np.concatenate(parts)[which]
            lists = pa.FixedSizeListArray.from_arrays(values.ravel(), count).cast(pa.list_(pa.float32()))
            yield pa.table({"arch_id": columns["arch_id"], "eigenvalues": lists})


def _one_thread() -> None:
    threadpool_limits(1)
