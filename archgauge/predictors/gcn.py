"""The GCN baseline of GENNAPE (Kipf and Welling, ICLR 2017), with the k-GNN's size."""

from typing import ClassVar

from torch import nn

from archgauge.nn.gcn import Gcn
from archgauge.predictors._end_to_end import EndToEnd


class Predictor(EndToEnd):
    """Graph convolutions normalised by the degrees of both ends; see `GcnConv` for what that is on directed graphs."""

    needs: ClassVar[frozenset[str]] = frozenset({"graphs"})
    predicts_percent: ClassVar[bool] = True

    def gnn(self) -> nn.Module:
        """The GCN."""
        return Gcn(self.width, self.width, self.layers, self.backend)
