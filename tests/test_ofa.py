"""Once-for-All's three families against the authors' networks and published counts."""

import ast
import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch

from archgauge.errors import SpecError, TableError
from archgauge.families import ofa_mbv3, ofa_proxyless, ofa_resnet50
from archgauge.families._mobile_blocks import round_channels
from archgauge.graphs import cost
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.graph import Graphs, concatenate
from archgauge.graphs.operations import KindTable
from archgauge.graphs.realise import realise
from archgauge.graphs.trace import trace
from archgauge.schemas import LABELS

FAMILIES = {"ofa_mbv3": ofa_mbv3, "ofa_proxyless": ofa_proxyless, "ofa_resnet50": ofa_resnet50}
SAMPLES = {name: family.sample(4, np.random.default_rng(5)) for name, family in FAMILIES.items()}
MBV3_SAMPLE = {"ks": [5] * 20, "e": [4] * 20, "d": [2, 3, 4, 2, 2]}
RESNET_SAMPLE = {"w": [0, 1, 2, 1, 0, 2], "d": [2, 0, 1, 2, 0], "e": [0.2, 0.25, 0.35] * 6}


def spec_from(name: str, row: dict) -> str:
    """The spec of a truth row, from its raw sample of the supernet."""
    sampled = json.loads(row["ofa_sample"])
    if name == "ofa_mbv3":
        return ofa_mbv3.from_ofa(sampled, 1.2, row["resolution"])
    return FAMILIES[name].from_ofa(sampled, row["resolution"])


def operations(graphs: Graphs) -> list[str]:
    return [graphs.kinds[index].operation for index in graphs.kind]


def modules(graphs: Graphs) -> Counter:
    """Histogram of a graph in the names of PyTorch modules, without those that compute nothing."""
    names = {
        "batch_norm": "BatchNorm2d",
        "linear": "Linear",
        "hardswish": "Hswish",
        "hardsigmoid": "Hsigmoid",
        "relu": "ReLU",
        "relu6": "ReLU6",
        "max_pool": "MaxPool2d",
        "avg_pool": "AvgPool2d",
    }
    found = Counter(names[name] for name in operations(graphs) if name in names)
    for index in graphs.kind:
        kind = graphs.kinds[index]
        if kind.operation == "conv":
            found["Conv2d_depthwise" if kind.groups == kind.inputs[0][2] > 1 else "Conv2d"] += 1
    return found


