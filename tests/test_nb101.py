"""NAS-Bench-101 against its published table, networkx and brute force."""

from itertools import combinations, pairwise, product

import networkx as nx
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_tfrecord import HASH, record, write

from archgauge.cells import Cell
from archgauge.errors import ConfigError, SpecError, TableError
from archgauge.families import _nb101_space, nb101
from archgauge.schemas import ARCHITECTURES, LABELS

OPERATIONS = ("conv3x3", "conv1x1", "maxpool3x3")


@pytest.fixture(scope="module")
def published(tables_dir) -> pd.DataFrame:
    return pq.read_table(tables_dir / "nb101.parquet").to_pandas()


def spec_of_row(row) -> str:
    """The table's own adjacency and operations as a spec."""
    return f"{row.num_vertices}:{row.adjacency}:{','.join(OPERATIONS[int(digit)] for digit in row.ops)}"


def graph(cell: Cell) -> nx.DiGraph:
    made = nx.DiGraph()
    made.add_nodes_from((vertex, {"operation": name}) for vertex, name in enumerate(cell.operations))
    made.add_edges_from(cell.edges)
    return made


def from_graph(made: nx.DiGraph, first, last) -> Cell:
    """Number the vertices in a topological order with the output at the end."""
    order = [vertex for vertex in nx.topological_sort(made) if vertex not in (first, last)]
    number = {vertex: index for index, vertex in enumerate([first, *order, last])}
    names = tuple(made.nodes[vertex]["operation"] for vertex in number)
    return Cell(names, tuple((number[source], number[target]) for source, target in made.edges))


def pruned(made: nx.DiGraph, first, last) -> nx.DiGraph:
    kept = ({first} | nx.descendants(made, first)) & ({last} | nx.ancestors(made, last))
    return made.subgraph(kept | {first, last})


def shuffled(cell: Cell, rng: np.random.Generator) -> str:
    """Spec of the same cell with its vertices in another topological order."""
    names = rng.permutation(len(cell.operations))
    made = nx.relabel_nodes(graph(cell), dict(enumerate(names.tolist())))
    first, last = int(names[0]), int(names[-1])
    order = [v for v in nx.lexicographical_topological_sort(made) if v not in (first, last)]
    number = {vertex: index for index, vertex in enumerate([first, *order, last])}
    edges = {(number[source], number[target]) for source, target in made.edges}
    bits = "".join(str(int(pair in edges)) for pair in combinations(range(len(number)), 2))
    return f"{len(number)}:{bits}:{','.join(made.nodes[v]['operation'] for v in order)}"


def test_hash_of_the_first_record_of_the_official_file():
    """Known from the benchmark's users: matrix rows 0100110, 0010000, 0001001, 0000010, 0000010, 0000001."""
    spec = "7:100110100001001010101:conv3x3,maxpool3x3,conv3x3,conv3x3,conv1x1"
    assert nb101.arch_id(spec) == f"nb101/{HASH}"


def test_hash_equals_the_published_one(published):
    for row in published.sample(5000, random_state=0).itertuples():
        assert nb101.arch_id(spec_of_row(row)) == f"nb101/{row.module_hash}"


def test_hash_equals_the_published_one_for_all_small_modules(published):
    for row in published[published.num_vertices <= 5].itertuples():
        assert nb101.arch_id(spec_of_row(row)) == f"nb101/{row.module_hash}"


def test_enumeration_is_the_published_space(published):
    """All 423,624 hashes, each once: the slowest test here."""
    table = nb101.enumerate_specs()
    assert table.schema == ARCHITECTURES
    assert table["arch_id"].to_pylist() == sorted("nb101/" + published.module_hash)
    assert set(table["family"].unique().to_pylist()) == {"nb101"}
    specs = table["spec"]
    assert len(specs.unique()) == len(specs)
    for row in range(0, len(specs), 997):
        spec = specs[row].as_py()
        assert nb101.arch_id(spec) == table["arch_id"][row].as_py()
        assert nb101.spec_of(nb101.cell(spec)) == spec


def test_space_has_the_published_size():
    """423,624 in the paper; every module once."""
    every = _nb101_space.space()
    assert len({*zip(*(column.tolist() for column in every), strict=True)}) == 423_624


