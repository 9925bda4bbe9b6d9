"""Graphs as Parquet and back: nothing is lost, the number of processes does not matter, damage is named."""

import os
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from graph_cases import random_graph

from archgauge.errors import GraphError, SpecError, TableError
from archgauge.families import nb101, nb201
from archgauge.graphs import cost, tables
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.graph import Graphs, concatenate
from archgauge.graphs.normal_form import live
from archgauge.graphs.operations import VOCABULARY, Kind, KindTable
from archgauge.graphs.tables import (
    convert,
    graphs_to_table,
    iter_graphs,
    kinds_to_table,
    read_kinds,
    table_to_graphs,
)
from archgauge.schemas import ARCHITECTURES, GRAPHS, KINDS, read_table, write_table

ARRAYS = (
    *("kind", "node_offset", "edge_source", "edge_output", "edge_target"),
    *("edge_slot", "edge_offset", "weight_id", "params_outside"),
)


def assert_equal(first: Graphs, second: Graphs) -> None:
    for name in ARRAYS:
        left, right = getattr(first, name), getattr(second, name)
        assert left.tolist() == right.tolist(), name
        assert left.dtype == right.dtype, name
    assert [first.kinds[kind] for kind in first.kind] == [second.kinds[kind] for kind in second.kind]


def random_graphs(n: int) -> Graphs:
    """Some with shared weights, some with reads of second outputs, some with parameters outside."""
    rng, kinds = np.random.default_rng(0), KindTable()
    parts = [random_graph(rng, int(rng.integers(1, 15)), kinds, sharing=bool(i % 2)) for i in range(n)]
    graphs = concatenate(parts)
    output = graphs.edge_output.copy()
    output[rng.integers(0, len(output), 5)] = 1
    return replace(graphs, edge_output=output, params_outside=rng.integers(0, 5, n))


def columns_of(graphs: Graphs) -> dict[str, np.ndarray]:
    return {
        "arch_id": np.array([f"x/{row}" for row in range(len(graphs))]),
        "macs": cost.macs(graphs),
        "params": cost.params(graphs),
        "params_outside": graphs.params_outside,
        "live_hash": np.array(["0"] * len(graphs)),
    }


def written(folder, graphs: Graphs):
    write_table(folder / "g.parquet", graphs_to_table(graphs, columns_of(graphs)), GRAPHS)
    write_table(folder / "k.parquet", kinds_to_table(graphs.kinds), KINDS)
    return folder / "g.parquet", folder / "k.parquet"


def test_graphs_come_back_from_a_file(tmp_path):
    graphs = random_graphs(200)
    path, kinds = written(tmp_path, graphs)
    assert_equal(table_to_graphs(read_table(path, GRAPHS), read_kinds(kinds)), graphs)


def test_slices_of_a_table_are_its_graphs():
    graphs = random_graphs(50)
    table = graphs_to_table(graphs, columns_of(graphs)).cast(GRAPHS)
    for first, count in ((0, 50), (7, 20), (49, 1), (10, 0)):
        back = table_to_graphs(table.slice(first, count), graphs.kinds)
        assert_equal(back, graphs.select(np.arange(first, first + count)))


def test_a_table_of_several_chunks_comes_back():
    graphs = random_graphs(20)
    parts = [graphs.select(np.arange(0, 8)), graphs.select(np.arange(8, 20))]
    table = pa.concat_tables([graphs_to_table(part, columns_of(part)) for part in parts])
    assert_equal(table_to_graphs(table, graphs.kinds), graphs)


def test_default_outputs_and_weight_ids_take_no_room():
    table = graphs_to_table(random_graphs(40), columns_of(random_graphs(40)))
    graph = concatenate([nb201.to_graph(nb201.spec_of(["none"] * 6))])
    plain = graphs_to_table(graph, columns_of(graph))
    assert plain["edge_output"].to_pylist() == plain["weight_id"].to_pylist() == [[]]
    assert 0 < sum(map(len, table["weight_id"].to_pylist())) < sum(map(len, table["kind"].to_pylist()))


def test_every_kind_comes_back_from_a_file(tmp_path):
    kinds = KindTable(Kind(name, ((1, 2, 3),), ((4, 5, 6),), (3, 1)) for name in VOCABULARY)
    for kind in (
        Kind("conv", ((8, 8, 4),), ((8, 8, 4),), (3, 5), (2, 1), (1, 2), (3, 4), 2, True, True, '{"a":"ü"}'),
        Kind("input", (), ((1, 1, 1),)),
        Kind("other", ((1, 1, 1), (2, 2, 2)), ((3, 3, 3), (4, 4, 4))),
        Kind("output", ((1, 1, 1),), ()),
    ):
        kinds.index(kind)
    write_table(tmp_path / "k.parquet", kinds_to_table(kinds), KINDS)
    back = read_kinds(tmp_path / "k.parquet")
    assert list(back) == list(kinds)
    assert [kind.digest for kind in back] == [kind.digest for kind in kinds]


