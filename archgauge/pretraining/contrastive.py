"""The contrastive losses of GENNAPE (Eq. 1) and of the transferable predictor (Eq. 4.5).

In GENNAPE's every other sample is a positive, as far as its graph's spectrum is near. In the transferable predictor's
only those of the anchor's family are, and training graphs with near spectra stand where GENNAPE has dropout twins.
"""

import numpy as np
import torch
from scipy.spatial import KDTree
from torch import Tensor
from torch.nn import functional


def spectral_distance(eigenvalues: Tensor) -> Tensor:
    """Euclidean distance of spectra, sigma(g_i, g_j).

    Args:
        eigenvalues: (B, q) float, the q smallest eigenvalues of each graph's normalised Laplacian; a graph with fewer
            nodes than q is padded with zeros (the papers do not say).

    Returns:
        (B, B) float, zero on the diagonal.
    """
    # The default goes through a matrix product, which loses half the digits of small distances.
    return torch.cdist(eigenvalues, eigenvalues, compute_mode="donot_use_mm_for_euclid_dist")


def target_weights(eigenvalues: Tensor, alpha_temperature: float, copies: int = 2) -> Tensor:
    """The convex weights alpha of Eq. 1: row i is softmax over l != i of -sigma(i, l) / alpha_temperature.

    The papers print neither the sign nor GENNAPE's temperature. Similar graphs must weigh more, hence the minus;
    the companion paper's temperature is 0.05. An anchor's own twin is at distance 0, so nothing weighs
    more than it; graphs with the same spectrum weigh as much.

    Args:
        eigenvalues: (B, q) float.
        alpha_temperature: positive.
        copies: stochastic passes a graph has in the batch; sample c * B + b is copy c of graph b.

    Returns:
        (copies * B, copies * B) float, rows sum to 1, zero on the diagonal.
    """
    logits = (-spectral_distance(eigenvalues) / alpha_temperature).repeat(copies, copies)
    return functional.softmax(logits.fill_diagonal_(-torch.inf), dim=1)


def family_weights(eigenvalues: Tensor, family: Tensor, alpha_temperature: float) -> Tensor:
    """The convex weights alpha of Eq. 4.5: as `target_weights` of one copy, over the anchor's family alone.

    Args:
        eigenvalues: (M, k) float.
        family: (M,) int64; at least two samples of each family that occurs.
        alpha_temperature: positive, 0.05 in the paper.

    Returns:
        (M, M) float, rows sum to 1, zero on the diagonal and between families.
    """
    logits = -spectral_distance(eigenvalues) / alpha_temperature
    logits = logits.masked_fill(family[:, None] != family, -torch.inf)
    return functional.softmax(logits.fill_diagonal_(-torch.inf), dim=1)


def nearest_graphs(eigenvalues: np.ndarray, count: int) -> np.ndarray:
    """The nearest other graphs of each graph of a family, by spectral distance.

    Args:
        eigenvalues: (n, k) float, n at least 2.
        count: how many, or all n - 1 where there are no more.

    Returns:
        (n, min(count, n - 1)) int64 rows, nearest first. Of equally near graphs any may come first.
    """
    n = len(eigenvalues)
    rows = np.arange(n)[:, None]
    found = KDTree(eigenvalues).query(eigenvalues, k=np.arange(1, min(count + 1, n) + 1))[1]
    # Among graphs of one spectrum, a graph need not be the first that is found for it, or be found at all.
    itself = found == rows
    itself[~itself.any(axis=1), -1] = True
    return found[~itself].reshape(n, -1)


def contrastive_loss(projected: Tensor, weights: Tensor, temperature: float) -> Tensor:
    """Eq. 1, averaged over the anchors instead of summed, so that its size does not depend on the batch.

    Args:
        projected: (M, p) float, projections of M samples, of any length; they are normalised here.
        weights: (M, M) float, alpha, zero on the diagonal.
        temperature: tau, positive.

    Returns:
        a scalar: -1/M sum_i sum_{l != i} alpha_il log(exp(z_i z_l / tau) / sum_{r != i} exp(z_i z_r / tau)).
    """
    unit = functional.normalize(projected, dim=1)
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    similarity = (unit @ unit.T / temperature).masked_fill(itself, -torch.inf)
    # The diagonal is log 0; its weight is 0 and the product would not be a number.
    log_share = functional.log_softmax(similarity, dim=1).masked_fill(itself, 0.0)
    return -(weights * log_share).sum(1).mean()