def test_small_space_by_brute_force_and_networkx():
    """All upper-triangular matrices of up to 5 vertices, all labellings, one of each isomorphism class."""
    counts = {}
    buckets: dict[tuple, list[nx.DiGraph]] = {}
    for vertices in range(2, 6):
        pairs = list(combinations(range(vertices), 2))
        for bits in product((False, True), repeat=len(pairs)):
            edges = tuple(pair for pair, bit in zip(pairs, bits, strict=True) if bit)
            plain = nx.DiGraph(edges)
            plain.add_nodes_from(range(vertices))
            if (
                len(edges) > 9
                or len(pruned(plain, 0, vertices - 1)) < vertices
                or not nx.has_path(plain, 0, vertices - 1)
            ):
                continue
            for names in product(OPERATIONS, repeat=vertices - 2):
                made = graph(Cell(("input", *names, "output"), edges))
                degrees = [(name, made.in_degree(v), made.out_degree(v)) for v, name in made.nodes(data="operation")]
                bucket = buckets.setdefault(tuple(sorted(degrees)), [])
                if not any(nx.is_isomorphic(made, other, node_match=dict.__eq__) for other in bucket):
                    bucket.append(made)
                    counts[vertices] = counts.get(vertices, 0) + 1
    every = _nb101_space.space()
    assert counts == {vertices: int((every.vertices == vertices).sum()) for vertices in range(2, 6)}
    specs = {nb101.spec_of(from_graph(made, 0, len(made) - 1)) for bucket in buckets.values() for made in bucket}
    assert len(specs) == sum(counts.values())


def test_renumbered_modules_have_one_hash_and_one_canonical_spec():
    rng = np.random.default_rng(1)
    for spec in nb101.sample(200, rng):
        assert nb101.spec_of(nb101.cell(spec)) == spec
        other = shuffled(nb101.cell(spec), rng)
        assert nb101.spec_of(nb101.cell(other)) == spec
        assert nb101.arch_id(other) == nb101.arch_id(spec)


def test_cell_of_a_spec_is_pruned_and_keeps_the_order():
    """Vertex 2 leads nowhere and vertex 3 comes from nowhere."""
    spec = "6:110000010000101:conv3x3,conv1x1,conv1x1,maxpool3x3"
    live = Cell(("input", "conv3x3", "maxpool3x3", "output"), ((0, 1), (1, 2), (2, 3)))
    assert nb101.cell(spec) == live
    assert nb101.spec_of(live) == "4:100101:conv3x3,maxpool3x3"
    assert nb101.arch_id(spec) == nb101.arch_id("4:100101:conv3x3,maxpool3x3")


def test_cell_without_interior():
    assert nb101.cell("2:1:") == Cell(("input", "output"), ((0, 1),))
    assert nb101.spec_of(nb101.cell("3:010:conv3x3")) == "2:1:"


def test_limits_hold_after_pruning():
    """Nine vertices, two of them dead, and ten edges, one of them dead, are a module of the space."""
    spec = nb101.sample(1, np.random.default_rng(4))[0]
    live = nb101.cell(spec)
    dangling = len(live.operations) - 1
    moved = [(s, t + 2 if t == dangling else t) for s, t in live.edges]
    wide = Cell(
        (*live.operations[:-1], "conv1x1", "conv1x1", "output"), (*moved, (0, dangling), (dangling, dangling + 1))
    )
    assert len(wide.operations) == 9
    assert nb101.spec_of(wide) == spec


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "expected <V>:<upper-triangle bits>:<operations>"),
        ("3:111", "expected <V>:<upper-triangle bits>:<operations>"),
        ("3:112:conv3x3", "expected <V>:<upper-triangle bits>:<operations>"),
        ("1::", "V at least 2, got 0 bits and 0 operations"),
        ("3:11:conv3x3", "for V=3, V at least 2, got 2 bits and 1 operations"),
        ("3:111:conv3x3,conv3x3", "got 3 bits and 2 operations"),
        ("3:111:conv5x5", "got unknown operation conv5x5"),
        ("3:111:input", "got unknown operation input"),
        ("3:100:conv3x3", "expected a path from input to output, got a disconnected cell"),
        (
            "8:" + "1000000" + "100000" + "10000" + "1000" + "100" + "10" + "1" + ":" + ",".join(["conv3x3"] * 6),
            "got 8 ve",
        ),
        (
            "5:1111111111:conv3x3,conv3x3,conv3x3",
            "at most 7 vertices and 9 edges after pruning, got 5 vertices and 10 e",
        ),
    ],
)
def test_bad_specs(spec, message):
    for reader in (nb101.cell, nb101.arch_id, lambda text: nb101.mutate(text, np.random.default_rng(0))):
        with pytest.raises(SpecError) as raised:
            reader(spec)
        assert message in str(raised.value)
        assert f"at {spec}:" in str(raised.value)


