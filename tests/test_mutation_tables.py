"""GENNAPE's Table 7 as it is printed, and what the configuration asks for it."""

import numpy as np
import pyarrow as pa
import pytest
from test_config import changed
from toy_clusters import toy_fit

from archgauge.config_check import check
from archgauge.errors import ConfigError
from archgauge.evaluation.mutation_tables import Searched, mutation_table
from archgauge.evaluation.published import published
from archgauge.evaluation.table_files import as_markdown
from archgauge.graph_search_config import (
    cifar10_folder,
    graph_search_settings,
    guide_inputs,
    mutation_table_settings,
    recipe_of,
    searched_families,
    start_inputs,
    trained_files,
)
from archgauge.schemas import CANDIDATES

PAPER = "papers.gennape_table7"


def candidates(*rows: tuple) -> pa.Table:
    columns = zip(*rows, strict=True)
    return pa.table(dict(zip(CANDIDATES.names, map(list, columns), strict=True))).cast(CANDIDATES)


LOOKED = candidates(
    ("nb201/7", None, 0, 94.0, 150_000_000, 1_000_000, True),
    ("nb201/mutant-a", "nb201/7", 1, 94.5, 130_000_000, 900_000, True),
    ("nb201/mutant-b", "nb201/7", 1, 93.0, 120_000_000, 900_000, False),
    ("nb201/mutant-c", None, None, 95.0, 110_000_000, 800_000, False),
)
NAMES = ("nb201/7", "nb201/mutant-a", "nb201/mutant-c")
ACCURACY = {"nb201/7": [50.0, 52.0], "nb201/mutant-a": [51.0, 54.0], "nb201/mutant-c": [49.0, 47.0]}


@pytest.fixture
def settings(tables_dir) -> dict:
    return mutation_table_settings(changed("tables_dir", str(tables_dir)))


def printed(settings: dict, **searched) -> tuple[str, dict[str, list[str]]]:
    text = as_markdown(mutation_table(settings, searched, {"fcm_gennape": toy_fit()}))
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return text, {row: cells for row, *cells in lines}


def test_numbers_stand_beside_the_papers(settings):
    text, rows = printed(settings, nb201=Searched(NAMES, LOOKED, ACCURACY))
    start, found, random = (
        next(cells for row, cells in rows.items() if row.startswith(f"NAS-Bench-201, {what}"))
        for what in ("start", "found", "random")
    )
    assert [cell.split(" ")[0] for cell in start[:4]] == ["150.0", "0.300", "1.00", "94.00"]
    assert start[1].endswith("[0.313]")
    assert found[1].startswith("0.260")
    assert found[1].endswith("[0.283]")
    assert found[4].startswith("52.50 ± 1.50 (2)")
    assert found[4].endswith("[93.62]")
    assert start[4].endswith("[93.27]")
    assert random[0].startswith("110.0")
    assert "[" not in "".join(random)
    assert "of 2 mutants, 1 are predicted better" in text
    assert "fewest multiply-adds of all predicted no worse than the start. Guide: CL+FCM+T" in text
    assert "fine-tuned on 50 labels" in text
    assert "Trained on 1,000 images for 2 epochs and tested on 1,000 test images, 1 times." in text


def test_what_is_missing_says_why(settings):
    looked = candidates(*(tuple(row.values()) for row in LOOKED.to_pylist()))
    searched = Searched(NAMES, looked, {})
    text, rows = printed(settings, nb201=searched, ofa_resnet50=searched)
    assert "no search here: the labels that the guide learns from need a folder" in text
    assert "the network is for other images" in text
    assert "there is no folder cifar-10-batches-bin" in text
    nb101 = next(cells for row, cells in rows.items() if row.startswith("NAS-Bench-101, start"))
    assert all(cell.startswith("–") for cell in nb101)
    assert nb101[1].endswith("[11.72]")


def test_a_start_that_nothing_beats_says_so(settings):
    text, _ = printed(settings, nb201=Searched(("nb201/7", "nb201/7", "nb201/mutant-c"), LOOKED, ACCURACY))
    assert "nothing better: this is the start" in text


def test_predictions_that_cannot_be_are_counted(settings):
    wild = candidates(*((*row.values(),) for row in LOOKED.to_pylist()), ("x", None, 1, 103.0, 1, 1, False))
    assert "1 graphs are predicted above 100 %" in printed(settings, nb201=Searched(NAMES, wild, ACCURACY))[0]
    assert "above 100 %" not in printed(settings, nb201=Searched(NAMES, LOOKED, ACCURACY))[0]


