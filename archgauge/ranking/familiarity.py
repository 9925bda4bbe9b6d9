"""Whether a network is like the known ones: if not, measured errors say nothing about it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from archgauge.ranking.description import FACTS
from archgauge.ranking.units import units

_NODES = "log_nodes_"


@dataclass(frozen=True)
class Limits:
    """Up to where a network counts as like the known ones.

    Attributes:
        distance: the largest usual distance between a network and its nearest one of another family of models.
        quantile: the share of known networks that lie within it.
        ranges: least and largest of each of `archgauge.ranking.description.FACTS` among the known networks.
    """

    distance: float
    quantile: float
    ranges: Mapping[str, tuple[float, float]]

    @classmethod
    def of(cls, places: np.ndarray, family: np.ndarray, facts: np.ndarray, quantile: float) -> Self:
        """Set the limits by n known networks.

        Args:
            places: (n, C) where they lie (`archgauge.ranking.gauge.Gauge.place`).
            family: (n,) families of models, two at least.
            facts: (n, 5), columns `FACTS`.
            quantile: in (0, 1).
        """
        distance = float(np.quantile(to_other_families(places, family), quantile))
        ends = zip(facts.min(axis=0).tolist(), facts.max(axis=0).tolist(), strict=True)
        return cls(distance, quantile, dict(zip(FACTS, ends, strict=True)))

    def document(self) -> dict[str, Any]:
        """As JSON."""
        ranges = {name: list(ends) for name, ends in self.ranges.items()}
        return {"distance": self.distance, "quantile": self.quantile, "ranges": ranges}

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> Self:
        """The inverse of `document`."""
        ranges = {name: (float(low), float(high)) for name, (low, high) in document["ranges"].items()}
        return cls(float(document["distance"]), float(document["quantile"]), {name: ranges[name] for name in FACTS})


def to_other_families(places: np.ndarray, family: np.ndarray) -> np.ndarray:
    """(n,) distance of each network (n, C) to the nearest one of another family of models."""
    squared = (places**2).sum(axis=1)
    distance = squared[:, None] + squared - 2 * places @ places.T
    return np.sqrt(np.maximum(np.where(family[:, None] == family, np.inf, distance).min(axis=1), 0))


def reasons(facts: Mapping[str, float], unseen: Sequence[str], distance: float, limits: Limits) -> Iterator[str]:
    """Why a network is unlike the known ones, one sentence each; none where it is like them.

    Args:
        facts: each of `FACTS`.
        unseen: features that are the same in all known networks, and another here.
        distance: to the nearest known network.
    """
    new = [name.removeprefix(_NODES).replace("_", " ") for name in unseen if name.startswith(_NODES)]
    if new:
        yield f"it has what no known network has: {', '.join(new)}"
    for name, value in facts.items():
        low, high = limits.ranges[name]
        if not low <= value <= high and not (name == "unknown_share" and value < low):
            yield _OUTSIDE[name](value, low, high)
    if distance > limits.distance:
        yield (
            f"unlike every known network: the nearest is at {distance:.2f}, and {limits.quantile:.0%} of the known "
            f"networks have one of another family within {limits.distance:.2f}"
        )


def _outside(what: str):
    return lambda value, low, high: f"{units(value)} {what}, the known networks have {_span(units(low), units(high))}"


def _pixels(value: float, low: float, high: float) -> str:
    sides = [f"{np.sqrt(number):.0f}" for number in (value, low, high)]
    return f"input of {sides[0]}×{sides[0]} pixels (or as many), the known networks' have {_span(*sides[1:])} a side"


def _unknown(value: float, low: float, high: float) -> str:
    return f"{value:.0%} of its operations are outside the vocabulary, of the known networks' up to {high:.0%}"


def _count(value: float, low: float, high: float) -> str:
    return f"{value:,.0f} outputs, the known networks have {_span(f'{low:,.0f}', f'{high:,.0f}')}"


def _span(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


_OUTSIDE = {
    "macs": _outside("MACs"),
    "params": _outside("parameters"),
    "input_pixels": _pixels,
    "outputs": _count,
    "unknown_share": _unknown,
}
