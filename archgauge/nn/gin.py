"""Graph isomorphism networks (Xu et al., "How Powerful are Graph Neural Networks?", ICLR 2019)."""

from torch import Tensor, nn

from archgauge.graphs.batch import GraphBatch
from archgauge.nn.colours import refine
from archgauge.nn.message_passing import Edges, backend


class GinConv(nn.Module):
    """h'_v = MLP(h_v + sum_{u -> v} h_u), Eq. 4.1 with epsilon 0, which the paper found no worse than a learnt one.

    The perceptron has one hidden layer with ReLU. The paper's batch normalisation is left out: with it, what a graph
    gets in training would depend on the other graphs of its batch, and GENNAPE's batch is 1 in fine-tuning.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(inputs, outputs), nn.ReLU(), nn.Linear(outputs, outputs))

    def forward(self, x: Tensor, edges: Edges, own: Tensor) -> Tensor:
        """Send messages along `edges` from S rows to V rows.

        Args:
            x: (S, inputs)
            edges: from the S rows to the V rows.
            own: (V,) int64, the row of `x` that each of the V rows had itself.

        Returns:
            (V, outputs)
        """
        return self.mlp(x.index_select(0, own) + edges.neighbour_sum(x))


class Gin(nn.Module):
    """Layers of GinConv with a tanh after each, averaged over the nodes of a graph (GENNAPE's readout for all GNNs).

    Each Weisfeiler-Leman colour is computed once, as in `KGnn`.

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
        self.convolutions = nn.ModuleList(GinConv(width if layer else inputs, width) for layer in range(layers))

    def forward(self, embedded: Tensor, batch: GraphBatch) -> Tensor:
        """Vectors of the K kinds to vectors of the B graphs: (K, inputs) -> (B, width)."""
        rounds, colour = refine(batch.kind, batch.edge_source, batch.edge_target, len(self.convolutions))
        x = embedded
        for convolution, made in zip(self.convolutions, rounds, strict=True):
            edges = self.backend.edges(made.source, made.target, len(x), len(made.own))
            x = convolution(x, edges, made.own).tanh()
        return self.backend.segment_mean(x.index_select(0, colour), batch.node_offset)
