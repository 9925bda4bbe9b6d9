"""The user's own table: every kind of architecture it may hold, its labels, and what it says of a bad row."""

import csv
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from archgauge.config import tabulated_from
from archgauge.errors import ArchgaugeError, SpecError, TableError
from archgauge.families import nb201, table, transnas_macro
from archgauge.graphs import cost
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.operations import KindTable
from archgauge.graphs.trace import trace
from archgauge.schemas import ARCHITECTURES, LABELS

CELL = nb201.enumerate_specs()["spec"][0].as_py()
MODEL = """
from torch import nn

class Sum(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x, y):
        return self.conv(x) + self.conv(y)

def narrow():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())

def broken():
    raise RuntimeError("no such width")

def number():
    return 3

def leaves():
    raise SystemExit(3)

class Leaves(nn.Module):
    def forward(self, x):
        raise SystemExit(4)
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine.py").write_text(MODEL)
    return tmp_path


def save(path, rows, columns=None):
    """Write rows, as CSV or Parquet by the ending."""
    columns = columns or list(dict.fromkeys(column for row in rows for column in row))
    if path.suffix == ".parquet":
        pq.write_table(pa.table({column: [row.get(column) for row in rows] for column in columns}), path)
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
    return path


ROWS = [
    {"name": "cell", "family": "nb201", "spec": CELL, "accuracy [percent]": 93.5, "latency [ms]": 4},
    {"family": "transnas_macro", "spec": "1234", "accuracy [percent]": 91.0},
    {"name": "mine", "module": "models/mine.py:narrow", "input": "1,3,9,9", "latency [ms]": 0.5, "rank": 3},
]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_architectures_and_labels(folder, ending):
    path = save(folder / f"mine.{ending}", ROWS)
    found = table.tabulate(path)
    assert found.schema == ARCHITECTURES
    assert found["arch_id"].to_pylist() == ["table/cell", "table/2", "table/mine"]
    assert [table.arch_id(spec) for spec in found["spec"].to_pylist()] == found["arch_id"].to_pylist()
    assert set(pc.cast(found["family"], pa.string()).to_pylist()) == {"table"}
    labels = table.LABEL_SOURCES["table"](path)
    assert labels.schema == LABELS
    assert [tuple(row.values()) for row in labels.to_pylist()] == [
        ("table/cell", "accuracy", 93.5, "percent"),
        ("table/2", "accuracy", 91.0, "percent"),
        ("table/cell", "latency", 4.0, "ms"),
        ("table/mine", "latency", 0.5, "ms"),
        ("table/mine", "rank", 3.0, ""),
    ]


def test_graphs_are_those_of_the_families_and_of_traces(folder):
    kinds = KindTable()
    graphs = [table.to_graph(spec, kinds) for spec in table.tabulate(save(folder / "t.csv", ROWS))["spec"].to_pylist()]
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    expected = [
        nb201.to_graph(CELL, kinds),
        transnas_macro.to_graph("1234", kinds),
        trace(model, torch.zeros(1, 3, 9, 9), kinds=kinds),
    ]
    for graph, other in zip(graphs, expected, strict=True):
        assert graph.kinds is kinds
        assert canonical_hash(graph) == canonical_hash(other)


def test_a_spec_says_all_by_itself(folder, monkeypatch):
    """Also from another folder, and after the table is gone."""
    path = save(folder / "t.csv", ROWS[2:])
    monkeypatch.chdir(folder)
    (spec,) = table.tabulate("t.csv")["spec"].to_pylist()
    path.unlink()
    monkeypatch.chdir("/")
    assert cost.params(table.to_graph(spec))[0] == 4 * 3 * 9 + 4
    assert table.spec_of(table.parse(spec)) == spec


def test_modules_of_packages_and_several_inputs(folder):
    rows = [
        {"module": "torch.nn:Identity", "input": "1, 3, 8, 8"},
        {"module": f"{folder}/models/mine.py:Sum", "input": "1,3,9,9;1,3,9,9"},
    ]
    specs = table.tabulate(save(folder / "t.csv", rows))["spec"].to_pylist()
    assert len(table.to_graph(specs[0]).kind) == 2
    assert table.to_graph(specs[1]).having("input").sum() == 2


def test_onnx_files(folder):
    onnx = pytest.importorskip("onnx")
    make = onnx.helper
    values = [make.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 4, 8, 8]) for name in "xy"]
    graph = make.make_graph([make.make_node("Relu", ["x"], ["y"])], "graph", values[:1], values[1:])
    onnx.save(make.make_model(graph), folder / "models" / "relu.onnx")
    rows = [{"onnx": "models/relu.onnx"}, {"onnx": str(folder / "models" / "relu.onnx")}]
    first, second = table.tabulate(save(folder / "t.csv", rows))["spec"].to_pylist()
    assert json.loads(first)["onnx"] == json.loads(second)["onnx"]
    graph = table.to_graph(first)
    assert [graph.kinds[kind].operation for kind in graph.kind.tolist()] == ["input", "relu", "output"]


def built(path, row=0):
    return cost.params(table.to_graph(table.tabulate(path)["spec"][row].as_py()))[0]


def test_an_edited_file_is_another_architecture(folder):
    """Also when it is edited within a second and keeps its length; a graph is never made of another file."""
    path, file = save(folder / "t.csv", ROWS), folder / "models" / "mine.py"
    before = table.tabulate(path)
    assert built(path, 2) == 4 * 3 * 9 + 4
    file.write_text(MODEL.replace("Conv2d(3, 4, 3)", "Conv2d(3, 5, 3)"))
    after = table.tabulate(path)
    assert [old == new for old, new in zip(before["spec"], after["spec"], strict=True)] == [True, True, False]
    assert before["arch_id"] == after["arch_id"]
    assert built(path, 2) == 5 * 3 * 9 + 5
    with pytest.raises(
        SpecError, match=r"the file of an architecture .* the one that the table was read with, got sha"
    ):
        table.to_graph(before["spec"][2].as_py())
    file.unlink()
    with pytest.raises(SpecError, match=r"the file of an architecture .* a file that can be read, got FileNotFound"):
        table.to_graph(after["spec"][2].as_py())


def test_the_workflow_watches_the_files_that_a_table_names(folder):
    (folder / "models" / "a.onnx").write_bytes(b"x")
    rows = [
        *ROWS,
        ROWS[2] | {"name": "again"},
        {"onnx": "models/a.onnx"},
        {"module": "torch.nn:Identity", "input": "1"},
    ]
    path = save(folder / "t.csv", rows)
    models = [folder / "models" / "mine.py", folder / "models" / "a.onnx"]
    assert table.named_files(path) == models
    settings = {"sample": None, "labels": {"source": "table", "path": str(path)}, "labelled_only": True}
    config = {"tables_dir": None, "families": {"table": settings, "nb201": {"sample": 5, "labels": {"source": None}}}}
    assert tabulated_from(config, "table") == [str(path), *map(str, models)]
    assert tabulated_from(config, "nb201") == []
    main = runpy.run_path(str(Path(__file__).parents[1] / "workflow_scripts" / "tabulate.py"))["main"]
    keywords = {"architectures": folder / "a.parquet", "family": "table", "source": "table", "seed": 0}
    main(published=[path, *models], sample="labelled", **keywords)
    assert pq.read_table(folder / "a.parquet")["spec"].to_pylist() == table.tabulate(path)["spec"].to_pylist()


def test_a_file_may_import_its_neighbours_and_have_dataclasses(folder):
    (folder / "models" / "neighbour_of_mine.py").write_text("WIDTH = 6")
    (folder / "models" / "net.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom torch import nn\n"
        "from neighbour_of_mine import WIDTH\n"
        "@dataclass\nclass Shape:\n    width: int = WIDTH\n"
        "def net():\n    return nn.Conv2d(3, Shape().width, 1)\n"
    )
    before = sys.path[:]
    assert built(save(folder / "t.csv", [{"module": "models/net.py:net", "input": "1,3,9,9"}])) == 6 * 4
    assert sys.path == before


def test_neighbours_of_one_name_in_two_folders_are_two(folder):
    """The usual layout: each network's file has a `layers.py` beside it, or a package; and they are edited."""
    made = (
        "import layers\nfrom parts import wide\nfrom torch import nn\ndef make(): return nn.Linear(layers.N, wide.N)\n"
    )

    def put(place: str, narrow: int, wide: int) -> dict[str, str]:
        (folder / place / "parts").mkdir(parents=True, exist_ok=True)
        (folder / place / "net.py").write_text(made)
        (folder / place / "layers.py").write_text(f"N = {narrow}\n")
        (folder / place / "parts" / "wide.py").write_text(f"N = {wide}\n")
        return {"module": f"{place}/net.py:make", "input": f"1,{narrow}"}

    before = set(sys.modules), sys.path[:]
    for sizes in ((2, 3), (4, 5)):
        rows = [put("a", *sizes), put("b", sizes[0] + 5, sizes[1])]
        specs = table.tabulate(save(folder / "mine.csv", rows))["spec"].to_pylist()
        found = [cost.params(table.to_graph(spec)).item() for spec in specs]
        assert found == [(sizes[0] + 1) * sizes[1], (sizes[0] + 6) * sizes[1]]
    assert {name for name in set(sys.modules) - before[0] if name.split(".")[0] in ("layers", "parts", "net")} == set()
    assert sys.path == before[1]


