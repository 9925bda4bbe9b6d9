"""Fetching published files: several sources in order, continued after a cut, checked, and moved into place whole.

The data go to `.<name>.part` beside the target, so that a later try continues where the last one was cut. This is the
one kind of file that does not go through `archgauge.files.whole_file`: its unfinished form has to be found again.

Where a size or a sha256 is published, the file must have it. Where no sha256 is, the first whole download's is
recorded in `<name>.sha256` beside the file, and every later one must equal it. A file must begin as its ending says, so
that no error page or message, whatever the server calls it, is taken for the first download.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter
from tqdm import tqdm

from archgauge.errors import DownloadError
from archgauge.files import sha256, whole_file

CHUNK_BYTES = 2**16  # what was received of a chunk is lost at a cut
LONGEST_WAIT_S = 60.0

_PARTIAL, _RANGE_NOT_SATISFIABLE = 206, 416
_TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_STARTS = {
    ".zip": (b"PK\x03\x04",),
    ".gz": (b"\x1f\x8b",),
    ".bz2": (b"BZh",),
    ".pth": (b"PK\x03\x04", b"\x80"),  # PyTorch's zip, or before version 1.6 a pickle
    ".json": (b"{", b"["),
}
"""What files of an ending begin with. A .tar says what it is further on, and a .tfrecord nowhere."""

_PAGE_STARTS = (b"<", b"{")
"""What pages and messages of servers begin with: HTML, XML, JSON."""

_MESSAGE_BYTES = 2**16
_MESSAGE_KEYS = {
    *("code", "detail", "details", "documentation_url", "error", "errors", "fault", "message", "msg", "reason"),
    *("request_id", "requestid", "status", "status_code", "statuscode", "success", "timestamp", "title", "trace_id"),
    *("traceid", "type"),
}
"""A JSON object that is no larger and has no other keys is a server's message, not data (RFC 9457, and what object
stores, GitHub, figshare and Zenodo say)."""


@dataclass(frozen=True)
class Remote:
    """What is published about a file.

    Attributes:
        sources: addresses, tried in order.
        size: bytes, or None where not published.
        sha256: hexadecimal, or None where not published.
        file: what the authors call it, where the first address does not end in that.
    """

    sources: tuple[str, ...]
    size: int | None = None
    sha256: str | None = None
    file: str | None = None

    @property
    def name(self) -> str:
        """What the file is called; readers tell forms of a benchmark apart by it."""
        return self.file or self.sources[0].rpartition("/")[2]


class _Refused(Exception):
    """This source does not have the file; asking it again will not help."""


class _Cut(Exception):
    """The transfer failed on the way; asking again may help."""


def fetch(
    remote: Remote,
    target: Path,
    *,
    attempts: int = 5,
    timeout_s: tuple[float, float] = (15.0, 60.0),
    wait_s: float = 1.0,
) -> Path:
    """Return `target`, fetched from the first source that gives the right file. A good file is not fetched again.

    Args:
        remote: sources, and the size and hash to expect.
        target: where the file is or will be. A file that was put there by hand is checked and used.
        attempts: requests to each source.
        timeout_s: the longest wait for a connection, and for the next bytes.
        wait_s: pause before the second request; it doubles each time, up to `LONGEST_WAIT_S`.

    Raises:
        DownloadError: naming every source and why it failed, the file to fetch by hand and where to put it; or what
            is wrong with the disk.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        reasons = []
        if target.is_file():
            fault = _fault(target, remote, target)
            if fault is None:
                _record_hash(target, remote, target)
                return target
            reasons.append(f"the file already there: {fault}")
        with _part_of(target) as part:
            for source in remote.sources:
                try:
                    _Transfer(source, part, target, remote, timeout_s).run(attempts, wait_s)
                except (_Refused, _Cut) as failure:
                    reasons.append(f"{source}: {failure}")
                else:
                    _record_hash(part, remote, target)
                    os.replace(part, target)
                    return target
    except OSError as error:
        raise DownloadError(
            f"writing the download of {target.name}",
            where=target,
            expected="a folder that can be written, with room for the file",
            got=f"{type(error).__name__}: {error}",
            remedy="Free space on that disk or correct its permissions, then run again.",
        ) from error
    raise DownloadError(
        f"the download of {target.name}",
        where=target,
        expected=_description(remote, target),
        got="; ".join(reasons) or "no source to ask",
        remedy=f"Fetch it by hand, put it at {target} and run again.",
    )


