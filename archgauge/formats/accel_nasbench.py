"""The official data of Accel-NASBench (Ahmad et al. 2024, arXiv 2404.08005): one JSON file for each trained network.

`anb_dataset_jsons.tar.gz` of github.com/afzalxo/Accel-NASBench, or the folder that it unpacks to, has some 5,100
`result_<number>.json`: "architecture" {block0_e, block0_k, block0_l, block0_se, ..., block6_se}, "metrics" {val_top1,
val_top5 (percent), train_time (s)} and "platform_perf" {throughput_a100: {throughput_mean (images/s), ...}, ...,
latency_zcu102: {latency_mean (ms), ...}}. The names are those that the authors' loader and converter use.
"""

import gzip
import json
import math
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from archgauge.errors import FormatError

BLOCKS = 7
ARCHITECTURE = tuple(f"block{block}_{attribute}" for block in range(BLOCKS) for attribute in ("e", "k", "l", "se"))
METRICS = ("val_top1", "val_top5", "train_time")
DEVICE_METRICS = (
    *(f"throughput_{device}" for device in ("a100", "3090", "tpuv2", "tpuv3", "zcu102", "vck190")),
    *(f"latency_{device}" for device in ("zcu102", "vck190")),
)

_NAME = re.compile(r"result_(\d{1,6})\.json")
_TRUTH = {True: True, False: False, "True": True, "False": False}
_ONE_MAX_BYTES = 2**16
_ALL_MAX_BYTES = 2**28


def read_results(path: Path) -> Iterator[dict[str, Any]]:
    """Yield each network, by ascending number, as {name: value}.

    The names are those of `ARCHITECTURE`, `METRICS` and `DEVICE_METRICS`; a device that lacks a network has None.

    Raises:
        FormatError: when a file is corrupt, hostile, truncated or missing, or its content is not of this format.
    """
    contents: dict[int, bytes] = {}
    for number, content in _folder_files(path) if path.is_dir() else _tar_files(path):
        if number in contents:
            raise _wrong(path, "one file for each number", f"a second result_{number}.json")
        contents[number] = content
    if not contents:
        raise _wrong(path, "files result_<number>.json in a folder or a .tar.gz", "none")
    for number in sorted(contents):
        yield _parsed(contents[number], f"{path}, result_{number}.json")


def _folder_files(folder: Path) -> Iterator[tuple[int, bytes]]:
    for path in sorted(folder.rglob("result_*.json")):
        match = _NAME.fullmatch(path.name)
        if match and path.is_file():
            with path.open("rb") as file:
                yield int(match[1]), _content(file, path)


def _tar_files(path: Path) -> Iterator[tuple[int, bytes]]:
    """Read the archive in place: nothing is unpacked to disk, and no more than `_ALL_MAX_BYTES` to memory."""
    try:
        with gzip.open(path) as unpacked:
            limited = _Limited(unpacked, path)
            with tarfile.open(fileobj=cast(IO[bytes], limited), mode="r|") as tar:
                for member in tar:
                    inside = PurePosixPath(member.name)
                    if inside.is_absolute() or ".." in inside.parts:
                        raise _wrong(path, "names inside the archive's own folder", repr(member.name))
                    match = _NAME.fullmatch(inside.name)
                    file = tar.extractfile(member) if match and member.isreg() else None
                    if match and file:
                        yield int(match[1]), _content(file, f"{path}, {member.name}")
            while limited.read(_ONE_MAX_BYTES):  # the checksum stands behind the end of the tar
                pass
    except (tarfile.TarError, zlib.error, OSError, EOFError, ValueError) as error:
        raise _wrong(path, "a whole .tar.gz", f"{type(error).__name__}: {error}") from error


class _Limited:
    """A stream that ends in an error when more comes out of it than the archive can hold."""

    def __init__(self, file: gzip.GzipFile, where: Path):
        self._file, self._where, self._left = file, where, _ALL_MAX_BYTES

    def read(self, size: int) -> bytes:
        """Up to `size` bytes."""
        data = self._file.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise _wrong(self._where, f"at most {_ALL_MAX_BYTES:,} bytes unpacked", "more")
        return data


def _content(file: IO[bytes], where: object) -> bytes:
    content = file.read(_ONE_MAX_BYTES + 1)
    if len(content) > _ONE_MAX_BYTES:
        raise _wrong(where, f"at most {_ONE_MAX_BYTES:,} bytes", "more")
    return content


def _parsed(content: bytes, where: str) -> dict[str, Any]:
    try:
        result = json.loads(content)
        architecture, metrics, devices = (result[key] for key in ("architecture", "metrics", "platform_perf"))
        row: dict[str, Any] = {}
        for name in ARCHITECTURE:
            row[name] = _TRUTH[architecture[name]] if name.endswith("se") else _whole(architecture[name])
        for name in METRICS:
            row[name] = _positive(metrics[name])
        for name in DEVICE_METRICS:
            measured = devices.get(name) or {}
            mean = measured.get(f"{name.split('_')[0]}_mean")
            row[name] = None if mean is None or math.isnan(mean) else _positive(mean)
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        expected = "an architecture of 7 blocks, metrics, and platform_perf, with positive numbers"
        raise _wrong(where, expected, f"{type(error).__name__}: {str(error)[:200]}") from error
    return row


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is no whole number")
    return value


def _positive(value: Any) -> float:
    if type(value) not in (int, float) or not 0 < value < math.inf:
        raise ValueError(f"{value!r} is no positive number")
    return float(value)


def _wrong(where: object, expected: str, got: str) -> FormatError:
    return FormatError(
        "the data of Accel-NASBench",
        where=where,
        expected=expected,
        got=got,
        remedy="Fetch anb_dataset_jsons.tar.gz again, or unpack it into an empty folder.",
    )
