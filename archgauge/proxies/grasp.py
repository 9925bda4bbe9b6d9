"""grasp: how gradient flow changes when weights are removed (Wang et al. 2020, arXiv 2002.07376, equation 8).

sum -w (H g), H the Hessian of the loss, at temperature 1 and on the whole batch. H g is the gradient of g0 . g with g0
held fixed. A convolution that goes straight into a batch normalisation contributes g^2. The classifier's term all but
cancels these, so the score of a network is little more than the noise of its initialisation.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from archgauge.graphs.realise import RealisedGraph
from archgauge.proxies.network import Score, gradients, loss, weights


def score(network: RealisedGraph, images: Tensor, labels: Tensor, rng: torch.Generator) -> Score:
    """Sum of -w (H g) of each layer; see `_network` for the arguments."""
    own = weights(network)
    with _TwiceDifferentiable(), sdpa_kernel(SDPBackend.MATH):
        gradient = gradients(loss(network, images, labels), own, create_graph=True)
    product = sum(((value.detach() * value).sum() for value in gradient.values()), torch.zeros(()))
    hessian_gradient = gradients(product, own)
    return {node: -(weight * hessian_gradient[node]).sum().item() for node, weight in own.items()}


class _TwiceDifferentiable(TorchFunctionMode):
    """PyTorch has no second derivative of the hard sigmoid (nor of its fast attention kernels)."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is F.hardsigmoid:
            return F.relu6(args[0] + 3) / 6
        return function(*args, **(kwargs or {}))
