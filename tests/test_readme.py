"""What the README tells people to type and to open exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_every_make_target_exists():
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    typed = set(re.findall(r"(?:^|`)make ([a-z]+)", README, re.MULTILINE))
    assert {"run", "test"} <= typed <= targets


def test_every_picture_and_configuration_exists():
    paths = re.findall(r"\]\(([\w./-]+)\)", README)
    paths += re.findall(r"(?:--configfile|--workflow-profile) ([\w./-]+)", README)
    assert len(paths) >= 5
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_no_placeholder_is_left():
    assert re.findall(r"^[A-Z]+(?:_[A-Z]+)*$|RUN_MINUTES", README, re.MULTILINE) == []
