"""The official files of NATS-Bench's topology space, which is NAS-Bench-201 (Dong et al. 2021, arXiv 2009.00437).

Three layouts hold the same records:
- a folder `NATS-tss-v1_0-3ffb9-simple` with `meta.pickle.pbz2` and one `000000.pickle.pbz2` an architecture;
- the tar of that folder, read in place;
- the whole benchmark in one `NATS-tss-v1_0-3ffb9.pickle.pbz2`, which needs some tens of GB of memory.

An architecture's record is {"12" and "200": {"arch_index", "arch_str", "all_results": {(data set, seed): run}}}. A run
holds `epochs` and `eval_acc1es`, accuracies in percent by "set@epoch", epochs counted from 0.
"""

import bz2
import re
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from tqdm import tqdm

from archgauge.errors import FormatError
from archgauge.formats.pickles import NUMPY_SCALARS, Allowed, Readable, load_pickle

_T = TypeVar("_T")

SETS = {
    ("cifar10", "ori-test"): "cifar10/test",
    ("cifar10-valid", "x-valid"): "cifar10/validation",  # trained on 25,000 images, tested on the other 25,000
    ("cifar100", "x-test"): "cifar100/test",
    ("cifar100", "x-valid"): "cifar100/validation",
    ("ImageNet16-120", "x-test"): "imagenet16-120/test",
    ("ImageNet16-120", "x-valid"): "imagenet16-120/validation",
}
"""(training set, evaluated set) in the files -> our name. Other pairs mix validation and test images."""

_SUFFIX = ".pickle.pbz2"
_SIMPLE_NAME = re.compile(r"(\d{6}|meta)\.pickle\.pbz2")
_ALLOWED: Allowed = {("collections", "OrderedDict"): dict, **NUMPY_SCALARS}  # a dict keeps its order, too
_ONE_MAX_BYTES = 2**24
_WHOLE_MAX_BYTES = 2**36

Row = tuple[int, str, str, float]
"""(official index, architecture string, label without source, accuracy in percent)."""


def read_accuracies(path: Path) -> Iterator[Row]:
    """Yield the final accuracy of every run and the mean over an architecture's runs.

    Labels are "cifar10/test@200/run0" and so on. Runs are counted by ascending seed; there are 1 to 3 an architecture.

    Raises:
        FormatError: when a file is corrupt, hostile, truncated or missing, or its content is not of this format.
    """
    if path.is_dir():
        yield from _simple(_folder_files(path), path)
    elif path.name.endswith(".tar"):
        yield from _simple(_tar_files(path), path)
    elif path.name.endswith(_SUFFIX):
        yield from _whole(path)
    else:
        raise FormatError(
            "the official files of NATS-Bench",
            where=path,
            expected=f"a folder or .tar of the simple layout, or the whole benchmark as *{_SUFFIX}",
            got="another kind of file" if path.exists() else "nothing there",
            remedy="Give NATS-tss-v1_0-3ffb9-simple, as a folder or as the .tar that its authors publish.",
        )


def _folder_files(folder: Path) -> Iterator[tuple[str, Readable]]:
    for path in sorted(folder.iterdir()):
        if path.is_file():
            with path.open("rb") as file:
                yield path.name, file


def _tar_files(path: Path) -> Iterator[tuple[str, Readable]]:
    """Yield members in the archive's order. Nothing is written to disk, so a member's path can do no harm."""
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                file = tar.extractfile(member)
                if file is not None:
                    yield Path(member.name).name, file
    except (tarfile.TarError, OSError, EOFError) as error:
        raise FormatError(
            "a tar of NATS-Bench",
            where=path,
            expected="a whole uncompressed tar",
            got=f"{type(error).__name__}: {error}",
            remedy="The file is truncated or corrupt: fetch it again.",
        ) from error


def _simple(files: Iterator[tuple[str, Readable]], where: Path) -> Iterator[Row]:
    strings: list[str] | None = None
    found: dict[int, str] = {}
    for name, file in tqdm(files, desc=where.name, unit=" files", mininterval=5):
        match = _SIMPLE_NAME.fullmatch(name)
        if not match:
            continue
        inside = where / name
        content = _unpacked(file, inside, _ONE_MAX_BYTES)
        if match[1] == "meta":
            strings = _checked(inside, _strings, content)
        else:
            rows = _checked(inside, _architecture, content)
            found[int(match[1])] = rows[0][1] if rows else ""
            yield from rows
    _check_complete(where, strings, found)


def _check_complete(where: Path, strings: list[str] | None, found: dict[int, str]) -> None:
    """Compare with the list in meta.pickle.pbz2: a half-unpacked folder must not pass for the benchmark."""
    wanted = dict(enumerate(strings or []))
    if strings is not None and wanted == found:
        return
    wrong = [f"{index:06d}{_SUFFIX}" for index, string in wanted.items() if found.get(index) != string]
    raise FormatError(
        "the simple layout of NATS-Bench",
        where=where,
        expected="meta.pickle.pbz2" if strings is None else f"the {len(strings)} architectures of meta.pickle.pbz2",
        got=f"{len(found)} architectures; missing or different: {', '.join(wrong[:3]) or 'meta.pickle.pbz2'}",
        remedy="Unpack or fetch NATS-tss-v1_0-3ffb9-simple.tar again.",
    )


def _whole(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        content = _unpacked(file, path, _WHOLE_MAX_BYTES)
    for record in _checked(path, _records, content):
        yield from _checked(path, _architecture, record)


def _unpacked(file: Readable, where: Path, max_bytes: int) -> Any:
    with bz2.BZ2File(cast(BinaryIO, file)) as unpacked:
        return load_pickle(unpacked, where=where, allowed=_ALLOWED, max_bytes=max_bytes)


def _strings(meta: dict[str, Any]) -> list[str]:
    return list(meta["meta_archs"])


def _records(benchmark: dict[str, Any]) -> list[dict[str, Any]]:
    return list(benchmark["arch2infos"].values())


def _architecture(record: dict[str, Any]) -> list[Row]:
    """Return the rows of one architecture's record."""
    rows = []
    for epochs, content in record.items():
        index, string = int(content["arch_index"]), str(content["arch_str"])
        values: dict[str, list[float]] = {}
        for (data_set, _), run in sorted(content["all_results"].items()):
            for (trained, evaluated), name in SETS.items():
                if trained == data_set:
                    accuracy = run["eval_acc1es"][f"{evaluated}@{int(run['epochs']) - 1}"]
                    values.setdefault(f"{name}@{int(epochs)}", []).append(float(accuracy))
        for label, runs in values.items():
            rows += [(index, string, f"{label}/run{position}", value) for position, value in enumerate(runs)]
            rows.append((index, string, f"{label}/mean", sum(runs) / len(runs)))
    return rows


def _checked(where: Path, extract: Callable[[Any], _T], content: Any) -> _T:
    """Call `extract` on what a file holds; what it does not find is the file's fault."""
    try:
        return extract(content)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(
            "the content of a NATS-Bench file",
            where=where,
            expected="the records of NATS-tss v1.0",
            got=f"{type(error).__name__}: {error}",
            remedy="The file is of another format or version: give NATS-tss-v1_0-3ffb9.",
        ) from error
