"""Held-out families: depths of the signal by hand, the regression against another solution, and what may be read."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml
from graph_cases import random_graph, reordered
from scipy.stats import norm, rankdata, spearmanr
from test_config import changed

from archgauge.config_check import check
from archgauge.errors import ConfigError, PredictorError
from archgauge.evaluation.held_out import MEAN, held_out_table, hold_out, judged
from archgauge.graphs.builder import GraphBuilder
from archgauge.graphs.composition import COMPOSITION_AND_DEPTHS
from archgauge.graphs.graph import Graphs, concatenate
from archgauge.graphs.normal_form import live
from archgauge.graphs.operations import Kind, KindTable
from archgauge.graphs.signal import DEPTHS, signal_depths
from archgauge.held_out_config import held_out_settings, held_out_sources, held_out_table_settings, target_tables
from archgauge.predictors import macs, shared_gp
from archgauge.predictors.population import Population
from archgauge.schemas import LABELS

ROOT = Path(__file__).parents[1]
CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text())
WIDTH = len(COMPOSITION_AND_DEPTHS)
MACS, PIXELS = (COMPOSITION_AND_DEPTHS.index(name) for name in ("log_macs", "log_input_pixels"))


def depths(graph: Graphs) -> dict[str, float]:
    values = np.expm1(signal_depths(graph)[0])
    return {name.removeprefix("log_depth_"): value for name, value in zip(DEPTHS, values.tolist(), strict=True)}


def block(build: GraphBuilder, value: int) -> int:
    return build.batch_norm(build.conv(value, 4, 3))


def test_a_residual_branch_counts_by_its_share_of_the_variance():
    """After two blocks the sum has variance 3, of which the second branch has a third: by hand."""
    build = GraphBuilder(KindTable())
    start = build.input(8, 8, 4)
    first = build.add([start, block(build, start)])
    second = build.add([first, block(build, first)])
    build.output(second)
    after_first = 0.5  # half of the variance went through one convolution
    assert depths(build.finish())["spatial"] == pytest.approx(2 / 3 * after_first + 1 / 3 * (after_first + 1))


def test_a_normalisation_starts_anew_and_a_gate_counts_little():
    build = GraphBuilder(KindTable())
    start = build.input(8, 8, 4)
    summed = build.batch_norm(build.add([start, block(build, start), block(build, start)]))
    build.output(build.add([summed, block(build, start)]))  # 1 of 2, though three terms came into `summed`
    assert depths(build.finish())["weighted"] == pytest.approx(0.5 * 2 / 3 + 0.5)
    build = GraphBuilder(KindTable())
    start = build.input(8, 8, 4)
    gate = build.conv(build.global_avg_pool(build.conv(start, 4, 3)), 4, 1)
    build.output(build.node(Kind("mul", ((8, 8, 4),), ((8, 8, 4),)), [start, gate]))
    assert depths(build.finish())["weighted"] < 0.01


def test_depths_do_not_depend_on_the_order_of_nodes_or_on_the_company():
    rng, kinds = np.random.default_rng(0), KindTable()
    graphs = [live(random_graph(rng, 30, kinds)) for _ in range(8)]
    together = signal_depths(concatenate(graphs))
    assert (together > 0).any()
    for graph, row in zip(graphs, together, strict=True):
        np.testing.assert_allclose(signal_depths(reordered(graph, rng))[0], row, rtol=1e-9, atol=1e-12)


def test_a_dead_graph_has_no_depth():
    build = GraphBuilder(KindTable())
    build.output(build.same("zero", build.input(8, 8, 4)))
    np.testing.assert_array_equal(signal_depths(live(build.finish())), np.zeros((1, len(DEPTHS))))


def family(name: str, n: int, seed: int, level: float = 80.0) -> tuple[Population, np.ndarray]:
    """Architectures whose accuracy rises with MACs and falls with the first other column, at a level of their own."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, WIDTH)).astype(np.float32) + seed
    rows[:, PIXELS] = 7
    ids = np.array([f"{name}/{row}" for row in range(n)], dtype=object)
    accuracy = level + rows[:, MACS] - 2 * rows[:, 1] + 0.01 * rng.normal(size=n)
    return Population(ids, np.exp(rows[:, MACS].astype(float)), np.ones(n), composition=rows), accuracy


