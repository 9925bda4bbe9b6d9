"""synflow: the strength of all paths from input to output (Tanaka et al. 2020, arXiv 2006.05467, equation 2).

sum |w dR/dw| with R = sum of the outputs for an input of ones, every parameter replaced by its absolute value, and
normalisations bypassed. It needs no data. One image, float64: deep networks overflow float32.
"""

import torch
from torch import Tensor, nn

from archgauge.graphs.realise import RealisedGraph
from archgauge.proxies.network import Normalisation, Score, gradients, weights


def score(network: RealisedGraph, images: Tensor, labels: Tensor, rng: torch.Generator) -> Score:
    """Sum of |w dR/dw| of each layer; of `images` only the shape counts."""
    for name, layer in network.layers.items():
        if isinstance(layer, Normalisation):
            network.layers[name] = nn.Identity()
    network.double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    own = weights(network)
    gradient = gradients(network(images.new_ones((1, *images.shape[1:]), dtype=torch.float64)).sum(), own)
    return {node: (weight * gradient[node]).abs().sum().item() for node, weight in own.items()}
