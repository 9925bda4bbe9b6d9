"""Data sheets and the papers' tables about families: against pandas, worked examples, and the published numbers."""

import functools
import http.server
import runpy
import threading
from importlib import import_module
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from archgauge.download import Remote
from archgauge.errors import ConfigError, DownloadError
from archgauge.evaluation import datasheets
from archgauge.evaluation.family_tables import accuracy_table, operations_table
from archgauge.evaluation.figures import histograms
from archgauge.evaluation.published import published
from archgauge.evaluation.splits import division
from archgauge.families import mnasnet, nb201
from archgauge.schemas import ARCHITECTURES, GRAPHS, LABELS, SPLITS, architectures, read_table, write_table

SCRIPTS = Path(__file__).parents[1] / "workflow_scripts"
ABOUT = {"title": "Toy", "space": "Four toys.", "labels": "Measured twice.", "licence": "MIT.", "citation": "Me, 2026."}
SHOWN = {
    "sample": None,
    "sources": {"tables": [], "web": ["https://example.org/toy.zip"]},
    "figure": "../figures/t.svg",
}


def script(name: str):
    return runpy.run_path(str(SCRIPTS / f"{name}.py"))["main"]


def labels_of(columns: dict[str, dict[str, float]], unit: str = "percent") -> pa.Table:
    rows = [(arch, label, value, unit) for label, values in columns.items() for arch, value in values.items()]
    return pa.table(
        {name: list(column) for name, column in zip(LABELS.names, zip(*rows, strict=True), strict=True)}
    ).cast(LABELS)


def graphs_of(hashes: str, macs: list[int]) -> pa.Table:
    count = len(hashes)
    columns = {
        "arch_id": [f"toy/{row}" for row in range(count)],
        "kind": [[0] * (row + 2) for row in range(count)],
        "edge_source": [[0] * (row + 1) for row in range(count)],
        "macs": macs,
        "params": [7] * count,
        "params_outside": [0] * count,
        "live_hash": list(hashes),
    }
    return pa.table({name: pa.array(column, GRAPHS.field(name).type) for name, column in columns.items()})


TWICE = labels_of(
    {
        "x/test@9/run0": {"toy/0": 90.0, "toy/1": 80.0, "toy/2": 70.0},
        "x/test@9/run1": {"toy/0": 92.0, "toy/1": 80.0, "toy/2": 70.0},
        "x/test@9/mean": {"toy/0": 91.0, "toy/1": 80.0},
    }
)


def test_a_label_is_summarised_as_it_is():
    summary = datasheets.label_summary(TWICE).set_index("label")
    assert summary.loc["x/test@9/run0", ["size", "mean", "std", "min", "max"]].tolist() == [3, 80.0, 10.0, 70.0, 90.0]
    assert summary.loc["x/test@9/mean", "size"] == 2


def test_noise_is_that_of_one_run():
    """Differences 2, 0, 0 have a standard deviation of 2 / sqrt(3); each of two runs has its sqrt(2)th part."""
    (row,) = datasheets.label_noise(TWICE).to_dict("records")
    assert (row["label"], row["runs"], row["shared"], row["kendall"]) == ("x/test@9/run*", "run0 and run1", 3, 1.0)
    assert row["noise"] == pytest.approx(2 / np.sqrt(3) / np.sqrt(2))


def test_noise_of_simulated_runs_is_found():
    rng = np.random.default_rng(0)
    truth = rng.uniform(60, 90, 4_000)
    runs = {
        f"x/run{k}+s": dict(zip(map(str, range(4_000)), truth + rng.normal(0, 0.3, 4_000), strict=True)) for k in (0, 1)
    }
    (row,) = datasheets.label_noise(labels_of(runs)).to_dict("records")
    assert row["noise"] == pytest.approx(0.3, rel=0.05)


def test_noise_of_the_networks_that_were_trained_twice(tables_dir):
    noise = datasheets.label_noise(mnasnet.LABEL_SOURCES["tables"](tables_dir / mnasnet.COLLECTED)).set_index("label")
    assert noise.loc["imagenet/validation@16/run*", "shared"] == 13
    assert noise.loc["imagenet/validation@16/run*", "noise"] == pytest.approx(0.27, abs=0.01)


def test_overlap_counts_distinct_graphs():
    families = {"a": np.array(list("xxyz")), "b": np.array(list("zyw")), "c": np.array(["v"])}
    assert datasheets.overlap(families).to_numpy().tolist() == [["a", "b", 2]]
    page = datasheets.overlap_page(families)
    assert "| a        | 4               | 3                      |" in page
    assert "No live graph is of two families." in datasheets.overlap_page({"b": families["b"], "c": families["c"]})


