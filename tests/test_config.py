"""A wrong configuration stops before any job, with the key's path and the choices."""

import copy
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from archgauge.config import (
    can_run,
    has_labels,
    label_files,
    population_tables,
    predict_priority,
    predictor_keywords,
    runs,
    sizes,
    split_graphs,
    split_modules,
    split_settings,
)
from archgauge.config_check import PLUGINS, check
from archgauge.config_values import SCHEMA
from archgauge.errors import ConfigError
from archgauge.fingerprint import choices
from archgauge.search_config import judge_settings, search_settings
from archgauge.signatures import fields, is_untrained, keywords, needs_of

ROOT = Path(__file__).parents[1]
SHIPPED = yaml.safe_load((ROOT / "config.yaml").read_text())


def changed(path: str, value) -> dict:
    """The shipped configuration with one key set; a value of None at a leading '-' removes it."""
    config = copy.deepcopy(SHIPPED)
    *parents, last = path.split(".")
    node = config
    for name in parents:
        node = node[name]
    node[last] = value
    return config


def test_the_shipped_configurations_are_valid():
    check(SHIPPED)
    for overlay in (ROOT / "tests/config.tiny.yaml", *(ROOT / "profiles").glob("*/sizes.yaml")):
        check(_merged(SHIPPED, yaml.safe_load(overlay.read_text())))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("tabels_dir", None, "the top level: expected one of the keys tables_dir, families"),
        ("families.nb201.smaple", 3, "families.nb201: expected one of the keys sample, seed, labels, graph"),
        ("families.nb201.sample", "many", "families.nb201.sample: expected type"),
        ("families.nb201.sample", 0, "families.nb201.sample: expected minimum 1"),
        ("families.nb999", SHIPPED["families"]["nb201"], r"families.nb999: expected one of .*nb101, nb201"),
        ("bundle.family", "nb999", "bundle.family: expected one of nb101"),
        ("bundle.family", "nb201", "bundle.family: expected a module with groups and model_families"),
        ("bundle.elsewhere", {"zoo": "x"}, "bundle.elsewhere: expected one of nb101, .*, got 'zoo'"),
        ("bundle.level", 90, "bundle.level: expected maximum 0.99"),
        ("families.nb201.graph", {"skelton": "authors"}, "families.nb201.graph.skelton: expected one of skeleton"),
        ("message_passing", "pyg", "message_passing: expected enum"),
        ("encoders.random.shape", {"layers": 3}, "encoders.random.shape.layers: expected one of features"),
        ("encoders.random.families", ["nb102"], "encoders.random.families: expected one of nb101, .*, got 'nb102'"),
        ("encoders.cl_nb101.training", {"epochs": "six"}, "encoders.cl_nb101.training.epochs: expected type"),
        ("encoders.cl_nb101.training", {}, "encoders.cl_nb101.training: expected .*epochs.* got no epochs"),
        ("clusterings.fcm_nb101.fuzzifier", 1.0, "clusterings.fcm_nb101.fuzzifier: expected exclusiveMinimum 1"),
        ("predictors.ridge.module", "rigde", "predictors.ridge.module: expected one of .*ridge.*Did you mean 'ridge'"),
        ("predictors.macs.settings", {"depth": 2}, "predictors.macs.settings.depth: expected one of"),
        ("experiments.few_labels.predictors", ["oracle"], "experiments.few_labels.predictors: expected one of macs"),
        ("experiments.few_labels.headline", "oracle", "experiments.few_labels.headline: expected one of"),
        ("experiments.few_labels.n_train", [], r"experiments.few_labels.n_train: .* got \[\] should be non-empty"),
        ("experiments.few_labels.spilts", 5, "experiments.few_labels: expected one of the keys protocol, family"),
        ("tables.nb201_few_labels.experiment", "few", "tables.nb201_few_labels.experiment: expected one of few_labels"),
        (
            "families.nb201.labels",
            {"source": "analogg", "path": None},
            r"nb201.labels.source: expected one of tables, analog",
        ),
        ("experiments.few_labels.metrics", ["spearmann"], r"experiments.few_labels.metrics.0: expected pattern"),
        (
            "tables.nb201_few_labels.populations",
            ["withoutnone"],
            r"tables.nb201_few_labels.populations.0: expected enum",
        ),
        ("tables.nb201_few_labels.metrics", ["ndcg@7"], r"tables.nb201_few_labels.metrics: expected one of spearman"),
        ("tables.nb201_few_labels.n_train", [51], r"tables.nb201_few_labels.n_train: expected one of 20, 50"),
        ("predictors.cl_fcm_flops.encoder", "random", r"predictors.cl_fcm_flops.encoder: expected one of cl_nb101"),
        (
            "families.nb201.graph",
            {"skeleton": "mine"},
            "graph.skeleton: expected one of authors, gennape",
        ),
        (
            "encoders.random.shape",
            {"direction": "back"},
            "shape.direction: expected one of forward, both",
        ),
        ("encoders.random.shape", {"dropout": 1.0}, "encoders.random.shape.dropout: expected exclusiveMaximum 1"),
        ("encoders.cl_nb101.training", {"epochs": 0}, "encoders.cl_nb101.training.epochs: expected minimum 1"),
        ("encoders.random.shape", {"half_width": 64, "heads": 3}, "shape.heads: expected a divisor of"),
        (
            "predictors.cl_mlp.settings",
            {"batch_size": 0},
            "cl_mlp.settings.batch_size: expected more than 0",
        ),
        ("predictors.cl_mlp.settings", {"epoch_steps": 0}, "cl_mlp.settings.epoch_steps: expected more than 0"),
        (
            "predictors.cl_mlp.settings",
            {"hidden": [200, -1]},
            r"cl_mlp.settings.hidden: .* more than 0, got \[200, -1\]",
        ),
        ("predictors.cl_mlp.settings", {"hidden": [200, "wide"]}, "cl_mlp.settings.hidden: expected int, got 'wide'"),
        ("predictors.cl_mlp.settings", {"hidden": 200}, r"cl_mlp.settings.hidden: expected Sequence\[int\], got 200"),
        ("predictors.transferable_gnn.settings", {"width": 0}, "gnn.settings.width: expected more than 0"),
        ("predictors.transferable_gnn.settings", {"layers": 0}, "gnn.settings.layers: expected more than 0"),
        ("experiments.nb201_nb301.sources", ["nb201_labels"], "nb201_nb301.sources: expected minItems 2"),
        ("predictors.cl_mlp.settings", {"epoch_steps": "all"}, r"cl_mlp.settings.epoch_steps: expected int \| None"),
        (
            "predictors.cl_mlp.n_train",
            [60],
            "cl_mlp.n_train: expected one of those of experiments.few",
        ),
        ("tables_dir", "/no/such/folder", "tables_dir: expected a folder, or null"),
        ("figures.predicted.n_train", 51, "figures.predicted.n_train: expected one of 20, 50"),
        ("figures.predicted.predictor", "source_mlp", "figures.predicted.predictor: expected one of macs, params"),
        ("figures.pretraining.encoders", ["cl"], "figures.pretraining.encoders: expected one of cl_nb101"),
    ],
)
def test_what_is_wrong_is_named(path, value, message):
    with pytest.raises(ConfigError, match=message):
        check(changed(path, value))


