"""The families' networks against published counts: parameters, multiply-adds, and what the tables' FLOPs count more."""

import itertools
from collections import Counter, defaultdict
from multiprocessing import get_context

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from archgauge.cells import Cell
from archgauge.families import nb101, nb201
from archgauge.families._nb101_network import vertex_channels
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.graph import INDEX, concatenate
from archgauge.graphs.normal_form import live
from archgauge.graphs.operations import Kind, KindTable

SPECS = nb201.enumerate_specs()["spec"].to_pylist()
SIX_CONVOLUTIONS = nb201.spec_of(["nor_conv_3x3"] * 6)


def counted(rows: list[np.ndarray], kinds: KindTable) -> np.ndarray:
    """(N, K) how many nodes of each kind each graph has, from the kinds of its nodes."""
    return np.stack([np.bincount(row, minlength=len(kinds)) for row in rows]).astype(np.int64)


def column(kinds: KindTable, value) -> np.ndarray:
    return np.array([value(kind) for kind in kinds], np.int64)


def elements(kind: Kind) -> int:
    return int(np.prod(kind.outputs[0])) if kind.outputs else 0


def normalised(kind: Kind) -> int:
    return elements(kind) * (kind.operation == "batch_norm")


@pytest.fixture(scope="module")
def space():
    """Of all networks of NAS-Bench-201: (15625, K) counts of kinds, the kinds, the hashes of the live graphs."""
    kinds, rows, hashes = KindTable(), [], []
    for first in range(0, len(SPECS), 500):
        graphs = [nb201.to_graph(spec, kinds) for spec in SPECS[first : first + 500]]
        rows += [graph.kind for graph in graphs]
        hashes += canonical_hash(live(concatenate(graphs))).tolist()
    return counted(rows, kinds), kinds, hashes


@pytest.fixture(scope="module")
def cells(space):
    return space[:2]


@pytest.fixture(scope="module")
def published(tables_dir):
    names = [f"{cost}_M_{data}" for cost in ("params", "flops") for data in ("cifar10", "imagenet16_120")]
    table = pq.read_table(tables_dir / "nb201.parquet", columns=names)
    millions = {name: table[name].to_numpy() for name in names}
    assert all(np.abs(1e6 * value - np.round(1e6 * value)).max() < 1e-6 for value in millions.values())
    return {name: np.round(1e6 * value).astype(np.int64) for name, value in millions.items()}


def test_parameters_of_all_cells_of_nb201_are_the_published_ones(cells, published):
    count, kinds = cells
    params = count @ column(kinds, lambda kind: kind.params)
    assert np.array_equal(params, published["params_M_cifar10"])
    # 120 classes instead of 10, each with 64 weights and a bias
    assert np.array_equal(params + 110 * 65, published["params_M_imagenet16_120"])


def test_six_convolutions_have_the_multiply_adds_that_the_authors_print(cells):
    count, kinds = cells
    assert (count @ column(kinds, lambda kind: kind.macs))[SPECS.index(SIX_CONVOLUTIONS)] == 220_119_680


def test_the_published_flops_of_nb201_count_more_by_a_formula(cells, published):
    """The formula stands in the docstring of `_nb201_network`. ImageNet16-120 has a quarter of the pixels."""
    count, kinds = cells

    def more(kind: Kind) -> int:
        return 3 * normalised(kind) + elements(kind) * kind.kernel[0] * kind.kernel[1] * (kind.operation == "avg_pool")

    convolutions = count @ column(kinds, lambda kind: kind.macs * (kind.operation == "conv"))
    extra = count @ column(kinds, more)
    flops = convolutions + extra + 64 * 10 + 64 * (8 + 8 + 1)
    assert np.array_equal(flops, published["flops_M_cifar10"])
    assert flops[SPECS.index(SIX_CONVOLUTIONS)] == 222_860_992
    smaller = (convolutions + extra) // 4 + 64 * 120 + 64 * (4 + 4 + 1)
    assert np.array_equal(smaller, published["flops_M_imagenet16_120"])


def test_5425_cells_of_nb201_differ_in_what_they_compute(space):
    """Second implementation: cells as layers with multisets of terms, up to renumbering; one to one with the hash."""
    hashes = space[2]
    forms = [_function(spec) for spec in SPECS]
    assert len(set(hashes)) == len(set(forms)) == len(set(zip(hashes, forms, strict=True))) == 5_425


def _function(spec: str) -> tuple:
    """The layers that reach the output, each with the terms of its input, smallest over all orders of the layers.

    A term is (layer, how often), -1 for the cell's input. A skip hands on the terms of its node, `none` and layers
    without any term hand on nothing.
    """
    terms, layers = {0: Counter({-1: 1})}, {}
    for target in (1, 2, 3):
        terms[target] = Counter()
        for edge, ((source, end), name) in enumerate(zip(nb201.EDGES, nb201.parse(spec), strict=True)):
            if end != target or name == "none" or not terms[source]:
                continue
            if name == "skip_connect":
                terms[target] += terms[source]
            else:
                layers[edge] = (name, terms[source])
                terms[target][edge] += 1
    used, waiting = set(), [*terms[3]]
    while waiting:
        layer = waiting.pop()
        if layer >= 0 and layer not in used:
            used.add(layer)
            waiting += layers[layer][1]
    return min(_numbered(order, layers, terms[3]) for order in itertools.permutations(sorted(used)))


