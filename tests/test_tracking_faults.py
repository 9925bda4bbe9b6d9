"""Jobs and senders as real processes: killed, hanging, many at once, with a server that dies."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from archgauge.tracking import create_database, send_records

ROOT = Path(__file__).parents[1]
JOB = """
import signal, sys, time
from archgauge import records
from archgauge.tracking import open_record
folder, job, seconds, uri = sys.argv[1:]
records.TICK_S = 0.5
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
began = time.monotonic()
with open_record(folder, job=job, settings={"job": job}, fingerprint="f00", uri=uri) as record:
    print(record.record_id, flush=True)
    for step in range(round(float(seconds) * 50)):
        record.metric("loss", 1 / (step + 1), step)
        time.sleep(0.02)
print(time.monotonic() - began, flush=True)
"""


def start_job(folder, job, seconds, uri) -> subprocess.Popen:
    command = [sys.executable, "-c", JOB, str(folder), job, str(seconds), uri]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def senders(folder) -> list[int]:
    """Process ids of the live senders of a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().decode().split("\0")
            if "follow" in words and str(folder) in words:
                found.append(int(entry.name))
    return found


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
    return answer


@pytest.fixture
def folder(tmp_path):
    yield tmp_path / "records"
    for pid in senders(tmp_path / "records"):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    create_database(f"sqlite:///{path}")
    return path


@pytest.fixture
def uri(tmp_path, empty_database) -> str:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def runs(uri) -> dict[str, list]:
    """Runs by the id of their record."""
    from mlflow import MlflowClient

    client, result = MlflowClient(uri), {}
    for run in client.search_runs([e.experiment_id for e in client.search_experiments()]):
        result.setdefault(run.data.tags["archgauge.record_id"], []).append(run)
    return result


def history(uri, run) -> list[tuple[int, float]]:
    from mlflow import MlflowClient

    return sorted((m.step, m.value) for m in MlflowClient(uri).get_metric_history(run.info.run_id, "loss"))


def loss(seconds) -> list[tuple[int, float]]:
    return [(step, 1 / (step + 1)) for step in range(round(seconds * 50))]


def test_sixteen_jobs_and_two_senders_at_once_lose_and_double_nothing(tmp_path, folder):
    """The database is missing too: whoever comes first makes it."""
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    jobs = [start_job(folder, f"job{i}", 3, uri) for i in range(16)]
    answers = [job.communicate(timeout=120)[0].split() for job in jobs]
    assert [job.returncode for job in jobs] == [0] * 16
    assert max(float(lasted) for _, lasted in answers) < 3 * 5  # 150 pauses each on a shared machine; no waiting
    wait_for(lambda: len(senders(folder)) <= 1)  # who came second in the race for the lock is leaving
    command = [sys.executable, "-m", "archgauge.tracking", "send", str(folder), uri]
    helpers = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert all("0 failed" in helper.communicate(timeout=120)[0] for helper in helpers)
    wait_for(lambda: not senders(folder))
    send_records(folder, uri)
    found = runs(uri)
    assert sorted(found) == sorted(record_id for record_id, _ in answers)
    assert sorted(run.info.run_name for (run,) in found.values()) == sorted(f"job{i}" for i in range(16))
    assert all(run.info.status == "FINISHED" for (run,) in found.values())
    assert all(history(uri, run) == loss(3) for (run,) in found.values())


def test_a_killed_job_is_shown_as_killed_by_the_sender_it_left_behind(folder, uri):
    job = start_job(folder, "victim", 600, uri)
    record_id = job.stdout.readline().strip()
    wait_for(lambda: list(folder.glob("*/sent-*.json")))  # MLflow knows the run
    job.kill()
    job.wait()
    wait_for(lambda: not senders(folder))
    fields = json.loads((folder / record_id / "record.json").read_text())
    assert fields["status"] == "killed"
    assert f"process {job.pid} on {socket.gethostname()} is gone" in fields["error"]
    ((run,),) = runs(uri).values()
    assert run.info.status == "KILLED"
    assert run.info.end_time == fields["end_time_ms"]
    assert len(history(uri, run)) == len((folder / record_id / "metrics.jsonl").read_text().splitlines())


def test_a_killed_sender_is_replaced_while_the_job_runs(folder, uri):
    job = start_job(folder, "train", 600, uri)
    (first,) = wait_for(lambda: senders(folder))
    os.kill(first, signal.SIGKILL)
    (second,) = wait_for(lambda: [pid for pid in senders(folder) if pid != first])
    assert job.poll() is None
    job.kill()
    job.wait()
    os.kill(second, signal.SIGKILL)
    summary = send_records(folder, uri)
    assert len(summary.sent) == 1
    ((run,),) = runs(uri).values()
    assert run.info.status == "KILLED"


def test_a_server_that_never_answers_delays_neither_job_nor_end(folder):
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        job = start_job(folder, "train", 3, address)
        lasted = float(job.communicate(timeout=60)[0].split()[1])
        assert job.returncode == 0
        assert lasted < 3 * 3
        began = time.monotonic()
        summary = send_records(folder, address)
        assert time.monotonic() - began < 20  # one request of 5 s, and the import of mlflow
        assert len(summary.pending) == 1
        assert "timed out" in str(summary)
        wait_for(lambda: not senders(folder), 30)


@contextmanager
def mlflow_server(uri, folder):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    options = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, *options]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        yield f"http://127.0.0.1:{port}", server
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def answers(address) -> bool:
    host, port = address.removeprefix("http://").split(":")
    with suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
        return True
    return False


def test_a_server_that_dies_in_the_middle_loses_and_doubles_nothing(tmp_path, folder, uri):
    with mlflow_server(uri, tmp_path) as (address, server):
        wait_for(lambda: answers(address), 90)
        job = start_job(folder, "train", 600, address)
        record_id = job.stdout.readline().strip()
        wait_for(lambda: any(json.loads(p.read_text())["metric_bytes"] for p in folder.glob("*/sent-*.json")))
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        assert job.poll() is None
        job.send_signal(signal.SIGINT)
        job.wait(timeout=20)
        assert "refused" in send_records(folder, address).pending[record_id]
    with mlflow_server(uri, tmp_path) as (address, server):  # the same server at another port: the tag finds the run
        wait_for(lambda: answers(address), 90)
        assert send_records(folder, address).sent == (record_id,)
    ((run,),) = runs(uri).values()
    lines = [json.loads(line) for line in (folder / record_id / "metrics.jsonl").read_text().splitlines()]
    assert history(uri, run) == [(line["step"], line["value"]) for line in lines]
    assert run.info.status == "KILLED"
    assert "KeyboardInterrupt" in run.data.tags["archgauge.error"]


def test_a_database_wanted_by_four_processes_at_once_is_made_once(tmp_path):
    uri = f"sqlite:///{tmp_path / 'results' / 'mlflow.db'}"
    code = "import sys; from archgauge.tracking import create_database; create_database(sys.argv[1])"
    makers = [subprocess.Popen([sys.executable, "-c", code, uri], cwd=ROOT) for _ in range(4)]
    assert [maker.wait(timeout=120) for maker in makers] == [0] * 4
    assert {path.name for path in (tmp_path / "results").iterdir()} - {"mlflow.db.lock"} == {"mlflow.db"}
    assert runs(uri) == {}
