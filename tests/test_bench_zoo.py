"""What `python -m archgauge.bench_zoo` finds, on networks with faults that are known."""

import re
import sys

import pytest
import torch
from torch import nn

from archgauge import bench_zoo
from archgauge.families import zoo
from archgauge.families._zoo_packages import classifiers, stored_models


class Branches(nn.Module):
    """Its path depends on values."""

    def forward(self, x):
        return x if x.sum() > 0 else -x


class Grows(nn.Module):
    """Gives more than float32 holds."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        for _ in range(3):
            x = self.norm(x) * 1e20
        return x


class Noisy(nn.Module):
    """Computes something else each time."""

    def forward(self, x):
        return x + torch.rand_like(x)


NETWORKS = {
    "plain": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()),
    "plain_svhn": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()),
    "branches": Branches,
    "grows": Grows,
    "noisy": Noisy,
}
SPECS = [f"pytorchcv:{name}" for name in NETWORKS]


@pytest.fixture
def networks(monkeypatch):
    monkeypatch.setattr(zoo, "network", lambda spec: (NETWORKS[spec.partition(":")[2]](), (8, 8)))


def test_tracing_counts_networks_and_gives_reasons(networks):
    results = [bench_zoo.traced(spec) for spec in SPECS]
    assert (results[0].counted, results[0].own) == (4 * 27 + 4 + 8,) * 2
    lines = list(bench_zoo.tracing(results))
    assert lines[0] == "traced: 4 of 5 (80.0 %)"
    assert re.match(r"took over 1 s of CPU: \d; the slowest:", lines[1])
    assert lines[-2] == "parameters other than PyTorch's own: 0"
    assert re.match(r"  not traced: pytorchcv:branches: GraphError: .*depends on the values", lines[-1])


def test_other_parameters_and_slow_networks_are_told():
    results = [bench_zoo.Traced("one", 1.5, "h", "", 4, 5), bench_zoo.Traced("two", 0.5, "i", "", 5, 5)]
    assert list(bench_zoo.tracing(results))[1:] == [
        "took over 1 s of CPU: 1; the slowest:",
        "  one: 1.50 s",
        "  two: 0.50 s",
        "parameters other than PyTorch's own: 1",
        "  one: 4 in the graph, 5 in the model",
    ]


def test_each_architecture_is_computed_once_and_differences_are_told(networks):
    specs = bench_zoo.distinct(bench_zoo.traced(spec) for spec in SPECS)
    assert specs == [SPECS[0], *SPECS[3:]]
    count, failure = bench_zoo.computing(specs)
    assert count == "architectures whose realised graph computes the same within 1e-05: 2 of 3 (66.7 %)"
    assert re.match(r"  pytorchcv:noisy: \d\.\de[+-]\d\d", failure)


def test_an_error_is_the_reason(networks):
    assert list(bench_zoo.computing(["pytorchcv:branches"]))[1].startswith("  pytorchcv:branches: GraphError: ")


def test_the_command_prints_all_of_it(networks, monkeypatch, capsys):
    monkeypatch.setattr(zoo, "pytorchcv_specs", lambda: SPECS)
    table = zoo.architectures("zoo", [zoo.arch_id(spec) for spec in SPECS[:2]], SPECS[:2])
    monkeypatch.setattr(zoo, "enumerate_specs", lambda: table)
    monkeypatch.setattr(sys, "argv", ["bench_zoo"])
    threads = torch.get_num_threads()
    bench_zoo.main()
    torch.set_num_threads(threads)
    told = capsys.readouterr().out
    assert "2 networks of the model store, 3 further image classifiers" in told
    assert "traced: 4 of 5" in told
    assert "1 of 1 (100.0 %)" in told


def test_every_network_with_an_error_is_among_the_classifiers():
    pytest.importorskip("pytorchcv", reason="needs the package pytorchcv")
    names = set(classifiers())
    assert {model.name for model in stored_models()} < names
    assert {"revnet38", "isqrtcovresnet50b", "ntsnet_cub", "resnet200"} < names
    assert not names & {"unet_cityscapes", "centernet_resnet18_voc", "jasper5x3", "prnet", "ibppose_coco"}


@pytest.mark.parametrize("name", ["revnet38", "isqrtcovresnet18"])
def test_networks_with_functions_of_their_own_trace(name):
    pytest.importorskip("pytorchcv", reason="needs the package pytorchcv")
    result = bench_zoo.traced(f"pytorchcv:{name}")
    assert result.failure == ""
    assert result.counted == result.own
