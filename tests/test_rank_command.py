"""`archgauge rank`: references, tables, JSON, HTML, and one clear line for each model that fails."""

import json
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
import torch
import yaml
from click.testing import CliRunner
from pytorchcv.model_provider import get_model
from ranking_bundle import SETTINGS, labels, tables

import archgauge.ranking
from archgauge.cli import main
from archgauge.errors import ArchgaugeError, FormatError, GraphError, SpecError
from archgauge.families import zoo
from archgauge.ranking.bundle import Bundle
from archgauge.ranking.fitting import make_bundle
from archgauge.ranking.page import page
from archgauge.ranking.references import load, load_all
from archgauge.ranking.results import Known, Ranked, Ranking
from archgauge.ranking.units import short, units

SCHEMA = yaml.safe_load((Path(archgauge.ranking.__file__).parent / "ranking.schema.yaml").read_text())

MODELS = """
import sys
import torch
from torch import nn
from neighbour import CLASSES

print("the user's own words")


class Model(nn.Sequential):
    def __init__(self):
        pool = nn.AdaptiveAvgPool2d(1)
        super().__init__(nn.Conv2d(3, 16, 3, 2), nn.ReLU(), pool, nn.Flatten(), nn.Linear(16, CLASSES))


class Fails(nn.Module):
    def __init__(self):
        raise ValueError("first line\\nsecond line")


class Paints(nn.Module):
    def __init__(self):
        raise ValueError("\\x1b[31mred\\x1b[0m" * 200)


class Exits(nn.Module):
    def __init__(self):
        sys.exit(3)


class Strict(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(3 * 8 * 8, 1000))


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.out = nn.Embedding(50, 16), nn.Linear(16, 1000)

    def forward(self, words, more):
        return self.out(self.words(words).mean(1) + more)


class Peeks(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def number():
    return 7
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("user")
    (folder / "a.py").write_text(MODELS)
    (folder / "neighbour.py").write_text("CLASSES = 1000\n")
    (folder / "syntax.py").write_text("class Model(:\n")
    (folder / "bad.onnx").write_bytes(b"no model")
    model = get_model("resnet10").eval()
    torch.onnx.export(model, (torch.zeros(1, 3, 224, 224),), folder / "net.onnx", dynamo=False)
    known = ["resnet10", "resnet26", "alexnet", "vgg11", "mobilenet_w1", "mobilenet_wd4", "squeezenet_v1_0"]
    made = make_bundle(*tables(folder, known), labels(), zoo, SETTINGS | {"folds": 3})
    made.save(folder / "results" / "bundle" / "archgauge.bundle")
    return folder


@pytest.fixture
def rank(folder, monkeypatch):
    monkeypatch.chdir(folder)
    runner = CliRunner()
    return lambda *arguments: runner.invoke(main, ["rank", *arguments])


IMAGE = ("--input", "1,3,224,224")


def test_models_of_all_forms_are_ranked(rank):
    done = rank("a.py:Model", "net.onnx", "pytorchcv.models.resnet:resnet26@1,3,224,224", *IMAGE)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].split() == [
        "rank",
        "model",
        "accuracy",
        "90%",
        "interval",
        "MACs",
        "params",
        "nearest,",
        "measured",
    ]
    assert [line.split()[0] for line in lines[2:5]] == ["1", "2", "–"]
    assert any("resnet26" in line for line in lines[2:4])
    assert "Model !" in lines[4]
    assert "the user's own words" not in done.stdout
    assert "the user's own words" in done.stderr


def test_json_fits_its_schema_and_holds_the_same(rank, folder):
    done = rank("a.py:Model", "a.py:Fails", "net.onnx", "--json", *IMAGE)
    document = json.loads(done.stdout)
    jsonschema.validate(document, SCHEMA)
    assert list(document["failed"]) == ["a.py:Fails"]
    rows = {row["name"]: row for row in document["ranked"]}
    mine = rows["Model"]
    assert (mine["params"], mine["macs"]) == (16 * 27 + 16 + 16 * 1000 + 1000, 111 * 111 * 16 * 27 + 16 * 1000)
    assert document["known"] == 7
    bundle = Bundle.load("results/bundle/archgauge.bundle")
    (alone,) = bundle.rank_graphs({"Model": load("a.py:Model", "1,3,224,224")}).ranked
    assert alone.accuracy_pct == mine["accuracy_pct"]


@pytest.mark.parametrize(
    ("reference", "error", "message"),
    [
        ("none.py:Model", SpecError, r"at none.py:Model: expected a file, got .*none.py, where there is none"),
        ("none.onnx", SpecError, r"at none.onnx: expected a file, got"),
        ("bad.onnx", FormatError, r"at bad.onnx, .*bad.onnx"),
        ("net.onnx@1,3,8,8", SpecError, r"expected an ONNX file without a shape, got the shape '1,3,8,8'"),
        ("a.py", SpecError, r"expected file.py:callable, package.module:callable or file.onnx, got 'a.py'"),
        ("a.py:Mod el", SpecError, r"expected file.py:callable"),
        ("a.py:Nothing", SpecError, r"AttributeError: module 'a.py' has no attribute 'Nothing'"),
        ("no_such_package:Model", SpecError, r"No module named 'no_such_package'"),
        ("syntax.py:Model", SpecError, r"a callable that runs, got SyntaxError: invalid syntax"),
        ("a.py:Fails", SpecError, r"got ValueError: first line second line\. Correct the reference or the code"),
        ("a.py:Paints", SpecError, r"got ValueError: \?\[31mred\?.* … .*red\?\[0m"),
        ("a.py:Exits", SpecError, r"got SystemExit: 3"),
        ("a.py:number", SpecError, r"expected a torch.nn.Module, got int"),
        ("a.py:Strict", GraphError, r"at a.py:Strict, Strict, operation 2 .*expected a pass over inputs of shape"),
        ("a.py:Peeks", GraphError, r"The path depends on the values of a tensor"),
        ("a.py:Model@1,3,-2", SpecError, r"""expected sizes such as "1,3,224,224".*, got '1,3,-2'"""),
        ("a.py:Model@1,3,99999999999,99999999999", ArchgaugeError, r"a.py:Model@"),
    ],
)
def test_each_failure_is_one_clear_line(rank, reference, error, message):
    with pytest.raises(error, match=message) as raised:
        load(reference, "1,3,224,224")
    assert reference in str(raised.value)
    done = rank(reference, "a.py:Model", *IMAGE)
    assert done.exit_code == 1
    assert f"x {reference}: " in done.stdout
    assert done.stdout.splitlines()[2].split()[:2] == ["–", "Model"]
    _, failed = load_all([reference], "1,3,224,224")
    assert "\n" not in failed[reference]


def test_a_python_reference_needs_a_shape(rank):
    done = rank("a.py:Model")
    assert done.exit_code == 1
    assert "expected the shape of its input, got none. Add --input 1,3,224,224" in " ".join(done.stdout.split())


def test_several_inputs_and_types(folder, monkeypatch):
    monkeypatch.chdir(folder)
    graph = load("a.py:Two@int64:1,9;1,16")
    assert graph.having("input").sum() == 2


def test_models_of_one_name_are_told_apart_and_one_is_ranked_once(folder, monkeypatch):
    monkeypatch.chdir(folder)
    graphs, failed = load_all(["a.py:Model@1,3,64,64", "a.py:Model@1,3,32,32", "net.onnx", "net.onnx"], None)
    assert list(graphs) == ["a.py:Model@1,3,64,64", "a.py:Model@1,3,32,32", "net"]
    assert not failed


def test_wrong_calls_and_wrong_bundles_end_with_2(rank, folder):
    assert rank().exit_code == 2
    done = rank("a.py:Model", "--bundle", "none.bundle")
    assert done.exit_code == 2
    assert "a predictor bundle at none.bundle" in done.stderr
    assert "snakemake results/bundle/archgauge.bundle" in " ".join(done.stderr.split())


def test_the_end_of_a_run_says_how_to_rank(rank):
    done = CliRunner().invoke(main, ["where"])
    assert "archgauge rank file.py:Model --input 1,3,224,224" in done.stdout


def test_the_card_is_printed_alone(rank):
    done = rank("--card")
    assert done.exit_code == 0
    assert done.stdout.startswith("# Model card: ")
    assert json.loads(rank("--card", "--json").stdout)["networks"] == 7


def parsed(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)


def test_the_page_is_well_formed_and_needs_nothing_else(rank, folder):
    done = rank("a.py:Model", "net.onnx", "a.py:Fails", "--html", "page.html", *IMAGE)
    assert done.exit_code == 1
    text = (folder / "page.html").read_text(encoding="utf-8")
    tree = parsed(text)
    assert len(tree.findall(".//tbody/tr")) == 2
    assert len(tree.findall(".//tbody//svg")) == 2
    assert not any("src" in node.attrib or "href" in node.attrib for node in tree.iter())
    assert "http" not in text
    assert "a.py:Fails" in " ".join(tree.itertext())


@pytest.mark.parametrize(
    ("page", "message"),
    [("none/page.html", "--html none/page.html: there is no folder none. Make it, or name"), (".", "is a directory")],
)
def test_a_page_goes_into_a_folder_that_is_there(rank, folder, page, message):
    done = rank("a.py:Model", "--html", page, *IMAGE)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
    assert not done.stdout
    assert not (folder / "none").exists()


def ranked(name="m", low=40.0, at=50.0, high=60.0, **changes) -> Ranked:
    known = (Known("zoo/pytorchcv:resnet50", "resnet", 77.7, 0.1),)
    values = {"name": name, "rank": 1, "rank_best": 1, "rank_worst": 1, "accuracy_pct": at, "low_pct": low}
    values |= {"high_pct": high, "macs": 1, "params": 2, "nearest": known, "same_as": (), "unlike": ()}
    return Ranked(**values | changes)


def unranked(*given, **changes) -> Ranked:
    return ranked(*given, rank=None, rank_best=None, rank_worst=None, **changes)


def test_the_page_shows_apart_what_has_no_rank():
    rows = (ranked("first", rank_worst=2), ranked("second", rank=2, rank_worst=2), unranked("odd", unlike=("new",)))
    tree = parsed(Ranking(rows, {}, "label", 0.9, 3).html())
    first, second, odd = tree.findall(".//tbody/tr")
    assert [" ".join("".join(row[0].itertext()).split()) for row in (first, second, odd)] == ["1 [1–2]", "2 [1–2]", "–"]
    assert [row.get("class") for row in (first, second, odd)] == ["", "", "apart"]
    assert ["".join(row[3].itertext()) for row in (first, odd)] == ["40.0 – 60.0", "(40.0 – 60.0)"]
    said = " ".join(" ".join(tree.itertext()).split())
    assert "odd: new." in said
    assert "Models without a rank (–) are unlike the known networks" in said


def test_names_and_reasons_are_escaped():
    evil = "<script>alert('x')</script>&\""
    ranking = Ranking((ranked(evil, unlike=(evil,)),), {evil: evil}, evil, 0.9, 3)
    tree = parsed(ranking.html())
    assert tree.find(".//script") is None
    assert " ".join(tree.itertext()).count("<script>") == 6


@pytest.mark.parametrize(
    ("low", "at", "high"), [(40.0, 50.0, 60.0), (0.0, 0.0, 0.0), (100.0, 100.0, 100.0), (0, 55, 100)]
)
def test_drawn_intervals_stay_in_the_picture(low, at, high):
    tree = parsed(page(Ranking((ranked("a", low, at, high),), {}, "label", 0.9, 3)))
    span = tree.find(".//tbody//line[@class='span']")
    dot = tree.find(".//tbody//circle")
    places = [float(span.get("x1")), float(dot.get("cx")), float(span.get("x2"))]
    assert places == sorted(places)
    assert places[0] >= 0
    assert places[-1] <= 240


def test_text_of_a_ranking():
    same = (Known("zoo/pytorchcv:resnet18", "resnet", 73.1, 0.0),)
    first = ranked("first", rank_worst=2, macs=4_089_184_256, params=25_557_032, same_as=same)
    second = ranked("second", 39.0, 41.0, 44.0, rank=2, rank_best=1, rank_worst=2, macs=999_600, params=999)
    apart = unranked("apart", 90.0, 99.0, 99.9, unlike=("odd",))
    lines = str(Ranking((first, second, apart), {"third": "no file"}, "a/label", 0.9, 323)).splitlines()
    assert lines[2] == "1 [1–2]  first        50.0  40.0 – 60.0    4.09 G  25.6 M  resnet50 77.7"
    assert lines[3] == "2 [1–2]  second       41.0  39.0 – 44.0    1.00 M     999  resnet50 77.7"
    assert lines[4] == "      –  apart !      99.0  (90.0 – 99.9)       1       2  resnet50 77.7"
    assert "= first is a known network: resnet18 73.1." in lines
    assert "! apart: odd." in lines
    assert "x third: no file" in lines
    said = " ".join(" ".join(lines).split())
    assert "a/label of 323 known networks" in said
    assert "Models without a rank (–) are unlike the known networks: no measurement backs" in said
    assert "without a rank" not in str(Ranking((first, second), {}, "a/label", 0.9, 323))


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.00 k"),
        (25_557_032, "25.6 M"),
        (999_950, "1.00 M"),
        (1.5e12, "1.50 T"),
        (4e15, "4000 T"),
    ],
)
def test_units(count, text):
    assert units(count) == text


def test_short_names():
    assert short("zoo/pytorchcv:resnet50") == "resnet50"
    assert short("nb201/|nor~0|") == "|nor~0|"
