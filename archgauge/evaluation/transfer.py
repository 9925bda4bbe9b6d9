"""The protocol of transfers: train on a labelled source, predict a target without its labels and with a few of them.

GENNAPE, "NAS-Bench-101 Comparison" and "Transferability Prediction Error".
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from archgauge.evaluation.ensembles import Combination
from archgauge.evaluation.labels import LabelScale, on_one_scale, rows_of
from archgauge.evaluation.metrics import spearman
from archgauge.evaluation.protocols import named_tasks, prediction_rows, swept
from archgauge.evaluation.source_models import SourceModel
from archgauge.evaluation.splits import division, rows_of_role
from archgauge.predictors.neural import Neural, Ranker
from archgauge.predictors.population import Population
from archgauge.schemas import PREDICTIONS, SCORES

Run = tuple[int, int, int]
"""(n_train, split, seed)."""

WATCHED = 1000
"""Architectures of the first validation set that are predicted after each epoch."""


def train_source(
    make: Callable[[int], Any],
    population: Population,
    accuracy_pct: np.ndarray,
    splits: pa.Table,
    run: Mapping[str, Any],
    report: Callable[[str, float, int], None],
    *,
    by_family: bool = False,
) -> tuple[SourceModel, pa.Table]:
    """Train a predictor on the labels of a source: one family, or several together.

    The first validation set is watched after each epoch and decides nothing. Training over, the second one is judged:
    its Spearman correlation says which seed is transferred.

    Args:
        make: a predictor from its seed.
        population, accuracy_pct: S labelled architectures, (S,).
        splits: SPLITS as `archgauge.evaluation.splits.source_split` makes them.
        run: "predictor", and "n_train", "split" and "seed" of the one run.
        report: gets the name, value and step of what is watched.
        by_family: whether to bring the training labels of each family to one scale, see
            `archgauge.evaluation.labels.on_one_scale`.

    Returns:
        The model, and SCORES of the second validation set.
    """
    rows = division(splits, run["split"], population.arch_id).training_rows(run["n_train"])
    watched, judged = (
        rows_of_role(splits, run["split"], role, population.arch_id) for role in ("validation", "validation2")
    )
    predictor, few = make(run["seed"]), watched[:WATCHED]

    def agreement(predicted: np.ndarray, among: np.ndarray) -> float:
        return _within_families(predicted, accuracy_pct[among], population.family[among])

    def watch(epoch: int) -> None:
        report("validation/spearman", agreement(predictor.predict(population.take(few)), few), epoch)

    watching = [watch] if isinstance(predictor, Neural) else []
    labels, scale = accuracy_pct[rows], LabelScale.of(accuracy_pct[rows])
    if by_family:
        labels = on_one_scale(labels, population.family[rows])
    predictor.fit(population.take(rows), labels, *watching)
    table = scored(predictor, population.take(judged), run)
    model = SourceModel(
        seed=run["seed"],
        spearman=agreement(table["predicted"].to_numpy(), judged),
        scores=scored(predictor, population.take(watched), run)["score"].to_numpy(),
        state=predictor.state() if isinstance(predictor, Neural) else None,
        label_scale=(scale.mean, scale.std),
    )
    return model, table


def transfer(
    make: Callable[[int], Any],
    models: Sequence[SourceModel],
    fine_tuning: Mapping[str, Any],
    population: Population,
    accuracy_pct: np.ndarray,
    splits: pa.Table,
    runs: Sequence[Run],
    **kept: Any,
) -> pa.Table:
    """Predict a target family from a source, without its labels and after fine-tuning on a few of them.

    Args:
        make: a predictor from its seed.
        models: those that are transferred; a run of seed s starts from model s modulo their number. None where the
            predictor has no source: it learns from the few labels alone.
        fine_tuning: "epochs", "learning_rate" and "batch_size".
        population, accuracy_pct: N architectures of the target, (N,) their labels, of which a run sees those that
            its split reveals; a run of `n_train` 0 sees none.
        splits: SPLITS of the target, the same for all predictors.
        runs: those to make.
        kept: where finished runs are kept; see `archgauge.evaluation.protocols.swept`.

    Returns:
        SCORES of all runs, for the whole family.
    """

    def compute(run: Mapping[str, Any]) -> pa.Table:
        rows = division(splits, run["split"], population.arch_id).training_rows(run["n_train"])
        if not models:
            return scored(make(run["seed"]).fit(population.take(rows), accuracy_pct[rows]), population, run)
        model = models[run["seed"] % len(models)]
        few = population.take(rows)
        predictor, restored = tuned(make, model, fine_tuning, few, accuracy_pct[rows], seed=run["seed"])
        return scored(predictor, population, run, restored)

    return swept(named_tasks(runs, splits, population.arch_id), compute, **kept, schema=SCORES)


def tuned(
    make: Callable[[int], Any],
    model: SourceModel,
    fine_tuning: Mapping[str, Any],
    few: Population,
    accuracy_pct: np.ndarray,
    *,
    seed: int,
) -> tuple[Any, Callable[[np.ndarray], np.ndarray]]:
    """The predictor of a source model, fine-tuned on few labels (n,) of the target, or as it is where there are none.

    The labels are brought to the mean and the spread of those of the source. GENNAPE standardises them by the source's,
    which comes to much the same on NAS-Bench-201 and -301 (CL+T: rho .930 and .656, .932 and .651 its way), and where
    they lie elsewhere leaves a fine-tuning to move all outputs first (TransNAS micro .745, .467 its way; the zoo .796
    and .657). It was chosen by these numbers.

    Returns:
        The predictor, and what brings its predictions back to the scale of the target's labels.
    """
    predictor, labels, restored = make(model.seed).restore(model.state), accuracy_pct, _as_it_is
    if not len(few):
        return predictor, restored
    own, learnt = LabelScale.of(labels), LabelScale(*model.label_scale)
    labels, restored = own.moved(labels, learnt), partial(learnt.moved, to=own)
    return predictor.fine_tune(few, labels, **fine_tuning, seed=seed), restored


def ensemble(
    name: str,
    members: Sequence[pa.Table],
    models: Sequence[Sequence[SourceModel]],
    accuracy_pct: np.ndarray,
    arch_id: np.ndarray,
    splits: pa.Table,
    runs: Sequence[Run],
) -> pa.Table:
    """Combine what the members of an ensemble have scored in the same runs.

    Args:
        name: of the ensemble.
        members: SCORES of each of M members.
        models: those of each member that were transferred; they bring zero-shot scores to one scale.
        accuracy_pct, arch_id: (N,) labels and names of the target, of which a run sees those that its split reveals.
        splits, runs: those of the members.

    Returns:
        PREDICTIONS of all runs.
    """
    tables = []
    for n_train, split, seed in runs:
        scores = np.column_stack([_scores(table, arch_id, n_train, split, seed) for table in members])
        if n_train:
            rows = division(splits, split, arch_id).training_rows(n_train)
            combination = Combination.fine_tuned(scores[rows], accuracy_pct[rows])
        else:
            combination = Combination.zero_shot([each[seed % len(each)].scores for each in models])
        run = {"predictor": name, "n_train": n_train, "split": split, "seed": seed}
        tables.append(prediction_rows(arch_id, combination(scores), run))
    return pa.concat_tables([table.cast(PREDICTIONS) for table in tables])


def _as_it_is(predicted: np.ndarray) -> np.ndarray:
    return predicted


class Transferred:
    """A source's model as an estimator: fitting it is fine-tuning it anew.

    Args:
        make: a predictor from its seed.
        model: of the source.
        fine_tuning: "epochs", "learning_rate" and "batch_size".
        seed: of the order of the labels.

    Attributes:
        predictor_: the fine-tuned predictor.
    """

    def __init__(self, make: Callable[[int], Any], model: SourceModel, fine_tuning: Mapping[str, Any], *, seed: int):
        self._make, self._model, self._fine_tuning, self._seed = make, model, fine_tuning, seed

    def fit(self, population: Population, accuracy_pct: np.ndarray) -> Self:
        """Start from the source's model and go on with n labels (n,) in percent; with none it stays what it is."""
        source = (self._make, self._model, self._fine_tuning)
        self.predictor_, self._restored = tuned(*source, population, accuracy_pct, seed=self._seed)
        return self

    def predict(self, population: Population) -> np.ndarray:
        """Predict on the scale of the labels: (N,) float64, higher is better."""
        return self._restored(self.predictor_.predict(population))


