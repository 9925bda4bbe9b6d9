"""Splits: nested training sets, nothing in both roles, the duplicates rules."""

import re

import numpy as np
import pyarrow as pa
import pytest

from archgauge.cells import Cell
from archgauge.errors import PredictorError, TableError
from archgauge.evaluation.splits import cells_without_none, division, few_label_split, populations, source_split
from archgauge.schemas import SPLITS, read_table, write_table

IDS = [f"nb201/{index}" for index in range(300)]


def _few(n_splits=3, seed=0, ids=IDS):
    return few_label_split(ids, n_splits, np.random.default_rng(seed))


def test_a_few_label_split_is_a_permutation_for_each_split(tmp_path):
    table = _few()
    write_table(tmp_path / "splits.parquet", table, SPLITS)
    assert read_table(tmp_path / "splits.parquet", SPLITS).num_rows == 900
    orders = []
    for split in range(3):
        rows = table.filter(pa.compute.equal(table["split"], split))
        assert sorted(rows["arch_id"].to_pylist()) == sorted(IDS)
        assert sorted(rows["position"].to_pylist()) == list(range(300))
        assert set(rows["role"].to_pylist()) == {"pool"}
        orders.append(rows.sort_by("position")["arch_id"].to_pylist())
    assert orders[0] != orders[1] != orders[2]


def test_more_splits_and_another_order_of_rows_change_nothing():
    three, five = _few(3), _few(5, ids=IDS[::-1])
    assert five.slice(0, three.num_rows).equals(three)
    assert not _few(3, seed=1).equals(three)


def test_the_order_is_uniform():
    """Each architecture is as often among the first 30 as chance has it: 1,000 draws of .1, standard deviation 9.5."""
    table = _few(1000)
    first = table.filter(pa.compute.less(table["position"], 30))["arch_id"].value_counts()
    counts = np.array([pair["counts"] for pair in first.to_pylist()])
    assert len(counts) == 300
    assert abs(counts - 100).max() < 45
    assert 7 < counts.std() < 12


def test_training_sets_are_nested_and_never_evaluated():
    ids = np.array(IDS, dtype=object)[::-1]
    part = division(_few(), 1, ids)
    small, large = part.training_rows(20), part.training_rows(50)
    assert small.tolist() == large[:20].tolist()
    table = _few()
    order = table.filter(pa.compute.equal(table["split"], 1)).sort_by("position")["arch_id"].to_pylist()
    assert ids[large].tolist() == order[:50]
    evaluated = part.evaluated_rows(50)
    assert not set(evaluated) & set(large)
    assert sorted([*evaluated, *large]) == list(range(300))


GROUPS = [f"g{int(index**0.5)}" for index in range(300)]  # of 1, 3, 5, ... members


def test_a_group_is_never_learnt_from_and_evaluated():
    rng = np.random.default_rng(0)
    table = few_label_split(IDS, 3, rng, GROUPS)
    group = np.array(GROUPS)
    for split in range(3):
        part = division(table, split, IDS)
        assert sorted(part.revealed.tolist()) == list(range(300))
        changes = np.count_nonzero(group[part.revealed][1:] != group[part.revealed][:-1])
        assert changes == len(set(GROUPS)) - 1  # each group is whole before the next
        for size in (0, 1, 2, 10, 50, 200):
            learnt = set(group[part.training_rows(size)])
            assert len(part.training_rows(size)) == size
            assert part.evaluated_rows(size).tolist() == [i for i in range(300) if GROUPS[i] not in learnt]


def test_groups_do_not_depend_on_the_order_of_rows_and_come_in_random_order():
    table = few_label_split(IDS, 400, np.random.default_rng(0), GROUPS)
    turned = few_label_split(IDS[::-1], 400, np.random.default_rng(0), GROUPS[::-1])
    assert table.equals(turned)
    parts = [division(table, split, IDS).revealed for split in range(400)]
    first = np.bincount([int(GROUPS[rows[0]][1:]) for rows in parts], minlength=18)
    assert first.min() > 5
    assert first.max() < 45
    inside = [rows[np.isin(rows, range(289, 300))][0] for rows in parts]
    assert set(inside) == set(range(289, 300))


