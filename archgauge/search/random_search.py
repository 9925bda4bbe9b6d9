"""Random search: the baseline of every search."""

import numpy as np

from archgauge.search.guide import Guide
from archgauge.search.oracle import Oracle
from archgauge.search.space import Space


def search(space: Space, oracle: Oracle, guide: Guide, rng: np.random.Generator) -> None:
    """Query distinct architectures, uniformly drawn. The guide is not asked."""
    for row in space.sample(oracle.left, rng):
        oracle.query(row)
