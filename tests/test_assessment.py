"""A bundle's assessment of itself never separates what belongs together: a leak would look like skill."""

import numpy as np
import pytest

from archgauge.ranking.assessment import columns_of, partitions
from archgauge.ranking.bundle import Networks
from archgauge.ranking.description import FACTS, NAMES
from archgauge.ranking.familiarity import Limits
from archgauge.ranking.fitting import compare, measured
from archgauge.ranking.gauge import Gauge

SETTINGS = {"level": 0.8, "folds": 5, "seed": 0}


def networks(family: np.ndarray, group: np.ndarray, unit: np.ndarray) -> Networks:
    """Networks whose `unit` says all of their features and accuracies, between which there is no relation at all.

    Few networks are off by three points, the others of a unit agree: whoever calibrates within units finds most errors
    small beside their deviation, and its intervals hold too little.
    """
    rng = np.random.default_rng(0)
    names, which = np.unique(unit, return_inverse=True)
    arch_id = np.array([f"{one}/{row}" for row, one in enumerate(group)])
    features = rng.normal(size=(len(names), len(NAMES)))[which] + 1e-3 * rng.normal(size=(len(unit), len(NAMES)))
    off = 0.02 * rng.normal(size=len(unit)) + 3.0 * (np.arange(len(unit)) % 24 == 0)
    accuracy_pct = rng.uniform(60, 80, len(names))[which] + off
    return Networks(arch_id, group, family, arch_id, accuracy_pct, features)


@pytest.fixture(scope="module")
def twins() -> Networks:
    """40 architectures in 8 families, each with three sets of weights: to know one is to know the others."""
    family = np.repeat([f"family{k}" for k in range(8)], 15)
    group = np.repeat([f"group{k:02}" for k in range(40)], 3)
    return networks(family, group, group)


@pytest.fixture(scope="module")
def siblings() -> Networks:
    """24 families of four networks: to know one is to know its family, and nothing of the others."""
    family = np.repeat([f"family{k:02}" for k in range(24)], 4)
    group = np.array([f"group{k}" for k in range(96)])
    return networks(family, group, family)


def test_what_must_not_be_separated_shares_a_fold(twins):
    apart = partitions(twins.group, twins.family, SETTINGS)
    assert list(apart) == ["architectures", "families", "each_family"]
    for name, key in (("architectures", twins.group), ("families", twins.family), ("each_family", twins.family)):
        assert (apart[name].unit == key).all()
        assert all(len(set(apart[name].fold[key == one])) == 1 for one in key)
    assert [len(set(apart[name].fold)) for name in apart] == [5, 5, 8]


def test_other_weights_of_an_architecture_do_not_tell_its_accuracy(twins):
    spread = twins.accuracy_pct.std()
    for name, row in compare(twins, SETTINGS).items():
        assert row["architectures"]["mae_pct"] > 0.6 * spread, name
        assert row["architectures"]["spearman"] < 0.5, name


def test_the_rest_of_a_family_does_not_tell_the_accuracy_of_a_network_left_out(siblings):
    spread = siblings.accuracy_pct.std()
    for name, row in compare(siblings, SETTINGS).items():
        assert row["families"]["mae_pct"] > 0.6 * spread, name
        assert row["architectures"]["mae_pct"] < 0.6 * spread or name in ("macs", "params", "macs_params"), name


def assessed(known: Networks) -> dict:
    columns = columns_of("composition")
    fold = partitions(known.group, known.family, SETTINGS)["families"].fold
    gauge = Gauge.fit(known.features, known.accuracy_pct, columns, fold)
    limits = Limits.of(gauge.place(known.features), known.family, np.zeros((len(fold), len(FACTS))), 0.95)
    return measured(known, gauge, limits, SETTINGS)


def test_intervals_of_families_left_out_are_made_without_them(siblings):
    """Made with their siblings, predictions would be right; calibrated on siblings, intervals would be too narrow."""
    card = assessed(siblings)
    errors = np.array([row["mae_pct"] for row in card["families"]])
    assert errors.mean() > 0.6 * siblings.accuracy_pct.std()
    score = card["intervals"]["families"]
    assert score["mean_width_pct"] > 2 * siblings.accuracy_pct.std()
    assert score["coverage"] > 0.65  # of 0.8, over 24 families


def test_intervals_of_architectures_left_out_are_made_without_their_twins(twins):
    card = assessed(twins)
    assert card["intervals"]["architectures"]["mean_width_pct"] > 2 * twins.accuracy_pct.std()
    assert card["intervals"]["architectures"]["coverage"] > 0.65
