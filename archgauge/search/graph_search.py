"""GENNAPE's search on computation graphs: mutate the best, keep the best, a few times over.

Source: GENNAPE, "Applying GENNAPE to NAS" and supplement, "Search Algorithm Details": six iterations; "the current
top-k best CGs based on predicted performance and FLOPs" are mutated. The aim is "to reduce FLOPs while improving or
maintaining accuracy". k, the number of mutations, and how two aims make one ranking are open there. Here, of the graphs
with no more multiply-adds than the start, Pareto front after front is kept, and of a front that does not fit, graphs
evenly spread along it, both ends among them. (Keeping only what is predicted no worse than the start leaves one or two
graphs for the first iterations, which then repeat themselves.)
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from archgauge.graphs import cost
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.graph import Graphs, concatenate
from archgauge.graphs.normal_form import live
from archgauge.search.graph_mutation import mutate

Score = Callable[[Graphs], np.ndarray]
"""N live graphs to (N,) predictions, higher is better."""

MOST_TRIES = 10_000
"""Mutations of a random descent."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """N distinct graphs that a search looked at, the start first.

    Attributes:
        graphs: the live graphs, over one kind table.
        live_hash: (N,) their canonical hashes.
        parent: (N,) int64 the candidate that was mutated; -1 for the start.
        iteration: (N,) int64, 0 for the start.
        predicted, macs, params: (N,).
        kept: (N,) bool, whether it is among the k best at the end.
    """

    graphs: Graphs
    live_hash: np.ndarray
    parent: np.ndarray
    iteration: np.ndarray
    predicted: np.ndarray
    macs: np.ndarray
    params: np.ndarray
    kept: np.ndarray


def improve(
    start: Graphs, score: Score, rng: np.random.Generator, *, iterations: int, kept: int, children: int
) -> Candidates:
    """Search from one graph.

    Args:
        start: the graph; its dead branches are pruned first.
        score: the predictor.
        iterations: 6 in the paper.
        kept: k, how many graphs are mutated in each iteration.
        children: mutations of each of them; graphs that were seen before are left out.

    Raises:
        GraphError: when nothing in the start can be replaced.
    """
    graphs = live(start)
    live_hash, parent, iteration = canonical_hash(graphs), np.array([-1]), np.array([0])
    predicted = score(graphs)
    best = np.array([0])
    for number in range(1, iterations + 1):
        parents = np.repeat(best, children)
        new = concatenate([mutate(graphs[int(row)], rng) for row in parents])
        hashes = canonical_hash(new)
        fresh = np.setdiff1d(np.unique(hashes, return_index=True)[1], np.flatnonzero(np.isin(hashes, live_hash)))
        if not len(fresh):
            continue
        graphs = concatenate([graphs, new.select(fresh)])
        live_hash = np.concatenate([live_hash, hashes[fresh]])
        parent = np.concatenate([parent, parents[fresh]])
        iteration = np.concatenate([iteration, np.full(len(fresh), number)])
        predicted = np.concatenate([predicted, score(new.select(fresh))])
        best = best_of(predicted, cost.macs(graphs), kept)
    among = np.isin(np.arange(len(graphs)), best)
    return Candidates(graphs, live_hash, parent, iteration, predicted, cost.macs(graphs), cost.params(graphs), among)


def best_of(predicted: np.ndarray, macs: np.ndarray, kept: int) -> np.ndarray:
    """(at most `kept`,) rows of the best of N candidates, whose first one is the start: the rule above."""
    rows = np.flatnonzero(macs <= macs[0])
    chosen: list[int] = []
    while len(rows) and len(chosen) < kept:
        y, x = predicted[rows], macs[rows]
        better = (y[:, None] >= y) & (x[:, None] <= x) & ((y[:, None] > y) | (x[:, None] < x))
        first = ~better.any(axis=0)
        front = rows[first][np.lexsort((y[first], x[first]))]
        room = min(kept - len(chosen), len(front))
        chosen += front[np.linspace(len(front) - 1, 0, room).round().astype(int)].tolist()
        rows = rows[~first]
    return np.array(chosen)


def found(candidates: Candidates) -> int:
    """The row of what a search has found: of all that is predicted no worse than the start, the fewest multiply-adds.

    Of equally many, the highest prediction. It is the start itself where nothing is better.
    """
    rows = np.flatnonzero(candidates.predicted >= candidates.predicted[0])
    return int(rows[np.lexsort((-candidates.predicted[rows], candidates.macs[rows]))[0]])


def random_descent(start: Graphs, rng: np.random.Generator, *, most_macs: int) -> Graphs:
    """What mutations give that no predictor ranks: each that does not add multiply-adds is taken, until few are left.

    Args:
        most_macs: at which it ends; after `MOST_TRIES` mutations the last graph has to do.
    """
    graph = live(start)
    for _ in range(MOST_TRIES):
        if cost.macs(graph)[0] <= most_macs:
            break
        child = mutate(graph, rng)
        graph = child if cost.macs(child)[0] <= cost.macs(graph)[0] else graph
    return graph
