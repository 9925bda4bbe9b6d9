"""What GENNAPE's heads on embeddings share (its supplement)."""

from abc import ABC, abstractmethod
from math import ceil
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from archgauge.predictors._neural import Target, built, predicted, train
from archgauge.predictors._standardiser import Standardiser
from archgauge.predictors.population import Population, column, training_labels


class EmbeddingHead(ABC):
    """A network on embeddings standardised by the training rows.

    Args:
        flops_transform: learn A / (log10(F + 1) + 1) in place of A (GENNAPE, Eq. 5).
        epochs, learning_rate, batch_size: of Adam. The defaults are GENNAPE's on a large source; for 50 labels it
            takes 100 epochs of batches of 1.
        epoch_steps: most steps of an epoch, where given: from `epoch_steps * batch_size` rows on the batches grow.
        seed: of the initial weights and the order of the training rows.

    Attributes:
        standard_: puts embeddings on the training rows' scale.
        target_: puts labels on the training labels' scale.
        network_: the trained network.
    """

    def __init__(
        self,
        *,
        flops_transform: bool = False,
        epochs: int = 40,
        learning_rate: float = 1e-4,
        batch_size: int = 32,
        epoch_steps: int | None = None,
        seed: int,
    ):
        self.flops_transform = flops_transform
        self.epochs, self.learning_rate, self.batch_size = epochs, learning_rate, batch_size
        self.epoch_steps, self.seed = epoch_steps, seed

    @abstractmethod
    def network(self, widths: list[int], generator: torch.Generator) -> nn.Module:
        """A new network for inputs of these widths."""

    def beside(self, population: Population) -> tuple[Tensor, ...]:
        """What the network reads beside the embeddings, (N, ...) each."""
        return ()

    def fit(self, population: Population, accuracy_pct: np.ndarray) -> Self:
        """Fit on n labelled architectures, labels (n,) in percent.

        Raises:
            PredictorError: without what the class needs, with fewer than 2 labels, or with one that is not finite.
        """
        self.standard_ = Standardiser.fit(column(population, "embedding", self._name))
        inputs = self._inputs(population)
        labels = training_labels(population, accuracy_pct, self._name, at_least=2)
        self.target_ = Target.fit(labels, population.macs, self.flops_transform)
        generator = torch.Generator().manual_seed(self.seed)
        self.network_ = built(lambda: self.network([part.shape[1] for part in inputs], generator))
        train(
            self.network_,
            lambda rows: self.network_(*(part[rows] for part in inputs)).reshape(-1),
            self.target_.of(labels, population.macs),
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            batch_size=max(self.batch_size, ceil(len(labels) / (self.epoch_steps or len(labels)))),
            generator=generator,
        )
        return self

    def predict(self, population: Population) -> np.ndarray:
        """Predict percent accuracy: (N,) float64."""
        return self.target_.accuracy_pct(predicted(self.network_, *self._inputs(population)), population.macs)

    @property
    def _name(self) -> str:
        return type(self).__module__.rpartition(".")[2]

    def _inputs(self, population: Population) -> tuple[Tensor, ...]:
        embedding = self.standard_(column(population, "embedding", self._name)).astype(np.float32)
        return torch.from_numpy(embedding), *self.beside(population)