def scored(
    predictor: Any,
    population: Population,
    run: Mapping[str, Any],
    restored: Callable[[np.ndarray], np.ndarray] = _as_it_is,
) -> pa.Table:
    """SCORES of a run. The score is the prediction itself, but for predictors of ranks, which depend on the company.

    Args:
        restored: brings predictions (N,) back to the scale of the labels; ranks have none.
    """
    predicted = predictor.predict(population)
    if isinstance(predictor, Ranker):
        score = predictor.score(population)
    else:
        score = predicted = restored(predicted)
    rows = prediction_rows(population.arch_id, predicted, run)
    return rows.append_column("score", pa.array(score)).cast(SCORES)


def _within_families(predicted: np.ndarray, accuracy_pct: np.ndarray, family: np.ndarray) -> float:
    """Spearman's correlation (n,) within each family, averaged: which family is better is nobody's question."""
    parts = [family == name for name in np.unique(family)]
    return float(np.mean([spearman(predicted[part], accuracy_pct[part]) for part in parts]))


def _scores(table: pa.Table, arch_id: np.ndarray, *run: int) -> np.ndarray:
    """The scores (N,) of one run of a member, along `arch_id`."""
    keys = zip(("n_train", "split", "seed"), run, strict=True)
    mine = table.filter(reduce(pc.and_, (pc.equal(table[name], value) for name, value in keys)))
    return mine["score"].to_numpy()[rows_of(arch_id, mine["arch_id"], "the scores of a member")]
