"""A classifier of pairs: which of two architectures is better (GENNAPE, supplement)."""

import torch
from torch import Tensor, nn


class PairwiseClassifier(nn.Module):
    """logit P(i better than j) = g([z_i, z_j]) - g([z_j, z_i]), so that P(i, j) + P(j, i) = 1.

    The paper concatenates and does not say what makes the two orders agree. The difference does for any g and any
    training set, and it answers 1/2 for an architecture and itself.

    Args:
        latent: makes z (N, L) of what is known of each architecture.
        compare: g, (M, 2 L) -> (M, 1).
    """

    def __init__(self, latent: nn.Module, compare: nn.Module):
        super().__init__()
        self.latent, self.compare = latent, compare

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Latent vectors of M pairs, (M, L) each, to logits (M,)."""
        pairs = torch.cat([torch.cat([one, other], dim=1), torch.cat([other, one], dim=1)])
        straight, swapped = self.compare(pairs).squeeze(1).chunk(2)
        return straight - swapped
