"""NAS-Bench-301: counts against the benchmark's networks and tables, the space, and native forms."""

import itertools
import json
import re
from collections import Counter

import networkx as nx
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from darts_counts import counted, published
from darts_torch import Network
from nb301_boosters import SPECS
from nb301_files import RESULT

from archgauge.errors import ConfigError, SpecError
from archgauge.families import nb301
from archgauge.families._darts_network import Plan, unfold
from archgauge.families._genotypes import NAMES, Space
from archgauge.graphs import cost
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.graph import concatenate
from archgauge.graphs.operations import KindTable
from archgauge.graphs.realise import realise
from archgauge.graphs.trace import trace

SPEC = SPECS[0]
DARTS_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)


def spec_of_row(row: dict) -> str:
    config = json.loads(row["config"])
    sides = ([tuple(edge) for edge in config[side]] for side in ("normal", "reduce"))
    return nb301.from_genotype(
        "Genotype(normal={}, normal_concat=[2, 3, 4, 5], reduce={}, reduce_concat=[2, 3, 4, 5])".format(*sides)
    )


# Counts against outside truth


def test_counts_are_those_of_the_benchmarks_networks(tables_dir):
    """50 of 50 rows: parameters, auxiliary head, MACs and every operation."""
    rows = pq.read_table(tables_dir / "truth" / "nb301_darts.parquet").to_pylist()
    assert len(rows) == 50
    for row in rows:
        graph = nb301.to_graph(spec_of_row(row))
        params, outside = cost.params(graph)[0], graph.params_outside[0]
        assert (params, outside, cost.macs(graph)[0]) == (row["params"], row["aux_params"], row["macs"])
        assert params + outside == row["params_with_aux"]
        norms = sum(
            kind.params * int(n)
            for kind, n in zip(graph.kinds, np.bincount(graph.kind), strict=True)
            if kind.operation == "batch_norm"
        )
        assert norms == row["bn_params"]
        found = counted(graph)
        assert found["concat"] == row["cats"]
        assert {name: found[name] for name in published(row)} == published(row)
        assert outside == 468_234
        assert row["macs_train_with_aux"] - row["macs"] == 663_040


def test_the_parameters_that_a_training_logged():
    """The one result in the benchmark's repository: 50 channels, 20 layers, 6,369,358 with the auxiliary head."""
    spec = nb301.from_configuration(RESULT["optimized_hyperparamater_config"])
    graph = unfold(nb301.parse(spec), Plan(50, 20, auxiliary=True), KindTable())
    assert cost.params(graph)[0] + graph.params_outside[0] == RESULT["info"][0]["model_parameters"] == 6_369_358


def test_the_parameters_of_darts_v2():
    """DARTS at 36 channels and 20 layers has 3.3 million (Liu et al. 2019, Table 1); their code prints 3.349342."""
    graph = unfold(nb301.parse(nb301.from_genotype(DARTS_V2)), Plan(36, 20), KindTable())
    assert cost.params(graph)[0] == 3_349_342


def test_the_published_columns_are_those_of_the_naslib_skeleton(tables_dir):
    """725 of 725 rows, parameters and flops."""
    costs = nb301.published_costs(tables_dir / "nb301_surrogate725.parquet")
    kinds = KindTable()
    specs = [arch_id.removeprefix("nb301/") for arch_id in costs["arch_id"].to_pylist()]
    graphs = concatenate([nb301.to_graph(spec, kinds, skeleton="naslib") for spec in specs])
    assert len(graphs) == 725
    assert np.array_equal(cost.params(graphs), costs["params"].to_numpy())
    assert np.array_equal(nb301.table_flops(graphs), costs["macs"].to_numpy())
    assert not graphs.params_outside.any()


