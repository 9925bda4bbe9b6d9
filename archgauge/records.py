"""Every job's record on disk, written whether or not any server exists.

A record is a folder that its job alone writes:

    <folder>/<record_id>/record.json     settings, origin, artifacts, status; replaced whole
    <folder>/<record_id>/metrics.jsonl   one metric a line, appended; a torn line counts as never written
    <folder>/<record_id>/artifacts/      copies of the small artifacts, so that MLflow can be rebuilt

`archgauge.tracking` shows the records in MLflow.
"""

import hashlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from archgauge.errors import ArchgaugeError
from archgauge.files import sha256, whole_file

ARTIFACT_LIMIT_BYTES = 10_000_000  # larger artifacts are named in the record and not copied
TICK_S = 5.0  # a job's sign of life; also how long a job lasts before it looks for a live sender
SILENT_S = 600.0  # a job of another machine that gave no sign of life for so long has died
_FIELDS = {
    *("record_id", "job", "experiment", "settings", "fingerprint", "commit", "host", "device", "process"),
    *("start_time_ms", "end_time_ms", "status", "error", "artifacts"),
}
_RETRY_LIMIT_S = 300.0  # longest pause before a job starts another live sender in place of one that died


class TrackingError(ArchgaugeError):
    """A record could not be written or read, or the MLflow database cannot be used."""


class Record:
    """The record of one running job. `open_record` makes it; only the process that made it may write.

    Attributes:
        record_id: unique, and sorts by start time.
        path: the record's folder.
    """

    def __init__(self, path: Path, fields: dict[str, Any]):
        self.record_id, self.path, self._fields = path.name, path, fields
        self._torn = False
        self._write()
        with _told(self.path):
            self._metrics = (path / "metrics.jsonl").open("ab", buffering=0)

    def metric(self, name: str, value: float, step: int = 0) -> None:
        """Append one number. It survives a kill of the job from here on.

        Raises:
            TrackingError: when the disk does not take it.
        """
        line = {"name": name, "value": float(value), "step": int(step), "time_ms": _now_ms()}
        data = (b"\n" if self._torn else b"") + json.dumps(line, separators=(",", ":")).encode() + b"\n"
        with _told(self.path):
            written = self._metrics.write(data)
            self._torn = written != len(data)
            if self._torn:
                raise OSError(f"{written} of {len(data)} bytes written")

    def artifact(self, path: str | Path) -> None:
        """Name a file that the job made; a copy of up to `ARTIFACT_LIMIT_BYTES` is kept. Naming it again updates it.

        Raises:
            TrackingError: when `path` is not a file, or the disk does not take the copy.
        """
        path = Path(path)
        if not path.is_file():
            raise TrackingError(
                "an artifact", where=path, expected="a file", got="none", remedy="Write the file before recording it."
            )
        artifacts = self._fields["artifacts"]
        known = [name for name, entry in artifacts.items() if entry["path"] == str(path)]
        name = known[0] if known else path.name
        if name in artifacts and not known:
            name = f"{len(artifacts)}-{name}"
        size = path.stat().st_size
        with _told(self.path):
            if size <= ARTIFACT_LIMIT_BYTES:
                with whole_file(self.path / "artifacts" / name) as copy:
                    shutil.copyfile(path, copy)
            copied = size <= ARTIFACT_LIMIT_BYTES
            artifacts[name] = {"path": str(path), "bytes": size, "sha256": sha256(path), "copied": copied}
        self._write()

    def close(self, status: str, error: str | None) -> None:
        """Write how the job ended. A forked child that unwinds through its parent's code writes nothing."""
        if os.getpid() != self._fields["process"]["pid"]:
            return
        self._metrics.close()
        self._fields.update(status=status, error=error, end_time_ms=_now_ms())
        self._write()

    def _write(self) -> None:
        with _told(self.path):
            write_json(self.path / "record.json", self._fields)


@contextmanager
def open_record(
    folder: str | Path,
    *,
    job: str,
    settings: dict[str, Any],
    fingerprint: str,
    device: str = "cpu",
    uri: str | None = None,
) -> Iterator[Record]:
    """Record a job: settings, metrics, artifacts, origin, and how it ended. Every run of a job is a new record.

    Args:
        folder: holds all records, one folder each.
        job: the job's name with its wildcards; becomes the run's name.
        settings: plain nested values; a text under `experiment` names the MLflow experiment, else "archgauge".
        fingerprint: hash of the code and inputs that the job depends on.
        device: where it computes.
        uri: an MLflow to be kept up to date while the job runs; it can neither fail nor delay the job.

    Raises:
        TrackingError: when the record cannot be written.
    """
    folder, started = Path(folder).absolute(), datetime.now(UTC)
    path = folder / f"{started:%Y%m%dT%H%M%S.%fZ}-{secrets.token_hex(4)}"
    experiment = settings.get("experiment")
    fields = {
        "record_id": path.name,
        "job": job,
        "experiment": experiment if isinstance(experiment, str) else "archgauge",
        "settings": settings,
        "fingerprint": fingerprint,
        "commit": _commit(),
        "host": socket.gethostname(),
        "device": device,
        "process": _this_process(),
        "start_time_ms": int(started.timestamp() * 1000),
        "end_time_ms": None,
        "status": "running",
        "error": None,
        "artifacts": {},
    }
    record = Record(path, fields)
    stop = threading.Event()
    threading.Thread(target=_accompany, args=(folder, path, uri, stop), daemon=True).start()
    try:
        yield record
    except BaseException as error:
        _close_after(record, error)
        raise
    else:
        record.close("done", None)
    finally:
        stop.set()


