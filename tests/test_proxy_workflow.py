"""The rules of the zero-cost proxies: run by Snakemake on a tiny sample, and what they read by configuration."""

import numpy as np
import pytest
from test_config import changed
from workflow import NOTHING, Project

from archgauge.config import families_of, split_modules, split_settings
from archgauge.config_check import check
from archgauge.errors import ConfigError
from archgauge.proxy_config import (
    can_score,
    comparison_settings,
    paper_experiments,
    paper_published,
    paper_sets,
    paper_settings,
    proxy_graph_options,
    proxy_images,
    proxy_labels,
    published_table,
    sampled_from,
)
from archgauge.schemas import PROXIES, read_table
from archgauge.transfer_config import source_files, source_labels, source_settings, source_splits

PLACE = {"experiment": "to_nb201", "population": "all", "n_train": 50}
LEARNT = {
    "families": {"nb201": PLACE},
    "headline": "CL-fine-tune",
    "rows": {"CL-fine-tune": {"predictor": "gennape_cl"}, "None": {"predictor": "gennape_cl", "zero_shot": True}},
}


def test_a_set_is_computed_by_its_rule_and_not_again(tmp_path):
    project, target = Project.new(tmp_path), "results/proxies/nb201_batches.parquet"
    project.finish(target)
    table = read_table(project.path(target), PROXIES)
    assert len(table) == 4 * 2 * 3
    assert table["batch"].unique().to_pylist() == [2, 4]
    assert set(table["images"].to_pylist()) == {"random"}
    assert np.isfinite(table["value"].to_numpy()).all()
    assert len(list(project.path("results/proxies/fragments/nb201_batches").glob("*.parquet"))) == 2
    assert (
        "Without a finite value: synflow 0, snip 0, plain 0"
        in project.path("results/logs/proxies/nb201_batches.log").read_text()
    )
    assert NOTHING in project.finish(target)


def test_without_the_folder_samples_are_of_the_family_and_images_random():
    config = changed("tables_dir", None)
    assert sampled_from(config, "nb201_sample") == []
    assert proxy_images(config, "nb201_sample") == []
    assert proxy_labels(config, "nb201_sample") == "results/labels/nb201.parquet"
    assert comparison_settings(config, "nb201_sample")["label"] == "cifar10/test@200/run0+analog"
    assert not can_score(config, "nb301_sample")
    assert paper_sets(config, "transferable_table1") == ["nb201_sample"]
    assert paper_settings(config, "transferable_table1")["families"]["nb301"]["set"] is None


def test_with_the_folder_collected_tables_are_read(tables_dir):
    config = changed("tables_dir", str(tables_dir))
    assert sampled_from(config, "nb201_sample") == ["results/proxies/published/nb201.parquet"]
    assert published_table(config, "nb101") == []
    assert proxy_images(config, "nb201_sample") == [str(tables_dir / "cifar-10-batches-bin")]
    assert proxy_images({**config, "proxies": {"x": {"images": "random"}}}, "x") == []
    assert proxy_labels(config, "nb201_sample") == str(tables_dir / "nb201.parquet")
    assert comparison_settings(config, "nb201_sample")["label"] == "cifar10/test@200/mean"
    assert paper_sets(config, "gennape_table1") == ["nb201_sample", "nb301_sample"]
    assert paper_published(config, "transferable_table1") == ["nb201", "nb301"]
    shown = paper_settings(config, "gennape_table1")["families"]
    assert [family for family, one in shown.items() if one["set"] is None] == [
        "ofa_proxyless", "ofa_mbv3", "ofa_resnet50", "hiaml", "inception", "two_path"
    ]  # fmt: skip


def test_a_set_may_have_other_networks_than_its_family():
    config = changed("tables_dir", None)
    assert proxy_graph_options(config, "nb301_sample") == {"skeleton": "naslib"}
    del config["proxies"]["nb301_sample"]["graph"]
    assert proxy_graph_options(config, "nb301_sample") == {}