@contextmanager
def _part_of(target: Path) -> Iterator[Path]:
    """Yield the unfinished file beside the target, locked so that two processes never write to it at once."""
    lock = target.with_name(f".{target.name}.lock")
    with lock.open("ab") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DownloadError(
                f"the download of {target.name}",
                where=target,
                expected="one process at a time",
                got="another one that is fetching it now",
                remedy="Wait for the other one to end, then run again.",
            ) from error
        try:
            yield target.with_name(f".{target.name}.part")
        finally:
            lock.unlink(missing_ok=True)


class _Transfer:
    """Brings the unfinished file to its whole length from one source, in as many requests as it takes."""

    def __init__(self, source: str, part: Path, target: Path, remote: Remote, timeout_s: tuple[float, float]):
        self.source, self.part, self.target, self.remote, self.timeout_s = source, part, target, remote, timeout_s
        self.version: str | None = None  # the server's mark of the version that `part` was begun with

    def run(self, attempts: int, wait_s: float) -> None:
        """Raise _Refused, or _Cut after the last attempt, unless `part` ends as the right file."""
        if self.remote.sha256 is None:
            # Another source or an earlier run may have begun another version, and no published hash would tell.
            self.part.unlink(missing_ok=True)
        retrying = Retrying(
            stop=stop_after_attempt(attempts),
            wait=wait_exponential_jitter(multiplier=wait_s, max=LONGEST_WAIT_S, jitter=wait_s),
            retry=retry_if_exception_type(_Cut),
            reraise=True,
        )
        for attempt in retrying:
            with attempt:
                self._attempt()

    def _attempt(self) -> None:
        have = self.part.stat().st_size if self.part.exists() else 0
        if have == 0 or have != self.remote.size:
            try:
                have = self._request(have)
            except requests.RequestException as error:
                raise _Cut(f"{type(error).__name__}: {error}") from error
        fault = _fault(self.part, self.remote, self.target)
        if fault is not None:
            self.part.unlink()
            raise (_Cut if have else _Refused)(fault)  # a file put together from two transfers gets a fresh start

    def _request(self, have: int) -> int:
        """Make one request and append what it gives. Return how many bytes of an earlier one were kept."""
        headers = {"Accept-Encoding": "identity"}
        if have and (self.version or self.remote.sha256):
            headers["Range"] = f"bytes={have}-"
            if self.version:
                headers["If-Range"] = self.version
        with requests.get(self.source, headers=headers, timeout=self.timeout_s, stream=True) as response:
            start = self._start(response, have)
            total = self._total(response, start)
            self.version = response.headers.get("ETag") or response.headers.get("Last-Modified")
            self._append(response, start, total)
        return start

    def _start(self, response: requests.Response, have: int) -> int:
        """Return the offset of the response's first byte."""
        status = response.status_code
        if status in _TRY_AGAIN:
            raise _Cut(f"HTTP {status} {response.reason}")
        if status == _RANGE_NOT_SATISFIABLE or (status == _PARTIAL and not _continues(response, have)):
            self.part.unlink(missing_ok=True)
            raise _Cut(f"HTTP {status}: the server cannot continue from byte {have:,}")
        if not response.ok:
            raise _Refused(f"HTTP {status} {response.reason}")
        if response.headers.get("Content-Type", "").lower().startswith("text/html"):
            raise _Refused("an HTML page in place of the file (an error, a consent or a login page)")
        return have if status == _PARTIAL else 0

    def _total(self, response: requests.Response, start: int) -> int | None:
        """Return the length that the server promises for the whole file, if it says."""
        length = response.headers.get("Content-Length")
        total = start + int(length) if length is not None and length.isdigit() else None
        if self.remote.size is not None and total not in (None, self.remote.size):
            raise _Refused(f"the size: expected {self.remote.size:,} bytes, the server has {total:,}")
        return total

    def _append(self, response: requests.Response, start: int, total: int | None) -> None:
        bar = tqdm(
            desc=self.target.name,
            total=total,
            initial=start,
            unit="B",
            unit_scale=True,
            unit_divisor=1024,
            mininterval=1,
        )
        with bar, self.part.open("r+b" if start else "wb") as file:
            file.seek(start)
            for chunk in response.iter_content(CHUNK_BYTES):
                file.write(chunk)
                bar.update(len(chunk))
                if self.remote.size is not None and file.tell() > self.remote.size:
                    self.part.unlink()
                    raise _Refused(f"the size: expected {self.remote.size:,} bytes, the server sends more")
            file.flush()
            os.fsync(file.fileno())


