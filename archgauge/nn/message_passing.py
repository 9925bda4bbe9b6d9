"""Message passing: one interface, two backends that agree to rounding. The only module that imports dgl.

`torch` is the default: it needs nothing else and runs on any device. `dgl` computes the same sums with DGL's kernels.
"""

import os
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from archgauge.errors import ConfigError


class Edges(ABC):
    """E directed edges from S nodes to V nodes, often the same, prepared for a backend.

    Args:
        source: (E,) int64, index of a sending node.
        target: (E,) int64, index of a receiving node.
        n_sources: S.
        n_targets: V.
    """

    def __init__(self, source: Tensor, target: Tensor, n_sources: int, n_targets: int):
        self.source, self.target, self.n_sources, self.n_targets = source, target, n_sources, n_targets

    @abstractmethod
    def neighbour_sum(self, x: Tensor) -> Tensor:
        """Sum the rows of each node's sources: (S, D) -> (V, D); zero where no edge ends. Parallel edges count."""

    @abstractmethod
    def weighted_neighbour_sum(self, x: Tensor, weight: Tensor) -> Tensor:
        """Sum `weight[e] * x[source[e]]` over the edges e that end in a node: (S, H, D), (E, H) -> (V, H, D)."""

    @abstractmethod
    def edge_softmax(self, logits: Tensor) -> Tensor:
        """Softmax over the edges that end in one node: (E, H) -> (E, H)."""

    def in_degree(self) -> Tensor:
        """(V,) int64, edges that end in each node."""
        return torch.bincount(self.target, minlength=self.n_targets)


class Backend(ABC):
    """A way to compute messages and segment sums; choose one with `backend`."""

    name: ClassVar[str]

    @abstractmethod
    def edges(self, source: Tensor, target: Tensor, n_sources: int, n_targets: int) -> Edges:
        """Prepare E edges from S to V nodes; see `Edges`."""

    @abstractmethod
    def segment_sum(self, x: Tensor, offset: Tensor) -> Tensor:
        """Sum the rows `offset[b]:offset[b + 1]`: (V, D), (B + 1,) int64 -> (B, D); zero for an empty segment."""

    def segment_mean(self, x: Tensor, offset: Tensor) -> Tensor:
        """Mean of the rows `offset[b]:offset[b + 1]`: (V, D), (B + 1,) -> (B, D); zero for an empty segment."""
        count = offset.diff().clamp(min=1).to(x.dtype)
        return self.segment_sum(x, offset) / count[:, None]


class TorchEdges(Edges):
    """`index_add` of `index_select`: plain `x[source]` has a backward pass twice as slow on the CPU."""

    def neighbour_sum(self, x: Tensor) -> Tensor:
        return self._sum_at_target(x.index_select(0, self.source))

    def weighted_neighbour_sum(self, x: Tensor, weight: Tensor) -> Tensor:
        return self._sum_at_target(x.index_select(0, self.source) * weight[..., None])

    def edge_softmax(self, logits: Tensor) -> Tensor:
        index = self.target[:, None].expand_as(logits)
        # The largest logit cancels out of the softmax: it only keeps exp in range, so no gradient runs through it.
        fixed = logits.detach()
        largest = fixed.new_full((self.n_targets, logits.shape[1]), -torch.inf).scatter_reduce(0, index, fixed, "amax")
        power = (logits - largest.index_select(0, self.target)).exp()
        return power / self._sum_at_target(power).index_select(0, self.target)

    def _sum_at_target(self, message: Tensor) -> Tensor:
        return message.new_zeros(self.n_targets, *message.shape[1:]).index_add(0, self.target, message)


class TorchBackend(Backend):
    name = "torch"

    def edges(self, source: Tensor, target: Tensor, n_sources: int, n_targets: int) -> Edges:
        return TorchEdges(source, target, n_sources, n_targets)

    def segment_sum(self, x: Tensor, offset: Tensor) -> Tensor:
        size = offset.diff()
        segment = torch.repeat_interleave(torch.arange(len(size), device=x.device), size, output_size=len(x))
        return x.new_zeros(len(size), *x.shape[1:]).index_add(0, segment, x)


class DglEdges(Edges):
    def __init__(self, source: Tensor, target: Tensor, n_sources: int, n_targets: int):
        super().__init__(source, target, n_sources, n_targets)
        # Two node types: senders and receivers may differ in number.
        self._graph = _dgl().heterograph(
            {("sender", "edge", "receiver"): (source, target)}, {"sender": n_sources, "receiver": n_targets}
        )

    def neighbour_sum(self, x: Tensor) -> Tensor:
        return _dgl().ops.copy_u_sum(self._graph, x)

    def weighted_neighbour_sum(self, x: Tensor, weight: Tensor) -> Tensor:
        return _dgl().ops.u_mul_e_sum(self._graph, x, weight[..., None])

    def edge_softmax(self, logits: Tensor) -> Tensor:
        return _dgl().ops.edge_softmax(self._graph, logits)


class DglBackend(Backend):
    name = "dgl"

    def edges(self, source: Tensor, target: Tensor, n_sources: int, n_targets: int) -> Edges:
        return DglEdges(source, target, n_sources, n_targets)

    def segment_sum(self, x: Tensor, offset: Tensor) -> Tensor:
        return _dgl().ops.segment_reduce(offset.diff(), x, reducer="sum")


_BACKENDS: dict[str, type[Backend]] = {kind.name: kind for kind in (TorchBackend, DglBackend)}


def backend(name: str) -> Backend:
    """The backend called `name`, "torch" or "dgl".

    Raises:
        ConfigError: for another name, and for "dgl" where it cannot be imported.
    """
    if name not in _BACKENDS:
        raise ConfigError(
            "the message passing backend",
            where="backend",
            expected=f"one of {', '.join(sorted(_BACKENDS))}",
            got=repr(name),
            remedy="Use torch, which runs everywhere.",
        )
    if name == DglBackend.name:
        _dgl()
    return _BACKENDS[name]()


def _dgl() -> Any:
    # Without this dgl asks for its backend on standard output and writes to the user's home.
    os.environ.setdefault("DGLBACKEND", "pytorch")
    try:
        import dgl
    except ImportError as error:
        raise ConfigError(
            "the message passing backend",
            where="backend: dgl",
            expected="an installed dgl",
            got=f"{type(error).__name__}: {error}",
            remedy="Install the locked environment, or use torch: both give the same numbers.",
        ) from error
    return dgl
