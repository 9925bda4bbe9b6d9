"""Downloads against a server on this machine that cuts, stalls, lies and changes its mind."""

import fcntl
import hashlib
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from archgauge import download
from archgauge.download import Remote
from archgauge.errors import DownloadError

ROOT = Path(__file__).parents[1]
CONTENT = np.random.default_rng(0).bytes(300_000)
OTHER = np.random.default_rng(1).bytes(300_000)
HALF = 2 * download.CHUNK_BYTES + 10_000
WHOLE_CHUNKS = 2 * download.CHUNK_BYTES
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PAGE = b"<!DOCTYPE html><html><body>Quota exceeded</body></html>"

fetch = partial(download.fetch, attempts=3, timeout_s=(10.0, 10.0), wait_s=0.01)
SOON = (10.0, 0.3)  # for servers that stall


class Server(ThreadingHTTPServer):
    """Serves CONTENT in the way that the path names, and remembers what it was asked."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str | None]] = []
        self.closing = threading.Event()

    def address(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"

    def remote(self, *paths: str, size: int | None = len(CONTENT), sha256: str | None = SHA256) -> Remote:
        return Remote(tuple(self.address(path) for path in paths), size, sha256)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *args):
        pass

    def do_GET(self):
        path = self.path.strip("/")
        self.server.asked.append((path, self.headers.get("Range")))
        self.tries = sum(asked == path for asked, _ in self.server.asked)
        getattr(self, path.replace("-", "_"))()

    def send(self, content=CONTENT, etag='"1"', stop=None, length=None, kind="application/octet-stream", ranges=True):
        """Send `content`, from the asked offset where `ranges`; promise `length` more bytes, close after `stop`."""
        asked, known = self.headers.get("Range"), self.headers.get("If-Range")
        start = int(asked[6:-1]) if ranges and asked and known in (None, etag) else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Type", kind)
        if etag:
            self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(content) - start if length is None else length))
        self.end_headers()
        self.wfile.write(content[start:stop])

    def good(self):
        self.send()

    def cut_once(self):
        self.send(stop=HALF if self.tries == 1 else None)

    def always_cut(self):
        self.send(stop=HALF)

    def no_ranges(self):
        self.send(stop=HALF if self.tries == 1 else None, ranges=False)

    def replaced(self):
        self.send(stop=HALF) if self.tries == 1 else self.send(OTHER, etag='"2"')

    def no_version(self):
        self.send(CONTENT if self.tries == 1 else OTHER, etag=None, stop=HALF if self.tries == 1 else None)

    def wrong_range(self):
        if not self.headers.get("Range"):
            return self.send(stop=HALF if self.tries == 1 else None)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT)

    def range_refused(self):
        self.send_error(416) if self.headers.get("Range") else self.send()

    def stall(self):
        self.send(stop=1000)
        self.wfile.flush()
        self.server.closing.wait(5)

    def promises_more(self):
        self.send(length=len(CONTENT) + 10)

    def promises_less(self):
        self.send(length=HALF)

    def endless(self):
        self.send_response(200)
        self.end_headers()
        while not self.server.closing.is_set():
            self.wfile.write(CONTENT)

    def hang(self):
        self.send(stop=HALF)
        self.wfile.flush()
        self.server.closing.wait(30)

    def wrong(self):
        self.send(OTHER)

    def empty(self):
        self.send(b"")

    def page(self):
        self.send(PAGE, kind="text/html; charset=utf-8")

    def page_in_disguise(self):
        self.send(PAGE)

    def page_behind_a_comment(self):
        self.send(b"<!-- cache 7 --> " + PAGE)

    def message(self):
        self.send(b'{"error": "quota exceeded"}')

    def archive(self):
        self.send(b"PK\x03\x04" + CONTENT)

    def missing(self):
        self.send_error(404)

    def busy_once(self):
        self.send_error(503) if self.tries == 1 else self.send()


@pytest.fixture
def server():
    server = Server()
    server.handle_error = lambda *_: None  # clients that hang up are expected here
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    thread.join()
    server.server_close()


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_good_file_is_fetched_once(server, tmp_path):
    target = tmp_path / "new" / "data.bin"
    assert fetch(server.remote("good"), target).read_bytes() == CONTENT
    assert fetch(server.remote("good"), target) == target
    assert server.asked == [("good", None)]
    assert left(target.parent) == {"data.bin"}


@pytest.mark.parametrize("published", [SHA256, None])
def test_a_cut_transfer_is_continued(server, tmp_path, published):
    fetch(server.remote("cut-once", sha256=published), tmp_path / "data.bin")
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert server.asked == [("cut-once", None), ("cut-once", f"bytes={WHOLE_CHUNKS}-")]


def test_a_server_without_ranges_sends_all_again(server, tmp_path):
    assert fetch(server.remote("no-ranges"), tmp_path / "data.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("path", ["wrong-range", "range-refused"])
def test_a_range_that_cannot_be_had_restarts(server, tmp_path, path):
    (tmp_path / ".data.bin.part").write_bytes(CONTENT[:HALF])
    assert fetch(server.remote(path), tmp_path / "data.bin").read_bytes() == CONTENT
    assert [asked for _, asked in server.asked] == [f"bytes={HALF}-", None]


def test_what_a_killed_run_left_is_continued(server, tmp_path):
    (tmp_path / ".data.bin.part").write_bytes(CONTENT[:HALF])
    fetch(server.remote("good"), tmp_path / "data.bin")
    assert server.asked == [("good", f"bytes={HALF}-")]
    assert left(tmp_path) == {"data.bin"}


def test_a_killed_process_leaves_a_part_and_no_lock(server, tmp_path):
    child = (
        "import sys; from pathlib import Path; from archgauge.download import Remote, fetch;"
        "fetch(Remote((sys.argv[1],), int(sys.argv[2]), sys.argv[3]), Path(sys.argv[4]))"
    )
    target, part = tmp_path / "data.bin", tmp_path / ".data.bin.part"
    arguments = [server.address("hang"), str(len(CONTENT)), SHA256, str(target)]
    with subprocess.Popen([sys.executable, "-c", child, *arguments], cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 20
        while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.kill()
    have = part.stat().st_size
    assert 0 < have < len(CONTENT)
    assert not target.exists()
    assert fetch(server.remote("good"), target).read_bytes() == CONTENT
    assert server.asked[-1] == ("good", f"bytes={have}-")
    assert left(tmp_path) == {"data.bin"}


def test_a_whole_part_is_not_fetched_again(server, tmp_path):
    (tmp_path / ".data.bin.part").write_bytes(CONTENT)
    assert fetch(server.remote("good"), tmp_path / "data.bin").read_bytes() == CONTENT
    assert server.asked == []


@pytest.mark.parametrize("rubbish", [OTHER[:HALF], OTHER])
def test_a_damaged_part_costs_one_fresh_start(server, tmp_path, rubbish):
    (tmp_path / ".data.bin.part").write_bytes(rubbish)
    assert fetch(server.remote("good"), tmp_path / "data.bin").read_bytes() == CONTENT
    assert server.asked[-1] == ("good", None)


@pytest.mark.parametrize("left_by_another", [OTHER[:HALF], OTHER])
def test_without_a_published_hash_a_left_part_is_not_trusted(server, tmp_path, left_by_another):
    (tmp_path / ".data.bin.part").write_bytes(left_by_another)
    assert fetch(server.remote("good", sha256=None), tmp_path / "data.bin").read_bytes() == CONTENT
    assert server.asked == [("good", None)]


@pytest.mark.parametrize("path", ["replaced", "no-version"])
def test_two_versions_are_never_joined(server, tmp_path, path):
    assert fetch(server.remote(path, sha256=None), tmp_path / "data.bin").read_bytes() == OTHER


def test_a_second_source_continues_the_first_ones_part(server, tmp_path):
    fetch(server.remote("always-cut", "good"), tmp_path / "data.bin")
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert server.asked[-1] == ("good", f"bytes={WHOLE_CHUNKS}-")


def test_a_busy_server_is_asked_again(server, tmp_path):
    fetch(server.remote("busy-once"), tmp_path / "data.bin")
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("path", "reason", "requests"),
    [
        ("missing", "HTTP 404", 1),
        ("page", "an HTML page in place of the file", 1),
        ("page-in-disguise", "the size: expected 300,000 bytes, the server has 55", 1),
        ("wrong", f"the sha256: expected {SHA256}, got {hashlib.sha256(OTHER).hexdigest()}", 1),
        ("promises-less", "the size: expected 300,000 bytes, the server has 141,072", 1),
        ("promises-more", "the size: expected 300,000 bytes, the server has 300,010", 1),
        ("endless", "the size: expected 300,000 bytes, the server sends more", 1),
        ("always-cut", "Error", 3),
        ("stall", "timed out", 3),
    ],
)
def test_what_a_source_did_wrong_is_said(server, tmp_path, path, reason, requests):
    target = tmp_path / "data.bin"
    with pytest.raises(DownloadError, match="Fetch it by hand, put it at") as error:
        fetch(server.remote(path), target, timeout_s=SOON if path == "stall" else (10.0, 10.0))
    assert f"{server.address(path)}: " in str(error.value)
    assert reason in error.value.got
    assert SHA256 in error.value.expected
    assert str(target) in error.value.remedy
    assert len(server.asked) == requests
    assert not target.exists()


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("page-in-disguise", "an HTML page or a message in place of the file"),
        ("page-behind-a-comment", "an HTML page or a message in place of the file"),
        ("message", "an HTML page or a message in place of the file"),
        ("promises-more", "IncompleteRead"),
        ("empty", "the size: expected some bytes, got 0"),
    ],
)
def test_an_unpublished_hash_lets_no_rubbish_pass(server, tmp_path, path, reason):
    with pytest.raises(DownloadError, match=reason):
        fetch(server.remote(path, size=None, sha256=None), tmp_path / "data.bin")
    assert not (tmp_path / "data.bin").exists()
    assert not (tmp_path / "data.bin.sha256").exists()


@pytest.mark.parametrize("name", ["data.zip", "data.tar.gz", "data.tar.bz2", "data.pth"])
def test_a_file_begins_as_its_ending_says(server, tmp_path, name):
    """Whatever its first download holds would be taken for the authors' own from then on."""
    unpublished = replace(server.remote("page-behind-a-comment", "message", "good", size=None, sha256=None), file=name)
    with pytest.raises(DownloadError, match=r"begins with b'<!-- cache 7.*such as an HTML.*b'{.*such as.*begins with"):
        fetch(unpublished, tmp_path / name)
    assert left(tmp_path) == set()
    assert fetch(replace(server.remote("good"), file=name), tmp_path / name).read_bytes() == CONTENT  # by its hash


