"""Published networks: printed parameters and errors, groups, and of a few that the traced graph computes the same.

`python -m archgauge.bench_zoo` goes through all of them.
"""

import ast
import sys
import time
from collections import Counter
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from archgauge.errors import ConfigError, FormatError, SpecError
from archgauge.families import zoo
from archgauge.families._zoo_packages import printed_models, stored_models
from archgauge.graphs import cost
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.normal_form import live
from archgauge.graphs.realise import load_weights, realise
from archgauge.graphs.trace import trace, trace_with_state
from archgauge.schemas import ARCHITECTURES, LABELS

pytest.importorskip("pytorchcv", reason="needs the package pytorchcv")

SMALL = [
    *("resnet20_cifar10", "nin_cifar100", "densenet40_k12_bc_svhn", "seresnet20_cifar10", "diaresnet20_cifar10"),
    *("shakeshakeresnet20_2x16d_cifar10", "wrn20_10_1bit_cifar10", "xdensenet40_2_k24_bc_cifar10", "rir_cifar10"),
    *("squeezenet_v1_1", "shufflenetv2_wd2", "mobilenetv3_large_w1", "dicenet_wd5", "espnetv2_wd2", "regnety002"),
    *("condensenet74_c8_g8", "menet108_8x1_g3", "alexnet", "mixnet_s", "ibn_resnet50", "resnestabc14", "peleenet"),
    *("pyramidnet110_a48_cifar10", "bam_resnet50", "efficientnet_b0b", "hardnet39ds", "sqnxt23_w1", "dla46c"),
]
ESPNETV2 = {"wd2": 240, "w1": 480, "w5d4": 608, "w3d2": 736, "w2": 992}
"""What pytorchcv's description prints more than its code has: an earlier version's parameters."""


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def costs(spec: str) -> tuple[int, int]:
    graph = zoo.to_graph(spec)
    return int(cost.params(graph)[0] + graph.params_outside[0]), int(cost.macs(graph)[0])


PRINTED = {row.name: row for row in printed_models()}


@pytest.mark.parametrize("name", [*SMALL, *sorted(PRINTED)[::25]])
def test_parameters_are_the_printed_ones_and_pytorchs_own(name):
    model, _ = zoo.network(f"pytorchcv:{name}")
    counted = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    params, _ = costs(f"pytorchcv:{name}")
    assert params == counted
    older = ESPNETV2[name.removeprefix("espnetv2_")] if name.startswith("espnetv2") else 0
    assert params + older == PRINTED[name].params


@pytest.mark.parametrize("name", ["alexnet", "alexnetb", "zfnet", "zfnetb", "vgg11", "vgg13", "vgg16", "vgg19"])
def test_printed_flops_add_half_a_flop_for_each_relu_and_each_pooled_element(name):
    """Where all layers have biases and nothing is normalised by a batch."""
    graph = zoo.to_graph(f"pytorchcv:{name}")
    kinds = [graph.kinds[kind] for kind in graph.kind]
    relu = sum(int(np.prod(kind.outputs[0])) for kind in kinds if kind.operation == "relu")
    read = sum(int(np.prod([*kind.outputs[0], *kind.kernel])) for kind in kinds if kind.operation == "max_pool")
    assert round((cost.macs(graph)[0] + (relu + read) / 2) / 1e6, 2) == PRINTED[name].flops_m


@pytest.mark.parametrize("name", SMALL)
def test_the_graph_computes_what_the_network_computes_and_comes_back(name):
    torch.manual_seed(0)
    model, (height, width) = zoo.network(f"pytorchcv:{name}")
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    x = torch.randn(2, 3, height, width)
    start = time.process_time()
    graph, state = trace_with_state(model.eval(), x)
    assert time.process_time() - start < 1
    network = realise(graph).eval()
    load_weights(network, model, state)
    with torch.no_grad():
        expected, got = model(x), network(x)
    assert (got - expected.reshape(got.shape)).abs().max() <= 1e-5 * expected.abs().max()
    with torch.device("meta"):
        again = realise(graph)
    assert canonical_hash(trace(again, x)).tolist() == canonical_hash(graph).tolist()


def test_the_store_lists_524_classifiers():
    table = zoo.enumerate_specs()
    assert table.schema.equals(ARCHITECTURES)
    ours = [spec for spec in table["spec"].to_pylist() if spec.startswith("pytorchcv:")]
    assert len(ours) == len(set(ours)) == 524
    assert set(zoo.published_costs()["arch_id"].to_pylist()) == {f"zoo/{spec}" for spec in ours}
    sizes = {model.pixels for model in stored_models()}
    assert sizes <= {0, 32, 224, 240, 260, 299, 300, 320, 331, 380, 456, 528, 600, 672, 245, 256}


