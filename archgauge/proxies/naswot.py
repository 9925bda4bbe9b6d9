"""naswot: how well the network's rectifiers tell the images apart (Mellor et al. 2021, arXiv 2006.04647, equation 2).

Each rectifier (ReLU, ReLU6, leaky, parametric) gives an image a binary code x, where its input is positive. With
K = sum over rectifiers of x x^T + (1 - x)(1 - x)^T, (B, B), the score is log |det K|. Labels are not used.
"""

import torch
from torch import Tensor

from archgauge.graphs.realise import RealisedGraph
from archgauge.proxies.network import RECTIFIERS, WHOLE, Score, Watched


@torch.no_grad()
def score(network: RealisedGraph, images: Tensor, labels: Tensor, rng: torch.Generator) -> Score:
    """One value for the network, -inf where two images have equal codes; see `_network` for the arguments."""
    with Watched(RECTIFIERS) as watched:
        network(images)
    kernel = torch.zeros(len(images), len(images), dtype=torch.float64)
    for before in watched.inputs:
        code = (before > 0).flatten(1).float()  # sums of ones: exact below 2^24
        kernel += code @ code.T + (1 - code) @ (1 - code).T
    return {WHOLE: torch.linalg.slogdet(kernel).logabsdet.item()} if watched.inputs else {}