@pytest.mark.parametrize(
    ("name", "start"),
    [("old.pth", b"\x80\x02}"), ("new.pth", b"PK\x03\x04"), ("a.json", b'{"a": 1}'), ("b.json", b"\n[1]")],
)
def test_what_an_ending_may_begin_with_is_taken(server, tmp_path, name, start):
    """PyTorch wrote pickles before version 1.6; other endings' beginnings are refused."""
    (tmp_path / name).write_bytes(start + CONTENT)
    assert fetch(replace(server.remote(size=None, sha256=None), file=name), tmp_path / name).exists()
    (tmp_path / f"other-{name}").write_bytes(b"<" + CONTENT)
    with pytest.raises(DownloadError, match=r"already there: no .* file but what begins with b'<"):
        fetch(replace(server.remote(size=None, sha256=None), file=f"other-{name}"), tmp_path / f"other-{name}")


@pytest.mark.parametrize(
    "said",
    [
        b'{"message": "Not Found", "documentation_url": "https://docs.github.com/rest", "status": "404"}',
        b' {"status": 403,\n "Message": "Access denied", "traceId": "a1"}',
        b'{"error": {"code": 429, "message": "quota", "errors": [{"reason": "rateLimitExceeded"}]}}',
        b"{}",
    ],
)
def test_a_message_in_json_is_no_json_data(server, tmp_path, said):
    path = tmp_path / "data.json"
    path.write_bytes(said)
    unpublished = replace(server.remote("missing", size=None, sha256=None), file="data.json")
    with pytest.raises(
        DownloadError, match=r"already there: a message of the server in place of the file: \{"
    ) as raised:
        fetch(unpublished, path)
    assert " ".join(said.decode().split()) in raised.value.got
    server_says = replace(server.remote("message", size=None, sha256=None), file="other.json")
    with pytest.raises(DownloadError, match="a message of the server in place of the file"):
        fetch(server_says, tmp_path / "other.json")
    assert left(tmp_path) == {"data.json"}


