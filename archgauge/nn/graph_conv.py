"""The k-GNN of Morris et al., "Weisfeiler and Leman Go Neural" (AAAI 2019).

PyG and GENNAPE call its layer GraphConv.
"""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from archgauge.errors import ConfigError
from archgauge.graphs.batch import GraphBatch
from archgauge.nn.colours import refine
from archgauge.nn.message_passing import Edges, backend

Aggregation = Literal["sum", "mean"]
Direction = Literal["forward", "both"]


class GraphConv(nn.Module):
    """h'_v = W1 h_v + W2 sum_{u -> v} h_u + b (Morris et al. 2019, Eq. 5), without the activation.

    `aggregation="sum"` is that equation and the default of GENNAPE's layer; "mean" divides the sum by the number of
    incoming edges, as the command line of GENNAPE's public k-GNN does by default.
    """

    def __init__(self, inputs: int, outputs: int, aggregation: Aggregation = "sum"):
        super().__init__()
        self.own = nn.Linear(inputs, outputs)
        self.neighbours = nn.Linear(inputs, outputs, bias=False)
        self.aggregation = aggregation

    def forward(self, x: Tensor, edges: Edges, own: Tensor | None = None) -> Tensor:
        """Send messages along `edges` from S rows to V rows.

        Args:
            x: (S, inputs)
            edges: from the S rows to the V rows.
            own: (V,) int64, the row of `x` that each of the V rows had itself; by default row v is its own, V = S.

        Returns:
            (V, outputs)
        """
        # Matrices before gathering: the S rows are the fewer.
        kept, message = self.own(x), edges.neighbour_sum(self.neighbours(x))
        if self.aggregation == "mean":
            message = message / edges.in_degree().clamp(min=1).to(x.dtype)[:, None]
        return (kept if own is None else kept.index_select(0, own)) + message


class KGnn(nn.Module):
    """Layers of GraphConv with a tanh after each (as GENNAPE's public k-GNN), averaged over the nodes of a graph.

    Each Weisfeiler-Leman colour is computed once, which changes nothing but the time; see `archgauge.nn.colours`.

    Args:
        inputs: width of the kinds' vectors.
        width: of every layer.
        layers: how many.
        aggregation: see `GraphConv`.
        direction: "forward", messages run along the edges only, as in GENNAPE's public code; "both", a reversed copy
            of every edge is added, with the same weights, so that a node also sees what reads it.
        message_backend: name of a message passing backend.

    Raises:
        ConfigError: for an unknown aggregation, direction or backend.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        layers: int,
        aggregation: Aggregation = "sum",
        direction: Direction = "forward",
        message_backend: str = "torch",
    ):
        super().__init__()
        for key, value, choices in (("aggregation", aggregation, Aggregation), ("direction", direction, Direction)):
            if value not in get_args(choices):
                raise ConfigError(
                    "the configuration of a k-GNN",
                    where=key,
                    expected=f"one of {', '.join(get_args(choices))}",
                    got=repr(value),
                    remedy="Correct the encoder's block in the configuration.",
                )
        self.direction, self.backend = direction, backend(message_backend)
        self.convolutions = nn.ModuleList(
            GraphConv(width if layer else inputs, width, aggregation) for layer in range(layers)
        )

    def forward(self, embedded: Tensor, batch: GraphBatch) -> Tensor:
        """Vectors of the K kinds to vectors of the B graphs: (K, inputs) -> (B, width)."""
        source, target = batch.edge_source, batch.edge_target
        if self.direction == "both":
            source, target = torch.cat([source, target]), torch.cat([target, source])
        rounds, colour = refine(batch.kind, source, target, len(self.convolutions))
        x = embedded
        for convolution, made in zip(self.convolutions, rounds, strict=True):
            edges = self.backend.edges(made.source, made.target, len(x), len(made.own))
            x = convolution(x, edges, made.own).tanh()
        return self.backend.segment_mean(x.index_select(0, colour), batch.node_offset)
