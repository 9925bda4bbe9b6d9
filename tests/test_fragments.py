"""What a sweep computes again, and what it takes from its fragments."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archgauge import fragments
from archgauge.errors import TableError
from archgauge.fragments import FragmentStore, key, sweep
from archgauge.schemas import METRICS, PREDICTIONS

ROOT = Path(__file__).parents[1]
SCHEMA = pa.schema([("seed", pa.int32()), ("name", pa.dictionary(pa.int32(), pa.string())), ("value", pa.float64())])


def rows(seed: int) -> pa.Table:
    return pa.table({"seed": [seed, seed], "name": ["a", f"b{seed}"], "value": [seed / 3, float("nan")]})


class Counting:
    """Compute rows, and remember for which seeds."""

    def __init__(self):
        self.seeds = []

    def __call__(self, task):
        self.seeds.append(task["seed"])
        return rows(task["seed"])


@pytest.fixture
def store(tmp_path):
    return FragmentStore(tmp_path / "fragments", SCHEMA)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "input.parquet"
    path.write_bytes(b"input")
    return path


def tasks(seeds):
    return [{"n_train": 50, "seed": seed} for seed in seeds]


def run(store, seeds, inputs, fingerprint="f1"):
    compute = Counting()
    result = sweep(tasks(seeds), compute, store, fingerprint=fingerprint, inputs=inputs)
    return compute.seeds, result


def test_from_5_to_10_seeds_runs_5(store, table):
    first, five = run(store, range(5), [table])
    second, ten = run(store, range(10), [table])
    assert (first, second) == ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9])
    assert ten["seed"].to_pylist() == [seed for seed in range(10) for _ in range(2)]
    assert repr(ten.slice(0, 10).to_pylist()) == repr(five.to_pylist())  # as text: NaN is unequal to itself
    assert run(store, range(10), [table])[0] == []
    assert run(store, [8, 2], [table])[1]["seed"].to_pylist() == [8, 8, 2, 2]


def test_rows_are_the_computed_ones(store, table):
    _, result = run(store, range(3), [table])
    fresh = pa.concat_tables([rows(seed).cast(SCHEMA) for seed in range(3)])
    assert result.schema == SCHEMA
    for column in SCHEMA.names:
        assert repr(result[column].to_pylist()) == repr(fresh[column].to_pylist())


def test_other_code_and_other_inputs_run_again(store, table, tmp_path):
    run(store, [0], [table])
    assert run(store, [0], [table], fingerprint="f2")[0] == [0]
    table.write_bytes(b"other input")
    assert run(store, [0], [table])[0] == [0]
    table.write_bytes(b"input")
    copy = tmp_path / "copy.parquet"
    copy.write_bytes(b"input")
    assert run(store, [0], [copy])[0] == []  # the content counts, not the place


def test_an_input_of_equal_size_and_other_content_counts(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"aaaa")
    before = key({}, "f", [path])
    path.write_bytes(b"bbbb")
    os.utime(path, ns=(1, 1))
    assert key({}, "f", [path]) != before


def test_inputs_are_hashed_once(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"aaaa")
    hashed = []
    real = fragments.sha256
    monkeypatch.setattr(fragments, "sha256", lambda one: hashed.append(one) or real(one))
    assert len({key({"seed": seed}, "f", [path]) for seed in range(100)}) == 100
    assert hashed == [path]


def test_key_is_the_hash_of_canonical_json(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    content = hashlib.sha256(b"abc").hexdigest()
    text = f'{{"fingerprint":"f","inputs":["{content}"],"settings":{{"a":1,"b":[0.5,null]}}}}'
    assert key({"b": [0.5, None], "a": 1}, "f", [path]) == hashlib.sha256(text.encode()).hexdigest()[:32]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
settings = st.dictionaries(st.text(), json_values, max_size=4)


@given(settings, settings)
def test_keys_are_equal_where_settings_are(one, other):
    canonical = [json.dumps(value, sort_keys=True) for value in (one, other)]
    assert (key(one, "f", []) == key(other, "f", [])) == (canonical[0] == canonical[1])
    assert key(dict(reversed(one.items())), "f", []) == key(one, "f", [])


@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage", "columns"])
def test_a_corrupt_fragment_is_deleted_and_its_run_repeated(store, table, damage):
    _, before = run(store, range(3), [table])
    path = store.path(key(tasks([1])[0], "f1", [table]))
    whole = path.read_bytes()
    if damage == "columns":
        fragments.write_table(path, pa.table({"seed": [1]}), pa.schema([("seed", pa.int32())]))
    else:
        path.write_bytes({"truncated": whole[:-20], "empty": b"", "garbage": b"PAR1" + b"x" * 100 + b"PAR1"}[damage])
    with pytest.warns(UserWarning, match=rf"Deleted a fragment that cannot be read; its run is repeated.*{path.name}"):
        repeated, after = run(store, range(3), [table])
    assert repeated == [1]
    assert repr(after.to_pylist()) == repr(before.to_pylist())
    assert path.read_bytes() == whole


def test_get_of_a_corrupt_fragment_deletes_it(store):
    store.put("a" * 32, rows(1))
    store.path("a" * 32).write_bytes(b"PAR1")
    with pytest.warns(UserWarning, match="Deleted a fragment"):
        assert store.get("a" * 32) is None
    assert not store.path("a" * 32).exists()


def test_get_of_what_is_not_there(store):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert store.get("0" * 32) is None


def test_a_failed_run_keeps_those_before_it(store, table):
    def compute(task):
        if task["seed"] == 3:
            raise ZeroDivisionError
        return rows(task["seed"])

    with pytest.raises(ZeroDivisionError):
        sweep(tasks(range(5)), compute, store, fingerprint="f1", inputs=[table])
    assert run(store, range(5), [table])[0] == [3, 4]


def test_a_kill_loses_one_fragment(tmp_path, table):
    code = """
