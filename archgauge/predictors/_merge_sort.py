"""Merge sort by a comparator that answers many questions at once, as GENNAPE ranks by a classifier (supplement)."""

from collections.abc import Callable

import numpy as np

Better = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Whether each of the items (M,) is better than the item beside it, (M,): (M,) bool."""


def merge_sort(n: int, better: Better) -> np.ndarray:
    """Sort items 0..n-1 from worst to best.

    All merges of a level run in lockstep: each call of `better` holds one comparison of every merge that still has two
    runs. At most n ceil(log2 n) comparisons in at most 2n calls; a comparator that contradicts itself still gives some
    order, and where neither of two items is better, they stay in the order that they had.

    Args:
        n: how many items.
        better: the comparator.

    Returns:
        (n,) int64, a permutation of the items.
    """
    order, width = np.arange(n), 1
    while width < n:
        order = _merged(order, width, better)
        width *= 2
    return order


def _merged(order: np.ndarray, width: int, better: Better) -> np.ndarray:
    """Merge neighbouring sorted runs of `width` items; the last run may be shorter or missing."""
    n = len(order)
    place = np.arange(0, n, 2 * width)
    left, left_end = place.copy(), np.minimum(place + width, n)
    right, right_end = left_end.copy(), np.minimum(place + 2 * width, n)
    source = np.full(n, -1)  # of each place, the position in `order` that its item comes from
    waiting = np.ones(n, dtype=bool)
    while len(busy := np.flatnonzero((left < left_end) & (right < right_end))):
        from_right = better(order[left[busy]], order[right[busy]])
        taken = np.where(from_right, right[busy], left[busy])
        source[place[busy]], waiting[taken] = taken, False
        place[busy] += 1
        right[busy] += from_right
        left[busy] += ~from_right
    # Of each merge one run is left over; it follows as it is.
    source[source < 0] = np.flatnonzero(waiting)
    return order[source]
