"""The bundle: made, kept, attacked, and asked to rank networks that it does not know."""

import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorchcv.model_provider import get_model
from ranking_bundle import KNOWN, SETTINGS, UNSEEN, labels, tables
from torch import nn

from archgauge.errors import BundleError, TableError
from archgauge.evaluation.metrics import mae, spearman
from archgauge.families import zoo
from archgauge.families._zoo_packages import stored_models
from archgauge.ranking.bundle import Bundle
from archgauge.ranking.bundle_file import read_bundle_file, write_bundle_file
from archgauge.ranking.card import card_text
from archgauge.ranking.familiarity import Limits, reasons, to_other_families
from archgauge.ranking.fitting import make_bundle

IMAGE = torch.zeros(1, 3, 224, 224)


@pytest.fixture(scope="module")
def graphs(tmp_path_factory) -> tuple[Path, Path]:
    return tables(tmp_path_factory.mktemp("bundle"), KNOWN)


@pytest.fixture(scope="module")
def bundle(graphs) -> Bundle:
    return make_bundle(*graphs, labels(), zoo, SETTINGS)


@pytest.fixture(scope="module")
def saved(bundle, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "a.bundle"
    bundle.save(path)
    return path


@pytest.fixture(scope="module")
def ranking(bundle):
    return bundle.rank({name: get_model(name) for name in UNSEEN}, IMAGE)


def test_unseen_networks_stand_in_the_order_of_their_published_accuracies(ranking):
    assert [row.name for row in ranking.ranked] == ["resnet152", "resnet50", "resnet18"]
    for row in ranking.ranked:
        assert abs(row.accuracy_pct - UNSEEN[row.name]) < 3
        assert row.low_pct < row.accuracy_pct < row.high_pct
        assert not row.same_as
    assert "resnet" in ranking.ranked[-1].nearest[0].arch_id


def test_costs_are_pytorchs_own_count(ranking):
    assert {row.name: row.params for row in ranking.ranked} == {
        name: sum(parameter.numel() for parameter in get_model(name).parameters()) for name in UNSEEN
    }
    assert {row.name: row.macs for row in ranking.ranked}["resnet18"] == 1_814_073_344  # torchvision's and fvcore's


def test_neither_order_nor_company_changes_what_a_model_gets(bundle, ranking):
    models = {name: get_model(name) for name in reversed(UNSEEN)}
    assert bundle.rank(models, IMAGE) == ranking
    alone = bundle.rank({"resnet50": get_model("resnet50")}, IMAGE).ranked[0]
    beside = ranking.ranked[1]
    assert (alone.accuracy_pct, alone.low_pct, alone.high_pct) == (
        beside.accuracy_pct, beside.low_pct, beside.high_pct,
    )  # fmt: skip
    assert (alone.rank, alone.rank_best, alone.rank_worst) == (1, 1, 1)


def test_equal_models_share_the_best_rank(bundle):
    models = {name: get_model("resnet18") for name in "ba"} | {"c": get_model("resnet10")}
    rows = bundle.rank(models, IMAGE).ranked
    assert [(row.name, row.rank) for row in rows] == [("a", 1), ("b", 1), ("c", 3)]


def test_a_known_network_is_recognised_with_all_its_labels(bundle):
    (row,) = bundle.rank({"mine": get_model("efficientnet_b0b")}, IMAGE).ranked
    names = ("zoo/pytorchcv:efficientnet_b0b", "zoo/pytorchcv:efficientnet_b0c")
    assert tuple(known.arch_id for known in row.same_as) == names
    assert row.nearest[0].distance < 1e-6
    assert len({known.family for known in row.nearest}) == 3 or len(row.nearest) == 3
    assert sum(known.arch_id in names for known in row.nearest) == 1  # one of each architecture


def test_a_strange_model_is_flagged_with_the_reasons(bundle, ranking):
    strange = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 30 * 30, 10))
    (row,) = bundle.rank({"strange": strange}, torch.zeros(1, 3, 32, 32)).ranked
    said = " | ".join(row.unlike)
    for part in ("MACs,", "32×32 pixels", "10 outputs, the known networks have 1,000"):
        assert part in said
    assert "unlike every known network: the nearest is at" in said
    assert bundle.card["unlabelled"] == {"networks": 1, "flagged": 1}  # the one on CIFAR-10
    assert not ranking.ranked[1].unlike


def chain() -> nn.Module:
    """A thousand layers that do nothing much, which no known network resembles."""
    layers = [nn.Conv2d(3, 32, 3, 2), *(nn.Conv2d(32, 32, 1) for _ in range(1000))]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 1000))