def test_an_environment_inside_the_folder_is_not_the_users_code(folder, monkeypatch):
    """A virtual environment often lies beside the models: what it holds is kept, as the rest of the process has it."""
    site = folder / "models" / ".venv" / "lib"
    site.mkdir(parents=True)
    (site / "a_package.py").write_text("WIDTH = 5\n")
    (folder / "models" / "a_neighbour.py").write_text("from a_package import WIDTH\n")
    (folder / "models" / "net.py").write_text(
        "import a_neighbour\nfrom torch import nn\ndef net(): return nn.Linear(2, a_neighbour.WIDTH)\n"
    )
    monkeypatch.setattr(sys, "prefix", str(folder / "models" / ".venv"))
    monkeypatch.syspath_prepend(site)
    try:
        assert built(save(folder / "t.csv", [{"module": "models/net.py:net", "input": "1,2"}])) == 3 * 5
        assert "a_package" in sys.modules
        assert "a_neighbour" not in sys.modules
    finally:
        sys.modules.pop("a_package", None)


def test_an_input_may_have_a_type(folder):
    (folder / "models" / "text.py").write_text("from torch import nn\ndef net():\n    return nn.Embedding(50, 8)\n")
    assert built(save(folder / "t.csv", [{"module": "models/text.py:net", "input": "int64:1,7"}])) == 400


