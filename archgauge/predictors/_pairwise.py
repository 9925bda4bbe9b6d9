"""What GENNAPE's pairwise classifiers share: training on pairs, ranking by merge sort (its supplement).

What the paper leaves open, and our choice:

- *Which pairs.* An epoch takes every training row once, beside a partner drawn anew among the other rows. An epoch
  then has as many steps as a regressor's, and the paper's epochs and batches keep their meaning: 100 epochs of single
  pairs of 50 labels see most of the 1225 pairs several times.
- *Equal labels.* Their target is 1/2: neither is better.
- *Antisymmetry.* Of the network; see `PairwiseClassifier`.
- *Ties and order.* Architectures of equal inputs share a rank. The others go into the sort in the order of their
  inputs, so that the ranks do not depend on the order of the rows, even where the classifier contradicts itself.
- *Scale.* The prediction is a rank among those that are predicted together, 1 for the worst: it has no unit, and one
  network alone is always first. Whoever averages it with accuracies has to bring both to one scale.
"""

from abc import ABC, abstractmethod
from typing import Self

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from archgauge.nn.pairwise import PairwiseClassifier
from archgauge.predictors._merge_sort import merge_sort
from archgauge.predictors._neural import PREDICT_ROWS, built, minimise
from archgauge.predictors._standardiser import Standardiser
from archgauge.predictors.population import Population, column, training_labels

HIDDEN = (128, 128, 128, 128)
"""Hidden layers of GENNAPE's classifiers (supplement)."""


class Pairwise(ABC):
    """A classifier of pairs of embeddings, which are standardised by the training rows.

    Args:
        epochs, learning_rate, batch_size: of Adam. The defaults are GENNAPE's on a large source; for 50 labels it
            takes 100 epochs of batches of 1.
        seed: of the initial weights and the pairs.

    Attributes:
        standard_: puts embeddings on the training rows' scale.
        network_: the trained classifier.
    """

    def __init__(self, *, epochs: int = 40, learning_rate: float = 1e-4, batch_size: int = 32, seed: int):
        self.epochs, self.learning_rate, self.batch_size = epochs, learning_rate, batch_size
        self.seed = seed

    @abstractmethod
    def network(self, widths: list[int], generator: torch.Generator) -> PairwiseClassifier:
        """A new classifier for inputs of these widths."""

    def beside(self, population: Population) -> tuple[Tensor, ...]:
        """What the network reads beside the embeddings, (N, ...) each."""
        return ()

    def fit(self, population: Population, accuracy_pct: np.ndarray) -> Self:
        """Fit on n labelled architectures, labels (n,), with binary cross entropy.

        Raises:
            PredictorError: without what the class needs, with fewer than 2 labels, or with one that is not finite.
        """
        self.standard_ = Standardiser.fit(column(population, "embedding", self._name))
        inputs = self._inputs(population)
        label = torch.tensor(training_labels(population, accuracy_pct, self._name, at_least=2))
        generator = torch.Generator().manual_seed(self.seed)
        self.network_ = built(lambda: self.network([part.shape[1] for part in inputs], generator))

        def loss(rows: Tensor) -> Tensor:
            partner = (rows + torch.randint(1, len(label), rows.shape, generator=generator)) % len(label)
            one, other = self.network_.latent(*(part[torch.cat([rows, partner])] for part in inputs)).chunk(2)
            better = (1 + (label[rows] - label[partner]).sign()) / 2
            return binary_cross_entropy_with_logits(self.network_(one, other), better.float())

        minimise(
            self.network_,
            loss,
            len(label),
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            generator=generator,
        )
        return self

    def predict(self, population: Population) -> np.ndarray:
        """Rank architectures among each other, 1 for the worst: (N,) float64; equal inputs share their mean rank."""
        inputs = self._inputs(population)
        _, first, which = np.unique(torch.cat(inputs, dim=1).numpy(), axis=0, return_index=True, return_inverse=True)
        with torch.inference_mode():
            parts = zip(*(part[first].split(PREDICT_ROWS) for part in inputs), strict=True)
            latent = torch.cat([self.network_.latent(*part) for part in parts])

            def better(one: np.ndarray, other: np.ndarray) -> np.ndarray:
                return (self.network_(latent[one], latent[other]) > 0).numpy()

            place = np.argsort(merge_sort(len(latent), better))
        return rankdata(place[which.reshape(-1)])

    @property
    def _name(self) -> str:
        return type(self).__module__.rpartition(".")[2]

    def _inputs(self, population: Population) -> tuple[Tensor, ...]:
        embedding = self.standard_(column(population, "embedding", self._name)).astype(np.float32)
        return torch.from_numpy(embedding), *self.beside(population)
