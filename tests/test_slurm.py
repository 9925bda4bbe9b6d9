"""The SLURM profile, and the checks of a run on SLURM against runs with planted faults. The real run is tests/slurm."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml
from slurm import check
from snakemake_executor_plugin_slurm.utils import set_gres_string

ROOT = Path(__file__).parents[1]
PROFILES = sorted((ROOT / "profiles").glob("*/config.yaml"))

LOG = """
[Sun Nov 22 01:31:59 2026]
rule convert:
    output: results/graphs/nb201.parquet
    jobid: 1
    wildcards: family=nb201
    threads: 2
    resources: tmpdir=<TBD>, mem_mb=4000, mem=4 GB, runtime=720, gpu=0
[Sun Nov 22 01:31:59 2026]
rule pretrain:
    output: results/encoders/one.pt
    jobid: 2
    wildcards: encoder=one
    resources: tmpdir=<TBD>, mem_mb=4000, mem=4 GB, gpu=1, runtime=720
Job 2 has been submitted with SLURM jobid 31 (log: /scratch/rule_pretrain/one/31.log).

[Sun Nov 22 01:31:59 2026]
checkpoint pretrain_two:
    jobid: 3
    resources: tmpdir=<TBD>, gpu=2
Job 1 has been submitted with SLURM jobid 30 (log: /scratch/rule_convert/nb201/30.log).
Job 3 has been submitted with SLURM jobid 32 (log: /scratch/rule_pretrain_two/32.log).
[Sun Nov 22 01:33:59 2026]
localrule all:
    input: results/tables/one.md
    jobid: 0
    resources: tmpdir=/tmp
