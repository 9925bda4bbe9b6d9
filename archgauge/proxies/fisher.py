"""fisher: the information that each channel holds (Theis et al. 2018, arXiv 1801.05787; Turner et al. 2020).

For each channel of the output a of a layer, with its gradient g: half the mean over the batch of (sum over pixels of
a g)^2. As in SamsungLabs/zero-cost-nas each weight of a channel counts its value: a channel is weighted by its fan-in.
"""

from functools import partial

import torch
from torch import Tensor, nn

from archgauge.graphs.realise import RealisedGraph
from archgauge.proxies.network import Score, gradients, loss, weighted


def score(network: RealisedGraph, images: Tensor, labels: Tensor, rng: torch.Generator) -> Score:
    """Fan-in times the sum over channels; see `_network` for the arguments."""
    outputs: dict[tuple[int, int], Tensor] = {}
    layers = weighted(network)
    for node, layer in layers.items():
        layer.register_forward_hook(partial(_keep, outputs, node))
    gradient = gradients(loss(network, images, labels), outputs)
    found = dict.fromkeys(layers, 0.0)
    for (node, call), output in outputs.items():
        weight = layers[node].weight
        product = output * gradient[node, call]
        rows = (
            product.sum((2, 3)) if product.dim() == 4 else product.reshape(len(product), -1, product.shape[-1]).sum(1)
        )
        found[node] += weight.numel() / rows.shape[1] * (rows**2).mean(0).sum().item() / 2
    return found


def _keep(outputs: dict[tuple[int, int], Tensor], node: int, _: nn.Module, __: tuple, output: Tensor) -> None:
    """Nodes that share weights call one layer several times."""
    outputs[node, len(outputs)] = output
