"""The five NAS families of NDS: counts against the authors' builder, the spaces, and labels."""

import importlib
import json
import re
from collections import Counter

import networkx as nx
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from darts_counts import counted, published
from darts_torch import Network
from nds_files import GENOTYPE, sweep, training

from archgauge.errors import ConfigError, FormatError, SpecError, TableError
from archgauge.families import _nds, nds_darts, nds_enas
from archgauge.families._genotypes import Genotype
from archgauge.graphs import cost
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.realise import realise
from archgauge.graphs.trace import trace
from archgauge.schemas import LABELS

NAMES = ("nds_darts", "nds_enas", "nds_pnas", "nds_amoeba", "nds_nasnet")
FAMILIES = [importlib.import_module(f"archgauge.families.{name}") for name in NAMES]
each_family = pytest.mark.parametrize("family", FAMILIES, ids=NAMES)


def spec_of_row(family, row: dict) -> str:
    config = json.loads(row["config"])
    genotype = config["genotype"]
    cells = [
        family.SPACE.wiring([tuple(edge) for edge in genotype[side]], genotype[f"{side}_concat"])
        for side in ("normal", "reduce")
    ]
    images = "imagenet" if row["dataset"] == "imagenet" else "cifar"
    found = _nds.Architecture(Genotype(*cells), config["width"], config["depth"], images)
    return family.spec_of(found)


@each_family
def test_counts_are_those_of_the_authors_builder(tables_dir, family):
    """All 55 rows of each family, five on ImageNet (275 of 275): parameters, MACs, auxiliary head, operations."""
    every = pq.read_table(tables_dir / "truth" / "nds.parquet").to_pylist()
    rows = [row for row in every if row["space"].removesuffix("_in") == family.FAMILY]
    assert Counter(row["dataset"] for row in rows) == {"cifar10": 50, "imagenet": 5}
    for row in rows:
        spec = spec_of_row(family, row)
        assert family.spec_of(family.parse(spec)) == spec
        graph = family.to_graph(spec, auxiliary=True)
        params, outside = cost.params(graph)[0], graph.params_outside[0]
        assert (params, cost.macs(graph)[0]) == (row["params"], row["macs"])
        assert params + outside == row["params_with_aux"]
        found = counted(graph)
        assert {name: found[name] for name in published(row)} == published(row)
        genotype = family.parse(spec).genotype  # an output of one node is that node, where the builder concatenates
        depth = json.loads(row["config"])["depth"]
        alone = (depth - 2) * (len(genotype.normal.concat) == 1) + 2 * (len(genotype.reduce.concat) == 1)
        assert found["concat"] + alone == row["cats"]
        assert row["output_shape"] == f"[1, {1000 if row['dataset'] == 'imagenet' else 10}]"


@each_family
def test_the_published_outputs_keep_to_the_rule(tables_dir, family):
    """The rows' outputs are what the rule of the space makes of their edges."""
    for row in pq.read_table(tables_dir / "truth" / "nds.parquet").to_pylist():
        if row["space"].removesuffix("_in") == family.FAMILY:
            genotype = json.loads(row["config"])["genotype"]
            for side in ("normal", "reduce"):
                edges = [tuple(edge) for edge in genotype[side]]
                assert list(family.SPACE.wiring(edges).concat) == genotype[f"{side}_concat"]


PUBLISHED_CELLS = {"NASNet": 71_465_842, "Amoeba": 556_628, "PNAS": 556_628, "ENAS": 5_063, "DARTS": 242}


