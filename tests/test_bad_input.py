"""Bad input where users meet it, at the scripts of the rules: an error that names it and says what to do.

The readers' own tests have the many ways in which a file can be wrong.
"""

import json
import runpy
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from workflow import ROOT, Finished

from archgauge.errors import ArchgaugeError, ConfigError, GraphError, PredictorError, SpecError, TableError
from archgauge.families import nb101
from archgauge.pretraining import trainer
from archgauge.schemas import ARCHITECTURES, GRAPHS, KINDS, LABELS, read_table, write_table

LABEL = "cifar10/test@200/run0+analog"


@pytest.fixture
def inputs(finished: Finished) -> Path:
    """The results of a run, to read from."""
    return finished.project.path("results")


def refused(script: str, error: type[ArchgaugeError], **keywords) -> ArchgaugeError:
    """Run a script's `main` and return its error, which has all five parts."""
    main = runpy.run_path(str(ROOT / f"workflow_scripts/{script}.py"))["main"]
    with pytest.raises(error) as raised:
        main(**keywords)
    found = raised.value
    assert all(str(part) for part in (found.checked, found.where, found.expected, found.got, found.remedy))
    return found


def changed(source: Path, target: Path, schema: pa.Schema, column: str, row: int, value) -> Path:
    """Copy a table with one value changed."""
    table = read_table(source, schema)
    values = table[column].to_pylist()
    values[row] = value
    place = table.schema.get_field_index(column)
    write_table(target, table.set_column(place, column, pa.array(values, schema.field(column).type)), schema)
    return target


@pytest.mark.parametrize("content", [b"", b"PAR1", b"arch_id,accuracy\nnb201/0,91.2\n", b"PAR1" + bytes(500) + b"PAR1"])
def test_labels_in_a_corrupt_file(tmp_path, content):
    path = tmp_path / "nb201.parquet"
    path.write_bytes(content)
    error = refused("label", TableError, labels=tmp_path / "out", family="nb201", source="tables", published=[path])
    assert error.where == path
    assert not (tmp_path / "out").exists()


def test_labels_in_no_file(tmp_path):
    path = tmp_path / "nb101.parquet"
    error = refused("label", TableError, labels=tmp_path / "out", family="nb101", source="tables", published=[path])
    assert error.where == path


@pytest.mark.parametrize("family", ["nb101", "nb201"])
def test_labels_under_unexpected_columns(tmp_path, family):
    path = tmp_path / f"{family}.parquet"
    pq.write_table(pa.table({"arch": ["a"], "acc": [91.0]}), path)
    error = refused("label", TableError, labels=tmp_path / "out", family=family, source="tables", published=[path])
    assert error.where == path
    assert "acc: double" in error.got


def test_a_spec_that_is_disconnected(tmp_path, inputs):
    error = convert_one(tmp_path, inputs, "nb101", "3:100:conv3x3")
    assert error.got == "a disconnected cell"


def test_a_spec_with_an_unknown_operation(tmp_path, inputs):
    error = convert_one(tmp_path, inputs, "nb201", "|nor_conv_5x5~0|+|none~0|none~1|+|none~0|none~1|none~2|")
    assert "nor_conv_5x5" in str(error)


def convert_one(tmp_path: Path, inputs: Path, family: str, spec: str) -> ArchgaugeError:
    """Convert a family in which one spec is bad; the error comes from another process and keeps the `arch_id`."""
    source = inputs / f"architectures/{family}.parquet"
    table = changed(source, tmp_path / "architectures.parquet", ARCHITECTURES, "spec", 7, spec)
    arch_id = read_table(source, ARCHITECTURES)["arch_id"][7].as_py()
    files = {name: tmp_path / f"{name}.parquet" for name in ("graphs", "kinds")}
    error = refused("convert", SpecError, architectures=table, **files, family=family, options={}, threads=2)
    assert str(error.where).startswith(f"{arch_id},")
    assert spec in str(error)
    assert not any(path.exists() for path in files.values())
    return error


def test_a_cell_with_a_cycle():
    cell = nb101.cell("4:101011:conv3x3,conv1x1")
    looped = type(cell)(cell.operations, (*cell.edges, (2, 1)))
    with pytest.raises(SpecError, match="without a cycle, got edge"):
        nb101.spec_of(looped)


def test_a_graph_with_a_cycle(tmp_path, inputs):
    """A loop from a node to itself, in the place of the node's first edge."""
    source = inputs / "graphs/nb201.parquet"
    targets = read_table(source, GRAPHS)["edge_target"][3].as_py()
    graphs = changed(source, tmp_path / "graphs.parquet", GRAPHS, "edge_source", 3, targets)
    files = {"graphs": graphs, "kinds": inputs / "graphs/nb201.kinds.parquet", "spectra": tmp_path / "spectra.parquet"}
    error = refused("spectra", GraphError, **files, eigenvalues=21, threads=1)
    assert error.expected == "no cycle"
    assert not files["spectra"].exists()


def test_a_graph_with_an_unknown_operation(tmp_path, inputs):
    kinds = changed(inputs / "graphs/nb201.kinds.parquet", tmp_path / "kinds.parquet", KINDS, "operation", 1, "warp")
    files = {"graphs": inputs / "graphs/nb201.parquet", "kinds": kinds, "spectra": tmp_path / "spectra.parquet"}
    error = refused("spectra", GraphError, **files, eigenvalues=21, threads=1)
    assert error.where == kinds
    assert error.got == "warp"