def test_learnt_rows_come_from_experiments():
    config = {**changed("papers.transferable_table1.learnt", LEARNT), "tables_dir": "."}
    check(config)
    assert paper_experiments(config, "transferable_table1") == ["to_nb201"]
    assert paper_experiments(config, "gennape_table1") == []
    learnt = paper_settings(config, "transferable_table1")["learnt"]
    assert learnt["rows"]["CL-fine-tune"] == {"nb201": {**PLACE, "predictor": "gennape_cl"}}
    assert learnt["rows"]["None"] == {"nb201": {**PLACE, "predictor": "gennape_cl", "n_train": 0}}
    assert "2,300 labels of nb101" in learnt["scales"]["nb201"]


def test_learnt_rows_without_labels_say_so():
    config = changed("tables_dir", None)
    assert paper_experiments(config, "transferable_table1") == []
    learnt = paper_settings(config, "transferable_table1")["learnt"]
    assert learnt["scales"] == {}
    assert {text for row in learnt["rows"].values() for cell in row.values() for text in cell.values()} == {
        "The labels cannot be had here: no source of them is configured, or no folder of collected tables."
    }


def test_the_three_way_hold_out():
    """Each family is the target of a source that joins the two others, with the paper's numbers of labels."""
    config = changed("tables_dir", ".")
    learnt = config["papers"]["transferable_table1"]["learnt"]
    families = {"nb101", "nb201", "nb301"}
    sizes = {family: place["n_train"] for family, place in learnt["families"].items()}
    assert sizes == {"nb101": 50, "nb201": 40, "nb301": 50}
    for family, place in learnt["families"].items():
        experiment = config["experiments"][place["experiment"]]
        assert experiment["splits"] == 5
        assert set(families_of(config, experiment["source"])) == families - {family}
        assert families_of(config, place["experiment"])[0] == family
        settings = source_settings(config, experiment["source"], "transferable_cl", "0")
        assert settings["by_family"]
        assert settings["run"]["n_train"] == sum(one["n_train"] for one in settings["families"])
        named = source_files(config, experiment["source"], "transferable_cl")
        assert not [path for path in named if family in path]
        assert len(named) == sum(len(one["tables"]) for one in settings["families"])
        inputs = source_labels(config, experiment["source"]) + source_splits(config, experiment["source"])
        assert not [path for path in inputs if family in path]
    assert split_settings(config, "three_way_nb201")["only"] == "without_none"
    assert split_modules(config, "three_way_nb201") == ["archgauge.families.nb201"]
    assert split_modules(config, "three_way_nb101") == []
    assert set(config["encoders"]["cl_three"]["families"]) == families


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("proxies.nb201_sample.proxies", ["synflo"], "nb201_sample.proxies.*got 'synflo'. Did you mean 'synflow'"),
        ("proxies.nb201_sample.family", "nb20", "nb201_sample.family.*Did you mean 'nb201'"),
        ("proxies.nb201_sample.graph", {"skeletn": 1}, "nb201_sample.graph.skeletn"),
        ("proxies.nb201_sample.sample", 3, "minimum 4"),
        ("proxies.nb201_sample.images", "imagenet", "proxies.nb201_sample.images"),
        ("papers.transferable_table1.families.nb101.proxies", "nb201_sample", "expected one of nb101_sample, got"),
        ("predictors.jacov.proxies", "nb201_batches", "jacov.proxies: expected one of published, nb201_sample"),
        ("papers.transferable_table1.learnt.headline", "x", "learnt.headline: expected one of GNN-fine-tune, CL"),
        ("papers.transferable_table1.learnt.rows.GNN-fine-tune", {"predictor": "x"}, "rows.GNN-fine-tune.predictor"),
        ("papers.transferable_table1.learnt.rows.x", {"predictor": "few_gp", "zero_shot": True}, "rows.x: .*, got 0"),
        ("papers.transferable_table1.learnt.families.nb101.n_train", 51, "nb101.n_train: expected one of 0, 50, got"),
        ("papers.transferable_table1.learnt.families.nb101.experiment", "few_labels", "expected one of three_way_nb"),
        ("papers.transferable_table1.learnt.families.zoo", PLACE, "learnt.families: expected one of nb101"),
        ("experiments.three_way_nb101.metrics", ["kendall"], "experiment.metrics: expected one of kendall, got 'spear"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(path, value, message):
    with pytest.raises(ConfigError, match=message):
        check(changed(path, value))
