"""NAS-Bench-201: the space, its official order, cells, and labels against the published numbers."""

import hashlib
import itertools
import re

import networkx as nx
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from scipy.stats import kendalltau, spearmanr

from archgauge.errors import ConfigError, FormatError, SpecError, TableError
from archgauge.families import nb201
from archgauge.formats import analog
from archgauge.schemas import ARCHITECTURES, LABELS

SPECS = nb201.enumerate_specs()["spec"].to_pylist()
FIRST = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"


def by_label(labels: pa.Table) -> dict[str, np.ndarray]:
    """(15625,) values by official index, of each label."""
    names = pc.cast(labels["label"], pa.string())
    found = {}
    for name in names.unique().to_pylist():
        rows = labels.filter(pc.equal(names, name))
        index = [int(arch_id.removeprefix("nb201/")) for arch_id in rows["arch_id"].to_pylist()]
        assert sorted(index) == list(range(15_625))
        found[name] = np.empty(15_625)
        found[name][index] = rows["value"].to_numpy()
    return found


@pytest.fixture(scope="module")
def tables(tables_dir):
    return by_label(nb201.LABEL_SOURCES["tables"](tables_dir / "nb201.parquet"))


@pytest.fixture(scope="module")
def retrained():
    return by_label(nb201.LABEL_SOURCES["analog"](analog.installed_file()))


def test_the_whole_space_is_enumerated_once():
    table = nb201.enumerate_specs()
    assert table.schema == ARCHITECTURES
    assert len(set(SPECS)) == len(set(table["arch_id"].to_pylist())) == 15_625
    assert set(pc.cast(table["family"], pa.string()).to_pylist()) == {"nb201"}


def test_the_order_is_the_official_one():
    """Index 0 and 1 as in the benchmark's files. The hash is of the order that the tables below also confirm."""
    assert SPECS[0] == FIRST
    assert SPECS[1] == "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|"
    assert hashlib.sha256("\n".join(SPECS).encode()).hexdigest() == ORDER_SHA256


ORDER_SHA256 = "83abc799e45cf34e9d2163654668ab998b9a54d01c39e72ca1f71f2cdf356d84"


def test_the_order_is_that_of_the_published_table(tables_dir):
    table = pq.read_table(tables_dir / "nb201.parquet", columns=["index", "arch_str", "ops"])
    assert table["index"].to_pylist() == list(range(15_625))
    assert table["arch_str"].to_pylist() == SPECS
    codes = {"skip_connect": "0", "none": "1", "nor_conv_3x3": "2", "nor_conv_1x1": "3", "avg_pool_3x3": "4"}
    by_edge = [dict(zip(nb201.EDGES, nb201.parse(spec), strict=True)) for spec in SPECS]
    assert ["".join(codes[edges[edge]] for edge in sorted(edges)) for edges in by_edge] == table["ops"].to_pylist()


def test_arch_id_is_the_index():
    assert nb201.enumerate_specs()["arch_id"].to_pylist() == [nb201.arch_id(spec) for spec in SPECS]
    assert nb201.arch_id(FIRST) == "nb201/0"


def test_parse_and_spec_of_are_inverse():
    assert all(nb201.spec_of(nb201.parse(spec)) == spec for spec in SPECS)
    assert nb201.parse(FIRST)[:3] == ("avg_pool_3x3", "nor_conv_1x1", "skip_connect")


@pytest.mark.parametrize(
    "spec",
    [
        "",
        FIRST + " ",
        FIRST.replace("avg_pool_3x3", "max_pool_3x3"),
        FIRST.replace("skip_connect~1|+", "skip_connect~0|+"),
        FIRST.rpartition("+")[0],
        FIRST + "+|none~0|none~1|none~2|none~3|",
        FIRST.replace("~1", "~2"),
        "433000",
    ],
)
@pytest.mark.parametrize("function", [nb201.parse, nb201.arch_id, nb201.cell, nb201.without_none])
def test_a_spec_that_is_none_is_refused(spec, function):
    with pytest.raises(SpecError, match=re.escape(f"got {spec!r}. Give the official architecture string")):
        function(spec)
    with pytest.raises(SpecError):
        nb201.mutate(spec, np.random.default_rng(0))


def test_4096_cells_have_no_none():
    assert sum(map(nb201.without_none, SPECS)) == 4**6


def test_samples_are_distinct_and_repeat_with_their_generator():
    drawn = nb201.sample(2_000, np.random.default_rng(3))
    assert len(set(drawn)) == 2_000
    assert set(drawn) <= set(SPECS)
    assert drawn == nb201.sample(2_000, np.random.default_rng(3))
    assert sorted(nb201.sample(15_625, np.random.default_rng(0))) == sorted(SPECS)
    assert nb201.sample(0, np.random.default_rng(0)) == []


