"""The bundle on labels of another source: what is printed is what ranking those networks one by one gives."""

import runpy
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml
from ranking_bundle import KNOWN, SETTINGS, labels, tables
from scipy.stats import spearmanr

from archgauge.config import judging_families
from archgauge.errors import ConfigError, TableError
from archgauge.families import zoo
from archgauge.ranking.conformal import rank_intervals
from archgauge.ranking.elsewhere import METRIC_TITLES, elsewhere_table, judged_elsewhere
from archgauge.ranking.fitting import make_bundle, read_networks
from archgauge.schemas import LABELS, METRICS, read_table, write_table

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "workflow_scripts" / "bundle_elsewhere.py"
OTHERS = {"resnet18": 60.0, "resnet50": 75.0, "vgg19": 71.0, "resnet20_svhn": 50.0, "vgg13": 68.0}
KEYS = {"experiment": "bundle_elsewhere", "family": "zoo", "label": "other/accuracy"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(*tables(tmp_path_factory.mktemp("known"), KNOWN), labels(), zoo, SETTINGS)


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    return tables(tmp_path_factory.mktemp("others"), list(OTHERS))


@pytest.fixture(scope="module")
def other_labels() -> pa.Table:
    """All but the last network have the label."""
    like = labels().to_pylist()[0]
    rows = [
        like | {"arch_id": zoo.arch_id(f"pytorchcv:{name}"), "label": KEYS["label"], "value": value}
        for name, value in list(OTHERS.items())[:-1]
    ]
    return pa.Table.from_pylist(rows, LABELS)


@pytest.fixture(scope="module")
def metrics(bundle, others, other_labels) -> pa.Table:
    return judged_elsewhere(bundle, *others, other_labels, KEYS, seed=0)


def test_the_numbers_are_those_of_ranking_the_networks(bundle, others, metrics):
    graphs, table = read_networks(*others)
    names = [arch_id.rpartition(":")[2] for arch_id in table["arch_id"].to_pylist()]
    models = {name: graphs.select(np.array([row])) for row, name in enumerate(names) if name != "vgg13"}
    ranked = bundle.rank_graphs(models).ranked
    true = np.array([OTHERS[row.name] for row in ranked])
    predicted = np.array([row.accuracy_pct for row in ranked])
    held = [row.low_pct <= OTHERS[row.name] <= row.high_pct for row in ranked]
    flagged = [bool(row.unlike) for row in ranked]
    best, worst = rank_intervals(np.array([row.low_pct for row in ranked]), np.array([row.high_pct for row in ranked]))
    rank = 1 + (true[None, :] > true[:, None]).sum(axis=1)
    assert 0 < sum(flagged) < 4  # numbers for ten classes, not a thousand, are
    expected = {
        ("bundle", "spearman"): spearmanr(predicted, true).statistic,
        ("bundle", "bias"): (predicted - true).mean(),
        ("bundle", "mae"): np.abs(predicted - true).mean(),
        ("bundle", "coverage"): np.mean(held),
        ("bundle", "flagged"): np.mean(flagged),
        ("bundle", "ranks_allowed"): (worst - best + 1).mean(),
        ("bundle", "rank_coverage"): ((best <= rank) & (rank <= worst)).mean(),
        ("macs", "spearman"): spearmanr([row.macs for row in ranked], true).statistic,
        ("params", "spearman"): spearmanr([row.params for row in ranked], true).statistic,
    }
    found = {(row["predictor"], row["metric"]): row["value"] for row in metrics.to_pylist()}
    assert {key: found[key] for key in expected} == pytest.approx(expected)
    assert set(metrics["n"].to_pylist()) == {4}


def test_the_table_names_what_is_missing(metrics):
    settings = {"families": {"zoo": KEYS["label"], "ofa_mbv3": "imagenet/none"}, "judged": ["zoo"]}
    table = elsewhere_table(metrics, settings)
    assert table.columns == tuple(
        f"{name}: {title}" for name in settings["families"] for title in METRIC_TITLES.values()
    )
    assert table.entries["MACs", "zoo: ρ"].summary is not None
    reasons = dict(table.notes)
    assert "need tables_dir" in reasons[table.entries["bundle", "ofa_mbv3: ρ"].marks]
    assert "says no accuracy" in reasons[table.entries["MACs", "zoo: MAE, points"].marks]


def test_without_any_labels_the_rule_says_what_it_needs():
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    with pytest.raises(
        ConfigError, match=r"bundle\.elsewhere: .*got mnasnet, ofa_mbv3, without labels\. Set tables_dir"
    ):
        judging_families(config)
    assert judging_families({**config, "tables_dir": "somewhere"}) == ["mnasnet", "ofa_mbv3"]


def test_a_label_that_the_family_does_not_have(bundle, others, other_labels):
    with pytest.raises(TableError, match="a label's name"):
        judged_elsewhere(bundle, *others, other_labels, KEYS | {"label": "none"}, seed=0)


def test_the_script_writes_metrics_and_a_table(bundle, others, other_labels, metrics, tmp_path):
    bundle.save(tmp_path / "a.bundle")
    write_table(tmp_path / "labels", other_labels, LABELS)
    forms = {name: tmp_path / name for name in ("metrics", "page", "markdown", "comma_separated", "latex")}
    runpy.run_path(str(SCRIPT))["main"](
        bundle=tmp_path / "a.bundle",
        graphs=[others[0]],
        kinds=[others[1]],
        labels=[tmp_path / "labels"],
        settings={"families": {"ofa_mbv3": "imagenet/none", "zoo": KEYS["label"]}, "judged": ["zoo"], "seed": 0},
        **forms,
    )
    assert read_table(forms["metrics"], METRICS).equals(metrics.cast(METRICS))
    assert "| bundle" in forms["markdown"].read_text()
