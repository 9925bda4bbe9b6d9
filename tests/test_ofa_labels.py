"""GENNAPE's caches of Once-for-All's subnets, written as the authors' code writes them."""

import json
import zipfile

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from gennape_cases import authors_module, cache, compute_graph

from archgauge.errors import FormatError, TableError
from archgauge.families import ofa_mbv3, ofa_proxyless, ofa_resnet50
from archgauge.families._gennape_labels import CG_DATA
from archgauge.graphs import cost
from archgauge.schemas import LABELS

FAMILIES = {"ofa_mbv3": ofa_mbv3, "ofa_proxyless": ofa_proxyless, "ofa_resnet50": ofa_resnet50}
PROXYLESS = (160, [["mbconv2_e3_k5", "mbconv2_e6_k7"]] * 5 + [["mbconv2_e4_k3"]])
MBV3 = (224, [["mbconv3_e6_k3", "mbconv3_e4_k5"]] * 5)
RESNET = (128, {"w": [0, 1, 2, 1, 0, 2], "d": [2, 0, 1, 2, 0], "e": [0.2, 0.25, 0.35] * 6})
STATE = {"name": "OFA", "regular_nodes": [], "weighted_nodes": [], "edge_pairs": []}
RUN = "imagenet/validation@0/run{}+inherited"


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a cache of (configuration, accuracy) pairs."""
    graph = compute_graph(authors_module(monkeypatch), STATE)

    def written(*measured, name="x.pkl"):
        fixed = {"compute graph": graph, "flops": 6e8, "n_params": 9.1}
        return cache(tmp_path / name, [{**fixed, "acc": acc, "original config": config} for config, acc in measured])

    return written


def rows(labels: pa.Table) -> list[tuple]:
    assert labels.schema == LABELS
    columns = [pc.cast(labels[name], "string").to_pylist() for name in ("arch_id", "label", "unit")]
    return list(zip(*columns, labels["value"].to_pylist(), strict=True))


def read(family: str, path) -> list[tuple]:
    return rows(FAMILIES[family].LABEL_SOURCES["gennape"](path))


def test_a_mobile_cache_holds_two_spaces(write):
    path = write((PROXYLESS, 0.7625), (MBV3, 0.75), (PROXYLESS, 0.7635))
    proxyless = "ofa_proxyless/w1.3-r160-" + "e3k5,e6k7-" * 5 + "e4k3"
    assert read("ofa_proxyless", path) == [
        (proxyless, RUN.format(0), "percent", pytest.approx(76.25)),
        (proxyless, RUN.format(1), "percent", pytest.approx(76.35)),
    ]
    mbv3 = "ofa_mbv3/w1.2-r224-" + "-".join(["e6k3,e4k5"] * 5)
    assert read("ofa_mbv3", path) == [(mbv3, RUN.format(0), "percent", 75.0)]


def test_resnets_that_only_unused_slots_tell_apart_are_one(write):
    same = (128, RESNET[1] | {"w": [1, 1, 2, 1, 0, 2], "e": [*RESNET[1]["e"][:2], 0.2, 0.2, *RESNET[1]["e"][4:]]})
    name = "ofa_resnet50/r128-m24o48s1-w100:20,25-w80:25,35,20-w65:35,20,25,35,20,25-w100:35,20"
    assert read("ofa_resnet50", write((RESNET, 0.78), (same, 0.781))) == [
        (name, RUN.format(0), "percent", 78.0),
        (name, RUN.format(1), "percent", pytest.approx(78.1)),
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_cached_configurations_name_the_authors_networks(family, write, tables_dir):
    """Each configuration of the truth tables, in the form of a cache, leads to the parameters of its network."""
    truth = pq.read_table(tables_dir / "truth" / f"{family}.parquet").slice(0, 25).to_pylist()
    configs = [json.loads(row["config"]) for row in truth]
    configs = [(config.pop("resolution"), config.pop("blocks", config)) for config in configs]
    found = read(family, write(*[(config, 0.5) for config in configs]))
    graphs = [FAMILIES[family].to_graph(name.removeprefix(f"{family}/")) for name, *_ in found]
    assert [cost.params(graph)[0] for graph in graphs] == [row["params"] for row in truth]
    assert [cost.macs(graph)[0] for graph in graphs] == [row["macs"] for row in truth]


def test_the_caches_are_found_in_the_zip(write, tmp_path):
    with zipfile.ZipFile(tmp_path / "CG_data.zip", "w") as archive:
        for name, config in (("gpi_ofa_comp_graph_cache.pkl", MBV3), ("gpi_ofa_resnet_comp_graph_cache.pkl", RESNET)):
            archive.writestr(f"cache/{name}", write((config, 0.5), name=name).read_bytes())
    for family in ("ofa_mbv3", "ofa_resnet50"):
        assert len(read(family, tmp_path / "CG_data.zip")) == 1
        assert FAMILIES[family].REMOTES["gennape"] is CG_DATA


@pytest.mark.parametrize(
    ("family", "config", "message"),
    [
        ("ofa_mbv3", (224, [["mbconv4_e6_k3"] * 2] * 5), r"blocks of \['mbconv4'\]"),
        ("ofa_mbv3", (224, [["mbconv3_e6_k3", "mbconv2_e6_k3"]] * 5), r"blocks of \['mbconv2', 'mbconv3'\]"),
        ("ofa_mbv3", (225, MBV3[1]), "w1.2-r225"),
        ("ofa_mbv3", (224, MBV3[1][:4]), "w1.2-r224"),
        ("ofa_mbv3", (224, [["mbconv3_e5_k3"] * 2] * 5), "e5k3"),
        ("ofa_mbv3", MBV3[1], "too many values"),
        ("ofa_mbv3", (224, [[3]]), "no attribute 'split'"),
        ("ofa_mbv3", None, "NoneType"),
        ("ofa_mbv3", RESNET, r"blocks of \['d', 'e', 'w'\]"),
        ("ofa_proxyless", (160, PROXYLESS[1][:5]), "w1.3-r160"),
        ("ofa_resnet50", MBV3, "mbconv3"),
        ("ofa_resnet50", (128, {"w": [0]}), r"\{'w': \[0\]\}"),
    ],
)
def test_another_configuration_is_refused(write, family, config, message):
    expected = rf"x\.pkl, entry 0: expected \(pixels, names of blocks.*of {family} .*{message}"
    with pytest.raises(FormatError, match=expected):
        read(family, write((config, 0.5)))


def test_an_accuracy_in_percent_is_refused(write):
    with pytest.raises(FormatError, match=r"acc 76\.2 in place of a fraction"):
        read("ofa_mbv3", write((MBV3, 76.2)))
    with pytest.raises(TableError, match=r"run0\+inherited at x, y: expected a percentage"):
        ofa_mbv3._ofa_labels.inherited([("y", 101.0)], "x")