def test_the_gennape_skeleton():
    """Cells of 48, 96 and 192 channels, twenty of them, a convolution as classifier, two stems."""
    graph = nb301.to_graph(SPEC, skeleton="gennape")
    found = counted(graph)
    assert found["adds"] == 20 * 4
    assert found["linear"] == 0
    image = [kind for kind in graph.kinds if kind.operation == "conv" and kind.inputs[0] == (32, 32, 3)]
    assert [kind.outputs[0] for kind in image] == [(32, 32, 48)]
    assert np.sum(graph.kind == list(graph.kinds).index(image[0])) == 2
    classifier = [kind for kind in graph.kinds if kind.inputs == ((1, 1, 4 * 192),)]
    assert [(kind.operation, kind.params) for kind in classifier] == [("conv", 4 * 192 * 10)]


# Networks


@pytest.mark.parametrize("skeleton", ["authors", "naslib", "gennape"])
def test_a_graph_is_what_its_network_is_traced_to(skeleton):
    for spec in nb301.sample(2, np.random.default_rng(1)):
        graph = nb301.to_graph(spec, skeleton=skeleton)
        network = realise(graph)
        assert canonical_hash(trace(network, torch.zeros(2, 3, 32, 32))) == canonical_hash(graph)


def test_the_graph_is_that_of_a_second_implementation():
    """What counts do not show: dilation, padding, which pixels a reduction takes."""
    for spec in SPECS[:3]:
        network = Network(nb301.parse(spec), 32, 8, padded=False)
        assert canonical_hash(trace(network, torch.zeros(2, 3, 32, 32))) == canonical_hash(nb301.to_graph(spec))


def test_a_network_learns():
    network = realise(nb301.to_graph(SPEC))
    out = network(torch.randn(2, 3, 32, 32))
    assert out.shape == (2, 10)
    out.square().sum().backward()
    assert all(part.grad is not None and part.grad.isfinite().all() for part in network.parameters())


def test_an_unknown_skeleton_is_refused():
    with pytest.raises(
        ConfigError, match=r"families\.nb301\.graph\.skeleton: expected one of authors, naslib, gennape"
    ):
        nb301.to_graph(SPEC, skeleton="darts")


# The space


