"""What GENNAPE's heads on embeddings share (its supplement)."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from archgauge.nn.heads import GENNAPE_HIDDEN
from archgauge.predictors._standardiser import Standardiser
from archgauge.predictors.neural import Neural, State, Target, built, predicted
from archgauge.predictors.population import Population, column


class EmbeddingHead(Neural):
    """A network on embeddings standardised by the training rows.

    Args:
        flops_transform: "eq5", learn A / (log10(F + 1) + 1) in place of A (GENNAPE, Eq. 5), or "centred"; see
            `archgauge.predictors.neural.Target`.
        epochs, learning_rate, schedule, batch_size, epoch_steps, seed: see `Neural`.
        hidden: widths of the hidden layers; four of 256 in GENNAPE.

    Attributes:
        standard_: puts embeddings on the training rows' scale.
        target_: puts labels on the training labels' scale.
        widths_: of each input of the network.
        network_: the trained network.
    """

    def __init__(
        self,
        *,
        flops_transform: Literal["none", "eq5", "centred"] = "none",
        epochs: int = 40,
        learning_rate: float = 1e-4,
        schedule: Literal["constant", "cosine"] = "constant",
        batch_size: int = 32,
        epoch_steps: int | None = None,
        hidden: Sequence[int] = GENNAPE_HIDDEN,
        seed: int,
    ):
        super().__init__(
            epochs=epochs, learning_rate=learning_rate, schedule=schedule, batch_size=batch_size,
            epoch_steps=epoch_steps, seed=seed,
        )  # fmt: skip
        self.flops_transform, self.hidden = flops_transform, hidden

    @abstractmethod
    def network(self, widths: list[int], generator: torch.Generator) -> nn.Module:
        """A new network for inputs of these widths."""

    def beside(self, population: Population) -> tuple[Tensor, ...]:
        """What the network reads beside the embeddings, (N, ...) each."""
        return ()

    def begin(self, population: Population, labels: np.ndarray, generator: torch.Generator) -> None:
        """Set the scales and a new network."""
        self.standard_ = Standardiser.fit(column(population, "embedding", self._name))
        self.target_ = Target.fit(labels, population.macs, self.flops_transform)
        self.widths_ = [part.shape[1] for part in self._inputs(population)]
        self.network_ = built(lambda: self.network(self.widths_, generator))

    def loss(
        self, population: Population, labels: np.ndarray, generator: torch.Generator
    ) -> Callable[[Tensor], Tensor]:
        """The squared error of the targets."""
        inputs, target = self._inputs(population), self.target_.of(labels, population.macs)
        return lambda rows: mse_loss(self.network_(*(part[rows] for part in inputs)).reshape(-1), target[rows])

    def predict(self, population: Population) -> np.ndarray:
        """Predict percent accuracy: (N,) float64."""
        return self.target_.accuracy_pct(predicted(self.network_, *self._inputs(population)), population.macs)

    def state(self) -> State:
        """The scales, the widths of the inputs and the weights."""
        return {
            "standard": self.standard_.state(),
            "target": asdict(self.target_),
            "widths": self.widths_,
            "network": self.network_.state_dict(),
        }

    def restore(self, state: State) -> Self:
        """Become what `state` was taken of."""
        self.standard_, self.target_ = Standardiser.restored(state["standard"]), Target(**state["target"])
        self.widths_ = state["widths"]
        self.network_ = built(lambda: self.network(self.widths_, torch.Generator()))
        self.network_.load_state_dict(state["network"])
        return self

    def _inputs(self, population: Population) -> tuple[Tensor, ...]:
        embedding = self.standard_(column(population, "embedding", self._name)).astype(np.float32)
        return torch.from_numpy(embedding), *self.beside(population)
