"""Joining predictions and searches with the truth, and taking labels from their table."""

import re

import numpy as np
import pyarrow as pa
import pytest

from archgauge.errors import ConfigError, PredictorError, TableError
from archgauge.evaluation import metrics
from archgauge.evaluation.labels import label_values
from archgauge.evaluation.results import Truth, metric_rows, search_rows
from archgauge.evaluation.splits import division, few_label_split
from archgauge.schemas import LABELS, METRICS, PREDICTIONS, TRACES, read_table, write_table

N = 120
IDS = np.array([f"toy/{index}" for index in range(N)], dtype=object)
RNG = np.random.default_rng(0)
TRUTH = Truth(
    family="toy",
    label="cifar10/test@200/mean",
    arch_id=IDS,
    accuracy_pct=RNG.normal(90, 3, N),
    live_hash=np.array([f"{index % 40:032x}" for index in range(N)], dtype=object),
    without_none=np.arange(N) % 4 != 0,
)
SPLIT_TABLE = few_label_split(list(IDS), 3, np.random.default_rng(1))
NAMES = ("spearman", "kendall", "ndcg@10", "ndcg_linear@10", "mae", "precision@10", "best_rank@10")


def _prediction_table(runs, noise=2.0, rows=None):
    """PREDICTIONS of (predictor, n_train, split, seed) runs, rows of all runs shuffled together."""
    rng = np.random.default_rng(5)
    tables = []
    for predictor, n_train, split, seed in runs:
        kept = np.arange(N) if rows is None else rows
        columns = {"predictor": predictor, "n_train": n_train, "split": split, "seed": seed}
        tables.append(
            pa.table(
                {
                    "arch_id": IDS[kept],
                    **{name: [value] * len(kept) for name, value in columns.items()},
                    "predicted": TRUTH.accuracy_pct[kept] + rng.normal(0, noise, len(kept)),
                }
            ).cast(PREDICTIONS)
        )
    table = pa.concat_tables(tables).unify_dictionaries()
    return table.take(rng.permutation(table.num_rows))


RUNS = [(p, n, s, s + 10) for p in ("gennape", "macs") for n in (5, 20) for s in range(3)]


def _judge(predictions, truth=TRUTH, names=NAMES):
    return metric_rows(
        predictions,
        SPLIT_TABLE,
        truth,
        experiment="few_labels",
        metrics=names,
        predicts_percent={"gennape"},
        backend="torch",
    )


def test_every_value_equals_the_metric_of_a_join_by_hand(tmp_path):
    predictions = _prediction_table(RUNS)
    write_table(tmp_path / "metrics.parquet", _judge(predictions), METRICS)
    rows = read_table(tmp_path / "metrics.parquet", METRICS).to_pylist()
    # Per run 3 populations of 7 metrics, one of which is for gennape only.
    assert len(rows) == 6 * 3 * 7 + 6 * 3 * 6
    true = dict(zip(IDS, range(N), strict=True))
    listed = predictions.to_pylist()
    for row in rows[::7]:
        run = tuple(row[name] for name in ("predictor", "n_train", "split", "seed"))
        part = division(SPLIT_TABLE, row["split"], IDS)
        learnt = set(part.training_rows(row["n_train"]).tolist())
        hashes = {TRUTH.live_hash[i] for i in learnt}
        keep = {
            "all": lambda i: True,
            "without_none": lambda i: i % 4 != 0,
            "unseen_functions": lambda i, hashes=hashes: TRUTH.live_hash[i] not in hashes,
        }[row["population"]]
        pairs = [
            (p["predicted"], TRUTH.accuracy_pct[true[p["arch_id"]]])
            for p in listed
            if (p["predictor"], p["n_train"], p["split"], p["seed"]) == run
            and true[p["arch_id"]] not in learnt
            and keep(true[p["arch_id"]])
        ]
        predicted, accuracy = np.array(pairs).T
        assert row["value"] == pytest.approx(metrics.metric(row["metric"])(predicted, accuracy), rel=1e-12)
        assert row["n"] == len(pairs)
        assert (row["family"], row["label"], row["backend"]) == ("toy", "cifar10/test@200/mean", "torch")
        assert row["experiment"] == "few_labels"


def test_training_cells_neither_count_nor_need_a_prediction():
    run = [("gennape", 20, 0, 0)]
    part = division(SPLIT_TABLE, 0, IDS)
    without_training = _prediction_table(run, noise=0.0, rows=part.evaluated_rows(20))
    everywhere = _prediction_table(run, noise=0.0).to_pylist()
    learnt = set(IDS[part.training_rows(20)])
    spoilt = [{**row, "predicted": np.nan} if row["arch_id"] in learnt else row for row in everywhere]
    assert _judge(pa.Table.from_pylist(spoilt, PREDICTIONS)).equals(_judge(without_training))


def test_mae_only_where_percent_are_predicted():
    rows = _judge(_prediction_table(RUNS)).to_pylist()
    assert {row["predictor"] for row in rows if row["metric"] == "mae"} == {"gennape"}