def test_nonsense_never_stands_before_what_is_known(bundle):
    """A model that is flagged has no rank, and changes the rank of no other."""
    usual = {"good": get_model("resnet50"), "fair": get_model("resnet18")}
    strange = {"chain": chain(), "ten": get_model("resnet152", num_classes=10)}
    ranking = bundle.rank(strange | usual, IMAGE)
    assert ranking.ranked[:2] == bundle.rank(usual, IMAGE).ranked
    assert {row.name for row in ranking.ranked[2:]} == set(strange)
    for row in ranking.ranked[2:]:
        assert (row.rank, row.rank_best, row.rank_worst) == (None, None, None)
        assert row.unlike
    predicted = {row.name: row.accuracy_pct for row in ranking.ranked}
    assert predicted["ten"] > predicted["good"]  # or this test would show nothing
    assert predicted[ranking.ranked[2].name] >= predicted[ranking.ranked[3].name]
    told = [(row["name"], row["rank"], row["out_of_distribution"]) for row in ranking.document()["ranked"]]
    assert told[:2] == [("good", 1, False), ("fair", 2, False)]
    assert {row[1:] for row in told[2:]} == {(None, True)}


def test_every_reason_is_said():
    ends = {"macs": (1e9, 2e9), "params": (1e6, 1e6), "input_pixels": (50176.0, 50176.0), "outputs": (1000.0, 1000.0)}
    limits = Limits(1.5, 0.95, ends | {"unknown_share": (0.01, 0.1)})
    usual = {"macs": 1e9, "params": 1e6, "input_pixels": 50176.0, "outputs": 1000.0, "unknown_share": 0.0}
    assert list(reasons(usual, [], 1.5, limits)) == []
    strange = {"macs": 3.14e12, "params": 1_234.0, "input_pixels": 1024.0, "outputs": 10.0, "unknown_share": 0.25}
    assert list(reasons(strange, ["log_nodes_other_norm", "paths_dead"], 1.6, limits)) == [
        "it has what no known network has: other norm",
        "3.14 T MACs, the known networks have 1.00 G to 2.00 G",
        "1.23 k parameters, the known networks have 1.00 M",
        "input of 32×32 pixels (or as many), the known networks' have 224 a side",
        "10 outputs, the known networks have 1,000",
        "25% of its operations are outside the vocabulary, of the known networks' up to 10%",
        "unlike every known network: the nearest is at 1.60, and 95% of the known networks have one of another family "
        "within 1.50",
    ]


def test_the_limit_of_distance_is_the_quantile_between_families(bundle):
    places, family = bundle.gauge.place(bundle.networks.features), bundle.networks.family
    brute = [
        min(np.linalg.norm(one - other) for other, theirs in zip(places, family, strict=True) if theirs != mine)
        for one, mine in zip(places, family, strict=True)
    ]
    np.testing.assert_allclose(to_other_families(places, family), brute, rtol=1e-6)
    assert bundle.limits.distance == pytest.approx(np.quantile(brute, 0.95))


def test_a_model_that_fails_leaves_the_others(bundle):
    models = {"good": get_model("resnet10"), "bad": nn.Linear(7, 3), "none": "no model"}
    ranking = bundle.rank(models, IMAGE)
    assert [row.name for row in ranking.ranked] == ["good"]
    assert "forward pass of a model to trace" in ranking.failed["bad"]
    assert "expected a torch.nn.Module" in ranking.failed["none"]
    assert "good" in str(ranking)
    assert "x bad: the forward pass" in str(ranking)
    assert str(bundle.rank({"bad": nn.Linear(7, 3)}, IMAGE)).startswith("x bad")


class Same(nn.Module):
    def forward(self, x):
        return x


class Constant(nn.Module):
    def forward(self, x):
        return torch.zeros(1, 10)


class Sum(nn.Module):
    def forward(self, x):
        return {"a": x.sum(), "b": [x]}


@pytest.mark.parametrize("model", [Same(), Constant(), Sum(), nn.LSTM(8, 8, batch_first=True)])
def test_models_that_are_hardly_networks_are_flagged(bundle, model):
    (row,) = bundle.rank({"m": model}, torch.zeros(1, 5, 8) if isinstance(model, nn.LSTM) else IMAGE).ranked
    assert 0 <= row.low_pct <= row.accuracy_pct <= row.high_pct <= 100
    assert row.unlike


def test_nothing_to_rank(bundle):
    assert bundle.rank({}, IMAGE).document()["ranked"] == []
    assert str(bundle.rank({}, IMAGE)) == ""


