"""Vectors for kinds: the K kinds are embedded once a step, nodes gather their kind's row."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class NodeEmbedding(nn.Module):
    """The sum of one table row per category and a linear map of the numbers.

    GENNAPE concatenates narrower parts to the same width. Both feed a linear layer, and the sum holds
    the concatenation as a special case; it also serves feature sets that GENNAPE does not know.

    Args:
        cardinality: number of values of each of the c categories.
        n_numbers: r.
        width: D.
    """

    first_row: Tensor

    def __init__(self, cardinality: Sequence[int], n_numbers: int, width: int):
        super().__init__()
        self.table = nn.Embedding(sum(cardinality), width)
        self.numbers = nn.Linear(n_numbers, width)
        first_row = torch.tensor([0, *cardinality[:-1]]).cumsum(0)
        self.register_buffer("first_row", first_row, persistent=False)

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        """(K, c) int64, (K, r) float32 -> (K, D)."""
        return self.table(categories + self.first_row).sum(1) + self.numbers(numbers)