def _close_after(record: Record, error: BaseException) -> None:
    """Write the ending of a job that raised; whatever goes wrong here must not hide the job's own error."""
    leaves = isinstance(error, SystemExit) and error.code in (None, 0)
    status = "done" if leaves else "killed" if isinstance(error, KeyboardInterrupt) else "failed"
    try:
        record.close(status, None if leaves else "".join(traceback.format_exception(error)))
    except TrackingError as trouble:
        error.add_note(f"The record could not be closed either. {trouble}")


def _accompany(folder: Path, path: Path, uri: str | None, stop: threading.Event) -> None:
    """Give signs of life from a thread of the job, and see that some process sends."""
    children: list[subprocess.Popen] = []
    pause, rest = TICK_S, 0.0
    while not stop.wait(TICK_S):
        with suppress(OSError):
            os.utime(path / "metrics.jsonl")
        rest -= TICK_S
        children = [child for child in children if child.poll() is None]
        if uri is not None and rest <= 0 and not children:
            with suppress(OSError):  # no process or file to be had: the records wait for a later sender
                started = _start_sender(folder, uri)
                if started:
                    children.append(started)
                    rest = pause = min(2 * pause, _RETRY_LIMIT_S)


def _start_sender(folder: Path, uri: str) -> subprocess.Popen | None:
    """Start the machine's live sender unless one holds the lock."""
    lock = FileLock(live_lock(folder))
    try:
        with lock.acquire(timeout=0):
            pass
    except Timeout:
        return None
    # The address may hold a password, which an argument would show to every user of the machine.
    modules = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "OMP_NUM_THREADS": "1", "PYTHONPATH": modules}
    with (folder / f".live-{socket.gethostname()}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "archgauge.tracking", "follow", str(folder)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def runs_here(path: Path) -> bool:
    """Say whether the record belongs to a job that is alive on this machine."""
    with suppress(TrackingError):
        fields = read_record(path)
        return fields["status"] == "running" and fields["process"]["machine"] == _machine() and not _death(path, fields)
    return False


def bury(path: Path) -> None:
    """Mark a record as killed when its job ended without closing it."""
    fields = read_record(path)
    if fields["status"] != "running" or not _death(path, fields):
        return
    fields = read_record(path)  # the job may have closed it between the reading and the look at its process
    death = _death(path, fields)
    if fields["status"] == "running" and death:
        last_sign_ms = int((path / "metrics.jsonl").stat().st_mtime * 1000)
        fields.update(status="killed", error=death, end_time_ms=max(last_sign_ms, fields["start_time_ms"]))
        write_json(path / "record.json", fields)


def _death(path: Path, fields: dict[str, Any]) -> str | None:
    """Say how a running record's job died; None while it may be alive."""
    process, host = fields["process"], fields["host"]
    here = process["machine"] == _machine() and process["user"] == os.getuid()  # others' processes may be hidden
    if here and process["boot"] != _boot():
        return f"The job ended without closing its record: {host} was restarted."
    if here and process["started"] is not None:
        if _process_started(process["pid"]) == process["started"]:
            return None
        return f"The job ended without closing its record: process {process['pid']} on {host} is gone (killed?)."
    with suppress(FileNotFoundError):
        silent_s = time.time() - (path / "metrics.jsonl").stat().st_mtime
        if silent_s > SILENT_S:
            return f"The job on {host} gave no sign of life for {silent_s:.0f} s."
    return None


def _this_process() -> dict[str, Any]:
    pid = os.getpid()
    started = _process_started(pid)
    return {"pid": pid, "user": os.getuid(), "started": started, "machine": _machine(), "boot": _boot()}


def _process_started(pid: int) -> int | None:
    """Return a process's start in clock ticks since boot (proc(5), field 22); None for none and for a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _machine() -> str:
    """Tell machines apart; neither the name nor the identifier alone does among cloned machines."""
    return hashlib.sha256(f"{socket.gethostname()} {_text('/etc/machine-id')}".encode()).hexdigest()[:12]


def _boot() -> str:
    return _text("/proc/sys/kernel/random/boot_id")


def _commit() -> str | None:
    """Return the commit of this code, with `-dirty` when tracked files differ; None outside a repository."""
    command = ["git", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.run([*command, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
        changes = subprocess.run([*command, "diff", "--quiet", "HEAD"], capture_output=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + ("-dirty" if changes.returncode else "")


def record_paths(folder: Path, settled: frozenset[str]) -> list[Path]:
    """List records in the order of their start. A folder without record.json belongs to a job that is starting."""
    if not folder.is_dir():
        return []
    paths = (folder / name for name in sorted(os.listdir(folder)) if name not in settled and name[0] != ".")
    return [path for path in paths if (path / "metrics.jsonl").is_file() and (path / "record.json").is_file()]


def read_record(path: Path) -> dict[str, Any]:
    """Read the fields of a record, as `open_record` writes them.

    Raises:
        TrackingError: when record.json is not what a job wrote.
    """
    try:
        fields = json.loads((path / "record.json").read_bytes())
        if set(fields) != _FIELDS:
            raise ValueError(f"other fields: {sorted(_FIELDS.symmetric_difference(fields))}")
    except (ValueError, TypeError) as error:
        raise TrackingError(
            "a job's record",
            where=path / "record.json",
            expected="the JSON object that a job writes",
            got=str(error),
            remedy="Something else than its job changed the file: restore it, or remove the folder.",
        ) from error
    return fields


def write_json(path: Path, value: dict[str, Any]) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, default=str))


@contextmanager
def _told(where: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TrackingError(
            "writing a job's record",
            where=where,
            expected="a writable disk with free space",
            got=f"{type(error).__name__}: {error}",
            remedy="Free the disk or the permission and run the job again.",
        ) from error


def live_lock(folder: Path) -> Path:
    return folder / f".live-{socket.gethostname()}.lock"


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
