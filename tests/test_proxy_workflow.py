"""The rules of the zero-cost proxies: run by Snakemake on a tiny sample, and what they read by configuration."""

import numpy as np
import pytest
from test_config import changed
from workflow import NOTHING, Project

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

PLACE = {"family": "nb201", "experiment": "few_labels", "population": "all", "n_train": 50}
LEARNT = {"row": "CL-fine-tune", "predictor": "cl_mlp", **PLACE}


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
    config = changed("papers.transferable_table1.learnt", [LEARNT])
    check(config)
    assert paper_experiments(config, "transferable_table1") == ["few_labels"]
    assert paper_experiments(config, "gennape_table1") == []


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
        ("papers.transferable_table1.learnt", [{**LEARNT, "n_train": 51}], "learnt.n_train"),
        ("papers.transferable_table1.learnt", [{**LEARNT, "predictor": "x"}], "learnt"),
        ("papers.transferable_table1.learnt", [{**LEARNT, "row": "x"}], "learnt"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(path, value, message):
    with pytest.raises(ConfigError, match=message):
        check(changed(path, value))