@each_family
def test_the_published_numbers_of_cells(family):
    """Radosavovic et al. 2019, Table 2, in 10^9: ordered pairs of edges."""
    ordered = np.prod([float((2 + node) * len(family.OPERATIONS)) ** 2 for node in range(family.SPACE.nodes)])
    sweep_name = family.DATASHEET["title"].removeprefix("NDS ")
    assert int(ordered / 1e9 + 0.5) == PUBLISHED_CELLS[sweep_name]
    unordered = [(2 + node) * len(family.OPERATIONS) for node in range(family.SPACE.nodes)]
    assert family.SPACE.cells == np.prod([edges * (edges + 1) // 2 for edges in unordered], dtype=object)


@each_family
def test_a_graph_is_what_its_network_is_traced_to(family):
    drawn = family.sample(1, np.random.default_rng(2), widths=(16,), depths=(4,))
    drawn += family.sample(1, np.random.default_rng(3), widths=(16,), depths=(4,), images="imagenet")
    for spec, pixels in zip(drawn, (32, 224), strict=True):
        graph = family.to_graph(spec)
        network = realise(graph)
        assert canonical_hash(trace(network, torch.zeros(2, 3, pixels, pixels))) == canonical_hash(graph)


@each_family
def test_the_graph_is_that_of_a_second_implementation(family):
    """What counts do not show: dilation, padding, which pixels a reduction takes."""
    for spec in family.sample(4, np.random.default_rng(7), widths=(16,), depths=(5,)):
        network = Network(family.parse(spec).genotype, 16, 5, padded=True)
        assert canonical_hash(trace(network, torch.zeros(2, 3, 32, 32))) == canonical_hash(family.to_graph(spec))


NONE = (
    "w16,d4:none~0|none~1+skip~0|skip~0+none~1|sepconv3x3~1+none~2|skip~3>2,3,4,5;"
    "none~0|none~1+none~0|skip~1+none~2|maxpool3x3~0+none~4|skip~4>2,3,4,5"
)


def test_operations_that_carry_nothing():
    """Zeros of both strides, one input twice, and a node whose both edges are zeros."""
    graph = nds_darts.to_graph(NONE)
    network = realise(graph)
    assert canonical_hash(trace(network, torch.zeros(2, 3, 32, 32))) == canonical_hash(graph)
    network(torch.randn(2, 3, 32, 32)).sum().backward()


@each_family
def test_samples(family):
    drawn = family.sample(200, np.random.default_rng(0))
    assert drawn == family.sample(200, np.random.default_rng(0))
    assert len(set(drawn)) == 200
    found = [family.parse(spec) for spec in drawn]
    assert [family.spec_of(one) for one in found] == drawn
    assert {one.width for one in found} == {16, 24, 32}
    assert {one.depth for one in found} == {4, 8, 12, 16, 20}
    names = Counter(name for one in found for name, _ in one.genotype.normal.edges)
    assert set(names) == set(family.OPERATIONS)
    fixed = family.sample(20, np.random.default_rng(0), widths=(16,), depths=(20,))
    assert all(spec.startswith("w16,d20:") for spec in fixed)


def test_a_sample_that_cannot_be_is_refused():
    with pytest.raises(ConfigError, match=r"families\.nds_enas\.sample"):
        nds_enas.sample(-1, np.random.default_rng(0))
    with pytest.raises(ConfigError, match=r"families\.nds_enas\.sample\.images: expected one of cifar, imagenet"):
        nds_enas.sample(1, np.random.default_rng(0), images="svhn")


def edges_of(family, spec) -> list[Counter]:
    """The edges of each node of both cells."""
    genotype = family.parse(spec).genotype
    return [Counter(node) for cell in (genotype.normal, genotype.reduce) for node in cell.nodes]


@each_family
def test_a_mutation_changes_one_operation_or_one_input(family):
    rng = np.random.default_rng(0)
    (spec,) = family.sample(1, rng)
    kinds = Counter()
    for _ in range(200):
        child = family.mutate(spec, rng)
        before, after = edges_of(family, spec), edges_of(family, child)
        ((gone, new),) = [(a - b, b - a) for a, b in zip(before, after, strict=True) if a != b]
        ((name, source),), ((other, place),) = gone, new
        assert (name == other) != (source == place)
        kinds[name == other] += 1
        assert child.split(":")[0] == spec.split(":")[0]
        genotype = family.parse(child).genotype
        for cell in (genotype.normal, genotype.reduce):
            assert cell == family.SPACE.wiring(cell.edges)
    assert min(kinds.values()) > 60


@each_family
def test_a_crossover_takes_one_operation(family):
    rng = np.random.default_rng(0)
    first, second = family.sample(2, rng)
    for _ in range(50):
        child = family.crossover(first, second, rng)
        before, after = edges_of(family, first), edges_of(family, child)
        ((gone, new),) = [(a - b, b - a) for a, b in zip(before, after, strict=True) if a != b]
        ((name, source),), ((other, place),) = gone, new
        assert source == place
        assert name != other
        assert other in {operation for node in edges_of(family, second) for operation, _ in node}


@each_family
def test_the_cell(family):
    (spec,) = family.sample(1, np.random.default_rng(5))
    cell, nodes = family.cell(spec), family.SPACE.nodes
    assert len(cell.operations) == 2 + 2 * (2 + 2 * nodes)
    assert all(a < b for a, b in cell.edges)
    assert len(set(cell.edges)) == len(cell.edges)
    graph = nx.DiGraph(cell.edges)
    assert nx.ancestors(graph, len(cell.operations) - 1) | {len(cell.operations) - 1} >= nx.descendants(graph, 0)
    genotype = family.parse(spec).genotype
    assert graph.in_degree(len(cell.operations) - 1) == 2 * (len(genotype.normal.concat) + len(genotype.reduce.concat))


SPEC = nds_enas.sample(1, np.random.default_rng(0), widths=(16,), depths=(8,))[0]


def test_equal_architectures_have_one_text():
    head, cells = SPEC.split(":")
    turned = re.sub(r"([\w~]+)\|([\w~]+)", r"\2|\1", cells)
    turned = re.sub(r">([\d,]+)", lambda match: ">" + ",".join(reversed(match[1].split(","))), turned)
    assert turned != cells
    assert nds_enas.arch_id(f"{head}:{turned}") == f"nds_enas/{SPEC}"


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("", "expected w<even width>"),
        (SPEC.replace("w16", "w15"), "not the width 15"),
        (SPEC.replace("w16", "w2000"), "not the width 2000"),
        (SPEC.replace("d8", "d1"), "not the depth 1"),
        (SPEC.replace("d8", "d8,cifar"), "expected w<even width>"),
        (SPEC + ">2", "expected w<even width>"),
        (SPEC + ",", "expected w<even width>"),
        (SPEC + ",7", "not an output of the nodes"),
        (SPEC + ",6", "not an output of the nodes"),
        (re.sub(r"\w+~0", "none~0", SPEC, count=1), "not the operation none"),
        (re.sub(r"\w+~0", "conv9x9~0", SPEC, count=1), "expected w<even width>"),
        (re.sub(r"~[01]", "~2", SPEC, count=1), "not node 2 that reads 2"),
        (SPEC.replace("+", "|", 1), "expected w<even width>"),
    ],
)
def test_a_spec_that_is_none_is_refused(spec, reason):
    for function in (nds_enas.parse, nds_enas.arch_id, nds_enas.cell, nds_enas.to_graph):
        with pytest.raises(SpecError, match=re.escape(reason)):
            function(spec)


