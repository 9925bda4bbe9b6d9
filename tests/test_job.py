"""Scripts under a real Snakemake, and again without it from their job files."""

import errno
import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from snakemake.iocontainers import InputFiles, Log, OutputFiles, Params, ResourceList, Snakemake, Wildcards

from archgauge import job
from archgauge.errors import TableError

ROOT = Path(__file__).parents[1]

SNAKEFILE = """
rule good:
    input:
        one="in/a.txt",
        many=["in/a.txt", "in/b.txt"],
        single=expand("in/{x}.txt", x=["a"]),
        empty=[],
    output:
        table="results/good/{name}.json",
        text="results/good/{name}.md",
    params:
        code="f123",
        seeds=[1, 2],
        sizes=(3, 4),
        options={"alpha": 0.5, "deep": None},
        family=lambda wildcards: wildcards.name,
    threads: 1
    resources:
        gpu=1,
    log:
        "results/logs/good/{name}.log",
    script:
        "scripts/good.py"
"""

FAILING_RULE = """
rule NAME:
    output:
        table="results/NAME.txt",
    params:
        code="f1",
    log:
        "results/logs/NAME.log",
    script:
        "scripts/NAME.py"
"""

GOOD = """
import json
import os
import sys

import numpy  # loaded before the job's threads are known
import threadpoolctl

from archgauge import job


def main(*, one, many, single, empty, table, text, seeds, sizes, options, family, threads, device, report, fingerprint,
         extra=None):
    print("printed by main")
    print("progress\\r", file=sys.stderr)
    report("loss", 0.5, 3)
    report("final", 1)
    import torch

    pools = [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]
    seen = {name: repr(value) for name, value in locals().items() if name not in ("report", "torch")}
    seen |= {"torch": torch.get_num_threads(), "visible": os.environ["CUDA_VISIBLE_DEVICES"]}
    table.write_text(json.dumps(seen))
    text.write_text("| a table |\\n")


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
"""

FAILING = """
from archgauge import job
from archgauge.errors import TableError


def main(*, table):
    table.write_text("half")
    {statement}


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
"""

STATEMENTS = {
    "clear": 'raise TableError("a test", where="here.parquet", expected="one", got="two", remedy="Count again.")',
    "bug": '{}["absent key"]',
    "full": 'print("x" * 100_000, file=open("/dev/full", "w"))',
    "forbidden": 'raise PermissionError(13, "Permission denied", "locked/table.parquet")',
    "killed": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
}


def environment(**changes: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "CUDA_", "MLFLOW_"))}
    return {**kept, "PYTHONPATH": str(ROOT), "ARCHGAUGE_PRETEND_DEVICES": "2", **changes}


@pytest.fixture(scope="module")
def workflow(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    """Run the small workflow once, to its end; its folder and what Snakemake said."""
    folder = tmp_path_factory.mktemp("workflow")
    rules = [SNAKEFILE, *(FAILING_RULE.replace("NAME", name) for name in STATEMENTS)]
    (folder / "Snakefile").write_text("".join(rules))
    scripts = {"good": GOOD, **{name: FAILING.replace("{statement}", line) for name, line in STATEMENTS.items()}}
    for name, text in scripts.items():
        path = folder / "scripts" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    for name in ("a", "b"):
        path = folder / "in" / f"{name}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    targets = ["results/good/nb201.json", *(f"results/{name}.txt" for name in STATEMENTS)]
    command = [sys.executable, "-m", "snakemake", *targets, "--cores", "2", "--keep-going", "--resources", "gpu=2"]
    done = subprocess.run(
        command, cwd=folder, env=environment(TMPDIR=str(folder)), capture_output=True, text=True, timeout=120
    )
    return folder, done


def records(folder: Path, rule: str) -> list[dict]:
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("results/records/*/record.json"))]
    return [record for record in found if record["job"].partition(" ")[0] == rule]


def again(folder: Path, name: str, job_file: Path, **changes: str) -> subprocess.CompletedProcess:
    """Run a script from its job file, from a folder that is not the workflow's."""
    command = [sys.executable, folder / "scripts" / f"{name}.py", job_file]
    return subprocess.run(command, cwd="/", env=environment(**changes), capture_output=True, text=True, timeout=60)


def test_main_gets_the_rules_names_as_keywords(workflow):
    folder, done = workflow
    assert (folder / "results/good/nb201.json").is_file(), done.stderr
    assert json.loads((folder / "results/good/nb201.json").read_text()) == {
        "one": "PosixPath('in/a.txt')",
        "many": "[PosixPath('in/a.txt'), PosixPath('in/b.txt')]",
        "single": "[PosixPath('in/a.txt')]",
        "empty": "[]",
        "table": "PosixPath('results/good/nb201.json')",
        "text": "PosixPath('results/good/nb201.md')",
        "seeds": "[1, 2]",
        "sizes": "[3, 4]",
        "options": "{'alpha': 0.5, 'deep': None}",
        "family": "'nb201'",
        "threads": "1",
        "device": "'cpu'",
        "fingerprint": "'f123'",
        "extra": "None",
        "pools": "[1, 1]",
        "torch": 1,
        "visible": "0",
    }


