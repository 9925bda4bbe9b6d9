"""GENNAPE's ensemble of perceptrons, weighted by memberships in fuzzy clusters (supplement; METHODS 5.3, 5.4)."""

from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from archgauge.nn.heads import MlpEnsemble
from archgauge.predictors._neural import Target, predicted, train
from archgauge.predictors._standardiser import Standardiser
from archgauge.predictors.population import Population, column, training_labels


class Predictor:
    """y_i = sum_j U_ij f_j(h_i): a perceptron of four hidden layers of 256 for each of the C clusters.

    Args:
        flops_transform: learn A / (log10(F + 1) + 1) in place of A (GENNAPE, Eq. 5).
        epochs, learning_rate, batch_size: of Adam. The defaults are GENNAPE's on a large source; for 50 labels it
            takes 100 epochs of batches of 1.
        seed: of the initial weights and the order of the training rows.

    Attributes:
        standard_: puts embeddings on the training rows' scale.
        target_: puts labels on the training labels' scale.
        network_: the trained ensemble.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"embedding", "membership", "macs"})
    predicts_percent: ClassVar[bool] = True

    def __init__(
        self,
        *,
        flops_transform: bool = False,
        epochs: int = 40,
        learning_rate: float = 1e-4,
        batch_size: int = 32,
        seed: int,
    ):
        self.flops_transform = flops_transform
        self.epochs, self.learning_rate, self.batch_size = epochs, learning_rate, batch_size
        self.seed = seed

    def fit(self, population: Population, accuracy_pct: np.ndarray) -> Self:
        """Fit on n labelled embeddings, labels (n,) in percent.

        Raises:
            PredictorError: without embeddings or memberships, with fewer than 2 labels, or with one that is not finite.
        """
        embedding = column(population, "embedding", "fuzzy_ensemble")
        membership = column(population, "membership", "fuzzy_ensemble")
        labels = training_labels(population, accuracy_pct, "fuzzy_ensemble", at_least=2)
        generator = torch.Generator().manual_seed(self.seed)
        self.standard_ = Standardiser.fit(embedding)
        self.target_ = Target.fit(labels, population.macs, self.flops_transform)
        self.network_ = MlpEnsemble(embedding.shape[1], membership.shape[1], generator)
        h, weight = self._inputs(population)
        train(
            self.network_,
            lambda rows: self.network_(h[rows], weight[rows]),
            self.target_.of(labels, population.macs),
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            generator=generator,
        )
        return self

    def predict(self, population: Population) -> np.ndarray:
        """Predict percent accuracy: (N,) float64."""
        return self.target_.accuracy_pct(predicted(self.network_, *self._inputs(population)), population.macs)

    def _inputs(self, population: Population) -> tuple[Tensor, Tensor]:
        """Embeddings (N, D) on the training scale, and memberships (N, C)."""
        embedding = self.standard_(column(population, "embedding", "fuzzy_ensemble")).astype(np.float32)
        return torch.from_numpy(embedding), torch.tensor(column(population, "membership", "fuzzy_ensemble"))