@pytest.mark.parametrize(
    ("column", "value"),
    [("kind", 10_000), ("kind", -1), ("edge_source", 10_000), ("edge_source", -1), ("edge_target", 10_000)],
)
def test_an_index_outside_is_named(column, value):
    graphs = random_graphs(10)
    table = graphs_to_table(graphs, columns_of(graphs))
    lists = table[column].to_pylist()
    lists[7][-1] = value
    broken = table.set_column(table.column_names.index(column), column, pa.array(lists, pa.list_(pa.int32())))
    with pytest.raises(
        GraphError, match="the indices of a computation graph at x/7: expected nodes of its own graph and"
    ):
        table_to_graphs(broken, graphs.kinds)


def architectures(folder, specs: list[str], family: str = "nb201"):
    names = [f"{family}/{row}" for row in range(len(specs))]
    table = pa.table({"arch_id": names, "family": [family] * len(specs), "spec": specs})
    write_table(folder / "a.parquet", table, ARCHITECTURES)
    return folder / "a.parquet"


@pytest.mark.parametrize("family", [nb101, nb201])
def test_conversion_gives_equal_bytes_with_one_and_two_processes(tmp_path, family, monkeypatch):
    monkeypatch.setattr(tables, "CHUNK_GRAPHS", 64)
    specs = family.sample(400, np.random.default_rng(0))
    source = architectures(tmp_path, specs)
    for processes in (1, 2):
        names = [tmp_path / f"{processes}.{part}.parquet" for part in ("g", "k")]
        convert(source, family.to_graph, *names, processes)
    for part in ("g", "k"):
        one, two = ((tmp_path / f"{processes}.{part}.parquet").read_bytes() for processes in (1, 2))
        assert one == two
    whole = KindTable()
    graphs = concatenate([family.to_graph(spec, whole) for spec in specs])
    table, kinds = read_table(names[0], GRAPHS), read_kinds(names[1])
    back = table_to_graphs(table, kinds)
    for name in ARRAYS[1:]:
        assert getattr(back, name).tolist() == getattr(graphs, name).tolist()
    live(graphs)  # adds the zeros that stand for dead branches
    assert set(kinds) == set(whole)
    assert canonical_hash(back).tolist() == canonical_hash(graphs).tolist()
    assert table["live_hash"].to_pylist() == canonical_hash(live(graphs)).tolist()
    assert table["macs"].to_pylist() == cost.macs(graphs).tolist()
    assert table["params"].to_pylist() == cost.params(graphs).tolist()
    assert table["arch_id"].to_pylist() == [f"nb201/{row}" for row in range(400)]


def test_a_spec_that_cannot_be_turned_is_named_and_nothing_is_written(tmp_path):
    specs = [*nb201.sample(3, np.random.default_rng(0)), "nonsense"]
    source = architectures(tmp_path, specs)
    with pytest.raises(SpecError, match=r"a NAS-Bench-201 cell at nb201/3, nb201/\?: expected .* got 'nonsense'"):
        convert(source, nb201.to_graph, tmp_path / "g.parquet", tmp_path / "k.parquet", 2)
    assert os.listdir(tmp_path) == ["a.parquet"]


def test_row_groups_are_streamed(tmp_path):
    graphs = random_graphs(30)
    table = graphs_to_table(graphs, columns_of(graphs)).cast(GRAPHS)
    pq.write_table(table, tmp_path / "g.parquet", row_group_size=8)
    groups = list(iter_graphs(tmp_path / "g.parquet", graphs.kinds, ["macs", "arch_id"]))
    assert [len(group) for group, _ in groups] == [8, 8, 8, 6]
    assert [columns.column_names for _, columns in groups] == [["macs", "arch_id"]] * 4
    assert_equal(concatenate([group for group, _ in groups]), graphs)


@pytest.mark.parametrize("keep", [100, 0.5, -1])
def test_truncated_tables_are_named(tmp_path, keep):
    path, kinds = written(tmp_path, random_graphs(100))
    for file in (path, kinds):
        content = file.read_bytes()
        file.write_bytes(content[: int(len(content) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(TableError, match=r"a Parquet table at .*k\.parquet: expected a whole file"):
        read_kinds(kinds)
    with pytest.raises(TableError, match=r"a Parquet table at .*g\.parquet: expected a whole file"):
        next(iter_graphs(path, KindTable()))


def test_damaged_pages_are_named_when_their_row_group_is_reached(tmp_path):
    graphs = random_graphs(300)
    path, _ = written(tmp_path, graphs)
    content = bytearray(path.read_bytes())
    content[200 : len(content) // 2] = bytes(len(content) // 2 - 200)
    path.write_bytes(content)
    with pytest.raises(TableError, match=r"a Parquet table at .*g\.parquet: expected a whole file"):
        list(iter_graphs(path, graphs.kinds))


def test_graphs_without_a_column_are_refused(tmp_path):
    graphs = random_graphs(5)
    pq.write_table(graphs_to_table(graphs, columns_of(graphs)).drop(["edge_slot"]), tmp_path / "g.parquet")
    with pytest.raises(TableError, match=r"the columns of a Parquet table.*expected edge_slot: list"):
        next(iter_graphs(tmp_path / "g.parquet", graphs.kinds))