def test_a_family_without_hashes_or_none_has_one_population():
    plain = Truth("toy", TRUTH.label, IDS, TRUTH.accuracy_pct)
    assert {row["population"] for row in _judge(_prediction_table(RUNS[:1]), plain).to_pylist()} == {"all"}


def test_a_missing_or_repeated_prediction():
    run = [("gennape", 20, 0, 0)]
    evaluated = division(SPLIT_TABLE, 0, IDS).evaluated_rows(20)
    expected = "predictor=gennape, n_train=20, split=0, seed=0: expected one for each of the 100 evaluated"
    with pytest.raises(TableError, match=re.escape(expected) + f".*got 0 for {IDS[evaluated[0]]}"):
        _judge(_prediction_table(run, rows=evaluated[1:]))
    with pytest.raises(TableError, match=f"got 2 for {IDS[evaluated[3]]}"):
        _judge(_prediction_table(run, rows=np.append(evaluated, evaluated[3])))


def test_a_prediction_that_is_not_a_number():
    predictions = _prediction_table([("gennape", 20, 0, 0)], noise=np.nan)
    with pytest.raises(PredictorError, match=r"predictor=gennape.*expected finite numbers, got nan for toy/\d+ \(100"):
        _judge(predictions)


def test_an_unknown_architecture_split_or_metric():
    predictions = _prediction_table([("gennape", 20, 7, 0)])
    with pytest.raises(TableError, match="split 7 at SPLITS"):
        _judge(predictions)
    with pytest.raises(TableError, match=r"the true values: expected a row for toy/\d+"):
        _judge(predictions, Truth("toy", TRUTH.label, IDS[:50], TRUTH.accuracy_pct[:50]))
    with pytest.raises(ConfigError, match="'auc'"):
        _judge(predictions, names=["auc"])


def _trace_table(runs):
    rows = [
        {"strategy": strategy, "seed": seed, "step": step, "arch_id": IDS[index]}
        for strategy, seed, queries in runs
        for step, index in queries
    ]
    return pa.Table.from_pylist(rows, TRACES)


def test_search_rows_follow_the_incumbent():
    searched = RNG.permutation(TRUTH.accuracy_pct)  # a label of its own: the best by one is not the best by the other
    queries = list(enumerate(RNG.permutation(N)[:30].tolist()))
    table = _trace_table([("evolution", 1, queries[::-1]), ("random", 4, queries[:5])])
    rows = search_rows(table, TRUTH, searched, experiment="search", backend="torch")
    assert rows.schema == METRICS
    values = {(r["predictor"], r["n_train"], r["metric"]): r["value"] for r in rows.to_pylist()}
    assert len(values) == rows.num_rows == 3 * 35
    by_truth = max((index for _, index in queries), key=lambda index: TRUTH.accuracy_pct[index])
    assert values["evolution", 30, "found_accuracy"] < TRUTH.accuracy_pct[by_truth]
    for used in (1, 7, 30):
        found = max((index for _, index in queries[:used]), key=lambda index: searched[index])
        accuracy = TRUTH.accuracy_pct[found]
        assert values["evolution", used, "found_accuracy"] == accuracy
        assert values["evolution", used, "regret"] == TRUTH.accuracy_pct.max() - accuracy
        assert values["evolution", used, "found_rank"] == 1 + (TRUTH.accuracy_pct > accuracy).sum()


def test_search_with_a_repeated_step():
    table = _trace_table([("evolution", 1, [(0, 3), (0, 4)])])
    with pytest.raises(TableError, match="steps of a search at strategy=evolution, seed=1: expected each once, got 2"):
        search_rows(table, TRUTH, TRUTH.accuracy_pct, experiment="search", backend="torch")


def _label_table(values, names=None, ids=("a", "b", "c")):
    return pa.table(
        {"arch_id": list(ids), "label": names or ["x"] * len(ids), "value": values, "unit": ["percent"] * len(ids)}
    ).cast(LABELS)


def test_label_values_follow_the_architectures():
    table = _label_table([1.0, 2.0, 3.0, 9.0], names=["x", "x", "x", "y"], ids=("a", "b", "c", "a"))
    assert label_values(table, "x", ["c", "a"]).tolist() == [3.0, 1.0]
    assert label_values(table, "y", ["a"]).tolist() == [9.0]


def test_bad_labels():
    with pytest.raises(TableError, match="label's name at LABELS: expected x, got 'z'"):
        label_values(_label_table([1.0, 2.0, 3.0]), "z", ["a"])
    with pytest.raises(TableError, match=r"the label x at b: expected a finite number, got nan \(1 of 2"):
        label_values(_label_table([1.0, np.nan, 3.0]), "x", ["a", "b"])
    with pytest.raises(TableError, match=r"at LABELS \(x\): expected a row for d, got no row for 1 of 2"):
        label_values(_label_table([1.0, 2.0, 3.0]), "x", ["a", "d"])
    with pytest.raises(TableError, match="expected each at most once, got b several times"):
        label_values(_label_table([1.0, 2.0, 3.0], ids=("a", "b", "b")), "x", ["a"])