def joined(*parts: tuple[Population, np.ndarray]) -> tuple[Population, np.ndarray]:
    populations, labels = zip(*parts, strict=True)
    return Population.concatenate(populations), np.concatenate(labels)


def test_the_linear_correction_is_ridge_on_differences_within_families():
    """Another solution: centre rows and targets in each family, and solve the normal equations."""
    parts = [family("a", 40, 1), family("b", 60, 2, level=20.0)]
    target, _ = family("c", 30, 3)
    got = shared_gp.Predictor(costs=[], correction="linear", seed=0).fit(*joined(*parts)).predict(target)
    kept = np.arange(WIDTH) != PIXELS
    within = np.sqrt(np.mean([part.composition[:, kept].astype(float).var(axis=0) for part, _ in parts], axis=0))
    scaled = [part.composition[:, kept].astype(float) / within for part, _ in parts]
    scores = [norm.ppf((rankdata(labels) - 0.5) / len(labels)) for _, labels in parts]
    rows = np.concatenate([part - part.mean(axis=0) for part in scaled])
    wanted = np.concatenate([part - part.mean() for part in scores])
    ridge = kept.sum() * shared_gp.LINEAR_NOISE * np.eye(kept.sum())
    slopes = np.linalg.solve(rows.T @ rows + ridge, rows.T @ wanted)
    np.testing.assert_allclose(np.diff(got), np.diff(target.composition[:, kept] / within @ slopes), atol=1e-4)


def test_levels_and_scales_of_families_say_nothing():
    parts, (target, _) = [family("a", 40, 1), family("b", 60, 2)], family("c", 30, 3)
    moved = [parts[0], (parts[1][0], 0.01 * np.exp(parts[1][1] / 10))]
    first, second = (shared_gp.Predictor(seed=0).fit(*joined(*each)).predict(target) for each in (parts, moved))
    np.testing.assert_allclose(first, second)


def test_it_learns_what_families_share_and_far_away_the_costs_decide():
    parts, (target, truth) = [family("a", 150, 1), family("b", 150, 1)], family("c", 200, 1)
    fitted = shared_gp.Predictor(seed=0).fit(*joined(*parts))
    assert spearmanr(fitted.predict(target), truth).statistic > 0.5  # MACs: 0.45
    far = replace(target, composition=target.composition + np.where(np.arange(WIDTH) == MACS, 0, 1e4).astype("f4"))
    assert spearmanr(fitted.predict(far), target.composition[:, MACS]).statistic == pytest.approx(1)
    alone = shared_gp.Predictor(correction="none", seed=0).fit(*joined(*parts)).predict(target)
    assert spearmanr(alone, target.composition[:, MACS]).statistic == pytest.approx(1)


def test_dead_graphs_are_not_learnt_from():
    parts, (target, _) = [family("a", 40, 1), family("b", 40, 2)], family("c", 30, 3)
    dead, labels = family("a", 10, 9)
    dead.composition[:, PIXELS] = 0
    fitted = [shared_gp.Predictor(seed=0).fit(*joined(*each)) for each in (parts, [*parts, (dead, labels)])]
    np.testing.assert_array_equal(*(one.predict(target) for one in fitted))


@pytest.mark.parametrize("wrong", [{"costs": ["log_macs", "latency"]}, {"without": ["log_depth", "latency"]}])
def test_a_column_that_there_is_not_is_named(wrong):
    with pytest.raises(PredictorError, match=r"at shared_gp: .*log_macs.* got latency"):
        shared_gp.Predictor(**wrong, seed=0)
    with pytest.raises(ConfigError, match=r"at predictors.shared.settings: .*log_macs.* got latency"):
        check(changed("predictors.shared.settings", wrong))