def test_labels_are_accuracies_of_the_published_weights():
    rows = zoo.LABEL_SOURCES["pytorchcv"](None)
    assert rows.schema.equals(LABELS)
    assert Counter(rows["label"].to_pylist()) == {
        "imagenet/top5+pytorchcv": 323,
        "imagenet/top1+pytorchcv": 323,
        "cifar10/top1+pytorchcv": 70,
        "cifar100/top1+pytorchcv": 68,
        "svhn/top1+pytorchcv": 63,
    }
    value = {(row["arch_id"], row["label"]): row["value"] for row in rows.to_pylist()}
    assert value["zoo/pytorchcv:resnet50", "imagenet/top5+pytorchcv"] == pytest.approx(100 - 6.33)
    assert value["zoo/pytorchcv:vgg11", "imagenet/top1+pytorchcv"] == pytest.approx(100 - 29.90)
    assert value["zoo/pytorchcv:nin_cifar100", "cifar100/top1+pytorchcv"] == pytest.approx(100 - 28.39)
    assert value["zoo/pytorchcv:wrn28_10_svhn", "svhn/top1+pytorchcv"] == pytest.approx(100 - 2.71)
    assert {row["unit"] for row in rows.to_pylist()} == {"percent"}


def test_top1_errors_of_store_and_description_agree():
    """Second source: the description prints the CIFAR and SVHN errors that the store has in its file names."""
    printed = {name: row.error_pct for name, row in PRINTED.items()}
    stored = {model.name: model.error_pct for model in stored_models() if model.data_set != "imagenet"}
    assert {name for name, error in stored.items() if abs(printed[name] - error) > 1e-9} == set()


def test_one_architecture_with_several_weights_is_one_group():
    names = ["resnet20_cifar10", "resnet20_svhn", "resnet20_cifar100", "efficientnet_b0", "efficientnet_b0b", "alexnet"]
    names += ["alexnetb", "resnet56_cifar10", "efficientnet_b1c"]
    ids = [f"zoo/pytorchcv:{name}" for name in names]
    groups = zoo.groups(ids, [str(i) for i in range(len(ids))])
    assert groups == [
        f"zoo/{name}" for name in ("resnet20",) * 3 + ("efficientnet_b0",) * 2 + ("alexnet", "alexnetb")
    ] + [
        "zoo/resnet56",
        "zoo/efficientnet_b1",
    ]


def test_equal_live_graphs_are_one_group_across_names_and_packages():
    ids = [
        "zoo/pytorchcv:resnet50b",
        "zoo/torchvision:resnet50@224",
        "zoo/torchvision:resnet50@232",
        "zoo/pytorchcv:vgg11",
    ]
    assert zoo.groups(ids, ["x", "x", "y", "z"]) == ["zoo/resnet50b"] * 3 + ["zoo/vgg11"]
    assert zoo.groups(ids, ["x", "y", "w", "w"]) == ["zoo/resnet50b"] + ["zoo/resnet50"] * 3


def test_networks_of_one_group_have_equal_graphs_up_to_the_classifier():
    hashes = [
        canonical_hash(live(zoo.to_graph(f"pytorchcv:resnet20_{data}")))[0] for data in ("cifar10", "svhn", "cifar100")
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_sample_and_arch_id():
    drawn = zoo.sample(20, np.random.default_rng(0))
    assert len(set(drawn)) == 20
    assert zoo.arch_id(drawn[0]) == f"zoo/{drawn[0]}"
    with pytest.raises(ConfigError, match=r"the size of a sample at families.zoo.sample: expected 0 to \d+ networks"):
        zoo.sample(100_000, np.random.default_rng(0))


@pytest.mark.parametrize(
    "spec",
    [
        *("resnet50", "pytorchcv:os.system", "pytorchcv:nothing", "timm:resnet50", "torchvision:vgg@8"),
        *("torchvision:vgg16@٢٢٤", "pytorchcv:resnet２０_cifar10"),
    ],
)
def test_bad_specs_are_refused(spec):
    with pytest.raises(SpecError, match=r"the spec of an architecture of zoo"):
        zoo.to_graph(spec)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorchcv.model_provider", None)
    with pytest.raises(ConfigError, match=r"the package pytorchcv at families.zoo: expected it to be installed, of a"):
        zoo.network("pytorchcv:resnet20_cifar10")
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(ConfigError, match=r"the package torchvision.*pip install torchvision"):
        zoo.LABEL_SOURCES["torchvision"](None)


def test_a_package_that_does_not_import_is_named(monkeypatch, tmp_path):
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms is not there')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ConfigError, match=r"the package torchvision .*got RuntimeError: operator torchvision::nms"):
        zoo.LABEL_SOURCES["torchvision"](None)
    assert len(zoo._specs.__wrapped__()) == 524


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x = 1 +",
        "import os\nos.system('true')",
        "rows = [('a', '12', 's')]",
        "rows = [__import__('os')]",
        "(" * 10_000,
    ],
)
def test_a_store_that_is_no_table_is_refused_and_never_run(tmp_path, text):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "model_store.py").write_text(text)
    with pytest.raises(
        FormatError, match=r"the model store of pytorchcv at .*model_store.py: expected a list of tuples"
    ):
        zoo.LABEL_SOURCES["pytorchcv"](tmp_path)
    with pytest.raises(FormatError, match="got FileNotFoundError"):
        stored_models(tmp_path / "models")