# Labels


def test_labels_and_costs_of_a_sweep(tmp_path):
    """Two trainings of one architecture, edges and outputs in another order, are its runs."""
    turned = GENOTYPE | {
        "normal": [edge for a, b in zip(*[iter(GENOTYPE["normal"])] * 2, strict=True) for edge in (b, a)]
    }
    other = training()["net"] | {"width": 24}
    (tmp_path / "DARTS.json").write_bytes(
        sweep(training(), training(turned, test_ep_top1=[9.0, 8.0, 7.0]), training(net=other, params=7))
    )
    labels = nds_darts.LABEL_SOURCES["nds"](tmp_path)
    assert labels.schema == LABELS
    assert labels["value"].to_pylist() == [93.25, 93.0, 93.25]
    names = pc.cast(labels["label"], pa.string()).to_pylist()
    assert names == ["cifar10/test@3/run0", "cifar10/test@3/run1", "cifar10/test@3/run0"]
    first, again, wider = labels["arch_id"].to_pylist()
    assert (
        first
        == again
        == (
            "nds_darts/w16,d8:skip~0|sepconv3x3~1+sepconv5x5~0|maxpool3x3~2+skip~0|sepconv3x3~1+sepconv5x5~0|maxpool3x3~2"
            ">2,3,4,5;avgpool3x3~0|avgpool3x3~0+sepconv3x3~1|skip~2+avgpool3x3~0|avgpool3x3~0+sepconv3x3~1|skip~2>2,3,4,5"
        )
    )
    assert wider == first.replace("w16", "w24")
    costs = nds_darts.published_costs(tmp_path).to_pydict()
    assert costs["arch_id"] == [first, first, wider]
    assert (costs["params"], costs["macs"]) == ([1_234_567, 1_234_567, 7], [98_765_432] * 3)
    assert costs["auxiliary"] == [True] * 3


