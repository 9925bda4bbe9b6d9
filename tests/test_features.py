"""Node features: GENNAPE's exactly as its public code builds them, and what the extended ones add."""

import numpy as np
import pytest

from archgauge.families import nb101, nb201
from archgauge.graphs.features import GENNAPE_LABELS, extended, gennape
from archgauge.graphs.operations import ACTIVATIONS, VOCABULARY, Kind, KindTable

CONV = Kind("conv", ((32, 16, 64),), ((16, 8, 128),), (3, 5), (2, 2), (1, 2), (1, 1), 1, True)

# label (row of GENNAPE's file), weighted, kernel height and width, bias | H, H, W, W over 256, C, C over 512
BY_HAND = [
    (CONV, [3, 1, 3, 5, 1], [32 / 256, 16 / 256, 16 / 256, 8 / 256, 64 / 512, 128 / 512]),
    (
        Kind("conv", ((8, 8, 64),), ((8, 8, 64),), (7, 7), (1, 1), (3, 3), (1, 1), 64),
        [4, 1, 7, 7, 0],  # depthwise
        [1 / 32, 1 / 32, 1 / 32, 1 / 32, 0.125, 0.125],
    ),
    (
        Kind("conv", ((8, 8, 64),), ((8, 8, 64),), (9, 1), (1, 1), (4, 0), (1, 1), 32),
        [3, 1, 7, 1, 0],  # grouped, not depthwise; kernels above 7 share the last of 8 rows
        [1 / 32, 1 / 32, 1 / 32, 1 / 32, 0.125, 0.125],
    ),
    (Kind("conv", ((8, 8, 1),), ((8, 8, 1),), (1, 1), (1, 1), (0, 0), (1, 1), 1), [3, 1, 1, 1, 0], None),
    (
        Kind("linear", ((1, 1, 512),), ((1, 1, 10),), bias=True),
        [8, 1, 0, 0, 1],  # MatMul; the kernel of a linear layer is 0
        [1 / 256, 1 / 256, 1 / 256, 1 / 256, 1, 10 / 512],
    ),
    (Kind("linear", ((1, 1, 512),), ((1, 1, 10),)), [8, 1, 0, 0, 0], None),
    (
        Kind("max_pool", ((32, 32, 3),), ((16, 16, 3),), (2, 2), (2, 2), (0, 0), (1, 1)),
        [12, 0, 0, 0, 0],  # a regular node: no kernel
        [0.125, 0.0625, 0.125, 0.0625, 3 / 512, 3 / 512],
    ),
    (
        Kind("slice", ((8, 8, 4),), ((8, 8, 2),), extra='{"axis":"channels","first":0,"last":2}'),
        [0, 0, 0, 0, 0],
        None,
    ),  # out of vocabulary
    (Kind("other", ((8, 8, 4),), ((8, 8, 2),), extra="{}"), [0, 0, 0, 0, 0], None),
    (Kind("input", (), ((32, 32, 3),)), [1, 0, 0, 0, 0], [0.125, 0.125, 0.125, 0.125, 3 / 512, 3 / 512]),
    (Kind("output", ((1, 1, 10),), ()), [2, 0, 0, 0, 0], [1 / 256, 1 / 256, 1 / 256, 1 / 256, 10 / 512, 10 / 512]),
    (Kind("global_avg_pool", ((8, 8, 512),), ((1, 1, 512),)), [19, 0, 0, 0, 0], None),  # Mean
    (Kind("zero", ((8, 8, 4),), ((8, 8, 4),)), [26, 0, 0, 0, 0], None),
]


@pytest.mark.parametrize(("kind", "categories", "numbers"), BY_HAND)
def test_gennapes_features_by_hand(kind, categories, numbers):
    features = gennape([kind])
    assert features.categories.tolist() == [categories]
    if numbers is not None:
        assert features.numbers.tolist() == np.array([numbers], np.float32).tolist()


