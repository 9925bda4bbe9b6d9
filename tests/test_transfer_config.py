"""What the configuration says of transfers, and the tables that come of them."""

import copy
import re
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from toy_clusters import toy_fit

from archgauge.config import by_default, can_run, evaluate_settings, learnt_from, split_settings
from archgauge.config_check import check
from archgauge.errors import ConfigError
from archgauge.evaluation.reports import cluster_notes, transfer_table
from archgauge.evaluation.table_files import as_markdown
from archgauge.evaluation.tables import MARKS
from archgauge.schemas import METRICS
from archgauge.transfer_config import (
    ensemble_members,
    ensemble_models,
    model_files,
    prediction_files,
    transfer_runs,
    transfer_table_settings,
    transferred_files,
)

ROOT = Path(__file__).parents[1]
SHIPPED = yaml.safe_load((ROOT / "config.yaml").read_text())


def changed(path: str, value) -> dict:
    config = copy.deepcopy(SHIPPED)
    *keys, last = path.split(".")
    inner = config
    for key in keys:
        inner = inner[key]
    inner[last] = value
    return config


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "experiments.to_nb201.source",
            "few_labels",
            "to_nb201.source: expected one of nb101_source, .*, got 'few_labels'",
        ),
        (
            "experiments.nb201_nb301.sources",
            ["nb201_labels", "nb101_nb301"],
            "nb201_nb301.sources: expected one of nb101_source, .*, got 'nb101_nb301'",
        ),
        (
            "experiments.three_way_nb101.source",
            "nb101_nb201",
            "three_way_nb101.source: expected one of nb201_labels, nb301_labels, nb201_nb301, got 'nb101_nb201'",
        ),
        ("experiments.nb201_nb301.labels", "percent", r"nb201_nb301.labels: .*'percent' is not one of"),
        ("experiments.nb201_nb301.predictors", ["gennape"], "nb201_nb301.predictors: expected one of macs"),
        (
            "experiments.three_way_nb201.only",
            "without_nine",
            "three_way_nb201.only: expected a function of .*nb201.py, got",
        ),
        ("experiments.to_nb201.transferred", "worst", r"to_nb201.transferred: .*'worst' is not one of"),
        (
            "predictors.few_gp.fine_tuning",
            {"epochs": 1, "learning_rate": 0.1, "batch_size": 1},
            "experiments.to_nb201_all.predictors: expected one of macs, .*, got 'few_gp'",
        ),
        (
            "experiments.few_labels.predictors",
            [*SHIPPED["experiments"]["few_labels"]["predictors"], "gennape"],
            "few_labels.predictors: expected one of macs, .*, got 'gennape'",
        ),
        ("predictors.gennape.members", ["gennape"], "predictors.gennape.members: expected one of macs"),
        ("predictors.gennape.members", ["ridge"], "predictors.gennape.members: expected one of macs, params, gennape_"),
        ("predictors.gennape.module", "macs", "predictors.gennape: .*valid under each of"),
        ("transfer_tables.gennape_table8.headline", "ridge", "gennape_table8.headline: expected one of macs"),
        ("transfer_tables.gennape_table8.rows", {"x": {"missing": "?", "published": "NB-401"}}, "a row .* got NB-401"),
        (
            "transfer_tables.gennape_table8.rows",
            {"x": {"experiment": "to_nb201", "n_train": 51, "population": "all"}},
            "rows.x.n_train: expected one of 0, 50, got 51",
        ),
    ],
)
def test_what_is_wrong_is_named(path, value, message):
    with pytest.raises(ConfigError, match=message):
        check(changed(path, value))


@pytest.mark.parametrize("profile", ["paper", "bars"])
def test_the_profiles_sizes_fit(profile):
    check(merged(SHIPPED, yaml.safe_load((ROOT / f"profiles/{profile}/sizes.yaml").read_text())))


def test_the_default_workflow_makes_no_transfer():
    config = {**SHIPPED, "tables_dir": "somewhere"}
    assert can_run(config, "to_nb201")
    assert can_run(config, "zero_shot")
    assert not can_run(SHIPPED, "to_nb201")  # its source has no labels without the tables
    assert [name for name in config["experiments"] if by_default(config, name)] == ["few_labels", "zero_shot"]


def test_splits_of_a_target_are_over_the_target():
    assert learnt_from(SHIPPED, "to_zoo") == "zoo"
    assert learnt_from(SHIPPED, "zero_shot") == "nb101"
    assert split_settings(SHIPPED, "to_zoo")["label"] == "imagenet/top1+pytorchcv"
    assert split_settings(SHIPPED, "nb101_source")["splits"] is None


def test_zero_shot_runs_once_for_each_transferred_model():
    assert transfer_runs(SHIPPED, "to_nb201", "gennape")[0] == [0, 0, 0]
    assert transfer_runs(SHIPPED, "to_nb201", "gennape")[1:] == [[50, split, split] for split in range(5)]
    assert transfer_runs(SHIPPED, "to_nb201_by_seed", "macs") == [[0, 0, 0], [0, 0, 1]]
    assert transfer_runs(SHIPPED, "to_nb201", "few_gp") == transfer_runs(SHIPPED, "to_nb201", "gennape")[1:]


