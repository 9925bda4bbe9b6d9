"""What the neural predictors share: the target that they learn, and one training loop."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

GRADIENT_CLIP = 5.0
"""Of GENNAPE's public k-GNN."""

PREDICT_ROWS = 4096
"""Rows that a head predicts at a time."""

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Target:
    """Between accuracies and what a network learns: y = Z(A / d), with Z the standardisation of the training labels.

    Attributes:
        mean, std: of the training labels A / d.
        flops_transform: d = log10(F + 1) + 1 with F in billions of multiply-adds (GENNAPE, Eq. 5); d = 1 without.
    """

    mean: float
    std: float
    flops_transform: bool

    @classmethod
    def fit(cls, accuracy_pct: np.ndarray, macs: np.ndarray, flops_transform: bool) -> Self:
        """Learn from training labels (n,) in percent and multiply-adds (n,)."""
        scaled = accuracy_pct / _divisor(macs, flops_transform)
        return cls(float(scaled.mean()), float(scaled.std()) or 1.0, flops_transform)

    def of(self, accuracy_pct: np.ndarray, macs: np.ndarray) -> Tensor:
        """Percent (n,) to targets (n,) float32."""
        scaled = accuracy_pct / _divisor(macs, self.flops_transform)
        return torch.from_numpy(((scaled - self.mean) / self.std).astype(np.float32))

    def accuracy_pct(self, output: Tensor, macs: np.ndarray) -> np.ndarray:
        """Outputs (N,) of a network back to percent (N,) float64."""
        return (output.double().numpy() * self.std + self.mean) * _divisor(macs, self.flops_transform)


def _divisor(macs: np.ndarray, flops_transform: bool) -> np.ndarray:
    return np.log10(macs / 1e9 + 1) + 1 if flops_transform else np.ones(len(macs))


def built(make: Callable[[], Network]) -> Network:
    """Make a network; torch's layers draw first weights from the global generator, which is put back."""
    with torch.random.fork_rng(devices=()):
        return make()


def train(
    network: nn.Module,
    output: Callable[[Tensor], Tensor],
    target: Tensor,
    *,
    epochs: int,
    learning_rate: float,
    batch_size: int,
    generator: torch.Generator,
) -> None:
    """Minimise the squared error with Adam.

    Args:
        network: what learns, in place.
        output: from the rows of a batch, (b,) int64, to the network's outputs (b,).
        target: (n,)
        generator: draws the order of the rows in each epoch.
    """
    minimise(
        network,
        lambda rows: functional.mse_loss(output(rows), target[rows]),
        len(target),
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        generator=generator,
    )


def minimise(
    network: nn.Module,
    loss: Callable[[Tensor], Tensor],
    n: int,
    *,
    epochs: int,
    learning_rate: float,
    batch_size: int,
    generator: torch.Generator,
) -> None:
    """Minimise a loss with Adam.

    Args:
        network: what learns, in place.
        loss: from the rows of a batch, (b,) int64 below `n`, to their mean loss.
        n: training rows.
        generator: draws the order of the rows in each epoch.
    """
    optimiser = torch.optim.Adam(network.parameters(), learning_rate, fused=True)
    for _ in range(epochs):
        for rows in torch.randperm(n, generator=generator).split(batch_size):
            value = loss(rows)
            optimiser.zero_grad()
            value.backward()
            nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_CLIP)
            optimiser.step()


def predicted(network: nn.Module, *inputs: Tensor) -> Tensor:
    """Outputs (N,) of a head for inputs of N rows each."""
    with torch.inference_mode():
        parts = zip(*(rows.split(PREDICT_ROWS) for rows in inputs), strict=True)
        return torch.cat([network(*part).reshape(-1) for part in parts])
