"""Gaussian processes beside scikit-learn's: one view of a graph, the mean of several, and their sum."""

from dataclasses import replace

import numpy as np
import pytest
from memory_store import family_store
from scipy.optimize import approx_fprime
from scipy.stats import spearmanr
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Matern, WhiteKernel
from test_neural_predictors import toy_population

from archgauge.errors import PredictorError
from archgauge.graphs.parts import Parts
from archgauge.predictors import additive_gp, embedding_gp, graph_gp, structural_gp
from archgauge.predictors import matern_gp as gp
from archgauge.predictors.matern_gp import error_logs
from archgauge.predictors.population import Population

PRIOR = gp.PRIOR_MEAN, gp.PRIOR_SD


def matern_kernel(features: np.ndarray) -> gp.Kernel:
    between = gp.distance(features, features)
    return lambda logs: gp._kernel(between, logs)


def gp_problem(n: int = 30) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    features = rng.normal(size=(n, 5)) / np.sqrt(5)
    target = np.sin(3 * features[:, 0]) + features[:, 1] + 0.1 * rng.normal(size=n)
    return features, (target - target.mean()) / target.std()


def test_gp_agrees_with_scikit_learn_at_its_hyperparameters():
    features, target = gp_problem()
    mine = gp.MaternGp().fit(features[:20], target[:20])
    length, amplitude, noise = np.exp(mine.logs_)
    kernel = ConstantKernel(amplitude**2) * Matern(length, nu=1.5) + WhiteKernel(noise**2 + gp.JITTER)
    theirs = GaussianProcessRegressor(kernel, alpha=0, optimizer=None).fit(features[:20], target[:20])
    np.testing.assert_allclose(mine.predict(features[20:]), theirs.predict(features[20:]), rtol=1e-6, atol=1e-8)
    kernel = matern_kernel(features[:20])
    off = (mine.logs_ - gp.PRIOR_MEAN) / gp.PRIOR_SD
    value = gp._loss(mine.logs_, kernel, *PRIOR, target[:20])[0] - 0.5 * off @ off
    assert -value - 10 * np.log(2 * np.pi) == pytest.approx(theirs.log_marginal_likelihood(), rel=1e-6)


def test_gp_gradient_is_exact_and_vanishes_at_the_optimum():
    features, target = gp_problem()
    kernel = matern_kernel(features)
    at = np.array([-0.2, 0.4, -0.8])
    numeric = approx_fprime(at, lambda logs: gp._loss(logs, kernel, *PRIOR, target)[0], 1e-6)
    np.testing.assert_allclose(gp._loss(at, kernel, *PRIOR, target)[1], numeric, rtol=1e-4, atol=1e-4)
    assert np.abs(gp._loss(gp.MaternGp().fit(features, target).logs_, kernel, *PRIOR, target)[1]).max() < 1e-2


def test_the_search_of_hyperparameters_comes_back_from_impossible_ones():
    """On labels that have nothing to do with the features its first step may end where no kernel has a factor."""
    rng = np.random.default_rng(0)
    kernel = matern_kernel(rng.normal(size=(30, 2)))
    value, slope = gp._loss(np.array([0.0, 400.0, -1.0]), kernel, *PRIOR, rng.normal(size=30))
    assert value > gp.IMPOSSIBLE
    assert slope[1] == pytest.approx(400.0)
    with np.errstate(all="raise"):
        assert gp._loss(np.array([-400.0, 0.0, -1.0]), kernel, *PRIOR, np.ones(30))[0] > 0


@pytest.mark.parametrize("module", [structural_gp, embedding_gp])
def test_gp_learns_and_stays_below_its_ceiling(module):
    population, accuracy = toy_population(160)
    predictor = module.Predictor(seed=0).fit(population.take(slice(60)), accuracy[:60])
    guess = predictor.predict(population)
    assert spearmanr(guess[60:], accuracy[60:])[0] > 0.9
    assert guess.max() < gp.CEILING_PCT


@pytest.mark.parametrize("module", [structural_gp, embedding_gp])
def test_gp_refuses_accuracies_above_100(module):
    population, accuracy = toy_population(10)
    accuracy[3] = 100.5
    with pytest.raises(PredictorError, match=r"expected accuracies in percent, got 100\.5"):
        module.Predictor(seed=0).fit(population, accuracy)


def test_two_views_are_averaged_on_the_scale_that_is_learnt():
    population, accuracy = toy_population(80)
    population = replace(population, structure=population.structure[:, :3])
    one, other, both = (
        module.Predictor(seed=0).fit(population.take(slice(40)), accuracy[:40]).predict(population)
        for module in (structural_gp, embedding_gp, graph_gp)
    )
    assert not np.allclose(one, other, atol=0.1)
    np.testing.assert_allclose(error_logs(both), (error_logs(one) + error_logs(other)) / 2, rtol=1e-9)


def test_unit_of_a_feature_does_not_matter_to_the_gp():
    population, accuracy = toy_population(60)
    scaled = replace(population, structure=population.structure * np.logspace(-2, 2, 8).astype(np.float32) + 4)
    one, other = (
        structural_gp.Predictor(seed=0).fit(p.take(slice(40)), accuracy[:40]).predict(p) for p in (population, scaled)
    )
    np.testing.assert_allclose(one, other, rtol=1e-3)


