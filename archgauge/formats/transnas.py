"""The official file of TransNAS-Bench-101, transnas-bench_v10141024.pth (Duan et al. 2021, arXiv 2105.11871).

It is a dict saved by `torch.save`, without a tensor in it:
{"metrics_dict": {task: [metric]}, "info_names": [...], "task_list": [...],
 "data": {"macro" or "micro": {architecture: {task: {"model_info": {...}, "metrics": {metric: [value an epoch]},
 "total_epochs": int}}}}}.

`torch.save` has two layouts, and both are read: a zip with the pickle in `<name>/data.pkl`, and the older stream of
five pickles (magic number, version of the protocol, byte order, the object, keys of the tensors). PyTorch itself does
not touch the file.
"""

import io
import mmap
import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from archgauge.errors import FormatError
from archgauge.formats.pickles import NUMPY_SCALARS, Allowed, Readable, load_pickle

Curves = dict[tuple[str, str], list[float]]
"""(split, metric) -> value after each epoch; percent for top1, acc and mIoU."""

METRICS = {
    "class_scene": ("top1",),
    "class_object": ("top1",),
    "room_layout": ("neg_loss",),
    "jigsaw": ("top1",),
    "segmentsemantic": ("acc", "mIoU"),
    "normal": ("ssim",),
    "autoencoder": ("ssim",),
}
"""Task -> what is read of it, the benchmark's name without the split."""

_SPLITS = {"valid": "validation", "test": "test"}


def _bytes(text: str, encoding: str) -> bytes:
    """How the pickle protocol of torch.save spells the bytes of a numpy number."""
    if encoding != "latin1":
        raise ValueError(f"bytes encoded as {encoding}")
    return text.encode("latin1")


_ALLOWED: Allowed = {("collections", "OrderedDict"): dict, ("_codecs", "encode"): _bytes, **NUMPY_SCALARS}
_MAX_BYTES = 2**31
_ZIP_START = b"PK\x03\x04"
_HEAD_PICKLES = 3
_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C  # of torch.save's older layout
_NO_TENSORS = b"\x80\x02]q\x00."  # the older layout's last pickle, an empty list


def read_runs(path: Path, space: str) -> Iterator[tuple[str, dict[str, Curves]]]:
    """Yield (the benchmark's architecture string, curves of each task) of one space.

    Args:
        space: "micro" or "macro".

    Raises:
        FormatError: when the file is truncated, corrupt, hostile or of another format.
    """
    content = _content(path)
    try:
        for arch, tasks in content["data"][space].items():
            yield str(arch), {task: _curves(tasks[task]["metrics"], task) for task in METRICS}
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(
            "the content of TransNAS-Bench-101's file",
            where=path,
            expected=f"the {space} records of transnas-bench_v10141024.pth",
            got=f"{type(error).__name__}: {error}",
            remedy="The file is of another format or version: give transnas-bench_v10141024.pth.",
        ) from error


def _curves(metrics: dict[str, Any], task: str) -> Curves:
    curves = {
        (name, metric): [float(value) for value in metrics[f"{split}_{metric}"]]
        for split, name in _SPLITS.items()
        for metric in METRICS[task]
    }
    if not all(curves.values()):
        raise ValueError(f"no epochs of {task}")
    return curves


def _content(path: Path) -> Any:
    """The saved object."""
    try:
        with path.open("rb") as file:
            if file.read(len(_ZIP_START)) == _ZIP_START:
                return _zipped(path)
            return _streamed(path)
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, ValueError) as error:
        raise FormatError(
            "the file of TransNAS-Bench-101",
            where=path,
            expected="a whole file as torch.save writes it, without tensors",
            got=f"{type(error).__name__}: {error}",
            remedy="The file is truncated, corrupt or not of this format: fetch transnas-bench_v10141024.pth again.",
        ) from error


def _zipped(path: Path) -> Any:
    """Nothing is written to disk, so that a member's name can do no harm."""
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise ValueError(f"a zip with {len(pickles)} members data.pkl")
        with archive.open(pickles[0]) as file:
            return _loaded(file, path)


def _streamed(path: Path) -> Any:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[-len(_NO_TENSORS) :] != _NO_TENSORS:
            raise ValueError("an end that is not an empty list of tensors")
        ends = [0]
        for _ in range(_HEAD_PICKLES):
            file.seek(ends[-1])
            for _ in pickletools.genops(file):  # reads one pickle and runs nothing
                pass
            ends.append(file.tell())
        if _loaded(io.BytesIO(data[: ends[1]]), path) != _MAGIC_NUMBER:
            raise ValueError("another number than torch.save's at its start")
        return _loaded(io.BytesIO(data[ends[-1] : -len(_NO_TENSORS)]), path)


def _loaded(file: Readable, path: Path) -> Any:
    return load_pickle(file, where=path, allowed=_ALLOWED, max_bytes=_MAX_BYTES)
