"""Features on the scale of the training rows."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

LEAST_SPREAD = 1e-5
"""A feature that varies less than this share of its size does not vary: it is float32's rounding."""


@dataclass(frozen=True)
class Standardiser:
    """Subtracts the training mean and divides by the training standard deviation.

    Attributes:
        centre, spread: (F,) mean and standard deviation of the training rows.
        varying: (F,) bool; a feature that is the same in all training rows is 0 in every row, as nothing says how
            much a difference in it would matter.
    """

    centre: np.ndarray
    spread: np.ndarray
    varying: np.ndarray

    @classmethod
    def fit(cls, features: np.ndarray) -> Self:
        """Learn from training rows (n, F)."""
        features = np.asarray(features, np.float64)
        centre, spread = features.mean(axis=0), features.std(axis=0)
        return cls(centre, spread, spread > LEAST_SPREAD * np.maximum(1, np.abs(centre)))

    def state(self) -> dict[str, Tensor]:
        """Its attributes as tensors."""
        return {name: torch.from_numpy(values) for name, values in vars(self).items()}

    @classmethod
    def restored(cls, state: dict[str, Tensor]) -> Self:
        """What `state` was taken of."""
        return cls(**{name: values.numpy() for name, values in state.items()})

    def unseen(self, features: np.ndarray) -> np.ndarray:
        """(F,) bool: where one row (F,) differs from all training rows in a feature that is the same in all of them."""
        return ~self.varying & ~np.isclose(features, self.centre, rtol=LEAST_SPREAD, atol=LEAST_SPREAD)

    def placed(self, features: np.ndarray) -> np.ndarray:
        """Standardised features over the root of how many vary, (N, F): unrelated rows lie some sqrt(2) apart."""
        return self(features) / np.sqrt(max(1, self.varying.sum()))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """(N, F) -> (N, F) float64."""
        return np.where(self.varying, (features - self.centre) / np.where(self.varying, self.spread, 1.0), 0.0)
