"""Running a strategy once for each seed, and writing down what it asked for."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from archgauge.fragments import FragmentStore, sweep
from archgauge.schemas import TRACES
from archgauge.search.guide import Guide
from archgauge.search.oracle import Oracle, SearchError
from archgauge.search.space import Space

Strategy = Callable[[Space, Oracle, Guide, np.random.Generator], None]


def trace(strategy: Strategy, space: Space, oracle: Oracle, guide: Guide, *, name: str, seed: int) -> pa.Table:
    """Search once: the architectures asked for, in that order, as TRACES; the first step is 1.

    Equal seeds give strategies that start at random the same start.

    Raises:
        SearchError: when the strategy stops before its budget is spent, or asks for more.
    """
    strategy(space, oracle, guide, np.random.default_rng(seed))
    rows, _ = oracle.known()
    if oracle.left:
        raise SearchError(
            "the queries of a search",
            where=f"strategy {name}, seed {seed}",
            expected=f"{len(rows) + oracle.left}",
            got=len(rows),
            remedy="A strategy has to spend its whole budget: correct its module.",
        )
    columns = {
        "strategy": [name] * len(rows),
        "seed": np.full(len(rows), seed),
        "step": np.arange(1, len(rows) + 1),
        "arch_id": space.arch_id[rows],
    }
    return pa.table(columns).cast(TRACES)


def traces(
    strategy: Strategy,
    space: Space,
    accuracy_pct: np.ndarray,
    make_guide: Callable[[int], Guide],
    *,
    name: str,
    queries: int,
    seeds: int,
    settings: Mapping[str, Any],
    fragments: Path,
    fingerprint: str,
    inputs: Sequence[Path],
) -> pa.Table:
    """Search once for each seed, from 0 on, and keep each run as a fragment.

    Args:
        strategy: a `search` with its settings bound.
        accuracy_pct: (N,) what queries return, along the space.
        make_guide: a guide from a seed.
        name: of the strategy in the configuration.
        queries: the budget of each run.
        seeds: number of runs.
        settings: what else distinguishes these runs from others, JSON values.
        fragments, fingerprint, inputs: as in `archgauge.fragments`.

    Returns:
        TRACES of all runs.

    Raises:
        SearchError: when a strategy does not keep to its budget, or the budget is larger than the space.
    """

    def compute(task: Mapping[str, Any]) -> pa.Table:
        oracle = Oracle(accuracy_pct, task["queries"])
        return trace(strategy, space, oracle, make_guide(task["seed"]), name=name, seed=task["seed"])

    tasks = [{"strategy": name, "seed": seed, "queries": queries, "settings": settings} for seed in range(seeds)]
    store = FragmentStore(fragments, TRACES)
    return sweep(tasks, compute, store, fingerprint=fingerprint, inputs=inputs, name=name)
