"""Features of cells for the classical baselines: counts that a linear model or a kernel reads, and graph features.

Shape letters: N cells, F features. A vocabulary comes from the training cells alone, never from labels: a column that
no training cell shows could not be weighed, and one network scored alone gets what it gets in company.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from functools import lru_cache
from itertools import combinations

import numpy as np

from archgauge.cells import Cell

LONGEST_PART = 3
"""Longest subsequence of a path that is a feature of its own."""

MOST_OPERATIONS = 7
"""With up to this many operations every subset of them has its path lengths (127 subsets)."""

CACHED_CELLS = 1 << 15
"""A sweep fits many predictors on the same cells: the NB201 space stays in memory."""


def count_vocabulary(cells: Sequence[Cell]) -> dict[Hashable, int]:
    """Give each operation, path and part of a path that occurs in `cells` a column, the same for any order of cells."""
    return {key: column for column, key in enumerate(sorted(set().union(*map(_counts, cells)), key=repr))}


def count_matrix(cells: Sequence[Cell], vocabulary: dict[Hashable, int]) -> np.ndarray:
    """Count operations and paths: (N, F) float64.

    Columns are the vertices of each operation, the live paths from input to output of each operation sequence, without
    skips (path encoding of BANANAS, as counts), and for each subsequence of up to `LONGEST_PART` operations whether
    some live path runs through it. The last lets a cell with a path never seen before share what its parts have
    in common with others.
    """
    matrix = np.zeros((len(cells), len(vocabulary)))
    for row, cell in zip(matrix, cells, strict=True):
        for key, count in _counts(cell).items():
            if key in vocabulary:
                row[vocabulary[key]] = count
    return matrix


@lru_cache(maxsize=CACHED_CELLS)
def _counts(cell: Cell) -> dict[Hashable, int]:
    found: dict[Hashable, int] = {}
    for operation, count in Counter(cell.operations[1:-1]).items():
        found["operation", operation] = count
    for path, count in cell.paths().items():
        found["path", path] = count
        for part in _parts(path):
            found["part", part] = 1
    return found


@lru_cache(maxsize=1 << 12)
def _parts(path: tuple[str, ...]) -> frozenset[tuple[str, ...]]:
    return frozenset(part for length in range(1, LONGEST_PART + 1) for part in combinations(path, length))


def operations_of(cells: Sequence[Cell]) -> tuple[str, ...]:
    """List the interior operations that occur in `cells`, sorted."""
    return tuple(sorted({operation for cell in cells for operation in cell.operations[1:-1]}))


def graph_matrix(cells: Sequence[Cell], operations: tuple[str, ...]) -> np.ndarray:
    """Hand-made graph features after GRAF (Kadlecova et al., ICML 2024), on cells with operations on vertices: (N, F).

    For each operation: its vertices; its live vertices (on a path from input to output without "none"); their
    incoming and outgoing live edges; and how many of them follow the input and precede the output. For each subset of
    operations: the shortest and longest live path that uses no other, in vertices, skips included; -1 for no path.
    """
    return np.array([_graph_features(cell, operations) for cell in cells], dtype=np.float64)


def graph_columns(
    cells: Sequence[Cell], macs: np.ndarray, params: np.ndarray, operations: tuple[str, ...]
) -> np.ndarray:
    """Join graph features with log(1 + MACs) and log(1 + parameters), both (N,): (N, F), as the trees read them."""
    cost = np.log1p(np.column_stack([macs, params]).astype(np.float64))
    return np.hstack([graph_matrix(cells, operations), cost])


@lru_cache(maxsize=CACHED_CELLS)
def _graph_features(cell: Cell, operations: tuple[str, ...]) -> tuple[int, ...]:
    live = _live_vertices(cell)
    edges = [(source, target) for source, target in cell.edges if source in live and target in live]
    last = len(cell.operations) - 1
    names = cell.operations
    counters = (
        Counter(names[1:-1]),
        Counter(names[vertex] for vertex in live),
        Counter(names[target] for _, target in edges),
        Counter(names[source] for source, _ in edges),
        Counter(names[target] for source, target in edges if source == 0),
        Counter(names[source] for source, target in edges if target == last),
    )
    features = [counter[operation] for operation in operations for counter in counters]
    paths = {(frozenset(path), len(path)) for path in cell.paths(passed=())}
    for subset in _subsets(operations):
        lengths = [length for used, length in paths if used <= subset]
        features += [min(lengths, default=-1), max(lengths, default=-1)]
    return tuple(features)


@lru_cache(maxsize=1 << 12)
def _subsets(operations: tuple[str, ...]) -> tuple[frozenset[str], ...]:
    carrying = [operation for operation in operations if operation != "none"]
    count = len(carrying)
    # Beyond that, powers of two get out of hand: one operation alone, all but one, and all.
    sizes = range(1, count + 1) if count <= MOST_OPERATIONS else (1, count - 1, count)
    return tuple(frozenset(subset) for size in sizes for subset in combinations(carrying, size))


def _live_vertices(cell: Cell) -> set[int]:
    carrying = [edge for edge in cell.edges if "none" not in (cell.operations[edge[0]], cell.operations[edge[1]])]
    forward, backward = {0}, {len(cell.operations) - 1}
    for source, target in sorted(carrying, key=lambda edge: edge[1]):
        if source in forward:
            forward.add(target)
    for source, target in sorted(carrying, key=lambda edge: -edge[0]):
        if target in backward:
            backward.add(source)
    return forward & backward
