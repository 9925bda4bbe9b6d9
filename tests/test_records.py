"""Records as a job leaves them on disk."""

import json
import os
import resource
import sys
import time
from pathlib import Path

import pytest

from archgauge import records
from archgauge.tracking import TrackingError, open_record


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "records"


def opened(folder, **changes):
    return open_record(folder, **{"job": "train_nb201", "settings": {"lr": 0.1}, "fingerprint": "f00", **changes})


def read(record) -> dict:
    return json.loads((record.path / "record.json").read_text())


def test_record_holds_settings_origin_metrics_and_ending(folder):
    with opened(folder, settings={"experiment": "gennape", "sizes": [20, 50]}, device="cuda:1") as record:
        assert read(record)["status"] == "running"
        record.metric("loss", 0.5, 3)
        line = json.loads((record.path / "metrics.jsonl").read_text())  # readable before the job ends
    fields = read(record)
    assert (line["name"], line["value"], line["step"]) == ("loss", 0.5, 3)
    assert abs(line["time_ms"] / 1000 - time.time()) < 60
    assert (fields["status"], fields["error"], fields["device"]) == ("done", None, "cuda:1")
    assert (fields["experiment"], fields["settings"]["sizes"]) == ("gennape", [20, 50])
    assert fields["start_time_ms"] <= fields["end_time_ms"]
    assert fields["process"]["pid"] == os.getpid()


def test_record_ids_are_unique_and_sort_by_time(folder):
    names = []
    for _ in range(20):
        with opened(folder) as record:
            names.append(record.record_id)
    assert names == sorted(set(names))


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError("bad cell"), "failed"), (KeyboardInterrupt(), "killed"), (SystemExit(3), "failed")],
)
def test_a_job_that_raises_is_recorded_and_its_error_goes_on(folder, error, status):
    with pytest.raises(type(error)), opened(folder) as record:
        raise error
    assert read(record)["status"] == status
    assert type(error).__name__ in read(record)["error"]
    assert "Traceback" in read(record)["error"]


def test_a_job_may_leave_by_a_successful_exit(folder):
    with pytest.raises(SystemExit), opened(folder) as record:
        sys.exit(0)
    assert (read(record)["status"], read(record)["error"]) == ("done", None)


def test_a_forked_child_does_not_close_its_parents_record(folder):
    with opened(folder) as record:
        if os.fork() == 0:
            record.close("failed", "the child's")
            os._exit(0)
        os.wait()
        assert read(record)["status"] == "running"
    assert read(record)["status"] == "done"


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path):
    (tmp_path / "records").write_text("a file in the way")
    with (
        pytest.raises(TrackingError, match=r"writing a job's record at .*records.*Free the disk"),
        opened(tmp_path / "records"),
    ):
        pass


def test_a_full_disk_tears_one_line_and_later_lines_are_whole(folder):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(folder) as record:
        record.metric("loss", 1.0, 1)
        size = (record.path / "metrics.jsonl").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, limit[1]))
        try:
            with pytest.raises(TrackingError, match=r"20 of .* bytes written"):
                record.metric("loss", 2.0, 2)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        record.metric("loss", 3.0, 3)
    torn_and_whole = (record.path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in (torn_and_whole[0], torn_and_whole[2])] == [1, 3]
    assert len(torn_and_whole[1]) == 20


def test_a_full_disk_at_the_end_does_not_hide_the_jobs_error(folder, monkeypatch):
    def job():
        with opened(folder):
            monkeypatch.setattr(records, "write_json", full_disk)
            raise ValueError("bad cell")

    with pytest.raises(ValueError, match="bad cell") as caught:
        job()
    assert "could not be closed" in caught.value.__notes__[0]


def full_disk(*_):
    raise OSError(28, "No space left on device")


def test_artifacts_are_copied_updated_and_told_apart(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(records, "ARTIFACT_LIMIT_BYTES", 10)
    for name in ("a/loss.svg", "b/loss.svg", "encoder.pt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    with opened(folder) as record:
        for name in ("a/loss.svg", "b/loss.svg"):
            record.artifact(tmp_path / name)
        (tmp_path / "a/loss.svg").write_text("newer")
        (tmp_path / "encoder.pt").write_text("larger than ten")
        record.artifact(tmp_path / "a/loss.svg")
        record.artifact(tmp_path / "encoder.pt")
    kept = {path.name: path.read_text() for path in (record.path / "artifacts").iterdir()}
    assert kept == {"loss.svg": "newer", "1-loss.svg": "b/loss.svg"}
    assert read(record)["artifacts"]["encoder.pt"]["copied"] is False
    assert read(record)["artifacts"]["encoder.pt"]["bytes"] == 15


def test_a_missing_artifact_is_a_clear_error(folder, tmp_path):
    with opened(folder) as record, pytest.raises(TrackingError, match=r"an artifact at .*none\.svg: expected a file"):
        record.artifact(tmp_path / "none.svg")


def test_a_lively_process_is_told_from_a_dead_or_recycled_one(folder):
    with opened(folder) as record:
        fields = read(record)
        assert records._death(record.path, fields) is None
        recycled = {**fields, "process": {**fields["process"], "started": fields["process"]["started"] - 1}}
        assert "is gone" in records._death(record.path, recycled)
        rebooted = {**fields, "process": {**fields["process"], "boot": "another"}}
        assert "was restarted" in records._death(record.path, rebooted)
        elsewhere = {**fields, "process": {**fields["process"], "machine": "another"}}
        assert records._death(record.path, elsewhere) is None
        os.utime(record.path / "metrics.jsonl", (0, time.time() - 700))
        assert "no sign of life for 700 s" in records._death(record.path, elsewhere)


def test_a_running_job_gives_signs_of_life(folder, monkeypatch):
    monkeypatch.setattr(records, "TICK_S", 0.05)
    with opened(folder) as record:
        os.utime(record.path / "metrics.jsonl", (0, 0))
        time.sleep(0.5)
        assert time.time() - (record.path / "metrics.jsonl").stat().st_mtime < 30
