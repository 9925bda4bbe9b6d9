"""The project's workflow in a folder of its own: started, looked at, killed and started again by tests."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml
from filelock import FileLock

ROOT = Path(__file__).parents[1]
SETTINGS = "tests/config.tiny.yaml"
PARTS = ("Snakefile", "config.yaml", "rules", "workflow_scripts", "archgauge", "envs", "profiles", SETTINGS)
NOTHING = "Nothing to be done"
_PRIVATE = re.compile(r"^(MLFLOW_|SLURM_|SNAKEMAKE_|OMP_|ARCHGAUGE_PRETEND|CUDA_VISIBLE)")

Found = TypeVar("Found")

# Run by Python itself in every process of a spied run: which modules did the job really load?
_SPY = """
import atexit, json, os, sys, uuid

def _tell():
    job = getattr(sys.modules["__main__"], "snakemake", None)
    if job is None:
        return
    name = " ".join([job.rule, *(f"{key}={value}" for key, value in sorted(job.wildcards.items()))])
    loaded = sorted(module for module in sys.modules if module.startswith("archgauge"))
    with open(os.path.join(os.environ["ARCHGAUGE_TEST_SPY"], uuid.uuid4().hex), "w") as file:
        json.dump([name, loaded], file)

atexit.register(_tell)
"""


@dataclass(frozen=True)
class Done:
    """A finished run of Snakemake."""

    code: int
    output: str


@dataclass(frozen=True)
class Planned:
    """One job of a dry run."""

    inputs: frozenset[str]
    outputs: frozenset[str]


class Project:
    """A copy of the project, whose code is imported in place of the installed one."""

    def __init__(self, root: Path):
        self.root = root

    @classmethod
    def new(cls, root: Path) -> "Project":
        """Copy the code and the configuration, without results."""
        for part in PARTS:
            source, target = ROOT / part, root / part
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, target)
        return cls(root)

    def copy(self, root: Path) -> "Project":
        """Copy everything, results and times included."""
        shutil.copytree(self.root, root, dirs_exist_ok=True)
        return Project(root)

    def start(
        self, *arguments: str, cores: int = 2, output: Path | None = None, **environment: str
    ) -> subprocess.Popen:
        """Start Snakemake in a process group of its own; what it prints goes to `output`."""
        command = [sys.executable, "-m", "snakemake", "--cores", str(cores), *arguments, "--configfile", SETTINGS]
        own = {name: value for name, value in os.environ.items() if not _PRIVATE.match(name)}
        own |= {
            "PYTHONPATH": str(self.root),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{own['PATH']}",
            "PYTHONWARNINGS": "ignore",
            **environment,
        }
        with (output or self.output).open("w") as file:
            return subprocess.Popen(
                command, cwd=self.root, env=own, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def output(self) -> Path:
        return self.root / "output.txt"

    def run(self, *arguments: str, **options) -> Done:
        process = self.start(*arguments, **options)
        try:
            code = process.wait(600)
        finally:
            kill_group(process)
        return Done(code, self.output.read_text())

    def finish(self, *arguments: str, **options) -> str:
        """Run to the end and return the output; fail with it when the run fails."""
        done = self.run(*arguments, **options)
        assert done.code == 0, done.output
        return done.output

    def planned(self, *arguments: str) -> dict[str, Planned]:
        """Return what a dry run would run: `rule wildcard=value ...` and its files."""
        return _planned(self.finish("--dry-run", *arguments))

    def path(self, name: str) -> Path:
        return self.root / name

    def replace(self, name: str, old: str, new: str) -> None:
        """Edit a file; the old text must be in it."""
        path = self.path(name)
        text = path.read_text()
        assert old in text, f"{name} has no {old!r}"
        path.write_text(text.replace(old, new, 1))

    def configure(self, key: str, value: Any) -> None:
        """Change one number of the configuration: `clusterings.fcm_nb101.n_clusters`."""
        path = self.path(SETTINGS)
        settings = json.loads(json.dumps(yaml.safe_load(path.read_text())))  # each alias becomes a copy
        place = settings
        *parents, last = key.split(".")
        for name in parents:
            place = place.setdefault(name, {})
        place[last] = value
        path.write_text(json.dumps(settings))

    def numbers(self) -> dict[str, str]:
        """Return the hash of every table, by path. Tables hold no times and no places: equal ones are equal bytes."""
        paths = [path for kind in ("parquet", "csv", "md") for path in self.path("results").rglob(f"*.{kind}")]
        apart = {"fragments", "records", "mlartifacts"}
        return {
            str(path.relative_to(self.root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(paths)
            if not apart & set(path.parts)
        }

    def halves(self) -> list[Path]:
        """Return the half-written files that are left."""
        return list(self.path("results").rglob("*.part"))


@dataclass(frozen=True)
class Finished:
    """A project after an undisturbed run, and what its jobs were."""

    project: Project
    loaded: dict[str, frozenset[str]]  # job -> modules of the package that it loaded
    jobs: dict[str, Planned]

    def dependants(self, first: set[str]) -> set[str]:
        """The named jobs and all that read what they write, directly or not."""
        assert first <= set(self.jobs)
        found, waiting = set(first), list(first)
        while waiting:
            written = self.jobs[waiting.pop()].outputs
            reached = {name for name, job in self.jobs.items() if job.inputs & written} - found
            found |= reached
            waiting.extend(reached)
        return found

    def users(self, module: str) -> set[str]:
        """The jobs that loaded a module."""
        return {name for name, modules in self.loaded.items() if module in modules}


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Finished:
    """The tiny workflow, run once, also when several processes run the tests. Tests work on copies."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, plan = shared / "finished", shared / "finished" / "plan.txt"
    with FileLock(shared / "finished.lock"):
        if not plan.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of another process, which failed
            plan.write_text(_finish(folder))
    told = [json.loads(path.read_text()) for path in (folder / "told").iterdir()]
    loaded = {name: frozenset(modules) for name, modules in told}
    return Finished(Project(folder / "project"), loaded, _planned(plan.read_text()))


