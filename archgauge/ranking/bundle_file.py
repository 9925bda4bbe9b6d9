"""A bundle's file: JSON documents and plain numbers in a ZIP archive. Nothing in it is ever run or unpickled.

`manifest.json` names the format, its version, and each other member with its size and SHA-256; of an array also its
type and shape. Members are stored as they are, so that no archive unpacks to more than it weighs, and the same content
is the same file, byte for byte.
"""

import hashlib
import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from archgauge.errors import BundleError
from archgauge.files import whole_file

FORMAT = "archgauge-bundle"
VERSION = 2
LARGEST_FILE = 2**28  # bytes
MOST_MEMBERS = 1000
_MANIFEST = "manifest.json"
_NO_DATE = (1980, 1, 1, 0, 0, 0)
_TYPES = {"float64": "<f8", "int64": "<i8"}


def write_bundle_file(path: str | Path, documents: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write JSON documents and arrays (float64 or int64), each by its name."""
    members = {f"{name}.json": _json(content) for name, content in documents.items()}
    members |= {f"arrays/{name}": values.astype(_TYPES[str(values.dtype)]).tobytes() for name, values in arrays.items()}
    told = {name: {"bytes": len(content), "sha256": _sha256(content)} for name, content in members.items()}
    for name, values in arrays.items():
        told[f"arrays/{name}"] |= {"type": str(values.dtype), "shape": list(values.shape)}
    manifest = _json({"format": FORMAT, "version": VERSION, "members": told})
    with whole_file(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, content in {_MANIFEST: manifest, **members}.items():
            archive.writestr(zipfile.ZipInfo(name, _NO_DATE), content)


def read_bundle_file(path: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read what `write_bundle_file` wrote.

    Raises:
        BundleError: when the file is missing, damaged, cut off, of another version, or no bundle at all.
    """
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ValueError(f"{path.stat().st_size:,} bytes")
        with zipfile.ZipFile(path) as archive:
            members = _members(archive)
        manifest = _document(members.pop(_MANIFEST))
        _check_version(manifest, path)
        told = manifest["members"]
        if set(told) != set(members):
            raise ValueError(f"members {sorted(set(told) ^ set(members))[:3]} that are named or there, not both")
        for name, content in members.items():
            if told[name]["bytes"] != len(content) or told[name]["sha256"] != _sha256(content):
                raise ValueError(f"{name} with another content than the manifest says")
        documents = {
            name.removesuffix(".json"): _document(content) for name, content in members.items() if "/" not in name
        }
        arrays = {
            name.removeprefix("arrays/"): _array(content, told[name])
            for name, content in members.items()
            if name.startswith("arrays/")
        }
    except BundleError:
        raise
    except (OSError, zipfile.BadZipFile, ArithmeticError, LookupError, TypeError, ValueError, AttributeError,
            NotImplementedError, RuntimeError, MemoryError, EOFError) as error:  # fmt: skip
        raise broken(path, error) from error
    return documents, arrays


def broken(path: Path, error: Exception) -> BundleError:
    """The error for a file that is no whole bundle."""
    return BundleError(
        "a predictor bundle",
        where=path,
        expected="a whole file as the rule `bundle` writes it",
        got=f"{type(error).__name__}: {str(error)[:200]}",
        remedy="Make it again with `snakemake results/bundle/archgauge.bundle`, or name another with --bundle.",
    )


def _check_version(manifest: Any, path: Path) -> None:
    if manifest["format"] != FORMAT or manifest["version"] != VERSION:
        raise BundleError(
            "the version of a predictor bundle",
            where=path,
            expected=f"{FORMAT} {VERSION}",
            got=f"{manifest['format']} {manifest['version']}"[:200],
            remedy="Use the version of Archgauge that made it, or make it again with this one.",
        )


def _members(archive: zipfile.ZipFile) -> dict[str, bytes]:
    """The content of all members, by name."""
    entries = archive.infolist()
    if len(entries) > MOST_MEMBERS or len({entry.filename for entry in entries}) != len(entries):
        raise ValueError(f"{len(entries):,} members, too many or of equal names")
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size for entry in entries):
        raise ValueError("compressed members")
    if sum(entry.file_size for entry in entries) > LARGEST_FILE:
        raise ValueError("members larger than the file")
    return {entry.filename: archive.read(entry) for entry in entries}


def _document(content: bytes) -> Any:
    return json.loads(content.decode(), parse_constant=_refused)


def _refused(constant: str) -> None:
    raise ValueError(f"the number {constant}")


def _array(content: bytes, told: Mapping[str, Any]) -> np.ndarray:
    shape = [int(size) for size in told["shape"]]
    dtype = np.dtype(_TYPES[told["type"]])
    if min(shape, default=1) < 0 or math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError(f"an array of shape {shape} in {len(content):,} bytes")
    values = np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="))
    if not np.isfinite(values).all():
        raise ValueError("a number that is not finite")
    return values


def _json(content: Any) -> bytes:
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
