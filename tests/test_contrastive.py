"""Eq. 1 of GENNAPE and Eq. 4.5 of the transferable predictor against hand calculations, loops, and symmetries."""

import math

import numpy as np
import pytest
import torch

from archgauge.pretraining.contrastive import (
    contrastive_loss,
    family_weights,
    nearest_graphs,
    spectral_distance,
    target_weights,
)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(2)


def _normal(generator, *shape):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_by_hand():
    """Two graphs a distance of ln 2 apart, alpha temperature 1, two copies each; unit vectors at right angles.

    exp(-sigma) is 1 for the twin and 1/2 for each copy of the other graph: alpha = (1/2, 1/4, 1/4). With tau = 1,
    exp(sim) is e for the twin and 1 for the two others, so each anchor's loss is log(e + 2) - 1/2.
    """
    eigenvalues = torch.tensor([[0.0, 1.0], [0.0, 1.0 + math.log(2)]], dtype=torch.float64)
    weights = target_weights(eigenvalues, 1.0)
    expected = [[0, 0.25, 0.5, 0.25], [0.25, 0, 0.25, 0.5], [0.5, 0.25, 0, 0.25], [0.25, 0.5, 0.25, 0]]
    torch.testing.assert_close(weights, torch.tensor(expected, dtype=torch.float64))
    projected = torch.tensor([[3.0, 0], [0, 0.1], [1, 0], [0, 7]], dtype=torch.float64)
    assert contrastive_loss(projected, weights, 1.0).item() == pytest.approx(math.log(math.e + 2) - 0.5)


def test_against_a_loop(generator):
    eigenvalues, projected = _normal(generator, 5, 4).abs(), _normal(generator, 10, 3)
    tau, temperature, total = 0.3, 0.7, 0.0
    unit = [(row / row.square().sum().sqrt()).tolist() for row in projected]

    def similar(i, j):
        return math.exp(sum(a * b for a, b in zip(unit[i], unit[j], strict=True)) / tau)

    for i in range(10):
        others = [j for j in range(10) if j != i]
        near = {j: math.exp(-math.dist(eigenvalues[i % 5], eigenvalues[j % 5]) / temperature) for j in others}
        alpha = {j: value / sum(near.values()) for j, value in near.items()}
        everything = sum(similar(i, r) for r in others)
        total -= sum(alpha[j] * math.log(similar(i, j) / everything) for j in others)
    ours = contrastive_loss(projected, target_weights(eigenvalues, temperature), tau)
    assert ours.item() == pytest.approx(total / 10, abs=1e-12)


def test_order_of_the_graphs_does_not_matter(generator):
    eigenvalues, projected = _normal(generator, 6, 4).abs(), _normal(generator, 2, 6, 3)
    order = torch.randperm(6, generator=generator)
    losses = [
        contrastive_loss(samples.flatten(0, 1), target_weights(spectra, 0.05), 0.05)
        for samples, spectra in ((projected, eigenvalues), (projected[:, order], eigenvalues[order]))
    ]
    torch.testing.assert_close(*losses)


def test_nearer_graphs_weigh_more_and_the_twin_most():
    eigenvalues = torch.tensor([[0.0], [0.1], [0.4]])
    weights = target_weights(eigenvalues, 0.05)
    torch.testing.assert_close(weights.sum(1), torch.ones(6))
    assert weights.diagonal().count_nonzero() == 0
    assert weights[0, 3] > weights[0, 1] > weights[0, 2] > 0
    assert weights[0, 4] == weights[0, 1]


def test_small_distances_keep_their_digits():
    near = torch.tensor([[1.0, 1.5], [1.0, 1.5 + 1e-4]])
    assert spectral_distance(near)[0, 1].item() == pytest.approx((near[1] - near[0])[1].item(), rel=1e-6)


def test_gradient_pulls_the_near_together(generator):
    eigenvalues = torch.tensor([[0.0], [0.0], [9.0]])
    projected = _normal(generator, 6, 4).float().requires_grad_()
    optimiser = torch.optim.Adam([projected], 0.05)
    for _ in range(200):
        optimiser.zero_grad()
        loss = contrastive_loss(projected, target_weights(eigenvalues, 0.05), 0.05)
        loss.backward()
        optimiser.step()
    unit = torch.nn.functional.normalize(projected.detach(), dim=1)
    similarity = unit @ unit.T
    assert similarity[0, [1, 3, 4]].min() > similarity[0, [2, 5]].max() + 0.3
    # The least that three equal targets allow.
    assert loss.item() == pytest.approx(2 / 3 * math.log(3), abs=0.01)


def test_family_weights_by_hand():
    """Temperature 1, the second and third graph ln 2 and ln 4 from the first; the last two are another family."""
    eigenvalues = torch.tensor([[0.0], [math.log(2)], [math.log(4)], [0.0], [5.0]], dtype=torch.float64)
    weights = family_weights(eigenvalues, torch.tensor([0, 0, 0, 1, 1]), 1.0)
    expected = [
        [0, 2 / 3, 1 / 3, 0, 0],
        [1 / 2, 0, 1 / 2, 0, 0],
        [1 / 3, 2 / 3, 0, 0, 0],
        [0] * 4 + [1],
        [0] * 3 + [1, 0],
    ]
    torch.testing.assert_close(weights, torch.tensor(expected, dtype=torch.float64))


def test_one_family_is_the_other_form_without_twins(generator):
    eigenvalues = _normal(generator, 6, 4).abs()
    one_family = family_weights(eigenvalues, torch.zeros(6, dtype=torch.int64), 0.3)
    torch.testing.assert_close(one_family, target_weights(eigenvalues, 0.3, copies=1))


def test_family_loss_against_a_loop(generator):
    """Eq. 4.5: positives of the anchor's family in the sum, all other samples in the denominator."""
    eigenvalues, projected, tau = _normal(generator, 7, 4).abs(), _normal(generator, 7, 3), 0.1
    family, total = [0, 0, 0, 1, 1, 2, 2], 0.0
    unit = torch.nn.functional.normalize(projected, dim=1)
    for i in range(7):
        positives = [j for j in range(7) if j != i and family[j] == family[i]]
        near = {j: math.exp(-math.dist(eigenvalues[i], eigenvalues[j]) / 0.7) for j in positives}
        everything = sum(math.exp(unit[i] @ unit[r] / tau) for r in range(7) if r != i)
        for j in positives:
            share = math.exp(unit[i] @ unit[j] / tau) / everything
            total -= near[j] / sum(near.values()) * math.log(share)
    ours = contrastive_loss(projected, family_weights(eigenvalues, torch.tensor(family), 0.7), tau)
    assert ours.item() == pytest.approx(total / 7, abs=1e-12)


@pytest.mark.parametrize("count", [1, 4, 39, 60])
def test_nearest_graphs_are_the_nearest_others(count):
    spectra = np.random.default_rng(0).random((40, 11))
    found = nearest_graphs(spectra, count)
    distance = spectral_distance(torch.from_numpy(spectra)).fill_diagonal_(torch.inf).numpy()
    np.testing.assert_array_equal(found, np.argsort(distance, axis=1)[:, : min(count, 39)])


def test_graphs_of_one_spectrum_are_not_their_own_neighbours():
    found = nearest_graphs(np.repeat([[0.0, 1.0], [0.0, 2.0]], 30, axis=0), 5)
    assert found.shape == (60, 5)
    assert (found != np.arange(60)[:, None]).all()
    assert (found // 30 == np.arange(60)[:, None] // 30).all()
    assert all(len(set(row)) == 5 for row in found.tolist())
