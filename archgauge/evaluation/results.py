"""Where predictions and searches meet the truth: PREDICTIONS, TRACES and true values in, METRICS out."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy import stats

from archgauge.errors import PredictorError, TableError
from archgauge.evaluation.labels import rows_of
from archgauge.evaluation.metrics import incumbents, metric
from archgauge.evaluation.splits import Division, division, populations
from archgauge.schemas import METRICS


@dataclass(frozen=True)
class Truth:
    """What the architectures of one family really reach.

    Attributes:
        family: name of the family.
        label: name of the label.
        arch_id: (N,) architectures, each once.
        accuracy_pct: (N,) value of the label in percent, finite.
        live_hash: (N,) hash of the live graph, for the population "unseen_functions"; None leaves it out.
        without_none: (N,) bool, for the population of that name; None leaves it out.
    """

    family: str
    label: str
    arch_id: np.ndarray
    accuracy_pct: np.ndarray
    live_hash: np.ndarray | None = None
    without_none: np.ndarray | None = None


def metric_rows(
    predictions: pa.Table,
    splits: pa.Table | None,
    truth: Truth,
    *,
    experiment: str,
    metrics: Sequence[str],
    predicts_percent: Collection[str],
    backend: str,
) -> pa.Table:
    """Judge every run of every predictor on every population.

    Args:
        predictions: PREDICTIONS; a run is one (predictor, n_train, split, seed). It predicts at least every
            architecture that its split evaluates; predictions of training cells are ignored.
        splits: SPLITS that the runs were trained on; None when no label of this family was learnt from (zero-shot), so
            that all of it is evaluated.
        truth: true values of all architectures in `splits`.
        experiment, backend: copied into the table.
        metrics: names as in `archgauge.evaluation.metrics.metric`.
        predicts_percent: predictors whose output is an accuracy in percent; others get no "mae".

    Returns:
        A METRICS table, a row for each run, population and metric; empty populations give none.

    Raises:
        TableError: when a run repeats or lacks an architecture, or a split is missing.
        PredictorError: when a prediction is not finite, or a training size does not fit the split.
        ConfigError: when a metric is unknown.
    """
    functions = {name: metric(name) for name in metrics}
    divisions: dict[int, Division] = {}
    rows = []
    for run, predicted in _runs(predictions, ("predictor", "n_train", "split", "seed"), truth.arch_id):
        where = ", ".join(f"{name}={value}" for name, value in run.items())
        if splits is None:
            training, evaluated = np.empty(0, np.int64), np.arange(len(truth.arch_id))
        else:
            if run["split"] not in divisions:
                divisions[run["split"]] = division(splits, run["split"], truth.arch_id)
            training = divisions[run["split"]].training_rows(run["n_train"])
            evaluated = divisions[run["split"]].evaluated_rows(run["n_train"])
        values = _predicted(predicted["row"], predicted["predicted"], truth.arch_id, evaluated, where)
        counted = populations(
            training,
            evaluated,
            live_hash=truth.live_hash,
            without_none=truth.without_none,
        )
        for population, members in counted.items():
            for name, function in functions.items() if len(members) else ():
                if name == "mae" and run["predictor"] not in predicts_percent:
                    continue
                value = function(values[members], truth.accuracy_pct[members])
                rows.append({**run, "population": population, "metric": name, "value": value, "n": len(members)})
    return _metrics_table(rows, truth, experiment, backend)


def search_rows(traces: pa.Table, truth: Truth, searched: np.ndarray, *, experiment: str, backend: str) -> pa.Table:
    """Judge every search after each of its queries.

    Args:
        traces: TRACES; a run is one (strategy, seed), its queries stand in the order of `step`.
        truth: the label by which the found architectures are reported, for the whole space.
        searched: (N,) the value that the searches saw, along `truth.arch_id`.
        experiment, backend: copied into the table.

    Returns:
        A METRICS table with the strategy as predictor, the number of queries so far as n_train, split 0, population
        "all", and three metrics of the architecture with the best searched value so far: "found_accuracy" (percent),
        "regret" (percent points below the best of the space) and "found_rank" (true rank, 1 is the best).

    Raises:
        TableError: when a run repeats a step or holds an architecture without truth.
    """
    optimum = truth.accuracy_pct.max()
    ranks = stats.rankdata(-truth.accuracy_pct, method="min")
    rows = []
    for run, queries in _runs(traces, ("strategy", "seed"), truth.arch_id):
        steps, order = np.unique(queries["step"], return_index=True)
        if len(steps) != len(queries["step"]):
            raise TableError(
                "the steps of a search",
                where=f"strategy={run['strategy']}, seed={run['seed']}",
                expected="each once",
                got=f"{len(queries['step'])} queries at {len(steps)} steps",
                remedy="Delete the trace and run the search again.",
            )
        queried = queries["row"][order]
        best = queried[incumbents(searched[queried])]
        curves = {
            "found_accuracy": truth.accuracy_pct[best],
            "regret": optimum - truth.accuracy_pct[best],
            "found_rank": ranks[best],
        }
        common = {"predictor": run["strategy"], "split": 0, "seed": run["seed"], "population": "all", "n": len(ranks)}
        for name, curve in curves.items():
            rows += [
                {**common, "n_train": index + 1, "metric": name, "value": float(value)}
                for index, value in enumerate(curve)
            ]
    return _metrics_table(rows, truth, experiment, backend)


def _runs(table: pa.Table, keys: Sequence[str], arch_ids: np.ndarray) -> Iterator[tuple[dict, dict[str, np.ndarray]]]:
    """Yield each run as its keys and its columns; column "row" is the place of the architecture in `arch_ids`."""
    if not table.num_rows:
        return
    codes = [table[name].combine_chunks().dictionary_encode() for name in keys]
    group = np.ravel_multi_index([code.indices.to_numpy() for code in codes], [len(code.dictionary) for code in codes])
    places = _places(table["arch_id"], arch_ids)
    columns = {name: table[name].to_numpy() for name in table.column_names if name not in (*keys, "arch_id")}
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    for members in np.split(order, starts[1:]):
        run = {name: code[int(members[0])].as_py() for name, code in zip(keys, codes, strict=True)}
        yield run, {"row": places[members], **{name: column[members] for name, column in columns.items()}}


def _places(column: pa.ChunkedArray, arch_ids: np.ndarray) -> np.ndarray:
    encoded = column.combine_chunks().dictionary_encode()
    return rows_of(encoded.dictionary.to_numpy(zero_copy_only=False), pa.array(arch_ids), "the true values")[
        encoded.indices.to_numpy()
    ]


def _predicted(rows: np.ndarray, predicted: np.ndarray, arch_ids: np.ndarray, needed: np.ndarray, where: str):
    """Lay one run's predictions along the architectures, (N,) with nan where none was made, and check them."""
    times = np.bincount(rows, minlength=len(arch_ids))
    wrong = np.concatenate([np.flatnonzero(times > 1), needed[times[needed] == 0]])
    if len(wrong):
        raise TableError(
            "the predictions of a run",
            where=where,
            expected=f"one for each of the {len(needed)} evaluated architectures",
            got=f"{times[wrong[0]]} for {arch_ids[wrong[0]]} ({len(wrong)} architectures are wrong)",
            remedy="Delete the predictions and run the workflow again.",
        )
    values = np.full(len(arch_ids), np.nan)
    values[rows] = predicted
    bad = needed[~np.isfinite(values[needed])]
    if len(bad):
        raise PredictorError(
            "the predictions of a run",
            where=where,
            expected="finite numbers",
            got=f"{values[bad[0]]} for {arch_ids[bad[0]]} ({len(bad)} architectures)",
            remedy="Find out why the predictor's training diverged; such a run has no metric.",
        )
    return values


def _metrics_table(rows: list[dict], truth: Truth, experiment: str, backend: str) -> pa.Table:
    common = {"experiment": experiment, "family": truth.family, "label": truth.label, "backend": backend}
    rows = [{**common, **row} for row in rows]
    return pa.table({field.name: pa.array([row[field.name] for row in rows]).cast(field.type) for field in METRICS})