def test_what_the_job_prints_is_in_its_log_and_on_the_terminal(workflow):
    folder, done = workflow
    assert (folder / "results/logs/good/nb201.log").read_text() == "printed by main\nprogress\n\n"
    assert "printed by main" in done.stdout + done.stderr


def test_the_job_leaves_a_record(workflow):
    folder, _ = workflow
    (record, *_) = records(folder, "good")
    assert record["job"] == "good nb201"
    assert record["settings"] == {
        "seeds": [1, 2],
        "sizes": [3, 4],
        "options": {"alpha": 0.5, "deep": None},
        "family": "nb201",
        "threads": 1,
    }
    assert (record["fingerprint"], record["device"], record["status"]) == ("f123", "cpu", "done")
    assert set(record["artifacts"]) == {"nb201.job.json", "nb201.md"}
    metrics = (folder / "results/records" / record["record_id"] / "metrics.jsonl").read_text().splitlines()
    assert [[json.loads(line)[key] for key in ("name", "value", "step")] for line in metrics] == [
        ["loss", 0.5, 3],
        ["final", 1.0, 0],
    ]


def test_the_job_file_repeats_the_job_without_snakemake(workflow):
    folder, _ = workflow
    output = folder / "results/good/nb201.json"
    before = output.read_text()
    output.unlink()
    job_file = folder / "results/logs/good/nb201.job.json"
    description = job_file.read_text()
    done = again(folder, "good", job_file, TMPDIR=str(folder))
    assert done.returncode == 0, done.stderr
    assert output.read_text() == before
    assert job_file.read_text() == description
    first, *_, last = records(folder, "good")
    for name in ("job", "settings", "fingerprint", "device", "status"):
        assert first[name] == last[name]


def test_a_job_file_moves_with_its_folder(workflow, tmp_path):
    folder, _ = workflow
    moved = tmp_path / "elsewhere"
    (moved / "results/logs").mkdir(parents=True)
    job_file = moved / "results/logs/clear.job.json"
    job_file.write_text((folder / "results/logs/clear.job.json").read_text())
    done = again(folder, "clear", job_file)
    assert "Count again." in done.stderr
    assert (moved / "results/clear.txt").is_file() is True


def test_a_clear_error_is_one_message_and_the_log_has_the_traceback(workflow):
    folder, done = workflow
    assert done.returncode != 0
    message = "a test at here.parquet: expected one, got two. Count again."
    assert done.stderr.count(message) == 1
    assert (
        f"Error in rule clear: {message}\nThe traceback is in results/logs/clear.log. This job alone: " in done.stderr
    )
    assert "python scripts/clear.py results/logs/clear.job.json\n" in done.stderr
    log = (folder / "results/logs/clear.log").read_text()
    assert log.startswith("Traceback (most recent call last):")
    assert "scripts/" in log
    assert log.count(message) == 1
    assert not (folder / "results/clear.txt").exists()  # Snakemake takes away what a failed job wrote
    (record,) = records(folder, "clear")
    assert record["status"] == "failed"
    assert message in record["error"]


def test_an_unforeseen_error_shows_its_traceback(workflow):
    folder, done = workflow
    assert done.stderr.count("KeyError: 'absent key'") == 1
    assert "Error in rule bug: Traceback (most recent call last):" in done.stderr
    assert (folder / "results/logs/bug.log").read_text().count("KeyError: 'absent key'") == 1


def test_a_full_disk_is_said_in_a_sentence(workflow):
    folder, done = workflow
    expected = "Error in rule full: a file of the job at results ("
    assert done.stderr.count(expected) == 1
    line = next(line for line in done.stderr.splitlines() if expected in line)
    assert "MB free now): expected enough free space, got No space left on device. Free some space and run" in line
    assert "OSError: [Errno 28]" in (folder / "results/logs/full.log").read_text()


def test_a_missing_permission_names_the_file(workflow):
    _, done = workflow
    expected = "at locked/table.parquet: expected permission to read and write, got Permission denied."
    assert done.stderr.count(expected) == 1


def test_a_terminated_job_closes_its_record(workflow):
    folder, done = workflow
    assert done.stderr.count("Interrupted: rule killed\n") == 1
    assert "KeyboardInterrupt" in (folder / "results/logs/killed.log").read_text()
    assert [record["status"] for record in records(folder, "killed")] == ["killed"]