# Bad tables: the file, the row, the column, and what to do


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"family": "nb102", "spec": "x"}, r"column family: expected one of .*nb201.* got 'nb102'"),
        ({"family": "table", "spec": "x"}, r"column family: .* got 'table'"),
        ({"family": "_common", "spec": "x"}, r"column family: .* got '_common'"),
        ({"family": "nb201", "spec": "|x|"}, r"column spec: .* got '\|x\|'. Give the official architecture string"),
        ({"family": "nb201"}, r"column family: .* got family filled in. Fill in one of the three"),
        ({"spec": "x", "onnx": "y"}, r"column spec, onnx: .* got spec and onnx filled in"),
        ({"family": "nb201", "spec": CELL, "onnx": "y"}, r"got family and spec and onnx filled in"),
        ({"name": "x"}, r"expected family and spec, or onnx, or module and input, got none of them filled in"),
        ({"onnx": "models/absent.onnx"}, r"column onnx: expected a file, got .*absent.onnx, where there is none"),
        ({"onnx": "../escaped.onnx"}, r"column onnx: expected a path inside .*, got '../escaped.onnx'. Move the file"),
        ({"onnx": "link/escaped.onnx"}, r"column onnx: expected a path inside"),
        ({"module": "../mine.py:narrow", "input": "1,3,9,9"}, r"column module: expected a path inside"),
        ({"module": "models/none.py:narrow", "input": "1,3,9,9"}, r"column module: expected a file"),
        (
            {"module": "torch.nn", "input": "1,3,9,9"},
            r"column module: expected package.module:callable .* got 'torch.nn'",
        ),
        ({"module": "torch.nn:", "input": "1,3,9,9"}, r"column module: .* Name the callable behind a colon"),
        ({"module": "torch.nn:Identity", "input": "1,3,x"}, r"column input: expected sizes .* got '1,3,x'. Batch axis"),
        ({"module": "torch.nn:Identity", "input": "0,3"}, r"column input: .* got '0,3'"),
    ],
)
def test_a_bad_row_is_named(folder, row, message):
    (folder.parent / "escaped.onnx").write_bytes(b"")
    (folder / "link").symlink_to(folder.parent)
    path = save(folder / "mine.csv", [ROWS[0], row])
    with pytest.raises(TableError, match=r"a table of architectures at .*mine.csv, row 2, " + f".*{message}"):
        table.tabulate(path)