def test_the_card_is_of_held_out_networks(bundle):
    card = bundle.card
    assert (card["networks"], card["architectures"], card["model_families"]) == (28, 27, 11)
    best = min(
        (name for name in card["compared"] if name != "forest"),
        key=lambda name: card["compared"][name]["families"]["mae_pct"],
    )
    assert card["predictor"]["name"] == best
    # A second implementation of the row "macs", families left out one by one.
    from archgauge.predictors.matern_gp import PercentGp, percent

    networks = bundle.networks
    log_macs = networks.features[:, :1]
    predicted = np.empty(28)
    for name in set(networks.family):
        out = networks.family == name
        gp = PercentGp().fit(log_macs[~out], networks.accuracy_pct[~out])
        predicted[out] = percent(gp.predict_target(log_macs[out]))
    row = card["compared"]["macs"]["families"]
    assert row["mae_pct"] == pytest.approx(mae(predicted, networks.accuracy_pct))
    assert row["spearman"] == pytest.approx(spearman(predicted, networks.accuracy_pct))
    text = card_text(card)
    for part in ("28 networks of 27 architectures in 11 families", "new families", "What it is not good for", "MIT"):
        assert part in text


def test_the_card_shows_every_family_alone_or_with_the_others(bundle):
    """The table's rows are all networks: their means, weighed by size, are those of the whole."""
    text = card_text(bundle.card).partition("## Families of models")[2].partition("##")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")][2:]
    names, sizes = [row[0] for row in rows], np.array([int(row[1]) for row in rows])
    few = [row for row in bundle.card["families"] if row["networks"] < 3]
    assert names[-1] == f"others ({len(few)})"
    assert set(names[:-1]) == {row["family"] for row in bundle.card["families"]} - {row["family"] for row in few}
    assert sizes.sum() == bundle.card["networks"]
    near, far = (bundle.card["by_distance"][side] for side in ("near", "far"))
    for column, key, scale in ((2, "mae_pct", 1), (3, "bias_pct", 1), (4, "coverage", 100)):
        shown = np.array([float(row[column].rstrip("%")) for row in rows])
        pooled = sum(side["networks"] * (side[key] or 0) for side in (near, far)) / sizes.sum()
        assert sizes @ shown / sizes.sum() == pytest.approx(scale * pooled, abs=0.006 * scale), key


def test_a_card_without_small_families_has_no_pooled_row(bundle):
    large = [row for row in bundle.card["families"] if row["networks"] >= 3]
    assert "| others" not in card_text(bundle.card | {"families": large})


def test_intervals_are_calibrated_on_whole_families(bundle):
    fold, family = bundle.gauge.fold, bundle.networks.family
    assert all(len(set(fold[family == name])) == 1 for name in family)
    assert len(set(fold)) == SETTINGS["folds"]


def test_bundles_are_equal_to_the_bit(bundle, saved, ranking, tmp_path):
    loaded = Bundle.load(saved)
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == saved.read_bytes()
    assert loaded.rank({name: get_model(name) for name in UNSEEN}, IMAGE) == ranking
    assert loaded.card == json.loads(json.dumps(bundle.card))


def test_making_is_deterministic_and_does_not_depend_on_the_order_of_labels(graphs, saved, tmp_path):
    table = labels()
    again = make_bundle(*graphs, table.take(np.arange(len(table))[::-1]), zoo, SETTINGS)
    again.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == saved.read_bytes()


def test_too_few_families_are_refused(tmp_path):
    names = ["resnet10", "resnet18", "alexnet"]
    with pytest.raises(TableError, match=r"at least 3 families of models with the label, got alexnet, resnet\."):
        make_bundle(*tables(tmp_path, names), labels(), zoo, SETTINGS)


def test_no_family_of_models_separates_a_group():
    ids = [f"zoo/pytorchcv:{model.name}" for model in stored_models()]
    families = dict(zip(zoo.groups(ids, ids), zoo.model_families(ids), strict=True))
    assert [families[group] for group in zoo.groups(ids, ids)] == zoo.model_families(ids)
    names = (
        "preresnet18",
        "seresnext50_32x4d",
        "wrn50_2",
        "bn_vgg11b",
        "fdmobilenet_w1",
        "efficientnet_b0c",
        "senet28",
    )
    told = zoo.model_families([f"zoo/pytorchcv:{name}" for name in names])
    assert told == ["resnet", "resnet", "resnet", "vgg", "mobilenet", "efficientnet", "senet"]


def broken(path, message="a predictor bundle at"):
    with pytest.raises(BundleError, match=message):
        Bundle.load(path)


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.99, 0.9999])
def test_a_truncated_bundle(saved, tmp_path, kept):
    content = saved.read_bytes()
    (tmp_path / "cut").write_bytes(content[: int(len(content) * kept) if isinstance(kept, float) else kept])
    broken(tmp_path / "cut")