def test_samples_are_uniform():
    rng = np.random.default_rng(0)
    counts = {name: np.zeros(6) for name in nb201.OPERATIONS}
    for spec in itertools.chain.from_iterable(nb201.sample(500, rng) for _ in range(20)):
        for edge, name in enumerate(nb201.parse(spec)):
            counts[name][edge] += 1
    deviation = (np.array(list(counts.values())) - 2_000) / np.sqrt(10_000 * 0.2 * 0.8)
    assert np.abs(deviation).max() < 4


@pytest.mark.parametrize("n", [15_626, -1])
def test_a_sample_larger_than_the_family_is_refused(n):
    with pytest.raises(ConfigError, match=f"the size of a sample at nb201.*15625 distinct cells, got {n}"):
        nb201.sample(n, np.random.default_rng(0))


def test_a_mutation_changes_one_edge_and_reaches_all_24_neighbours():
    rng = np.random.default_rng(0)
    near = [nb201.mutate(FIRST, rng) for _ in range(2_400)]
    before = nb201.parse(FIRST)
    assert all(sum(a != b for a, b in zip(before, nb201.parse(spec), strict=True)) == 1 for spec in near)
    counts = np.unique(near, return_counts=True)[1]
    assert len(counts) == 24
    assert np.abs(counts - 100).max() < 40


def test_the_cell_is_the_line_graph_of_the_spec():
    """Second construction: networkx's line graph of the DAG of the four nodes, with a source and a sink."""
    for spec in SPECS[::97]:
        nodes = nx.DiGraph([("in", 0), *nb201.EDGES, (3, "out")])
        lines = nx.line_graph(nodes)
        names = {edge: nb201.OPERATIONS[name] for edge, name in zip(nb201.EDGES, nb201.parse(spec), strict=True)}
        names |= {("in", 0): "input", (3, "out"): "output"}
        nx.set_node_attributes(lines, names, "operation")
        cell = nb201.cell(spec)
        found = nx.DiGraph(cell.edges)
        nx.set_node_attributes(found, dict(enumerate(cell.operations)), "operation")
        assert nx.is_isomorphic(lines, found, node_match=lambda a, b: a == b)


def test_a_cell_stands_in_topological_order():
    cell = nb201.cell(FIRST)
    assert cell.operations == ("input", "avgpool3x3", "conv1x1", "skip", "conv1x1", "skip", "skip", "output")
    assert len(set(cell.edges)) == len(cell.edges) == 10
    assert all(source < target for source, target in cell.edges)


def test_paths_of_a_cell():
    """Four paths lead from node 0 to node 3; here 0-3, 0-1-3, 0-2-3, 0-1-2-3."""
    paths = nb201.cell(FIRST).paths()
    assert paths == {("conv1x1",): 2, ("avgpool3x3",): 2}
    none = nb201.spec_of(["none"] * 6)
    assert not nb201.cell(none).paths()


# Labels


def test_labels_fit_their_schema(tables_dir):
    for labels in (
        nb201.LABEL_SOURCES["tables"](tables_dir / "nb201.parquet"),
        nb201.LABEL_SOURCES["analog"](analog.installed_file()),
    ):
        assert labels.schema == LABELS
        assert set(pc.cast(labels["unit"], pa.string()).to_pylist()) == {"percent"}


def test_the_best_accuracies_are_the_published_ones(tables):
    best = {data: round(tables[f"{data}/test@200/mean"].max(), 2) for data in ("cifar10", "cifar100", "imagenet16-120")}
    assert best == {"cifar10": 94.37, "cifar100": 73.51, "imagenet16-120": 47.31}  # NAS-Bench-201, "optimal"
    assert set(tables) == {
        f"{data}/test@{run}"
        for data in ("cifar10", "cifar100", "imagenet16-120")
        for run in ("12/run0", "200/run0", "200/mean")
    }


def test_agreement_between_runs_is_as_measured(tables):
    run, mean, short = (tables[f"cifar10/test@{name}"] for name in ("200/run0", "200/mean", "12/run0"))
    assert kendalltau(run, mean).statistic == pytest.approx(0.948, abs=5e-4)
    assert kendalltau(short, mean).statistic == pytest.approx(0.70, abs=0.02)


