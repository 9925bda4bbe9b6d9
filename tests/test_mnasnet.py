"""Accel-NASBench's MnasNet space against the authors' networks, thop's counts and the collected table."""

import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch

from archgauge.errors import SpecError, TableError
from archgauge.families import mnasnet
from archgauge.formats import accel_nasbench
from archgauge.graphs import cost
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.graph import concatenate
from archgauge.graphs.operations import KindTable
from archgauge.graphs.realise import realise
from archgauge.graphs.trace import trace
from archgauge.schemas import LABELS

B0 = "1x:e1k3se-2x:e6k3se-2x:e6k5se-3x:e6k3se-3x:e6k5se-4x:e6k5se-1x:e6k3se"
SAMPLES = mnasnet.sample(3, np.random.default_rng(5))


@pytest.fixture(scope="module")
def rows(tables_dir):
    return pq.read_table(tables_dir / "accel_nasbench.parquet").to_pylist()


@pytest.fixture(scope="module")
def graphs(rows):
    """(5138,) a graph for each row, also for the 13 repeated ones."""
    kinds = KindTable()
    return concatenate([mnasnet.to_graph(mnasnet.from_blocks(row), kinds) for row in rows])


def test_all_published_parameters_are_exact(rows, graphs):
    assert len(rows) == 5_138
    assert cost.params(graphs).tolist() == [round(row["params_M"] * 1e6) for row in rows]


def test_all_published_macs_are_exact_by_thops_count(rows, graphs):
    published = np.array([round(row["macs_M"] * 1e6) for row in rows])
    assert mnasnet.thop_macs(graphs).tolist() == published.tolist()
    assert np.all(cost.macs(graphs) < published)


def test_thop_counts_norms_and_pools(tables_dir, graphs):
    """600 of the authors' networks: MACs of convolutions and linear layers, what thop adds to them, histograms."""
    table = pq.read_table(tables_dir / "truth" / "mnasnet_check.parquet").to_pylist()
    assert len(table) == 600
    macs, thop, params = cost.macs(graphs), mnasnet.thop_macs(graphs), cost.params(graphs)
    for row in table:
        number = row["row"]
        assert (macs[number], params[number], thop[number]) == (row["macs"], row["params"], row["macs_table"])
        assert thop[number] - macs[number] == 4 * row["bn"] + row["pool_in"] + row["pool_out"]
        assert histogram(graphs[number]) == authors_histogram(row)


def histogram(graph) -> Counter:
    found = Counter()
    for index in graph.kind:
        kind = graph.kinds[index]
        depthwise = kind.operation == "conv" and kind.groups == kind.inputs[0][2] > 1
        found["depthwise" if depthwise else kind.operation] += 1
    return found - Counter(input=1, output=1)


def authors_histogram(row: dict) -> Counter:
    modules, functional = json.loads(row["modules"]), json.loads(row["functional"])
    names = {
        "Conv2d": "conv",
        "Conv2d_depthwise": "depthwise",
        "BatchNorm2d": "batch_norm",
        "ReLU": "relu",
        "Linear": "linear",
        "AdaptiveAvgPool2d": "global_avg_pool",
        "Hardsigmoid": "hardsigmoid",
    }
    counts = {ours: modules.get(theirs, 0) for theirs, ours in names.items()}
    return +Counter({**counts, "mul": functional.get("mul", 0), "add": row["adds"]})


def test_designs_of_the_truth_are_the_tables_rows(tables_dir, rows):
    for row in pq.read_table(tables_dir / "truth" / "mnasnet_check.parquet").to_pylist():
        stages = [
            f"{layers}x:e{e}k{k}{'se' if se else ''}" for _, e, k, _, _, _, layers, se in json.loads(row["design"])
        ]
        assert mnasnet.from_blocks(rows[row["row"]]) == "-".join(stages)


def test_published_costs_have_a_row_for_each_network(tables_dir, rows):
    costs = mnasnet.published_costs(tables_dir / "accel_nasbench.parquet")
    assert len(costs) == len(set(costs["arch_id"].to_pylist())) == 5_125
    known = {f"mnasnet/{mnasnet.from_blocks(row)}": row for row in rows}
    for row in costs.slice(0, 50).to_pylist():
        assert row["params"] == round(known[row["arch_id"]]["params_M"] * 1e6)
        assert row["macs"] == round(known[row["arch_id"]]["macs_M"] * 1e6)


# Skeleton


def test_efficientnet_b0_is_in_the_space():
    """Published for EfficientNet-B0: 5,288,548 parameters (torchvision's model card)."""
    graph = mnasnet.to_graph(B0)
    assert cost.params(graph)[0] == 5_288_548
    assert mnasnet.arch_id(B0) == f"mnasnet/{B0}"


