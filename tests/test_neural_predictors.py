"""The neural predictors: GENNAPE's target transform, the training loop, the heads."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from memory_store import MemoryStore, family_store
from scipy.stats import spearmanr
from torch import nn
from torch.nn.functional import mse_loss

from archgauge.nn.heads import mlp
from archgauge.predictors import fuzzy_ensemble, k_gnn, regressor
from archgauge.predictors._end_to_end import _kind_features
from archgauge.predictors._standardiser import Standardiser
from archgauge.predictors.neural import Target, minimise, predicted
from archgauge.predictors.population import Population


@pytest.fixture(autouse=True)
def one_thread():
    """Operations as small as these wait longer for a second thread than they take."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def toy_population(n: int, seed: int = 0) -> tuple[Population, np.ndarray]:
    """Features whose first two columns make the accuracy; rows of the two clusters follow opposite rules."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 8)).astype(np.float32) * 3 + 7
    ids = np.array([f"toy/{i}" for i in range(n)], object)
    macs = 1e9 * np.exp((features[:, 2].astype(float) - 7) / 6)
    membership = np.eye(2, dtype=np.float32)[rng.integers(0, 2, n)]
    population = Population(ids, macs, macs, embedding=features, structure=features, membership=membership)
    return population, 80 + features[:, 0].astype(float) - 0.5 * features[:, 1]


def test_target_is_equation_5_by_hand():
    accuracy, macs = np.array([90.0, 80.0]), np.array([9e9, 99e9])  # log10(F + 1) + 1 is 2 and 3
    target = Target.fit(accuracy, macs, flops_transform="eq5")
    scaled = np.array([45.0, 80 / 3])
    assert (target.mean, target.std) == (pytest.approx(scaled.mean()), pytest.approx(scaled.std()))
    np.testing.assert_allclose(target.of(accuracy, macs), [1, -1], rtol=1e-6)
    np.testing.assert_allclose(target.accuracy_pct(target.of(accuracy, macs), macs), accuracy, rtol=1e-6)


def test_the_centred_target_by_hand():
    accuracy, macs = np.array([90.0, 80.0]), np.array([9e9, 99e9])  # the mean is 85, log10(F + 1) + 1 is 2 and 3
    target = Target.fit(accuracy, macs, flops_transform="centred")
    scaled = np.array([2.5, -5 / 3])
    assert (target.centre, target.mean) == (85, pytest.approx(scaled.mean()))
    np.testing.assert_allclose(target.of(accuracy, macs), [1, -1], rtol=1e-6)
    np.testing.assert_allclose(target.accuracy_pct(target.of(accuracy, macs), macs), accuracy, rtol=1e-6)
    unsure = target.accuracy_pct(torch.tensor([-target.mean / target.std] * 2), np.array([1e6, 1e12]))
    np.testing.assert_allclose(unsure, 85, rtol=1e-6)


def test_target_without_the_transform_does_not_read_macs():
    target = Target.fit(np.array([90.0, 80.0]), np.array([np.nan, np.nan]), flops_transform="none")
    np.testing.assert_allclose(target.accuracy_pct(torch.tensor([0.0]), np.array([np.nan])), [85])


def test_equal_labels_are_predicted_as_they_are():
    population, _ = toy_population(12)
    for module in (regressor, fuzzy_ensemble):
        for transformed in ("none", "eq5", "centred"):
            same = replace(population, macs=np.full(12, 1e9))
            predictor = module.Predictor(seed=0, epochs=30, learning_rate=1e-3, flops_transform=transformed)
            np.testing.assert_allclose(predictor.fit(same, np.full(12, 91.5)).predict(same), 91.5, atol=1.5)


def minimise_error(network: nn.Module, x: torch.Tensor, y: torch.Tensor, **settings) -> None:
    """In batches of 16, in the order of the generator's seed 5."""
    generator = torch.Generator().manual_seed(5)

    def loss(rows: torch.Tensor) -> torch.Tensor:
        return mse_loss(network(x[rows]).squeeze(1), y[rows])

    minimise(network, loss, len(y), batch_size=16, generator=generator, **settings)


