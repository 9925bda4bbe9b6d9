"""GENNAPE's ensemble of perceptrons, weighted by memberships in fuzzy clusters (its supplement)."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from archgauge.nn.heads import MlpEnsemble
from archgauge.predictors._embedding_head import EmbeddingHead
from archgauge.predictors.population import Population, column


class Predictor(EmbeddingHead):
    """y_i = sum_j U_ij f_j(h_i): a perceptron for each of the C clusters."""

    needs: ClassVar[frozenset[str]] = frozenset({"embedding", "membership", "macs"})
    predicts_percent: ClassVar[bool] = True

    def network(self, widths: list[int], generator: torch.Generator) -> nn.Module:
        """The ensemble of C perceptrons."""
        return MlpEnsemble(widths[0], widths[1], generator, self.hidden)

    def beside(self, population: Population) -> tuple[Tensor, ...]:
        """Memberships (N, C)."""
        return (torch.tensor(column(population, "membership", "fuzzy_ensemble")),)