def _numbered(order: tuple[int, ...], layers: dict, ends: Counter) -> tuple:
    number = {-1: -1, **{layer: place for place, layer in enumerate(order)}}

    def renamed(terms: Counter) -> tuple:
        return tuple(sorted((number[layer], count) for layer, count in terms.items()))

    return tuple((layers[layer][0], renamed(layers[layer][1])) for layer in order), renamed(ends)


def test_5773_of_the_collected_tables_are_nested_expressions(space):
    """Why the collected tables' 5,773 is another number: it counts nested expressions, which err on both sides.

    (a + b) + c and a + (b + c) are two expressions and one function; conv(x) + conv(x) is one expression, but one layer
    read twice and two layers with weights of their own are two functions.
    """
    expressions = [_expression(spec) for spec in SPECS]
    assert len(set(expressions)) == 5_773
    hashes_of, expressions_of = defaultdict(set), defaultdict(set)
    for own, theirs in zip(space[2], expressions, strict=True):
        hashes_of[theirs].add(own)
        expressions_of[own].add(theirs)
    assert sum(len(hashes) > 1 for hashes in hashes_of.values()) == 549
    assert sum(len(nested) > 1 for nested in expressions_of.values()) == 513


def _expression(spec: str):
    values = ["x"]
    for target in (1, 2, 3):
        edges = zip(nb201.EDGES, nb201.parse(spec), strict=True)
        into = [(values[source], name) for (source, end), name in edges if end == target and name != "none"]
        terms = [v if name == "skip_connect" else (name, v) for v, name in into if v is not None]
        values.append(None if not terms else terms[0] if len(terms) == 1 else ("+", *sorted(terms, key=repr)))
    return values[3]


def test_gennapes_skeleton_differs_as_stated():
    """One BN more for each average pool; reduction blocks without BN, with a ReLU; no BN-ReLU at the end."""
    for spec in nb201.sample(50, np.random.default_rng(0)):
        own, theirs = (
            np.unique([graph.kinds[kind].operation for kind in graph.kind], return_counts=True)
            for graph in (nb201.to_graph(spec), nb201.to_graph(spec, skeleton="gennape"))
        )
        own, theirs = (dict(zip(*map(np.ndarray.tolist, pair), strict=True)) for pair in (own, theirs))
        pools = 15 * nb201.parse(spec).count("avg_pool_3x3")
        assert theirs["batch_norm"] - own["batch_norm"] == pools - 4 - 1
        assert theirs["relu"] - own["relu"] == -1 - 4 + 2 + 2
        assert {name: theirs.get(name) for name in ("conv", "avg_pool", "zero", "linear")} == {
            name: own.get(name) for name in ("conv", "avg_pool", "zero", "linear")
        }


def _nb101_costs(specs: list[str]) -> np.ndarray:
    """(n, 3) parameters, multiply-adds, output elements of batch normalisations."""
    kinds = KindTable()
    count = counted([nb101.to_graph(spec, kinds).kind for spec in specs], kinds)
    values = (lambda kind: kind.params, lambda kind: kind.macs, normalised)
    return count @ np.stack([column(kinds, value) for value in values], 1)


@pytest.fixture(scope="module")
def modules(tables_dir):
    """Costs of the 30,001 modules with published parameters and of 5,000 others; and the published ones."""
    names = ["num_vertices", "adjacency", "ops", "macs", "params"]
    table = pq.read_table(tables_dir / "nb101.parquet", columns=names).to_pandas()
    others = table[table.params.isna()].sample(5_000, random_state=0)
    table = table[table.params.notna()]
    assert len(table) == 30_001
    table = pd.concat([table, others])
    names = ["conv3x3", "conv1x1", "maxpool3x3"]
    specs = [
        f"{vertices}:{bits}:{','.join(names[int(code)] for code in ops)}"
        for vertices, bits, ops in zip(table.num_vertices, table.adjacency, table.ops, strict=True)
    ]
    with get_context("forkserver").Pool(2) as pool:
        parts = pool.map(_nb101_costs, [specs[first : first + 1_000] for first in range(0, len(specs), 1_000)])
    return np.concatenate(parts), table


def test_parameters_of_30001_modules_of_nb101_are_the_published_ones(modules):
    costs, table = modules
    assert costs[:30_001, 0].tolist() == table.params[:30_001].astype(int).tolist()


def test_the_macs_of_nb101_count_two_more_for_each_normalised_element(modules):
    """Also on rows without published parameters."""
    costs, table = modules
    assert (costs[:, 1] + 2 * costs[:, 2]).tolist() == table.macs.tolist()


def test_channels_of_vertices_by_hand():
    """Two vertices share 129 output channels; one before them has what the wider reader has."""
    cell = Cell(("input", "conv3x3", "conv1x1", "maxpool3x3", "output"), ((0, 1), (1, 2), (1, 3), (2, 4), (3, 4)))
    assert vertex_channels(64, 129, cell) == [64, 65, 65, 64, 129]


def test_a_module_by_hand():
    """input -> 3x3 -> output, and input -> output: projection, convolution, projection of the skip, sum."""
    graph = nb101.to_graph("3:111:conv3x3")
    names = [graph.kinds[kind].operation for kind in graph.kind]
    unit = ["conv", "batch_norm", "relu"]
    assert names[:15] == ["input", *unit, *unit, *unit, *unit, "add", "conv"]
    assert graph.kind.dtype == INDEX
    assert [graph.kinds[kind].kernel[0] for kind in graph.kind[:14] if graph.kinds[kind].operation == "conv"] == [
        3,
        1,
        3,
        1,
    ]
    assert names[-3:] == ["global_avg_pool", "linear", "output"]