def test_training_follows_the_generator_and_reaches_the_least_squares_solution():
    """A linear network has one optimum, which lstsq knows."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 3, generator=generator)
    y = x @ torch.tensor([1.0, -2.0, 0.5]) + 0.3
    networks = [nn.Linear(3, 1), nn.Linear(3, 1)]
    for network in networks:
        with torch.no_grad():
            for part in network.parameters():
                part.zero_()
        minimise_error(network, x, y, epochs=150, learning_rate=0.03, schedule="constant")
    assert torch.equal(networks[0].weight, networks[1].weight)
    np.testing.assert_allclose(networks[0].weight.detach()[0], [1, -2, 0.5], atol=1e-2)
    np.testing.assert_allclose(networks[0].bias.detach(), [0.3], atol=1e-2)


def test_learning_rate_falls_as_in_torchs_cosine_annealing():
    """As many steps as rows of batches come in: the last, smaller batch of an epoch is a step too."""
    x, y = torch.randn(70, 3, generator=torch.Generator().manual_seed(0)), torch.arange(70.0)
    ours, theirs = (nn.Linear(3, 1) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())

    minimise_error(ours, x, y, epochs=4, learning_rate=0.1, schedule="cosine")
    optimiser = torch.optim.Adam(theirs.parameters(), 0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 4 * 5)
    generator = torch.Generator().manual_seed(5)
    for _ in range(4):
        for rows in torch.randperm(70, generator=generator).split(16):
            optimiser.zero_grad()
            mse_loss(theirs(x[rows]).squeeze(1), y[rows]).backward()
            nn.utils.clip_grad_norm_(theirs.parameters(), 5.0)
            optimiser.step()
            schedule.step()
    assert optimiser.param_groups[0]["lr"] == pytest.approx(0)
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-5, atol=1e-6)


def test_prediction_in_pieces_is_prediction_at_once():
    network, rows = mlp(3, 1, torch.Generator().manual_seed(0)), torch.randn(9000, 3)
    np.testing.assert_allclose(predicted(network, rows), network(rows).detach().squeeze(1), atol=1e-6)


@pytest.mark.parametrize("module", [regressor, fuzzy_ensemble])
@pytest.mark.parametrize("flops_transform", ["none", "eq5", "centred"])
def test_heads_learn(module, flops_transform):
    population, accuracy = toy_population(260)
    predictor = module.Predictor(flops_transform=flops_transform, epochs=40, learning_rate=1e-3, seed=1)
    predictor.fit(population.take(slice(160)), accuracy[:160])
    guess = predictor.predict(population.take(slice(160, None)))
    assert spearmanr(guess, accuracy[160:])[0] > 0.85
    assert np.abs(guess - accuracy[160:]).mean() < 0.6 * accuracy.std()


def test_an_epoch_takes_no_more_steps_than_it_may():
    """Batches of 1 become batches of 3 where 12 rows may take 4 steps; where they are few enough nothing changes."""
    population, accuracy = toy_population(12)

    def trained(**batches):
        return regressor.Predictor(seed=0, epochs=3, **batches).fit(population, accuracy).predict(population)

    np.testing.assert_array_equal(trained(batch_size=1, epoch_steps=4), trained(batch_size=3))
    np.testing.assert_array_equal(trained(batch_size=1, epoch_steps=5), trained(batch_size=3))
    np.testing.assert_array_equal(trained(batch_size=4, epoch_steps=5), trained(batch_size=4))
    assert not np.array_equal(trained(batch_size=1, epoch_steps=4), trained(batch_size=1))


def test_ensemble_keeps_a_rule_for_each_cluster():
    population, accuracy = toy_population(400)
    first = population.membership[:, 0] > 0
    accuracy = np.where(first, accuracy, 170 - accuracy)
    scores = []
    for module in (regressor, fuzzy_ensemble):
        predictor = module.Predictor(epochs=40, learning_rate=1e-3, seed=1).fit(
            population.take(slice(300)), accuracy[:300]
        )
        scores.append(spearmanr(predictor.predict(population.take(slice(300, None))), accuracy[300:])[0])
    assert scores[0] < 0.3
    assert scores[1] > 0.8


def graph_population(n: int) -> tuple[Population, MemoryStore]:
    store = family_store("nb201", n)
    macs, params = store.macs.astype(float), store.params.astype(float)
    return Population(store.arch_id, macs, params, graphs=(store, np.arange(n))), store


def test_k_gnn_learns_and_scores_equal_live_graphs_alike():
    store = family_store("nb201", 150)
    store.live_hash = np.array([f"{macs}" for macs in store.macs])  # any grouping: one member stands for all
    population = Population(
        store.arch_id, store.macs.astype(float), store.params.astype(float), graphs=(store, np.arange(150))
    )
    accuracy = 60 + 10 * np.log10(store.macs / store.macs.min())
    predictor = k_gnn.Predictor(epochs=20, learning_rate=3e-3, seed=0).fit(population.take(slice(100)), accuracy[:100])
    guess = predictor.predict(population)
    assert spearmanr(guess[100:], accuracy[100:])[0] > 0.6
    _, which = np.unique(store.live_hash, return_inverse=True)
    assert len(np.unique(guess)) <= which.max() + 1 < 150


def test_k_gnn_is_the_network_of_gennape():
    store = family_store("nb201", 2)
    population = Population(
        store.arch_id, store.macs.astype(float), store.params.astype(float), graphs=(store, np.arange(2))
    )
    network = k_gnn.Predictor(epochs=1, seed=0).fit(population, np.array([80.0, 90.0])).network_
    assert [(layer.own.in_features, layer.own.out_features) for layer in network.gnn.convolutions] == [(32, 32)] * 6
    assert [part.out_features for part in network.head if isinstance(part, nn.Linear)] == [32, 32, 32, 32, 1]


def test_networks_of_other_sizes():
    """The transferable predictor's: a GNN of width 64, and a head of five layers of hidden size 200."""
    population, _ = graph_population(2)
    labels = np.array([80.0, 90.0])
    network = k_gnn.Predictor(epochs=1, width=64, layers=4, seed=0).fit(population, labels).network_
    assert [(layer.own.in_features, layer.own.out_features) for layer in network.gnn.convolutions] == [(64, 64)] * 4
    assert [part.out_features for part in network.head if isinstance(part, nn.Linear)] == [64, 64, 64, 64, 1]
    toy, accuracy = toy_population(4)
    head = regressor.Predictor(epochs=1, hidden=[200] * 4, seed=0).fit(toy, accuracy)
    assert [part.out_features for part in head.network_ if isinstance(part, nn.Linear)] == [200] * 4 + [1]
    restored = regressor.Predictor(epochs=1, hidden=[200] * 4, seed=0).restore(head.state())
    np.testing.assert_array_equal(restored.predict(toy), head.predict(toy))


