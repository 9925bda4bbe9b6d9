"""The NAS-Bench-101 space as integers: canonical forms, all modules up to isomorphism, and the benchmark's own hash.

A module of V vertices is a *code*, its upper triangle read row by row as a binary number (so codes compare like the
bit strings they stand for), and a *labelling*, the V - 2 interior operations as the digits of a base-3 number.
The space is found without hashing: one code for each class of isomorphic unlabelled DAGs, then one labelling for each
orbit under the automorphisms of that DAG.
"""

from functools import cache, lru_cache
from hashlib import md5
from itertools import combinations, permutations
from typing import NamedTuple

import numpy as np

MAX_VERTICES = 7
MAX_EDGES = 9
OPERATIONS = ("conv3x3", "conv1x1", "maxpool3x3")
"""Interior operations in the order that gives them their label in the hash (Ying et al. 2019, lib/config.py)."""

_HALF = 11  # bits looked up at once: two tables of 2,048 rows cover the 21 bits of seven vertices
_AGAINST_ORDER = 1 << 30  # set in the image of a code that a permutation takes below the diagonal


class Space(NamedTuple):
    """Every module once, ordered by vertices, code and labelling; arrays of shape (N,)."""

    vertices: np.ndarray
    code: np.ndarray
    labelling: np.ndarray


class _Permutations(NamedTuple):
    """All P = (V - 2)! ways to renumber the interior of a module, and what each does to a code."""

    vertices: np.ndarray  # (P, V) new number of each vertex
    high: np.ndarray  # (2^11, P) image of the high bits of a code
    low: np.ndarray  # (2^11, P) image of the low 11 bits


def pairs(vertices: int) -> list[tuple[int, int]]:
    """Return the (source, target) of each bit of a code, from the highest bit to the lowest."""
    return list(combinations(range(vertices), 2))


@cache
def space() -> Space:
    """Return all 423,624 modules up to isomorphism. Takes under a second, once in a process."""
    parts = []
    for vertices in range(2, MAX_VERTICES + 1):
        for code, labellings in _labelled_classes(vertices):
            size = len(labellings)
            parts.append((np.full(size, vertices), np.full(size, code), labellings))
    return Space(*(np.concatenate(column).astype(np.int32) for column in zip(*parts, strict=True)))


def canonical(vertices: int, code: int, labelling: int) -> tuple[int, int]:
    """Return the smallest (code, labelling) among the isomorphic modules with vertices in topological order."""
    images = _images(np.array([code]), vertices)[0]
    smallest = images.min()
    moves = _permutations(vertices).vertices[images == smallest]
    return int(smallest), int(_moved_labellings(np.array([labelling]), moves).min())


def digits(labelling: np.ndarray, count: int) -> np.ndarray:
    """Split labellings (N,) into operation indices (N, count), first interior vertex first."""
    weights = len(OPERATIONS) ** np.arange(count - 1, -1, -1)
    return labelling[:, None] // weights % len(OPERATIONS)


def labels(count: int, labelling: int) -> tuple[int, ...]:
    """Return the operation index of each of `count` interior vertices."""
    return tuple(digits(np.array([labelling]), count)[0].tolist())


def module_hash(vertices: int, code: int, labelling: int) -> str:
    """Return the benchmark's md5 of a pruned module, 32 hexadecimal digits.

    Every vertex starts with the md5 of (out-degree, in-degree, label), label -1 for the input and -2 for the output.
    It is rehashed V times with the sorted hashes of its predecessors and of its successors; the sorted list of all
    is hashed at the end (NAS-Bench-101, lib/graph_util.py).
    """
    neighbours = _neighbours(vertices, code)
    hashes = [
        md5(f"({len(after)}, {len(before)}, {label})".encode()).hexdigest()
        for (before, after), label in zip(neighbours, _hash_labels(vertices - 2, labelling), strict=True)
    ]
    for _ in range(vertices):
        # A lone neighbour needs no sorting; this loop is most of the time of the enumeration.
        hashes = [
            md5(
                (
                    (hashes[before[0]] if len(before) == 1 else "".join(sorted([hashes[v] for v in before])))
                    + "|"
                    + (hashes[after[0]] if len(after) == 1 else "".join(sorted([hashes[v] for v in after])))
                    + "|"
                    + own
                ).encode()
            ).hexdigest()
            for (before, after), own in zip(neighbours, hashes, strict=True)
        ]
    return md5(str(sorted(hashes)).encode()).hexdigest()


