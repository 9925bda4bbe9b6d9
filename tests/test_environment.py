"""The lock is the one place of versions: the conda environment, this environment and the Makefile agree with it."""

import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_every_line_pins_one_version():
    lines = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
    assert len(lines) > 100
    assert all(line.count("==") == 1 for line in lines)


def test_conda_environment_equals_the_lock():
    dependencies = yaml.safe_load((ROOT / "envs" / "archgauge.yaml").read_text())["dependencies"]
    assert dependencies[:2] == ["python=3.11", "pip"]
    assert dict(entry.split("==") for entry in dependencies[2]["pip"]) == locked()


def test_this_environment_holds_the_locked_versions():
    if Path(sys.prefix).resolve() != (ROOT / ".venv").resolve():
        pytest.skip("runs in the project's own environment")
    installed = {name: metadata.version(name).split("+")[0] for name in locked()}
    assert installed == locked()


def test_every_rule_names_the_environment():
    for path in (ROOT / "rules").glob("*.smk"):
        text = path.read_text()
        assert text.count("\n    script:") == text.count("envs/archgauge.yaml"), path
