"""What a network is made of, against counts by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from archgauge.graphs import cost
from archgauge.graphs.composition import COMPOSITION, composition
from archgauge.graphs.graph import concatenate
from archgauge.graphs.operations import KindTable
from archgauge.graphs.trace import trace


def small() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),  # 16 x 16 x 8
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
        nn.Conv2d(8, 16, 1, groups=2, bias=False),
        nn.Conv2d(16, 16, 3, padding=1, groups=4, bias=False),
        nn.Conv2d(16, 4, 1, bias=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 10),
        nn.Sigmoid(),
    )


@pytest.fixture(scope="module")
def row() -> dict[str, float]:
    graph = trace(small(), torch.zeros(1, 3, 32, 32))
    return dict(zip(COMPOSITION, composition(graph)[0].tolist(), strict=True))


def test_counts_by_hand(row):
    ones = ("spatial", "grouped_spatial", "pointwise", "grouped_pointwise", "depthwise", "linear")
    ones += ("batch_norm", "relu", "gate", "global_pool")
    for name in ones:
        assert row[f"log_nodes_{name}"] == pytest.approx(np.log(2)), name
    for name in ("add", "concat", "attention", "unknown", "softmax", "other_norm"):
        assert row[f"log_nodes_{name}"] == 0, name


def test_sizes_by_hand(row):
    elements = np.array([16 * 16 * c for c in (8, 8, 16, 16, 4)] + [10])
    assert row["log_activations"] == pytest.approx(np.log1p(elements.sum()))
    channels = (elements * [8, 8, 16, 16, 4, 10]).sum() / elements.sum()
    assert row["log_mean_channels"] == pytest.approx(np.log1p(channels))
    assert row["log_most_channels"] == pytest.approx(np.log1p(16))
    assert row["log_input_pixels"] == pytest.approx(np.log1p(32 * 32))
    params = {"spatial": 216, "depthwise": 72, "grouped_pointwise": 64, "grouped_spatial": 576, "pointwise": 64}
    params |= {"linear": 50}
    total = sum(params.values()) + 16  # and of the normalisation
    for name, count in params.items():
        assert row[f"params_share_{name}"] == pytest.approx(count / total), name
        macs = 40 if name == "linear" else 256 * count
        assert row[f"macs_share_{name}"] == pytest.approx(macs / (256 * 992 + 40)), name
    assert row["log_params"] == pytest.approx(np.log1p(total))


def test_many_graphs_at_once_are_as_each_alone():
    kinds = KindTable()
    sizes = (32, 40, 64)
    parts = [trace(small(), torch.zeros(1, 3, size, size), kinds=kinds) for size in sizes]
    together = composition(concatenate(parts))
    for at, part in enumerate(parts):
        np.testing.assert_array_equal(together[at], composition(part)[0])
        assert together[at, 0] == pytest.approx(np.log1p(cost.macs(part)[0]))


def test_a_network_without_weights_has_shares_of_zero():
    values = composition(trace(nn.ReLU(), torch.zeros(1, 3, 8, 8)))
    assert np.isfinite(values).all()
    assert not values[0, [name.startswith(("macs_share", "params_share")) for name in COMPOSITION]].any()
