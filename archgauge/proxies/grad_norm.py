"""grad_norm: the size of the gradients (Abdelfattah et al. 2021, arXiv 2101.08134, section 3).

Sum over layers of the Euclidean norm of dL/dW.
"""

import torch
from torch import Tensor

from archgauge.graphs.realise import RealisedGraph
from archgauge.proxies.network import Score, gradients, loss, weights


def score(network: RealisedGraph, images: Tensor, labels: Tensor, rng: torch.Generator) -> Score:
    """Norm of each layer's gradient; see `_network` for the arguments."""
    own = weights(network)
    return of_gradient(own, gradients(loss(network, images, labels), own))


def of_gradient(own: dict[int, Tensor], gradient: dict[int, Tensor]) -> Score:
    """The same of the weights by node, and dL/dw."""
    return {node: gradient[node].norm().item() for node in own}