@pytest.mark.parametrize(
    ("operations", "edges", "message"),
    [
        (
            ("input", "conv3x3", "conv1x1", "output"),
            ((0, 1), (1, 2), (2, 1), (2, 3)),
            "without a cycle, got edge (2, 1)",
        ),
        (("input", "conv3x3", "output"), ((0, 1), (1, 1), (1, 2)), "got edge (1, 1)"),
        (("input", "conv3x3", "output"), ((0, 1), (1, 3)), "got edge (1, 3)"),
        (("input", "conv3x3", "output"), ((0, 1), (0, 1), (1, 2)), "got an edge twice"),
        (("conv3x3", "output"), ((0, 1),), "expected operations from input to output"),
        ((), (), "got no operation"),
    ],
)
def test_bad_cells(operations, edges, message):
    with pytest.raises(SpecError) as raised:
        nb101.spec_of(Cell(operations, edges))
    assert message in str(raised.value)


def test_sample_is_distinct_repeatable_and_uniform():
    specs = nb101.sample(20_000, np.random.default_rng(5))
    assert len(set(specs)) == 20_000
    assert specs == nb101.sample(20_000, np.random.default_rng(5))
    # 64,542 of 423,624 modules have fewer than 7 vertices; the hypergeometric standard deviation is about 50.
    small = sum(not spec.startswith("7:") for spec in specs)
    assert small == pytest.approx(20_000 * 64_542 / 423_624, abs=250)


def test_sample_does_not_favour_asymmetric_modules():
    """Of the 2,532 modules up to 5 vertices each is drawn equally often, however many labellings it has."""
    rng = np.random.default_rng(6)
    counts: dict[str, int] = {}
    for _ in range(20):
        for spec in nb101.sample(40_000, rng):
            if spec[0] in "2345":
                counts[spec] = counts.get(spec, 0) + 1
    expected = 20 * 40_000 / 423_624
    drawn = np.array(list(counts.values()) + [0] * (2532 - len(counts)))
    chi_square = float(((drawn - expected) ** 2 / expected).sum())
    assert chi_square == pytest.approx(2532, abs=5 * np.sqrt(2 * 2532))


@pytest.mark.parametrize("size", [-1, 423_625])
def test_sample_of_an_impossible_size(size):
    with pytest.raises(ConfigError, match=f"expected 0 to 423624 modules, got {size}"):
        nb101.sample(size, np.random.default_rng(0))


def neighbours(spec: str) -> set[str]:
    """Every module one edit away from one of seven vertices, over all topological orders, by networkx."""
    made = graph(nb101.cell(spec))
    found = []
    for source, target in product(range(6), range(1, 7)):
        edited = made.copy()
        if made.has_edge(source, target):
            edited.remove_edge(source, target)
        elif source != target:
            edited.add_edge(source, target)
        found.append(edited)
    for vertex, name in product(range(1, 6), OPERATIONS):
        edited = made.copy()
        edited.nodes[vertex]["operation"] = name
        found.append(edited)
    live = [pruned(item, 0, 6) for item in found if nx.is_directed_acyclic_graph(item) and nx.has_path(item, 0, 6)]
    return {nb101.spec_of(from_graph(item, 0, 6)) for item in live if item.number_of_edges() <= 9} - {spec}


@pytest.mark.parametrize("edges", [7, 9])
def test_mutations_of_a_full_module_are_exactly_the_one_edits(edges):
    rng = np.random.default_rng(edges)
    spec = next(s for s in nb101.sample(500, rng) if s[0] == "7" and s.count("1", 2, 23) == edges)
    assert {nb101.mutate(spec, rng) for _ in range(1500)} == neighbours(spec)


def test_mutations_of_the_smallest_module():
    """The only edits that live: a new vertex, or a chain of new vertices, beside the edge from input to output."""
    rng = np.random.default_rng(8)
    cells = [nb101.cell(nb101.mutate("2:1:", rng)) for _ in range(300)]
    for cell in cells:
        last = len(cell.operations) - 1
        assert set(cell.edges) == {(0, last), *((v, v + 1) for v in range(last))}
    assert {len(cell.operations) for cell in cells} >= {3, 4}
    assert {cell.operations[1] for cell in cells} == set(OPERATIONS)


