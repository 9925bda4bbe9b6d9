"""zen: how strongly the features react to noise, at Gaussian weights (Lin et al. 2021, arXiv 2102.01063, algorithm 1).

log mean_b |f(x) - f(x + 0.01 e)|_1 + sum over batch normalisations of log sqrt(mean running variance), where f is what
the last global pool reads, x and e are standard normal of the images' shape, and all weights standard normal, biases 0.
Running variances are those after the two passes, started at 1 with momentum 0.1, as in the authors' code. The authors
take the mean of 32 repeats, NASLib and so the published columns one; here a seed is one repeat.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from archgauge.graphs.realise import RealisedGraph
from archgauge.proxies.network import WHOLE, BatchNorm, Score, Watched, weighted

GAMMA = 1e-2
_POOL = frozenset[Callable]({torch.Tensor.mean})  # how a realised graph runs a global average pool


@torch.no_grad()
def score(network: RealisedGraph, images: Tensor, labels: Tensor, rng: torch.Generator) -> Score:
    """The change of the features under `WHOLE`, and each batch normalisation's term; of `images` the shape counts."""
    for layer in weighted(network).values():
        layer.weight.normal_(generator=rng)
        if layer.bias is not None:
            layer.bias.zero_()
    image, noise = (torch.empty_like(images).normal_(generator=rng) for _ in range(2))
    near, far = (_features(network, one) for one in (image, image + GAMMA * noise))
    if near is None or far is None:
        return {}
    change = (near - far).abs().flatten(1).sum(1).mean()
    terms = {
        int(node): layer.running_var.mean().sqrt().log().item()
        for node, layer in network.layers.items()
        if isinstance(layer, BatchNorm) and layer.running_var is not None
    }
    return {WHOLE: change.log().item(), **terms}


def _features(network: RealisedGraph, images: Tensor) -> Tensor | None:
    """What the last global average pool reads, or None where there is no pool."""
    with Watched(_POOL) as watched:
        network(images)
    pooled = [value for value in watched.inputs if value.dim() == 4]
    return pooled[-1] if pooled else None