def _finish(folder: Path) -> str:
    """Run the workflow under the spy and return what a dry run said before."""
    spy, told = folder / "spy", folder / "told"
    spy.mkdir(parents=True)
    told.mkdir()
    (spy / "sitecustomize.py").write_text(_SPY)
    project = Project.new(folder / "project")
    plan = project.finish("--dry-run")
    project.finish(PYTHONPATH=f"{project.root}{os.pathsep}{spy}", ARCHGAUGE_TEST_SPY=str(told))
    return plan


def _planned(output: str) -> dict[str, Planned]:
    found = {}
    for block in re.split(r"\n(?=(?:local)?(?:rule|checkpoint) )", output)[1:]:
        rule = re.match(r"(?:local)?rule (\w+):", block)
        assert rule, block
        fields = dict(re.findall(r"^    (\w+): (.*)$", block.split("\n[")[0], re.MULTILINE))
        wildcards = sorted(fields["wildcards"].split(", ")) if "wildcards" in fields else []
        files = {kind: frozenset(filter(None, fields.get(kind, "").split(", "))) for kind in ("input", "output")}
        found[" ".join([rule[1], *wildcards])] = Planned(files["input"], files["output"])
    return {name: job for name, job in found.items() if name != "all"}


# Processes


def kill_group(process: subprocess.Popen) -> None:
    """End a run and all its jobs with SIGKILL; nothing happens when they have ended."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_for_job(project: Project, process: subprocess.Popen, number: int) -> None:
    """Wait until Snakemake has started its n-th job, or has ended."""
    until(lambda: len(re.findall(r"(?m)^(?:local)?rule ", project.output.read_text())) >= number, process)


def job_processes(process: subprocess.Popen, script: str) -> list[int]:
    """Wait for a job's script under a run and return its processes: the script, and the workers that it started."""
    found: list[int] = []

    def running() -> bool:
        found[:] = [pid for pid, line in _family(process.pid) if f".{script}.py" in line and "bash" not in line]
        return bool(found)

    until(running, process)
    return found


def _family(parent: int) -> Iterator[tuple[int, str]]:
    """Yield all processes below a process, with their command lines."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    below, waiting = [], [parent]
    while waiting:
        one = waiting.pop()
        children = [pid for pid, above in parents.items() if above == one]
        below += children
        waiting += children
    for pid in below:
        with suppress(OSError):
            yield pid, Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def until(holds: Callable[[], Found], process: subprocess.Popen, seconds: float = 240) -> Found:
    """Wait until something holds or the process has ended; return what it then was."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        if process.poll() is not None:
            return found
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found
