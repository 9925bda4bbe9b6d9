"""What the neural predictors share: the target that they learn, one training loop, and going on with it elsewhere."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, cos, pi
from typing import Any, Literal, Self, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from archgauge.predictors.population import Population, training_labels

GRADIENT_CLIP = 5.0
"""Of GENNAPE's public k-GNN."""

PREDICT_ROWS = 4096
"""Rows that a head predicts at a time."""

Network = TypeVar("Network", bound=nn.Module)
Schedule = Literal["constant", "cosine"]
"""How the learning rate goes over a training: it stays, or falls to zero along half a cosine."""

FlopsTransform = Literal["none", "eq5", "centred"]
"""How a head's target depends on a network's multiply-adds; see `Target`."""

State = dict[str, Any]
"""Tensors and plain values by name: a file of them is read without unpickling anything else."""


class Neural(ABC):
    """A network that is trained on one set of labels and can go on with another.

    Args:
        epochs, learning_rate, batch_size: of Adam. The defaults are GENNAPE's on a large source; for 50 labels it
            takes 100 epochs of batches of 1.
        schedule: "constant", or "cosine": the learning rate falls to zero. GENNAPE prints none.
        epoch_steps: most steps of an epoch, where given: from `epoch_steps * batch_size` rows on the batches grow.
        seed: of the initial weights and the order of the training rows.

    Attributes:
        network_: the trained network.
    """

    network_: nn.Module

    def __init__(
        self,
        *,
        epochs: int = 40,
        learning_rate: float = 1e-4,
        schedule: Literal["constant", "cosine"] = "constant",
        batch_size: int = 32,
        epoch_steps: int | None = None,
        seed: int,
    ):
        self.epochs, self.learning_rate, self.schedule = epochs, learning_rate, schedule
        self.batch_size, self.epoch_steps, self.seed = batch_size, epoch_steps, seed

    @abstractmethod
    def begin(self, population: Population, labels: np.ndarray, generator: torch.Generator) -> None:
        """Take every scale from n labelled architectures, labels (n,), and set a new `network_`."""

    @abstractmethod
    def loss(
        self, population: Population, labels: np.ndarray, generator: torch.Generator
    ) -> Callable[[Tensor], Tensor]:
        """From the rows of a batch, (b,) int64, to their mean loss, on the scales that `begin` took."""

    @abstractmethod
    def predict(self, population: Population) -> np.ndarray:
        """Predict each architecture: (N,) float64, higher is better."""

    @abstractmethod
    def state(self) -> State:
        """All that was fitted."""

    @abstractmethod
    def restore(self, state: State) -> Self:
        """Become what `state` was taken of; the constructor's settings have to be the same."""

    def fit(
        self, population: Population, accuracy_pct: np.ndarray, watch: Callable[[int], None] = lambda epoch: None
    ) -> Self:
        """Fit on n labelled architectures, labels (n,) in percent.

        Args:
            watch: is told the number of each epoch at its end, when the predictor can predict.

        Raises:
            PredictorError: without what the class needs, with fewer than 2 labels, or with one that is not finite.
        """
        labels = self._labels(population, accuracy_pct)
        generator = torch.Generator().manual_seed(self.seed)
        self.begin(population, labels, generator)
        minimise(
            self.network_,
            self.loss(population, labels, generator),
            len(labels),
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            schedule=self.schedule,
            batch_size=max(self.batch_size, ceil(len(labels) / (self.epoch_steps or len(labels)))),
            generator=generator,
            watch=watch,
        )
        return self

    def fine_tune(
        self,
        population: Population,
        accuracy_pct: np.ndarray,
        *,
        epochs: int,
        learning_rate: float,
        batch_size: int,
        seed: int,
    ) -> Self:
        """Go on from the trained weights with n labels (n,) in percent of another family.

        The learning rate stays what it is. Scales stay those of the first labels (GENNAPE, "Transferability Prediction
        Error": the source's mean and standard deviation standardise the fine-tuning labels too).

        Args:
            seed: of the order of the rows.

        Raises:
            PredictorError: as `fit`.
        """
        labels = self._labels(population, accuracy_pct)
        generator = torch.Generator().manual_seed(seed)
        minimise(
            self.network_,
            self.loss(population, labels, generator),
            len(labels),
            epochs=epochs,
            learning_rate=learning_rate,
            schedule="constant",
            batch_size=batch_size,
            generator=generator,
        )
        return self

    def _labels(self, population: Population, accuracy_pct: np.ndarray) -> np.ndarray:
        return training_labels(population, accuracy_pct, self._name, at_least=2)

    @property
    def _name(self) -> str:
        return type(self).__module__.rpartition(".")[2]


