"""GENNAPE's pairwise classifier with memberships in fuzzy clusters (its supplement)."""

from typing import ClassVar

import torch
from torch import Tensor

from archgauge.nn.heads import MlpEnsemble, mlp
from archgauge.nn.pairwise import PairwiseClassifier
from archgauge.predictors._pairwise import HIDDEN, Pairwise
from archgauge.predictors.population import Population, column

LATENT = 16
"""Width of what is compared (supplement)."""


class Predictor(Pairwise):
    """z_i = sum_j U_ij f_j(h_i) of 16 numbers, with C perceptrons of four hidden layers of 128; pairs of z compared.

    The paper's last part is "an MLP layer" on the two z. Here it has one hidden layer of 128: a linear one, made
    antisymmetric, would be w (z_i - z_j), a score of each architecture alone, and no classifier of pairs.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"embedding", "membership"})
    predicts_percent: ClassVar[bool] = False

    def network(self, widths: list[int], generator: torch.Generator) -> PairwiseClassifier:
        """The C perceptrons and the classifier of pairs of what they make."""
        latent = MlpEnsemble(widths[0], widths[1], generator, HIDDEN, outputs=LATENT)
        return PairwiseClassifier(latent, mlp(2 * LATENT, 1, generator, HIDDEN[:1]))

    def beside(self, population: Population) -> tuple[Tensor, ...]:
        """Memberships (N, C)."""
        return (torch.tensor(column(population, "membership", "pairwise_fuzzy")),)