@pytest.mark.parametrize(
    "data",
    [b'{"message": "as data", "architecture": {}}', b'["error"]', b'{"a": [', b"[" * 60_000, b"{" + b" " * 70_000],
)
def test_json_data_is_not_taken_for_a_message(server, tmp_path, data):
    """Nor is damaged data: its reader says what is wrong with it."""
    (tmp_path / "data.json").write_bytes(data)
    unpublished = replace(server.remote("missing", size=None, sha256=None), file="data.json")
    assert fetch(unpublished, tmp_path / "data.json").read_bytes() == data


def test_an_archive_is_one(server, tmp_path):
    unpublished = replace(server.remote("message", "archive", size=None, sha256=None), file="data.zip")
    assert fetch(unpublished, tmp_path / "data.zip").read_bytes()[4:] == CONTENT
    (tmp_path / "data.zip").write_bytes(b"PK\x03\x04")
    with pytest.raises(DownloadError, match=r"already there: the sha256: expected \w+, got .*begins with b'{"):
        fetch(replace(unpublished, sources=unpublished.sources[:1]), tmp_path / "data.zip")


def test_every_source_is_named_in_order(server, tmp_path):
    with pytest.raises(DownloadError) as error:
        fetch(server.remote("missing", "page", "wrong"), tmp_path / "data.bin")
    positions = [str(error.value).index(server.address(path)) for path in ("missing", "page", "wrong")]
    assert positions == sorted(positions)
    assert fetch(server.remote("missing", "page", "wrong", "good"), tmp_path / "data.bin").read_bytes() == CONTENT