def test_no_limit_of_steps_is_a_choice():
    check(changed("predictors.cl_mlp.settings", {"epoch_steps": None}))


def test_the_longest_predictors_go_first():
    order = sorted(["macs", "cl_fcm_flops", "cl_mlp"], key=lambda name: -predict_priority(SHIPPED, name))
    assert order == ["cl_fcm_flops", "cl_mlp", "macs"]


def test_a_missing_key_is_named():
    config = copy.deepcopy(SHIPPED)
    del config["spectrum"]
    with pytest.raises(ConfigError, match=r"the top level: .*'spectrum' is a required property"):
        check(config)


def test_labels_from_tables_need_the_folder():
    assert has_labels(SHIPPED, "nb201")
    assert not has_labels(SHIPPED, "nb101")
    assert has_labels({**SHIPPED, "tables_dir": "somewhere"}, "nb101")
    assert can_run(SHIPPED, "few_labels")


TABLE = {"sample": None, "seed": 0, "labels": {"source": "table", "path": "mine.csv"}, "graph": {}}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {},
            "families.table: expected labelled_only: true and a .* got labelled_only: False, labels.source: table",
        ),
        ({"sample": 5, "labelled_only": False}, "families.table: expected labelled_only: true"),
        (
            {"labelled_only": True, "labels": {"source": None, "path": None}},
            "families.table: expected labelled_only: true and a source .* got labelled_only: True, labels.source: None",
        ),
        (
            {"labelled_only": True, "labels": {"source": "table", "path": None}},
            "families.table.labels.path: expected the file or folder of the source table, got null",
        ),
    ],
)
def test_a_table_of_the_users_own_needs_its_file(settings, message):
    check(changed("families.table", TABLE | {"labelled_only": True}))
    with pytest.raises(ConfigError, match=message):
        check(changed("families.table", TABLE | settings))


