"""What the sender makes of records in a real SQLite MLflow."""

import ast
import json
import math
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archgauge import records, tracking
from archgauge.tracking import SendSummary, TrackingError, create_database, open_record, send_records, tracking_uri

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    create_database(f"sqlite:///{path}")
    return path


@pytest.fixture
def uri(tmp_path, empty_database) -> str:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "records"


def opened(folder, **changes):
    return open_record(folder, **{"job": "train_nb201", "settings": {"lr": 0.1}, "fingerprint": "f00", **changes})


def read(record) -> dict:
    return json.loads((record.path / "record.json").read_text())


def client(uri):
    from mlflow import MlflowClient

    return MlflowClient(uri)


def runs(uri) -> list:
    found = client(uri)
    experiments = [experiment.experiment_id for experiment in found.search_experiments()]
    return found.search_runs(experiments, order_by=["tags.`archgauge.record_id`"])


def view(uri) -> list[dict]:
    """All that MLflow shows of its runs, but for its own identifiers."""
    found, result = client(uri), []
    for run in runs(uri):
        history = {key: found.get_metric_history(run.info.run_id, key) for key in run.data.metrics}
        files = [item.path for item in found.list_artifacts(run.info.run_id)]
        root = Path(run.info.artifact_uri.removeprefix("file://"))
        result.append(
            {
                "name": run.info.run_name,
                "status": run.info.status,
                "times": (run.info.start_time, run.info.end_time),
                "params": run.data.params,
                "tags": run.data.tags,
                "metrics": {k: [(m.step, repr(m.value), m.timestamp) for m in v] for k, v in history.items()},
                "artifacts": {name: (root / name).read_bytes() for name in files},
            }
        )
    return result


# What MLflow shows


def rich_record(folder, tmp_path, steps=2500):
    (tmp_path / "loss.svg").write_text("<svg/>")
    settings = {"experiment": "gennape", "train": {"lr": 0.1, "sizes": [20, 50], "none": None}, "name": "x" * 9000}
    with opened(folder, settings=settings, job="train_nb201_50") as record:
        for step in range(steps):
            record.metric("loss", 1 / (step + 1), step)
        for step, value in enumerate([math.nan, math.nan, -1e300]):
            record.metric("ndcg@10", value, step)
        record.artifact(tmp_path / "loss.svg")
    return record


def test_mlflow_shows_the_whole_record_once(folder, tmp_path, uri):
    record = rich_record(folder, tmp_path)
    assert send_records(folder, uri).sent == (record.record_id,)
    assert send_records(folder, uri) == SendSummary(unchanged=(record.record_id,))
    (run,) = view(uri)
    fields = read(record)
    assert (run["name"], run["status"]) == ("train_nb201_50", "FINISHED")
    assert run["times"] == (fields["start_time_ms"], fields["end_time_ms"])
    assert run["params"].pop("name") == "x" * 6000
    assert run["params"] == {
        "experiment": "gennape",
        "train.lr": "0.1",
        "train.sizes": "[20, 50]",
        "train.none": "null",
    }
    assert sorted(run["metrics"]["loss"])[-1][:2] == (2499, repr(1 / 2500))
    assert len(run["metrics"]["loss"]) == 2500
    assert [value for _, value, _ in sorted(run["metrics"]["ndcg at 10"])] == ["nan", "nan", "-1e+300"]
    assert run["tags"]["archgauge.record_id"] == record.record_id
    assert run["tags"]["archgauge.fingerprint"] == "f00"
    assert run["artifacts"]["loss.svg"] == b"<svg/>"
    assert json.loads(run["artifacts"]["record.json"]) == fields


def test_a_deleted_database_is_rebuilt_from_the_records(folder, tmp_path, uri, empty_database):
    rich_record(folder, tmp_path)
    with pytest.raises(ValueError, match="bad cell"), opened(folder):
        raise ValueError("bad cell")
    send_records(folder, uri)
    before = view(uri)
    (tmp_path / "mlflow.db").unlink()
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    # MLflow keeps connections to a file that is gone, so the second sender is another process, as it is in use.
    command = [sys.executable, "-m", "archgauge.tracking", "send", str(folder), uri]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert "2 records sent" in answer.stdout, answer.stderr
    (tmp_path / "mlflow.db").rename(tmp_path / "again.db")
    assert view(f"sqlite:///{tmp_path / 'again.db'}") == before
    assert [run["status"] for run in before] == ["FINISHED", "FAILED"]
    assert "ValueError: bad cell" in before[1]["tags"]["archgauge.error"]


