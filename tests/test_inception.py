"""Inception: the authors' counts, one network written out by hand, the space and its labels."""

import copy
import re

import numpy as np
import pyarrow.compute as pc
import pytest
import torch
import torch.nn.functional as F
from gennape_cases import comes_back, counted, labelled_file, learns, official_state, one_edit, traced_hash, truth
from torch import nn

from archgauge.errors import ConfigError, FormatError, SpecError
from archgauge.families import _inception_space as space
from archgauge.families import inception
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.operations import KindTable
from archgauge.schemas import LABELS

SPEC = (
    "2xconv3x3+conv1x1@16>16|depthwise5x5@16>16;"
    "2xavgpool3x3+depthwise3x3+conv3x3@32>64;"
    "2xconv5x5+double1x1@32>32|depthwise3x3+conv3x3@64>32|inception_p5x5+inception_s3x3@32>64;"
    "3xconv1x1+inception_p3x3+conv3x3@512>256"
)


def by_hand(apply, image):
    """The network of `SPEC`, layer by layer."""

    def conv(x, to, kernel, stride=1, groups=1, bias=True):
        kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = tuple(size // 2 for size in kernel)
        return apply(lambda: nn.Conv2d(x.shape[1], to, kernel, stride, padding, groups=groups, bias=bias), x)

    def cb(x, *sizes, **settings):
        x = conv(x, *sizes, **settings)
        return apply(lambda: nn.BatchNorm2d(x.shape[1]), x)

    def cbr(x, *sizes, **settings):
        return F.relu6(cb(x, *sizes, **settings))

    def separable(x, to, k, s=1):
        return cbr(cbr(x, to, (1, k), (1, s)), to, (k, 1), (s, 1))

    def parallel(x, to, k, s):
        a, b = cb(x, to // 2, (1, k), (1, s)), cb(x, to // 2, (k, 1), (s, 1))
        if s == 2:
            a, b = cb(a, to // 2, (k, 1), (2, 1)), cb(b, to // 2, (1, k), (1, 2))
        return F.relu6(torch.cat([F.relu6(a), F.relu6(b)], 1))

    def depthwise(x, to, k, s=1):
        x = x if x.shape[1] == to else conv(x, to, 1, bias=False)
        return cbr(x, to, k, s, groups=to)

    def average(x):
        return apply(lambda: nn.BatchNorm2d(x.shape[1]), apply(lambda: nn.AvgPool2d(3, 1, 1), x))

    x = cbr(image, 32, 3)
    for _ in range(2):
        x = x + torch.cat([cbr(cbr(x, 16, 3), 16, 1), depthwise(x, 16, 5)], 1)
    x = cbr(depthwise(average(x), 32, 3, 2), 64, 3)
    x = x + cbr(depthwise(average(x), 32, 3), 64, 3)
    for s in (2, 1):
        a = cbr(cbr(cbr(x, 32, 5, s), 32, 1), 32, 1)
        b = cbr(depthwise(x, 64, 3, s), 32, 3)
        c = separable(parallel(x, 32, 5, s), 64, 3)
        y = torch.cat([a, b, c], 1)
        x = y if s == 2 else y + x
    x = cbr(parallel(cbr(x, 512, 1), 512, 3, 2), 256, 3)
    for _ in range(2):
        x = x + cbr(parallel(cbr(x, 512, 1), 512, 3, 1), 256, 3)
    x = cbr(x, 512, 3)
    return apply(lambda: nn.Linear(512, 10), x.mean((2, 3)))


def config_of(spec):
    """The authors' configuration of a spec of four stages."""
    stages, before = [], 32
    for stage, (after, stride) in zip(space.parse(spec), ((32, 1), (64, 2), (128, 2), (256, 2)), strict=True):
        paths = [
            {
                "ops": list(path.operators),
                "op_types": ["supp" if name in space.SUPPLEMENTARY_OPERATORS else "conv" for name in path.operators],
                **{"C_internal": path.inner, "C_out": path.outer},
            }
            for path in stage.paths
        ]
        sizes = {"n_blocks": stage.blocks, "C_in": before, "C_out": after, "stride": stride}
        stages.append({"block": {"paths": paths}, **sizes})
        before = after
    return {"stages": stages}


def test_every_count_is_that_of_the_authors_network(tables_dir):
    rows = truth(tables_dir, "inception")
    kinds = KindTable()
    assert len(rows) == 200
    for config, counts in rows:
        assert counted(inception.to_graph(space.spec_of_config(config), kinds)) == counts


def test_a_network_is_the_one_written_by_hand():
    assert canonical_hash(inception.to_graph(SPEC))[0] == traced_hash(by_hand)


def test_a_configuration_and_its_spec(tables_dir):
    config = config_of(SPEC)
    assert space.spec_of_config(config) == SPEC
    config["stages"][2]["block"]["paths"].reverse()
    assert space.spec_of_config(config) == SPEC
    assert inception.spec_of(inception.parse(SPEC)) == SPEC
    assert re.fullmatch("inception/[0-9a-f]{16}", inception.arch_id(SPEC))
    for config, _ in truth(tables_dir, "inception"):
        spec = space.spec_of_config(config)
        assert space.spec_of_config(config_of(spec)) == spec


def test_graphs_come_back_from_their_networks():
    for spec in (SPEC, *inception.sample(2, np.random.default_rng(1))):
        assert comes_back(inception.to_graph(spec))


def test_a_network_learns():
    torch.manual_seed(0)
    assert learns(inception.to_graph(SPEC))


def shares(values):
    found, counts = np.unique(list(values), return_counts=True)
    return dict(zip(found.tolist(), (counts / counts.sum()).tolist(), strict=True))


def test_samples_are_drawn_as_the_authors_draw_them(tables_dir):
    specs = inception.sample(1000, np.random.default_rng(0))
    assert len(set(specs)) == 1000
    stages = [stage for spec in specs for stage in inception.parse(spec)]
    assert shares(stage.blocks for stage in stages) == pytest.approx(dict.fromkeys(range(2, 7), 1 / 5), abs=0.03)
    assert shares(len(stage.paths) for stage in stages) == pytest.approx(dict.fromkeys(range(1, 5), 1 / 4), abs=0.03)
    last = [path for spec in specs for path in inception.parse(spec)[-1].paths]  # wide enough for every inner width
    free = [path for path in last if sum(name in space.CHANNEL_CHANGERS for name in path.operators) > 1]
    assert shares(p.inner / p.outer for p in free) == pytest.approx({0.5: 0.3, 1: 0.6, 2: 0.1}, abs=0.04)
    theirs = [inception.parse(space.spec_of_config(config)) for config, _ in truth(tables_dir, "inception")]
    for count in range(1, 5):
        ours, drawn = (
            [sum(len(p.operators) for p in s.paths) for s in some if len(s.paths) == count]
            for some in (stages, [stage for network in theirs for stage in network])
        )
        assert np.mean(ours) == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / np.sqrt(len(drawn)))


def test_the_paper_s_variant_has_three_stages_that_all_reduce():
    specs = inception.sample(50, np.random.default_rng(0), variant="paper")
    networks = [inception.parse(spec) for spec in specs]
    assert {len(network) for network in networks} == {3}
    assert {stage.blocks for network in networks for stage in network} == {2, 3, 4}
    graph = inception.to_graph(specs[0])
    sizes = [graph.kinds[k].outputs[0] for k in graph.kind if graph.kinds[k].operation == "batch_norm"]
    assert sizes[0] == (32, 32, 32)
    assert sizes[-1] == (4, 4, 512)
    assert {size[0] for size in sizes} == {4, 8, 16, 32}
    rng = np.random.default_rng(0)
    assert {len(inception.parse(inception.mutate(spec, rng))) for spec in specs} == {3}
    with pytest.raises(ConfigError, match=r"variant.* expected one of code, paper, got 'tf'"):
        inception.sample(1, rng, variant="tf")


def edit(first, second):
    """Which one edit leads from one stage to another; None for anything else."""
    if first.paths == second.paths and abs(first.blocks - second.blocks) == 1:
        return "blocks"
    if first.blocks != second.blocks:
        return None
    a, b = ([path.operators for path in stage.paths] for stage in (first, second))
    if sorted(a) == sorted(b):
        same = sorted(p.outer for p in first.paths) == sorted(p.outer for p in second.paths)
        return "widths" if same else None
    rest_a, rest_b = list(a), list(b)
    for operators in a:
        if operators in rest_b:
            rest_a.remove(operators), rest_b.remove(operators)
    if len(rest_a) + len(rest_b) == 1:
        return "paths"
    one = len(rest_a) == len(rest_b) == 1 and one_edit(list(rest_a[0]), list(rest_b[0]))
    return "operators" if one else None


def test_mutation_is_one_edit_of_one_stage():
    rng = np.random.default_rng(0)
    kinds = set()
    for spec in inception.sample(40, rng):
        for _ in range(5):
            first, second = inception.parse(spec), inception.parse(inception.mutate(spec, rng))
            changed = [(a, b) for a, b in zip(first, second, strict=True) if a != b]
            assert len(changed) == 1
            kinds.add(edit(*changed[0]))
    assert kinds == {"blocks", "widths", "operators", "paths"}


def test_crossover_takes_one_operator_of_the_second():
    rng = np.random.default_rng(0)
    first = ";".join(f"2xconv3x3@{c}>{c}" for c in (32, 64, 128, 256))
    second = ";".join(f"2xconv5x5+maxpool3x3@{c}>{c}" for c in (32, 64, 128, 256))
    stages = first.split(";")
    found = {inception.crossover(first, second, rng) for _ in range(100)}
    assert found == {
        ";".join([*stages[:place], stages[place].replace("3x3", "5x5"), *stages[place + 1 :]]) for place in range(4)
    }
    assert inception.crossover(first, first, rng) == first


@pytest.mark.parametrize(
    "spec",
    [
        *("", None, SPEC + " ", SPEC + ";", ";".join(SPEC.split(";")[:2]), SPEC.replace("2x", "1x", 1)),
        SPEC.replace("3xconv1x1", "7xconv1x1"),
        SPEC.replace("conv3x3+conv1x1@16>16|depthwise5x5@16>16", "depthwise5x5@16>16|conv3x3+conv1x1@16>16"),
        SPEC.replace("depthwise5x5@16>16", "depthwise5x5@32>16"),  # one operator has no inside
        SPEC.replace("512>256", "1024>256"),
        SPEC.replace("512>256", "512>128"),
        SPEC.replace("conv1x1+inception_p3x3+conv3x3", "conv1x1+inception_p3x3+conv3x3+conv3x3"),
        SPEC.replace("conv1x1+inception_p3x3+conv3x3", "conv1x1+inception_p3x3+avgpool3x3"),
        SPEC.replace("conv1x1+inception_p3x3+conv3x3", "conv1x1"),
        SPEC.replace("conv1x1+inception_p3x3+conv3x3", "conv9x9+conv3x3"),
        SPEC.replace("conv5x5+double1x1", "conv5x5"),  # of three paths each has two operators
        SPEC.replace("512>256", "0512>256"),
    ],
)
def test_a_bad_spec_is_named(spec):
    for use in (inception.parse, inception.arch_id, inception.to_graph):
        with pytest.raises(SpecError, match=f"inception.* got {re.escape(repr(spec))}"):
            use(spec)


def changed(change):
    config = copy.deepcopy(config_of(SPEC))
    change(config["stages"])
    return config


@pytest.mark.parametrize(
    "config",
    [
        *(None, [], {}, {"stages": 3}, {"stages": []}, "stages"),
        changed(lambda s: s.pop()),
        changed(lambda s: s[0].update(stride=2)),
        changed(lambda s: s[1].update(C_in=16)),
        changed(lambda s: s[1].update(n_blocks="2")),
        changed(lambda s: s[0]["block"].update(paths=[])),
        changed(lambda s: s[0]["block"]["paths"][0].update(op_types=["conv", "conv"])),
        changed(lambda s: s[0]["block"]["paths"][0].update(C_out=17)),
        changed(lambda s: s[0]["block"]["paths"][0].update(C_internal=None)),
        changed(lambda s: s[0]["block"]["paths"][0].update(ops=[["conv3x3"], "conv1x1"])),
    ],
)
def test_a_bad_configuration_is_named(config):
    with pytest.raises(SpecError, match=r"stages of block\.paths with ops"):
        space.spec_of_config(config)


def test_labels_are_those_of_the_file(tmp_path):
    state = official_state(inception.to_graph(SPEC))
    network = {"net_config": config_of(SPEC), "max_perf": 94.03, "perfs": [93, 94.03], "cg": state}
    labels = inception.LABEL_SOURCES["gennape"](labelled_file(tmp_path / "x.json", {"0": network}))
    assert labels.schema == LABELS
    names = ["cifar10/test@500/max", "cifar10/test@500/perf0", "cifar10/test@500/perf1"]
    assert pc.cast(labels["label"], "string").to_pylist() == names
    assert labels["arch_id"].to_pylist() == [inception.arch_id(SPEC)] * 3
    assert labels["value"].to_pylist() == [94.03, 93.0, 94.03]
    with pytest.raises(FormatError, match=r"key '0': expected stages of block\.paths"):
        inception.LABEL_SOURCES["gennape"](labelled_file(tmp_path / "x.json", {"0": {**network, "net_config": 1}}))


def test_the_data_sheet_is_whole():
    assert {"title", "space", "labels", "licence", "citation"} <= set(inception.DATASHEET)
    assert set(inception.REMOTES) == set(inception.LABEL_SOURCES)