def test_the_size_of_the_space():
    """Two inputs of 2, 3, 4, 5 and two of seven operations for each of the four nodes (Siems et al. 2020: 10^18)."""
    cell = np.prod([inputs * (inputs - 1) // 2 for inputs in (2, 3, 4, 5)]) * 7**8
    assert nb301.SIZE == int(cell) ** 2 == 1_037_664_180**2


@pytest.mark.parametrize("same_input", [False, True])
def test_the_count_of_cells_is_that_of_their_texts(same_input):
    space = Space(("none", "skip_connect"), 2, same_input, False)
    rng = np.random.default_rng(0)
    seen = Counter(space.draw(rng).normal for _ in range(40 * space.cells))
    assert len(seen) == space.cells == (10 * 21 if same_input else 4 * 12)
    assert max(seen.values()) < 40 + 5 * 40**0.5
    assert min(seen.values()) > 40 - 5 * 40**0.5
    ordered = itertools.product(*([(name, i) for i in range(n) for name in space.operations] for n in (2, 2, 3, 3)))
    texts = {space.wiring(edges) for edges in ordered}
    assert {cell for cell in texts if space.fault(cell) is None} == set(seen)


def test_samples_are_distinct_valid_and_repeat():
    drawn = nb301.sample(500, np.random.default_rng(3))
    assert len(set(drawn)) == 500
    assert drawn == nb301.sample(500, np.random.default_rng(3))
    assert all(nb301.spec_of(nb301.parse(spec)) == spec for spec in drawn)
    names = Counter(name for spec in drawn for name, _ in nb301.parse(spec).normal.edges)
    assert max(names.values()) / min(names.values()) < 1.4
    with pytest.raises(ConfigError, match="1,076,746,950,455,072,400 architectures"):
        nb301.sample(-1, np.random.default_rng(0))


def test_equal_genotypes_have_one_text():
    normal, reduce = SPEC.split(";")
    turned = ";".join(
        "+".join("|".join(reversed(node.split("|"))) for node in cell.split("+")) for cell in (normal, reduce)
    )
    assert turned != SPEC
    assert nb301.arch_id(turned) == nb301.arch_id(SPEC) == f"nb301/{SPEC}"
    assert nb301.arch_id(f"{reduce};{normal}") != nb301.arch_id(SPEC)


def differences(first: str, second: str) -> list[tuple]:
    """What the edges of two genotypes do not share, by cell and node."""
    found = []
    for a, b in zip(first.split(";"), second.split(";"), strict=True):
        for x, y in zip(a.split("+"), b.split("+"), strict=True):
            gone, new = (Counter(node.split("|")) for node in (x, y))
            found += [(sorted((gone - new).elements()), sorted((new - gone).elements()))] if gone != new else []
    return found


def test_a_mutation_changes_one_operation_or_one_input():
    rng = np.random.default_rng(0)
    near = [nb301.mutate(SPEC, rng) for _ in range(3_000)]
    inputs = 0
    for spec in set(near):
        nb301.parse(spec)
        ((gone, new),) = differences(SPEC, spec)
        (before,), (after,) = (gone[0].split("~"),), (new[0].split("~"),)
        assert len(gone) == len(new) == 1
        assert (before[0] == after[0]) != (before[1] == after[1])
        inputs += before[0] == after[0]
    # 16 edges have six other operations; nodes 3, 4, 5 of each cell have two edges with 1, 2, 3 other inputs
    assert (len(set(near)) - inputs, inputs) == (16 * 6, 2 * 2 * (1 + 2 + 3))


def test_a_crossover_takes_one_operation_of_the_same_cell():
    rng = np.random.default_rng(0)
    first, second = SPECS[:2]
    for _ in range(200):
        child = nb301.crossover(first, second, rng)
        ((gone, new),) = differences(first, child)
        (before, source), (after, same) = gone[0].split("~"), new[0].split("~")
        side = [a != b for a, b in zip(first.split(";"), child.split(";"), strict=True)].index(True)
        assert source == same
        assert before != after
        assert f"{after}~" in second.split(";")[side]
    assert nb301.crossover(first, first.replace("x", "x"), rng) != first  # a cell has different operations of its own
    alone = re.sub(r"[a-z]+(\dx\d)?~", "skip~", first)
    assert nb301.crossover(alone, alone, rng) == alone


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("", "two cells of four nodes"),
        (SPEC.split(";")[0], "two cells"),
        (SPEC + ";" + SPEC, "two cells"),
        (SPEC.replace("skip~2", "skip~3"), "not node 3 that reads 3"),
        (SPEC.replace("sepconv3x3~0|sepconv3x3~1", "sepconv3x3~0|skip~0"), "not node 2 that reads 0 twice"),
        (SPEC.replace("sepconv3x3~0", "none~0", 1), "not the operation none"),
        (SPEC.replace("sepconv3x3", "sep_conv_3x3"), "two cells"),
        (SPEC.replace("+", "|", 1), "two cells"),
        (SPEC.replace("|maxpool3x3~4;", "|maxpool3x3~4+skip~0|skip~1;"), "not 5 nodes where there are 4"),
        (SPEC + " ", "two cells"),
        (SPEC.replace("~1", "~11"), "two cells"),
    ],
)
def test_a_spec_that_is_none_is_refused(spec, reason):
    for function in (nb301.parse, nb301.arch_id, nb301.cell, nb301.to_graph, nb301.to_configuration):
        with pytest.raises(SpecError, match=re.escape(reason)):
            function(spec)


# Native forms


def test_darts_genotypes():
    spec = nb301.from_genotype(DARTS_V2)
    assert spec.startswith(
        "sepconv3x3~0|sepconv3x3~1+sepconv3x3~0|sepconv3x3~1+skip~0|sepconv3x3~1+skip~0|dilconv3x3~2;"
    )
    assert nb301.from_genotype(nb301.to_genotype(spec)) == spec
    assert nb301.from_genotype(DARTS_V2.replace("[2, 3, 4, 5]", "range(2, 6)")) == spec
    for text in (DARTS_V2[:-1], DARTS_V2.replace("[2, 3, 4, 5]", "[2, 3, 4]"), "", "Genotype()", "__import__('os')"):
        with pytest.raises(SpecError):
            nb301.from_genotype(text)