class Dying(Exception):
    pass


class Fuse:
    """Lets a number of the sender's steps happen, and kills the sender right behind the last of them."""

    def __init__(self, steps: int):
        self.left = steps

    def burn(self):
        self.left -= 1
        if self.left < 0:
            raise Dying

    def behind(self, function):
        def wrapped(*arguments, **keywords):
            result = function(*arguments, **keywords)
            self.burn()
            return result

        return wrapped


def test_a_sender_that_dies_behind_any_step_loses_and_doubles_nothing(tmp_path, uri, monkeypatch):
    monkeypatch.setattr(tracking, "_METRICS_A_REQUEST", 4)
    record = rich_record(tmp_path / "whole", tmp_path, steps=7)
    send_records(tmp_path / "whole", uri)
    (expected,) = view(uri)
    steps = ("create_experiment", "create_run", "log_batch", "set_terminated", "log_artifact")
    deaths = 0
    for count in range(100):
        folder = tmp_path / f"try{count}"
        shutil.copytree(record.path, folder / "record", ignore=shutil.ignore_patterns("sent-*"))
        fields = {**read(record), "record_id": f"try{count}", "experiment": f"try{count}"}
        (folder / "record" / "record.json").write_text(json.dumps(fields))
        fuse = Fuse(count)
        with monkeypatch.context() as patch:
            from mlflow import MlflowClient

            for step in steps:
                patch.setattr(MlflowClient, step, fuse.behind(getattr(MlflowClient, step)))
            patch.setattr(tracking, "write_json", fuse.behind(tracking.write_json))
            first = send_records(folder, uri)
        deaths += bool(first.failed)
        second = send_records(folder, uri)
        assert not second.failed
        assert not second.pending
        (run,) = [run for run in view(uri) if run["tags"]["archgauge.record_id"] == f"try{count}"]
        for part in ("name", "status", "times", "params", "metrics"):
            assert run[part] == expected[part]
        assert run["artifacts"].keys() == expected["artifacts"].keys()
        if not first.failed:
            break
    assert deaths == count >= 12  # each step was once the last one


def test_a_run_that_a_slow_server_made_too_late_goes_away(folder, tmp_path, uri):
    with opened(folder) as record:
        record.metric("loss", 1.0)
        assert "running" in send_records(folder, uri).pending[record.record_id]
        (run,) = runs(uri)
        late = client(uri).create_run(run.info.experiment_id, tags={"archgauge.record_id": record.record_id})
    send_records(folder, uri)
    (left,) = runs(uri)
    assert left.info.run_id == run.info.run_id != late.info.run_id


def test_a_running_record_grows_in_mlflow_and_torn_lines_wait(folder, uri):
    with opened(folder) as record:
        record.metric("loss", 1.0, 1)
        assert send_records(folder, uri).pending == {record.record_id: "the job is running"}
        assert runs(uri)[0].info.status == "RUNNING"
        record.metric("loss", 0.0, 0)
        with (record.path / "metrics.jsonl").open("ab") as file:
            file.write(b'{"name":"loss","value":2.0,"st')
            file.flush()
            send_records(folder, uri)
            file.write(b'ep":2,"time_ms":7}\n')
        send_records(folder, uri)
        assert {step for step, _, _ in view(uri)[0]["metrics"]["loss"]} == {0, 1, 2}
        with (record.path / "metrics.jsonl").open("ab") as file:
            file.write(b'{"name":"loss","va')  # the last thing a killed job wrote
    assert send_records(folder, uri).sent == (record.record_id,)
    assert sorted(step for step, _, _ in view(uri)[0]["metrics"]["loss"]) == [0, 1, 2]