def aten(graphs: Graphs) -> Counter:
    """Histogram of a graph in ATen operations, as GENNAPE's modules run them: h-swish is x * relu6(x + 3) / 6."""
    count = Counter(operations(graphs))
    return Counter(
        {
            "add": count["add"],
            "add_scalar": count["hardsigmoid"] + count["hardswish"],
            "addmm": count["linear"],
            "avg_pool2d": count["avg_pool"],
            "convolution": count["conv"],
            "div": count["hardsigmoid"],
            "hardtanh": count["relu6"] + count["hardsigmoid"] + count["hardswish"],
            "max_pool2d_with_indices": count["max_pool"],
            "mean": count["global_avg_pool"],
            "mul": count["mul"] + count["hardswish"],
            "mul_scalar": count["hardswish"],
            "native_batch_norm": count["batch_norm"],
            "relu": count["relu"],
        }
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_all_subnets_are_the_authors(name, tables_dir):
    """100 subnets each: parameters, MACs and histograms of once-for-all's and of GENNAPE's own networks."""
    rows = pq.read_table(tables_dir / "truth" / f"{name}.parquet").to_pylist()
    assert len(rows) == 100
    for row in rows:
        graph = FAMILIES[name].to_graph(spec_from(name, row))
        assert (cost.params(graph)[0], cost.macs(graph)[0]) == (row["params"], row["macs"])
        assert (row["params_ofa_repo"], row["macs_ofa_repo"]) == (row["params"], row["macs"])
        theirs = Counter(json.loads(row["modules_ofa_repo"]))
        skips = theirs.pop("IdentityLayer")
        for idle in ("Dropout", "MyGlobalAvgPool2d"):
            del theirs[idle]
        assert modules(graph) == theirs
        theirs = Counter(json.loads(row["functional"]))
        if name == "ofa_resnet50":
            theirs["mean"] -= 1  # the authors' global pool averages over one axis after the other
            skips += theirs["avg_pool2d"]  # a projected shortcut for each average pool
        assert aten(graph) == theirs
        assert operations(graph).count("add") == row["adds"] == skips
        assert graph.params_outside.tolist() == [0]


@pytest.mark.parametrize("name", ["ofa_mbv3", "ofa_proxyless"])
def test_gennape_names_blocks_of_the_same_subnet(name, tables_dir):
    width = (1.2,) if name == "ofa_mbv3" else ()
    for row in pq.read_table(tables_dir / "truth" / f"{name}.parquet").to_pylist():
        config = json.loads(row["config"])
        assert FAMILIES[name].from_blocks(config["blocks"], *width, config["resolution"]) == spec_from(name, row)


def test_the_published_counts_of_width_1_are_exact(tables_dir):
    """Every row of DyNAS-T's measurements, read here without the family's own reader."""
    rows = pq.read_table(tables_dir / "ofa_mbv3_w10.parquet").to_pylist()
    assert len(rows) == 2_223
    specs = [ofa_mbv3.from_ofa(ast.literal_eval(row["Sub-network"]), 1.0, 224) for row in rows]
    kinds = KindTable()
    graphs = concatenate([ofa_mbv3.to_graph(spec, kinds) for spec in specs])
    assert cost.params(graphs).tolist() == [row["Model Parameters"] for row in rows]
    assert cost.macs(graphs).tolist() == [row["MACs"] for row in rows]
    published = ofa_mbv3.published_costs(tables_dir / "ofa_mbv3_w10.parquet")
    assert published["arch_id"].to_pylist() == list(dict.fromkeys(f"ofa_mbv3/{spec}" for spec in specs))
    assert len(published) == 2_162


# Skeletons


def run_of(graph: Graphs, first: str, length: int) -> list[str]:
    names = operations(graph)
    return names[names.index(first) :][:length]


def test_squeeze_excite_stands_behind_the_depthwise_activation():
    graph = ofa_mbv3.to_graph(ofa_mbv3.from_ofa(MBV3_SAMPLE, 1.0, 224))
    squeeze = ["global_avg_pool", "conv", "relu", "conv", "hardsigmoid", "mul", "conv", "batch_norm"]
    assert run_of(graph, "global_avg_pool", 8) == squeeze
    first = operations(graph).index("global_avg_pool")
    assert operations(graph)[first - 3 : first] == ["conv", "batch_norm", "relu"]
    narrow, wide = (graph.kinds[graph.kind[first + step]] for step in (1, 3))
    assert (narrow.bias, wide.bias) == (True, True)
    assert (narrow.inputs[0][2], narrow.outputs[0][2]) == (96, 24)  # 24 channels, expansion 4, a quarter


def test_the_head_of_mbv3_mixes_features_behind_the_pool():
    names = operations(ofa_mbv3.to_graph(SAMPLES["ofa_mbv3"][0]))
    assert names[-7:] == ["batch_norm", "hardswish", "global_avg_pool", "conv", "hardswish", "linear", "output"]


def test_activations_and_eps_are_those_of_the_supernets():
    for name, eps in (("ofa_mbv3", None), ("ofa_proxyless", 1e-3), ("ofa_resnet50", None)):
        graph = FAMILIES[name].to_graph(SAMPLES[name][0])
        assert {kind.settings.get("eps") for kind in graph.kinds if kind.operation == "batch_norm"} == {eps}
    proxyless = set(operations(ofa_proxyless.to_graph(SAMPLES["ofa_proxyless"][0])))
    assert not proxyless & {"relu", "hardswish", "mul"}


def test_a_shortcut_of_resnet_is_pooled_before_its_convolution():
    """At 132 pixels a map of 33 is halved to 17: the last window hangs over."""
    graph = ofa_resnet50.to_graph(ofa_resnet50.from_ofa(RESNET_SAMPLE, 132))
    pools = [graph.kinds[index] for index in graph.kind if graph.kinds[index].operation == "avg_pool"]
    assert [(pool.kernel, pool.inputs[0][0], pool.outputs[0][0]) for pool in pools] == [
        ((1, 1), 33, 33),
        ((2, 2), 33, 17),
        ((2, 2), 17, 9),
        ((2, 2), 9, 5),
    ]
    assert operations(graph).count("max_pool") == 1


def test_widths_of_resnet_give_different_channels():
    """Each text is another network: rounding to multiples of 8 makes no two choices one, but inside the stem."""
    for base in (64, 256, 512, 1024, 2048):
        widths = {round_channels(base * width) for width in (0.65, 0.8, 1.0)}
        assert len(widths) == 3
        for channels in widths if base > 64 else ():
            assert len({round_channels(round(channels * ratio)) for ratio in (0.2, 0.25, 0.35)}) == 3
            assert all(round(channels * r) == round(channels * p / 100) for r, p in ((0.2, 20), (0.25, 25), (0.35, 35)))
    stems = [round_channels(round_channels(64 * width) // 2) for width in (0.65, 0.8, 1.0)]
    assert stems == [24, 24, 32]


def test_channels_are_rounded_as_the_authors_do():
    """At least 90 % of the wish: 19.2 becomes 24, not 16."""
    assert [round_channels(wish) for wish in (3, 12, 16, 19.2, 20.8, 31.2, 124.8, 166.4)] == [
        *(8, 16, 16, 24, 24, 32, 128, 168),
    ]


# Specs


def test_the_spaces_are_counted():
    stage = 9**2 + 9**3 + 9**4
    assert ofa_mbv3.SPACE.size == 2 * 25 * stage**5
    assert ofa_proxyless.SPACE.size == 25 * stage**5 * 9
    ratios = 3**2 + 3**3 + 3**4
    assert ofa_resnet50.SPACE.size == 25 * 2 * 3 * 2 * (3 * ratios) ** 3 * 3 * (9 * ratios)


def test_unused_slots_do_not_count():
    other = MBV3_SAMPLE | {"ks": [*MBV3_SAMPLE["ks"][:18], 3, 7], "e": [4, 4, 6, 3, *MBV3_SAMPLE["e"][4:]]}
    spec = ofa_mbv3.from_ofa(MBV3_SAMPLE, 1.2, 160)
    assert ofa_mbv3.from_ofa(other, 1.2, 160) == spec
    assert spec == "w1.2-r160-e4k5,e4k5-e4k5,e4k5,e4k5-e4k5,e4k5,e4k5,e4k5-e4k5,e4k5-e4k5,e4k5"
    assert ofa_mbv3.arch_id(spec) == f"ofa_mbv3/{spec}"


def test_a_resnet_sample_is_read_into_its_spec():
    spec = "r128-m24o48s1-w100:20,25-w80:25,35,20-w65:35,20,25,35,20,25-w100:35,20"
    assert ofa_resnet50.from_ofa(RESNET_SAMPLE, 128) == spec
    same = RESNET_SAMPLE | {"w": [1, 1, 2, 1, 0, 2]}  # both have 24 channels inside the stem
    assert ofa_resnet50.from_ofa(same, 128) == spec
    for skipped in (0, 1):
        without = RESNET_SAMPLE | {"d": [skipped, 0, 1, 2, 0]}
        assert ofa_resnet50.from_ofa(without, 128) == spec.replace("s1", "s0")
    assert ofa_resnet50.arch_id(spec) == f"ofa_resnet50/{spec}"


def test_the_last_stage_of_proxyless_is_one_block():
    """The supernet itself takes at most as many blocks as a stage has."""
    sampled = {"ks": [3] * 21, "e": [6] * 21, "d": [2, 2, 2, 2, 2, 1]}
    spec = "w1.3-r192-" + "-".join(["e6k3,e6k3"] * 5) + "-e6k3"
    assert ofa_proxyless.from_ofa(sampled, 192) == spec
    assert ofa_proxyless.from_ofa(sampled | {"d": [2, 2, 2, 2, 2, 4]}, 192) == spec
    assert ofa_proxyless.arch_id(spec) == f"ofa_proxyless/{spec}"


@pytest.mark.parametrize(
    "change",
    [
        *({"d": [2, 2, 2, 2]}, {"d": [1, 2, 2, 2, 2]}, {"d": [-1, 2, 2, 2, 2]}, {"d": "22222"}, {"d": None}),
        *({"ks": [5] * 19}, {"ks": [4] * 20}, {"e": [5] * 20}, {"e": None}, {"ks": [5] * 24, "e": [4] * 24}),
    ],
)
def test_a_sample_of_another_supernet_is_refused(change):
    with pytest.raises(SpecError, match="spec of an architecture of ofa_mbv3"):
        ofa_mbv3.from_ofa(MBV3_SAMPLE | change, 1.0, 224)


def test_what_a_sample_should_be_is_said():
    with pytest.raises(SpecError, match=r"`d` for 5 stages, and `ks` and `e` for 4 \+ 4 \+ 4 \+ 4 \+ 4 slots, got {}"):
        ofa_mbv3.from_ofa({}, 1.0, 224)
    with pytest.raises(SpecError, match="6 indices `w` and 5 depths `d`"):
        ofa_resnet50.from_ofa({}, 224)


@pytest.mark.parametrize(("width", "resolution"), [(1.1, 224), (1.0, 225), (1.0, 256), (1.0, 124)])
def test_another_width_or_resolution_is_refused(width, resolution):
    with pytest.raises(SpecError, match=r"7 segments like w1.2-r224-e6k7,e6k7,e6k7,e6k7"):
        ofa_mbv3.from_ofa(MBV3_SAMPLE, width, resolution)


@pytest.mark.parametrize(
    "change",
    [
        *({"w": [0, 1, 2, 1, 0]}, {"w": [3, 1, 2, 1, 0, 2]}, {"w": [0, 1, 2, 1, 0, -1]}, {"d": [2, 0, 1, 2]}),
        *({"d": [2, 0, 1, 3, 0]}, {"d": [2, 0, -1, 2, 0]}, {"e": [0.2] * 17}, {"e": [0.2] * 19}, {"e": [0.204] * 18}),
    ],
)
def test_a_sample_of_another_resnet_is_refused(change):
    with pytest.raises(SpecError, match="spec of an architecture of ofa_resnet50"):
        ofa_resnet50.from_ofa(RESNET_SAMPLE | change, 128)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_bad_spec_is_refused_by_every_function(name):
    family = FAMILIES[name]
    for spec in ("", SAMPLES[name][0] + "-", SAMPLES[name][0].replace("-r", "-x").replace("r1", "x1")):
        for use in (family.to_graph, family.arch_id, lambda text: family.mutate(text, np.random.default_rng(0))):
            with pytest.raises(SpecError, match=f"an architecture of {name}"):
                use(spec)


@pytest.mark.parametrize("name", FAMILIES)
def test_samples_are_distinct_networks_of_the_space(name):
    drawn = FAMILIES[name].sample(300, np.random.default_rng(3))
    assert len(set(drawn)) == 300
    assert drawn == FAMILIES[name].sample(300, np.random.default_rng(3))
    kinds = KindTable()
    graphs = concatenate([FAMILIES[name].to_graph(spec, kinds) for spec in drawn])
    assert len(set(canonical_hash(graphs).tolist())) == 300


@pytest.mark.parametrize("name", FAMILIES)
def test_a_mutation_is_another_network_of_the_same_supernet(name):
    family, rng = FAMILIES[name], np.random.default_rng(0)
    spec = SAMPLES[name][1]
    for _ in range(30):
        child = family.mutate(spec, rng)
        assert sum(a != b for a, b in zip(spec.split("-"), child.split("-"), strict=True)) == 1
        assert name != "ofa_mbv3" or child.split("-")[0] == spec.split("-")[0]
        pair = concatenate([family.to_graph(text, kinds) for kinds in [KindTable()] for text in (spec, child)])
        assert len(set(canonical_hash(pair).tolist())) == 2
        spec = child


@pytest.mark.parametrize("name", FAMILIES)
def test_a_crossover_takes_one_block_of_the_second(name):
    family, rng = FAMILIES[name], np.random.default_rng(0)
    first, second = SAMPLES[name][:2]
    for _ in range(20):
        child = family.SPACE.parse(family.crossover(first, second, rng))
        own = [block for part in family.SPACE.parse(first) for block in part.blocks]
        new = [block for part in child for block in part.blocks]
        changed = [(a, b) for a, b in zip(own, new, strict=True) if a != b]
        assert len(changed) == 1
        assert changed[0][1] in [block for part in family.SPACE.parse(second) for block in part.blocks]


# Networks


@pytest.mark.parametrize("name", FAMILIES)
def test_trace_of_the_realised_graph_is_the_graph(name):
    for spec in SAMPLES[name][:2]:
        graph = FAMILIES[name].to_graph(spec)
        height, width, channels = graph.kinds[graph.kind[0]].outputs[0]
        with torch.device("meta"):
            model = realise(graph)
        again = trace(model, torch.empty(1, channels, height, width, device="meta"), kinds=graph.kinds)
        assert canonical_hash(again).tolist() == canonical_hash(graph).tolist()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_small_network_trains_a_step(name):
    spec = min(FAMILIES[name].sample(30, np.random.default_rng(0)), key=lambda s: cost.macs(FAMILIES[name].to_graph(s)))
    graph = FAMILIES[name].to_graph(spec)
    model = realise(graph)
    result = model(torch.randn(2, 3, *graph.kinds[graph.kind[0]].outputs[0][:2]))
    assert result.shape == (2, 1000)
    result.square().mean().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in model.parameters())


# Labels


def test_labels_are_the_tables(tables_dir):
    path = tables_dir / "ofa_mbv3_w10.parquet"
    labels = ofa_mbv3.LABEL_SOURCES["tables"](path)
    assert labels.schema == LABELS
    assert labels["value"].to_pylist() == pq.read_table(path)["Top-1 Acc (%)"].to_pylist()
    names = Counter(pc.cast(labels["label"], pa.string()).to_pylist())
    assert names["imagenet/validation@0/run0+inherited"] == 2_162
    assert sum(names.values()) == 2_223
    assert set(pc.cast(labels["unit"], pa.string()).to_pylist()) == {"percent"}
    pairs = list(zip(labels["arch_id"].to_pylist(), pc.cast(labels["label"], pa.string()).to_pylist(), strict=True))
    assert len(set(pairs)) == 2_223
    images = labels["value"].to_numpy() / 100 * 50_000
    assert np.allclose(images, np.round(images), atol=1e-6)  # all of ImageNet's validation images


def test_repeated_measurements_hardly_differ(tables_dir):
    labels = ofa_mbv3.LABEL_SOURCES["tables"](tables_dir / "ofa_mbv3_w10.parquet")
    values: dict[str, list[float]] = {}
    for arch_id, value in zip(labels["arch_id"].to_pylist(), labels["value"].to_pylist(), strict=True):
        values.setdefault(arch_id, []).append(value)
    spread = [max(runs) - min(runs) for runs in values.values() if len(runs) > 1]
    assert max(spread) < 0.1


def small_table(path, **changes):
    row = {
        "Sub-network": str({"wid": None, **MBV3_SAMPLE, "r": [224]}),
        "Model Parameters": 5_000_000,
        "MACs": 250_000_000,
        "Top-1 Acc (%)": 75.0,
    } | changes
    types = {"Sub-network": pa.large_string(), "Top-1 Acc (%)": pa.float64()}
    schema = pa.schema([(name, types.get(name, pa.int64())) for name in row])
    pq.write_table(pa.Table.from_pylist([row], schema), path)
    return path


@pytest.mark.parametrize(
    "text",
    [
        *("", "[1, 2]", "__import__('os').getcwd()", "(" * 5_000, "{'ks': [5], 'e': [4], 'd': [2], 'r': [224]}", None),
        *(str(MBV3_SAMPLE), str(MBV3_SAMPLE | {"r": [100]}), str(MBV3_SAMPLE | {"r": []}), "0" * 10**6),
    ],
)
def test_a_row_that_is_no_subnet_is_refused(tmp_path, text):
    path = small_table(tmp_path / "x.parquet", **{"Sub-network": text})
    with pytest.raises(
        TableError, match=r"the sample of a subnet at .*x.parquet, row 0: expected a dictionary with ks"
    ):
        ofa_mbv3.LABEL_SOURCES["tables"](path)


@pytest.mark.parametrize("value", [None, -1.0, 101.0, float("nan")])
def test_a_value_that_is_no_percentage_is_refused(tmp_path, value):
    path = small_table(tmp_path / "x.parquet", **{"Top-1 Acc (%)": value})
    with pytest.raises(TableError, match="the label imagenet/validation@0/run0"):
        ofa_mbv3.LABEL_SOURCES["tables"](path)