def test_splits_read_graphs_where_a_family_has_groups():
    config = changed("experiments.of_networks", {"protocol": "few_label", "family": "zoo"})
    assert split_graphs(config, "of_networks") == ["results/graphs/zoo.parquet"]
    assert split_modules(config, "of_networks") == ["archgauge.families.zoo"]
    config["experiments"]["of_networks"] |= {"protocol": "zero_shot", "source": "nb201"}
    assert split_graphs(config, "of_networks") == split_modules(config, "of_networks") == []


def test_a_collected_table_that_is_missing_is_named_where_it_is_needed(tmp_path):
    config = changed("tables_dir", str(tmp_path))
    check(config)
    with pytest.raises(ConfigError, match=r"for families.nb101.labels: expected the file .*nb101.parquet"):
        label_files(config, "nb101")


def test_a_dear_predictor_runs_fewer_splits_and_a_size_may_have_more():
    assert runs(SHIPPED, "few_labels", "ridge") == [[20, 5], [50, 20], [78, 5], [156, 5], [781, 5]]
    assert runs(SHIPPED, "few_labels", "k_gnn") == [[50, 5], [156, 5]]
    assert split_settings(SHIPPED, "few_labels")["splits"] == 20
    assert split_settings(SHIPPED, "zero_shot")["splits"] == 3


def test_a_search_is_shown_the_label_it_searches_and_not_the_one_it_is_judged_by():
    config = changed("searches.nb201_search.searched_label", "cifar10/validation@200/mean")
    assert search_settings(config, "nb201_search", "random")["label"] == "cifar10/validation@200/mean"
    judged = judge_settings(config, "nb201_search")
    assert judged["searched_label"] == "cifar10/validation@200/mean"
    assert judged["label"] == SHIPPED["searches"]["nb201_search"]["label"]


def test_a_dear_predictor_runs_at_its_own_sizes():
    config = changed("predictors.ridge.n_train", [50, 781, 9])
    assert sizes(config, "few_labels", "ridge") == [50, 781]
    assert sizes(config, "few_labels", "macs") == SHIPPED["experiments"]["few_labels"]["n_train"]


@pytest.mark.parametrize(
    ("module", "keys", "message"),
    [
        (
            "embedding_gp",
            {},
            "predictors.new.encoder: expected a key encoder, because .* embedding_gp reads an embedding",
        ),
        ("fuzzy_ensemble", {"encoder": "random"}, "predictors.new.clustering: expected a key clustering, because"),
        ("macs", {"encoder": "random"}, "predictors.new.encoder: expected no key encoder, because .* does not read"),
    ],
)
def test_a_predictor_names_what_it_reads_and_nothing_else(module, keys, message):
    with pytest.raises(ConfigError, match=message):
        check(changed("predictors.new", {"module": module, "title": "New", **keys}))


