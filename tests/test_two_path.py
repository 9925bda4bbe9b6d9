"""Two-Path: the authors' counts, one network written out by hand, the space and its labels."""

import copy
import itertools
import re
from collections import Counter

import numpy as np
import pyarrow.compute as pc
import pytest
import torch
import torch.nn.functional as F
from gennape_cases import comes_back, counted, labelled_file, learns, official_state, one_edit, traced_hash, truth
from torch import nn

from archgauge.errors import ConfigError, FormatError, SpecError
from archgauge.families import two_path
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.operations import KindTable
from archgauge.schemas import LABELS

SPEC = (
    "avgpool3x3+conv5x5/2,double3x3+bottleneck-r2-k1/2|inception_s5x5/2,maxpool3x3+bottleneck-e2-k3,conv1x1+conv3x3/2"
)
CONFIG = {
    "path1": [
        {"op_names": ["inception_s5x5"], "op_types": ["conv"]},
        {"op_names": ["maxpool3x3", "bottleneck-e2-k3"], "op_types": ["supp", "conv"]},
        {"op_names": ["conv1x1", "conv3x3"], "op_types": ["supp", "conv"]},
    ],
    "path2": [
        {"op_names": ["avgpool3x3", "conv5x5"], "op_types": ["supp", "conv"]},
        {"op_names": ["double3x3", "bottleneck-r2-k1"], "op_types": ["conv", "supp"]},
    ],
    "path1_reduce_inds": [0, 2],
    "path2_reduce_inds": [0, 1],
}


def by_hand(apply, image):
    """The network of `SPEC`, layer by layer."""

    def cbr(x, to, kernel, stride=1):
        kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = tuple(size // 2 for size in kernel)
        x = apply(lambda: nn.Conv2d(x.shape[1], to, kernel, stride, padding, bias=False), x)
        return F.relu6(apply(lambda: nn.BatchNorm2d(to), x))

    def pooled(x, kind):
        return apply(lambda: nn.BatchNorm2d(x.shape[1]), apply(lambda: kind(3, 1, 1), x))

    stem = cbr(cbr(image, 32, 3), 32, 3, 2)
    a = cbr(pooled(stem, nn.AvgPool2d), 64, 5, 2)
    a = cbr(cbr(a, 64, 3, 2), 128, 3)  # double3x3 with the stride, then the bottleneck at 128
    a = cbr(cbr(a, 64, 1), 128, 1)
    b = cbr(cbr(stem, 64, (1, 5), 2), 64, (5, 1))
    b = b + cbr(cbr(pooled(b, nn.MaxPool2d), 128, 3), 64, 3)
    b = cbr(cbr(b, 64, 1), 128, 3, 2)
    x = cbr(torch.cat([a, b], 1), 512, 3)
    return apply(lambda: nn.Linear(512, 10), x.mean((2, 3)))


def test_every_count_is_that_of_the_authors_network(tables_dir):
    rows = truth(tables_dir, "two_path")
    kinds = KindTable()
    assert len(rows) == 200
    for config, counts in rows:
        assert counted(two_path.to_graph(two_path.spec_of_config(config), kinds)) == counts


def test_a_network_is_the_one_written_by_hand():
    assert canonical_hash(two_path.to_graph(SPEC))[0] == traced_hash(by_hand)


def test_a_configuration_and_its_spec():
    assert two_path.spec_of_config(CONFIG) == SPEC
    swapped = {name.translate({49: 50, 50: 49}): value for name, value in CONFIG.items()}
    assert two_path.spec_of_config(swapped) == SPEC
    assert two_path.spec_of(two_path.parse(SPEC)) == SPEC
    assert two_path.arch_id(SPEC) == "two_path/" + two_path.arch_id(SPEC)[-16:]


def test_the_size_of_the_family_is_counted_by_listing():
    """Blocks are listed; paths and pairs follow from them."""
    blocks = [
        names
        for length in (1, 2, 3)
        for names in itertools.product(two_path.OPERATORS, repeat=length)
        if sum(name in two_path.SUPPLEMENTARY_OPERATORS for name in names) <= min(1, length - 1)
    ]
    assert len(blocks) == 1624
    paths = sum(len(list(itertools.combinations(range(n), 2))) * len(blocks) ** n for n in (2, 3, 4))
    assert paths * (paths + 1) // 2 == two_path.SIZE


def test_a_double_is_two_convolutions_where_nothing_changes():
    double, two = (f"conv3x3/2,conv3x3/2|conv3x3/2,conv3x3/2,{name}" for name in ("double3x3", "conv3x3+conv3x3"))
    assert canonical_hash(two_path.to_graph(double))[0] == canonical_hash(two_path.to_graph(two))[0]


def test_graphs_come_back_from_their_networks():
    for spec in (SPEC, *two_path.sample(3, np.random.default_rng(1))):
        assert comes_back(two_path.to_graph(spec))


def test_a_network_learns():
    torch.manual_seed(0)
    assert learns(two_path.to_graph(SPEC))


def test_samples_are_drawn_as_the_authors_draw_them(tables_dir):
    specs = two_path.sample(2000, np.random.default_rng(0))
    assert len(set(specs)) == 2000
    networks = [two_path.parse(spec) for spec in specs]
    paths = [path for network in networks for path in network]
    blocks = [block for path in paths for block in path]
    assert shares(map(len, paths)) == pytest.approx({2: 1 / 3, 3: 1 / 3, 4: 1 / 3}, abs=0.03)
    assert shares(len(block.operators) for block in blocks) == pytest.approx(dict.fromkeys((1, 2, 3), 1 / 3), abs=0.02)
    extra = [sum(o in two_path.SUPPLEMENTARY_OPERATORS for o in b.operators) for b in blocks if len(b.operators) == 3]
    assert np.mean(extra) == pytest.approx(1 - (8 / 13) ** 2, abs=0.02)
    theirs = [two_path.parse(two_path.spec_of_config(config)) for config, _ in truth(tables_dir, "two_path")]
    ours, drawn = ([sum(len(b.operators) for p in n for b in p) for n in some] for some in (networks, theirs))
    assert np.mean(ours) == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / np.sqrt(len(drawn)))