def test_graphs_and_kinds_that_do_not_belong_together(tmp_path, inputs):
    few = tmp_path / "kinds.parquet"
    write_table(few, read_table(inputs / "graphs/nb201.kinds.parquet", KINDS).slice(0, 3), KINDS)
    files = {"graphs": inputs / "graphs/nb201.parquet", "kinds": few, "spectra": tmp_path / "spectra.parquet"}
    error = refused("spectra", GraphError, **files, eigenvalues=21, threads=1)
    assert "do not belong together" in error.remedy


def test_a_sample_larger_than_the_family(tmp_path):
    asked = {"published": [], "family": "nb201", "source": None, "sample": 15_626, "seed": 0}
    error = refused("tabulate", ConfigError, architectures=tmp_path / "out", **asked)
    assert error.expected.startswith("0 to 15625")


def test_a_pretraining_whose_outputs_cannot_be_written_is_not_lost(tmp_path, inputs, monkeypatch):
    """The resume file stays until both are written, and the next run takes no step."""
    script = runpy.run_path(str(ROOT / "workflow_scripts/pretrain.py"))
    main, report = script["main"], lambda name, value, step: None
    job = json.loads((inputs / "logs/pretrain/cl_nb101.job.json").read_text())
    files = {name: [inputs.parent / one for one in names] for name, names in job["inputs"].items()}
    (tmp_path / "taken").touch()
    outputs = {"encoder": tmp_path / "e.pt", "losses": tmp_path / "taken" / "l.parquet"}  # no folder
    keywords = {**files, **job["params"], "device": "cpu", "report": report, "fingerprint": "f"}
    with pytest.raises(OSError, match="taken"):
        main(**outputs, **keywords)
    assert (tmp_path / ".e.pt.resume").exists()
    monkeypatch.setattr(trainer._Loop, "advance", lambda loop: pytest.fail("a step was taken"))
    main(**outputs | {"losses": tmp_path / "l.parquet"}, **keywords)
    assert not (tmp_path / ".e.pt.resume").exists()


def predict(tmp_path: Path, inputs: Path, error: type[ArchgaugeError], **changes) -> ArchgaugeError:
    """Train the ridge as the finished run did, with changes; return the error."""
    job = json.loads((inputs / "logs/predict/few_labels/ridge.job.json").read_text())
    files = {name: [inputs.parent / one for one in job["inputs"][name]] for name in ("population", "source")}
    single = {name: inputs.parent / job["inputs"][name] for name in ("labels", "splits")}
    output = {"predictions": tmp_path / "ridge.parquet", "fingerprint": "0" * 16}
    settings = {**job["params"]["settings"], **changes.pop("settings", {})}
    return refused("predict", error, **{**files, **single, **output, "settings": settings, **changes})


def test_labels_that_are_nan(tmp_path, inputs):
    source = inputs / "labels/nb201.parquet"
    arch_id = read_table(inputs / "architectures/nb201.parquet", ARCHITECTURES)["arch_id"][5].as_py()
    table = read_table(source, LABELS)
    row = next(
        row
        for row, (one, label) in enumerate(zip(table["arch_id"].to_pylist(), table["label"].to_pylist(), strict=True))
        if (one, label) == (arch_id, LABEL)
    )
    labels = changed(source, tmp_path / "labels.parquet", LABELS, "value", row, float("nan"))
    error = predict(tmp_path, inputs, TableError, labels=labels)
    assert error.where == arch_id
    assert error.got.startswith("nan")


def test_a_label_that_nobody_published(tmp_path, inputs):
    error = predict(tmp_path, inputs, TableError, settings={"label": "cifar10/test@9000"})
    assert LABEL in error.expected


def test_a_training_size_larger_than_the_family(tmp_path, inputs):
    error = predict(tmp_path, inputs, PredictorError, settings={"runs": [[121, 2]]})
    assert error.expected == "0 to 120, the labels of the split"
    assert error.got == 121


def test_an_empty_split(tmp_path, inputs):
    """A threshold that no label reaches leaves nobody to learn from."""
    tables = {name: inputs / f"{name}/nb201.parquet" for name in ("architectures", "labels")}
    settings = {"label": LABEL, "minimum_label": 100.5, "splits": 2, "seed": 0, "family": "nb201", "only": None}
    error = refused("split", TableError, **tables, graphs=[], splits=tmp_path / "out", settings=settings)
    assert error.expected == "a split that is not empty"


def test_a_training_size_that_leaves_nobody_to_judge(tmp_path, inputs):
    error = predict_all_and_judge(tmp_path, inputs)
    assert error.expected == "a size that leaves architectures to evaluate"


def predict_all_and_judge(tmp_path: Path, inputs: Path) -> ArchgaugeError:
    predictions = tmp_path / "all.parquet"
    table = pq.read_table(inputs / "predictions/few_labels/ridge.parquet")
    everything = pa.array([120] * len(table), pa.int32())
    pq.write_table(table.set_column(table.schema.get_field_index("n_train"), "n_train", everything), predictions)
    job = json.loads((inputs / "logs/evaluate/few_labels.job.json").read_text())
    files = {name: inputs.parent / path for name, path in job["inputs"].items() if name != "predictions"}
    output = {"metrics": tmp_path / "metrics.parquet", "settings": job["params"]["settings"]}
    return refused("evaluate", PredictorError, predictions=[predictions], **files, **output)