def test_squeeze_is_a_quarter_of_the_layers_input():
    graph = mnasnet.to_graph(B0)
    narrow = [graph.kinds[index] for index in graph.kind if graph.kinds[index].operation == "conv"]
    squeezed = [kind.outputs[0][2] for kind in narrow if kind.bias][::2]
    assert squeezed == [8, 4, 6, 6, 10, 10, 20, 20, 20, 28, 28, 28, 48, 48, 48, 48]


def test_a_layer_runs_in_the_authors_order():
    graph = mnasnet.to_graph("1x:e4k3se" + "-1x:e1k3" * 6)
    names = [graph.kinds[index].operation for index in graph.kind]
    block = ["conv", "batch_norm", "relu"] * 2
    block += ["global_avg_pool", "conv", "relu", "conv", "hardsigmoid", "mul", "conv", "batch_norm"]
    assert names[4:][: len(block)] == block
    assert "add" not in names


# Space


def test_the_space_is_counted():
    assert mnasnet.SPACE.size == (3 * 2 * 3 * 2) ** 6 * (3 * 2 * 4 * 2) == 104_485_552_128


def test_samples_are_distinct_networks():
    drawn = mnasnet.sample(300, np.random.default_rng(3))
    kinds = KindTable()
    found = concatenate([mnasnet.to_graph(spec, kinds) for spec in drawn])
    assert len(set(drawn)) == len(set(canonical_hash(found).tolist())) == 300
    assert drawn == mnasnet.sample(300, np.random.default_rng(3))


def test_the_sixth_stage_alone_can_have_four_layers():
    drawn = mnasnet.sample(500, np.random.default_rng(0))
    most = [max(int(spec.split("-")[stage][0]) for spec in drawn) for stage in range(7)]
    assert most == [3, 3, 3, 3, 3, 4, 3]


def test_a_mutation_changes_one_setting_of_one_stage():
    rng = np.random.default_rng(0)
    reached = {mnasnet.mutate(B0, rng) for _ in range(3_000)}
    assert len(reached) == 7 * (2 + 1 + 1) + 6 * 2 + 3  # expansion, kernel, squeeze; layers
    for spec in reached:
        changed = [(a, b) for a, b in zip(B0.split("-"), spec.split("-"), strict=True) if a != b]
        assert len(changed) == 1


def test_a_crossover_leaves_the_number_of_layers():
    rng = np.random.default_rng(0)
    for _ in range(50):
        child = mnasnet.crossover(SAMPLES[0], B0, rng)
        assert [stage[0] for stage in child.split("-")] == [stage[0] for stage in SAMPLES[0].split("-")]
        assert sum(a != b for a, b in zip(child.split("-"), SAMPLES[0].split("-"), strict=True)) == 1


@pytest.mark.parametrize(
    "spec",
    [
        *("", B0 + "-1x:e1k3", B0.replace("4x", "5x"), B0.replace("1x:e1k3se", "4x:e1k3se"), B0.replace("k5", "k7")),
        *(
            B0.replace("e6", "e3"),
            B0.replace("se", "SE"),
            B0.replace("2x:", "2x"),
            B0.replace("e6k3se", "e6k3se,e6k3se"),
        ),
    ],
)
def test_a_bad_spec_is_refused(spec):
    for use in (mnasnet.to_graph, mnasnet.arch_id, lambda text: mnasnet.mutate(text, np.random.default_rng(0))):
        with pytest.raises(
            SpecError, match=r"an architecture of mnasnet at mnasnet/\?: expected 7 segments like 3x:e6k5se"
        ):
            use(spec)


@pytest.mark.parametrize("change", [{"block3_e": 3}, {"block2_se": "False"}, {"block5_l": 5}, {"block0_k": None}])
def test_bad_blocks_are_refused(change):
    blocks = {name: True if name.endswith("se") else 1 for name in accel_nasbench.ARCHITECTURE}
    blocks |= {f"block{stage}_k": 3 for stage in range(7)}
    assert mnasnet.from_blocks(blocks) == "-".join(["1x:e1k3se"] * 7)
    with pytest.raises(SpecError, match="an architecture of mnasnet"):
        mnasnet.from_blocks(blocks | change)
    del blocks["block6_l"]
    with pytest.raises(SpecError, match="expected block0_e to block6_se, the last one true or false, got"):
        mnasnet.from_blocks(blocks)


# Networks


def test_trace_of_the_realised_graph_is_the_graph():
    for spec in SAMPLES:
        graph = mnasnet.to_graph(spec)
        with torch.device("meta"):
            model = realise(graph)
        again = trace(model, torch.empty(1, 3, 224, 224, device="meta"), kinds=graph.kinds)
        assert canonical_hash(again).tolist() == canonical_hash(graph).tolist()


