"""The transferable predictor's tables of searches: printed numbers stand where the paper has them, gaps say why."""

import copy
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from workflow import Project

from archgauge.config_check import check
from archgauge.errors import ConfigError
from archgauge.evaluation.published import published
from archgauge.evaluation.search_tables import comparison_table
from archgauge.schemas import METRICS
from archgauge.search_config import comparison_searches, search_comparison_settings

SHIPPED = yaml.safe_load((Path(__file__).parents[1] / "config.yaml").read_text()) | {"tables_dir": "somewhere"}
TABLES = list(SHIPPED["search_tables"])
SMALL = 5
"""Architectures of each made-up space; the best has 95 %."""


def metrics(table: str, config=SHIPPED) -> pa.Table:
    """METRICS of a table's searches: strategy s has found 90 + s / 10 + q / 10,000 + seed / 100 after q queries."""
    rows = []
    for search in comparison_searches(config, table):
        settings = config["searches"][search]
        for place, name in enumerate(settings["strategies"]):
            for seed in range(2):
                for queries in {1, settings["queries"], *config["search_tables"][table]["searches"][search]["queries"]}:
                    if queries <= settings["queries"]:
                        found = 90 + place / 10 + queries / 10_000 + seed / 100
                        values = {"found_accuracy": found, "regret": 95 - found, "found_rank": 3.0}
                        common = {"experiment": search, "predictor": name, "family": settings["family"], "seed": seed}
                        common |= {"population": "all", "label": settings["label"], "n_train": queries, "split": 0}
                        rows += [
                            {**common, "n": SMALL, "backend": "torch", "metric": metric, "value": value}
                            for metric, value in values.items()
                        ]
    return pa.Table.from_pylist(rows, METRICS)


def made(table: str, config=SHIPPED):
    return comparison_table(metrics(table, config), search_comparison_settings(config, table))


def brackets(table) -> dict[tuple[str, str], str]:
    return {key: entry.published.text for key, entry in table.entries.items() if entry.published is not None}


def test_the_paper_prints_these():
    """Tables 2 to 4, typed from the paper a second time."""
    printed = {
        ("2, NAS-Bench-101", "Acc. (%)"): {"Random": 94.11, "Synflow": 94.18, "CL-fine-tune": 94.23},
        ("2, NAS-Bench-101", "Rank"): {"Random": 26.0, "Synflow": 5.8, "CL-fine-tune": 2.2},
        ("2, NAS-Bench-201", "Rank"): {"Random": 104, "Synflow": 1.0, "CL-fine-tune": 1.0},
        ("2, NAS-Bench-301", "Acc. (%)"): {"Random": 94.75, "Synflow": 94.60, "CL-fine-tune": 94.83},
        ("3", "#Queries"): {"BRP-NAS": 140, "NPENAS": 150, "Neural-Predictor-NAS": 256, "GA-NAS": 378, "BANANAS": 800},
        ("3", "Best Acc. (%)"): {"SemiNAS (RE)": 94.03, "SemiNAS (RE), 1000": 93.97, "EA + CL-fine-tune": 94.23},
        ("4", "Top-1 Acc. (%)"): {"OFA-Large": 79.0, "OFA-Base": 78.9, "OFA-MBv3-CL": 79.2, "DARTS": 73.1},
    }
    for (table, column), rows in printed.items():
        assert {row: published("transferable", table, row, column).value for row in rows} == rows


def test_table_2_has_the_printed_numbers_beside_their_counterparts():
    table = made("transferable_table2")
    beside = brackets(table)
    assert beside["Evolution, CL from other families, fine-tuned", "NAS-Bench-101, true rank, 700 queries"] == "2.2"
    assert beside["Evolution, unguided", "NAS-Bench-201, accuracy (%), 90 queries"] == "93.91 ± 0.2"
    assert beside["Evolution, synflow", "NAS-Bench-301, accuracy (%), 80 queries"] == "94.60 ± 0.11"
    assert len(beside) == 3 * (2 + 2 + 1)
    assert not any(row == "Random search" for row, _ in beside)
    ours = table.entries["Evolution, CL from scratch", "NAS-Bench-101, accuracy (%), 700 queries"]
    assert (ours.summary.runs, round(ours.summary.mean, 3)) == (2, 90.175)


def test_a_strategy_that_a_family_cannot_have_says_why():
    table = made("transferable_table2")
    entry = table.entries["Evolution, synflow", "NAS-Bench-101, regret (pp), 700 queries"]
    assert entry.summary is None
    assert "No column of it is published here" in dict(table.notes)[entry.marks]


