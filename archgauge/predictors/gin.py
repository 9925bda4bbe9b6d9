"""The GIN baseline of GENNAPE (Xu et al. 2019), with the k-GNN's size."""

from typing import ClassVar

from torch import nn

from archgauge.nn.gin import Gin
from archgauge.predictors._end_to_end import EndToEnd


class Predictor(EndToEnd):
    """A perceptron on the sum of a node and what it reads, in every layer."""

    needs: ClassVar[frozenset[str]] = frozenset({"graphs"})
    predicts_percent: ClassVar[bool] = True

    def gnn(self) -> nn.Module:
        """The GIN."""
        return Gin(self.width, self.width, self.layers, self.backend)