"""

TASKS = """\
start 30 10.5 none
start 31 10.0 0
start 32 11.0 1,2
start 31 12.0 0
end 31 14.0 0
end 32 14.5 1,2
end 30 15.0 none
"""


def faults(log: str = LOG, tasks: str = TASKS) -> list[str]:
    return check.job_faults(check.read_jobs(log), check.read_sights(tasks))


def test_profiles_rerun_for_the_same_reasons():
    """An explicit profile replaces the default one, so each has to hold them."""
    names = {path.parent.name for path in PROFILES}
    assert {"default", "slurm"} <= names
    for path in PROFILES:
        settings = yaml.safe_load(path.read_text())
        assert sorted(settings["rerun-triggers"]) == ["input", "mtime", "params"], path
        assert settings["rerun-incomplete"] is True, path


def test_snakemake_takes_the_slurm_profile(tmp_path):
    """A dry run reads every key of the profile; it needs no SLURM."""
    arguments = ["--workflow-profile", "profiles/slurm", "--snakefile", "tests/slurm/devices.smk"]
    command = [sys.executable, "-m", "snakemake", "--dry-run", *arguments, "--directory", str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "mem_mb=500" in ended.stdout + ended.stderr  # the rule's, beside the profile's runtime
    assert "runtime=720" in ended.stdout + ended.stderr


def test_slurm_is_asked_for_the_devices_of_the_rule():
    """What the plugin makes of `gpu`; were it to ask for a device at gpu=0, jobs without one would wait for it."""
    assert set_gres_string(SimpleNamespace(resources={"gpu": 2})).split() == ["--gpus=2"]
    assert set_gres_string(SimpleNamespace(resources={"gpu": 0})).split() == []


def test_jobs_are_read_from_the_log():
    assert check.read_jobs(LOG) == [
        check.Job("convert family=nb201", 0, 30),
        check.Job("pretrain encoder=one", 1, 31),
        check.Job("pretrain_two", 2, 32),
    ]
    sights = check.read_sights(TASKS)
    assert sights[31] == check.Sight(frozenset("0"), 10.0, 14.0)
    assert check.most_at_once(check.read_jobs(LOG), sights) == 2
    assert faults() == []


def test_a_block_without_number_is_an_error():
    with pytest.raises(ValueError, match=r"no '\^    jobid"):
        check.read_jobs("rule convert:\n    output: graphs.parquet\n")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("Job 1 has been submitted", "Job 1 was", "convert family=nb201: did not go through sbatch"),
        ("\nrule pretrain:", "\nlocalrule pretrain:", "pretrain encoder=one: did not go through sbatch"),
        ("SLURM jobid 32", "SLURM jobid 33", "pretrain_two: no task of SLURM job 33 started"),
        ("gpu=1", "gpu=0", "pretrain encoder=one: asked for 0 devices and saw ['0']"),
        ("gpu=0", "gpu=1", "convert family=nb201: asked for 1 devices and saw []"),
    ],
)
def test_a_job_that_went_wrong_is_named(old, new, expected):
    assert LOG.count(old) == 1
    assert faults(log=LOG.replace(old, new)) == [expected]


def test_a_device_seen_twice_at_once_is_named():
    tasks = TASKS.replace("1,2", "0,2")
    assert faults(tasks=tasks) == ["pretrain encoder=one and pretrain_two saw device 0 at the same time"]
    later = tasks.replace("start 32 11.0", "start 32 14.0")  # the other has just ended
    assert faults(tasks=later) == []
    assert check.most_at_once(check.read_jobs(LOG), check.read_sights(later)) == 1


def test_a_run_of_nothing_is_a_fault():
    assert faults(log="Nothing to be done (all requested files are present and up to date).\n") == ["no job ran"]


def test_check_ends_with_its_verdict(tmp_path, capsys):
    log, tasks = tmp_path / "snakemake.log", tmp_path / "tasks.log"
    log.write_text(LOG)
    tasks.write_text(TASKS)
    assert check.main("devices", str(log), str(tasks)) == 0
    assert capsys.readouterr().out == "3 jobs, 2 of them with devices, at most 2 of these at once\nno fault\n"
    tasks.write_text(TASKS.replace("start 32 11.0", "start 32 14.0"))
    assert check.main("jobs", str(log), str(tasks)) == 0
    assert check.main("devices", str(log), str(tasks)) == 1
    assert "at most 1 jobs with devices ran at once" in capsys.readouterr().out


@pytest.fixture
def metrics(tmp_path) -> tuple[Path, Path]:
    table = pd.DataFrame({"predictor": ["macs", "params"], "metric": "kendall", "value": [0.5, float("nan")]})
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        table.to_parquet(tmp_path / name / "few_labels.parquet")
    return tmp_path / "one", tmp_path / "other"


def test_equal_numbers_are_no_fault(metrics, capsys):
    assert check.number_faults(*metrics) == []
    assert check.main("numbers", *map(str, metrics)) == 0
    assert capsys.readouterr().out == "1 tables of metrics\nno fault\n"


def test_a_number_in_its_last_bit_is_a_fault(metrics):
    path = metrics[1] / "few_labels.parquet"
    table = pd.read_parquet(path)
    table.loc[0, "value"] += 1e-16
    table.to_parquet(path)
    (fault,) = check.number_faults(*metrics)
    assert fault.startswith("few_labels.parquet: 1 of 2 rows differ, the first {'predictor': 'macs'")
    table.head(1).to_parquet(path)
    assert check.number_faults(*metrics) == ["few_labels.parquet: (2, 3) rows and columns against (1, 3)"]


def test_a_missing_table_is_a_fault(metrics):
    (metrics[1] / "few_labels.parquet").rename(metrics[1] / "zero_shot.parquet")
    only, other, none = check.number_faults(*metrics)
    assert only.startswith("few_labels.parquet: only in one of")
    assert other.startswith("zero_shot.parquet: only in one of")
    assert none.startswith("no table of metrics is in both")


def test_cluster_says_how_to_use_it(tmp_path):
    cluster = ROOT / "tests" / "slurm" / "cluster"
    ended = subprocess.run([cluster], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert all(f"tests/slurm/cluster {verb} " in ended.stdout for verb in ("up", "down", "run"))
    environment = {"PATH": "/usr/bin:/bin", "ARCHGAUGE_SLURM_FOLDER": str(tmp_path / "none")}
    ended = subprocess.run([cluster, "run", "true"], capture_output=True, text=True, check=False, env=environment)
    assert ended.returncode == 1
    assert "SLURM is not up; start it with: tests/slurm/cluster up" in ended.stderr
