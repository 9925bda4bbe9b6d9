"""Which device a job computes on.

Snakemake's `gpu` resource only counts how many jobs run at once; it gives no job a device of its own. Locally a job
therefore leases its devices here, through file locks that the kernel releases when the holder dies, however it dies.
On SLURM the scheduler's choice stands. Devices are named by their index, as in CUDA_VISIBLE_DEVICES, which is how a
lease keeps a job (and its child processes) off the others. NVIDIA only; without a usable GPU jobs run on the CPU.

Leases are between the processes of one user on one machine.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from archgauge.errors import DeviceError

VISIBLE = "CUDA_VISIBLE_DEVICES"
PRETEND = "ARCHGAUGE_PRETEND_DEVICES"
"""Environment variable for tests: how many devices to lease although none is there. Jobs then compute on the CPU."""

DAY_S = 24 * 3600.0
_RETRY_S = 0.2


@contextmanager
def lease(gpu: int, *, folder: Path | None = None, timeout_s: float = DAY_S) -> Iterator[str]:
    """Hold `gpu` devices that no other lease holds, and yield the torch device to compute on.

    While the lease lasts CUDA_VISIBLE_DEVICES names the leased devices and nothing else, so enter it before CUDA is
    first used. Waits while too few are free.

    Args:
        gpu: how many devices; 0 asks for none.
        folder: where the locks are, on a file system of this machine; by default one folder a user and SLURM job.
        timeout_s: how long to wait.

    Yields:
        "cuda:0" (the first leased device), or "cpu" when none was asked for, none is there, or torch cannot use it.

    Raises:
        DeviceError: when the machine has fewer devices than `gpu`, or none came free in time; names the holders.
    """
    devices = visible_devices() if gpu > 0 else []
    if not devices:
        yield "cpu"
    elif "SLURM_JOB_ID" in os.environ and len(devices) <= gpu:
        yield _torch_device()
    else:
        with _leased(devices, gpu, folder or _lock_folder(), timeout_s) as leased, _visible(leased):
            yield _torch_device()


def visible_devices() -> list[str]:
    """Return the names of the GPUs that this process may use, as they stand in CUDA_VISIBLE_DEVICES."""
    if VISIBLE in os.environ:
        # CUDA reads the list up to the first name that means no device.
        names = [name.strip() for name in os.environ[VISIBLE].split(",")]
        return names[: next((at for at, name in enumerate(names) if name in ("", "-1")), len(names))]
    if "SLURM_JOB_ID" in os.environ:
        return []  # the scheduler gave none
    return [str(index) for index in range(_count())]


def _count() -> int:
    """Count devices without torch: its own count can fix what the process sees before the lease narrows it."""
    if PRETEND in os.environ:
        return int(os.environ[PRETEND])
    if shutil.which("nvidia-smi") is None:
        return 0
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False)
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def _torch_device() -> str:
    import torch  # only a job that asked for a GPU and has one gets here; the others need not pay for the import

    if torch.cuda.is_available():
        return "cuda:0"
    if PRETEND not in os.environ:
        print("A GPU is visible but this torch cannot use it (no CUDA build?): computing on the CPU.", file=sys.stderr)
    return "cpu"


def _lock_folder() -> Path:
    # Inside SLURM jobs device indices start at 0 in each job, so equal names there are not equal devices.
    slurm = f"-slurm{os.environ['SLURM_JOB_ID']}" if "SLURM_JOB_ID" in os.environ else ""
    return Path(tempfile.gettempdir()) / f"archgauge-devices-{os.getuid()}{slurm}"


@contextmanager
def _leased(devices: list[str], gpu: int, folder: Path, timeout_s: float) -> Iterator[list[str]]:
    if gpu > len(devices):
        raise DeviceError(
            "the number of GPUs that a job asks for",
            where=f"{VISIBLE}={','.join(devices)}",
            expected=f"at least {gpu}",
            got=len(devices),
            remedy="Lower `gpu` of the rule, or run it where there are more.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout_s
    told = False
    with ExitStack() as held:
        while len(leased := _take(devices, gpu, folder, held)) < gpu:
            holders = _holders(devices, folder)
            if time.monotonic() > deadline:
                raise DeviceError(
                    "a lease of devices",
                    where=folder,
                    expected=f"{gpu} of {len(devices)} free within {timeout_s:g} s",
                    got=f"held by {holders}",
                    remedy="Start fewer jobs at once (--resources gpu=N), or end the processes named here.",
                )
            if not told:
                print(f"Waiting for {gpu} of {len(devices)} devices, held by {holders}", file=sys.stderr)
                told = True
            time.sleep(_RETRY_S)
        yield leased


def _take(devices: list[str], gpu: int, folder: Path, held: ExitStack) -> list[str]:
    """Lock `gpu` free devices and return their names, or lock none: who waits must not hold what others wait for."""
    taken: list[str] = []
    with ExitStack() as locks:
        _lock(folder / "guard", locks, wait=True)  # one taker at a time, else two could block each other for ever
        with ExitStack() as mine:
            for device in devices:
                if len(taken) < gpu and _lock(_lock_path(folder, device), mine):
                    taken.append(device)
            if len(taken) == gpu:
                held.enter_context(mine.pop_all())
    return taken


def _lock(path: Path, locks: ExitStack, *, wait: bool = False) -> bool:
    """Lock a file until `locks` is closed or this process is dead; say whether that worked.

    The lock belongs to the open file (flock), so a forked child that outlives a killed parent keeps the device.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(descriptor)
        return False
    locks.callback(os.close, descriptor)
    os.truncate(descriptor, 0)
    os.write(descriptor, f"process {os.getpid()} ({' '.join(sys.argv)[:200]})".encode())
    return True


def _lock_path(folder: Path, device: str) -> Path:
    return folder / f"device-{device.replace('/', '_')}"


def _holders(devices: list[str], folder: Path) -> str:
    """Say who wrote last into each lock. A device may have come free since: good enough for a message."""
    paths = [_lock_path(folder, device) for device in devices]
    return "; ".join(path.read_text() for path in paths if path.is_file())


@contextmanager
def _visible(devices: list[str]) -> Iterator[None]:
    before = os.environ.get(VISIBLE)
    os.environ[VISIBLE] = ",".join(devices)
    try:
        yield
    finally:
        if before is None:
            del os.environ[VISIBLE]
        else:
            os.environ[VISIBLE] = before
