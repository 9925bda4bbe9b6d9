"""One run of the workflow in a folder at a time, and no stale lock after a kill.

Snakemake's lock files outlive `kill -9` and name no process. So a run also holds a lock of the kernel (flock), which
ends with its process however that dies. While nobody holds it, Snakemake's lock files are left over and may go. Jobs
hold such locks too: a job that outlived its killed workflow must not write into the next one's results.
"""

import errno
import fcntl
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from archgauge.errors import ArchgaugeError

FOLDER = Path("results/.running")
RUN = FOLDER / "workflow"
SNAKEMAKE_LOCKS = Path(".snakemake/locks")

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # a network file system that was mounted without locks
_PATIENCE_S = 2.0  # another process may look at a lock for an instant
_RETRY_S = 0.1


class RunError(ArchgaugeError):
    """The workflow cannot start in this folder."""


def clear_stale_locks() -> None:
    """Delete the lock files of killed Snakemake processes, unless a run is alive here; then say which.

    Called whenever Snakemake reads the workflow, for a dry run too, so it must not disturb a run.
    """
    stale = list(SNAKEMAKE_LOCKS.glob("*.lock"))
    if not stale:
        return
    with suppress(PermissionError):  # a look at somebody else's results
        if _is_held(RUN):
            text = f"A run of the workflow is at work in this folder: {_text(RUN)}. Leave its lock, wait for its end."
            print(text, file=sys.stderr)
            return
        for path in stale:
            path.unlink(missing_ok=True)


def hold() -> None:
    """Take the lock of the run until this process ends, and wait for jobs that outlived an earlier run.

    Called when a run is about to start its first job.

    Raises:
        RunError: when another run is alive in this folder, or the folder of results cannot be written.
    """
    try:
        FOLDER.mkdir(parents=True, exist_ok=True)
        descriptor = _open(RUN)
    except OSError as error:
        raise RunError(
            "the folder of results",
            where=error.filename or FOLDER,
            expected="a folder that can be written",
            got=error.strerror,
            remedy="Correct its permissions, or work in a folder of your own (snakemake --directory).",
        ) from error
    if not _locked(descriptor, _PATIENCE_S):
        raise RunError(
            "the lock of the workflow",
            where=Path.cwd(),
            expected="one run at a time",
            got=_text(RUN),
            remedy="Wait for the other run to end, or end it; then run the same command again.",
        )
    _sign(descriptor, f"process {os.getpid()}")
    _wait_for_jobs()


@contextmanager
def job_at_work(name: str) -> Iterator[None]:
    """Let later runs of the workflow see that this job is alive, for as long as the block lasts."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"job-{socket.gethostname()}-{os.getpid()}"
    descriptor = _open(path)
    try:
        _locked(descriptor, _PATIENCE_S)
        _sign(descriptor, f"process {os.getpid()} ({name})")
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _wait_for_jobs() -> None:
    told = False
    while alive := [path for path in FOLDER.glob("job-*") if _is_held(path)]:
        if not told:
            names = "; ".join(_text(path) for path in alive)
            print(f"Waiting for what an earlier run, now dead, left at work: {names}", file=sys.stderr, flush=True)
            told = True
        time.sleep(_RETRY_S)


def _is_held(path: Path) -> bool:
    """Say whether a living process holds the lock. Nobody's file stays: deleting it could take it from a starter."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _locked(descriptor, 0)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _locked(descriptor: int, patience_s: float) -> bool:
    """Lock until the descriptor is closed. Where the file system has no locks, Snakemake's own have to do."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_RETRY_S)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return True
            raise


def _sign(descriptor: int, text: str) -> None:
    with suppress(OSError):  # on a full disk the lock holds without its text
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{text} on {socket.gethostname()} since {datetime.now():%Y-%m-%d %H:%M:%S}".encode(), 0)


def _text(path: Path) -> str:
    try:
        return path.read_text() or "a process that left no name"
    except OSError:
        return "a process that has just ended"
