"""Tables hold their contract on both sides: columns, types, row groups, whole files."""

import os
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from archgauge import schemas
from archgauge.errors import TableError
from archgauge.schemas import ARCHITECTURES, LABELS, ROW_GROUP_ROWS, SPECTRA, read_table, write_table

ROWS = {"arch_id": ["nb201/0", "nb201/1"], "family": ["nb201"] * 2, "spec": ["a", "b"]}


def test_a_table_comes_back_with_its_schema(tmp_path):
    write_table(tmp_path / "t.parquet", pa.table(ROWS), ARCHITECTURES)
    table = read_table(tmp_path / "t.parquet", ARCHITECTURES)
    assert table.to_pydict() == ROWS
    assert table.schema.names == ARCHITECTURES.names
    assert pq.ParquetFile(tmp_path / "t.parquet").metadata.row_group(0).column(0).compression == "ZSTD"


def test_columns_are_put_in_order_and_cast(tmp_path):
    turned = pa.table({name: pa.array(ROWS[name], pa.large_string()) for name in ("spec", "family", "arch_id")})
    write_table(tmp_path / "t.parquet", turned, ARCHITECTURES)
    assert pq.read_schema(tmp_path / "t.parquet").names == ARCHITECTURES.names
    assert read_table(tmp_path / "t.parquet", ARCHITECTURES)["spec"].type == pa.string()


def test_some_columns_can_be_read_alone_and_in_order(tmp_path):
    write_table(tmp_path / "t.parquet", pa.table(ROWS), ARCHITECTURES)
    assert read_table(tmp_path / "t.parquet", ARCHITECTURES, ["spec", "arch_id"]).column_names == ["spec", "arch_id"]


def test_row_groups_have_ten_thousand_rows_even_when_streamed(tmp_path):
    parts = (_spectra(first, count) for first, count in ((0, 25_000), (25_000, 3), (25_003, 9_000)))
    write_table(tmp_path / "t.parquet", parts, SPECTRA)
    metadata = pq.ParquetFile(tmp_path / "t.parquet").metadata
    assert max(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)) == ROW_GROUP_ROWS == 10_000
    assert read_table(tmp_path / "t.parquet", SPECTRA)["arch_id"].to_pylist() == [str(i) for i in range(34_003)]


def _spectra(first: int, count: int) -> pa.Table:
    names = [str(i) for i in range(first, first + count)]
    return pa.table({"arch_id": names, "eigenvalues": pa.array([[0.0, 1.0]] * count, pa.list_(pa.float32()))})


def test_an_empty_table_is_a_table(tmp_path):
    write_table(tmp_path / "t.parquet", [], LABELS)
    assert read_table(tmp_path / "t.parquet", LABELS).num_rows == 0


@pytest.mark.parametrize(
    "columns",
    [{**ROWS, "extra": [1, 2]}, {name: ROWS[name] for name in ("arch_id", "spec")}, {**ROWS, "arch": ["a", "b"]}],
)
def test_writing_other_columns_is_refused_and_leaves_the_old_file(tmp_path, columns):
    path = tmp_path / "t.parquet"
    write_table(path, pa.table(ROWS), ARCHITECTURES)
    with pytest.raises(
        TableError, match=r"the columns of a table to write at .*t\.parquet: expected arch_id: string, family: dict"
    ):
        write_table(path, pa.table(columns), ARCHITECTURES)
    assert read_table(path, ARCHITECTURES).to_pydict() == ROWS
    assert os.listdir(tmp_path) == ["t.parquet"]


def test_writing_another_type_is_refused(tmp_path):
    wrong = pa.table({"arch_id": ["a"], "eigenvalues": [["one"]]})
    with pytest.raises(TableError, match=r"the columns of a table to write at .*t\.parquet: expected arch_id: string"):
        write_table(tmp_path / "t.parquet", wrong, SPECTRA)
    assert os.listdir(tmp_path) == []


def test_a_failing_stream_leaves_nothing(tmp_path):
    def parts():
        yield _spectra(0, 5)
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        write_table(tmp_path / "t.parquet", parts(), SPECTRA)
    assert os.listdir(tmp_path) == []


def test_a_column_that_is_missing_or_of_another_type_is_named(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"arch_id": ["a"], "label": ["x"], "value": [1], "unit": ["percent"]}), path)
    with pytest.raises(
        TableError, match=r"the columns of a Parquet table.*expected value: double, got arch_id: string"
    ):
        read_table(path, LABELS)
    pq.write_table(pa.table({"arch_id": ["a"]}), path)
    with pytest.raises(TableError, match=r"expected spec: string, got arch_id: string\. Delete the file and run"):
        read_table(path, ARCHITECTURES, ["arch_id", "spec"])


def test_plain_and_dictionary_columns_are_the_same(tmp_path):
    pq.write_table(pa.table(ROWS), tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet", ARCHITECTURES)["family"].to_pylist() == ["nb201"] * 2


def test_the_name_of_a_lists_items_does_not_count(tmp_path):
    named = pa.schema([("arch_id", pa.string()), ("eigenvalues", pa.list_(pa.field("element", pa.float32())))])
    pq.write_table(pa.table({"arch_id": ["a"], "eigenvalues": [[0.5]]}, schema=named), tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet", SPECTRA)["eigenvalues"].to_pylist() == [[0.5]]


@pytest.mark.parametrize("keep", [0, 3, 0.5, -1])
def test_a_truncated_table_is_named(tmp_path, keep):
    path = tmp_path / "t.parquet"
    write_table(path, _spectra(0, 2_000), SPECTRA)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(
        TableError, match=f"a Parquet table at {re.escape(str(path))}: expected a whole file, got Arrow"
    ):
        read_table(path, SPECTRA)


def test_damaged_pages_are_named(tmp_path):
    """The footer is whole, the data is not."""
    path = tmp_path / "t.parquet"
    rng = np.random.default_rng(0)
    table = pa.table({"arch_id": [rng.bytes(20).hex() for _ in range(500)], "eigenvalues": [[1.0]] * 500})
    write_table(path, table, SPECTRA)
    content = bytearray(path.read_bytes())
    content[100:4_000] = bytes(3_900)
    path.write_bytes(content)
    with pytest.raises(TableError, match=r"expected a whole file, got .*Delete the file and run the workflow again"):
        read_table(path, SPECTRA)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(TableError, match=r"none\.parquet: expected a whole file, got FileNotFoundError"):
        read_table(tmp_path / "none.parquet", LABELS)


def test_every_contract_starts_with_its_key_and_has_no_column_twice():
    contracts = {name: value for name, value in vars(schemas).items() if isinstance(value, pa.Schema)}
    assert {"ARCHITECTURES", "LABELS", "GRAPHS", "KINDS", "SPECTRA", "SPLITS", "PREDICTIONS", "METRICS"} <= set(
        contracts
    )
    for name, schema in contracts.items():
        assert len(set(schema.names)) == len(schema.names), name
        assert all(field.name == field.name.lower() for field in schema), name
