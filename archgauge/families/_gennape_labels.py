"""Accuracies of HiAML, Two-Path and Inception, from the files that GENNAPE's authors publish.

Labels are CIFAR-10 test accuracies in percent, of networks trained from scratch for E epochs:
- `cifar10/test@E/max` is the file's `max_perf`, the number that the paper predicts;
- `cifar10/test@E/perf<i>` is entry i of the file's list `perfs`. No text says what the entries are. The authors' code
  sets the last of them beside the maximum, so they are in an order, and nothing says that they are separate runs:
  that is why they are not named so.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from archgauge.download import Remote
from archgauge.errors import FormatError, SpecError
from archgauge.families._common import labels
from archgauge.formats import gennape

CG_DATA = Remote(
    sources=(
        "https://huggingface.co/datasets/kgmills/GENNAPE/resolve/main/CG_data.zip",
        # A folder, which no program can fetch from: the error of the download says what to take out of it by hand.
        "https://drive.google.com/drive/folders/1nTj8g6XbIU_PYvOBaXjylBHmgo-3okra",
    )
)
"""The zip with the labelled networks of all three families and the caches of others. No size or hash is published."""

LICENCE = "MIT"
CITATION = (
    "Mills, Han, Zhang, Chudak, Mamaghani, Salameh, Lu, Jui, Niu: GENNAPE: Towards Generalized Neural Architecture "
    "Performance Estimators. AAAI 2023."
)


def read(path: Path, file_name: str, epochs: int, arch_id_of: Callable[[Any], str]) -> pa.Table:
    """LABELS of one family.

    Args:
        path: CG_data.zip, or the JSON file itself.
        file_name: the JSON file's name inside the zip.
        epochs: how long the networks were trained.
        arch_id_of: from the authors' configuration; raises SpecError.

    Raises:
        FormatError: when the file is damaged, a configuration is not of the family, or one network comes twice.
        TableError: when an accuracy is no percentage.
    """
    return labels(_rows(path, file_name, epochs, arch_id_of), path)


def specs(path: Path, file_name: str, spec_of: Callable[[Any], str]) -> list[str]:
    """The specs of the networks of one family, in the order of the file; raises as `read`."""
    return [spec for _, spec in _named(path, file_name, spec_of)]


def _named(path: Path, file_name: str, name_of: Callable[[Any], str]) -> Iterator[tuple[gennape.LabelledNetwork, str]]:
    """Each network of a file with what its configuration is called."""
    for network in gennape.read_labelled(path, file_name):
        try:
            yield network, name_of(network.config)
        except SpecError as error:
            raise FormatError(
                "the net_config of a labelled network",
                where=f"{path}, key {network.key!r}",
                expected=error.expected,
                got=error.got,
                remedy="The file is of another family or form than the authors' code writes.",
            ) from error


def _rows(
    path: Path, file_name: str, epochs: int, arch_id_of: Callable[[Any], str]
) -> Iterator[tuple[str, str, float, str]]:
    keys: dict[str, str] = {}
    for network, arch_id in _named(path, file_name, arch_id_of):
        if arch_id in keys:
            raise FormatError(
                "the architectures of a file of labelled networks",
                where=f"{path}, key {network.key!r}",
                expected="each architecture once",
                got=f"{arch_id} again, which key {keys[arch_id]!r} has",
                remedy="The file was merged from two: keep one of the entries.",
            )
        keys[arch_id] = network.key
        yield arch_id, f"cifar10/test@{epochs}/max", network.max_perf, "percent"
        for position, value in enumerate(network.perfs):
            yield arch_id, f"cifar10/test@{epochs}/perf{position}", value, "percent"
