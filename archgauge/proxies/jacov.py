"""jacov (jacob_cov): how differently the network reacts to small changes of each image (Mellor et al. 2020, v1).

J = d(sum of the outputs) / d image, one row an image, and v the eigenvalues of the rows' correlations:
-sum [log(v + eps) + 1 / (v + eps)], eps = 1e-5 (SamsungLabs/zero-cost-nas). It depends on the size of the batch.
"""

import torch
from torch import Tensor

from archgauge.graphs.realise import RealisedGraph
from archgauge.proxies.network import WHOLE, Score

EPS = 1e-5


def score(network: RealisedGraph, images: Tensor, labels: Tensor, rng: torch.Generator) -> Score:
    """One value for the network, NaN where an image has no gradient; see `_network` for the arguments."""
    images = images.clone().requires_grad_()
    (jacobian,) = torch.autograd.grad(network(images).sum(), images, materialize_grads=True)
    correlation = torch.corrcoef(jacobian.flatten(1).double())
    if not correlation.isfinite().all():
        return {WHOLE: float("nan")}
    shifted = torch.linalg.eigvalsh(correlation).clamp(min=0) + EPS  # rounding makes some of them negative
    return {WHOLE: -(shifted.log() + 1 / shifted).sum().item()}
