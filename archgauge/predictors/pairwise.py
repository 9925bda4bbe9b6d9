"""GENNAPE's pairwise classifier on the embeddings of an encoder (its supplement)."""

from typing import ClassVar

import torch
from torch import nn

from archgauge.nn.heads import mlp
from archgauge.nn.pairwise import PairwiseClassifier
from archgauge.predictors._pairwise import HIDDEN, Pairwise


class Predictor(Pairwise):
    """Four hidden layers of 128 on two embeddings, concatenated."""

    needs: ClassVar[frozenset[str]] = frozenset({"embedding"})
    predicts_percent: ClassVar[bool] = False

    def network(self, widths: list[int], generator: torch.Generator) -> PairwiseClassifier:
        """The classifier of pairs of embeddings."""
        return PairwiseClassifier(nn.Identity(), mlp(2 * widths[0], 1, generator, HIDDEN))
