"""What the GNN baselines of GENNAPE share: trained end to end on computation graphs (its supplement)."""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from archgauge.encoders.node_embedding import NodeEmbedding
from archgauge.graphs.batch import GraphBatch
from archgauge.graphs.features import gennape
from archgauge.graphs.operations import Kind
from archgauge.nn.heads import initialise, mlp
from archgauge.predictors.neural import Neural, State, Target, built
from archgauge.predictors.population import Population, column

WIDTH = 32
LAYERS = 6
HIDDEN_LAYERS = 4
PREDICT_GRAPHS = 256
"""Graphs that are predicted at a time."""


class EndToEnd(Neural):
    """Node embeddings, layers of messages with tanh, the mean over the nodes, four hidden layers, all of one width.

    Node features and the one direction of messages are those of GENNAPE's public k-GNN.

    Args:
        epochs, learning_rate, schedule, batch_size, epoch_steps, seed: see `Neural`.
        width, layers: of the network; 32 and 6 in GENNAPE (supplement), 64 and "4 or 6" in the transferable predictor.
        backend: of message passing, "torch" or "dgl"; the workflow gives the configured one.

    Attributes:
        target_: puts labels on the training labels' scale.
        network_: the trained network.
    """

    def __init__(
        self,
        *,
        epochs: int = 40,
        learning_rate: float = 1e-4,
        schedule: Literal["constant", "cosine"] = "constant",
        batch_size: int = 32,
        epoch_steps: int | None = None,
        width: int = WIDTH,
        layers: int = LAYERS,
        backend: str = "torch",
        seed: int,
    ):
        super().__init__(
            epochs=epochs, learning_rate=learning_rate, schedule=schedule, batch_size=batch_size,
            epoch_steps=epoch_steps, seed=seed,
        )  # fmt: skip
        self.width, self.layers, self.backend = width, layers, backend

    @abstractmethod
    def gnn(self) -> nn.Module:
        """A new GNN: vectors of the kinds (K, width) and a `GraphBatch` of B graphs to (B, width)."""

    def begin(self, population: Population, labels: np.ndarray, generator: torch.Generator) -> None:
        """Set the scale of the labels and a new network."""
        self.target_ = Target.fit(labels, population.macs, flops_transform="none")
        self.network_ = built(lambda: _Network(self.gnn(), self.width, generator))

    def loss(
        self, population: Population, labels: np.ndarray, generator: torch.Generator
    ) -> Callable[[Tensor], Tensor]:
        """The squared error of the targets."""
        store, rows = column(population, "graphs", self._name)
        target, kinds = self.target_.of(labels, population.macs), _kind_features(store.kinds)
        return lambda chosen: mse_loss(self.network_(store.batch(rows[chosen.numpy()]), *kinds), target[chosen])

    def predict(self, population: Population) -> np.ndarray:
        """Predict percent accuracy, of equal live graphs once: (N,) float64."""
        store, rows = column(population, "graphs", self._name)
        _, first, which = np.unique(store.live_hash[rows], return_index=True, return_inverse=True)
        distinct = rows[first]
        order = np.argsort(store.node_count[distinct], kind="stable")
        output = torch.empty(len(distinct))
        kinds = _kind_features(store.kinds)
        with torch.inference_mode():
            for start in range(0, len(order), PREDICT_GRAPHS):
                chosen = order[start : start + PREDICT_GRAPHS]
                output[chosen] = self.network_(store.batch(distinct[chosen]), *kinds)
        return self.target_.accuracy_pct(output[which], population.macs)

    def state(self) -> State:
        """The scale of the labels and the weights."""
        return {"target": asdict(self.target_), "network": self.network_.state_dict()}

    def restore(self, state: State) -> Self:
        """Become what `state` was taken of."""
        self.target_ = Target(**state["target"])
        self.network_ = built(lambda: _Network(self.gnn(), self.width, torch.Generator()))
        self.network_.load_state_dict(state["network"])
        return self


class _Network(nn.Module):
    def __init__(self, gnn: nn.Module, width: int, generator: torch.Generator):
        super().__init__()
        empty = gennape([])
        self.embedding = NodeEmbedding(empty.cardinality, empty.numbers.shape[1], width)
        self.gnn = gnn
        initialise(self, generator)
        self.head = mlp(width, 1, generator, [width] * HIDDEN_LAYERS)

    def forward(self, batch: GraphBatch, categories: Tensor, numbers: Tensor) -> Tensor:
        """B graphs over K kinds with features (K, c) and (K, r) to outputs (B,)."""
        if len(categories) > len(batch.kind):  # as in the zoo: most kinds have no node in a batch
            present, kind = torch.unique(batch.kind, return_inverse=True)
            batch, categories, numbers = replace(batch, kind=kind), categories[present], numbers[present]
        return self.head(self.gnn(self.embedding(categories, numbers), batch)).squeeze(1)


def _kind_features(kinds: Iterable[Kind]) -> tuple[Tensor, Tensor]:
    found = gennape(kinds)
    return torch.from_numpy(found.categories), torch.from_numpy(found.numbers)