def test_groups_of_one_are_no_groups():
    position = lambda table: {row["arch_id"]: row["position"] for row in table.to_pylist()}  # noqa: E731
    assert position(few_label_split(IDS, 1, np.random.default_rng(0), IDS)) == position(_few(1))


def test_no_label_evaluates_everything():
    part = division(_few(), 0, IDS)
    assert part.training_rows(0).size == 0
    assert part.evaluated_rows(0).tolist() == list(range(300))


def test_source_split_roles():
    table = source_split(IDS, np.random.default_rng(0))
    counts = {pair["values"]: pair["counts"] for pair in table["role"].value_counts().to_pylist()}
    assert counts == {"train": 240, "validation": 30, "validation2": 30}
    assert sorted(table["arch_id"].to_pylist()) == sorted(IDS)
    part = division(table, 0, IDS)
    assert {IDS[row] for row in part.evaluated_rows(240)} == _with_role(table, "validation2")
    assert {IDS[row] for row in part.training_rows(240)} == _with_role(table, "train")
    assert part.evaluated_rows(10).tolist() == part.evaluated_rows(240).tolist()


def test_source_split_mixes_what_was_sorted():
    table = source_split([f"nb101/{index:03}" for index in range(300)], np.random.default_rng(0))
    held_out = sorted(int(name[-3:]) for name in _with_role(table, "validation2"))
    assert held_out[0] < 60 < 240 < held_out[-1]


def _with_role(table, role):
    return set(table.filter(pa.compute.equal(table["role"].cast(pa.string()), role))["arch_id"].to_pylist())


def test_training_size_larger_than_the_family():
    part = division(_few(), 0, IDS)
    with pytest.raises(PredictorError, match=re.escape("the training size at n_train: expected 0 to 300")):
        part.training_rows(301)
    with pytest.raises(PredictorError, match="expected a size that leaves architectures to evaluate, got 300"):
        part.evaluated_rows(300)
    with pytest.raises(PredictorError, match="got -1"):
        part.training_rows(-1)


def test_empty_splits():
    rng = np.random.default_rng(0)
    with pytest.raises(TableError, match="architectures of a split at SPLITS: expected a split that is not empty"):
        few_label_split([], 1, rng)
    with pytest.raises(TableError, match="number of splits"):
        few_label_split(IDS, 0, rng)
    with pytest.raises(TableError, match=re.escape("roles of a source split") + ".*'validation2': 0"):
        source_split(IDS[:3], rng)
    with pytest.raises(TableError, match=re.escape("split 7 at SPLITS: ") + r".*splits \[0, 1, 2\]"):
        division(_few(), 7, IDS)


def test_a_repeated_or_missing_architecture():
    with pytest.raises(TableError, match="expected each once, got nb201/3 2 times"):
        few_label_split([*IDS, "nb201/3"], 1, np.random.default_rng(0))
    with pytest.raises(TableError, match="no row for 1 of 300 architectures"):
        division(_few(), 0, IDS[1:])


def test_cells_without_none():
    edges = ((0, 1), (1, 2))
    cells = [Cell(("input", operation, "output"), edges) for operation in ("conv3x3", "none", "skip")]
    assert cells_without_none(cells).tolist() == [True, False, True]


def test_the_duplicates_rules():
    training, evaluated = np.array([0, 1]), np.array([2, 3, 4, 5])
    rows = populations(
        training,
        evaluated,
        live_hash=np.array(["a", "b", "c", "a", "c", "b"], dtype=object),
        without_none=np.array([True, True, True, True, False, False]),
    )
    assert {name: members.tolist() for name, members in rows.items()} == {
        "all": [2, 3, 4, 5],
        "without_none": [2, 3],
        "unseen_functions": [2, 4],
    }
    assert list(populations(training, evaluated)) == ["all"]
    nothing_learnt = populations(np.array([], dtype=int), evaluated, live_hash=np.array(list("abcacb"), dtype=object))
    assert nothing_learnt["unseen_functions"].tolist() == evaluated.tolist()