def test_the_same_genotype_in_all_forms(tables_dir):
    """NASLib's pairs, the benchmark's configuration and DARTS' text say the same of every row of the table."""
    for text in pq.read_table(tables_dir / "nb301_surrogate725.parquet")["arch_compact"].to_pylist()[::25]:
        spec = nb301.from_compact(text)
        assert nb301.from_configuration(nb301.to_configuration(spec)) == spec
        assert nb301.from_genotype(nb301.to_genotype(spec)) == spec
        for cell, pairs in zip(
            spec.split(";"), json.loads(re.sub("[()]", lambda m: "[]"[m[0] == ")"], text)), strict=True
        ):
            names = Counter(f"{NAMES[nb301.OPERATIONS[code]]}~{source}" for source, code in pairs)
            assert names == Counter(re.split(r"[|+]", cell))


def test_the_official_configuration():
    spec = nb301.from_configuration(RESULT["optimized_hyperparamater_config"])
    assert spec == (
        "skip~0|sepconv3x3~1+sepconv3x3~0|skip~1+dilconv3x3~0|dilconv5x5~2+sepconv3x3~1|skip~2;"
        "maxpool3x3~0|avgpool3x3~1+skip~0|dilconv5x5~1+sepconv3x3~1|sepconv5x5~2+sepconv3x3~2|dilconv3x3~3"
    )
    with pytest.raises(SpecError, match="a configuration of NAS-Bench-301's space"):
        nb301.from_configuration({})


@pytest.mark.parametrize(
    "text", ["", "[]", "[[(0, 7)] * 8] * 2", "[[(0, 9)], []]", "((" * 500, "[1, 2]", "[[(0, 'a')], []]"]
)
def test_compact_text_that_is_none_is_refused(text):
    with pytest.raises(SpecError, match="two lists of eight"):
        nb301.from_compact(text)


# Cells


def test_the_cell_has_the_vertices_of_gmae():
    """Second construction: GMAE-NAS' code. A vertex reads all vertices that produce the node its edge starts at."""
    genotype = nb301.parse(SPEC)
    cell = nb301.cell(SPEC)
    assert len(cell.operations) == 22
    for prefix, side, shift in (("", genotype.normal, 1), ("reduce:", genotype.reduce, 11)):
        assert cell.operations[shift : shift + 2] == (f"{prefix}input1", f"{prefix}input2")
        assert cell.operations[shift + 2 : shift + 10] == tuple(prefix + NAMES[name] for name, _ in side.edges)
        inside = {(a - shift, b - shift) for a, b in cell.edges if shift <= a and b < shift + 10}
        producers = {0: {0}, 1: {1}, 2: {2, 3}, 3: {4, 5}, 4: {6, 7}, 5: {8, 9}}
        assert inside == {(a, 2 + k) for k, (_, source) in enumerate(side.edges) for a in producers[source]}
        assert {(0, shift), (0, shift + 1)} <= set(cell.edges)
        assert {(shift + 2 + k, 21) for k in range(8)} <= set(cell.edges)
    graph = nx.DiGraph(cell.edges)
    assert nx.is_directed_acyclic_graph(graph)
    assert all(a < b for a, b in cell.edges)
    assert len(set(cell.edges)) == len(cell.edges)


def test_paths_tell_the_cells_apart():
    normal, reduce = SPEC.split(";")
    paths = nb301.cell(SPEC).paths()
    assert sum(paths.values()) == len(list(nx.all_simple_paths(nx.DiGraph(nb301.cell(SPEC).edges), 0, 21)))
    assert {path[0] for path in paths} == {"input1", "input2", "reduce:input1", "reduce:input2"}
    assert nb301.cell(f"{reduce};{normal}").paths() != paths
