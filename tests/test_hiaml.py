"""HiAML: the authors' counts, the blocks in a second notation, the space and its labels."""

import re

import numpy as np
import pyarrow.compute as pc
import pytest
import torch
import torch.nn.functional as F
from gennape_cases import comes_back, counted, labelled_file, learns, official_state, traced_hash, truth
from torch import nn

from archgauge.errors import ConfigError, FormatError, SpecError, TableError
from archgauge.families import hiaml
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.operations import KindTable
from archgauge.schemas import ARCHITECTURES, LABELS

BLOCKS = {
    "z": "a = CBR3(x, s); b = IS(a); out = a + b",
    "a22": "a = CBR3(x, s); b = CBR1(a); c = CB1(b); out = a + c",
    "b23": "a = IS(x, s); b = IS(a); out = P(x) + b",
    "j30": "a = CBR3(x, s); b = IS(a); out = P(x) + b",
    "g30": "a = IS(x, s); b = IS(P(x) + a); c = CB1(b); out = a + c",
    "r30": "a = IS(x, s); b = CB1(P(x) + a); c = IS(a); out = P(x) + b + c",
    "l20": "a = CBR3(x, s); out = CB1(a)",
    "t20": "out = CB1(x, s) + IS(x, s)",
    "t31": "a = IS(x, s); b = CBR1(a); c = IS(P(x) + b); out = P(x) + b + c",
    "src0": "y = CBR1(x, s); b = CBR3(y); c = CB3(b); out = y + c",
    "src1": "y = CBR1(x, s); b = CBR3(x, 1, n); c = CB3(b, s); out = y + c",
    "src3": "y = CB1(x, s); b = CBR1(x, 1, n); c = CBR3(b, s); d = CB1(c); out = y + d",
    "src7": "y = CB1(x, s); b = IS(y); c = IS(b); out = y + c",
    "src8": "y = CB1(x, s); b = IS(y); c = CB1(b); out = y + c",
}
"""The blocks as the paper's notation has them: x has n channels, s is the stride, every layer goes to m channels."""


