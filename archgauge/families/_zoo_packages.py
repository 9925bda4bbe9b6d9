"""What the packages `pytorchcv` and `torchvision` carry: published networks, their errors, and their printed costs."""

import ast
import importlib
import importlib.metadata
import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from archgauge.errors import ConfigError, FormatError

if TYPE_CHECKING:  # the workflow asks families for their label sources on every call: it should not wait for torch
    from torch import nn

DATA_SETS = {"cifar10": "cifar10", "cifar100": "cifar100", "svhn": "svhn"}
_STORE = Path("models", "model_store.py")
_LARGEST_STORE = 2**24  # bytes
_OTHER_TASK = re.compile(
    r"_(voc|coco|ade20k|cityscapes|celebamaskhq|widerface)$"  # segmentation, poses, detection
    r"|^(prnet|pfpcnet|voca8flame|nvpattexp116bazel76|superpointnet|jasper|quartznet)"  # faces, key points, speech
)
_LOG = re.compile(r"/([A-Za-z0-9_]+)-\d{4}-[0-9a-f]{8}\.\w+\.log\)")


class StoredModel(NamedTuple):
    """A row of pytorchcv's model store.

    Attributes:
        name: of the network, which also names its data set ("resnet20_svhn"; ImageNet-1k without a suffix).
        data_set: "imagenet", "cifar10", "cifar100" or "svhn".
        error_pct: top-5 error on ImageNet-1k's validation set, top-1 error on the others' test sets.
        pixels: height and width of the images, or 0 where the store does not say.
    """

    name: str
    data_set: str
    error_pct: float
    pixels: int


class PrintedModel(NamedTuple):
    """A row of the tables that pytorchcv's documentation prints.

    Attributes:
        error_pct: top-1.
        flops_m: millions of "FLOPs/2".
    """

    name: str
    error_pct: float
    params: int
    flops_m: float


def stored_models(folder: Path | None = None) -> list[StoredModel]:
    """The classifiers of pytorchcv's model store on ImageNet-1k, CIFAR-10, CIFAR-100 and SVHN.

    The table is read from the source text: nothing is imported or run.

    Args:
        folder: of the package; the installed one by default.

    Raises:
        ConfigError: when the package is not installed.
        FormatError: when the file holds no such table.
    """
    path = (folder or _folder("pytorchcv")) / _STORE
    try:
        if path.stat().st_size > _LARGEST_STORE:
            raise ValueError(f"{path.stat().st_size:,} bytes")
        table = max((n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.List)), key=_length)
        rows = [_stored(*ast.literal_eval(row)) for row in table.elts]
    except (OSError, SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise FormatError(
            "the model store of pytorchcv",
            where=path,
            expected="a list of tuples (name, error x 100, sha1, release, caption, paper, data set, pixels, ...)",
            got=f"{type(error).__name__}: {error}",
            remedy="Install pytorchcv 0.0.67, or give the folder of the package.",
        ) from error
    return [row for row in rows if row is not None]


def _stored(
    name: str, error: str, sha1: str, release: str, caption: str, paper: str, data: str, pixels: int, *rest: object
) -> StoredModel | None:
    suffix = name.rpartition("_")[2]
    data_set = "imagenet" if data == "in1k" else DATA_SETS.get(suffix) if data == "cf" else None
    return None if data_set is None else StoredModel(name, data_set, int(error) / 100, int(pixels))


def _length(node: ast.List) -> int:
    return len(node.elts)


def printed_models() -> list[PrintedModel]:
    """The rows for these data sets of the tables in pytorchcv's own description.

    Raises:
        ConfigError: when the package is not installed.
    """
    try:
        text = importlib.metadata.metadata("pytorchcv").json["description"]
    except importlib.metadata.PackageNotFoundError as error:
        raise _missing("pytorchcv") from error
    rows, wanted = [], False
    for line in str(text).splitlines():
        if line.startswith("### "):
            wanted = line[4:] in ("ImageNet-1K", "CIFAR-10", "CIFAR-100", "SVHN")
        named = _LOG.search(line)
        if wanted and line.startswith("|") and named:
            cells = [cell.strip() for cell in line.split("|")]
            params, flops = int(cells[-4].replace(",", "")), float(cells[-3].rstrip("M").replace(",", ""))
            rows.append(PrintedModel(named[1], float(cells[2]), params, flops))
    return rows


def classifiers() -> list[str]:
    """Every image classifier that pytorchcv's code has, with published weights or without.

    Raises:
        ConfigError: when the package is not installed.
    """
    return [name for name in package("pytorchcv.model_provider")._models if not _OTHER_TASK.search(name)]


def pytorchcv_network(name: str) -> "nn.Module":
    """A network of pytorchcv's code, untrained.

    Raises:
        ConfigError: when the package is not installed.
        KeyError: when it has no network of that name.
    """
    provider = package("pytorchcv.model_provider")
    with _numpy_with_int():
        return provider._models[name]()


@contextmanager
def _numpy_with_int() -> Iterator[None]:
    """RegNet's code asks for `np.int`, which numpy has had no more since 1.24."""
    lacking = "int" not in vars(np)
    if lacking:
        np.int = int  # type: ignore[attr-defined]  # noqa: NPY001
    try:
        yield
    finally:
        if lacking:
            del np.int  # type: ignore[attr-defined]  # noqa: NPY001


def package(name: str) -> ModuleType:
    """A module of a package.

    Raises:
        ConfigError: when the package is not installed, or does not import.
    """
    try:
        return importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:  # a torchvision of another torch lacks its operators
        raise _missing(name.partition(".")[0], f"{type(error).__name__}: {error}") from error


def _folder(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise _missing(name)
    return Path(found.submodule_search_locations[0])


def _missing(name: str, got: str = "no such package") -> ConfigError:
    return ConfigError(
        f"the package {name}",
        where="families.zoo",
        expected="it to be installed, of a version that fits torch's",
        got=got,
        remedy=f"pip install {name}, or leave its label source out.",
    )
