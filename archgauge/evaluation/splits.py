"""Protocols: which architectures a predictor may learn from and which ones judge it. The only source of splits.

Roles of a SPLITS table:

- pool: labels are revealed in the order of `position`; a pool cell that is not revealed is evaluated, unless it is at
  the position of one that is: architectures of one group share a position, and one that is revealed gives away the
  others.
- train: revealed in the order of `position`; never evaluated.
- validation: for choices made while training; validation2, test: evaluated, never revealed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from archgauge.cells import Cell
from archgauge.errors import PredictorError, TableError
from archgauge.evaluation.labels import rows_of
from archgauge.schemas import SPLITS

REVEALED_ROLES = ("pool", "train")
EVALUATED_ROLES = ("pool", "validation2", "test")
SOURCE_SHARES = {"train": 0.8, "validation": 0.1, "validation2": 0.1}  # GENNAPE, "NAS-Bench-101 Comparison"


def few_label_split(
    arch_ids: Sequence[str], n_splits: int, rng: np.random.Generator, groups: Sequence[str] | np.ndarray | None = None
) -> pa.Table:
    """Put a whole family in a pool, in an order of its own for each split.

    Training on k labels takes positions 0 to k - 1 and evaluates on all others, so larger training sets of a split
    contain the smaller ones. A split depends on the family, the state of `rng` and its own number only: more splits
    leave the first ones as they are, and the order of `arch_ids` does not matter.

    Args:
        groups: (N,) group of each architecture, where some must not be separated. Groups come in random order, each one
            whole before the next, and its members in the random order of their rows. Each group is equally likely to be
            first, whatever its size.

    Returns:
        A SPLITS table of n_splits * N rows.

    Raises:
        TableError: when there is no architecture, no split, or an architecture stands twice.
    """
    ids = _distinct(arch_ids)
    if n_splits < 1:
        raise _empty("the number of splits", n_splits)
    if groups is None:
        orders = [(np.arange(len(ids)), generator.permutation(len(ids))) for generator in rng.spawn(n_splits)]
    else:
        sorted_groups = np.asarray(groups, dtype=np.str_)[np.argsort(np.asarray(arch_ids, dtype=np.str_))]
        orders = [_group_order(sorted_groups, generator) for generator in rng.spawn(n_splits)]
    return _split_table(
        np.concatenate([ids[rows] for rows, _ in orders]),
        np.repeat(np.arange(n_splits), len(ids)),
        np.repeat("pool", n_splits * len(ids)),
        np.concatenate([positions for _, positions in orders]),
    )


def _group_order(groups: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows in random order, and the position of each one's group."""
    names, number = np.unique(groups, return_inverse=True)
    positions = rng.permutation(len(names))[number]
    rows = rng.permutation(len(groups))
    return rows, positions[rows]


def source_split(arch_ids: Sequence[str], rng: np.random.Generator) -> pa.Table:
    """Divide a labelled source family at random into train, validation and validation2, 80 / 10 / 10 % (GENNAPE).

    Validation watches the training, validation2 is looked at once at its end. Positions are random within each role.

    Returns:
        A SPLITS table of N rows, split 0.

    Raises:
        TableError: when a role would stay empty, or an architecture stands twice.
    """
    ids = rng.permutation(_distinct(arch_ids))
    ends = np.round(np.cumsum(list(SOURCE_SHARES.values())) * len(ids)).astype(int)
    sizes = np.diff(ends, prepend=0)
    if sizes.min() < 1:
        raise _empty("the roles of a source split", dict(zip(SOURCE_SHARES, sizes.tolist(), strict=True)))
    positions = np.concatenate([np.arange(size) for size in sizes])
    return _split_table(ids, np.zeros(len(ids)), np.repeat(list(SOURCE_SHARES), sizes), positions)


def joint_split(splits: Sequence[pa.Table], n_train: Sequence[int]) -> pa.Table:
    """The source splits of several families as one, with the first `n_train` training rows of each.

    Positions are kept, so that the first rows of a role are of all families in turn.
    """
    kept = [
        table.filter(pc.or_(pc.not_equal(table["role"].cast(pa.string()), "train"), pc.less(table["position"], size)))
        for table, size in zip(splits, n_train, strict=True)
    ]
    return pa.concat_tables(kept).unify_dictionaries()


@dataclass(frozen=True)
class Division:
    """One split, laid along N architectures in a given order.

    Attributes:
        revealed: (R,) rows whose labels may be revealed, in the order in which they are.
        evaluated: (N,) bool, rows that may be evaluated while none of their position is revealed.
        position: (N,), -1 where a row is never revealed.
    """

    revealed: np.ndarray
    evaluated: np.ndarray
    position: np.ndarray

    def training_rows(self, n_train: int) -> np.ndarray:
        """Return the (n_train,) rows to learn from, in the order of their positions.

        Raises:
            PredictorError: when more labels are asked for than the split has.
        """
        if not 0 <= n_train <= len(self.revealed):
            raise _training_size(n_train, f"0 to {len(self.revealed)}, the labels of the split")
        return self.revealed[:n_train]

    def evaluated_rows(self, n_train: int) -> np.ndarray:
        """Return the rows, ascending, that judge a predictor trained on the first `n_train` labels.

        Raises:
            PredictorError: when no row is left, or more labels are asked for than the split has.
        """
        mask = self.evaluated & ~np.isin(self.position, self.position[self.training_rows(n_train)])
        if not mask.any():
            raise _training_size(n_train, "a size that leaves architectures to evaluate")
        return np.flatnonzero(mask)