def shares(values):
    found, counts = np.unique(list(values), return_counts=True)
    return dict(zip(found.tolist(), (counts / counts.sum()).tolist(), strict=True))


def test_no_negative_sample():
    with pytest.raises(ConfigError, match=r"families\.two_path\.sample"):
        two_path.sample(-1, np.random.default_rng(0))


def distance(first, second):
    """How many of the two paths differ, and whether those do in one edit of an operator, a block or a reduction."""
    for pair in (second, second[::-1]):
        changed = [(a, b) for a, b in zip(first, pair, strict=True) if a != b]
        if len(changed) == 1:
            (a, b) = changed[0]
            blocks = [(x, y) for x, y in zip(a, b, strict=False) if x != y]
            if [x.reduces for x in a] == [y.reduces for y in b] and len(blocks) == 1:
                return one_edit(list(blocks[0][0].operators), list(blocks[0][1].operators))
            if [x.operators for x in a] == [y.operators for y in b]:
                return len(blocks) == 2
            return abs(len(a) - len(b)) == 1 and one_edit(list(a), list(b))
    return False


def test_mutation_is_one_edit_inside_the_family():
    rng = np.random.default_rng(0)
    kinds = set()
    for spec in two_path.sample(60, rng):
        for _ in range(20):
            other = two_path.mutate(spec, rng)
            first, second = two_path.parse(spec), two_path.parse(other)
            assert other != spec
            assert distance(first, second)
            kinds.add(sum(map(len, second)) - sum(map(len, first)))
    assert kinds == {-1, 0, 1}


def one_edit_blocks(block):
    """A block with one operator replaced, inserted or removed, of all sequences of up to three operators."""
    extra = set(two_path.SUPPLEMENTARY_OPERATORS)
    every = [names for n in (1, 2, 3) for names in itertools.product(two_path.OPERATORS, repeat=n)]
    inside = [names for names in every if sum(name in extra for name in names) <= min(1, len(names) - 1)]
    return [n for n in inside if n != block and one_edit(list(block), list(n))]


def test_a_mutation_reaches_every_neighbour():
    """All of both paths, each about equally often: 2 x 2 edited blocks, new blocks at three places of each path."""
    paths = "conv3x3/2,conv5x5/2", "double3x3/2,conv3x3+conv1x1/2"
    expected = set()
    for own, kept in (paths, paths[::-1]):
        blocks = own.split(",")
        edited = [
            [*blocks[:place], "+".join(names) + "/2", *blocks[place + 1 :]]
            for place, block in enumerate(blocks)
            for names in one_edit_blocks(tuple(block.removesuffix("/2").split("+")))
        ]
        places = itertools.product(range(3), two_path.CONV_OPERATORS)
        longer = [[*blocks[:place], name, *blocks[place:]] for place, name in places]
        expected |= {"|".join(sorted((",".join(path), kept))) for path in edited + longer}
    rng = np.random.default_rng(0)
    spec = "|".join(sorted(paths))
    draws = 20 * len(expected)
    found = Counter(two_path.mutate(spec, rng) for _ in range(draws))
    assert set(found) == expected
    assert max(found.values()) < 20 + 6 * np.sqrt(20)