def test_a_job_taken_for_dead_while_suspended_ends_as_done(folder, uri, monkeypatch):
    with opened(folder) as record:
        with monkeypatch.context() as patch:
            patch.setattr(records, "_process_started", lambda pid: None)
            assert send_records(folder, uri).sent == (record.record_id,)
        assert read(record)["status"] == "killed"
        assert runs(uri)[0].info.status == "KILLED"
        assert "is gone" in runs(uri)[0].data.tags["archgauge.error"]
    assert send_records(folder, uri).sent == (record.record_id,)
    (run,) = runs(uri)
    assert run.info.status == "FINISHED"
    assert "archgauge.error" not in run.data.tags


@pytest.mark.parametrize("content", ["{torn", "[]", "7", '{"status": "done"}'])
def test_a_spoilt_record_is_named_and_the_others_are_sent(folder, uri, content):
    with opened(folder) as spoilt:
        pass
    with opened(folder) as whole:
        pass
    (spoilt.path / "record.json").write_text(content)
    summary = send_records(folder, uri)
    assert summary.sent == (whole.record_id,)
    assert "a job's record at" in summary.failed[spoilt.record_id]
    assert "restore it, or remove the folder" in str(summary)


@given(st.text(max_size=300) | st.text("ab@/. (:-é", max_size=12))
def test_names_are_such_as_mlflow_takes(name):
    from mlflow.utils.validation import _validate_metric_name, _validate_param_name

    _validate_metric_name(tracking._name(name))
    _validate_param_name(tracking._name(name))


def test_names_stay_apart_and_readable():
    names = ["ndcg@10", "ndcg 10", "ndcg(10)", "ndcg[10]", "a//b", "a/b", "x" * 300, "x" * 299, "../a", "a"]
    assert len({tracking._name(name) for name in names}) == len(names)
    assert tracking._name("nb201/cifar10/test@200") == "nb201/cifar10/test at 200"


# Where to send


@pytest.mark.parametrize("address", ["http://user:secret@127.0.0.1:9", "file:/nowhere", "bogus://x"])
def test_no_server_means_pending_at_once_and_no_password_in_the_reason(folder, address):
    with opened(folder) as record:
        pass
    began = time.monotonic()
    summary = send_records(folder, address)
    assert time.monotonic() - began < 15  # mostly the import of mlflow
    assert list(summary.pending) == [record.record_id]
    assert "secret" not in str(summary)


def test_a_spoilt_database_is_named_at_once(tmp_path, folder):
    (tmp_path / "mlflow.db").write_bytes(b"no database " * 1000)
    address = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with pytest.raises(TrackingError, match=r"the MLflow database at .*mlflow\.db.*delete it and send again"):
        create_database(address)
    with opened(folder) as record:
        pass
    assert "not a database" in send_records(folder, address).pending[record.record_id]


def test_a_database_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "results").write_text("a file in the way")
    with pytest.raises(TrackingError, match=r"creating the MLflow database at .*expected a writable folder"):
        create_database(f"sqlite:///{tmp_path / 'results' / 'mlflow.db'}")


def test_a_database_is_made_once_and_a_servers_is_its_own(uri, tmp_path):
    content = (tmp_path / "mlflow.db").read_bytes()
    create_database(uri)
    create_database("http://127.0.0.1:9")
    assert (tmp_path / "mlflow.db").read_bytes() == content


def test_no_records_need_no_server(tmp_path):
    assert send_records(tmp_path / "none", "http://127.0.0.1:9") == SendSummary()


def test_the_environment_names_the_server(monkeypatch, tmp_path):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri(tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://lab:5000")
    assert tracking_uri(tmp_path) == "http://lab:5000"


def test_wrong_arguments_show_the_usage(capsys):
    assert tracking.main(["send"]) == 2
    assert "usage" in capsys.readouterr().err


def test_mlflow_has_one_door_and_opens_late():
    for path in (ROOT / "archgauge").rglob("*.py"):
        modules = [
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        names = {name for node in modules for name in [getattr(node, "module", None), *(a.name for a in node.names)]}
        assert path.name == "tracking.py" or not any((name or "").startswith("mlflow") for name in names), path
    code = "import sys, archgauge.tracking; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
