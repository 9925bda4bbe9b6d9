"""Merge sort by a batched comparator, and the classifiers of pairs that rank by it."""

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau, spearmanr
from test_neural_predictors import toy_population

from archgauge.predictors import pairwise, pairwise_fuzzy
from archgauge.predictors._merge_sort import merge_sort

BOTH = pytest.mark.parametrize("module", [pairwise, pairwise_fuzzy])


@pytest.fixture(autouse=True)
def one_thread():
    """Operations as small as these wait longer for a second thread than they take."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5, 8, 13, 64, 100, 1000])
def test_perfect_comparator_gives_the_true_order(n):
    value = np.random.default_rng(n).permutation(n)
    order = merge_sort(n, lambda one, other: value[one] > value[other])
    np.testing.assert_array_equal(value[order], np.arange(n))


def test_sorting_is_stable():
    """Ten values among 500 items: equal ones stay as they stood, as numpy's stable sort leaves them."""
    value = np.random.default_rng(0).integers(0, 10, 500)
    order = merge_sort(500, lambda one, other: value[one] > value[other])
    np.testing.assert_array_equal(order, np.argsort(value, kind="stable"))


@pytest.mark.parametrize("n", [2, 7, 64, 1000, 3000])
def test_comparisons_are_n_log_n_and_batched(n):
    """At most n ceil(log2 n) - 2^ceil(log2 n) + 1 comparisons; merging runs of w takes at most 2 w calls."""
    value, asked = np.random.default_rng(1).permutation(n), []

    def better(one, other):
        asked.append(len(one))
        return value[one] > value[other]

    merge_sort(n, better)
    levels = int(np.ceil(np.log2(n)))
    assert n / 2 * np.log2(n) * 0.8 <= sum(asked) <= n * levels - 2**levels + 1
    assert len(asked) <= 2 * 2**levels
    assert max(asked) == n // 2


def test_noisy_comparator_is_close():
    """Wrong where two items are near, the more often the nearer, and each pair always answered alike."""
    n, rng = 1000, np.random.default_rng(2)
    value, noise = rng.permutation(n), rng.logistic(size=(n, n)) * 30
    noise = np.triu(noise, 1) - np.triu(noise, 1).T
    order = merge_sort(n, lambda one, other: value[one] - value[other] + noise[one, other] > 0)
    assert sorted(order) == list(range(n))
    assert 0.9 < kendalltau(value[order], np.arange(n))[0] < 1


def test_comparator_that_contradicts_itself_still_gives_a_permutation():
    rng = np.random.default_rng(3)
    order = merge_sort(333, lambda one, other: rng.random(len(one)) > 0.5)
    assert sorted(order) == list(range(333))


@BOTH
def test_classifier_is_antisymmetric(module):
    population, accuracy = toy_population(30)
    predictor = module.Predictor(epochs=3, learning_rate=1e-3, seed=0).fit(population, accuracy)
    with torch.inference_mode():
        latent = predictor.network_.latent(*predictor._inputs(population))
        one, other = latent[:15], latent[15:]
        forward, backward = (predictor.network_(*pair).sigmoid() for pair in ((one, other), (other, one)))
        itself = predictor.network_(one, one)
    torch.testing.assert_close(forward + backward, torch.ones(15), rtol=0, atol=1e-6)
    torch.testing.assert_close(itself, torch.zeros(15), rtol=0, atol=1e-5)
    assert forward.std() > 1e-3


@BOTH
def test_learns_to_rank(module):
    population, accuracy = toy_population(260)
    predictor = module.Predictor(epochs=60, learning_rate=1e-3, seed=1).fit(population.take(slice(160)), accuracy[:160])
    assert spearmanr(predictor.predict(population.take(slice(160, None))), accuracy[160:])[0] > 0.85


def test_memberships_let_each_cluster_keep_a_rule():
    """Within a cluster the rule of the toy holds, and in the other its opposite."""
    population, accuracy = toy_population(400)
    accuracy = np.where(population.membership[:, 0] > 0, accuracy, 170 - accuracy)
    scores = []
    for module in (pairwise, pairwise_fuzzy):
        predictor = module.Predictor(epochs=40, learning_rate=1e-3, seed=1).fit(
            population.take(slice(300)), accuracy[:300]
        )
        scores.append(spearmanr(predictor.predict(population.take(slice(300, None))), accuracy[300:])[0])
    assert scores[0] < 0.4
    assert scores[1] > 0.8


def test_loss_is_the_cross_entropy_of_pairs():
    """With two rows there is one pair: enough steps make the classifier sure of it, and ties make it unsure."""
    population, _ = toy_population(2)
    for labels, sure in (([70.0, 90.0], 0.01), ([90.0, 70.0], 0.99), ([80.0, 80.0], 0.5)):
        predictor = pairwise.Predictor(epochs=200, learning_rate=1e-3, seed=0).fit(population, np.array(labels))
        with torch.inference_mode():
            chance = predictor.network_(*predictor._inputs(population)[0].split(1)).sigmoid().item()
        assert chance == pytest.approx(sure, abs=0.02)


@BOTH
def test_ranks_run_from_1_and_equal_inputs_share_theirs(module):
    population, accuracy = toy_population(20)
    predictor = module.Predictor(epochs=2, seed=0).fit(population, accuracy)
    twice = population.take(np.repeat(np.arange(20), 2))
    once, shared = predictor.predict(population), predictor.predict(twice)
    assert sorted(once) == list(range(1, 21))
    np.testing.assert_array_equal(shared, np.repeat(2 * once - 0.5, 2))


@BOTH
def test_ranks_do_not_depend_on_the_order_of_rows(module):
    """Not even where the classifier contradicts itself, as an untrained one does."""
    population, accuracy = toy_population(300)
    predictor = module.Predictor(epochs=0, seed=0).fit(population, accuracy)
    order = np.random.default_rng(5).permutation(300)
    np.testing.assert_array_equal(predictor.predict(population.take(order)), predictor.predict(population)[order])


def test_only_the_order_of_labels_matters():
    population, accuracy = toy_population(40)
    one, other = (
        pairwise.Predictor(epochs=3, seed=0).fit(population, labels).predict(population)
        for labels in (accuracy, np.exp(accuracy / 10))
    )
    np.testing.assert_array_equal(one, other)


def test_sizes_are_those_of_the_paper():
    population, accuracy = toy_population(4)
    plain, fuzzy = (
        module.Predictor(epochs=0, seed=0).fit(population, accuracy).network_ for module in (pairwise, pairwise_fuzzy)
    )
    assert [part.weight.shape[0] for part in plain.compare if hasattr(part, "weight")] == [128, 128, 128, 128, 1]
    assert plain.compare[0].weight.shape[1] == 2 * 8
    assert [tuple(weight.shape) for weight in fuzzy.latent.weights] == [
        (2, 8, 128), (2, 128, 128), (2, 128, 128), (2, 128, 128), (2, 128, 16)
    ]  # fmt: skip
    assert fuzzy.compare[0].weight.shape[1] == 2 * 16
