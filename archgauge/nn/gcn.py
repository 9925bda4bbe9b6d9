"""Graph convolutional networks (Kipf and Welling, ICLR 2017), on directed graphs."""

import torch
from torch import Tensor, nn

from archgauge.graphs.batch import GraphBatch
from archgauge.nn.colours import distinct, refine
from archgauge.nn.message_passing import Edges, backend


class GcnConv(nn.Module):
    """h'_v = sum_{u -> v, or u = v} W h_u / sqrt(d_u d_v) + b, without the activation.

    The paper's graphs are undirected (its Eq. 2 and the renormalisation below it). Here messages run along the edges
    only, as in GENNAPE's public k-GNN, and d_v counts the edges that end in v and v's own loop, at the sending end as
    well as at the receiving one. GENNAPE does not say how it normalised. PyTorch Geometric, whose GraphConv its k-GNN
    is, counts so; and it is the paper's equation wherever every edge has its reverse.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=False)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, edges: Edges, own: Tensor, scale: Tensor) -> Tensor:
        """Send messages along `edges` from S rows to V rows.

        Args:
            x: (S, inputs)
            edges: from the S rows to the V rows.
            own: (V,) int64, the row of `x` that each of the V rows had itself.
            scale: (S,), 1 / sqrt(d) of the S rows.

        Returns:
            (V, outputs)
        """
        message = self.linear(x) * scale[:, None]
        total = edges.neighbour_sum(message) + message.index_select(0, own)
        return total * scale.index_select(0, own)[:, None] + self.bias


class Gcn(nn.Module):
    """Layers of GcnConv with a tanh after each, averaged over the nodes of a graph.

    Each Weisfeiler-Leman colour is computed once, as in `KGnn`. The first layer reads the degrees of senders, which
    their kinds do not tell: colours start from kind and degree.

    Args:
        inputs: width of the kinds' vectors.
        width: of every layer.
        layers: how many.
        message_backend: name of a message passing backend.

    Raises:
        ConfigError: for an unknown backend.
    """

    def __init__(self, inputs: int, width: int, layers: int, message_backend: str = "torch"):
        super().__init__()
        self.backend = backend(message_backend)
        self.convolutions = nn.ModuleList(GcnConv(width if layer else inputs, width) for layer in range(layers))

    def forward(self, embedded: Tensor, batch: GraphBatch) -> Tensor:
        """Vectors of the K kinds to vectors of the B graphs: (K, inputs) -> (B, width)."""
        degree = torch.bincount(batch.edge_target, minlength=len(batch.kind)) + 1
        colour, first = distinct(batch.kind * (degree.max() + 1) + degree)
        rounds, colour = refine(colour, batch.edge_source, batch.edge_target, len(self.convolutions))
        x = embedded.index_select(0, batch.kind.index_select(0, first))
        scale = degree.index_select(0, first).to(x.dtype).rsqrt()
        for convolution, made in zip(self.convolutions, rounds, strict=True):
            edges = self.backend.edges(made.source, made.target, len(x), len(made.own))
            x = convolution(x, edges, made.own, scale).tanh()
            scale = scale.index_select(0, made.own)
        return self.backend.segment_mean(x.index_select(0, colour), batch.node_offset)
