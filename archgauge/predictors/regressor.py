"""GENNAPE's regressor: a perceptron on the embeddings of an encoder (its supplement)."""

from typing import ClassVar

import torch
from torch import nn

from archgauge.nn.heads import mlp
from archgauge.predictors._embedding_head import EmbeddingHead


class Predictor(EmbeddingHead):
    """Hidden layers with ReLU."""

    needs: ClassVar[frozenset[str]] = frozenset({"embedding", "macs"})
    predicts_percent: ClassVar[bool] = True

    def network(self, widths: list[int], generator: torch.Generator) -> nn.Module:
        """The perceptron."""
        return mlp(widths[0], 1, generator, self.hidden)