def test_every_edit_can_be_undone():
    rng = np.random.default_rng(0)
    for spec in two_path.sample(10, rng):
        first, second = two_path.parse(spec)
        for other in two_path._edited_paths(first):
            assert first in two_path._edited_paths(other)
            two_path.parse(two_path.spec_of((other, second)))


def test_crossover_takes_one_operator_of_the_second():
    rng = np.random.default_rng(0)
    plain, longer = "conv3x3/2,conv3x3/2", "conv3x3/2,conv3x3+conv1x1/2"
    second = "conv5x5/2,conv5x5/2|conv5x5/2,maxpool3x3+conv5x5/2"
    found = {two_path.crossover(f"{longer}|{plain}", second, rng) for _ in range(300)}
    children = [
        (longer, "conv3x3/2,conv5x5/2"),
        (longer, "conv5x5/2,conv3x3/2"),
        (plain, "conv5x5/2,conv3x3+conv1x1/2"),
    ]
    children += [
        (plain, f"conv3x3/2,{block}/2") for block in ("conv5x5+conv1x1", "conv3x3+conv5x5", "conv3x3+maxpool3x3")
    ]
    assert found == {"|".join(sorted(paths)) for paths in children}
    assert two_path.crossover(f"{plain}|{plain}", f"{plain}|{plain}", rng) == f"{plain}|{plain}"


@pytest.mark.parametrize(
    "spec",
    [
        *("", None, SPEC + " ", SPEC.split("|")[0], "|".join(reversed(SPEC.split("|"))), SPEC + "|" + SPEC),
        SPEC.replace("conv5x5/2", "conv5x5"),  # one reduction
        SPEC.replace("bottleneck-e2-k3", "bottleneck-e2-k3/2"),  # three
        SPEC.replace("conv1x1+conv3x3", "conv1x1"),  # no convolution operator
        SPEC.replace("conv1x1+conv3x3", "conv1x1+conv3x3+conv1x1"),  # two supplementary
        SPEC.replace("conv1x1+conv3x3", "conv3x3+conv3x3+conv3x3+conv3x3"),
        SPEC.replace("conv1x1+conv3x3", "conv1x1+conv7x7"),
        SPEC.replace("/2,", "/2/2,", 1),
        "conv3x3/2|conv3x3/2",
    ],
)
def test_a_bad_spec_is_named(spec):
    for use in (two_path.parse, two_path.arch_id, two_path.to_graph):
        with pytest.raises(SpecError, match=f"two_path.* got {re.escape(repr(spec))}"):
            use(spec)


def changed(change):
    config = copy.deepcopy(CONFIG)
    change(config)
    return config


@pytest.mark.parametrize(
    "config",
    [
        *(None, [], {}, "path1", 3),
        changed(lambda c: c.pop("path2")),
        changed(lambda c: c.update(path1_reduce_inds=[0, 3])),
        changed(lambda c: c.update(path1_reduce_inds=[0])),
        changed(lambda c: c.update(path1_reduce_inds=5)),
        changed(lambda c: c["path1"][0].update(op_types=["supp"])),
        changed(lambda c: c["path1"][0].update(op_names=["conv9x9"])),
        changed(lambda c: c["path1"][0].update(op_names=[["conv3x3"]])),
        changed(lambda c: c["path1"][0].update(op_names=[7])),
        changed(lambda c: c.update(path1=[])),
    ],
)
def test_a_bad_configuration_is_named(config):
    with pytest.raises(SpecError, match="path1, path2 of op_names and op_types"):
        two_path.spec_of_config(config)


def test_labels_are_those_of_the_file(tmp_path):
    network = {"net_config": CONFIG, "max_perf": 89.94, "perfs": [89.94], "cg": official_state(two_path.to_graph(SPEC))}
    labels = two_path.LABEL_SOURCES["gennape"](labelled_file(tmp_path / "x.json", {"0": network}))
    assert labels.schema == LABELS
    assert pc.cast(labels["label"], "string").to_pylist() == ["cifar10/test@200/max", "cifar10/test@200/perf0"]
    assert labels["arch_id"].to_pylist() == [two_path.arch_id(SPEC)] * 2
    assert labels["value"].to_pylist() == [89.94] * 2
    with pytest.raises(FormatError, match="key '0': expected path1, path2"):
        two_path.LABEL_SOURCES["gennape"](labelled_file(tmp_path / "x.json", {"0": {**network, "net_config": SPEC}}))


def test_the_data_sheet_is_whole():
    assert {"title", "space", "labels", "licence", "citation"} <= set(two_path.DATASHEET)
    assert set(two_path.REMOTES) == set(two_path.LABEL_SOURCES)
