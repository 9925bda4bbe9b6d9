"""Kills, full disks and damaged files, on the tiny configuration: a clear error, then a run with the same numbers."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from workflow import Finished, Project, job_processes, kill_group, until, wait_for_job

from archgauge import workflow_lock
from archgauge.predictors.inputs import read_matrix
from archgauge.schemas import EMBEDDINGS
from archgauge.workers import WorkerError, Workers

RIDGE = "results/predictions/few_labels/ridge.parquet"
THREADS_TOLERANCE = 1e-5  # of an embedding's largest number, after pretraining with other threads


@pytest.fixture
def project(finished: Finished, tmp_path: Path) -> Project:
    return finished.project.copy(tmp_path / "project")


def forget(project: Project, *names: str) -> None:
    """Delete results, whole folders too."""
    for name in names:
        path = project.path(name)
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def forget_ridge(project: Project) -> None:
    forget(project, RIDGE, "results/predictions/few_labels/fragments/ridge")


# Kills


def test_kill_nine_of_the_workflow_at_any_moment(finished, project):
    """The whole process group, three times on the way; what is done is kept and the numbers are the same."""
    targets = (RIDGE, "results/figures/memberships.svg")  # what lies before these has every kind of long job
    forget(project, "results", ".snakemake")
    moments = random.Random(2)
    for _ in range(3):
        process = project.start(*targets)
        wait_for_job(project, process, moments.randint(2, 5))
        time.sleep(moments.uniform(0, 2))
        assert process.poll() is None, project.output.read_text()
        kill_group(process)
    assert list(project.path(".snakemake/locks").iterdir()), "no stale lock to deal with"
    project.finish(*targets)
    assert all(project.path(name).exists() for name in targets)
    assert project.numbers().items() <= finished.project.numbers().items()


def test_kill_nine_of_a_job(finished, project):
    forget_ridge(project)
    process = project.start(RIDGE)
    os.kill(job_processes(process, "predict")[0], signal.SIGKILL)
    assert process.wait(60) != 0
    output = project.output.read_text()
    assert "Error in rule predict" in output
    assert "died with <Signals.SIGKILL: 9>" in output
    assert not project.path(RIDGE).exists()
    project.finish(RIDGE)
    assert project.numbers() == finished.project.numbers()


@pytest.fixture
def stopped(project) -> Iterator[tuple[Project, subprocess.Popen, int]]:
    """A run that is in the middle of a job: project, Snakemake, and the job's process, which is suspended."""
    forget_ridge(project)
    process = project.start(RIDGE)
    (path,) = until(lambda: list(project.path("results/.running").glob("job-*")), process)
    job = int(path.name.rpartition("-")[2])
    os.kill(job, signal.SIGSTOP)
    yield project, process, job
    kill_group(process)


def test_a_job_that_outlives_its_workflow_is_waited_for(finished, stopped):
    project, process, job = stopped
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    second = project.start(RIDGE)
    waiting = f"Waiting for what an earlier run, now dead, left at work: process {job} (rule predict)"
    until(lambda: waiting in project.output.read_text(), second)
    assert second.poll() is None, project.output.read_text()
    os.kill(job, signal.SIGCONT)
    assert second.wait(300) == 0, project.output.read_text()
    assert project.numbers() == finished.project.numbers()


def test_a_second_run_is_refused_while_the_first_lives(finished, stopped):
    project, process, job = stopped
    first = project.output.rename(project.path("first.txt"))  # the running process goes on writing to it
    same = project.run(RIDGE)
    assert same.code != 0
    assert f"A run of the workflow is at work in this folder: process {process.pid} on" in same.output
    forget(project, "results/figures/pretraining.svg")
    other = project.run("results/figures/pretraining.svg")  # Snakemake's own lock would let this pass
    assert other.code != 0
    expected = f"the lock of the workflow at {project.root}: expected one run at a time, got process {process.pid} on"
    assert expected in other.output
    assert project.run("--dry-run").code == 0
    os.kill(job, signal.SIGCONT)
    assert process.wait(300) == 0, first.read_text()
    project.finish()
    assert project.numbers() == finished.project.numbers()


def test_results_that_cannot_be_written_are_named(project):
    """A file stands where the folder should be: no permission helps, so root sees the error too."""
    forget_ridge(project)
    forget(project, "results/.running")
    project.path("results/.running").write_text("")
    done = project.run(RIDGE)
    assert done.code != 0
    assert "the folder of results at results/.running: expected a folder that can be written, got" in done.output


