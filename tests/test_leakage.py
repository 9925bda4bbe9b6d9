"""No label of a target family reaches a zero-shot prediction, and no label at all reaches an encoder."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from archgauge.signatures import collected_file, has_member

ROOT = Path(__file__).parents[1]
CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text())


def needed_for(target: str, folder: Path) -> set[str]:
    """All files that the jobs which make `target` from nothing would read or write."""
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        ROOT / "Snakefile",
        "--directory",
        folder,
        "-n",
        target,
    ]
    (folder / "tables").mkdir()
    for family in CONFIG["families"]:
        if has_member(family, "COLLECTED"):
            (folder / "tables" / collected_file(family)).touch()  # a dry run opens no table
    done = subprocess.run([*command, "--config", "tables_dir=tables"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return set(re.findall(r"results/[\w/.]+", done.stdout + done.stderr))


@pytest.mark.parametrize("predictor", CONFIG["experiments"]["zero_shot"]["predictors"])
def test_zero_shot_predictions_see_no_label_of_the_target(predictor, tmp_path):
    files = needed_for(f"results/predictions/zero_shot/{predictor}.parquet", tmp_path)
    assert "results/labels/nb101.parquet" in files
    assert not {name for name in files if name.startswith("results/labels/")} - {"results/labels/nb101.parquet"}


@pytest.mark.parametrize("predictor", ["gennape_cl_fcm_t", "gennape_fcm_pairs", "gennape_k_gnn", "macs"])
def test_what_is_transferred_was_trained_on_labels_of_the_source_alone(predictor, tmp_path):
    """A transfer's job reads the target's labels to fine-tune; tests/test_transfer.py shuffles them."""
    files = needed_for(f"results/sources/nb101_source/{predictor}/0.pt", tmp_path)
    assert {name for name in files if name.startswith("results/labels/")} == {"results/labels/nb101.parquet"}
    assert not {name for name in files if "nb201" in name}


def test_a_published_file_is_an_input_of_its_labels(tmp_path):
    """Another file of the same name, another set of labels: the rule runs again."""
    (tmp_path / "tables").mkdir()
    table = tmp_path / "tables/nb101.parquet"
    table.touch()
    command = [sys.executable, "-m", "snakemake", "results/labels/nb101.parquet", "--snakefile", ROOT / "Snakefile"]
    asked = ["--directory", tmp_path, "-n", "--config", f"tables_dir={tmp_path / 'tables'}"]
    done = subprocess.run([*command, *asked], capture_output=True, text=True, cwd=ROOT)
    assert re.search(rf"input: {table}", done.stdout + done.stderr), done.stderr


@pytest.mark.parametrize("predictor", CONFIG["experiments"]["zero_shot"]["predictors"])
def test_inductive_rows_use_encoders_that_never_saw_the_target(predictor):
    encoder = CONFIG["predictors"][predictor].get("encoder", "random")
    assert CONFIG["encoders"][encoder]["families"] == ["nb101"]


@pytest.mark.parametrize("encoder", CONFIG["encoders"])
def test_encoders_see_no_label(encoder, tmp_path):
    files = needed_for(f"results/encoders/{encoder}.pt", tmp_path)
    assert f"results/encoders/{encoder}.pt" in files
    assert not [name for name in files if name.startswith(("results/labels", "results/splits"))]