def test_leakage_counts_test_graphs_that_were_learnt_from():
    """Learning from toy/0 (graph x) leaves toy/1 (y), toy/2 (y), toy/3 (x); from toy/0 and toy/1, toy/2 and toy/3."""
    ids = np.array([f"toy/{row}" for row in range(4)])
    columns = {"arch_id": ids, "split": [0] * 4, "role": ["pool"] * 4, "position": range(4)}
    splits = pa.table({name: list(column) for name, column in columns.items()}).cast(SPLITS)
    leaks = datasheets.leakage(splits, ids, np.array(list("xyyx")), [1, 2])
    assert leaks.iloc[0].tolist() == [1, 3, pytest.approx(100 / 3)]
    assert leaks.iloc[1].tolist() == [2, 2, 100.0]


def test_a_sheet_says_how_many_groups_there_are():
    graphs = graphs_of("xxyz", [10, 20, 30, 40])
    text = datasheets.datasheet("toy", ABOUT, graphs, None, {}, SHOWN | {"groups": 1_200})
    assert "They form 1,200 groups of variants" in text
    assert "groups" not in datasheets.datasheet("toy", ABOUT, graphs, None, {}, SHOWN)


def test_splitting_keeps_the_groups_of_a_family_together(tmp_path):
    names = [
        f"{net}{depth}_{data}" for net in ("resnet", "pyramid") for depth in (2, 3) for data in ("cifar10", "svhn")
    ]
    ids = [f"zoo/pytorchcv:{name}" for name in names]
    graphs = graphs_of("abcdefgh", [1] * 8).set_column(0, "arch_id", pa.array(ids))
    missing = {f.name: pa.nulls(8, f.type) for f in GRAPHS if f.name not in graphs.column_names}
    whole = pa.table({f.name: graphs[f.name] if f.name in graphs.column_names else missing[f.name] for f in GRAPHS})
    write_table(tmp_path / "graphs", whole.cast(GRAPHS), GRAPHS)
    write_table(tmp_path / "archs", architectures("zoo", ids, ids), ARCHITECTURES)
    values = {name: float(row) for row, name in enumerate(ids)}
    write_table(tmp_path / "labels", labels_of({"x": values}), LABELS)
    settings = {"family": "zoo", "label": "x", "minimum_label": 1.0, "splits": 3, "seed": 0, "only": None}
    paths = {"architectures": tmp_path / "archs", "labels": tmp_path / "labels", "splits": tmp_path / "splits"}
    script("split")(**paths, graphs=[tmp_path / "graphs"], settings=settings)
    splits = read_table(tmp_path / "splits", SPLITS)
    for split in range(3):
        part = division(splits, split, ids[1:])
        learnt = {ids[1:][row].rpartition("_")[0] for row in part.training_rows(2)}
        assert not learnt & {ids[1:][row].rpartition("_")[0] for row in part.evaluated_rows(2)}
    script("split")(**paths, graphs=[], settings=settings)
    assert set(read_table(tmp_path / "splits", SPLITS)["position"].to_pylist()) == set(range(7))


def test_a_sheet_says_what_there_is():
    graphs = graphs_of("xxyz", [10, 20, 30, 1_000_000])
    text = datasheets.datasheet("toy", ABOUT, graphs, TWICE, {}, SHOWN)
    assert "4 architectures (the whole space) with 3 distinct live graphs.\n" in text
    assert "| multiply-adds | 10      | 25       | 1,000,000  |" in text
    assert "x/test@9/run*" in text
    assert "- `web`: https://example.org/toy.zip" in text
    assert "parameters outside" not in text


def test_a_sheet_without_labels_says_how_to_have_them():
    text = datasheets.datasheet("toy", ABOUT, graphs_of("xy", [1, 2]), None, {}, SHOWN | {"sample": 2})
    assert "None are read here" in text
    assert "`families.toy.labels`" in text
    assert "drawn at random from the space) with 2 distinct live graphs. That is a count of a sample; it says" in text


def test_nb201s_accuracies_are_those_of_gennapes_table(tables_dir):
    """Mean, deviation and least value to the printed digits. The paper's greatest, 93.37, is a slip: it is 94.37."""
    labels = nb201.LABEL_SOURCES["tables"](tables_dir / nb201.COLLECTED).to_pandas()
    listed = nb201.enumerate_specs().to_pandas().set_index("arch_id")["spec"]
    labels = labels[
        (labels["label"] == "cifar10/test@200/mean") & listed.loc[labels["arch_id"]].map(nb201.without_none).values
    ]
    settings = {
        "title": "T",
        "titles": {"nb201": "N"},
        "labels": {"nb201": "L"},
        "rows": {"nb201": "NB-201"},
        "notes": {},
    }
    entries = accuracy_table({"nb201": labels["value"].to_numpy()}, settings).entries
    ours = {column: entry.summary.mean for (_, column), entry in entries.items()}
    assert ours["architectures"] == 4096
    for column, printed in (("mean (%)", "Mean"), ("standard deviation (%)", "Std"), ("least (%)", "Least")):
        assert ours[column] == pytest.approx(published("gennape", "2", "NB-201", printed).value, abs=0.011)
    assert round(ours["greatest (%)"], 2) == 94.37