def test_a_network_trains_a_step():
    model = realise(mnasnet.to_graph("1x:e1k3se" + "-1x:e1k3" * 5 + "-2x:e1k5"))
    result = model(torch.randn(2, 3, 224, 224))
    assert result.shape == (2, 1000)
    result.square().mean().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in model.parameters())


# Labels


@pytest.fixture(scope="module")
def labels(tables_dir):
    return mnasnet.LABEL_SOURCES["tables"](tables_dir / "accel_nasbench.parquet")


BOARDS = ("zcu102", "vck190")
COLUMNS = {
    "imagenet/validation@16": ("val_top1", "percent"),
    "imagenet/validation-top5@16": ("val_top5", "percent"),
    "imagenet/train_seconds@16": ("train_time", "s"),
    **{f"throughput@{d}": (f"throughput_{d}", "images/s") for d in ("a100", "3090", "tpuv2", "tpuv3", *BOARDS)},
    **{f"latency@{d}": (f"latency_{d}", "ms") for d in BOARDS},
}


def test_labels_are_the_tables(labels, rows):
    assert labels.schema == LABELS
    known = {}
    seen = Counter()
    for row in rows:
        arch_id = f"mnasnet/{mnasnet.from_blocks(row)}"
        for label, (column, unit) in COLUMNS.items():
            if row[column] is not None:
                known[arch_id, f"{label}/run{seen[arch_id]}"] = (row[column], unit)
        seen[arch_id] += 1
    names = [pc.cast(labels[column], pa.string()).to_pylist() for column in ("arch_id", "label", "unit")]
    found = zip(*names, labels["value"].to_pylist(), strict=True)
    assert {(arch_id, label): (value, unit) for arch_id, label, unit, value in found} == known
    assert len(labels) == len(known)


def test_thirteen_networks_were_trained_twice(labels):
    """The noise of a label. One pair lies 1.28 points apart, which makes it twice what the other twelve say."""
    runs = []
    for run in ("run0", "run1"):
        rows = labels.filter(pc.equal(pc.cast(labels["label"], pa.string()), f"imagenet/validation@16/{run}"))
        runs.append(dict(zip(rows["arch_id"].to_pylist(), rows["value"].to_pylist(), strict=True)))
    first, second = runs
    assert (len(first), len(second)) == (5_125, 13)
    apart = np.sort([abs(first[arch_id] - value) for arch_id, value in second.items()])
    assert apart[-1] == pytest.approx(1.276, abs=1e-6)
    assert np.mean(apart / np.sqrt(2)) == pytest.approx(0.145, abs=5e-4)  # a pair's standard deviation
    assert np.sqrt(np.mean(apart**2) / 2) == pytest.approx(0.27, abs=5e-3)
    assert np.sqrt(np.mean(apart[:-1] ** 2) / 2) == pytest.approx(0.105, abs=5e-4)


def test_a_row_outside_the_space_is_refused(tmp_path, rows):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.Table.from_pylist([rows[0], rows[1] | {"block2_e": 5}]), path)
    with pytest.raises(TableError, match=r"the architecture of a network at .*x.parquet, row 1: expected 7 segments"):
        mnasnet.LABEL_SOURCES["tables"](path)


@pytest.mark.parametrize(("column", "value"), [("val_top1", 100.5), ("val_top1", None), ("train_time", None)])
def test_a_bad_value_is_refused(tmp_path, rows, column, value):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.Table.from_pylist([rows[0], rows[1] | {column: value}]), path)
    with pytest.raises(TableError, match=f"the label imagenet/.*{mnasnet.from_blocks(rows[1])}.* got {value}"):
        mnasnet.LABEL_SOURCES["tables"](path)


def test_the_official_files_end_in_the_same_table(tmp_path, rows, labels):
    """The collected rows, written in the official form: the same labels."""
    for number, row in enumerate(rows[:40]):
        devices = {
            name: {f"{name.split('_')[0]}_mean": row[name], f"{name.split('_')[0]}_std": 0.1}
            for name in accel_nasbench.DEVICE_METRICS
            if row[name] is not None
        }
        content = {
            "architecture": {name: row[name] for name in accel_nasbench.ARCHITECTURE},
            "metrics": {name: row[name] for name in accel_nasbench.METRICS},
            "model_info": {"macs": row["macs_M"], "params": row["params_M"]},
            "platform_perf": devices,
        }
        (tmp_path / f"result_{number}.json").write_text(json.dumps(content))
    official = mnasnet.LABEL_SOURCES["accel"](tmp_path)
    assert official.schema == LABELS
    assert official.to_pylist() == labels.slice(0, len(official)).to_pylist()
