"""Leases with pretended devices and real processes; no test needs a GPU."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from archgauge import devices
from archgauge.errors import DeviceError

ROOT = Path(__file__).parents[1]

HOLD = """
import os, sys, time
from pathlib import Path
from archgauge.devices import lease, VISIBLE
with lease(int(sys.argv[2]), folder=Path(sys.argv[1])):
    print(os.environ[VISIBLE], flush=True)
    time.sleep(60)
"""

MANY = """
import json, os, sys, time
from pathlib import Path
from archgauge.devices import lease, VISIBLE
gpu = int(sys.argv[2])
for _ in range(3):
    with lease(gpu, folder=Path(sys.argv[1])):
        start = time.monotonic()
        time.sleep(0.02)
        print(json.dumps([os.environ[VISIBLE].split(","), start, time.monotonic()]))
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("SLURM_JOB_ID", devices.VISIBLE, devices.PRETEND):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(devices, "_RETRY_S", 0.02)


@pytest.fixture
def no_torch(monkeypatch):
    """Say what torch would say without importing it: a process of these tests is about locks."""
    monkeypatch.setattr(devices, "_torch_device", lambda: "cuda:0")


@pytest.fixture
def start():
    """Start a script as a process; all are killed at the end."""
    started: list[subprocess.Popen] = []
    # A stand-in for torch without CUDA: some 20 processes need not each pay for the real import.
    preamble = (
        "import sys, types\n"
        "sys.modules['torch'] = types.SimpleNamespace(cuda=types.SimpleNamespace(is_available=lambda: False))\n"
    )

    def _start(code: str, *arguments: object, pretend: int) -> subprocess.Popen:
        environment = {**os.environ, devices.PRETEND: str(pretend), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", preamble + code, *map(str, arguments)]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield _start
    for process in started:
        process.kill()
        process.communicate()


def test_no_gpu_asked_for_is_the_cpu_without_a_lock(tmp_path, monkeypatch):
    monkeypatch.setenv(devices.PRETEND, "2")
    with devices.lease(0, folder=tmp_path / "locks") as device:
        assert device == "cpu"
    assert not (tmp_path / "locks").exists()


def test_a_machine_without_gpu_is_the_cpu(tmp_path, monkeypatch):
    monkeypatch.setattr(devices.shutil, "which", lambda name: None)
    with devices.lease(2, folder=tmp_path) as device:
        assert device == "cpu"


def test_two_leases_get_two_devices_and_the_environment_is_put_back(tmp_path, monkeypatch, no_torch):
    monkeypatch.setenv(devices.VISIBLE, "3,5")
    with devices.lease(1, folder=tmp_path) as device:
        assert device == "cuda:0"
        first = os.environ[devices.VISIBLE]
        monkeypatch.setenv(devices.VISIBLE, "3,5")
        with devices.lease(1, folder=tmp_path):
            assert {first, os.environ[devices.VISIBLE]} == {"3", "5"}
    assert os.environ[devices.VISIBLE] == "3,5"
    with devices.lease(2, folder=tmp_path):  # both are free again
        assert os.environ[devices.VISIBLE] == "3,5"


def test_freed_when_the_block_raises(tmp_path, monkeypatch, no_torch):
    monkeypatch.setenv(devices.PRETEND, "1")
    for _ in range(2):
        with pytest.raises(KeyError), devices.lease(1, folder=tmp_path, timeout_s=0):
            raise KeyError
    assert devices.VISIBLE not in os.environ


def test_pretended_devices_compute_on_the_cpu(tmp_path, monkeypatch):
    monkeypatch.setenv(devices.PRETEND, "2")
    with devices.lease(1, folder=tmp_path) as device:
        assert device in ("cpu", "cuda:0")  # the latter where the tests run beside a real GPU
        assert os.environ[devices.VISIBLE] == "0"


@pytest.mark.parametrize(
    ("visible", "expected"),
    [("0,1", ["0", "1"]), ("", []), ("-1", []), ("2,-1,3", ["2"]), ("GPU-1f, GPU-2e", ["GPU-1f", "GPU-2e"])],
)
def test_the_callers_choice_of_devices_stands(monkeypatch, visible, expected):
    monkeypatch.setenv(devices.PRETEND, "8")
    monkeypatch.setenv(devices.VISIBLE, visible)
    assert devices.visible_devices() == expected


def test_devices_are_counted_by_the_driver(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: A (UUID: GPU-1)'\necho 'GPU 1: A (UUID: GPU-2)'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert devices.visible_devices() == ["0", "1"]
    tool.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'\nexit 9\n")
    assert devices.visible_devices() == []


def test_on_slurm_the_schedulers_choice_stands(tmp_path, monkeypatch, no_torch):
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv(devices.VISIBLE, "4")
    for _ in range(2):
        with devices.lease(1, folder=tmp_path / "locks") as device:
            assert (device, os.environ[devices.VISIBLE]) == ("cuda:0", "4")
    assert not (tmp_path / "locks").exists()


def test_on_slurm_without_devices_is_the_cpu(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv(devices.PRETEND, "4")
    with devices.lease(1) as device:
        assert device == "cpu"


def test_several_jobs_in_one_slurm_allocation_share_its_devices(tmp_path, monkeypatch, no_torch):
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv(devices.VISIBLE, "0,1")
    with devices.lease(1, folder=tmp_path):
        assert os.environ[devices.VISIBLE] == "0"
        monkeypatch.setenv(devices.VISIBLE, "0,1")
        with devices.lease(1, folder=tmp_path):
            assert os.environ[devices.VISIBLE] == "1"


def test_device_0_of_two_slurm_jobs_are_two_devices(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    first = devices._lock_folder()
    monkeypatch.setenv("SLURM_JOB_ID", "78")
    assert devices._lock_folder() != first


def test_more_than_there_are_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv(devices.PRETEND, "2")
    with pytest.raises(DeviceError, match=r"CUDA_VISIBLE_DEVICES=0,1: expected at least 3, got 2\. Lower `gpu`"):
        devices.lease(3, folder=tmp_path).__enter__()


def test_never_the_same_device_twice_at_once(tmp_path, start):
    """Eight processes, some wanting two of three devices: no two leases of a device overlap, and all end."""
    processes = [start(MANY, tmp_path, 1 + number % 2, pretend=3) for number in range(8)]
    leases = []
    for process in processes:
        out, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        leases += [json.loads(line) for line in out.splitlines()]
    assert len(leases) == 24
    for device in "012":
        spans = sorted((begin, end) for names, begin, end in leases if device in names)
        assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans))
    assert {device for names, _, _ in leases for device in names} == set("012")


def test_a_killed_holder_frees_its_devices(tmp_path, monkeypatch, start, no_torch):
    monkeypatch.setenv(devices.PRETEND, "2")
    holder = start(HOLD, tmp_path, 2, pretend=2)
    assert holder.stdout.readline() == "0,1\n"
    with pytest.raises(DeviceError):
        devices.lease(1, folder=tmp_path, timeout_s=0).__enter__()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with devices.lease(2, folder=tmp_path, timeout_s=5):
        assert os.environ[devices.VISIBLE] == "0,1"


def test_waits_for_a_device_and_names_the_holder(tmp_path, monkeypatch, capsys, start, no_torch):
    monkeypatch.setenv(devices.PRETEND, "1")
    holder = start(HOLD, tmp_path, 1, pretend=1)
    assert holder.stdout.readline() == "0\n"
    begin = time.monotonic()
    with pytest.raises(DeviceError, match=rf"1 of 1 free within 0\.3 s, got held by process {holder.pid} \(.*--res"):
        devices.lease(1, folder=tmp_path, timeout_s=0.3).__enter__()
    assert time.monotonic() - begin > 0.3
    assert capsys.readouterr().err.count(f"Waiting for 1 of 1 devices, held by process {holder.pid}") == 1
    holder.kill()
    holder.wait()
    with devices.lease(1, folder=tmp_path, timeout_s=5):
        pass


def test_a_waiter_holds_nothing(tmp_path, monkeypatch, start, no_torch):
    """A job that waits for two devices leaves the one that is free to others."""
    monkeypatch.setenv(devices.PRETEND, "2")
    assert start(HOLD, tmp_path, 1, pretend=2).stdout.readline() == "0\n"
    waiter = start(HOLD, tmp_path, 2, pretend=2)
    assert waiter.stderr.readline().startswith("Waiting for 2 of 2 devices")
    with devices.lease(1, folder=tmp_path, timeout_s=5):
        assert os.environ[devices.VISIBLE] == "1"


def test_a_gpu_that_torch_cannot_use_is_said(monkeypatch, capsys):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices._torch_device() == "cpu"
    assert "this torch cannot use it" in capsys.readouterr().err
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert devices._torch_device() == "cuda:0"
