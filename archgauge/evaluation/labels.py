"""Taking one label for given architectures out of a LABELS table, and bringing those of families to one scale."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from archgauge.errors import TableError


@dataclass(frozen=True)
class LabelScale:
    """Where labels lie, and how far apart.

    Attributes:
        mean, std: of the labels; a spread of 0 counts as 1.
    """

    mean: float
    std: float

    @classmethod
    def of(cls, values: np.ndarray) -> Self:
        """The scale of labels (n,)."""
        return cls(float(values.mean()), float(values.std()) or 1.0)

    def moved(self, values: np.ndarray, to: Self) -> np.ndarray:
        """Values (n,) of this scale to their places on another one."""
        return (values - self.mean) / self.std * to.std + to.mean


def on_one_scale(accuracy_pct: np.ndarray, family: np.ndarray) -> np.ndarray:
    """Bring the labels (n,) of each family (n,) to the mean and spread of all labels together.

    A point is worth as much of a family's spread everywhere: without this, a squared error hardly sees a family whose
    accuracies lie close together.
    """
    common, moved = LabelScale.of(accuracy_pct), np.empty(len(accuracy_pct))
    for name in np.unique(family):
        values = accuracy_pct[family == name]
        moved[family == name] = LabelScale.of(values).moved(values, common)
    return moved


def label_values(labels: pa.Table, label: str, arch_ids: Sequence[str] | np.ndarray) -> np.ndarray:
    """Return the value of `label` for each of `arch_ids`, (N,) float64 in the unit of the table.

    Raises:
        TableError: when the label is not in the table, when an architecture has none or several of it, or a value is
            not finite.
    """
    mine = _of_label(labels, label)
    values = mine["value"].to_numpy()[rows_of(arch_ids, mine["arch_id"], f"LABELS ({label})")]
    if not np.isfinite(values).all():
        bad = np.flatnonzero(~np.isfinite(values))
        raise TableError(
            f"the label {label}",
            where=arch_ids[bad[0]],
            expected="a finite number",
            got=f"{values[bad[0]]} ({len(bad)} of {len(values)} architectures)",
            remedy="Leave these architectures out, or choose a label that all of them have.",
        )
    return values


def counted(family: str, only: str) -> pa.Array:
    """The architectures of a family that can be listed of whose specs its function `only` says yes."""
    module = import_module(f"archgauge.families.{family}")
    listed = module.enumerate_specs()
    return pc.unique(listed["arch_id"].filter(pa.array(map(getattr(module, only), listed["spec"].to_pylist()))))


def labelled(labels: pa.Table, label: str, arch_ids: Sequence[str] | np.ndarray) -> np.ndarray:
    """Mark the architectures that have `label`, (N,) bool: one family may be labelled for several tasks.

    Raises:
        TableError: when the label is not in the table.
    """
    known = _of_label(labels, label)["arch_id"].cast(pa.string()).combine_chunks()
    return pc.is_in(pa.array(arch_ids, type=pa.string()), value_set=known).to_numpy(zero_copy_only=False)


def _of_label(labels: pa.Table, label: str) -> pa.Table:
    mine = labels.filter(pc.equal(labels["label"], label))
    if not mine.num_rows:
        raise TableError(
            "a label's name",
            where="LABELS",
            expected=", ".join(sorted(map(str, labels["label"].unique().to_pylist()))),
            got=repr(label),
            remedy="Choose one of these labels.",
        )
    return mine


def rows_of(arch_ids: Sequence[str] | np.ndarray, column: pa.ChunkedArray | pa.Array, where: str) -> np.ndarray:
    """Find the row of each architecture in a column that holds each at most once.

    Returns:
        (N,) int64 rows of `column`.

    Raises:
        TableError: when `column` repeats an architecture or lacks one of `arch_ids`.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pc.count_distinct(column).as_py() != len(column):
        counts = column.value_counts()
        repeated = counts.field("values")[pc.index(pc.greater(counts.field("counts"), 1), True).as_py()]
        raise TableError(
            "the architectures of a table",
            where=where,
            expected="each at most once",
            got=f"{repeated} several times",
            remedy="Never pool values that are named differently; make the table again.",
        )
    rows = pc.index_in(pa.array(arch_ids, type=pa.string()), value_set=column.cast(pa.string()))
    if rows.null_count:
        missing = pc.index(rows.is_null(), True).as_py()
        raise TableError(
            "the architectures of a table",
            where=where,
            expected=f"a row for {arch_ids[missing]}",
            got=f"no row for {rows.null_count} of {len(rows)} architectures",
            remedy="Make the table again for the same architectures.",
        )
    return rows.to_numpy().astype(np.int64)
