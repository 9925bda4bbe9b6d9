"""Evolutionary search whose children are screened by a guide.

Source: "A General-Purpose Transferable Predictor for Neural Architecture Search", supplement 7.2, Algorithm 1 and
Table 6. T is not set: the search goes on until its queries are spent.

Where the labels for the fine-tuning and P_init are counted one by one, a search has labels + |P_init| + B T queries:
50 + 50 + 100 x 6 = 700 on NAS-Bench-101 and 50 + 50 + 100 x 7 = 800 on NAS-Bench-301. On NAS-Bench-201 the paper's
arithmetic leaves one reading only: 90 queries are 40 for the fine-tuning and B T = 10 x 5 for the search, so the 10
of P_init are among the 40.

The paper does not say how many children are ranked, nor how many edits are made: here `children` is a setting, half of
the children come from a crossover, and each edit is followed by another one with even chances.
"""

from collections.abc import Sequence, Set

import numpy as np

from archgauge.search.evolution_settings import check_settings
from archgauge.search.guide import Guide
from archgauge.search.oracle import Oracle, SearchError
from archgauge.search.space import Space

CROSSED = 0.5
"""Share of the children that come from a crossover, before the edits that all children get."""

FURTHER_EDIT = 0.5
"""Chance of one more edit after each edit."""


def search(
    space: Space,
    oracle: Oracle,
    guide: Guide,
    rng: np.random.Generator,
    *,
    drawn: int,
    labelled: int,
    initial: int,
    parents: int,
    children: int,
    batch: int,
    refit: bool,
) -> None:
    """Query a random start, then again and again the children of the best that the guide ranks highest.

    Args:
        drawn: architectures queried at random first. Each is learnt from, starts the population, or both.
        labelled: how many of these, the last ones, the guide learns from; 0 where it learns nothing.
        initial: |P_init|, how many of these, the first ones, start the population.
        parents: k, how many of the population's best have children.
        children: |P_new|, new architectures that the guide ranks at a time.
        batch: B, how many of them are queried.
        refit: whether the guide learns anew from all queries after each batch. The paper's does not.

    Raises:
        SearchError: when `drawn` exceeds the budget, or the other settings do not fit together.
    """
    check_settings(
        SearchError,
        "settings",
        oracle.left,
        drawn=drawn,
        labelled=labelled,
        initial=initial,
        parents=parents,
        children=children,
        batch=batch,
    )
    start = space.sample(drawn, rng).tolist()
    accuracy = {row: oracle.query(row) for row in start}
    population = start[:initial]
    rows, answers = oracle.known()
    guide.fit(rows[drawn - labelled :], answers[drawn - labelled :])
    while oracle.left:
        best = sorted(population, key=lambda row: -accuracy[row])[:parents]
        new = _children(space, best, accuracy.keys(), children, rng)
        ranked = new[np.argsort(-guide.score(new), kind="stable")]
        for row in ranked[: min(batch, oracle.left)].tolist():
            accuracy[row] = oracle.query(row)
            population.append(row)
        if refit and oracle.left:
            guide.fit(*oracle.known())


def _children(space: Space, best: Sequence[int], known: Set[int], wanted: int, rng: np.random.Generator) -> np.ndarray:
    """Draw distinct rows that nobody has asked for yet, (n,) int64; fewer than `wanted` where no more are left."""
    new: dict[int, None] = {}
    while len(new) < min(wanted, len(space) - len(known)):
        child = best[int(rng.integers(len(best)))]
        if rng.random() < CROSSED:
            child = space.crossover(child, best[int(rng.integers(len(best)))], rng)
        child = space.mutate(child, rng)
        while child in known or child in new or rng.random() < FURTHER_EDIT:
            child = space.mutate(child, rng)
        new[child] = None
    return np.array(list(new), dtype=np.int64)
