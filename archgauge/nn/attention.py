"""A Transformer layer on bags of kinds.

Without positions, attention cannot tell two nodes of one kind in one graph apart: they have the same query, key and
value, so they get the same output. One token therefore stands for all nodes of a (graph, kind) pair, and its
multiplicity n enters the attention as n e^s = e^(s + log n). That is the Transformer over all nodes, exactly, on some
40 tokens a graph instead of some 190 nodes, and the square of that in attention.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from archgauge.graphs.batch import GraphBatch


@dataclass(frozen=True)
class Tokens:
    """T distinct (graph, kind) pairs of a batch of B graphs.

    Attributes:
        kind: (T,) int64, row of the kind table, ascending within a graph.
        count: (T,) int64, nodes of that kind in that graph.
        offset: (B + 1,) int64, the tokens of graph b are `offset[b]:offset[b + 1]`.
        slot: (T,) int64, place of each token in a padded (B, longest) layout, flattened.
        bias: (B, 1, 1, longest) float64, log of the count, minus infinity where there is no token.
    """

    kind: Tensor
    count: Tensor
    offset: Tensor
    slot: Tensor
    bias: Tensor


def tokens_of(batch: GraphBatch, n_kinds: int) -> Tokens:
    """Gather the nodes of each graph by kind; `n_kinds` is the length K of the kind table."""
    pair, count = torch.unique(batch.graph_of_node() * n_kinds + batch.kind, return_counts=True)
    graph, kind = pair // n_kinds, pair % n_kinds
    size = torch.bincount(graph, minlength=len(batch))
    offset = functional.pad(size.cumsum(0), (1, 0))
    longest = int(size.max())
    slot = graph * longest + torch.arange(len(pair), device=pair.device) - offset[graph]
    bias = torch.full((len(batch) * longest,), -torch.inf, dtype=torch.float64, device=pair.device)
    bias[slot] = count.double().log()
    return Tokens(kind, count, offset, slot, bias.view(len(batch), 1, 1, longest))


def dropout(x: Tensor, rate: float, generator: torch.Generator | None) -> Tensor:
    """Inverted dropout with masks drawn from `generator`; `x` itself when there is none.

    Each number takes 16 random bits, a fifth of the time of `bernoulli_`, so the rate is rounded to 1/65536.
    """
    dropped = round(rate * 2**16)
    if generator is None or dropped == 0:
        return x
    words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64, device=x.device)
    bits = words.random_(-(2**63), None, generator=generator).view(torch.int16)
    keep = bits[: x.numel()].view(x.shape) >= dropped - 2**15
    return x * keep.to(x.dtype).mul_(2**16 / (2**16 - dropped))


class TransformerLayer(nn.Module):
    """One encoder layer of Vaswani et al. 2017 (normalisation after each sub-layer) on tokens with counts.

    Dropout is where that paper has it: on the output of each sub-layer, before the sum. Nodes of one kind share their
    mask, because they share their token.
    """

    def __init__(self, width: int, heads: int, feedforward: int, dropout_rate: float):
        super().__init__()
        self.heads, self.dropout_rate = heads, dropout_rate
        self.project_in = nn.Linear(width, 3 * width)
        self.project_out = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width)
        self.feedforward = nn.Sequential(nn.Linear(width, feedforward), nn.ReLU(), nn.Linear(feedforward, width))
        self.feedforward_norm = nn.LayerNorm(width)

    def forward(
        self, x: Tensor, tokens: Tokens, *, generator: torch.Generator | None = None, copies: int = 1
    ) -> Tensor:
        """(T, D) -> (copies, T, D).

        Args:
            x: (T, D) float, one row per token.
            generator: source of the dropout masks; without it nothing is dropped.
            copies: independent draws of the masks. What lies before the first mask is computed once.
        """
        attended = self._attend(x, tokens).expand(copies, -1, -1)
        x = self.attention_norm(x + dropout(attended, self.dropout_rate, generator))
        return self.feedforward_norm(x + dropout(self.feedforward(x), self.dropout_rate, generator))

    def _attend(self, x: Tensor, tokens: Tokens) -> Tensor:
        n_graphs, longest, width = len(tokens.bias), tokens.bias.shape[-1], x.shape[1]
        padded = x.new_zeros(n_graphs * longest, 3 * width).index_copy(0, tokens.slot, self.project_in(x))
        query, key, value = padded.view(n_graphs, longest, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=tokens.bias.to(x.dtype))
        return self.project_out(attended.transpose(1, 2).reshape(-1, width).index_select(0, tokens.slot))
