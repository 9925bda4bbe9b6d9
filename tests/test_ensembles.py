"""GENNAPE's ensemble: weights and scales by hand, and nothing of the evaluated population in them."""

import numpy as np
import pytest

from archgauge.evaluation.ensembles import Combination


def test_fine_tuned_weights_are_the_softmax_of_kendalls_tau_by_hand():
    accuracy = np.array([1.0, 2.0, 3.0])
    scores = np.column_stack([[10.0, 20.0, 30.0], [3.0, 2.0, 1.0], [1.0, 3.0, 2.0]])  # tau 1, -1, 1/3
    combination = Combination.fine_tuned(scores, accuracy)
    wanted = np.exp([1, -1, 1 / 3])
    np.testing.assert_allclose(combination.weight, wanted / wanted.sum())
    np.testing.assert_allclose(combination.weight, [0.6053, 0.0819, 0.3108], atol=0.01)
    spread = np.sqrt(2 / 3)
    z = np.array([(40 - 20) / (10 * spread), (0 - 2) / spread, (5 - 2) / spread])
    np.testing.assert_allclose(combination(np.array([[40.0, 0.0, 5.0]])), z @ wanted / wanted.sum())


def test_zero_shot_weights_are_equal_and_scales_come_from_the_source():
    combination = Combination.zero_shot([np.array([0.0, 2.0]), np.array([100.0, 300.0, 200.0, 200.0])])
    np.testing.assert_allclose(combination.weight, [0.5, 0.5])
    np.testing.assert_allclose(combination.centre, [1, 200])
    np.testing.assert_allclose(combination(np.array([[2.0, 200.0], [1.0, 200 + np.sqrt(5000)]])), [0.5, 0.5])


def test_a_network_alone_scores_as_in_company():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(30, 4)) * [1, 10, 100, 0.1]
    for combination in (
        Combination.zero_shot(list(rng.normal(size=(4, 50)))),
        Combination.fine_tuned(scores[:10], rng.random(10)),
    ):
        together = combination(scores)
        np.testing.assert_allclose([combination(row[None])[0] for row in scores], together)


def test_the_unit_of_a_member_does_not_matter():
    rng = np.random.default_rng(1)
    scores, accuracy = rng.normal(size=(20, 3)), rng.random(20)
    changed = scores * [7, 0.01, 1] + [3, -5, 1000]
    same = [Combination.fine_tuned(values[:9], accuracy[:9])(values) for values in (scores, changed)]
    np.testing.assert_allclose(*same)


@pytest.mark.filterwarnings("error")
def test_a_member_that_scores_all_alike_says_nothing():
    accuracy = np.array([1.0, 2.0, 3.0])
    scores = np.column_stack([np.full(3, 5.0), [1.0, 2.0, 3.0]])
    combination = Combination.fine_tuned(scores, accuracy)
    np.testing.assert_allclose(combination.weight, np.exp([0, 1]) / np.exp([0, 1]).sum())
    assert np.isfinite(combination(scores)).all()
