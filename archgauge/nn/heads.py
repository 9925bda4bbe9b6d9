"""Heads on graph embeddings: a perceptron, and many perceptrons computed at once."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

GENNAPE_HIDDEN = (256, 256, 256, 256)
"""Hidden layers of each of GENNAPE's regressors (supplement)."""


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Draw every linear layer and embedding of `module` anew from `generator`, with torch's default distributions."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            bound = part.in_features**-0.5
            nn.init.uniform_(part.weight, -bound, bound, generator=generator)
            if part.bias is not None:
                nn.init.uniform_(part.bias, -bound, bound, generator=generator)
        elif isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight, generator=generator)


def mlp(inputs: int, outputs: int, generator: torch.Generator, hidden: Sequence[int] = GENNAPE_HIDDEN) -> nn.Sequential:
    """A perceptron (N, inputs) -> (N, outputs) with ReLU after every hidden layer."""
    layers: list[nn.Module] = []
    for before, after in pairwise((inputs, *hidden)):
        layers += [nn.Linear(before, after), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear((inputs, *hidden)[-1], outputs))
    initialise(model, generator)
    return model


class MlpEnsemble(nn.Module):
    """C perceptrons f_1..f_C, weighted by memberships: y_i = sum_j U_ij f_j(h_i) (GENNAPE).

    All heads are computed together, one batched matrix product a layer.

    Args:
        inputs: D.
        n_heads: C.
        generator: source of the initial weights.
        hidden: widths of the hidden layers.
        outputs: O, length of each y_i.
    """

    def __init__(
        self,
        inputs: int,
        n_heads: int,
        generator: torch.Generator,
        hidden: Sequence[int] = GENNAPE_HIDDEN,
        outputs: int = 1,
    ):
        super().__init__()
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for before, after in pairwise((inputs, *hidden, outputs)):
            bound = before**-0.5
            weight, bias = torch.empty(n_heads, before, after), torch.empty(n_heads, 1, after)
            self.weights.append(nn.Parameter(weight.uniform_(-bound, bound, generator=generator)))
            self.biases.append(nn.Parameter(bias.uniform_(-bound, bound, generator=generator)))

    def heads(self, h: Tensor) -> Tensor:
        """Every head's own outputs: (N, D) -> (N, C, O)."""
        x = h.expand(len(self.weights[0]), *h.shape)
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x, weight)
            x = x if layer == last else x.relu()
        return x.transpose(0, 1)

    def forward(self, h: Tensor, membership: Tensor) -> Tensor:
        """(N, D), (N, C) -> (N, O)."""
        return (membership[..., None] * self.heads(h)).sum(1)
