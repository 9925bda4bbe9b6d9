"""Files are written whole or not at all."""

import errno
import hashlib
import os
import resource
import stat
import subprocess
import sys

import pytest

from archgauge.files import sha256, whole_file


def test_the_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "a" / "b" / "table.parquet"
    with whole_file(path) as temporary:
        temporary.write_bytes(b"new")
        assert not path.exists()
        assert temporary.parent == path.parent
        assert temporary.name.startswith(".table.parquet.")
        assert temporary.suffix == ".part"
    assert path.read_bytes() == b"new"
    assert os.listdir(path.parent) == ["table.parquet"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write() -> None:
        with whole_file(str(path)) as temporary:
            temporary.write_bytes(b"half")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_follow_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        with whole_file(tmp_path / "file"):
            pass
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~mask


def test_two_writers_do_not_share_a_temporary_file(tmp_path):
    path = tmp_path / "file"
    with whole_file(path) as first, whole_file(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_in_the_way_is_an_error_and_leaves_nothing(tmp_path):
    (tmp_path / "file" / "inside").mkdir(parents=True)
    with pytest.raises(IsADirectoryError), whole_file(tmp_path / "file") as temporary:
        temporary.write_text("new")
    assert os.listdir(tmp_path) == ["file"]


LIMITED = """
import resource, signal, sys
from archgauge.files import whole_file
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
with whole_file(sys.argv[1]) as temporary, temporary.open("wb", buffering=0) as file:
    for _ in range(1000):
        file.write(bytes(100))
"""


def test_a_write_that_the_disk_refuses_leaves_the_old_file(tmp_path):
    """A limit on the size of files stands in for a full disk."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    run = subprocess.run([sys.executable, "-c", LIMITED, path], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert os.strerror(errno.EFBIG) in run.stderr
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000


KILLED = """
import os, sys
from archgauge.files import whole_file
with whole_file(sys.argv[1]) as temporary:
    temporary.write_bytes(b"half")
    os._exit(9)
"""


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    """What it leaves besides is a hidden .part file, which nothing takes for a result."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    assert subprocess.run([sys.executable, "-c", KILLED, path], check=False).returncode == 9
    assert path.read_bytes() == b"old"
    (left,) = set(os.listdir(tmp_path)) - {"file"}
    assert left.startswith(".file.")
    assert left.endswith(".part")


def test_sha256_is_that_of_the_content(tmp_path):
    content = os.urandom(300_000)
    (tmp_path / "file").write_bytes(content)
    assert sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()
    assert sha256(str(tmp_path / "file")) == sha256(tmp_path / "file")
