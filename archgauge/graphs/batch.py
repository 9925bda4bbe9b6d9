"""What encoders see: several live graphs laid one after another."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class GraphBatch:
    """B graphs with V nodes and E edges in all.

    Attributes:
        kind: (V,) int64, row of the kind table. Nodes of a graph stand together, in topological order.
        edge_source: (E,) int64, node index within the batch.
        edge_target: (E,) int64, node index within the batch, ascending.
        node_offset: (B + 1,) int64, the nodes of graph b are `node_offset[b]:node_offset[b + 1]`.
    """

    kind: Tensor
    edge_source: Tensor
    edge_target: Tensor
    node_offset: Tensor

    def __len__(self) -> int:
        """The number of graphs, B."""
        return len(self.node_offset) - 1

    def graph_of_node(self) -> Tensor:
        """(V,) int64, the graph that each node belongs to."""
        sizes = self.node_offset.diff()
        return torch.repeat_interleave(torch.arange(len(self), device=sizes.device), sizes)

    def to(self, device: torch.device | str) -> Self:
        """The same batch on another device."""
        return type(self)(
            self.kind.to(device),
            self.edge_source.to(device),
            self.edge_target.to(device),
            self.node_offset.to(device),
        )
