"""Every label that `make bars` and `make searches` ask of a family is one that the collected tables have."""

from collections import defaultdict
from importlib import import_module
from pathlib import Path

import pyarrow.compute as pc
import pytest
import yaml
from snakemake.utils import update_config

from archgauge.config import Config, collected_table

ROOT = Path(__file__).parent.parent


def _transfers(config: Config) -> dict[str, dict]:
    return {f"experiments.{n}": e for n, e in config["experiments"].items() if e["protocol"] in ("source", "transfer")}


def _searches(config: Config) -> dict[str, dict]:
    names = {name for table in config["search_tables"].values() for name in table["searches"]}
    return {f"searches.{name}": config["searches"][name] for name in names}


@pytest.mark.parametrize(("profile", "made"), [("bars", _transfers), ("searches", _searches)])
def test_labels_are_in_the_collected_tables(tables_dir, profile, made):
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    update_config(config, yaml.safe_load((ROOT / f"profiles/{profile}/sizes.yaml").read_text()))
    config["tables_dir"] = str(tables_dir)
    asked = defaultdict(dict)
    for where, block in made(config).items():
        asked[block["family"]] |= {f"{where}.{key}": block[key] for key in ("label", "searched_label") if key in block}
    assert "nb201" in asked
    for family, labels in asked.items():
        if config["families"][family]["labels"]["source"] != "tables":
            continue
        read = import_module(f"archgauge.families.{family}").LABEL_SOURCES["tables"]
        there = set(pc.unique(read(Path(collected_table(config, family)))["label"]).to_pylist())
        for where, label in labels.items():
            assert label in there, where
