"""Checkpoints: what was written comes back, and whatever else is there is one error."""

import re

import pytest
import torch

from archgauge.encoders.graph_encoder import GraphEncoder
from archgauge.errors import FormatError
from archgauge.evaluation.source_models import load_model
from archgauge.nn.checkpoint import read_checkpoint, write_checkpoint

SAID = {"what": "a thing", "remedy": "Make it again."}


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("the checkpoint ran code",)


def test_tensors_and_plain_values_come_back(tmp_path):
    content = {"weights": {"a": torch.arange(3.0)}, "epochs": 3, "names": ["x", "y"], "state": None}
    write_checkpoint(tmp_path / "a.pt", "thing 1", content)
    found = read_checkpoint(tmp_path / "a.pt", "thing 1", **SAID)
    assert torch.equal(found.pop("weights")["a"], torch.arange(3.0))
    assert found == {"epochs": 3, "names": ["x", "y"], "state": None}


def test_a_file_that_is_not_written_to_its_end_is_not_there(tmp_path):
    with pytest.raises(AttributeError, match="pickle"):
        write_checkpoint(tmp_path / "a.pt", "thing 1", {"function": lambda: 0})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (None, "FileNotFoundError"),
        (b"", "EOFError"),
        (b"no checkpoint", "UnpicklingError"),
        ({"format": "thing 2"}, "thing 2"),
        ({"x": 1}, "KeyError"),
        (torch.zeros(3), "AttributeError"),
        (7, "AttributeError"),
        ({"format": "thing 1", "x": Bomb()}, "UnpicklingError"),
        ("cut", "(RuntimeError|OSError)"),
    ],
)
def test_whatever_is_no_checkpoint_is_one_error(tmp_path, content, got):
    path = tmp_path / "a.pt"
    if content == "cut":
        write_checkpoint(path, "thing 1", {"x": torch.zeros(1000)})
        path.write_bytes(path.read_bytes()[:-500])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    told = rf"a thing at .*a\.pt: expected a file that says 'thing 1', got {got}.* Make it again\.$"
    with pytest.raises(FormatError, match=told):
        read_checkpoint(path, "thing 1", **SAID)


@pytest.mark.parametrize("read", [GraphEncoder.load, load_model])
def test_a_missing_file_is_the_same_error_for_all(read, tmp_path):
    with pytest.raises(FormatError, match=re.escape(str(tmp_path / "none.pt")) + ".*got FileNotFoundError"):
        read(tmp_path / "none.pt")