def test_a_walk_of_mutations_stays_valid_grows_and_shrinks():
    rng = np.random.default_rng(9)
    spec, sizes = "2:1:", []
    for _ in range(1500):
        child = nb101.mutate(spec, rng)
        assert child != spec
        assert nb101.spec_of(nb101.cell(child)) == child
        spec = child
        sizes.append(len(nb101.cell(child).operations))
    assert max(sizes) == 7
    assert any(after < before for before, after in pairwise(sizes))
    assert nb101.mutate(spec, np.random.default_rng(3)) == nb101.mutate(spec, np.random.default_rng(3))


def test_labels_from_the_collected_table(tables_dir, published):
    table = nb101.LABEL_SOURCES["tables"](tables_dir / "nb101.parquet")
    assert table.schema == LABELS
    frame = table.to_pandas()
    few = published[published.params.notna()]
    columns = {
        "cifar10/test@108/run0": (published.cifar10_test_acc_e108_run0 * 100, "percent"),
        "cifar10/validation@4/selected_run": (few.cifar10_valid_acc_e4 * 100, "percent"),
        "cifar10/validation@12/selected_run": (few.cifar10_valid_acc_e12 * 100, "percent"),
        "cifar10/validation@36/selected_run": (few.cifar10_valid_acc_e36 * 100, "percent"),
        "cifar10/validation@108/selected_run": (few.cifar10_valid_acc_e108 * 100, "percent"),
        "cifar10/train_seconds@108": (few.train_seconds_e108, "s"),
    }
    assert set(frame.label) == set(columns)
    for label, (values, unit) in columns.items():
        rows = frame[frame.label == label]
        assert set(rows.unit) == {unit}
        expected = pd.Series(values.to_numpy(), index=("nb101/" + published.module_hash[values.index]).to_numpy())
        pd.testing.assert_series_equal(
            rows.set_index("arch_id").value, expected, check_names=False, check_index_type=False
        )


@pytest.mark.parametrize("value", [float("nan"), 92.0, -0.1])
def test_a_label_out_of_range_is_named(tmp_path, value):
    rows = {name: pa.nulls(2, kind) for name, kind in zip(nb101._TABLE.names, nb101._TABLE.types, strict=True)}
    rows |= {"module_hash": pa.array(["aa", "bb"], pa.large_string()), "cifar10_valid_acc_e36": pa.array([0.5, value])}
    pq.write_table(pa.table(rows), tmp_path / "nb101.parquet")
    with pytest.raises(TableError, match=rf"validation@36/selected_run at .*nb101/bb: .* got {value}"):
        nb101.LABEL_SOURCES["tables"](tmp_path / "nb101.parquet")


def test_a_table_without_a_column_or_a_file(tmp_path):
    with pytest.raises(TableError, match=r"nb101\.parquet: expected a whole file"):
        nb101.LABEL_SOURCES["tables"](tmp_path / "nb101.parquet")
    pq.write_table(pa.table({"module_hash": pa.array(["aa"], pa.large_string())}), tmp_path / "nb101.parquet")
    with pytest.raises(TableError, match="expected cifar10_test_acc_e108_run0: double"):
        nb101.LABEL_SOURCES["tables"](tmp_path / "nb101.parquet")


def test_labels_from_an_official_file(tmp_path):
    path = write(tmp_path / "nasbench_only108.tfrecord", record(), record())
    table = nb101.LABEL_SOURCES["tfrecord"](path)
    assert table.schema == LABELS
    assert table.num_rows == 12
    assert table["label"].to_pylist().count("cifar10/test@108/run1") == 1
    assert set(table["arch_id"].to_pylist()) == {f"nb101/{HASH}"}


def test_published_costs(tables_dir, published):
    costs = nb101.published_costs(tables_dir / "nb101.parquet").to_pandas().set_index("arch_id")
    assert len(costs) == 423_624
    assert costs.params.notna().sum() == 30_001
    row = published.iloc[0]
    assert costs.loc[f"nb101/{row.module_hash}", "macs"] == row.macs
    assert costs.loc[f"nb101/{row.module_hash}", "params"] == row.params