def test_the_papers_searches_shed_flops_and_gain_accuracy():
    """To 78, 81 and 90 % of the start's."""
    shares = []
    for start, found in (
        ("NB-101-Best", "NB-101-Search"),
        ("NB-201-Best", "NB-201-Search"),
        ("OFA-RN-Input", "OFA-RN-Search"),
    ):
        before, after = (
            {c: published("gennape", "7", row, c).value for c in ("FLOPs", "Top-1 Acc.(%)")} for row in (start, found)
        )
        shares.append(after["FLOPs"] / before["FLOPs"])
        assert 0 < after["Top-1 Acc.(%)"] - before["Top-1 Acc.(%)"] < 0.5
    assert np.round(shares, 2).tolist() == [0.81, 0.90, 0.78]


# The configuration


def test_without_labels_nothing_is_searched_and_the_table_can_be_made():
    config = changed("tables_dir", None)
    assert searched_families(config) == trained_files(config) == cifar10_folder(config) == []
    assert {one["guide"] for one in mutation_table_settings(config)["families"].values()} == {None}


def test_with_labels_networks_for_cifar10_are_trained(tables_dir):
    config = changed("tables_dir", str(tables_dir))
    assert searched_families(config) == ["nb101", "nb201", "ofa_resnet50"]
    assert cifar10_folder(config) == [str(tables_dir / "cifar-10-batches-bin")]
    assert len(trained_files(config)) == 6
    config["papers"]["gennape_table7"]["families"]["nb201"]["training"]["seeds"] = 3
    assert "results/graph_search/trained/nb201/random/2.parquet" in trained_files(config)
    assert "seeds" not in recipe_of(config, "nb201")
    assert cifar10_folder(changed(f"{PAPER}.images", "/data/cifar")) == ["/data/cifar"]


def test_a_guide_is_fine_tuned_only_where_labels_are_asked_for():
    config = changed("tables_dir", None)
    assert guide_inputs(config, "nb101")["models"] == guide_inputs(config, "nb201")["models"]
    assert guide_inputs(config, "nb101")["population"] == start_inputs(config, "nb101")["labels"] == []
    assert guide_inputs(config, "nb201")["splits"] == ["results/splits/to_nb201.parquet"]
    assert "results/memberships/fcm_gennape/nb201.parquet" in guide_inputs(config, "nb201")["population"]
    assert start_inputs(config, "nb201")["architectures"] == ["results/architectures/nb201.parquet"]
    assert guide_inputs(config, "ofa_resnet50")["clusters"] == ["results/clusters/fcm_gennape.npz"]
    assert graph_search_settings(config, "ofa_resnet50")["tables"] == []
    assert graph_search_settings(config, "nb201")["n_train"] == 50


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("guide", "gennape_k_gnn", r"gennape_table7.guide: expected one of gennape_cl, .*got 'gennape_k_gnn'"),
        ("search", {"iterations": 6, "kept": 10}, "search: .*'children' is a required property"),
        (
            "families.nb201.guided_by",
            {"experiment": "to_zoo", "n_train": 50},
            "expected one of to_nb201_all",
        ),
        (
            "families.nb201.guided_by",
            {"experiment": "three_way_nb201", "n_train": 50},
            "expected one of to_nb201_all, .*got .three_way",
        ),
        ("families.nb201.guided_by", {"experiment": "to_nb201", "n_train": 51}, "n_train: expected one of 0, 0, 50"),
        ("families.nb101.guided_by", {"experiment": "nb101_source", "n_train": 9}, "n_train: expected one of 0, got 9"),
        ("families.ofa_resnet50.spec", None, "guided_by.experiment: expected .*none is configured"),
        (
            "families.nb101.rows",
            {"start": "NB-101", "found": "NB-101-Search"},
            "a row .* gennape table 7: .*got NB-101",
        ),
        ("families.nb999", {}, "nb999"),
    ],
)
def test_a_wrong_search_is_named(key, value, message):
    with pytest.raises(ConfigError, match=message):
        check(changed(f"{PAPER}.{key}", value))


def test_a_wrong_encoder_of_the_figure_is_named():
    with pytest.raises(ConfigError, match=r"gennape_figure5.encoder: expected one of cl_nb101"):
        check(changed("papers.gennape_figure5.encoder", "cl"))