def test_tables_of_a_predictor_follow_from_its_needs():
    both = {"module": "fuzzy_ensemble", "title": "New", "encoder": "cl_nb101", "clustering": "fcm_nb101"}
    config = changed("predictors.new", both)
    config["predictors"]["paths"] = {"module": "structural_gp", "title": "Paths"}
    check(config)
    base = {"architectures", "graphs", "kinds"}
    assert set(population_tables(config, "macs", "nb201")) == base
    assert set(population_tables(config, "new", "nb201")) == base | {"embeddings", "memberships"}
    assert population_tables(config, "paths", "nb201")["structures"] == "results/structures/nb201.parquet"


@pytest.mark.parametrize("module", choices(*PLUGINS["predictor"]))
def test_modules_that_learn_nothing_say_so(module):
    predictor = import_module(f"archgauge.predictors.{module}").Predictor
    assert is_untrained(module) == getattr(predictor, "untrained", False)
    assert is_untrained(module) == ("learns nothing" in predictor.__doc__)


@pytest.mark.parametrize("module", choices(*PLUGINS["predictor"]))
def test_needs_are_read_as_they_are(module):
    assert needs_of(module) == import_module(f"archgauge.predictors.{module}").Predictor.needs


ENCODER = (
    ("archgauge.encoders.graph_encoder", "GraphEncoderConfig"),
    ("archgauge.pretraining.trainer", "PretrainingConfig"),
)


def test_ranges_in_the_schema_are_of_fields_that_exist():
    encoder = yaml.safe_load(SCHEMA.read_text())["$defs"]["encoder"]["properties"]
    ranges = encoder["shape"]["properties"], encoder["training"]["oneOf"][1]["properties"]
    for known, ranged in zip(ENCODER, ranges, strict=True):
        assert set(ranged) <= set(fields(*known))


def test_keywords_are_read_from_the_base_class_too():
    found = keywords("archgauge.predictors.fuzzy_ensemble", "Predictor")
    assert found["flops_transform"] == ("Literal['none', 'eq5', 'centred']", True)
    assert found["seed"] == ("int", False)


def test_the_configured_backend_goes_to_predictors_that_pass_messages():
    config = changed("message_passing", "dgl")
    assert predictor_keywords(config, "k_gnn")["backend"] == "dgl"
    assert "backend" not in predictor_keywords(config, "ridge")


def test_every_key_has_a_description_or_a_type_of_its_own():
    def walk(node, path):
        for name, child in node.get("properties", {}).items():
            assert {"description", "$ref", "const", "properties"} & set(child) or name in UNDESCRIBED, f"{path}.{name}"
            walk(child, f"{path}.{name}")

    UNDESCRIBED = {"encoder", "family", "title", "experiment", "predictor", "headline", "engine", "n_train", "search"}
    UNDESCRIBED |= {"label_family", "clustering", "kind", "strategies", "training"}
    UNDESCRIBED |= {field for name in ENCODER for field in fields(*name)}  # described where they are defined
    schema = yaml.safe_load(SCHEMA.read_text())
    walk(schema, "")
    for name, definition in schema["$defs"].items():
        walk(definition, name)


def test_snakemake_stops_before_any_job(tmp_path):
    overlay = tmp_path / "wrong.yaml"
    overlay.write_text("families: {nb201: {smaple: 3}}\n")
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", tmp_path]
    done = subprocess.run([*command, "--configfile", overlay, "-n"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode != 0
    assert re.search("families.nb201: expected one of the keys sample, seed, labels, graph", done.stderr + done.stdout)
    assert not (tmp_path / "results").exists()


def _merged(base: dict, overlay: dict) -> dict:
    merged = dict(base)
    for key, value in overlay.items():
        merged[key] = (
            _merged(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
        )
    return merged