import os, signal, sys
import pyarrow as pa
from archgauge.fragments import FragmentStore, sweep
schema = pa.schema([("seed", pa.int32())])
def compute(task):
    if task["seed"] == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return pa.table({"seed": [task["seed"]]})
sweep([{"seed": seed} for seed in range(5)], compute, FragmentStore(sys.argv[1], schema), fingerprint="f", inputs=[])
"""
    folder = tmp_path / "fragments"
    done = subprocess.run([sys.executable, "-c", code, folder], cwd=ROOT, stderr=subprocess.DEVNULL, check=False)
    assert done.returncode == -signal.SIGKILL
    store = FragmentStore(folder, pa.schema([("seed", pa.int32())]))
    compute = Counting()

    def column(task):
        return compute(task).select(["seed"]).slice(0, 1)

    result = sweep([{"seed": seed} for seed in range(5)], column, store, fingerprint="f", inputs=[])
    assert compute.seeds == [3, 4]
    assert result["seed"].to_pylist() == [0, 1, 2, 3, 4]


def test_equal_tasks_are_an_error(store, table):
    with pytest.raises(
        TableError, match=r"the runs of a sweep at .*: expected settings that differ .* got .*'seed': 1.* twice"
    ):
        run(store, [0, 1, 1], [table])


def test_a_run_with_wrong_columns_is_an_error_and_leaves_nothing(store, table):
    with pytest.raises(TableError, match="the columns of a table to write"):
        sweep(tasks([0]), lambda task: pa.table({"x": [1]}), store, fingerprint="f1", inputs=[table])
    assert list(store.folder.iterdir()) == []


def test_assemble_says_what_is_missing(store):
    store.put("a" * 32, rows(1))
    with pytest.raises(
        TableError, match=r"fragments of a sweep at .*: expected 2 fragments, got 1 missing, the first bbb"
    ):
        store.assemble(["a" * 32, "b" * 32])


def test_nothing_to_run_is_an_empty_table(store):
    assert sweep([], rows, store, fingerprint="f", inputs=[]) == SCHEMA.empty_table()


@pytest.mark.parametrize("schema", [METRICS, PREDICTIONS], ids=["metrics", "predictions"])
def test_the_tables_of_the_workflow(tmp_path, schema):
    """Fragments with different names in their dictionary columns become one table that can be written."""
    store = FragmentStore(tmp_path / "fragments", schema)

    def compute(task):
        plain = {field.name: pa.array([task["seed"]], pa.int64()) for field in schema}
        texts = {field.name for field in schema if pa.types.is_dictionary(field.type) or pa.types.is_string(field.type)}
        columns = {name: pa.array([f"{name}{task['seed']}"]) if name in texts else plain[name] for name in plain}
        return pa.table(columns)

    result = sweep(tasks(range(3)), compute, store, fingerprint="f", inputs=[])
    fragments.write_table(tmp_path / "whole.parquet", result, schema)
    again = fragments.read_table(tmp_path / "whole.parquet", schema)
    assert again["predictor"].to_pylist() == ["predictor0", "predictor1", "predictor2"]


def test_progress_is_shown(store, table, capsys):
    run(store, range(2), [table])
    run(store, range(3), [table])
    assert "runs (2 reused): 100%" in capsys.readouterr().err