def division(splits: pa.Table, split: int, arch_ids: Sequence[str] | np.ndarray) -> Division:
    """Lay one split of a SPLITS table along `arch_ids` (N,).

    Raises:
        TableError: when the table has no such split, or `arch_ids` lacks one of its architectures or repeats one.
    """
    mine = splits.filter(pc.equal(splits["split"], split))
    if not mine.num_rows:
        raise _empty(f"split {split}", f"splits {sorted(splits['split'].unique().to_pylist())}")
    roles = mine["role"].cast(pa.string()).to_numpy()
    rows = rows_of(mine["arch_id"].to_numpy(), pa.array(arch_ids, type=pa.string()), "the architectures of a split")
    position = np.where(np.isin(roles, REVEALED_ROLES), mine["position"].to_numpy(), -1)
    evaluated = np.zeros(len(arch_ids), dtype=bool)
    evaluated[rows[np.isin(roles, EVALUATED_ROLES)]] = True
    along = np.full(len(arch_ids), -1)
    along[rows] = position
    return Division(rows[np.argsort(position, kind="stable")][np.count_nonzero(position < 0) :], evaluated, along)


def rows_of_role(splits: pa.Table, split: int, role: str, arch_ids: Sequence[str] | np.ndarray) -> np.ndarray:
    """Find the rows of one role of a split along `arch_ids` (N,), in the order of their positions.

    Raises:
        TableError: when the split has no such role, or `arch_ids` lacks one of its architectures or repeats one.
    """
    mine = splits.filter(pc.and_(pc.equal(splits["split"], split), pc.equal(splits["role"].cast(pa.string()), role)))
    if not mine.num_rows:
        raise _empty(f"the role {role} of split {split}", "none")
    names = mine["arch_id"].to_numpy()[np.argsort(mine["position"].to_numpy(), kind="stable")]
    return rows_of(names, pa.array(arch_ids, type=pa.string()), "the architectures of a split")


def cells_without_none(cells: Sequence[Cell]) -> np.ndarray:
    """Mark the cells with no `none` operation, (N,) bool: 4,096 of NAS-Bench-201, the set that GENNAPE evaluates."""
    return np.array(["none" not in cell.operations for cell in cells], dtype=bool)


def populations(
    training: np.ndarray,
    evaluated: np.ndarray,
    *,
    live_hash: np.ndarray | None = None,
    without_none: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Say which rows count under each of the duplicates rules.

    Args:
        training: (n_train,) rows that were learnt from.
        evaluated: (M,) rows that were not.
        live_hash: (N,) hash of the live graph; rows with equal ones compute the same function.
        without_none: (N,) bool, rows of the papers' population.

    Returns:
        Rows under "all", "without_none" (when given) and, when hashes are given, "unseen_functions": those that are
        not functionally equal to a training row.
    """
    rows = {"all": evaluated}
    if without_none is not None:
        rows["without_none"] = evaluated[without_none[evaluated]]
    if live_hash is not None:
        seen = pc.is_in(
            pa.array(live_hash[evaluated], pa.string()), value_set=pa.array(live_hash[training], pa.string())
        )
        rows["unseen_functions"] = evaluated[~seen.to_numpy(zero_copy_only=False)]
    return rows


def _split_table(arch_id: np.ndarray, split: np.ndarray, role: np.ndarray, position: np.ndarray) -> pa.Table:
    return pa.table({"arch_id": arch_id, "split": split, "role": role, "position": position}).cast(SPLITS)


def _distinct(arch_ids: Sequence[str]) -> np.ndarray:
    ids, counts = np.unique(np.asarray(arch_ids, dtype=np.str_), return_counts=True)
    if not len(ids):
        raise _empty("the architectures of a split", "none")
    if counts.max() > 1:
        raise TableError(
            "the architectures of a split",
            where="ARCHITECTURES",
            expected="each once",
            got=f"{ids[counts.argmax()]} {counts.max()} times",
            remedy="Make the table of architectures again; a repeated one could stand in training and test.",
        )
    return ids.astype(object)


def _empty(checked: str, got: object) -> TableError:
    return TableError(
        checked,
        where="SPLITS",
        expected="a split that is not empty",
        got=got,
        remedy="Use a larger family, or correct the number of splits in the configuration.",
    )


def _training_size(n_train: int, expected: str) -> PredictorError:
    return PredictorError(
        "the training size",
        where="n_train",
        expected=expected,
        got=n_train,
        remedy="Lower the training size in the configuration, or use a larger family.",
    )