def cells_with_views(n: int) -> tuple[Population, np.ndarray]:
    """NAS-Bench-201 cells; accuracies follow their 3 x 3 convolutions and a column of the embedding."""
    store, rng = family_store("nb201", n), np.random.default_rng(1)
    batch = store.batch(np.arange(n))
    wide = np.array([kind.operation == "conv" and kind.kernel == (3, 3) for kind in store.kinds])
    convolutions = np.bincount(batch.graph_of_node()[wide[batch.kind]].numpy(), minlength=n)
    embedding = rng.normal(size=(n, 3)).astype(np.float32)
    structure = rng.normal(size=(n, 4)).astype(np.float32)
    columns = {"macs": store.macs.astype(float), "params": store.params.astype(float)}
    population = Population(
        store.arch_id, **columns, embedding=embedding, structure=structure, graphs=(store, np.arange(n))
    )
    return population, 90 + np.log1p(convolutions) + 0.3 * embedding[:, 0].astype(float)


def test_the_sum_of_views_agrees_with_scikit_learn_at_its_hyperparameters():
    population, accuracy = cells_with_views(60)
    mine = additive_gp.Predictor(seed=0).fit(population.take(slice(40)), accuracy[:40])
    others = mine._placed(mine._raw(population.take(slice(40, None))))
    views = [np.vstack(pair) for pair in zip(mine.views_, others, strict=True)]
    covariance = np.zeros((60, 60))
    for view, (length, amplitude, slope) in zip(views, np.exp(mine.logs_[:-1]).reshape(-1, 3), strict=True):
        linear = ConstantKernel(slope**2) * DotProduct(sigma_0=0)
        covariance += (ConstantKernel(amplitude**2) * Matern(length, nu=1.5) + linear)(view)
    target = error_logs(accuracy[:40])
    target = (target - target.mean()) / target.std()
    noisy = covariance[:40, :40] + (np.exp(2 * mine.logs_[-1]) + gp.JITTER) * np.eye(40)
    expected = covariance[40:, :40] @ np.linalg.solve(noisy, target)
    found = error_logs(mine.predict(population.take(slice(40, None))))
    np.testing.assert_allclose((found - mine.offset_) / mine.scale_, expected, rtol=1e-6, atol=1e-8)


def test_the_gradient_of_the_sum_is_exact():
    population, accuracy = cells_with_views(30)
    views = additive_gp.Predictor(seed=0).fit(population, accuracy).views_
    terms = [(gp.distance(view, view), view @ view.T) for view in views]
    prior = additive_gp.PRIOR_MEAN, additive_gp.PRIOR_SD
    at = additive_gp.PRIOR_MEAN + np.random.default_rng(0).normal(size=len(additive_gp.PRIOR_MEAN)) / 4
    target = np.random.default_rng(1).normal(size=30)

    def loss(logs: np.ndarray):
        return gp._loss(logs, lambda one: additive_gp._kernel(terms, one), *prior, target)

    np.testing.assert_allclose(loss(at)[1], approx_fprime(at, lambda logs: loss(logs)[0], 1e-6), rtol=1e-4, atol=1e-4)


def test_the_sum_finds_what_its_views_say_together():
    """Neither the counts nor the embedding say all, and half of what it is given is noise."""
    population, accuracy = cells_with_views(300)
    guess = additive_gp.Predictor(seed=0).fit(population.take(slice(50)), accuracy[:50]).predict(population)
    together = spearmanr(guess[50:], accuracy[50:])[0]
    blind = replace(population, embedding=np.zeros_like(population.embedding))
    guess = additive_gp.Predictor(seed=0).fit(blind.take(slice(50)), accuracy[:50]).predict(blind)
    assert together > 0.95 > spearmanr(guess[50:], accuracy[50:])[0] + 0.02


def test_the_sum_refuses_accuracies_above_100():
    population, accuracy = cells_with_views(10)
    accuracy[3] = 100.5
    with pytest.raises(PredictorError, match=r"expected accuracies in percent, got 100\.5"):
        additive_gp.Predictor(seed=0).fit(population, accuracy)


def test_wires_say_what_kinds_do_not():
    """Accuracy is how often a 3 x 3 convolution feeds another one; as many of both may stand side by side."""
    population, _ = cells_with_views(300)
    parts = Parts.of(*population.graphs)
    wide = [kind.operation == "conv" and kind.kernel == (3, 3) for pair in parts.wires for kind in pair]
    both = np.array(wide).reshape(-1, 2).all(axis=1)
    accuracy = 80 + parts.counted(*population.graphs)[1][:, both].sum(axis=1)
    guess = additive_gp.Predictor(seed=0).fit(population.take(slice(60)), accuracy[:60]).predict(population)
    assert spearmanr(guess[60:], accuracy[60:])[0] > 0.9  # 0.74 from kinds alone


def test_the_prior_shares_the_variance_among_the_views():
    """Standardised targets have a variance of 1, and so has a network under the kernel that the search starts from."""
    per_view = np.exp(2 * additive_gp.PRIOR_MEAN[:-1].reshape(-1, 3)[:, 1:])
    assert per_view.sum() == pytest.approx(1)
    assert len(additive_gp.PRIOR_SD) == len(additive_gp.PRIOR_MEAN) == 3 * additive_gp.VIEWS + 1


def test_predictions_come_in_chunks(monkeypatch):
    population, accuracy = cells_with_views(40)
    predictor = additive_gp.Predictor(seed=0).fit(population.take(slice(20)), accuracy[:20])
    expected = predictor.predict(population)
    monkeypatch.setattr(additive_gp, "CHUNK", 7)
    np.testing.assert_allclose(predictor.predict(population), expected, rtol=1e-12)
    assert len(predictor.predict(population.take(slice(0)))) == 0