def test_a_closed_port_and_a_malformed_address_are_told_apart(tmp_path):
    with pytest.raises(DownloadError, match=r"ConnectionError.*; nonsense: MissingSchema"):
        fetch(Remote(("http://127.0.0.1:9/data.bin", "nonsense"), None, SHA256), tmp_path / "data.bin")


def test_the_first_hash_is_kept_and_binds(server, tmp_path):
    target = tmp_path / "data.bin"
    fetch(server.remote("good", size=None, sha256=None), target)
    assert (tmp_path / "data.bin.sha256").read_text() == f"{SHA256}  data.bin\n"
    target.unlink()
    with pytest.raises(DownloadError, match="delete that if the authors published a new version"):
        fetch(server.remote("wrong", size=None, sha256=None), target)
    assert fetch(server.remote("good", size=None, sha256=None), target).read_bytes() == CONTENT


def test_a_damaged_file_is_replaced_only_by_a_good_one(server, tmp_path):
    target = tmp_path / "data.bin"
    target.write_bytes(CONTENT[:-1])
    with pytest.raises(DownloadError, match="the file already there: the size: expected 300000 bytes, got 299999"):
        fetch(server.remote("missing"), target)
    assert target.read_bytes() == CONTENT[:-1]
    assert fetch(server.remote("good"), target).read_bytes() == CONTENT


def test_a_file_put_there_by_hand_is_used_and_its_hash_recorded(tmp_path):
    target = tmp_path / "data.bin"
    target.write_bytes(CONTENT)
    assert fetch(Remote((), None, None), target) == target
    target.write_bytes(OTHER)
    with pytest.raises(DownloadError, match="the file already there: the sha256"):
        fetch(Remote((), None, None), target)


def test_two_processes_do_not_write_the_same_part(server, tmp_path):
    with (tmp_path / ".data.bin.lock").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(DownloadError, match="another one that is fetching it now"):
            fetch(server.remote("good"), tmp_path / "data.bin")
    assert fetch(server.remote("good"), tmp_path / "data.bin").read_bytes() == CONTENT


def test_a_full_disk_is_said(server, tmp_path):
    (tmp_path / ".data.bin.part").symlink_to("/dev/full")
    with pytest.raises(DownloadError, match=r"No space left on device.*Free space on that disk"):
        fetch(server.remote("good"), tmp_path / "data.bin")


def test_a_folder_that_cannot_be_made_is_said(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match="a folder that can be written"):
        fetch(server.remote("good"), tmp_path / "file" / "data.bin")


def test_a_stalled_server_costs_no_more_than_its_timeouts(server, tmp_path):
    begun = time.monotonic()
    with pytest.raises(DownloadError):
        fetch(server.remote("stall"), tmp_path / "data.bin", timeout_s=SOON)
    assert time.monotonic() - begun < 10