def test_the_retrained_accuracies_agree_with_the_official_ones(tables, retrained):
    """Any slip in edge order or operation codes would destroy this agreement."""
    assert set(retrained) == {"cifar10/test@200/run0+analog"}
    values, mean = retrained["cifar10/test@200/run0+analog"], tables["cifar10/test@200/mean"]
    assert np.corrcoef(values, mean)[0, 1] == pytest.approx(0.9994, abs=5e-5)
    assert kendalltau(values, mean).statistic == pytest.approx(0.926, abs=1e-3)
    assert spearmanr(values, mean).statistic == pytest.approx(0.991, abs=1e-3)
    assert (values - mean).mean() == pytest.approx(-0.290, abs=1e-3)


def test_cells_without_a_path_guess(retrained):
    values = retrained["cifar10/test@200/run0+analog"]
    dead = np.array([not nb201.cell(spec).paths() for spec in SPECS])
    assert np.allclose(values[dead], 10, atol=0.5)
    assert values[~dead].min() > 15


def test_the_validation_columns_of_the_table_hold_test_accuracies(tables_dir):
    """Why they are not read: on CIFAR-100 and ImageNet16-120 most equal a test run to the last image."""
    table = pq.read_table(tables_dir / "nb201.parquet")
    for data in ("cifar100", "imagenet16_120"):
        mean, run = table[f"test200_{data}_mean"].to_numpy(), table[f"test200_{data}_1seed"].to_numpy()
        suspect = table[f"val_{data}_naslib"].to_numpy()
        repeats = np.isclose(suspect, run, atol=1e-3) | np.isclose(suspect, 2 * mean - run, atol=1e-3)
        assert repeats.mean() > 0.6
    images = table["val_cifar10_naslib"].to_numpy() / 100 * 25_000
    assert np.mean(np.abs(images - np.round(images)) > 1e-3) > 0.4  # no whole number of the 25,000 validation images


def parquet(path, change):
    """Write a small table in the collected layout after `change` of its columns."""
    columns = {"index": list(range(3)), "arch_str": SPECS[:3]}
    for data in ("cifar10", "cifar100", "imagenet16_120"):
        columns |= {f"test{name}": [80.0] * 3 for name in (f"12_{data}_1seed", f"200_{data}_1seed", f"200_{data}_mean")}
    change(columns)
    kinds = {"index": pa.int64(), "arch_str": pa.large_string()}
    pq.write_table(pa.table(columns, pa.schema({name: kinds.get(name, pa.float64()) for name in columns})), path)
    return path


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("test200_cifar10_mean", None, r"the label cifar10/test@200/mean at .*x.parquet, nb201/1: .* got None"),
        ("test200_cifar10_mean", float("nan"), r"nb201/1: expected an accuracy of 0 to 100 percent, got nan"),
        ("test12_cifar100_1seed", 101.0, r"the label cifar100/test@12/run0 .* got 101.0"),
        ("test12_cifar100_1seed", -0.1, r"got -0.1"),
        ("arch_str", SPECS[7], r"the official index of a cell at .*nb201/1: expected \|nor_conv_3x3~0\|"),
        ("index", 15_625, r"nb201/15625: expected an index below 15625"),
    ],
)
def test_a_bad_table_is_refused(tmp_path, column, value, message):
    def change(columns):
        columns[column][1] = value

    with pytest.raises(TableError, match=message):
        nb201.LABEL_SOURCES["tables"](parquet(tmp_path / "x.parquet", change))


def test_a_missing_column_is_named(tmp_path):
    path = parquet(tmp_path / "x.parquet", lambda columns: columns.pop("test12_cifar10_1seed"))
    with pytest.raises(TableError, match="test12_cifar10_1seed"):
        nb201.LABEL_SOURCES["tables"](path)


def test_official_files_end_in_the_same_table(monkeypatch, tmp_path):
    rows = [(0, FIRST, "cifar10/test@200/run0", 86.18), (0, FIRST, "cifar10/validation@200/mean", 81.0)]
    monkeypatch.setattr(nb201.natsbench, "read_accuracies", lambda path: iter(rows))
    labels = nb201.LABEL_SOURCES["natsbench"](tmp_path)
    assert labels.schema == LABELS
    assert labels["arch_id"].to_pylist() == ["nb201/0"] * 2
    rows[1] = (1, *rows[1][1:])
    with pytest.raises(TableError, match="the official index of a cell"):
        nb201.LABEL_SOURCES["natsbench"](tmp_path)


def test_a_missing_official_folder_is_said(tmp_path):
    with pytest.raises(FormatError, match="got nothing there"):
        nb201.LABEL_SOURCES["natsbench"](tmp_path / "absent")