def test_one_training_serves_every_target():
    wanted = [f"results/sources/nb101_source/gennape_cl/{seed}.pt" for seed in (0, 1)]
    assert model_files(SHIPPED, "nb101_source", "gennape_cl") == wanted
    assert {tuple(transferred_files(SHIPPED, name, "gennape_cl")) for name in ("to_nb201", "to_zoo")} == {tuple(wanted)}
    assert transferred_files(SHIPPED, "to_nb201", "macs") == []
    assert f"{wanted[0].removesuffix('.pt')}.parquet" in prediction_files(SHIPPED, "nb101_source")


def test_an_ensemble_reads_its_members_and_trains_nothing():
    members = SHIPPED["predictors"]["gennape"]["members"]
    assert len(members) == 6
    assert ensemble_members(SHIPPED, "to_zoo", "gennape") == [
        f"results/predictions/to_zoo/{m}.parquet" for m in members
    ]
    models = ensemble_models(SHIPPED, "to_zoo", "gennape")
    assert [model.split("/")[3] for model in models] == [member for member in members for _ in range(2)]


def test_ranks_and_ensembles_have_no_error_in_percent():
    settings = evaluate_settings(SHIPPED, "to_nb201")
    assert {"gennape", "gennape_pairs", "macs"}.isdisjoint(settings["in_percent"])
    assert "gennape_cl_fcm_t" in settings["in_percent"]
    assert settings["cells"]
    assert not evaluate_settings(SHIPPED, "to_zoo")["cells"]


def metrics() -> pa.Table:
    base = {"family": "nb201", "label": "l", "metric": "spearman", "n": 9, "backend": "torch"}
    rows = [
        {**base, "experiment": "to_nb201", "predictor": name, "population": population, "n_train": size,
         "split": split, "seed": split, "value": value + 0.01 * split}
        for name, value in (("macs", 0.5), ("gennape_k_gnn", 0.4), ("gennape", 0.8))
        for population in ("all", "without_none")
        for size, split in ((0, 0), (50, 0), (50, 1))
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, METRICS)


@pytest.fixture
def markdown() -> str:
    config = copy.deepcopy({**SHIPPED, "tables_dir": "somewhere"})
    config["families"]["nb301"]["labels"]["source"] = None
    settings = transfer_table_settings(config, "gennape_table5")
    return as_markdown(transfer_table(metrics(), {"fcm_gennape": toy_fit(), "fcm_gennape_pairs": toy_fit()}, settings))


def test_families_are_rows_and_predictors_columns(markdown):
    lines = markdown.splitlines()
    assert re.sub(f"[{MARKS}]", "", lines[2]).startswith(
        "| family | MACs | Parameters | jacov | synflow | Ridge on counts |"
    )
    assert "GENNAPE" in lines[2]
    (zero,) = [line for line in lines if "[0.8146]" in line]
    assert "**0.800** (1)" in zero
    assert "[0.4930]" in zero
    (tuned,) = [line for line in lines if "[0.9103 ± 0.0114]" in line]
    assert "**0.805 ± 0.005** (2)" in tuned
    assert "0.505 ± 0.005 (2)" in tuned


def test_missing_families_are_listed_with_the_reason_and_the_papers_number(markdown):
    columns = markdown.splitlines()[2].count("|") - 2
    (hiaml,) = [line for line in markdown.splitlines() if "[0.4331]" in line]
    assert hiaml.startswith("| HiAML")
    assert hiaml.count("–") == columns
    assert "The labels need a download that has not happened." in markdown
    (nb301,) = [line for line in markdown.splitlines() if "[0.3214]" in line]
    assert nb301.count("–") == columns
    assert "The labels cannot be had here" in markdown


def test_the_scale_stands_under_the_table(markdown):
    assert "from nb101_source (2,300 labels of nb101, 2 seeds), the seed of the best ρ there transferred" in markdown


def test_an_ensemble_speaks_for_its_members(markdown):
    """Their clusters and their reservations stand at its column, where they have no column of their own."""
    assert "Fuzzy clusters fcm_gennape: m = 2" in markdown
    assert "Fuzzy clusters fcm_gennape_pairs: m = 2" in markdown
    assert "CL+T: Eq. 5 on the distance to the mean accuracy of the source, found while looking at" in markdown


def test_an_empty_cell_says_why_nothing_ran():
    config = {**SHIPPED, "tables_dir": "somewhere"}
    reasons = transfer_table_settings(config, "gennape_table8")["not_run"]
    assert reasons["NAS-Bench-201 without `none`"]["few_ridge"] == "It runs with 40 or 50 labels of the target."
    assert reasons["MnasNet, 50 labels"]["jacov"] == "Not among the predictors of to_mnasnet."
    assert "few_ridge" not in reasons["NAS-Bench-201 without `none`, 50 labels"]
    assert all("gennape" not in why for why in reasons.values())


def test_a_row_says_what_it_has_seen_of_the_target(markdown):
    assert "the seed of the best ρ there transferred; no label of the target." in markdown
    assert "the seed of the best ρ there transferred; 5 draws of 50 target labels." in markdown


def test_every_fit_of_fuzzy_clusters_says_how_it_came_out():
    fit = toy_fit()
    (note,) = cluster_notes({"c": fit}, [("CL+FCM", "c")])
    assert note.row == "CL+FCM"
    assert note.text.startswith("Fuzzy clusters c: m = 2, 3 of 3 centroids distinct, λ = ")
    assert f"entropy of the memberships {fit.diagnosis.membership_entropy:.3f}" in note.text


def merged(base: dict, overlay: dict) -> dict:
    result = dict(base)
    for key, value in overlay.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        result[key] = merged(base[key], value) if both else value
    return result