def test_a_lock_that_the_file_system_lacks_is_done_without(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def missing(descriptor: int, operation: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(workflow_lock.fcntl, "flock", missing)
    workflow_lock.hold()
    with workflow_lock.job_at_work("rule x"):
        (job,) = workflow_lock.FOLDER.glob("job-*")
        assert "rule x" in job.read_text()
    assert not job.exists()


def _die(item: int) -> int:
    if item == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def test_a_killed_worker_is_an_error_and_no_endless_wait():
    with (
        Workers(2) as workers,
        pytest.raises(WorkerError, match="expected 2 that live until the work is done, got one that ended in the mid"),
    ):
        list(workers.spread(_die, range(8)))


def test_workers_end_with_a_killed_job(tmp_path):
    code = (
        "import os, time\nfrom archgauge.workers import Workers\n"
        "with Workers(2) as w:\n    print(*w.spread(type(os.getpid()), '12'), flush=True)\n    time.sleep(600)\n"
    )
    job = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    assert job.stdout.readline() == b"1 2\n"
    os.kill(job.pid, signal.SIGKILL)
    job.wait()
    deadline = time.monotonic() + 20
    while _members(job.pid):
        assert time.monotonic() < deadline, f"left behind: {_members(job.pid)}"
        time.sleep(0.05)


def _members(group: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


# Disks


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A disk of 64 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("needs the right to mount a small disk (root)")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("full", ["project", "results"])
def test_a_full_disk_is_said_and_a_later_run_completes(finished, tmp_path, small_disk, full):
    """Where the whole project is on the full disk it is Snakemake that cannot go on; with the results alone, a job."""
    if full == "project":
        project = finished.project.copy(small_disk / "project")
    else:
        project = finished.project.copy(tmp_path / "project")
        shutil.move(project.path("results"), small_disk)
        project.path("results").symlink_to(small_disk / "results")
    forget_ridge(project)
    forget(project, "results/metrics", "results/tables")
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free))
    output = tmp_path / "output.txt"
    process = project.start(output=output)
    assert process.wait(300) != 0
    assert "No space left on device" in output.read_text()
    assert full == "project" or "expected enough free space" in output.read_text()
    ballast.unlink()
    project.finish()
    assert project.numbers() == finished.project.numbers()


# Damaged files

DAMAGED = {
    RIDGE: ("evaluate/few_labels", "results/metrics/few_labels.parquet"),
    "results/graphs/nb201.kinds.parquet": ("spectra/nb201", "results/spectra/nb201.parquet"),
    "results/encoders/cl_nb101.pt": ("embed/cl_nb101/nb101", "results/embeddings/cl_nb101/nb101.parquet"),
    "results/clusters/fcm_nb101.npz": ("memberships/fcm_nb101/nb201", "results/memberships/fcm_nb101/nb201.parquet"),
}
"""A file, a job that reads it, and what the job makes."""


def test_truncated_files_are_named_and_made_again(finished, project):
    """Their times stand, so that Snakemake cannot notice; the jobs that read them must."""
    for name, (job, made) in DAMAGED.items():
        truncate(project.path(name))
        forget(project, made)
        done = repeat(project, job)
        assert done.returncode == 1
        assert f" at {name}: expected" in done.stderr
        assert "elete" in done.stderr
        assert not project.path(made).exists()
    forget(project, *DAMAGED)
    truncate(project.path("results/graphs/nb101.live.arrow"))  # a cache: it is made again without a word
    project.finish(*DAMAGED)
    assert all(project.path(name).exists() for name in DAMAGED)
    assert project.numbers().items() <= finished.project.numbers().items()


def truncate(path: Path) -> None:
    """Cut a file in half and leave its times as they were."""
    state = path.stat()
    os.truncate(path, state.st_size // 2)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def test_a_killed_write_leaves_nothing_that_is_taken_for_whole(project):
    """What a kill leaves beside a file is never an output: it is hidden and ends in .part."""
    project.path("results/metrics/.few_labels.parquet.abcd1234.part").write_bytes(b"PAR1 half")
    before = project.numbers()
    assert "Nothing to be done" in project.finish()
    assert project.numbers() == before


# Threads


def test_one_or_two_threads_give_the_same_numbers(project):
    """Pretraining and embedding again from their job files, with the stated tolerance."""
    embedded = {}
    for threads in (1, 2):
        assert repeat(project, "pretrain/cl_nb101", threads).returncode == 0
        assert repeat(project, "embed/cl_nb101/nb201", threads).returncode == 0
        embedded[threads] = read_matrix(
            project.path("results/embeddings/cl_nb101/nb201.parquet"), EMBEDDINGS, "embedding"
        )
    one, two = embedded[1], embedded[2]
    assert np.abs(one - two).max() <= THREADS_TOLERANCE * np.abs(one).max()


def repeat(project: Project, name: str, threads: int | None = None) -> subprocess.CompletedProcess:
    """Run one job again from its job file, without Snakemake."""
    path = project.path(f"results/logs/{name}.job.json")
    job = json.loads(path.read_text())
    path.write_text(json.dumps({**job, "threads": threads or job["threads"]}))
    environment = {**os.environ, "PYTHONPATH": str(project.root)}
    command = [sys.executable, project.path(job["script"]), path]
    return subprocess.run(command, cwd=project.root, env=environment, capture_output=True, text=True)
