"""What the GNN baselines of GENNAPE share: trained end to end on computation graphs (its supplement)."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from archgauge.encoders.node_embedding import NodeEmbedding
from archgauge.graphs.batch import GraphBatch
from archgauge.graphs.features import gennape
from archgauge.graphs.operations import Kind
from archgauge.nn.heads import initialise, mlp
from archgauge.predictors._neural import Target, built, train
from archgauge.predictors.population import Population, column, training_labels

WIDTH = 32
LAYERS = 6
HIDDEN = (32, 32, 32, 32)
PREDICT_GRAPHS = 256
"""Graphs that are predicted at a time."""


class EndToEnd(ABC):
    """Node embeddings of 32, six layers of messages with tanh, the mean over the nodes, four hidden layers of 32.

    Node features and the one direction of messages are those of GENNAPE's public k-GNN.

    Args:
        epochs, learning_rate, batch_size: of Adam; GENNAPE's on a large source.
        backend: of message passing, "torch" or "dgl"; the workflow gives the configured one.
        seed: of the initial weights and the order of the training rows.

    Attributes:
        target_: puts labels on the training labels' scale.
        network_: the trained network.
    """

    def __init__(
        self, *, epochs: int = 40, learning_rate: float = 1e-4, batch_size: int = 32, backend: str = "torch", seed: int
    ):
        self.epochs, self.learning_rate, self.batch_size = epochs, learning_rate, batch_size
        self.backend, self.seed = backend, seed

    @abstractmethod
    def gnn(self) -> nn.Module:
        """A new GNN: vectors of the kinds (K, WIDTH) and a `GraphBatch` of B graphs to (B, WIDTH)."""

    def fit(self, population: Population, accuracy_pct: np.ndarray) -> Self:
        """Fit on n labelled graphs, labels (n,) in percent.

        Raises:
            PredictorError: without graphs, with fewer than 2 labels, or with one that is not finite.
        """
        store, rows = column(population, "graphs", self._name)
        labels = training_labels(population, accuracy_pct, self._name, at_least=2)
        generator = torch.Generator().manual_seed(self.seed)
        self.target_ = Target.fit(labels, population.macs, flops_transform=False)
        self.network_ = built(lambda: _Network(self.gnn(), generator))
        kinds = _kind_features(store.kinds)
        train(
            self.network_,
            lambda chosen: self.network_(store.batch(rows[chosen.numpy()]), *kinds),
            self.target_.of(labels, population.macs),
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            generator=generator,
        )
        return self

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

    @property
    def _name(self) -> str:
        return type(self).__module__.rpartition(".")[2]


class _Network(nn.Module):
    def __init__(self, gnn: nn.Module, generator: torch.Generator):
        super().__init__()
        empty = gennape([])
        self.embedding = NodeEmbedding(empty.cardinality, empty.numbers.shape[1], WIDTH)
        self.gnn = gnn
        initialise(self, generator)
        self.head = mlp(WIDTH, 1, generator, HIDDEN)

    def forward(self, batch: GraphBatch, categories: Tensor, numbers: Tensor) -> Tensor:
        """B graphs over K kinds with features (K, c) and (K, r) to outputs (B,)."""
        return self.head(self.gnn(self.embedding(categories, numbers), batch)).squeeze(1)


def _kind_features(kinds: Iterable[Kind]) -> tuple[Tensor, Tensor]:
    found = gennape(kinds)
    return torch.from_numpy(found.categories), torch.from_numpy(found.numbers)