def test_every_column_says_what_was_searched():
    for name in TABLES:
        table = made(name)
        notes = dict(table.notes)
        for column, marks in table.column_marks.items():
            assert any("5 architectures, the best of them at 95.00 %" in notes[mark] for mark in marks.split(",")), (
                column
            )


def test_table_3_has_each_method_at_its_number_of_queries():
    table = made("transferable_table3")
    beside = brackets(table)
    for method, queries in (("BRP-NAS", 140), ("GA-NAS", 378), ("BANANAS", 800), ("SemiNAS (RE), 1000", 1000)):
        columns = [column for row, column in beside if row == method]
        assert columns == [f"accuracy (%), {queries:,} queries"]
    ours = "Evolution, CL from other families, fine-tuned"
    assert [column for row, column in beside if row == ours] == ["accuracy (%), 700 queries"]
    late = table.entries[ours, "accuracy (%), 800 queries"]
    assert late.summary is None
    assert dict(table.notes)[late.marks] == "Our searches end after 700 queries."
    assert len(beside) == 10


def test_table_4_has_published_networks_as_rows():
    table = made("transferable_table4")
    entry = table.entries["MobileNetV3-Large", "accuracy (%), 100 queries"]
    assert (entry.published.text, dict(table.notes)[entry.marks]) == ("75.2", "Published; not run here.")
    assert brackets(table)["Evolution, CL from other families, fine-tuned", "accuracy (%), 100 queries"] == "79.2"


def test_searches_without_labels_are_listed_as_missing():
    config = SHIPPED | {"tables_dir": None}
    table = made("transferable_table2", config)
    entry = table.entries["Random search", "NAS-Bench-101, true rank, 700 queries"]
    assert entry.summary is None
    assert "The labels cannot be had here" in dict(table.notes)[entry.marks]
    assert table.entries["Random search", "NAS-Bench-201, true rank, 90 queries"].summary.mean == 3.0
    elsewhere = table.entries["Evolution, CL from other families, fine-tuned", "NAS-Bench-201, true rank, 90 queries"]
    assert "The labels cannot be had here" in dict(table.notes)[elsewhere.marks]


def test_another_label_to_search_by_is_told():
    config = copy.deepcopy(SHIPPED)
    config["searches"]["nb101_evolution"]["searched_label"] = "cifar10/validation@108/selected_run"
    texts = [text for _, text in made("transferable_table3", config).notes]
    assert any("by the label cifar10/test@108/run0, searched by cifar10/validation" in text for text in texts)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "transferable_table4.headline",
            "cll",
            "table4.headline: expected one of cl_tuned, .*Did you mean 'cl'",
        ),
        (
            "transferable_table4.searches.nb102",
            {"queries": [1]},
            "table4.searches: expected one of nb201_search",
        ),
        ("transferable_table4.strategies.synflow", None, "transferable_table4.strategies: expected one of cl_tuned,"),
        ("transferable_table2.strategies.cl", "CL", "a row of a published table at published, .* got CL"),
        ("transferable_table4.metrics", ["regret"], "ofa_mbv3_evolution.published: expected one of regret"),
        ("transferable_table3.searches.nb101_evolution.queries", [140], "nb101_evolution.queries: expected one of 140"),
        ("transferable_table3.searches.nb101_evolution.at", "#Q", "a column of a published table .* got #Q"),
        ("transferable_table2.metrics", ["mae"], "transferable_table2.metrics.0: expected enum"),
    ],
)
def test_a_wrong_table_is_named(path, value, message):
    config = copy.deepcopy(SHIPPED) | {"tables_dir": None}
    node = config["search_tables"]
    *parents, last = path.split(".")
    for name in parents:
        node = node[name]
    node[last] = value
    with pytest.raises(ConfigError, match=message):
        check(config)


def test_the_rules_of_a_whole_space(tmp_path, tables_dir):
    """What is planned for Table 3: all modules are listed, and graphs are made for the encoder's pretraining alone."""
    project = Project.new(tmp_path)
    project.configure("tables_dir", str(tables_dir))
    jobs = project.planned("transferable_table3")
    guided = jobs["search search=nb101_evolution strategy=cl"]
    assert guided.inputs == {
        "results/spaces/nb101.parquet",
        "results/labels/nb101.parquet",
        "results/encoders/cl_nb101.pt",
    }
    by_cost = jobs["search search=nb101_evolution strategy=params"]
    assert by_cost.inputs == guided.inputs - {"results/encoders/cl_nb101.pt"}
    readers = {name.split()[0] for name, job in jobs.items() if "results/graphs/nb101.parquet" in job.inputs}
    assert readers == {"spectra", "pretrain"}