def test_exit_codes(workflow, tmp_path):
    folder, _ = workflow
    logs = folder / "results/logs"
    assert again(folder, "clear", logs / "clear.job.json").returncode == 1
    assert again(folder, "killed", logs / "killed.job.json").returncode == 128 + signal.SIGINT


def test_a_log_that_cannot_be_written_is_said(workflow):
    """Nothing can be made below a file."""
    folder, _ = workflow
    job_file = folder / "results/logs/good/nb201.job.json"
    content = json.loads(job_file.read_text())
    blocked = folder / "blocked.job.json"
    blocked.write_text(json.dumps({**content, "log": "/proc/x.log", "directory": "."}))
    done = again(folder, "good", blocked)
    assert done.returncode == 1
    assert "Error in rule good" in done.stderr
    assert "The traceback is in" not in done.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"rule": "half', "Unterminated string"),
        ('{"rule": "x", "seeds": 3}', "unexpected keyword argument 'seeds'"),
        ('{"rule": "x"}', "missing 10 required"),
        (None, "No such file"),
    ],
)
def test_a_job_file_that_cannot_be_used(tmp_path, content, message):
    path = tmp_path / "x.job.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(job.JobError, match=rf"a job file at .*x\.job\.json: expected one \.job\.json .*{message}"):
        job._read([str(path)])


def test_no_job_file_at_all():
    with pytest.raises(job.JobError, match=r"a job file at the command line: .* or run the rule with Snakemake"):
        job._read([])


# How a rule and its script fit, with Snakemake's own containers


def rule(inputs=None, outputs=None, params=None, log=("results/logs/x.log",)) -> Snakemake:
    params = {"code": "f1"} if params is None else params
    return Snakemake(
        inputs if isinstance(inputs, InputFiles) else InputFiles(fromdict=inputs or {}),
        OutputFiles(fromdict=outputs or {"table": "results/x.parquet"}),
        Params(fromdict=params),
        Wildcards(),
        1,
        ResourceList(),
        Log(list(log)),
        {},
        "x",
        None,
    )


def keywords(main, snakemake) -> dict:
    described = job._of_snakemake(main, snakemake)
    given = job._keywords(described)
    job._check_keywords(described, job.inspect.signature(main).parameters, set(given))
    return given


def plain(*, table, seed=0): ...


def test_a_rule_without_inputs_or_resources():
    assert keywords(plain, rule(params={"code": "f1", "seed": 3})) == {"table": Path("results/x.parquet"), "seed": 3}
    assert job._of_snakemake(plain, rule()).gpu == 0


def test_a_job_file_stands_beside_its_log():
    described = job._of_snakemake(plain, rule(log=["results/logs/n=0.5.log"]))
    assert described.path == Path("results/logs/n=0.5.job.json")
    assert described.directory == "../.."
    assert described.script == os.path.relpath(__file__)


@pytest.mark.parametrize(
    ("snakemake", "message"),
    [
        (rule(params={}), "the params of a rule at rule x: expected a param `code` with the fingerprint"),
        (rule(log=[]), r"the log of a rule at rule x: expected one log file, got \[\]"),
        (rule(inputs=InputFiles(["a.txt"])), "the inputs of a rule at rule x: expected a name for each, got 1 without"),
        (rule(params={"code": "f", "seed": {1, 2}}), "the params of a rule .* got Object of type set is not JSON"),
        (rule(inputs={"table": "a"}), "rule x: expected each name once, got table more than once"),
        (
            rule(inputs={"labels": "a"}),
            r"keywords of main at .*: expected table, seed, got not known to main: labels\.",
        ),
        (rule(outputs={"tables": "a"}), "got missing: table; not known to main: tables"),
        (rule(params={"code": "f", "device": "cpu"}), "not known to main: device; reserved for job.run: device"),
    ],
)
def test_a_rule_that_does_not_fit_its_script(snakemake, message):
    with pytest.raises(job.JobError, match=message):
        keywords(plain, snakemake)


def test_a_disk_error_is_found_behind_another_error():
    try:
        try:
            raise OSError(errno.EDQUOT, "Disk quota exceeded", "table.parquet")
        except OSError as first:
            raise RuntimeError("cannot save") from first
    except RuntimeError as error:
        shown = job._disk_error(error, None)
    assert "table.parquet: expected space left in your quota, got Disk quota exceeded" in str(shown)
    assert job._disk_error(FileNotFoundError(errno.ENOENT, "none"), None) is None


def test_a_clear_error_stays_itself():
    error = TableError("a", where="b", expected="c", got="d", remedy="e.")
    assert job._message(error, None) == "a at b: expected c, got d. e.\n"


def test_job_errors_travel_between_processes():
    error = job.JobError("a", where="b", expected="c", got="d", remedy="e.")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
