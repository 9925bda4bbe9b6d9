"""Tables of zero-cost proxies: against published correlations, scipy, and cells worked out by hand."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy import stats

from archgauge import schemas
from archgauge.errors import PredictorError, TableError
from archgauge.evaluation.labels import counted
from archgauge.evaluation.proxy_inputs import accuracy_labels, correlations, published_costs
from archgauge.evaluation.proxy_scores import Correlation, correlation
from archgauge.evaluation.proxy_tables import gennape_table, set_table, sources, transferable_table
from archgauge.evaluation.statistics import spearman_interval
from archgauge.evaluation.table_files import as_csv, as_markdown
from archgauge.families import _common, nb201, nb301
from archgauge.graphs.tables import convert
from archgauge.predictors.inputs import load_population
from archgauge.predictors.population import Population
from archgauge.predictors.proxy import Predictor
from archgauge.proxies import grad_norm, plain, snip
from archgauge.proxies.images import CIFAR10_SHAPE, random_batch
from archgauge.proxies.network import initialised
from archgauge.proxies.runner import Recipe, failures, node_scores
from archgauge.proxies.sampling import as_proxies, drawn, with_all
from archgauge.proxies.scores import ranked_last, scores_of
from archgauge.schemas import ARCHITECTURES, METRICS, PROXIES, write_table

NAN = float("nan")


def proxies(rows, batch=16) -> pa.Table:
    """PROXIES of (arch_id, proxy, value)."""
    common = {"seed": 0, "batch": batch, "images": "random", "node": [], "node_value": []}
    filled = [{"arch_id": a, "proxy": p, "value": v, "failed": v is None, **common} for a, p, v in rows]
    return pa.Table.from_pylist(filled, PROXIES)


# Outside truth


@pytest.mark.parametrize(
    ("family", "file", "label", "only", "expected"),
    [
        (nb201, "nb201.parquet", "cifar10/test@200/mean", "without_none", {"jacov": 0.864, "synflow": 0.824}),
        (
            nb301,
            "nb301_surrogate725.parquet",
            "cifar10/validation@100/xgb_noisy+surrogate",
            None,
            {"synflow": 0.217, "fisher": -0.303, "naswot": 0.555},
        ),
    ],
)
def test_published_columns_rank_as_is_known(family, file, label, only, expected, tables_dir):
    """4,096 cells without `none`, and 725 genotypes, on which synflow is positive."""
    settings = {"family": family.FAMILY, "collected": True, "label": label}
    labels = accuracy_labels(tables_dir / file, settings)
    published = as_proxies(family.published_proxies(tables_dir / file))
    ids = labels["arch_id"].to_numpy()
    found = correlations(ids, scores_of(published, ids), labels, only and counted(family.FAMILY, only))
    for proxy, rho in expected.items():
        assert found[proxy].rho == pytest.approx(rho, abs=5e-4)
        assert (found[proxy].n, found[proxy].failed) == (4096 if only else 725, 0)


def test_counts_equal_the_published_ones(tables_dir, tmp_path):
    specs = nb201.sample(40, np.random.default_rng(1))
    rows = pa.table({"arch_id": map(nb201.arch_id, specs), "family": ["nb201"] * 40, "spec": specs})
    write_table(tmp_path / "a.parquet", rows.cast(ARCHITECTURES), ARCHITECTURES)
    paths = tmp_path / "graphs.parquet", tmp_path / "kinds.parquet"
    convert(tmp_path / "a.parquet", nb201.to_graph, *paths, processes=1)
    theirs, equal = published_costs("nb201", tables_dir / "nb201.parquet", *paths)
    assert equal == {"macs": 40, "params": 40}
    assert theirs["macs"].shape == (40,)


def test_9445_cells_have_published_columns(tables_dir):
    table = as_proxies(nb201.published_proxies(tables_dir / "nb201.parquet"))
    assert len(with_all(table, ["jacov", "synflow", "zen", "unpublished"])) == 9445
    counts = failures(table)
    assert (counts["zen"], counts["jacov"], counts["synflow"]) == (341, 1, 0)  # -1e8 in the file


@pytest.mark.parametrize("module", [grad_norm, plain, snip])
def test_a_proxy_that_shares_a_gradient_is_what_it_is_alone(module):
    graph = nb201.to_graph(nb201.sample(1, np.random.default_rng(2))[0])
    together = node_scores(graph, Recipe(("snip", "synflow", "grad_norm", "plain"), 0, 2))
    assert list(together) == ["snip", "synflow", "grad_norm", "plain"]
    batch = random_batch(CIFAR10_SHAPE, 10, 2, seed=0)
    alone = module.score(initialised(graph, 0), batch.images, batch.labels, torch.Generator())
    assert together[module.__name__.rpartition(".")[2]] == alone


# Correlations


def test_the_interval_is_scipys_bootstrap():
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    y = x + rng.normal(size=200)
    rho = stats.spearmanr(x, y).statistic
    again = stats.bootstrap(
        (x, y), lambda a, b: stats.spearmanr(a, b).statistic, paired=True, vectorized=False, n_resamples=999, rng=rng
    ).confidence_interval
    assert spearman_interval(rho, 200) == pytest.approx((again.low, again.high), abs=0.02)


def test_the_interval_covers_in_95_of_100_draws():
    rng, truth, inside = np.random.default_rng(1), 6 / np.pi * np.arcsin(0.6 / 2), 0
    for _ in range(400):
        x, y = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], size=60).T
        low, high = spearman_interval(stats.spearmanr(x, y).statistic, 60)
        inside += low < truth < high
    assert 0.92 < inside / 400 < 0.98


def test_the_interval_at_the_ends():
    assert spearman_interval(1.0, 50) == (1.0, 1.0)
    assert np.isnan(spearman_interval(0.5, 3)).all()


def test_what_failed_ranks_last_and_is_counted():
    scores = np.array([3.0, NAN, 1.0, 2.0, 1e300])
    assert stats.rankdata(ranked_last(scores)).tolist() == [4, 1, 2, 3, 5]
    assert ranked_last(np.full(2, NAN)).tolist() == [0, 0]
    found = correlation(scores, np.array([3.0, 0.0, 1.0, 2.0, 4.0]))
    assert (found.rho, found.failed, found.n) == (pytest.approx(1), 1, 5)


def test_scores_are_found_by_architecture_and_batch():
    table = pa.concat_tables([proxies([("a", "p", 1.0), ("b", "p", None)], 16), proxies([("a", "p", 5.0)], 64)])
    assert scores_of(table, ["b", "c", "a"], 16)["p"] == pytest.approx([NAN, NAN, 1], nan_ok=True)
    assert scores_of(table, ["a"], 64)["p"] == [5]
    with pytest.raises(TableError, match="one for each architecture, got 2 of 1"):
        scores_of(table, ["a"])


# Samples and published columns


def architectures(n: int) -> pa.Table:
    ids = [f"x/{i}" for i in range(n)]
    return schemas.architectures("x", ids, ids)


def test_a_sample_is_of_the_seed_and_of_what_is_known():
    known = pa.array([f"x/{i}" for i in range(0, 40, 2)])
    first, again, other = (drawn(architectures(40), 8, seed, known)["arch_id"].to_pylist() for seed in (0, 0, 1))
    assert first == again != other
    assert set(first) <= set(known.to_pylist())
    assert first == sorted(first, key=lambda name: int(name[2:]))
    with pytest.raises(TableError, match="expected at least 30, got 20 with published columns, of 40"):
        drawn(architectures(40), 30, 0, known)


def test_published_columns_keep_signs_and_mark_failures(tmp_path):
    table = pa.table({"zc": [-2.5, -1e8, None]})
    found = _common.published_columns(tmp_path, ["a", "b", "c"], table, {"p": "zc"})
    rows = as_proxies(found).to_pylist()
    assert [(row["arch_id"], row["value"], row["failed"]) for row in rows] == [("a", -2.5, False), ("b", None, True)]
    assert rows[0]["images"] == "published"
    assert rows[0]["batch"] is None
    with pytest.raises(TableError, match=r"the published column zc .* finite numbers"):
        _common.published_columns(tmp_path, ["a"], pa.table({"zc": [NAN]}), {"p": "zc"})


# Tables


def test_a_set_is_compared_with_published_columns_accuracy_and_its_first_batch():
    settings = {"title": "X", "label": "acc", "proxies": ["p", "q"], "batch_sizes": [16, 64]}
    up, down = np.arange(6.0), -np.arange(6.0)
    costs = {"macs": up, "params": down}
    ours = {16: {"p": up, "q": np.append(up[:5], NAN), **costs}, 64: {"p": down, "q": up, **costs}}
    table = set_table(settings, "random", ours, up, {"p": up, **costs}, {"macs": 6, "params": 4})
    value = {key: entry.summary and entry.summary.mean for key, entry in table.entries.items()}
    assert value["p", "published, batch 16"] == pytest.approx(1)
    assert value["p", "published, batch 64"] == value["p", "batch 16, at 64"] == pytest.approx(-1)
    assert value["q", "failed, batch 16"] == 1
    assert value["parameters", "accuracy, batch 16"] == pytest.approx(-1)
    for empty in (("q", "published, batch 16"), ("MACs", "accuracy, batch 64")):
        assert value[empty] is None
        assert table.entries[empty].marks
    text = as_markdown(table)
    assert "-1.000 (-1.000 to -1.000)" in text
    assert "4 of 6 are equal to the published ones" in text
    assert "not among the published columns" in text
    assert "does not depend on the batch" in text


def family(row: str, title: str, note: str | None = None) -> dict:
    return {"row": row, "title": title, "note": note}


def cell(rho: float, n: int = 500, failed: int = 0) -> Correlation:
    return Correlation(rho, spearman_interval(rho, n), n, failed)


def test_the_transferable_table():
    nb301_columns = sources(
        "nb301",
        family("NAS-Bench-301", "NB301"),
        {"computed here": {"synflow": cell(0.25, 200, 3), "macs": cell(0.5, 200)}, "published": {"synflow": cell(0.2)}},
    )
    missing = sources("nb101", family("NAS-Bench-101", "NB101", "A note."), {})
    runs = [
        {"experiment": "t", "family": "nb301", "predictor": "cl", "population": "all", "n_train": 50,
         "metric": "spearman", "value": value, "split": i, "seed": 0, "label": "x", "n": 9, "backend": "torch"}
        for i, value in enumerate((0.88, 0.9))
    ]  # fmt: skip
    runs += [{**run, "predictor": "macs", "value": run["value"] - 0.3 - 0.001 * run["split"]} for run in runs]
    runs.append({**runs[0], "n_train": 0, "value": 0.4})
    place = {"experiment": "t", "population": "all", "n_train": 50}
    learnt = {
        "headline": "CL-fine-tune",
        "rows": {
            "CL-fine-tune": {"nb301": {**place, "predictor": "cl"}, "nb101": {"missing": "No labels here."}},
            "Costs": {"nb301": {**place, "predictor": "macs"}},
            "CL, no label": {"nb301": {**place, "predictor": "cl", "n_train": 0}},
            "Another": {"nb301": {**place, "predictor": "none"}},
        },
        "notes": {"CL-fine-tune": "Transductive."},
        "scales": {"nb301": "The scale."},
    }
    metrics = {"t": pa.Table.from_pylist(runs, METRICS)}
    table = transferable_table("T", [*missing, *nb301_columns], learnt, metrics)
    assert table.columns == ("NB101", "NB301, computed here (n = 200)", "NB301, published (n = 500)")
    text = as_markdown(table)
    assert "the paper prints -0.210; here 0.250 with an interval of 0.1" in text
    assert "3 of 200 failed" in text
    entry = table.entries["CL-fine-tune", "NB301, computed here (n = 200)"]
    assert (entry.summary.mean, entry.summary.runs, entry.published.value) == (pytest.approx(0.89), 2, 0.892)
    cells = {row: table.entries[row, "NB301, computed here (n = 200)"] for row in ("Costs", "CL, no label", "Another")}
    assert (cells["Costs"].direction, cells["CL, no label"].direction) == ("↓", "")
    assert cells["CL, no label"].summary.mean == 0.4
    assert cells["Another"].summary is None
    assert "The scale. 9 networks judged." in text
    assert "Transductive." in text
    assert "better / worse than CL-fine-tune" in text
    reasons = dict(table.notes)
    for key, found in table.entries.items():
        assert found.summary is not None or found.marks, key
    assert "download" in reasons[table.entries["Synflow", "NB101"].marks]
    assert reasons[table.entries["CL-fine-tune", "NB101"].marks] == "No labels here."
    assert "learnt" in reasons[table.entries["GNN-fine-tune", "NB301, computed here (n = 200)"].marks]
    assert "0.25,,0.1" in as_csv(table)


def test_gennapes_table_lists_missing_families():
    rows = [
        *sources("nb201", family("NB-201", "NB201"), {"computed here": {"synflow": cell(0.8), "macs": cell(0.79)}}),
        *sources("hiaml", family("HiAML", "HiAML"), {}),
    ]
    table = gennape_table("T", rows)
    assert table.rows == ("NB201, computed here (n = 500)", "HiAML")
    assert table.entries["HiAML", "FLOPs"].summary is None
    assert table.entries["HiAML", "FLOPs"].published.value == 0.277
    assert "[0.001]" in as_markdown(table)
    assert "not in the configured set of proxies" in as_markdown(table)


def test_a_chance_difference_of_sign_is_no_finding():
    near = sources("nb301", family("NB-301", "NB301"), {"computed here": {"synflow": cell(0.05, 50)}})
    assert "other sign" not in as_markdown(gennape_table("T", near))


# The predictor


def population(scores: dict[str, list[float]]) -> Population:
    n = len(next(iter(scores.values())))
    table = np.empty(n, [(name, float) for name in scores])
    for name, values in scores.items():
        table[name] = values
    return Population(np.array([f"x/{i}" for i in range(n)]), np.ones(n), np.ones(n), proxies=table)


def test_the_predictor_ranks_by_the_score_and_what_has_none_last():
    people = population({"jacov": [-65.0, NAN, -90.0], "snip": [1, 2, 3]})
    predictor = Predictor(proxy="jacov", seed=0).fit(people.take(slice(0, 0)), np.empty(0))
    with pytest.warns(UserWarning, match="1 of 3 have no jacov: they rank last"):
        assert stats.rankdata(predictor.predict(people)).tolist() == [3, 1, 2]
    assert Predictor(proxy="snip", seed=0).predict(people.take([2, 0])).tolist() == [3, 1]


def test_a_proxy_without_scores_is_named():
    with pytest.raises(PredictorError, match=r"proxy jacov: expected one of snip, got no score of this family"):
        Predictor(proxy="jacov", seed=0).predict(population({"snip": [1.0, 2.0]}))


def test_a_population_reads_scores_by_architecture(tmp_path):
    specs = nb201.sample(3, np.random.default_rng(0))
    ids = [nb201.arch_id(spec) for spec in specs]
    rows = pa.table({"arch_id": ids, "family": ["nb201"] * 3, "spec": specs})
    tables = {name: tmp_path / f"{name}.parquet" for name in ("architectures", "graphs", "kinds", "proxies")}
    write_table(tables["architectures"], rows.cast(ARCHITECTURES), ARCHITECTURES)
    convert(tables["architectures"], nb201.to_graph, tables["graphs"], tables["kinds"], processes=1)
    write_table(tables["proxies"], proxies([(ids[2], "snip", 7.0), ("nb201/other", "snip", 1.0)]), PROXIES)
    found = load_population("nb201", tables, {"proxies"})
    assert found.proxies["snip"] == pytest.approx([NAN, NAN, 7], nan_ok=True)
