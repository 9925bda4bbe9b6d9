"""The files of a folder or of a zip archive, read in place: nothing is unpacked, so no name in it can do harm."""

import json
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from archgauge.errors import FormatError


def members(path: Path, wanted: Callable[[str], bool], max_bytes: int) -> Iterator[tuple[str, bytes]]:
    """Yield (name relative to `path`, content) of the wanted files, sorted by name.

    Args:
        path: a folder, a zip archive, or one file, which is yielded whatever its name.
        wanted: tells by a file's name without its folder.
        max_bytes: the most that one file may hold.

    Raises:
        FormatError: when there is nothing at `path`, a file is larger, or an archive is corrupt or a name in it leads
            out of it.
    """
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file() and wanted(file.name):
                with file.open("rb") as stream:
                    yield file.relative_to(path).as_posix(), _content(stream, file, max_bytes)
    elif not path.is_file():
        raise _damaged(path, "nothing there")
    elif not zipfile.is_zipfile(path):
        with path.open("rb") as stream:
            yield path.name, _content(stream, path, max_bytes)
    else:
        try:
            with zipfile.ZipFile(path) as archive:
                for name in _names(archive, path, wanted):
                    with archive.open(name) as stream:
                        content = _content(cast(BinaryIO, stream), path / name, max_bytes)
                    yield name, content
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
            raise _damaged(path, f"{type(error).__name__}: {error}") from error


def _names(archive: zipfile.ZipFile, path: Path, wanted: Callable[[str], bool]) -> list[str]:
    names = sorted(archive.namelist())
    if len(set(names)) != len(names):
        raise _damaged(path, "one name twice")
    for name in names:
        if ".." in PurePosixPath(name.replace("\\", "/")).parts or name.startswith(("/", "\\")):
            raise _damaged(path, f"the name {name!r}, which leads out of the archive")
    return [name for name in names if not name.endswith("/") and wanted(PurePosixPath(name).name)]


def _content(file: BinaryIO, where: Path, max_bytes: int) -> bytes:
    content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise _damaged(where, f"a file of more than {max_bytes:,} bytes")
    return content


def load_json(content: bytes, where: object) -> Any:
    """Read one JSON document.

    Raises:
        FormatError: when it is corrupt or nested too deep.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise FormatError(
            "a JSON file",
            where=where,
            expected="one whole document",
            got=f"{type(error).__name__}: {error}",
            remedy="The file is truncated, corrupt or not of this format: fetch it again.",
        ) from error


def _damaged(path: Path, got: str) -> FormatError:
    return FormatError(
        "a benchmark's files",
        where=path,
        expected="a folder, a whole zip archive, or one file",
        got=got,
        remedy="Fetch it again from its authors.",
    )
