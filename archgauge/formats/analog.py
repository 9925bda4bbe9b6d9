"""AnalogNAS-Bench (Benmeziane et al. 2025, arXiv 2506.18495): the NAS-Bench-201 cells, trained anew on CIFAR-10.

The PyPI package `analog-nasbench` carries the measurements as a pickle of its own classes. The package is never
imported: its file is found through the installed package's metadata and read with a restricted unpickler.

Of its numbers Archgauge uses `baseline_accuracy`, the network in full precision on ordinary hardware. By the authors'
training script that is one run of 200 epochs with NAS-Bench-201's optimiser settings. The script crops and flips the
*test* images at random too and averages 25 passes over them; so the numbers are multiples of 1/25 of 0.01 % and lie
0.29 points below the official mean on average.
"""

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from archgauge.errors import FormatError
from archgauge.files import sha256
from archgauge.formats.pickles import Record, load_pickle

PACKAGE, VERSION = "analog-nasbench", "0.1.3"
FILE = "analognasbench/data.anb"
BYTES = 5_610_467
SHA256 = "85f3435b877aa2d36268d55ce07f6ff6d73643d17a840f1941745da5eb80db32"

OPERATIONS = ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3")
"""The package's operation codes 0 to 4, by their NAS-Bench-201 names."""
EDGES = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
"""The package's order of a cell's edges."""

_ALLOWED = {
    ("analognasbench.data", "Architecture"): Record,
    ("analognasbench.data", "DriftMeasurement"): Record,
}


def installed_file() -> Path:
    """Return the data file of the installed package.

    Raises:
        FormatError: when the package is not installed or its file is missing.
    """
    try:
        path = Path(str(metadata.distribution(PACKAGE).locate_file(FILE)))
    except metadata.PackageNotFoundError:
        path = Path(FILE)
    if not path.is_file():
        raise FormatError(
            f"the data package {PACKAGE}",
            where=path,
            expected=f"{PACKAGE}=={VERSION} installed in this environment",
            got="no such file",
            remedy="Install it as requirements.lock says (pip install --no-deps); it is never imported.",
        )
    return path


def read_baseline(path: Path) -> Iterator[tuple[dict[tuple[int, int], str], float]]:
    """Yield every cell as {edge: official operation name} with its CIFAR-10 test accuracy in percent.

    Raises:
        FormatError: when the file is not, byte for byte, the one that the package published.
    """
    found = sha256(path) if path.is_file() else "no file"
    if found != SHA256:
        raise FormatError(
            f"the sha256 of {PACKAGE}'s data",
            where=path,
            expected=SHA256,
            got=found,
            remedy=f"Reinstall {PACKAGE}=={VERSION}: another version may hold other measurements.",
        )
    with path.open("rb") as file:
        records = load_pickle(file, where=path, allowed=_ALLOWED, max_bytes=BYTES)
    for codes, record in records.items():
        yield dict(zip(EDGES, (OPERATIONS[code] for code in codes), strict=True)), record.baseline_accuracy
