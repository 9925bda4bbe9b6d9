"""TransNAS-Bench-101: both spaces, all heads, and labels against the authors' networks and published tables."""

import itertools
import json
import re
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from archgauge.errors import ConfigError, SpecError, TableError
from archgauge.families import _transnas_network, transnas_macro, transnas_micro
from archgauge.graphs import cost
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.normal_form import live
from archgauge.graphs.operations import KindTable
from archgauge.graphs.realise import realise
from archgauge.graphs.trace import trace
from archgauge.schemas import ARCHITECTURES, LABELS

FAMILIES = {"micro": transnas_micro, "macro": transnas_macro}
SPECS = {space: family.enumerate_specs()["spec"].to_pylist() for space, family in FAMILIES.items()}
TABLE_SPEC = {"micro": transnas_micro.spec_of, "macro": str}
EXAMPLE = {"micro": "1_02_333", "macro": "1234"}
both = pytest.mark.parametrize("space", FAMILIES)


@pytest.fixture(scope="module")
def truth(tables_dir):
    return pq.read_table(tables_dir / "truth" / "transnas.parquet").to_pylist()


@pytest.fixture(scope="module")
def network_of():
    kinds = KindTable()

    def build(row, task, resolution=None):
        spec = TABLE_SPEC[row["space"]](row["arch"])
        return FAMILIES[row["space"]].to_graph(spec, kinds, task=task, resolution=resolution)

    return build


def params(graph) -> int:
    return int(cost.params(graph)[0])


def macs(graph) -> int:
    return int(cost.macs(graph)[0])


def operations(graph) -> Counter:
    return Counter(graph.kinds[kind].operation for kind in graph.kind.tolist())


# Outside truth


@both
def test_the_space_is_that_of_the_published_table(space, tables_dir):
    table = pq.read_table(tables_dir / f"transnas101_{space}.parquet", columns=["arch"])
    assert set(SPECS[space]) == set(map(TABLE_SPEC[space], table["arch"].to_pylist()))
    assert len(SPECS[space]) == len(set(SPECS[space])) == {"micro": 4_096, "macro": 3_256}[space]


def test_encoders_count_as_the_authors_code(truth, network_of):
    assert len(truth) == 100
    for row in truth:
        assert params(network_of(row, "encoder")) == row["encoder_params"], row["arch"]
        for pixels in (256, 224, 64):
            graph = network_of(row, "encoder", pixels)
            assert macs(graph) == row[f"encoder_macs_{pixels}"], row["arch"]
            if pixels != 64:
                _, channels, height, width = json.loads(row[f"encoder_out_{pixels}"])
                assert graph.kinds[graph.kind[-1]].inputs == ((height, width, channels),)
                assert channels == row["channels_out"]


def test_encoders_have_the_operations_of_the_authors_code(truth, network_of):
    for row in truth:
        counted, expected = operations(network_of(row, "encoder")), json.loads(row["encoder_modules"])
        for ours, theirs in {"conv": "Conv2d", "batch_norm": "BatchNorm2d", "relu": "ReLU"}.items():
            assert counted[ours] == expected[theirs], row["arch"]
        assert counted["zero"] == expected.get("Zero", 0)
        assert counted["pad"] == expected.get("ConstantPad2d", 0)


@pytest.mark.parametrize(
    ("task", "params_column", "macs_column", "encoder_too"),
    [
        ("class_object", "params_class_object_75", "macs_class_object_75_256", False),
        ("class_scene", "params_class_scene_47", None, False),
        ("room_layout", "params_room_layout", None, False),
        ("jigsaw", "params_jigsaw", "macs_jigsaw_9x64", False),
        ("segmentsemantic", "params_segmentsemantic", "decoder_macs_segmentsemantic", True),
        ("autoencoder", "params_autoencoder", "decoder_macs_autoencoder", True),
        ("normal", "params_autoencoder", "decoder_macs_autoencoder", True),
    ],
)
def test_heads_count_as_the_authors_code(task, params_column, macs_column, encoder_too, truth, network_of):
    for row in truth:
        graph = network_of(row, task)
        assert params(graph) == row[params_column], row["arch"]
        if macs_column:
            assert macs(graph) == row[macs_column] + encoder_too * row["encoder_macs_256"], row["arch"]
        if f"out_{task}" in row:
            _, channels, height, width = json.loads(row[f"out_{task}"])
            assert graph.kinds[graph.kind[-1]].inputs == ((height, width, channels),)