def test_labels_are_the_rows_of_gennapes_file():
    named = (
        "oov Input Output Conv Depthwise BatchNorm ReLU ReLU6 MatMul Add Mul Concat Maxpool Avgpool Sigmoid Tanh Swish "
        "GeLU Paddings Mean SpacetoBatchND BatchtoSpaceND SpacetoDepthND DepthtoSpaceND Global Identity Zero"
    )
    rows = named.split()
    theirs = {
        "batch_norm": "BatchNorm",
        "linear": "MatMul",
        "matmul": "MatMul",
        "pad": "Paddings",
        "max_pool": "Maxpool",
        "avg_pool": "Avgpool",
        "silu": "Swish",
        "gelu": "GeLU",
        "global_avg_pool": "Mean",
        "relu": "ReLU",
        "relu6": "ReLU6",
    }
    for name, row in GENNAPE_LABELS.items():
        assert rows[row] == theirs.get(name, name.capitalize())
    assert set(GENNAPE_LABELS) - {"depthwise"} <= set(VOCABULARY)


def test_every_operation_has_features_within_the_cardinalities():
    kinds = [
        Kind(operation, ((8, 8, 4),), ((8, 8, 4),), (3, 3), groups=1)
        for operation in VOCABULARY
        if operation != "constant"
    ]
    kinds.append(Kind("constant", (), ((1, 1, 4),), extra='{"trainable":true}'))
    for features in (gennape(kinds), extended(kinds)):
        assert features.categories.shape == (len(VOCABULARY), 5)
        assert (features.categories >= 0).all()
        assert (features.categories.max(0) < features.cardinality).all()
        assert np.isfinite(features.numbers).all()
        assert features.numbers.dtype == np.float32
        assert features.categories.dtype == np.int64
        assert len(features.names) == 5 + features.numbers.shape[1]
        assert len(set(features.names)) == len(features.names)
    assert set(ACTIVATIONS) - set(GENNAPE_LABELS) == {"hardswish", "hardsigmoid", "leaky_relu"}


def test_a_table_without_kinds_has_features_without_rows():
    for features in (gennape([]), extended([])):
        assert features.categories.shape == (0, 5)
        assert features.numbers.shape == (0, len(features.names) - 5)


def test_extended_features_tell_apart_what_gennapes_do_not():
    variants = [CONV] + [
        Kind(**{**CONV.__dict__, name: value})
        for name, value in {"stride": (1, 1), "dilation": (2, 2), "groups": 2, "kernel": (9, 5)}.items()
    ]
    variants.append(Kind(**{**CONV.__dict__, "kernel": (11, 5)}))
    assert len(np.unique(gennape(variants[:4]).numbers, axis=0)) == 1
    assert len(np.unique(extended(variants).numbers, axis=0)) == len(variants)
    pools = [Kind("max_pool", ((8, 8, 4),), ((8, 8, 4),), (k, k), (1, 1), (k // 2, k // 2), (1, 1)) for k in (3, 5)]
    assert np.array_equal(*gennape(pools).numbers)
    assert not np.array_equal(*extended(pools).numbers)


def test_extended_features_by_hand():
    features = extended([CONV])
    value = dict(zip(features.names[5:], features.numbers[0].tolist(), strict=True))
    assert value["H_in"] == 0.125
    assert value["log_H_in"] == pytest.approx(np.log2(33) / 10)
    assert value["log_kernel_width"] == pytest.approx(np.log2(6) / 10)
    assert value["log_stride_height"] == pytest.approx(np.log2(3) / 10)
    assert value["log_groups"] == pytest.approx(0.1)
    assert value["log_macs"] == pytest.approx(np.log10(1 + 16 * 8 * 128 * 64 * 15) / 10)
    assert value["log_params"] == pytest.approx(np.log10(1 + 128 * 64 * 15 + 128) / 10)


def test_only_slices_of_the_families_are_out_of_vocabulary():
    rng, kinds = np.random.default_rng(0), KindTable()
    for family in (nb101, nb201):
        for spec in family.sample(50, rng):
            family.to_graph(spec, kinds)
    unknown = gennape(kinds).categories[:, 0] == 0
    assert {kind.operation for kind, out in zip(kinds, unknown, strict=True) if out} == {"slice"}
