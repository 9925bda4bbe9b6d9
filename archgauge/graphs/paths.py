"""What the paths of a live graph say: how many there are, what lies on them, and the same for each of its segments.

One sweep along the topological levels works out the statistics of all paths from an input to an output without
listing any: a network of fifteen cells with four paths each has 10^9.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa

from archgauge.graphs import cost
from archgauge.graphs.graph import Graphs
from archgauge.graphs.normal_form import edges_by_level, live
from archgauge.graphs.operations import WEIGHTED, Kind
from archgauge.graphs.tables import iter_graphs, read_kinds
from archgauge.schemas import STRUCTURES, write_table

CLASSES = ("spatial", "pointwise", "depthwise", "weighted", "pool", "layer")
"""Classes of operations that are counted along paths; see `classes_of`. Activations follow the layers."""

SHARES = 4
"""Paths are told apart by their weighted operations: 0, 1, 2, and 3 or more."""

MOST_PATHS = 1000.0
"""Paths of a segment are counted up to here: a cell has a few, a network without cuts more than a float can hold."""

CHUNK_GRAPHS = 1000
"""Graphs that are swept at a time: some 130,000 nodes of NAS-Bench-201, 50 MB."""

_MOMENTS = ("mean", "std", "min", "max")
_COSTS = ("log_nodes", "depth", "log_macs", "log_params")


def _names() -> tuple[str, ...]:
    paths = ["log_paths", *(f"{moment}_{name}" for moment in _MOMENTS for name in CLASSES)]
    counts = [f"nodes_{name}" for name in CLASSES]
    segment = [f"segment_{name}" for name in (*paths, *(f"paths_{k}_weighted" for k in range(SHARES)))]
    return ("dead", *paths, *counts, *_COSTS, "segments", *segment)


FEATURES = _names()
"""Names of the F columns of `path_statistics`."""


class _Paths(NamedTuple):
    """Statistics of the paths that end in each of V places.

    Attributes:
        log_count: (V,) natural logarithm of their number, -inf where there is none.
        mean, variance, least, most: (V, C) of the operations of each class on a path.
        shares: (V, SHARES) of paths by their weighted operations.
    """

    log_count: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    least: np.ndarray
    most: np.ndarray
    shares: np.ndarray

    def rows(self, index: np.ndarray) -> Self:
        return type(self)(*(values[index] for values in self))

    def put(self, index: np.ndarray, rows: Self) -> None:
        for values, new in zip(self, rows, strict=True):
            values[index] = new


def path_statistics(graphs: Graphs) -> np.ndarray:
    """Statistics of the paths from an input to an output of B live graphs: (B, F) float64, columns `FEATURES`.

    Parallel edges make paths of their own. The whole graph comes first. Then it is cut at every node that all its
    paths pass; the segments between two cuts that have more than one path are described alike and averaged: what
    sets cells apart shows, however often a skeleton repeats them. Where there is no path (a dead graph) or
    no such segment, its columns are zero.

    Raises:
        GraphError: when a graph has a cycle.
    """
    own = classes_of(list(graphs.kinds))[graphs.kind]
    levels = edges_by_level(graphs)
    nowhere = np.zeros(len(graphs.kind), bool)
    paths, _ = _swept(graphs, levels, own, nowhere)
    reached = np.isfinite(paths.log_count)
    ends = np.flatnonzero(graphs.having("output"))
    first = np.searchsorted(ends, graphs.node_offset[:-1])
    whole = _merged(paths.rows(ends), first)
    alive = np.isfinite(whole.log_count)
    since_cut, (cut, segments) = _swept(graphs, levels, own, _cuts(graphs, reached))
    # Several outputs end a segment together; a single one is a cut itself.
    segments = _stacked([segments, _merged(since_cut.rows(ends), first)])
    graph = np.concatenate([graphs.graph_of_node[cut], np.arange(len(graphs))])
    summary = np.where(alive[:, None], _summary(whole), 0.0)
    averages = _averaged(segments, graph, len(graphs))
    return np.hstack([~alive[:, None], summary[:, :-SHARES], _sizes(graphs, own), averages])


def write_structures(graphs: Path, kinds: Path, structures: Path) -> None:
    """Write the STRUCTURES of a GRAPHS table; equal live graphs of a row group are worked out once."""
    groups = iter_graphs(graphs, read_kinds(kinds), ["arch_id", "live_hash"])
    write_table(structures, (_structures(*group) for group in groups), STRUCTURES)


def _structures(group: Graphs, columns: pa.Table) -> pa.Table:
    _, first, which = np.unique(columns["live_hash"].to_numpy(), return_index=True, return_inverse=True)
    chunks = (live(group.select(first[at : at + CHUNK_GRAPHS])) for at in range(0, len(first), CHUNK_GRAPHS))
    values = np.concatenate([path_statistics(chunk) for chunk in chunks]).astype(np.float32)[which]
    lists = pa.FixedSizeListArray.from_arrays(values.ravel(), len(FEATURES)).cast(pa.list_(pa.float32()))
    return pa.table({"arch_id": columns["arch_id"], "structure": lists})


def classes_of(kinds: Sequence[Kind]) -> np.ndarray:
    """(K, C) float64, 1 where a kind belongs to a class of `CLASSES`."""
    rows = np.zeros((len(kinds), len(CLASSES)))
    for row, kind in zip(rows, kinds, strict=True):
        wide = max(kind.kernel) > 1
        pool = kind.operation in ("max_pool", "avg_pool")
        weighted = kind.operation in WEIGHTED
        row[:] = (
            weighted and wide and not kind.depthwise,
            weighted and not wide,
            kind.depthwise,
            weighted,
            pool,
            weighted or pool,
        )
    return rows


def _swept(
    graphs: Graphs, levels: Sequence[np.ndarray], own: np.ndarray, cut: np.ndarray
) -> tuple[_Paths, tuple[np.ndarray, _Paths]]:
    """Follow all paths from the inputs on; at a node of `cut` (V,) they end, and one path without a past goes on.

    Args:
        own: (V, C) what each node adds to the paths through it.

    Returns:
        what ends in each node or, for a cut, sets out from it; the S cuts that a path reached, and what ended there.
    """
    paths = _started(graphs.having("input"))
    weighted = own[:, CLASSES.index("weighted")] > 0
    ended, arrived = [np.empty(0, np.int64)], [paths.rows(np.empty(0, np.int64))]
    for edges in levels:
        target = graphs.edge_target[edges]
        first = np.flatnonzero(np.diff(target, prepend=-1))
        node = target[first]
        rows = _passed(_merged(paths.rows(graphs.edge_source[edges]), first), own[node], weighted[node])
        paths.put(node, rows)
        here = cut[node]
        if here.any():
            ended.append(node[here])
            arrived.append(rows.rows(here))
            paths.put(node[here], _started(np.ones(here.sum(), bool)))
    return paths, (np.concatenate(ended), _stacked(arrived))


def _started(here: np.ndarray) -> _Paths:
    """One path without operations in the places `here` (V,) bool, none in the others."""
    nothing = np.zeros((len(here), len(CLASSES)))
    far = np.where(here, 0.0, np.inf)
    shares = np.zeros((len(here), SHARES))
    shares[:, 0] = here
    return _Paths(-far, nothing, nothing.copy(), nothing + far[:, None], nothing - far[:, None], shares)


def _stacked(parts: Sequence[_Paths]) -> _Paths:
    return _Paths(*map(np.concatenate, zip(*parts, strict=True)))


def _merged(paths: _Paths, first: np.ndarray) -> _Paths:
    """Join what ends in the places `first[i]:first[i + 1]`, (E,) places to (T,); each path weighs the same.

    Counts are kept as logarithms and variances around the mean, so that 10^300 paths lose nothing.
    """
    size = np.diff(first, append=len(paths.log_count))
    largest = np.maximum.reduceat(paths.log_count, first)
    shift = np.where(np.isfinite(largest), largest, 0.0)
    weight = np.exp(paths.log_count - np.repeat(shift, size))
    total = np.add.reduceat(weight, first)
    weight = (weight / np.repeat(np.where(total > 0, total, 1.0), size))[:, None]
    mean = np.add.reduceat(weight * paths.mean, first)
    spread = paths.variance + (paths.mean - np.repeat(mean, size, axis=0)) ** 2
    with np.errstate(divide="ignore"):  # no path: log 0
        log_count = shift + np.log(total)
    return _Paths(
        log_count,
        mean,
        np.add.reduceat(weight * spread, first),
        np.minimum.reduceat(paths.least, first),
        np.maximum.reduceat(paths.most, first),
        np.add.reduceat(weight * paths.shares, first),
    )


def _passed(paths: _Paths, own: np.ndarray, weighted: np.ndarray) -> _Paths:
    """Lead paths through nodes that add `own` (V, C) to them; `weighted` (V,) bool moves their shares up."""
    shares = paths.shares
    moved = np.column_stack([np.zeros(len(shares)), shares[:, :-2], shares[:, -2] + shares[:, -1]])
    return paths._replace(
        mean=paths.mean + own,
        least=paths.least + own,
        most=paths.most + own,
        shares=np.where(weighted[:, None], moved, shares),
    )


def _cuts(graphs: Graphs, reached: np.ndarray) -> np.ndarray:
    """(V,) bool: nodes that every path passes, given those that an input reaches.

    In a topological order a path cannot go back, so a node is a cut when no edge between nodes of paths leaps over
    it. Every node of a live graph leads to an output. Inputs hang on a node before all others, outputs on one behind.
    """
    order = np.lexsort((graphs.level, graphs.graph_of_node))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    first, last = graphs.node_offset[:-1], graphs.node_offset[1:]
    walked = reached[graphs.edge_source]
    inputs, outputs = np.flatnonzero(graphs.having("input")), np.flatnonzero(graphs.having("output") & reached)
    leap_from = np.concatenate(
        [place[graphs.edge_source[walked]] + 1, first[graphs.graph_of_node[inputs]], place[outputs] + 1]
    )
    leap_to = np.concatenate([place[graphs.edge_target[walked]], place[inputs], last[graphs.graph_of_node[outputs]]])
    size = len(order) + 1
    leaping = np.cumsum(np.bincount(leap_from, minlength=size) - np.bincount(leap_to, minlength=size))
    return reached & (leaping[place] == 0)


def _summary(paths: _Paths) -> np.ndarray:
    """(V, 1 + 4 C + SHARES): log of the count, mean, standard deviation, least and most of each class, shares."""
    return np.column_stack(
        [paths.log_count, paths.mean, np.sqrt(paths.variance), paths.least, paths.most, paths.shares]
    )


def _sizes(graphs: Graphs, own: np.ndarray) -> np.ndarray:
    """(B, C + 4): nodes of each class, then `_COSTS`."""
    first = graphs.node_offset[:-1]
    depth = np.maximum.reduceat(graphs.level, first)
    logs = (graphs.node_count, cost.macs(graphs), cost.params(graphs))
    nodes, macs, params = (np.log1p(values.astype(np.float64)) for values in logs)
    return np.column_stack([np.add.reduceat(own, first), nodes, depth, macs, params])


def _averaged(segments: _Paths, graph: np.ndarray, n_graphs: int) -> np.ndarray:
    """How many of the S segments of each graph branch, and the mean of their summaries: (S,) -> (B, ...)."""
    branching = segments.log_count > 0.5 * np.log(2)  # between one path and two
    graph, found = graph[branching], segments.rows(branching)
    count = np.bincount(graph, minlength=n_graphs)
    summary = _summary(found)
    # Numbers of paths, not shares, tell a wide cell from a narrow one.
    summary[:, -SHARES:] *= np.exp(np.minimum(found.log_count, np.log(MOST_PATHS)))[:, None]
    sums = [np.bincount(graph, column, minlength=n_graphs) for column in summary.T]
    return np.column_stack([count, *(total / np.maximum(count, 1) for total in sums)])
