"""The data of the installed package analog-nasbench: found, checked, read, and never imported."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from archgauge.errors import FormatError
from archgauge.formats import analog


@pytest.fixture(scope="module")
def rows():
    return list(analog.read_baseline(analog.installed_file()))


def test_the_pinned_version_is_installed():
    assert metadata.version(analog.PACKAGE) == analog.VERSION
    assert analog.installed_file().stat().st_size == analog.BYTES


def test_every_cell_has_one_accuracy(rows):
    assert len({tuple(operations.values()) for operations, _ in rows}) == len(rows) == 5**6
    assert all(0 <= accuracy <= 100 for _, accuracy in rows)
    assert all(tuple(operations) == analog.EDGES for operations, _ in rows)


def test_accuracies_are_means_over_25_passes(rows):
    """25 passes over 10,000 images give multiples of 0.0004 percent. One pass would give multiples of 0.01."""
    values = np.array([accuracy for _, accuracy in rows])
    assert np.sum(multiples(values, 0.0004)) == len(values) - 2  # all but two
    assert np.mean(multiples(values, 0.01)) < 0.1


def multiples(values: np.ndarray, step: float) -> np.ndarray:
    return np.abs(values / step - np.round(values / step)) < 1e-6


def test_a_cell_without_a_path_guesses(rows):
    """Edge order and the code of `none` are right if exactly these cells are at 10 %."""
    cut = [
        accuracy
        for operations, accuracy in rows
        if all(operations[edge] == "none" for edge in ((0, 3), (1, 3), (2, 3)))
        or all(operations[edge] == "none" for edge in ((0, 1), (0, 2), (0, 3)))
    ]
    assert len(cut) == 2 * 125 - 5
    assert np.allclose(cut, 10, atol=0.5)


def test_the_package_is_not_imported():
    code = (
        "import sys; from archgauge.formats import analog; list(analog.read_baseline(analog.installed_file()));"
        "sys.exit(any(name.startswith(('analognasbench', 'pandas')) for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=True)


def test_another_file_is_refused(tmp_path):
    changed = tmp_path / "data.anb"
    content = bytearray(analog.installed_file().read_bytes())
    content[112] ^= 1  # one bit of the first accuracy
    changed.write_bytes(content)
    with pytest.raises(FormatError, match=r"the sha256 of analog-nasbench's data.*another version") as error:
        list(analog.read_baseline(changed))
    assert error.value.where == changed
    with pytest.raises(FormatError, match="got no file"):
        list(analog.read_baseline(tmp_path / "absent"))


def test_a_missing_package_is_said(monkeypatch):
    monkeypatch.setattr(analog, "PACKAGE", "no-such-data-package")
    with pytest.raises(
        FormatError, match=r"no-such-data-package==0.1.3 installed in this environment.*requirements.lock"
    ):
        analog.installed_file()