def test_sweeps_are_not_mixed(tmp_path):
    for name in ("DARTS_fix-w-d", "DARTS_lr-wd"):
        (tmp_path / f"{name}.json").write_bytes(sweep(training()))
    for name in ("DARTS_in", "DARTS_lr-wd_in"):
        (tmp_path / f"{name}.json").write_text(json.dumps({"top": [training()], "mid": [training()]}))
    (tmp_path / "DARTS.json").write_bytes(sweep(training(), training()))
    found = {source: read(tmp_path) for source, read in nds_darts.LABEL_SOURCES.items()}
    names = {source: pc.cast(labels["label"], pa.string()).to_pylist() for source, labels in found.items()}
    assert names == {
        "nds": ["cifar10/test@3/run0", "cifar10/test@3/run1"],
        "nds_fix-w-d": ["cifar10/test@3/run0"],
        "nds_lr-wd": ["cifar10/test@3/run0+lr-wd"],
        "nds_in": ["imagenet/validation@3/run0", "imagenet/validation@3/run1"],
        "nds_lr-wd_in": ["imagenet/validation@3/run0+lr-wd", "imagenet/validation@3/run1+lr-wd"],
    }
    assert found["nds_in"]["arch_id"][0].as_py().startswith("nds_darts/w16,d8,imagenet:")
    assert nds_darts.published_costs(tmp_path).num_rows == 2
    assert set(nds_darts.REMOTES) == set(nds_darts.LABEL_SOURCES)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (training(GENOTYPE | {"normal": [["conv_1x1", 0]] * 8}), "the operation conv_1x1"),
        (training(GENOTYPE | {"normal": GENOTYPE["normal"][:6]}), "3 nodes where there are 4"),
        (training(GENOTYPE | {"normal": GENOTYPE["normal"][:7]}), "0 nodes where there are 4"),
        (training(GENOTYPE | {"reduce": [["none", 2]] * 8}), "node 2 that reads 2"),
        (training(GENOTYPE | {"reduce": [["none", -1]] * 8}), "node 2 that reads -1"),
        (training(GENOTYPE | {"reduce_concat": [2, 9]}), "an output of the nodes (2, 9)"),
        (training(GENOTYPE | {"reduce_concat": []}), "an output of the nodes ()"),
        (training(net={"genotype": GENOTYPE, "width": 17, "depth": 8}), "the width 17"),
        (training(net={"genotype": GENOTYPE, "width": 16, "depth": 10**6}), "the depth 1000000"),
    ],
)
def test_a_training_of_another_space_is_refused(tmp_path, bad, message):
    (tmp_path / "DARTS.json").write_bytes(sweep(training(), bad))
    with pytest.raises(FormatError, match=re.escape(message)) as caught:
        nds_darts.LABEL_SOURCES["nds"](tmp_path)
    assert "training 1" in str(caught.value)


@pytest.mark.parametrize("errors", [[float("nan")], [-1.0], [101.0]])
def test_an_error_that_is_none_is_refused(tmp_path, errors):
    (tmp_path / "DARTS.json").write_bytes(sweep(training(test_ep_top1=errors)))
    with pytest.raises(TableError, match="the label cifar10/test@1/run0"):
        nds_darts.LABEL_SOURCES["nds"](tmp_path)
