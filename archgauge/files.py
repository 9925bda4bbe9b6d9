"""Files: written so that a half-written one is never taken for whole, and found where a download left them."""

import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it to `path` when the block ends without an exception.

    The data reaches the disk before the name does, so a crash leaves either the old file or the new one.
    The temporary name starts with a dot and ends in `.part`; it is removed when the block raises.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def sha256(path: str | Path) -> str:
    """Return the hexadecimal SHA-256 of a file's content."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def published_file(given: Sequence[Path]) -> Path | None:
    """What a family's reader is called with.

    Args:
        given: a file or folder, the sign of a finished download, or nothing where the source finds it itself.
    """
    if given and given[0].suffix == ".ready":
        return given[0].with_suffix("")
    return given[0] if given else None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