@lru_cache(maxsize=4096)
def _neighbours(vertices: int, code: int) -> list[tuple[list[int], list[int]]]:
    """Return the predecessors and the successors of every vertex."""
    order = pairs(vertices)
    edges = [pair for pair in order if code & _bit(order, pair)]
    return [([s for s, t in edges if t == vertex], [t for s, t in edges if s == vertex]) for vertex in range(vertices)]


@cache
def _hash_labels(count: int, labelling: int) -> tuple[int, ...]:
    return (-1, *labels(count, labelling), -2)


def _labelled_classes(vertices: int) -> list[tuple[int, np.ndarray]]:
    """Return (code, labellings (L,)) of each class of DAGs, one labelling an orbit of its automorphisms."""
    codes = _full_codes(vertices)
    smallest = np.concatenate([_images(part, vertices).min(axis=1) for part in np.array_split(codes, 256)])
    every = np.arange(len(OPERATIONS) ** (vertices - 2))
    found = []
    for code in np.unique(smallest):
        automorphic = _images(np.array([code]), vertices)[0] == code
        moved = _moved_labellings(every, _permutations(vertices).vertices[automorphic])
        found.append((int(code), every[moved.min(axis=1) == every]))
    return found


def _full_codes(vertices: int) -> np.ndarray:
    """Return the codes within the edge limit in which every vertex is on a path from input to output."""
    order = pairs(vertices)
    codes = np.arange(1 << len(order), dtype=np.int32)
    codes = codes[np.bitwise_count(codes) <= MAX_EDGES]
    for vertex in range(vertices):
        leaving = sum(_bit(order, pair) for pair in order if pair[0] == vertex)
        entering = sum(_bit(order, pair) for pair in order if pair[1] == vertex)
        # Edges only lead forward, so a successor and a predecessor for all but the ends suffice.
        if vertex < vertices - 1:
            codes = codes[(codes & leaving) != 0]
        if vertex > 0:
            codes = codes[(codes & entering) != 0]
    return codes


def _bit(order: list[tuple[int, int]], pair: tuple[int, int]) -> int:
    return 1 << (len(order) - 1 - order.index(pair))


def _images(codes: np.ndarray, vertices: int) -> np.ndarray:
    """Return (N, P) images of codes (N,) under all renumberings; those against topological order are huge."""
    table = _permutations(vertices)
    return table.high[codes >> _HALF] | table.low[codes & ((1 << _HALF) - 1)]


@cache
def _permutations(vertices: int) -> _Permutations:
    interior = range(1, vertices - 1)
    moves = np.array([(0, *moved, vertices - 1) for moved in permutations(interior)])
    order = pairs(vertices)
    image_of_bit = np.zeros((2 * _HALF, len(moves)), dtype=np.int32)
    for pair in order:
        for column, move in enumerate(moves):
            source, target = move[list(pair)]
            image = _bit(order, (source, target)) if source < target else _AGAINST_ORDER
            image_of_bit[_bit(order, pair).bit_length() - 1, column] = image
    return _Permutations(moves, _all_sums(image_of_bit[_HALF:]), _all_sums(image_of_bit[:_HALF]))


def _all_sums(image_of_bit: np.ndarray) -> np.ndarray:
    """Return (2^b, P) images of every b-bit number from the (b, P) images of its bits."""
    table = np.zeros((1, image_of_bit.shape[1]), dtype=np.int32)
    for image in image_of_bit:
        table = np.concatenate([table, table | image])
    return table


def _moved_labellings(labelling: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Return (N, M) labellings (N,) after each of M renumberings (M, V) of the vertices."""
    interior = moves.shape[1] - 2
    weights = len(OPERATIONS) ** (interior - moves[:, 1:-1])  # (M, V - 2) weight of each vertex in its new place
    return digits(labelling, interior) @ weights.T