MAKE = {"shared": lambda seed: shared_gp.Predictor(seed=seed)}
DRAWS = {"n_train": 30, "draws": 3, "seed": 0}


def predictions(sources, target) -> pa.Table:
    return hold_out(MAKE, {"macs": lambda seed: macs.Predictor(seed=seed)}, sources, target, **DRAWS)


def test_a_draw_depends_on_its_number_and_its_family_alone():
    a, b, c = (family(name, 50, seed) for seed, name in enumerate("abc"))
    table = predictions({"a": a, "b": b}, c[0]).to_pandas()
    assert table.groupby(["predictor", "split"], observed=True).size().tolist() == [50] * 6
    shared = table[table["predictor"] == "shared"]
    by_draw = [shared[shared["split"] == draw]["predicted"].to_numpy() for draw in range(3)]
    assert not np.array_equal(by_draw[0], by_draw[1])
    fewer = hold_out(MAKE, {}, {"a": a, "b": b}, c[0], **{**DRAWS, "draws": 1})
    np.testing.assert_array_equal(fewer["predicted"].to_numpy(), by_draw[0])


def test_predictions_follow_a_truth_that_families_share():
    """Labels that stand beside other rows than their own teach nothing."""
    make = {"linear": lambda seed: shared_gp.Predictor(costs=[], correction="linear", seed=seed)}
    target, truth = family("c", 100, 3)
    table = hold_out(make, {}, {name: family(name, 60, seed) for seed, name in enumerate("ab")}, target, **DRAWS)
    for _, draw in table.to_pandas().groupby("split"):
        assert spearmanr(draw.set_index("arch_id")["predicted"].loc[target.arch_id], truth).statistic > 0.5


class Notes:
    """Keeps what it was to learn from, by family."""

    def __init__(self):
        self.learnt: list[dict[str, list[str]]] = []

    def __call__(self, seed: int):
        return self

    def fit(self, population: Population, accuracy_pct: np.ndarray):
        names = np.unique(population.family)
        self.learnt.append({name: population.arch_id[population.family == name].tolist() for name in names})
        return self

    def predict(self, population: Population) -> np.ndarray:
        return np.zeros(len(population))


def test_a_family_is_drawn_from_alike_whoever_else_is_there():
    known = {name: family(name, n, seed) for seed, (name, n) in enumerate({"a": 50, "b": 40, "c": 45}.items())}
    target, _ = family("d", 9, 4)
    learnt = {}
    for company in ("abc", "b", "cb", "bca"):
        notes = Notes()
        hold_out({"notes": notes}, {}, {name: known[name] for name in company}, target, **DRAWS)
        learnt[company] = [draw["b"] for draw in notes.learnt]
    assert [len(draw) for draw in learnt["b"]] == [30] * 3
    assert learnt["abc"] == learnt["b"] == learnt["cb"] == learnt["bca"]


def labels_of(population: Population, values: np.ndarray) -> pa.Table:
    n = len(values)
    return pa.table({"arch_id": population.arch_id, "label": ["x"] * n, "value": values, "unit": ["percent"] * n}).cast(
        LABELS
    )


def test_the_table_says_what_the_predictions_are_worth():
    a, b, c = (family(name, 50, seed) for seed, name in enumerate("abc"))
    found = []
    for name, target, sources in (("c", c, {"a": a, "b": b}), ("b", b, {"a": a, "c": c})):
        keys = {"experiment": "study", "family": name, "label": "x"}
        counted = {"all": target[0].arch_id, "half": target[0].arch_id[:25]}
        found.append(judged(predictions(sources, target[0]), labels_of(*target), counted, keys))
    metrics = pa.concat_tables(found).unify_dictionaries()
    wanted = [spearmanr(one[0].macs, one[1]).statistic for one in (c, b)]
    columns = [{"text": name, "family": name, "population": "all", "note": None} for name in ("c", "b")]
    settings = {"title": "T", "titles": {"macs": "MACs", "shared": "Shared"}, "notes": {}, "headline": "shared"}
    table = held_out_table(metrics, {**settings, "columns": columns, "legend": "L."})
    assert [table.entries["MACs", name].summary.mean for name in ("c", "b")] == pytest.approx(wanted)
    assert table.entries["MACs", MEAN].summary.mean == pytest.approx(np.mean(wanted))
    assert table.entries["Shared", MEAN].summary.runs == 3
    first_half = spearmanr(c[0].macs[:25], c[1][:25]).statistic
    rows = metrics.to_pandas().query("predictor == 'macs' and family == 'c' and population == 'half'")
    assert rows["value"].to_numpy() == pytest.approx([first_half] * 3)
    assert set(rows["n"]) == {25}