class Ranker(ABC):
    """A predictor whose predictions are ranks among those that are predicted together."""

    @abstractmethod
    def score(self, population: Population) -> np.ndarray:
        """Score each architecture whoever else is there: (N,) float64, higher is better."""


@dataclass(frozen=True)
class Target:
    """Between accuracies A and what a network learns: y = (A - c) / d standardised on the training labels.

    GENNAPE's Eq. 5 has c = 0. Then y is mostly 1 / d, which a network has to guess from the graph; on graphs smaller
    than all those of the source it guesses on along the slope that the source has, and ranks them backwards: a
    NAS-Bench-101 head puts NAS-Bench-201 at a Spearman correlation of -.44, and at .62 with c the mean accuracy, where
    what is left to learn is zero on average wherever d is (6,000 source labels, one seed).

    Attributes:
        centre: c.
        mean, std: of the training labels (A - c) / d.
        flops_transform: "eq5" or "centred", d = log10(F + 1) + 1 with F in billions of multiply-adds, and c = 0 or the
            mean of the training accuracies; "none": d = 1 and c = 0.
    """

    centre: float
    mean: float
    std: float
    flops_transform: FlopsTransform

    @classmethod
    def fit(cls, accuracy_pct: np.ndarray, macs: np.ndarray, flops_transform: FlopsTransform) -> Self:
        """Learn from training labels (n,) in percent and multiply-adds (n,)."""
        centre = float(accuracy_pct.mean()) if flops_transform == "centred" else 0.0
        scaled = (accuracy_pct - centre) / _divisor(macs, flops_transform)
        return cls(centre, float(scaled.mean()), float(scaled.std()) or 1.0, flops_transform)

    def of(self, accuracy_pct: np.ndarray, macs: np.ndarray) -> Tensor:
        """Percent (n,) to targets (n,) float32."""
        scaled = (accuracy_pct - self.centre) / _divisor(macs, self.flops_transform)
        return torch.from_numpy(((scaled - self.mean) / self.std).astype(np.float32))

    def accuracy_pct(self, output: Tensor, macs: np.ndarray) -> np.ndarray:
        """Outputs (N,) of a network back to percent (N,) float64."""
        return self.centre + (output.double().numpy() * self.std + self.mean) * _divisor(macs, self.flops_transform)


def _divisor(macs: np.ndarray, flops_transform: FlopsTransform) -> np.ndarray:
    return np.ones(len(macs)) if flops_transform == "none" else np.log10(macs / 1e9 + 1) + 1


def built(make: Callable[[], Network]) -> Network:
    """Make a network; torch's layers draw first weights from the global generator, which is put back."""
    with torch.random.fork_rng(devices=()):
        return make()


def minimise(
    network: nn.Module,
    loss: Callable[[Tensor], Tensor],
    n: int,
    *,
    epochs: int,
    learning_rate: float,
    schedule: Schedule,
    batch_size: int,
    generator: torch.Generator,
    watch: Callable[[int], None] = lambda epoch: None,
) -> None:
    """Minimise a loss with Adam.

    Args:
        network: what learns, in place.
        loss: from the rows of a batch, (b,) int64 below `n`, to their mean loss.
        schedule: of the learning rate, over all steps.
        n: training rows.
        generator: draws the order of the rows in each epoch.
        watch: is told the number of each epoch at its end.
    """
    optimiser = torch.optim.Adam(network.parameters(), learning_rate, fused=True)
    steps = epochs * ceil(n / batch_size)
    rate = LambdaLR(optimiser, lambda step: (1 + cos(pi * step / steps)) / 2 if schedule == "cosine" else 1.0)
    for epoch in range(epochs):
        for rows in torch.randperm(n, generator=generator).split(batch_size):
            value = loss(rows)
            optimiser.zero_grad()
            value.backward()
            nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_CLIP)
            optimiser.step()
            rate.step()
        watch(epoch)


def predicted(network: nn.Module, *inputs: Tensor) -> Tensor:
    """Outputs (N,) of a head for inputs of N rows each."""
    with torch.inference_mode():
        parts = zip(*(rows.split(PREDICT_ROWS) for rows in inputs), strict=True)
        return torch.cat([network(*part).reshape(-1) for part in parts])
