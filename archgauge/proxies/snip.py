"""snip: how much the loss depends on the presence of each weight (Lee et al. 2019, arXiv 1810.02340; Abdelfattah 2021).

With masks c = 1 on the weights, sum |dL/dc| = sum |g w|, g = dL/dw.
"""

import torch
from torch import Tensor

from archgauge.graphs.realise import RealisedGraph
from archgauge.proxies.network import Score, gradients, loss, weights


def score(network: RealisedGraph, images: Tensor, labels: Tensor, rng: torch.Generator) -> Score:
    """Sum of |g w| of each layer; see `_network` for the arguments."""
    own = weights(network)
    return of_gradient(own, gradients(loss(network, images, labels), own))


def of_gradient(own: dict[int, Tensor], gradient: dict[int, Tensor]) -> Score:
    """The same of the weights by node, and dL/dw."""
    return {node: (gradient[node] * weight).abs().sum().item() for node, weight in own.items()}
