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
  network alone is always first. An ensemble reads `score` in its place, which compares with the same few
  architectures whoever else is there.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Self

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from archgauge.nn.pairwise import PairwiseClassifier
from archgauge.predictors._merge_sort import merge_sort
from archgauge.predictors._standardiser import Standardiser
from archgauge.predictors.neural import PREDICT_ROWS, Neural, Ranker, State, built
from archgauge.predictors.population import Population, column

HIDDEN = (128, 128, 128, 128)
"""Hidden layers of GENNAPE's classifiers (supplement)."""

ANCHORS = 64
"""Architectures that a score compares with: the first of the rows last trained on, which come in random order."""


class Pairwise(Neural, Ranker):
    """A classifier of pairs of embeddings, which are standardised by the training rows; the seed also draws the pairs.

    Attributes:
        standard_: puts embeddings on the training rows' scale.
        widths_: of each input of the classifier.
        anchors_: inputs of the architectures that a score compares with.
        network_: the trained classifier.
    """

    network_: PairwiseClassifier

    @abstractmethod
    def network(self, widths: list[int], generator: torch.Generator) -> PairwiseClassifier:
        """A new classifier for inputs of these widths."""

    def beside(self, population: Population) -> tuple[Tensor, ...]:
        """What the network reads beside the embeddings, (N, ...) each."""
        return ()

    def begin(self, population: Population, labels: np.ndarray, generator: torch.Generator) -> None:
        """Set the scale of the embeddings, a new classifier, and whom scores compare with."""
        self.standard_ = Standardiser.fit(column(population, "embedding", self._name))
        self.widths_ = [part.shape[1] for part in self._inputs(population)]
        self.network_ = built(lambda: self.network(self.widths_, generator))

    def loss(
        self, population: Population, labels: np.ndarray, generator: torch.Generator
    ) -> Callable[[Tensor], Tensor]:
        """The binary cross entropy of pairs; the first of these rows become those whom scores compare with."""
        inputs, label = self._inputs(population), torch.tensor(labels)
        self.anchors_ = tuple(part[:ANCHORS] for part in inputs)

        def loss(rows: Tensor) -> Tensor:
            partner = (rows + torch.randint(1, len(label), rows.shape, generator=generator)) % len(label)
            one, other = self.network_.latent(*(part[torch.cat([rows, partner])] for part in inputs)).chunk(2)
            better = (1 + (label[rows] - label[partner]).sign()) / 2
            return binary_cross_entropy_with_logits(self.network_(one, other), better.float())

        return loss

    def predict(self, population: Population) -> np.ndarray:
        """Rank architectures among each other, 1 for the worst: (N,) float64; equal inputs share their mean rank."""
        latent, which = self._latent(population)

        def better(one: np.ndarray, other: np.ndarray) -> np.ndarray:
            return (self.network_(latent[one], latent[other]) > 0).numpy()

        with torch.inference_mode():
            place = np.argsort(merge_sort(len(latent), better))
        return rankdata(place[which])

    def score(self, population: Population) -> np.ndarray:
        """Score each architecture by its mean logit against the anchors: (N,) float64, higher is better.

        The score of one network does not depend on the company. Logits are averaged and not probabilities, which end
        at 0 and 1 where a family lies beside the anchors.
        """
        latent, which = self._latent(population)
        with torch.inference_mode():
            anchors = self.network_.latent(*self.anchors_)
            pairs = (
                self.network_(part.repeat_interleave(len(anchors), 0), anchors.repeat(len(part), 1))
                for part in latent.split(PREDICT_ROWS // ANCHORS)
            )
            return torch.cat([logits.view(-1, len(anchors)).mean(1) for logits in pairs]).double().numpy()[which]

    def state(self) -> State:
        """The scale of the embeddings, the anchors, the widths of the inputs and the weights."""
        return {
            "standard": self.standard_.state(),
            "anchors": list(self.anchors_),
            "widths": self.widths_,
            "network": self.network_.state_dict(),
        }

    def restore(self, state: State) -> Self:
        """Become what `state` was taken of."""
        self.standard_, self.anchors_ = Standardiser.restored(state["standard"]), tuple(state["anchors"])
        self.widths_ = state["widths"]
        self.network_ = built(lambda: self.network(self.widths_, torch.Generator()))
        self.network_.load_state_dict(state["network"])
        return self

    def _latent(self, population: Population) -> tuple[Tensor, np.ndarray]:
        """What is compared, (K, L), of the K distinct architectures in the order of their inputs, and whose (N,)."""
        inputs = self._inputs(population)
        _, first, which = np.unique(torch.cat(inputs, dim=1).numpy(), axis=0, return_index=True, return_inverse=True)
        with torch.inference_mode():
            parts = zip(*(part[first].split(PREDICT_ROWS) for part in inputs), strict=True)
            return torch.cat([self.network_.latent(*part) for part in parts]), which.reshape(-1)

    def _inputs(self, population: Population) -> tuple[Tensor, ...]:
        embedding = self.standard_(column(population, "embedding", self._name)).astype(np.float32)
        return torch.from_numpy(embedding), *self.beside(population)