@pytest.mark.parametrize(
    ("column", "entry", "message"),
    [
        ("latency [ms]", "fast", "expected a finite number, got 'fast'. Correct it; leave it empty"),
        ("latency [ms]", "nan", "expected a finite number, got 'nan'"),
        ("latency [ms]", "1e999", "expected a finite number, got '1e999'"),
        ("accuracy [percent]", "101", "expected a number of 0 to 100, got '101'"),
        ("precision [%]", "-1", "expected a number of 0 to 100, got '-1'"),
    ],
)
def test_a_bad_label_is_named(folder, column, entry, message):
    path = save(folder / "mine.csv", [ROWS[0], {"family": "nb201", "spec": CELL, column: entry}])
    with pytest.raises(TableError) as raised:
        table.read_labels(path)
    assert f"mine.csv, row 2, column {column}: {message}" in str(raised.value)


def test_a_name_stands_once(folder):
    path = save(folder / "mine.csv", [{**ROWS[0], "name": "2"}, ROWS[1]])
    for read in (table.tabulate, table.read_labels):
        with pytest.raises(
            TableError, match=r"mine.csv, row 2, column name: expected a name that no other row has, got '2'"
        ):
            read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"mine.csv: expected a header and at least one row, got no row. Add one row"),
        (b"family,spec\n", r"got no row"),
        (b'family,spec\nnb201,"unfinished', r"expected a whole CSV .* got Error"),
        (b"family,spec\nnb201,\xff\xfe\n", r"expected a whole CSV .* got UnicodeDecodeError"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused(folder, content, message):
    path = folder / "mine.csv"
    path.write_bytes(content)
    for read in (table.tabulate, table.read_labels):
        with pytest.raises(TableError, match=message):
            read(path)


def test_a_missing_or_damaged_parquet_is_refused(folder):
    with pytest.raises(TableError, match=r"absent.csv: expected a whole CSV .* got FileNotFoundError"):
        table.tabulate(folder / "absent.csv")
    path = save(folder / "mine.parquet", ROWS)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(TableError, match=r"mine.parquet: expected a whole CSV"):
        table.tabulate(path)


def test_a_bad_header_is_refused(folder):
    path = folder / "mine.csv"
    for text, header in (("family,spec,[ms]\nnb201,x,3\n", r"'\[ms\]'"), ("family,spec\nnb201,x,3\n", "''")):
        path.write_text(text)
        with pytest.raises(
            TableError, match=rf"mine.csv, header: expected a label and its unit.* got {header}. Name every"
        ):
            table.read_labels(path)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_repeated_column_is_refused(folder, ending):
    path = folder / f"t.{ending}"
    names, values = ["family", "spec", "latency [ms]", "latency [ms]"], ["nb201", CELL, "1", "2"]
    if ending == "csv":
        path.write_text("\n".join(map(",".join, (names, values))))
    else:
        pq.write_table(pa.table([[value] for value in values], names=names), path)
    for read in (table.tabulate, table.read_labels):
        with pytest.raises(
            TableError, match=r"header: expected each column .* once, got 'latency \[ms\]' more than once"
        ):
            read(path)


@pytest.mark.parametrize("header", ["latency [s]", " latency [ms]", "latency"])
def test_a_repeated_label_is_refused(folder, header):
    path = save(folder / "t.csv", [{"family": "nb201", "spec": CELL, "latency [ms]": 1, header: 2}])
    with pytest.raises(TableError, match=r"header: expected each column and each label once, got 'latency' more than"):
        table.read_labels(path)


@pytest.mark.parametrize(
    "spec",
    [
        "",
        '{"name": "a", "onnx": "x"}',
        '{"name": "a", "module": "x.py:y", "input": "1"}',
        '{"name": "a", "module": "x:y", "input": "1", "sha256": "0"}',
        "{}",
        "[]",
        "3",
        '{"family": "nb201"}',
        '{"name": "a", "onnx": 3}',
        '{"name": "a", "onnx": "x", "spec": "y"}',
        "[" * 9999,
    ],
)
def test_a_spec_that_is_none_is_refused(spec):
    for function in (table.parse, table.arch_id, table.to_graph):
        with pytest.raises(SpecError, match="the spec of an architecture of table"):
            function(spec)


@pytest.mark.parametrize(
    ("module", "given", "message"),
    [
        ("models/mine.py:broken", "1,3,9,9", "a callable that runs, got RuntimeError: no such width. Correct the row"),
        ("models/mine.py:leaves", "1,3,9,9", "a callable that runs, got SystemExit: 3"),
        ("models/mine.py:Leaves", "1,3,9,9", "a callable that runs, got SystemExit: 4"),
        ("models/mine.py:absent", "1,3,9,9", "got AttributeError"),
        ("no.such.package:model", "1,3,9,9", "got ModuleNotFoundError"),
        ("models/mine.py:number", "1,3,9,9", "expected a torch.nn.Module, got int"),
    ],
)
def test_a_reference_that_does_not_work_is_said(folder, module, given, message):
    (spec,) = table.tabulate(save(folder / "t.csv", [{"module": module, "input": given}]))["spec"].to_pylist()
    with pytest.raises(SpecError, match=f"the Python reference of an architecture at table, .*{message}"):
        table.to_graph(spec)


@pytest.mark.parametrize("sizes", ["1,3," + "9" * 30 + ",9", "1,3," + "9" * 5000 + ",9", "1,3,4000000000,4000000000"])
@pytest.mark.parametrize("name", ["narrow", "Sum"])
def test_a_huge_input_is_refused(folder, name, sizes):
    """By the size, by the tensor, or by the graph; never by another exception."""
    given = {"module": f"models/mine.py:{name}", "input": sizes if name == "narrow" else f"{sizes};{sizes}"}
    (spec,) = table.tabulate(save(folder / "t.csv", [given]))["spec"].to_pylist()
    with pytest.raises(ArchgaugeError):
        table.to_graph(spec)


def test_specs_written_by_hand_are_checked_too():
    spec = table.spec_of({"name": "a", "module": "torch.nn:Identity", "input": "3,"})
    with pytest.raises(SpecError, match=r"the input of an architecture at table, .* got '3,'"):
        table.to_graph(spec)
    with pytest.raises(SpecError, match=r"the family of an architecture at table, .* got 'os'"):
        table.to_graph(table.spec_of({"name": "a", "family": "os", "spec": "x"}))


def test_a_large_table_is_quick(folder):
    specs = nb201.sample(2_000, np.random.default_rng(0))
    path = save(folder / "t.csv", [{"family": "nb201", "spec": spec, "accuracy [%]": 50} for spec in specs])
    assert len(table.tabulate(path)) == len(table.read_labels(path)) == 2_000