def test_naslib_class_counts_differ_in_the_last_layer_alone(truth):
    for row in truth:
        for task, classes in (("class_object", 100), ("class_scene", 63)):
            assert row[f"params_{task}_{classes}"] == row["encoder_params"] + classes * (row["channels_out"] + 1)


@pytest.mark.parametrize(("task", "activations"), [("autoencoder", 13), ("normal", 13), ("segmentsemantic", 7)])
def test_decoders_let_a_fifth_of_a_negative_value_through(task, activations):
    """The slope that the authors give nn.LeakyReLU."""
    graph = transnas_micro.to_graph(EXAMPLE["micro"], task=task)
    slopes = [graph.kinds[kind].settings["slope"] for kind in graph.kind[graph.having("leaky_relu")]]
    assert slopes == [0.2] * activations


def test_the_discriminator_is_counted_apart(network_of):
    """The authors' seven convolutions; spectral normalisation has buffers, but no parameters."""
    sizes = [(6, 64, 5), (64, 128, 5), (128, 256, 5), (256, 256, 3), (256, 512, 3), (512, 512, 3), (512, 1, 3)]
    discriminator = nn.Sequential(*(nn.utils.spectral_norm(nn.Conv2d(*size)) for size in sizes))
    expected = sum(parameter.numel() for parameter in discriminator.parameters())
    for task in _transnas_network.TASKS:
        outside = network_of({"space": "macro", "arch": "1234"}, task).params_outside[0]
        assert outside == (expected if task in ("autoencoder", "normal") else 0)


# The networks


