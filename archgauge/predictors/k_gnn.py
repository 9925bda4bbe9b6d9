"""The k-GNN baseline of GENNAPE (its supplement and its public code)."""

from typing import ClassVar

from torch import nn

from archgauge.nn.graph_conv import KGnn
from archgauge.predictors._end_to_end import EndToEnd


class Predictor(EndToEnd):
    """GraphConv layers that average their messages, as GENNAPE's public k-GNN does."""

    needs: ClassVar[frozenset[str]] = frozenset({"graphs"})
    predicts_percent: ClassVar[bool] = True

    def gnn(self) -> nn.Module:
        """The k-GNN."""
        return KGnn(
            self.width, self.width, self.layers, aggregation="mean", direction="forward", message_backend=self.backend
        )
