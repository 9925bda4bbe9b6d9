"""plain: the first-order change of the loss when the weights shrink, signed (Abdelfattah et al. 2021, section 3).

sum g w, g = dL/dw. A convolution whose output goes straight into a batch normalisation has 0 but for eps: its scale
does not matter. So the classifier decides, and the score of a network is little more than the noise of its
initialisation.
"""

import torch
from torch import Tensor

from archgauge.graphs.realise import RealisedGraph
from archgauge.proxies.network import Score, gradients, loss, weights


def score(network: RealisedGraph, images: Tensor, labels: Tensor, rng: torch.Generator) -> Score:
    """Sum of g w of each layer; see `_network` for the arguments."""
    own = weights(network)
    return of_gradient(own, gradients(loss(network, images, labels), own))


def of_gradient(own: dict[int, Tensor], gradient: dict[int, Tensor]) -> Score:
    """The same of the weights by node, and dL/dw."""
    return {node: (gradient[node] * weight).sum().item() for node, weight in own.items()}