def _continues(response: requests.Response, have: int) -> bool:
    return response.headers.get("Content-Range", "").startswith(f"bytes {have}-")


def _fault(candidate: Path, remote: Remote, target: Path) -> str | None:
    """Say what is wrong with a whole file, or None."""
    size = candidate.stat().st_size
    if size != remote.size and (remote.size is not None or size == 0):
        return f"the size: expected {remote.size or 'some'} bytes, got {size}"
    wanted = remote.sha256 or _recorded_hash(target)
    found = sha256(candidate) if wanted is not None else None
    if wanted is not None and found == wanted.lower():
        return None
    fault = _other_kind(candidate, target.suffix)
    return f"the sha256: expected {wanted}, got {found}" if fault is None and wanted is not None else fault


def _other_kind(candidate: Path, suffix: str) -> str | None:
    """Say so where a file does not begin as its ending wants it."""
    with candidate.open("rb") as file:
        start = file.read(64).lstrip()
    if suffix in _STARTS and not start.startswith(_STARTS[suffix]):
        page = ", such as an HTML page or a message of the server" if start.startswith(_PAGE_STARTS) else ""
        return f"no {suffix} file but what begins with {start[:16]!r}{page}"
    if suffix == ".json" and (said := _message(candidate)):
        return f"a message of the server in place of the file: {said}"
    if suffix not in _STARTS and start.startswith(_PAGE_STARTS):
        return "an HTML page or a message in place of the file (an error, a consent or a login page)"
    return None


def _message(candidate: Path) -> str | None:
    """What a server says in a JSON file that is nothing but its message."""
    if candidate.stat().st_size > _MESSAGE_BYTES:
        return None
    text = candidate.read_text(encoding="utf-8", errors="replace")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None  # its reader will say what is wrong with it
    if isinstance(content, dict) and all(key.lower() in _MESSAGE_KEYS for key in content):
        return " ".join(text.split())[:200]
    return None


def _sidecar(target: Path) -> Path:
    return target.with_name(f"{target.name}.sha256")


def _recorded_hash(target: Path) -> str | None:
    sidecar = _sidecar(target)
    return sidecar.read_text().split()[0] if sidecar.is_file() else None


def _record_hash(candidate: Path, remote: Remote, target: Path) -> None:
    """Write down the hash of the first good download, in the form that `sha256sum --check` reads."""
    if remote.sha256 is None and _recorded_hash(target) is None:
        with whole_file(_sidecar(target)) as temporary:
            temporary.write_text(f"{sha256(candidate)}  {target.name}\n")


def _description(remote: Remote, target: Path) -> str:
    size = "" if remote.size is None else f" of {remote.size:,} bytes"
    if remote.sha256 is not None:
        return f"a file{size} with sha256 {remote.sha256}"
    recorded = _recorded_hash(target)
    if recorded is not None:
        return (
            f"a file{size} with sha256 {recorded}, which {_sidecar(target)} recorded of the first download "
            "(delete that if the authors published a new version)"
        )
    return f"a file{size}"
