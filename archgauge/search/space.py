"""The space that a strategy searches: every architecture is a row, and a family's edits lead from row to row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Self

import numpy as np
import pyarrow as pa

Mutate = Callable[[str, np.random.Generator], str]
Crossover = Callable[[str, str, np.random.Generator], str]


@dataclass(frozen=True, eq=False)
class Space:
    """N architectures and the edits between them, all of a family or a sample of it.

    Where an edit leads out of a sample, a random architecture of the sample takes the place of its result.

    Attributes:
        arch_id: (N,) object array.
        specs: N specs in the form that the family's edits give, in the same order.
        mutate_spec, cross_specs: the family's `mutate` and `crossover`.
    """

    arch_id: np.ndarray
    specs: Sequence[str]
    mutate_spec: Mutate
    cross_specs: Crossover

    @classmethod
    def of(cls, family: str, architectures: pa.Table) -> Self:
        """Take the space from the ARCHITECTURES of a family, which is found by name."""
        module = import_module(f"archgauge.families.{family}")
        specs = architectures["spec"].to_pylist()
        return cls(architectures["arch_id"].to_numpy(), specs, module.mutate, module.crossover)

    def __len__(self) -> int:
        return len(self.specs)

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw n distinct rows, (n,) int64. From equal generators, the smaller sample begins the larger one."""
        return rng.permutation(len(self))[:n]

    def mutate(self, row: int, rng: np.random.Generator) -> int:
        """Return the row of a 1-edit neighbour."""
        return self._inside(self.mutate_spec(self.specs[row], rng), rng)

    def crossover(self, first: int, second: int, rng: np.random.Generator) -> int:
        """Return the row of the first architecture with one operation of the second."""
        return self._inside(self.cross_specs(self.specs[first], self.specs[second], rng), rng)

    @cached_property
    def _row(self) -> dict[str, int]:
        return {spec: row for row, spec in enumerate(self.specs)}

    def _inside(self, spec: str, rng: np.random.Generator) -> int:
        row = self._row.get(spec)
        return int(rng.integers(len(self))) if row is None else row