def test_a_damaged_bundle(saved, tmp_path):
    """A flipped byte is noticed wherever it can matter."""
    content = saved.read_bytes()
    for at in np.random.default_rng(0).integers(len(content), size=60):
        flipped = bytearray(content)
        flipped[at] ^= 0x10
        (tmp_path / "flipped").write_bytes(flipped)
        try:
            loaded = Bundle.load(tmp_path / "flipped")
        except BundleError:
            continue
        assert read_bundle_file(tmp_path / "flipped")[0] == read_bundle_file(saved)[0]  # a date, a flag: no content
        np.testing.assert_array_equal(loaded.gauge.score, Bundle.load(saved).gauge.score)


@pytest.mark.parametrize("change", ["card.json", "arrays/accuracy_pct", None])
def test_content_that_is_not_the_manifests(saved, tmp_path, change):
    """The archive's own checksums are right, and yet a member is another, or one is added."""
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(tmp_path / "other", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, content[:-1] + b" " if name == change else content)
        if change is None:
            new.writestr("more.py", b"print(1)")
    broken(tmp_path / "other", "with another content than the manifest" if change else "more.py")


class Bomb:
    def __reduce__(self):
        return (print, ("a bundle ran code",))


def test_other_files_are_no_bundle(tmp_path, capsys):
    broken(tmp_path / "none")
    broken(tmp_path)
    (tmp_path / "pickled").write_bytes(pickle.dumps(Bomb()))
    broken(tmp_path / "pickled")
    torch.save({"x": Bomb()}, tmp_path / "torch.pt")
    broken(tmp_path / "torch.pt")
    with zipfile.ZipFile(tmp_path / "deflated", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", b" " * 10_000_000)
    broken(tmp_path / "deflated", "compressed members")
    with zipfile.ZipFile(tmp_path / "deep", "w") as archive:
        archive.writestr("manifest.json", "[" * 200_000)
    broken(tmp_path / "deep")
    with zipfile.ZipFile(tmp_path / "later", "w") as archive:
        archive.writestr("manifest.json", '{"format": "archgauge-bundle", "version": 3, "members": {}}')
    broken(tmp_path / "later", "the version of a predictor bundle at .* expected archgauge-bundle 2, got .* 3")
    assert "ran code" not in capsys.readouterr().out


def _set(values, index, value):
    values = values.copy()
    values[index] = value
    return values


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("features", lambda a: a[:, :-1]),
        ("features", lambda a: a[:-1]),
        ("accuracy_pct", lambda a: a[:1]),
        ("accuracy_pct", lambda a: _set(a, 0, np.nan)),
        ("score", lambda a: a[:, None]),
        ("columns", lambda a: _set(a, 0, -1)),
        ("columns", lambda a: _set(a, 0, 10**6)),
        ("columns", lambda a: a.astype(float)),
        ("fold", lambda a: _set(a, 0, 10**9)),
        ("fold", lambda a: a[:0]),
        ("model.weights", lambda a: a[:1]),
        ("twin1.standard", lambda a: a[:, :1]),
        ("twin0.logs", lambda a: _set(a, 1, 1e300)),
    ],
)
def test_arrays_that_do_not_fit(saved, tmp_path, name, change):
    documents, arrays = read_bundle_file(saved)
    write_bundle_file(tmp_path / "hostile", documents, arrays | {name: change(arrays[name])})
    broken(tmp_path / "hostile")


@pytest.mark.parametrize(
    ("document", "content"),
    [
        ("card", []),
        ("card", {"label": "x"}),
        ("card", {"label": "x", "level": 2}),
        ("card", {"label": "x", "level": 0.9}),
        ("limits", {"distance": "far", "quantile": 1, "ranges": {}}),
        ("limits", None),
        ("networks", {"arch_id": ["a"], "group": ["a"], "family": ["a"], "live_hash": ["a"]}),
        ("networks", {"arch_id": 3}),
        ("features", 7),
    ],
)
def test_documents_that_do_not_fit(saved, tmp_path, document, content):
    documents, arrays = read_bundle_file(saved)
    write_bundle_file(tmp_path / "hostile", documents | {document: content}, arrays)
    broken(tmp_path / "hostile")


def test_features_of_another_version_and_missing_parts(saved, tmp_path):
    documents, arrays = read_bundle_file(saved)
    write_bundle_file(tmp_path / "other", documents | {"features": ["log_macs"]}, arrays)
    broken(tmp_path / "other", "the features of a predictor bundle at .* of this version, got 1, some of other names")
    write_bundle_file(tmp_path / "less", documents, {name: arrays[name] for name in arrays if name != "twin1.logs"})
    broken(tmp_path / "less", "twin1.logs")
