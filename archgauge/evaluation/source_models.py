"""Files of predictors that were trained on a source family and wait for a target."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from archgauge.nn.checkpoint import read_checkpoint, write_checkpoint

_FORMAT = "archgauge source model 2"


@dataclass(frozen=True, eq=False)
class SourceModel:
    """One seed of a predictor, trained on a source.

    Attributes:
        seed: of its training.
        spearman: rank correlation on the second validation set of the source, by which a seed is chosen.
            The mean over families where the source has several.
        scores: (V,) float64, its scores of the first validation set: their mean and spread are its scale.
        state: what `archgauge.predictors.neural.Neural.restore` needs; None for a predictor that carries nothing
            over, such as MACs.
        label_scale: mean and standard deviation of the labels that it has learnt, and that a target's are brought to.
    """

    seed: int
    spearman: float
    scores: np.ndarray
    state: dict[str, Any] | None
    label_scale: tuple[float, float]


def transferred(models: Sequence[SourceModel], which: Literal["best", "every"]) -> list[SourceModel]:
    """The models that go to a target: the one of the best Spearman correlation (GENNAPE), or one for each seed."""
    if which == "every":
        return list(models)
    return [max(models, key=lambda model: np.nan_to_num(model.spearman, nan=-1.0))]


def save_model(path: str | Path, model: SourceModel) -> None:
    """Write a model as tensors and plain values, whole or not at all."""
    write_checkpoint(path, _FORMAT, vars(model) | {"scores": torch.tensor(model.scores)})


def load_model(path: str | Path) -> SourceModel:
    """Read a model back.

    Raises:
        FormatError: when the file is missing, damaged or something else.
    """
    remedy = "Delete the file and run the workflow again: the rule that makes it will run."
    content = read_checkpoint(path, _FORMAT, what="a predictor trained on a source", remedy=remedy)
    return SourceModel(**{**content, "scores": content["scores"].numpy()})