WITH_TABLES = {**CONFIG, "tables_dir": "tables"}


@pytest.mark.parametrize("study", CONFIG["held_out"])
def test_a_family_is_never_among_its_own_sources(study):
    for name in CONFIG["held_out"][study]["families"]:
        sources = held_out_sources(WITH_TABLES, study, name)
        assert name not in sources
        assert set(held_out_settings(WITH_TABLES, study, name)["sources"]) == set(sources)
        assert set(sources) == set(CONFIG["held_out"][study]["labels"]) - {name}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("untrained", ["ridge"], "own_to_nb201.untrained: expected one of macs, params, jacov, synflow, got 'ridge'"),
        ("predictors", ["macs", "shared"], "own_to_nb201.untrained: expected one of params, .* got 'macs'"),
        ("only", {"nb201": "without_all"}, "only.nb201: expected a function of archgauge/families/nb201.py"),
        ("only", {"nb301": "without_none"}, "own_to_nb201.only: expected one of nb201"),
        ("headline", "macs", "own_to_nb201.headline: expected one of activations"),
    ],
)
def test_a_wrong_study_is_named(key, value, message):
    with pytest.raises(ConfigError, match=message):
        check(changed(f"held_out.own_to_nb201.{key}", value))


@pytest.mark.parametrize(
    ("name", "kind"), [("nb201_few_labels", "tables"), ("nb201_search", "searches"), ("datasheets", "rules")]
)
def test_a_study_has_a_name_of_its_own(name, kind):
    with pytest.raises(ConfigError, match=f"held_out.{name}: .* got the name of one of the {kind}"):
        check(changed(f"held_out.{name}", CONFIG["held_out"]["own_to_zoo"]))


def test_without_the_collected_tables_fewer_families_are_learnt_from():
    assert "nb301" not in held_out_sources(CONFIG, "own_to_zoo", "zoo")
    assert "nb201" in held_out_sources(CONFIG, "own_to_zoo", "zoo")


def test_a_part_of_a_family_has_a_column_of_its_own():
    columns = held_out_table_settings(WITH_TABLES, "own_to_nb201")["columns"]
    assert [column["population"] for column in columns] == ["without_none", "all"]
    assert "proxies" in target_tables(WITH_TABLES, "own_to_nb201", "nb201")


@pytest.mark.parametrize(("study", "target"), [("own_selection", "mnasnet"), ("own_to_nb201", "nb201")])
def test_no_label_of_the_target_is_an_input_of_its_predictions(study, target, tmp_path):
    """What no job reads cannot change a prediction: planted labels of the target would be read by the table alone."""
    (tmp_path / "tables").mkdir()
    for name in CONFIG["families"]:
        (tmp_path / f"tables/{name}.parquet").touch()
    for name in ("accel_nasbench", "ofa_mbv3_w10", "nb301_surrogate725", "transnas101_micro", "transnas101_macro"):
        (tmp_path / f"tables/{name}.parquet").touch()
    wanted = f"results/held_out/{study}/{target}.parquet"
    command = [sys.executable, "-m", "snakemake", wanted, "--snakefile", ROOT / "Snakefile", "-n"]
    asked = ["--directory", tmp_path, "--config", "tables_dir=tables"]
    done = subprocess.run([*command, *asked], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    read = set(re.findall(r"results/labels/\w+", done.stdout + done.stderr))
    assert read == {f"results/labels/{one}" for one in CONFIG["held_out"][study]["labels"] if one != target}