def network(spec):
    """The network of a spec, run from `BLOCKS`."""

    def body(apply, image):
        def conv(x, to, kernel, stride=1):
            padding = tuple(size // 2 for size in kernel)
            x = apply(lambda: nn.Conv2d(x.shape[1], to, kernel, stride, padding, bias=False), x)
            return apply(lambda: nn.BatchNorm2d(to), x)

        def run(x, block, m, s):
            n = x.shape[1]
            names = {"x": x, "s": s, "n": n, "m": m}
            for k in (1, 3):
                names[f"CB{k}"] = lambda y, stride=1, to=m, k=k: conv(y, to, (k, k), stride)
                names[f"CBR{k}"] = lambda y, stride=1, to=m, k=k: F.relu6(conv(y, to, (k, k), stride))
            names["IS"] = lambda y, stride=1: F.relu6(conv(F.relu6(conv(y, m, (1, 3), stride)), m, (3, 1)))
            names["P"] = lambda y: y if s == 1 and n == m else conv(y, m, (1, 1), s)
            exec(BLOCKS[block].replace("; ", "\n"), {}, names)
            return F.relu(names["out"])

        x = F.relu(conv(image, 64, (3, 3), 2))
        for block, (m, s) in zip(spec.split("-"), ((64, 1), (128, 2), (128, 1), (256, 2)), strict=True):
            x = run(run(x, block, m, s), block, m, 1)
        return apply(lambda: nn.Linear(256, 10), x.mean((2, 3)))

    return body


def test_every_count_is_that_of_the_authors_network(tables_dir):
    rows = truth(tables_dir, "hiaml")
    kinds = KindTable()
    assert len(rows) == 200
    assert all(counted(hiaml.to_graph(hiaml.spec_of(config["stages"]), kinds)) == counts for config, counts in rows)


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_is_wired_as_in_the_paper(block):
    spec = f"{block}-{block}-z-{block}"
    assert canonical_hash(hiaml.to_graph(spec))[0] == traced_hash(network(spec))


def test_the_space_is_the_authors_product():
    table = hiaml.enumerate_specs()
    specs = table["spec"].to_pylist()
    assert table.schema == ARCHITECTURES
    assert len(set(specs)) == len(set(table["arch_id"].to_pylist())) == hiaml.SIZE == 14**4
    assert specs[:2] == ["z-z-z-z", "z-z-z-a22"]
    assert specs[-1] == "src8-src8-src8-src8"
    assert table["arch_id"].to_pylist()[1] == hiaml.arch_id("z-z-z-a22") == "hiaml/z-z-z-a22"


def test_networks_differ_in_their_graphs():
    rng, kinds = np.random.default_rng(0), KindTable()
    graphs = [hiaml.to_graph(spec, kinds) for spec in hiaml.sample(60, rng)]
    assert len({canonical_hash(graph)[0] for graph in graphs}) == 60


def test_graphs_come_back_from_their_networks():
    for spec in ("t31-src1-r30-src3", "g30-l20-src0-t20", "b23-j30-src8-src7"):
        assert comes_back(hiaml.to_graph(spec))


def test_a_network_learns():
    torch.manual_seed(0)
    assert learns(hiaml.to_graph("g30-src1-l20-a22"))


def test_samples_are_distinct_and_cover_the_blocks():
    specs = hiaml.sample(3000, np.random.default_rng(0))
    assert len(set(specs)) == 3000
    counts = np.array([[spec.split("-")[stage] for spec in specs].count(b) for stage in range(4) for b in BLOCKS])
    assert abs(counts - 3000 / 14).max() < 5 * np.sqrt(3000 / 14)
    with pytest.raises(ConfigError, match="0 to 38,416 architectures, got 38417"):
        hiaml.sample(38_417, np.random.default_rng(0))


def test_mutation_reaches_all_neighbours_and_nothing_else():
    rng = np.random.default_rng(0)
    spec = "z-a22-t31-src8"
    found = {hiaml.mutate(spec, rng) for _ in range(1500)}
    assert len(found) == 52
    assert all(sum(a != b for a, b in zip(spec.split("-"), other.split("-"), strict=True)) == 1 for other in found)


def test_crossover_takes_one_block():
    rng = np.random.default_rng(0)
    found = {hiaml.crossover("z-a22-t31-src8", "j30-j30-z-j30", rng) for _ in range(300)}
    swapped = {"j30-a22-t31-src8", "z-j30-t31-src8", "z-a22-j30-src8", "z-a22-t31-j30"}
    assert found == swapped | {"z-z-t31-src8", "z-a22-z-src8", "z-a22-t31-z"}
    assert hiaml.crossover("z-z-z-z", "z-z-z-z", rng) == "z-z-z-z"


@pytest.mark.parametrize("spec", ["", "z-z-z", "z-z-z-z-z", "z-z-z-q", "hiaml_z-z-z-z", "z-z-z-z ", "z--z-z", None, 3])
def test_a_bad_spec_is_named(spec):
    for use in (hiaml.parse, hiaml.arch_id, hiaml.to_graph):
        with pytest.raises(SpecError, match=f"hiaml.* got {re.escape(repr(spec))}"):
            use(spec)


@pytest.mark.parametrize("config", ["z-z-z-z", ["z"] * 4, ["hiaml_z"] * 3, [["hiaml_z"]] * 4, {"hiaml_z": 1}, None])
def test_a_bad_configuration_is_named(config):
    with pytest.raises(SpecError, match="a list of 4 names like hiaml_z"):
        hiaml.spec_of(config)


def entry(blocks, best, perfs):
    names = [f"hiaml_{block}" for block in blocks.split("-")]
    return {"net_config": names, "max_perf": best, "perfs": perfs, "cg": official_state(hiaml.to_graph(blocks))}


def test_labels_are_those_of_the_file(tmp_path):
    entries = {"a": entry("z-z-z-z", 92.36, [91.5, 92.36]), "b": entry("a22-z-z-z", 93, [93])}
    labels = hiaml.LABEL_SOURCES["gennape"](labelled_file(tmp_path / "x.json", entries))
    assert labels.schema == LABELS
    columns = [pc.cast(labels[name], "string").to_pylist() for name in ("arch_id", "label", "unit")]
    assert list(zip(*columns, labels["value"].to_pylist(), strict=True)) == [
        ("hiaml/z-z-z-z", "cifar10/test@200/max", "percent", 92.36),
        ("hiaml/z-z-z-z", "cifar10/test@200/perf0", "percent", 91.5),
        ("hiaml/z-z-z-z", "cifar10/test@200/perf1", "percent", 92.36),
        ("hiaml/a22-z-z-z", "cifar10/test@200/max", "percent", 93.0),
        ("hiaml/a22-z-z-z", "cifar10/test@200/perf0", "percent", 93.0),
    ]


def test_bad_labels_are_refused(tmp_path):
    good = entry("z-z-z-z", 92.36, [92.36])
    read = hiaml.LABEL_SOURCES["gennape"]
    with pytest.raises(TableError, match=r"cifar10/test@200/max at .*hiaml/z-z-z-z: .* got 123.0"):
        read(labelled_file(tmp_path / "x.json", {"a": {**good, "max_perf": 123}}))
    with pytest.raises(FormatError, match=r"key 'b': expected each architecture once, got hiaml/z-z-z-z again"):
        read(labelled_file(tmp_path / "x.json", {"a": good, "b": good}))
    with pytest.raises(
        FormatError, match=r"net_config .* key 'a': expected a list of 4 names .* got \{'stages': \[\]\}"
    ):
        read(labelled_file(tmp_path / "x.json", {"a": {**good, "net_config": {"stages": []}}}))


def test_the_data_sheet_is_whole():
    assert {"title", "space", "labels", "licence", "citation"} <= set(hiaml.DATASHEET)
    assert set(hiaml.REMOTES) == set(hiaml.LABEL_SOURCES)
