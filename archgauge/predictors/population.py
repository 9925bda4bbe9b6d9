"""What predictors look at: the architectures of a split, with whatever is known of each but its labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from archgauge.cells import Cell
from archgauge.errors import PredictorError

if TYPE_CHECKING:  # the store brings torch and Arrow, which most baselines do without
    from archgauge.graphs.store import GraphStore


@dataclass(frozen=True, eq=False)
class Population:
    """N architectures, column by column. It never holds a label.

    Attributes:
        arch_id: (N,) object array of `family/native-id`.
        macs, params: (N,) float64 counts; one multiply-add counts once.
        cells: N cells, for cell-based families.
        embedding: (N, D) float32.
        membership: (N, C) float32, rows sum to 1.
        structure: (N, F) float32, path statistics of the live graphs (archgauge.graphs.paths.FEATURES).
        composition: (N, F) float32, what the live graphs are made of, and how deep
            (archgauge.graphs.composition.COMPOSITION_AND_DEPTHS).
        proxies: (N,) with one float64 field for each zero-cost proxy, NaN where an architecture has no score.
        graphs: a graph store, and the rows (N,) int64 of these architectures in it.
        family: (N,) str, the family of each; its arch_id says it.

    Raises:
        PredictorError: when a column does not have N rows.
    """

    arch_id: np.ndarray
    macs: np.ndarray
    params: np.ndarray
    cells: tuple[Cell, ...] | None = None
    embedding: np.ndarray | None = None
    membership: np.ndarray | None = None
    structure: np.ndarray | None = None
    composition: np.ndarray | None = None
    proxies: np.ndarray | None = None
    graphs: tuple["GraphStore", np.ndarray] | None = None

    def __post_init__(self):
        for field in fields(self):
            column = getattr(self, field.name)
            rows = column[1] if field.name == "graphs" and column is not None else column
            if rows is not None and len(rows) != len(self):
                raise PredictorError(
                    "a population",
                    where=field.name,
                    expected=f"{len(self)} rows, one for each arch_id",
                    got=len(rows),
                    remedy="Select the same architectures, in the same order, from every table.",
                )

    def __len__(self) -> int:
        return len(self.arch_id)

    @cached_property
    def family(self) -> np.ndarray:
        """The family of each architecture, (N,) str."""
        return np.array([name.partition("/")[0] for name in self.arch_id], dtype=np.str_)

    @staticmethod
    def concatenate(parts: Sequence["Population"]) -> "Population":
        """Lay populations, typically of several families, one after another.

        Graphs come to stand in one store, and of proxies those stay that all parts have. A column that one of the
        parts lacks is left out.

        Raises:
            PredictorError: when a column is not of the same width everywhere: it comes from different encoders,
                clusterings or feature sets.
        """
        columns = {field.name: [getattr(part, field.name) for part in parts] for field in fields(Population)}
        return Population(
            **{
                name: _JOINED.get(name, np.concatenate)(values)
                for name, values in columns.items()
                if all(value is not None for value in values) and _fits(name, values)
            }
        )

    def take(self, index: np.ndarray | slice) -> "Population":
        """Return the architectures at `index`, (n,) positions, a mask (N,) or a slice, in that order."""
        rows = np.arange(len(self))[index]
        return Population(
            arch_id=self.arch_id[rows],
            macs=self.macs[rows],
            params=self.params[rows],
            cells=None if self.cells is None else tuple(self.cells[row] for row in rows),
            embedding=None if self.embedding is None else self.embedding[rows],
            membership=None if self.membership is None else self.membership[rows],
            structure=None if self.structure is None else self.structure[rows],
            composition=None if self.composition is None else self.composition[rows],
            proxies=None if self.proxies is None else self.proxies[rows],
            graphs=None if self.graphs is None else (self.graphs[0], self.graphs[1][rows]),
        )


def _fits(name: str, values: Sequence[Any]) -> bool:
    """Check that the rows of a column are of one shape in all parts; return True."""
    shapes = {value.shape[1:] for value in values if isinstance(value, np.ndarray)}
    if len(shapes) > 1:
        raise PredictorError(
            "the populations to join",
            where=name,
            expected="rows of one width",
            got=" and ".join(sorted(str(*shape) for shape in shapes)),
            remedy="Take the column of every family from the same encoder, clustering or feature set.",
        )
    return True


def _joined_cells(parts: Sequence[tuple[Cell, ...]]) -> tuple[Cell, ...]:
    return tuple(cell for cells in parts for cell in cells)


def _joined_proxies(parts: Sequence[np.ndarray]) -> np.ndarray | None:
    """The fields that all parts have, in the order of the first; None where there is none."""
    shared = [name for name in parts[0].dtype.names or () if all(name in (part.dtype.names or ()) for part in parts)]
    return np.concatenate([part[shared] for part in parts]) if shared else None


def _joined_graphs(parts: Sequence[tuple["GraphStore", np.ndarray]]) -> tuple["GraphStore", np.ndarray]:
    """One store for all parts, each of its stores in it once."""
    stores = list({id(store): store for store, _ in parts}.values())
    if len(stores) == 1:
        return stores[0], np.concatenate([rows for _, rows in parts])
    first = dict(zip(map(id, stores), np.cumsum([0, *map(len, stores[:-1])]), strict=True))
    return stores[0].followed_by(*stores[1:]), np.concatenate([first[id(store)] + rows for store, rows in parts])


_JOINED: dict[str, Callable[[Sequence[Any]], Any]] = {
    "cells": _joined_cells,
    "proxies": _joined_proxies,
    "graphs": _joined_graphs,
}
"""How a column is joined that is no plain array."""


def column(population: Population, name: str, predictor: str) -> Any:
    """Return the column of a population that a predictor reads.

    Args:
        name: of `Population`'s columns.
        predictor: the predictor's name, for the message.

    Raises:
        PredictorError: naming the column when the population does not have it.
    """
    values = getattr(population, name)
    if values is None:
        raise PredictorError(
            "the population of a predictor",
            where=predictor,
            expected=f"a column {name}",
            got="none",
            remedy=f"Leave {predictor} out for this family, or run the rule that makes its {name}.",
        )
    return values


def training_labels(population: Population, accuracy_pct: np.ndarray, predictor: str, *, at_least: int) -> np.ndarray:
    """Check the labels (n,) that a predictor is to learn from and return them as float64.

    Args:
        population: the n labelled architectures.
        at_least: how many labels the predictor cannot do without.

    Raises:
        PredictorError: when there are too few labels, not one for each architecture, or one is not finite.
    """
    labels = np.asarray(accuracy_pct, dtype=np.float64)
    if labels.shape != (len(population),):
        raise PredictorError(
            "the labels to learn from",
            where=predictor,
            expected=f"shape ({len(population)},), one for each architecture",
            got=f"shape {labels.shape}",
            remedy="Select labels and architectures by the same arch_ids.",
        )
    wrong = np.flatnonzero(~np.isfinite(labels))
    if len(wrong):
        raise PredictorError(
            "the labels to learn from",
            where=population.arch_id[wrong[0]],
            expected="finite accuracies",
            got=f"{labels[wrong[0]]} ({len(wrong)} of {len(labels)} labels)",
            remedy="Leave architectures without a measured label out of the split.",
        )
    if len(labels) < at_least:
        raise PredictorError(
            "the labels to learn from",
            where=predictor,
            expected=f"at least {at_least}",
            got=len(labels),
            remedy="Raise the training size in config.yaml.",
        )
    return labels