class Reduction(nn.Module):
    """The authors' factorised reduction, written anew from their description."""

    def __init__(self, before, after, stride):
        super().__init__()
        self.first, self.second = (nn.Conv2d(before, after // 2, 1, stride, bias=False) for _ in range(2))
        self.norm = nn.BatchNorm2d(after)

    def forward(self, x):
        x = torch.relu(x)
        moved = nn.functional.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
        return self.norm(torch.cat([self.first(x), self.second(moved)], 1))


class MicroNetwork(nn.Module):
    """A second implementation of the micro encoder, as modules."""

    def __init__(self, spec):
        super().__init__()
        digits, channels = spec.split("_"), 64
        first, second = nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.Conv2d(32, 64, 3, 2, 1, bias=False)
        layers = [first, nn.BatchNorm2d(32), nn.ReLU(), second, nn.BatchNorm2d(64)]
        for after, stride in ((128, 2), (128, 1), (256, 2), (256, 1), (512, 2)):
            layers += [self.Cell(digits, channels, after, stride), self.Cell(digits, after, after, 1)]
            channels = after
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x)

    class Cell(nn.Module):
        def __init__(self, digits, before, after, stride):
            super().__init__()
            self.edges = nn.ModuleList()
            for operations in digits:
                rows = nn.ModuleList()
                for source, operation in enumerate(operations):
                    now, step = (before, stride) if source == 0 else (after, 1)
                    rows.append(self.edge(operation, now, after, step))
                self.edges.append(rows)
            self.after, self.stride = after, stride

        @staticmethod
        def edge(operation, before, after, stride):
            if operation == "0":
                return None
            if operation == "1":
                return nn.Identity() if (before, stride) == (after, 1) else Reduction(before, after, stride)
            kernel = {"2": 1, "3": 3}[operation]
            conv = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
            return nn.Sequential(nn.ReLU(), conv, nn.BatchNorm2d(after))

        def forward(self, x):
            nodes = [x]
            for rows in self.edges:
                terms = []
                for source, edge in enumerate(rows):
                    if edge is None:
                        size = [len(x), self.after, *(-(-n // self.stride) for n in x.shape[2:])]
                        terms.append(x.new_zeros(size))
                    else:
                        terms.append(edge(nodes[source]))
                nodes.append(sum(terms[1:], terms[0]))
            return nodes[-1]


@pytest.mark.parametrize("spec", ["1_02_333", "1_11_111", "3_21_032", "2_10_301", "0_00_123"])
def test_a_second_implementation_has_the_same_live_graph(spec):
    kinds = KindTable()
    ours = transnas_micro.to_graph(spec, kinds, task="encoder", resolution=64)
    theirs = trace(MicroNetwork(spec), torch.zeros(1, 3, 64, 64), kinds=kinds)
    assert canonical_hash(live(ours)) == canonical_hash(live(theirs))


@both
@pytest.mark.parametrize("task", ["encoder", *_transnas_network.TASKS])
def test_a_graph_comes_back_from_its_network(space, task):
    family = FAMILIES[space]
    for spec in (EXAMPLE[space], *family.sample(2, np.random.default_rng(len(task)))):
        graph = family.to_graph(spec, task=task, resolution=64)
        inputs = [torch.zeros(1, 3, 64, 64)] * (9 if task == "jigsaw" else 1)
        back = trace(realise(graph), *inputs, kinds=graph.kinds)
        assert canonical_hash(graph) == canonical_hash(back), spec


@both
def test_many_graphs_come_back_from_their_networks(space):
    family = FAMILIES[space]
    for spec in family.sample(12, np.random.default_rng(5)):
        graph = family.to_graph(spec, resolution=32)
        back = trace(realise(graph), torch.zeros(1, 3, 32, 32), kinds=graph.kinds)
        assert canonical_hash(graph) == canonical_hash(back), spec


@both
def test_a_network_trains(space):
    network = realise(FAMILIES[space].to_graph(EXAMPLE[space], resolution=32))
    network(torch.randn(2, 3, 32, 32)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_the_nine_tiles_share_their_encoder():
    graph = transnas_macro.to_graph("1234", task="jigsaw")
    counted = operations(graph)
    assert (counted["input"], counted["concat"], counted["linear"]) == (9, 1, 1)
    shared = graph.weight_id[graph.having("conv", "batch_norm")]
    assert set(Counter(shared.tolist()).values()) == {9}
    network = realise(graph)
    assert sum(parameter.numel() for parameter in network.parameters()) == params(graph)
    assert network(*(torch.zeros(1, 3, 64, 64) for _ in range(9))).shape == (1, 1_000)


def test_the_macro_shortcut_has_the_authors_eps():
    graph = transnas_macro.to_graph("1234")
    eps = Counter(graph.kinds[kind].settings.get("eps") for kind in graph.kind[graph.having("batch_norm")].tolist())
    assert eps == {None: 2 + 16, 1.0: 3}  # one shortcut for each of modules 2, 3 and 4


def test_dead_edges_keep_their_parameters_and_die_in_the_live_graph():
    kinds = KindTable()
    dead, none = (transnas_micro.to_graph(spec, kinds, task="encoder") for spec in ("3_00_000", "0_00_000"))
    assert params(none) == 19_488
    assert params(dead) > params(none)
    assert canonical_hash(live(dead)) == canonical_hash(live(none))


# The spaces


@both
def test_enumeration(space):
    family, table = FAMILIES[space], FAMILIES[space].enumerate_specs()
    assert table.schema == ARCHITECTURES
    assert table["arch_id"].to_pylist() == [family.arch_id(spec) for spec in SPECS[space]]
    assert family.arch_id(EXAMPLE[space]) == f"transnas_{space}/{EXAMPLE[space]}"
    assert set(pc.cast(table["family"], pa.string()).to_pylist()) == {f"transnas_{space}"}


@both
def test_samples_are_distinct_and_repeat_with_their_generator(space):
    family, size = FAMILIES[space], len(SPECS[space])
    drawn = family.sample(1_000, np.random.default_rng(3))
    assert len(set(drawn)) == 1_000
    assert set(drawn) <= set(SPECS[space])
    assert drawn == family.sample(1_000, np.random.default_rng(3))
    assert sorted(family.sample(size, np.random.default_rng(0))) == sorted(SPECS[space])
    with pytest.raises(ConfigError, match=f"the size of a sample .* 0 to {size:,} architectures, got {size + 1}"):
        family.sample(size + 1, np.random.default_rng(0))


def test_a_mutation_of_a_cell_reaches_all_18_neighbours():
    rng = np.random.default_rng(0)
    near = {transnas_micro.mutate("1_02_333", rng) for _ in range(1_000)}
    assert len(near) == 18
    for spec in near:
        assert sum(a != b for a, b in zip("1_02_333", spec, strict=True)) == 1


def distance(a: str, b: str) -> int:
    """Levenshtein's."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        left, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(left[j] + 1, row[-1] + 1, left[j - 1] + (x != y)))
    return row[-1]


@pytest.mark.parametrize("spec", ["1234", "44213", "342314", "111114"])
def test_a_mutation_of_a_skeleton_reaches_all_its_neighbours(spec):
    rng = np.random.default_rng(0)
    near = {transnas_macro.mutate(spec, rng) for _ in range(2_000)}
    assert near == {other for other in SPECS["macro"] if distance(spec, other) == 1}


@both
def test_a_crossover_takes_one_operation_of_the_second(space):
    family, rng = FAMILIES[space], np.random.default_rng(0)
    for _ in range(300):
        first, second = family.sample(2, rng)
        child = family.crossover(first, second, rng)
        family.arch_id(child)
        changed = [place for place, (old, new) in enumerate(zip(first, child, strict=True)) if old != new]
        assert len(changed) <= 1
        assert all(child[place] in second for place in changed)
    assert family.crossover(EXAMPLE[space], EXAMPLE[space], rng) != ""


def test_a_crossover_without_a_pair_leaves_the_first():
    rng = np.random.default_rng(0)
    assert transnas_micro.crossover("1_11_111", "1_11_111", rng) == "1_11_111"
    assert transnas_macro.crossover("4111", "1114", rng) in ("4111", "4411", "4141", "4114")
    assert transnas_macro.crossover("1114", "1114", rng) in ("4114", "1414", "1144")


def test_the_cell_has_its_operations_as_vertices():
    cell = transnas_micro.cell("1_02_333")
    assert cell.operations == ("input", "skip", "none", "conv1x1", "conv3x3", "conv3x3", "conv3x3", "output")
    assert cell.paths() == {("conv3x3",): 2, ("conv1x1", "conv3x3"): 1}


BAD = {
    "micro": ["", "102333", "1_02_334", "1_02_3333", "64-41414-1_02_333", "1_02_333\n"],
    "macro": ["", "123", "1111", "1113333", "22224", "33333", "1235", "1222242", "64-1234-basic", "1234\n", "12"],
}


@pytest.mark.parametrize(("space", "spec"), [(space, spec) for space in BAD for spec in BAD[space]])
def test_a_spec_that_is_none_is_refused(space, spec):
    family, rng = FAMILIES[space], np.random.default_rng(0)
    message = re.escape(f"the spec of an architecture of transnas_{space}") + ".*" + re.escape(repr(spec))
    calls = [family.arch_id, family.to_graph, lambda text: family.mutate(text, rng)]
    calls += [lambda text: family.crossover(text, EXAMPLE[space], rng)]
    calls += [lambda text: family.crossover(EXAMPLE[space], text, rng)]
    calls += [transnas_micro.cell] if space == "micro" else []
    for call in calls:
        with pytest.raises(SpecError, match=message):
            call(spec)


@both
def test_an_unknown_task_or_resolution_is_refused(space):
    with pytest.raises(ConfigError, match=r"the task of a network .* one of class_object, .* or encoder, got 'depth'"):
        FAMILIES[space].to_graph(EXAMPLE[space], task="depth")
    with pytest.raises(ConfigError, match=r"the resolution of a network's images .* one pixel or more, got 0"):
        FAMILIES[space].to_graph(EXAMPLE[space], resolution=0)


# Labels

TASK_RANGES = {
    "class_object": (20, 48, "percent"),
    "class_scene": (7, 58, "percent"),
    "room_layout": (-3, 0, "negative loss"),
    "jigsaw": (0, 98, "percent"),
    "segmentsemantic": (90, 96, "percent"),
    "autoencoder": (0, 1, "ssim"),
    "normal": (0, 1, "ssim"),
}


@both
def test_the_labels_are_the_tables_columns(space, tables_dir):
    path = tables_dir / f"transnas101_{space}.parquet"
    labels, table = FAMILIES[space].LABEL_SOURCES["tables"](path), pq.read_table(path)
    assert labels.schema == LABELS
    names, units = (pc.cast(labels[column], pa.string()) for column in ("label", "unit"))
    assert len(labels) == 7 * len(SPECS[space])
    arch_ids = [f"transnas_{space}/{TABLE_SPEC[space](arch)}" for arch in table["arch"].to_pylist()]
    for task, (low, high, unit) in TASK_RANGES.items():
        epochs = {"jigsaw": 10, "segmentsemantic": 30, "autoencoder": 30, "normal": 30}.get(task, 25)
        mask = pc.equal(names, f"{task}/validation@{epochs}/run0")
        found = labels.filter(mask)
        assert found["arch_id"].to_pylist() == arch_ids
        assert found["value"].to_pylist() == table[f"val_{task}"].to_pylist()
        assert units.filter(mask).unique().to_pylist() == [unit]
        assert low <= min(found["value"].to_pylist())
        assert max(found["value"].to_pylist()) <= high


def test_more_convolutions_are_better_on_average(tables_dir):
    """Any slip in the order of edges or the codes of operations would weaken this."""
    table = pq.read_table(tables_dir / "transnas101_micro.parquet", columns=["arch", "val_class_object"])
    paths = [len(transnas_micro.cell(transnas_micro.spec_of(arch)).paths()) for arch in table["arch"].to_pylist()]
    accuracy = table["val_class_object"].to_numpy()
    dead = np.array(paths) == 0
    assert len(set(np.round(accuracy[dead], 3))) < 20
    assert accuracy[dead].max() < 30 < np.median(accuracy[~dead])


def small_table(path, arch):
    columns = {"arch": arch} | {f"val_{task}": [0.5] * len(arch) for task in TASK_RANGES}
    schema = pa.schema([("arch", pa.large_string()), *((name, pa.float64()) for name in list(columns)[1:])])
    pq.write_table(pa.table(columns, schema), path)
    return path


def test_a_table_of_the_other_space_is_refused(tmp_path):
    path = small_table(tmp_path / "x.parquet", ["010203", "010204"])
    with pytest.raises(
        TableError, match=r"expected each of the 4,096 .* once, got 2; not of the space: \['0_10_204'\]"
    ):
        transnas_micro.LABEL_SOURCES["tables"](path)
    doubled = small_table(tmp_path / "y.parquet", [*SPECS["macro"], "1234"])
    with pytest.raises(TableError, match="got 3,257; not of the space: none, missing: none"):
        transnas_macro.LABEL_SOURCES["tables"](doubled)


def test_a_table_with_a_bad_value_is_refused(tmp_path):
    path = tmp_path / "x.parquet"
    table = pq.read_table(small_table(path, SPECS["macro"]))
    pq.write_table(table.set_column(1, "val_class_object", pa.array([101.0] * len(table))), path)
    with pytest.raises(TableError, match=r"the label class_object/validation@25/run0 .* got 101.0"):
        transnas_macro.LABEL_SOURCES["tables"](path)


def test_the_rule_of_the_macro_space_bites_on_both_sides():
    strings = {"".join(digits) for n in (3, 4, 5, 6, 7) for digits in itertools.product("1234", repeat=n)}
    assert len(strings & set(SPECS["macro"])) == 3_256
    assert not {"2111", "3111", "2222444"} & set(SPECS["macro"])
    assert {"4111", "1114", "2311", "342314"} <= set(SPECS["macro"])
