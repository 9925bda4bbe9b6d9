"""Whether a workflow on SLURM ran as it should: every job through sbatch, devices of its own, the local run's numbers.

    check.py jobs SNAKEMAKE_LOG TASKS_LOG      what Snakemake said against what the cluster's tasks saw
    check.py devices SNAKEMAKE_LOG TASKS_LOG   the same, and jobs with devices must have run at the same time
    check.py numbers METRICS METRICS           two folders of results/metrics

Prints what was seen; each fault is a line, and any fault makes the exit code 1.
"""

import itertools
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

_BLOCK = re.compile(r"^(local)?(?:rule|checkpoint) (\w+):\n((?: {4}.*\n)+)", re.MULTILINE)
_SUBMITTED = re.compile(r"^Job (\d+) has been submitted with SLURM jobid (\d+)", re.MULTILINE)
_AIMS = frozenset({"all"})
"""Rules without work of their own, which Snakemake ticks off itself."""


@dataclass(frozen=True)
class Job:
    """A job as Snakemake announced it; `slurm_id` is None when it never went through sbatch."""

    name: str
    gpu: int
    slurm_id: int | None


@dataclass(frozen=True)
class Sight:
    """What the tasks of one SLURM job saw: devices, and from when to when (seconds)."""

    devices: frozenset[str]
    start: float
    end: float

    def overlaps(self, other: "Sight") -> bool:
        return self.start < other.end and other.start < self.end


def read_jobs(log: str) -> list[Job]:
    """Read the jobs with work of their own from what Snakemake printed."""
    slurm_ids = {int(job): int(slurm_id) for job, slurm_id in _SUBMITTED.findall(log)}
    jobs = []
    for local, rule, block in _BLOCK.findall(log):
        if local and rule in _AIMS:
            continue
        number = int(_field(block, r"^    jobid: (\d+)$"))
        # A job that asks for no device may leave the resource out.
        gpu = re.search(r"^    resources: .*\bgpu=(\d+)", block, re.MULTILINE)
        wildcards = re.search(r"^    wildcards: (.*)$", block, re.MULTILINE)
        name = f"{rule} {wildcards[1]}" if wildcards else rule
        jobs.append(Job(name, int(gpu[1]) if gpu else 0, None if local else slurm_ids.get(number)))
    return jobs


def _field(block: str, pattern: str) -> str:
    found = re.search(pattern, block, re.MULTILINE)
    if found is None:
        raise ValueError(f"no {pattern!r} in a job of Snakemake's log:\n{block}")
    return found[1]


def read_sights(lines: str) -> dict[int, Sight]:
    """Read the cluster's tasks.log: what the tasks of each SLURM job saw. A job's first task is its batch script."""
    seen: dict[int, Sight] = {}
    for line in lines.splitlines():
        _, slurm_id, time, names = line.split()
        devices = frozenset() if names == "none" else frozenset(names.split(","))
        known = seen.get(int(slurm_id), Sight(devices, float(time), float(time)))
        seen[int(slurm_id)] = Sight(known.devices | devices, min(known.start, float(time)), max(known.end, float(time)))
    return seen


def job_faults(jobs: list[Job], sights: dict[int, Sight]) -> list[str]:
    """Say which jobs missed sbatch, saw another number of devices than they asked for, or shared one at a time."""
    faults = [] if jobs else ["no job ran"]
    placed: list[tuple[Job, Sight]] = []
    for job in jobs:
        if job.slurm_id is None:
            faults.append(f"{job.name}: did not go through sbatch")
        elif job.slurm_id not in sights:
            faults.append(f"{job.name}: no task of SLURM job {job.slurm_id} started")
        else:
            placed.append((job, sights[job.slurm_id]))
    for job, sight in placed:
        if len(sight.devices) != job.gpu:
            faults.append(f"{job.name}: asked for {job.gpu} devices and saw {sorted(sight.devices)}")
    for (job, sight), (other_job, other) in itertools.combinations(placed, 2):
        if sight.overlaps(other) and (shared := sight.devices & other.devices):
            faults.append(f"{job.name} and {other_job.name} saw device {', '.join(sorted(shared))} at the same time")
    return faults


def most_at_once(jobs: list[Job], sights: dict[int, Sight]) -> int:
    """Count the jobs with devices at the moment when most of them ran. Below 2, none could have shared one."""
    held = [sights[job.slurm_id] for job in jobs if job.gpu and job.slurm_id in sights]
    return max((sum(other.start <= sight.start < other.end for other in held) for sight in held), default=0)


def number_faults(one: Path, other: Path) -> list[str]:
    """Say which tables of metrics differ between two folders; equal means every value, to the last bit."""
    names, other_names = ({path.name for path in folder.glob("*.parquet")} for folder in (one, other))
    faults = [f"{name}: only in one of {one} and {other}" for name in sorted(names ^ other_names)]
    if not names & other_names:
        faults.append(f"no table of metrics is in both {one} and {other}")
    for name in sorted(names & other_names):
        tables = [pd.read_parquet(folder / name) for folder in (one, other)]
        if not tables[0].equals(tables[1]):
            faults.append(f"{name}: {_first_difference(*tables)}")
    return faults


def _first_difference(one: pd.DataFrame, other: pd.DataFrame) -> str:
    if one.shape != other.shape or list(one.columns) != list(other.columns):
        return f"{one.shape} rows and columns against {other.shape}"
    rows = (one.ne(other) & ~(one.isna() & other.isna())).any(axis="columns")
    at = int(rows.to_numpy().argmax())
    return (
        f"{rows.sum()} of {len(one)} rows differ, the first {one.iloc[at].to_dict()} against {other.iloc[at].to_dict()}"
    )


def _check_jobs(log: Path, tasks: Path, *, at_once: int) -> list[str]:
    jobs, sights = read_jobs(log.read_text()), read_sights(tasks.read_text())
    most = most_at_once(jobs, sights)
    print(f"{len(jobs)} jobs, {sum(job.gpu > 0 for job in jobs)} of them with devices, at most {most} of these at once")
    too_few = [f"at most {most} jobs with devices ran at once, so this shows nothing"] if most < at_once else []
    return job_faults(jobs, sights) + too_few


def _check_numbers(one: Path, other: Path) -> list[str]:
    print(f"{len(list(one.glob('*.parquet')))} tables of metrics")
    return number_faults(one, other)


def main(command: str, one: str, other: str) -> int:
    """Print what one check found and return the exit code."""
    if command == "numbers":
        faults = _check_numbers(Path(one), Path(other))
    else:
        faults = _check_jobs(Path(one), Path(other), at_once={"jobs": 0, "devices": 2}[command])
    print("\n".join(faults) or "no fault")
    return int(bool(faults))


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