def test_seed_decides():
    population, accuracy = toy_population(40)
    one, other = (
        regressor.Predictor(seed=seed, epochs=2).fit(population, accuracy).predict(population) for seed in (1, 2)
    )
    assert not np.array_equal(one, other)


def test_standardiser_ignores_what_does_not_vary():
    features = np.array([[1.0, 5.0, 1e6], [3.0, 5.0, 1e6 + 1]])
    standard = Standardiser.fit(features)
    np.testing.assert_array_equal(standard.varying, [True, False, False])
    np.testing.assert_allclose(standard(np.array([[5.0, 9.0, 0.0]])), [[3, 0, 0]])


def test_kinds_that_a_batch_does_not_have_change_nothing():
    """A table of kinds longer than the batch is cut to those that are there."""
    store = family_store("nb201", 12)
    population = Population(store.arch_id, store.macs, store.params, graphs=(store, np.arange(12)))
    network = k_gnn.Predictor(epochs=1, seed=0).fit(population, np.linspace(80, 90, 12)).network_
    batch, kinds = store.batch(np.arange(2)), _kind_features(store.kinds)
    longer = [torch.cat([part, *[part.flip(0)] * 20]) for part in kinds]
    assert len(kinds[0]) < len(batch.kind) < len(longer[0])
    embedded: list[int] = []
    network.embedding.register_forward_pre_hook(lambda module, given: embedded.append(len(given[0])))
    outputs = []
    for features in (longer, kinds):
        network.zero_grad()
        output = network(batch, *features)
        output.sum().backward()
        outputs.append([output.detach(), *(part.grad.clone() for part in network.parameters())])
    assert embedded == [len(batch.kind.unique()), len(kinds[0])]
    torch.testing.assert_close(*outputs)