def test_a_store_written_by_hand_is_read(tmp_path):
    (tmp_path / "models").mkdir()
    rows = [
        ("net", "1664", "sha", "v1", "Net", "1404.5997", "in1k", 224, 0.875, 200, ""),
        ("net_svhn", "0376", "sha", "v1", "Net", "", "cf", 0, 0.0, 0, ""),
        ("net_cub", "2000", "sha", "v1", "Net", "", "cub", 0, 0.0, 0, ""),
    ]
    text = "raise SystemExit\n_model_sha1 = {a: b for a, b in [\n" + ",\n".join(map(repr, rows)) + "]}\n"
    assert ast.parse(text)
    (tmp_path / "models" / "model_store.py").write_text(text)
    read = zoo.LABEL_SOURCES["pytorchcv"](tmp_path).to_pylist()
    assert [(row["arch_id"], row["label"], row["value"]) for row in read] == [
        ("zoo/pytorchcv:net", "imagenet/top5+pytorchcv", 83.36),
        ("zoo/pytorchcv:net_svhn", "svhn/top1+pytorchcv", 96.24),
    ]


def test_torchvisions_metadata_is_read(monkeypatch):
    """A stand-in with torchvision's interface: two sets of weights of one architecture at one resolution."""

    def weights(name: str, top1: float, pixels: int) -> SimpleNamespace:
        meta = {"_metrics": {"ImageNet-1K": {"acc@1": top1, "acc@5": top1 + 10}}}
        return SimpleNamespace(name=name, meta=meta, transforms=SimpleNamespace(keywords={"crop_size": pixels}))

    models = ModuleType("torchvision.models")
    models.list_models = lambda module: ["tiny"]
    models.get_model_weights = lambda name: [
        weights("IMAGENET1K_V1", 70.0, 224),
        weights("IMAGENET1K_V2", 75.5, 224),
        SimpleNamespace(name="COCO", meta={"_metrics": {}}, transforms=None),
        weights("IMAGENET1K_FEATURES", float("nan"), 224),  # as VGG-16 has: no classifier
    ]
    models.get_model = lambda name, weights, **sized: _numbered(*sized.values())
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    monkeypatch.setattr(sys.modules["torchvision"], "models", models, raising=False)
    rows = zoo.LABEL_SOURCES["torchvision"](None).to_pylist()
    assert {row["arch_id"] for row in rows} == {"zoo/torchvision:tiny@224"}
    assert {row["label"]: row["value"] for row in rows} == {
        "imagenet/top1@IMAGENET1K_V1+torchvision": 70.0,
        "imagenet/top5@IMAGENET1K_V1+torchvision": 80.0,
        "imagenet/top1@IMAGENET1K_V2+torchvision": 75.5,
        "imagenet/top5@IMAGENET1K_V2+torchvision": 85.5,
    }
    assert costs("torchvision:tiny@224") == (4 * 27 + 4, 222 * 222 * 4 * 27)
    assert costs("torchvision:vit_tiny@384") == (4 * 27 + 4 + 384, 382 * 382 * 4 * 27)


def _numbered(image_size: int = 0) -> torch.nn.Module:
    """A network that, as RegNet, reads a width off numbers, and as ViT is made for one size of images."""

    class Net(torch.nn.Conv2d):
        def __init__(self):
            super().__init__(3, (torch.arange(5) - torch.tensor([0, 0, 0, 0, 0])).tolist()[-1], 3)
            self.embedding = torch.nn.Parameter(torch.zeros(image_size))

        def forward(self, x):
            return super().forward(x) * self.embedding.sum() if image_size else super().forward(x)

    return Net()