def test_a_family_without_labels_keeps_its_row():
    settings = {
        "title": "T",
        "titles": {"hiaml": "H"},
        "labels": {"hiaml": "L"},
        "rows": {"hiaml": "HiAML"},
        "notes": {},
    }
    table = accuracy_table({"hiaml": None}, settings)
    assert table.entries["H", "mean (%)"].summary is None
    assert table.entries["H", "mean (%)"].published.text == "92.36"
    assert any("need a download" in text for _, text in table.notes)


def test_every_operation_has_as_many_nodes_as_the_paper_prints(tmp_path):
    files = {name: tmp_path / name for name in ("page", "markdown", "comma_separated", "latex")}
    script("operations_table")(**files)
    rows = [line for line in files["markdown"].read_text().splitlines() if line.startswith("| NAS-Bench")]
    assert len(rows) == 15
    for row in rows:
        ours, theirs = row.split("|")[2].strip().split(" ")
        assert f"[{ours}]" == theirs, row


def test_an_operation_that_nobody_printed_is_refused():
    with pytest.raises(ConfigError, match="a row of a published table"):
        operations_table({"NAS-Bench-101, 7 × 7 Conv": ("conv",)}, "T")


def test_histograms_show_what_is_missing(tmp_path):
    histograms(tmp_path / "h.svg", {"Toy": {"accuracy (%)": None, "macs": np.arange(30.0)}}, title="T")
    text = (tmp_path / "h.svg").read_text()
    assert "no labels here" in text
    assert "macs" in text
    assert ">Toy</text>" in text


def test_a_family_that_the_title_names_is_named_once(tmp_path):
    histograms(tmp_path / "h.svg", {"Toy": {"macs": np.arange(30.0)}}, title="Toy: cost")
    text = (tmp_path / "h.svg").read_text()
    assert ">Toy: cost</text>" in text
    assert ">Toy</text>" not in text


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


def test_a_download_is_announced_when_it_is_whole_and_read_by_its_name(server, tmp_path, monkeypatch):
    folder, address = server
    (folder / "toy.bin").write_bytes(b"published")
    monkeypatch.setattr(nb201, "REMOTES", {"web": Remote((f"{address}/toy.bin",))})
    seen = []
    monkeypatch.setitem(
        nb201.LABEL_SOURCES, "web", lambda path: seen.append(path) or labels_of({"x": {"nb201/0": 1.0}})
    )
    ready = tmp_path / "downloads/toy.bin.ready"
    script("download")(ready=ready, family="nb201", source="web")
    assert ready.with_suffix("").read_bytes() == b"published"
    script("label")(published=[ready], labels=tmp_path / "l.parquet", family="nb201", source="web")
    assert seen == [ready.with_suffix("")]
    assert read_table(tmp_path / "l.parquet", LABELS)["value"].to_pylist() == [1.0]


def test_a_download_that_fails_announces_nothing(server, tmp_path, monkeypatch):
    _, address = server
    monkeypatch.setattr(nb201, "REMOTES", {"web": Remote((f"{address}/gone.bin",))})
    ready = tmp_path / "downloads/gone.bin.ready"
    with pytest.raises(DownloadError, match=r"gone\.bin"):
        script("download")(ready=ready, family="nb201", source="web")
    assert not ready.exists()


@pytest.mark.parametrize("name", ["mnasnet", "nb301", "ofa_mbv3", "transnas_macro"])
def test_labelled_architectures_are_those_of_the_source(name, tables_dir, tmp_path):
    family = import_module(f"archgauge.families.{name}")
    path = tables_dir / family.COLLECTED
    keywords = {"published": [path], "family": name, "source": "tables", "sample": "labelled", "seed": 0}
    script("tabulate")(architectures=tmp_path / "a.parquet", **keywords)
    table = read_table(tmp_path / "a.parquet", ARCHITECTURES)
    expected = set(family.LABEL_SOURCES["tables"](path)["arch_id"].to_pylist())
    assert set(table["arch_id"].to_pylist()) == expected
    for row in table.slice(0, 20).to_pylist():
        assert family.arch_id(row["spec"]) == row["arch_id"]


def test_a_space_too_large_to_list_asks_for_a_number(tmp_path):
    keywords = {"published": [], "family": "mnasnet", "source": None, "sample": None, "seed": 0}
    with pytest.raises(ConfigError, match=r"families.mnasnet.sample: expected a number or labelled"):
        script("tabulate")(architectures=tmp_path / "a.parquet", **keywords)
