"""Figures: valid SVG with text as text, small, the same bytes twice, the data where they belong."""

import re
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest

from archgauge.errors import PredictorError, TableError
from archgauge.evaluation import figures

RNG = np.random.default_rng(0)
N = 15_625
TRUE = 95 - RNG.gamma(1.5, 4, N)
PREDICTED = TRUE + RNG.normal(0, 2, N)
EMBEDDING = RNG.normal(size=(N, 8)).astype(np.float32)
MEMBERSHIP = RNG.dirichlet(np.full(16, 0.1), N)
FAMILIES = np.where(np.arange(N) % 4, "nb201", "nb101")


def _predicted(path):
    figures.predicted_against_measured(path, PREDICTED, TRUE, title="Ours & others", in_percent=True)


def _macs(path):
    figures.predicted_against_measured(path, np.round(PREDICTED), TRUE, title="MACs", in_percent=False)


def _embedding(path):
    accuracy = np.where(np.arange(N) % 4, TRUE, np.nan)
    figures.embedding_map(path, EMBEDDING, FAMILIES, accuracy, title="Encoder", method="pca", seed=0)


def _neighbours(path):
    some = slice(0, 120)
    figures.embedding_map(path, EMBEDDING[some], FAMILIES[some], TRUE[some], title="Encoder", method="tsne", seed=0)


def _families(path):
    some = np.arange(180)
    names = [f"family{index % 9}" for index in some]
    figures.family_map(path, EMBEDDING[some] + 50 * (some % 9)[:, None], names, title="Families", seed=0)


def _membership(path):
    figures.membership_heat_map(path, MEMBERSHIP, title="Fuzzy c-means")


def _search(path):
    runs = np.minimum.accumulate(np.random.default_rng(1).gamma(1, 1, (20, 90)), axis=1)
    figures.search_curves(path, {"random": runs, "evolution": runs / 3, "optimal": 0 * runs[:1]}, title="Search")


def _loss(path):
    steps = np.arange(100, 3_000, 100)
    figures.pretraining_loss(path, {"inductive": (steps, 3 + np.exp(-steps / 500))}, title="Contrastive loss")


DRAWN = {
    _predicted: ["Ours & others", "Values", "Spearman", "measured accuracy (%)", "predicted accuracy (%)"],
    _macs: ["MACs", "prediction", "architectures per hexagon"],
    _embedding: ["Encoder", "nb201 (11,718)", "nb101 (3,907)", "grey: not labelled", "of variance"],
    _neighbours: ["t-SNE 1", "Family", "Accuracy"],
    _families: ["Families: 100 % have their nearest in their family", "family0 (20)", "family8 (20)", "t-SNE 2"],
    _membership: ["Fuzzy c-means", "Partition coefficient", "0.0625", "16"],
    _search: ["Search", "random (20 runs)", "optimal (1 runs)", "regret (percent points)"],
    _loss: ["Contrastive loss", "inductive", "optimiser steps"],
}


@pytest.mark.parametrize("draw", DRAWN, ids=lambda draw: draw.__name__.strip("_"))
def test_a_figure_is_small_readable_and_the_same_twice(draw, tmp_path):
    before = dict(matplotlib.rcParams)
    for name in ("first.svg", "second.svg"):
        draw(tmp_path / name)
    content = (tmp_path / "first.svg").read_bytes()
    assert content == (tmp_path / "second.svg").read_bytes()
    assert len(content) < 500_000
    text = " ".join("".join(element.itertext()) for element in ElementTree.fromstring(content).findall(".//{*}text"))
    for wanted in DRAWN[draw]:
        assert wanted in text
    ground = re.search(r'<g id="patch_1">.*?fill: (#\w+)', content.decode(), re.DOTALL)
    assert ground[1] == figures.GROUND
    assert b"<dc:date>" not in content
    assert dict(matplotlib.rcParams) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.svg", "second.svg"]


def test_the_printed_correlation_is_that_of_all_points(tmp_path):
    figures.predicted_against_measured(tmp_path / "f.svg", -TRUE, TRUE, title="Reversed", in_percent=False)
    assert "Ranks, Spearman −1.000" in (tmp_path / "f.svg").read_text().replace("Spearman -", "Spearman −")


def test_low_values_are_counted_not_hidden(tmp_path):
    true = np.concatenate([np.full(4, 10.0), np.linspace(80, 94, 96)])
    figures.predicted_against_measured(tmp_path / "f.svg", true, true, title="Perfect", in_percent=True)
    assert "Values (5 low ones not shown)" in (tmp_path / "f.svg").read_text()


def test_equal_memberships_can_be_drawn(tmp_path):
    figures.membership_heat_map(tmp_path / "f.svg", np.full((30, 4), 0.25), title="Collapsed")
    assert "Partition coefficient 0.2500, where equal memberships give 0.2500" in (tmp_path / "f.svg").read_text()


def test_a_long_title_is_broken_into_lines(tmp_path):
    figures.membership_heat_map(tmp_path / "f.svg", np.full((30, 4), 0.25), title="a long word " * 12)
    lines = re.findall(r">(a long [^<]*)<", (tmp_path / "f.svg").read_text())
    assert len([line for line in lines if len(line) <= 72]) >= 2


def test_bad_data_leave_no_file(tmp_path):
    path = tmp_path / "f.svg"
    broken = np.full((3, 2), np.nan)
    with pytest.raises(TableError, match=r"the embeddings of a figure .*got shape \(3, 2\), 6 of them not finite"):
        figures.embedding_map(path, broken, ["a"] * 3, np.ones(3), title="t", method="pca", seed=0)
    with pytest.raises(TableError, match="the memberships of a figure"):
        figures.membership_heat_map(path, np.empty((0, 3)), title="t")
    with pytest.raises(TableError, match=r"the regrets of random of a figure .*in 2 dimension"):
        figures.search_curves(path, {"random": np.ones(5)}, title="t")
    with pytest.raises(TableError, match="the losses of a of a figure"):
        figures.pretraining_loss(path, {"a": (np.ones(1), np.array([np.inf]))}, title="t")
    with pytest.raises(PredictorError, match="got nan"):
        figures.predicted_against_measured(path, np.array([1, np.nan]), np.ones(2), title="t", in_percent=True)
    assert not path.exists()
