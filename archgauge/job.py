"""The one module that knows Snakemake: it runs a workflow script's `main` as a job.

A script in `workflow_scripts/` is a function of plain keywords and ends in

    if __name__ == "__main__":
        job.run(main, globals().get("snakemake"))

The rule's named inputs, outputs and params become keywords of `main`: files as `Path` (several files as a list),
params as plain JSON values. What the job is goes to a file beside the rule's log (`x.log`, `x.job.json`), and

    python workflow_scripts/embed.py results/logs/embed.job.json

runs the same job again from that file, without Snakemake.
"""

import errno
import faulthandler
import inspect
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TextIO

import threadpoolctl

from archgauge import devices, tracking
from archgauge.errors import ArchgaugeError
from archgauge.files import whole_file
from archgauge.workflow_lock import job_at_work

RECORDS = Path("results/records")
READABLE = frozenset({".md", ".csv", ".tex", ".svg", ".html"})
SUFFIX = ".job.json"
CODE = "code"
"""The param that carries the fingerprint of the rule's code; `main` does not get it."""

OFFERED = frozenset({"threads", "device", "report", "fingerprint"})
"""Keywords that `main` gets from here when its signature names them."""

_DISK_ERRORS = {
    errno.ENOSPC: ("enough free space", "Free some space"),
    errno.EDQUOT: ("space left in your quota", "Free some space"),
    errno.EACCES: ("permission to read and write", "Correct the permissions, or work in a folder of your own"),
    errno.EPERM: ("permission to read and write", "Correct the permissions, or work in a folder of your own"),
    errno.EROFS: ("a file system that can be written to", "Work in a folder that can be written to"),
}

Files = Mapping[str, str | list[str]]


class JobError(ArchgaugeError):
    """A rule and its script do not fit together, or a job file cannot be used."""


@dataclass(frozen=True)
class Job:
    """What one job is, in plain values.

    Attributes:
        rule: name of the rule.
        script: path of the script.
        inputs, outputs: files by name, paths relative to the working directory; a list stays a list.
        params: JSON values by name, without the fingerprint.
        wildcards: what distinguishes the job from others of its rule.
        threads: how many the job may use.
        gpu: how many devices the job may use.
        fingerprint: of the rule's code.
        log: path of the rule's log.
        directory: the working directory, relative to the folder of the log.
    """

    rule: str
    script: str
    inputs: Files
    outputs: Files
    params: Mapping[str, Any]
    wildcards: Mapping[str, str]
    threads: int
    gpu: int
    fingerprint: str
    log: str
    directory: str

    @property
    def path(self) -> Path:
        """Where the job is written: beside the log."""
        return Path(self.log.removesuffix(".log") + SUFFIX)


def run(main: Callable[..., None], snakemake: Any = None) -> None:
    """Run `main` as the job that Snakemake asks for, or that the job file on the command line describes.

    `main` also gets `threads`, `device` (a torch device), `report` (a callable of name, value, step that logs a metric)
    and `fingerprint` (of the rule's code), each only when its signature names it.

    What the job prints goes to the rule's log as well. When it fails the traceback goes to the log and the process ends
    with exit code 1; an error that Archgauge understands is one message on stderr, any other shows its traceback there.
    """
    signal.signal(signal.SIGTERM, _terminate)
    job, logged = None, False
    try:
        job = _read(sys.argv[1:]) if snakemake is None else _of_snakemake(main, snakemake)
        _write(job)
        with _logged(Path(job.log)):
            logged = True
            _execute(main, job)
    except KeyboardInterrupt:
        sys.stderr.write(f"Interrupted{f': rule {job.rule}' if job else ''}\n")
        raise SystemExit(130) from None
    except Exception as error:
        sys.stderr.write(_message(error, job))
        if job and logged:
            sys.stderr.write(f"The traceback is in {job.log}. This job alone: python {job.script} {job.path}\n")
        raise SystemExit(1) from None


def _execute(main: Callable[..., None], job: Job) -> None:
    wanted = inspect.signature(main).parameters
    keywords = _keywords(job)
    _check_keywords(job, wanted, set(keywords))
    _limit_threads(job.threads)
    with job_at_work(f"rule {job.rule}"), devices.lease(job.gpu) as device, _record(job, device) as record:
        offered = {
            "threads": job.threads,
            "device": device,
            "report": record.metric,
            "fingerprint": job.fingerprint,
        }
        main(**keywords, **{name: value for name, value in offered.items() if name in wanted})
        _keep_artifacts(job, record)


def _record(job: Job, device: str) -> AbstractContextManager[tracking.Record]:
    return tracking.open_record(
        RECORDS,
        # What sets a job apart comes first: MLflow's page cuts names off.
        job=" ".join([job.rule, *reversed(list(job.wildcards.values()))]),
        settings={**job.params, "threads": job.threads},
        fingerprint=job.fingerprint,
        device=device,
        uri=tracking.tracking_uri(RECORDS.parent),
    )


def _keep_artifacts(job: Job, record: tracking.Record) -> None:
    """Keep what repeats the job and what people read; data tables stay where they are."""
    outputs = [file for file in _files(job.outputs) if file.suffix in READABLE and file.is_file()]
    for file in [job.path, *outputs]:
        record.artifact(file)


def _keywords(job: Job) -> dict[str, Any]:
    groups = (_paths(job.inputs), _paths(job.outputs), job.params)
    names = [name for group in groups for name in group]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise JobError(
            "the names of inputs, outputs and params",
            where=f"rule {job.rule}",
            expected="each name once",
            got=f"{', '.join(repeated)} more than once",
            remedy="Rename one of them in the rule and in its script.",
        )
    return {name: value for group in groups for name, value in group.items()}


def _paths(files: Files) -> dict[str, Path | list[Path]]:
    return {name: _path(value) for name, value in files.items()}


def _files(files: Files) -> list[Path]:
    return [one for value in _paths(files).values() for one in (value if isinstance(value, list) else [value])]


def _path(value: str | list[str]) -> Path | list[Path]:
    return [Path(one) for one in value] if isinstance(value, list) else Path(value)


def _check_keywords(job: Job, wanted: Mapping[str, inspect.Parameter], given: set[str]) -> None:
    needed = {name for name, parameter in wanted.items() if parameter.default is parameter.empty}
    missing, unknown, reserved = needed - given - OFFERED, given - set(wanted), given & OFFERED
    if missing or unknown or reserved:
        parts = {"missing": missing, "not known to main": unknown, "reserved for job.run": reserved}
        raise JobError(
            "the keywords of main",
            where=f"{job.script} (rule {job.rule})",
            expected=", ".join(wanted) or "none",
            got="; ".join(f"{what}: {', '.join(sorted(names))}" for what, names in parts.items() if names),
            remedy="Give the rule an input, output or param of the name, or take it away from one side.",
        )


def _limit_threads(threads: int) -> None:
    """Keep libraries to the rule's threads, those that are loaded and those that `main` will load."""
    for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR"):
        os.environ[f"{library}_NUM_THREADS"] = str(threads)
    threadpoolctl.threadpool_limits(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


# The job's description, from Snakemake or from a file


def _of_snakemake(main: Callable[..., None], snakemake: Any) -> Job:
    rule = snakemake.rule
    params = _named(rule, "params", snakemake.params)
    if CODE not in params:
        raise _wrong_rule(rule, "the params", f"a param `{CODE}` with the fingerprint of the rule's code", list(params))
    if len(snakemake.log) != 1:
        raise _wrong_rule(rule, "the log", "one log file", list(snakemake.log))
    log = str(snakemake.log[0])
    return Job(
        rule=rule,
        script=os.path.relpath(main.__globals__["__file__"]),
        inputs=_named(rule, "inputs", snakemake.input),
        outputs=_named(rule, "outputs", snakemake.output),
        params={name: value for name, value in params.items() if name != CODE},
        wildcards={name: str(value) for name, value in snakemake.wildcards.items()},
        threads=int(snakemake.threads),
        gpu=int(snakemake.resources.get("gpu", 0)),
        fingerprint=params[CODE],
        log=log,
        directory=os.path.relpath(Path.cwd(), Path(log).parent),
    )


def _named(rule: str, what: str, values: Any) -> dict[str, Any]:
    """Return Snakemake's named values as plain ones: what JSON can hold, and what comes back from it."""
    named = dict(values.items())
    # A name can stand for several files; a param is one value, whatever it is.
    count = sum(len(value) if what != "params" and isinstance(value, list) else 1 for value in named.values())
    if count < len(values):
        raise _wrong_rule(rule, f"the {what}", "a name for each", f"{len(values) - count} without a name")
    try:
        return {name: json.loads(json.dumps(value)) for name, value in named.items()}
    except TypeError as error:
        raise _wrong_rule(rule, f"the {what}", "numbers, text, lists and mappings", error) from error


def _wrong_rule(rule: str, checked: str, expected: object, got: object) -> JobError:
    remedy = "Correct the rule; the header of archgauge/job.py says what it must give."
    return JobError(f"{checked} of a rule", where=f"rule {rule}", expected=expected, got=got, remedy=remedy)


def _write(job: Job) -> None:
    with whole_file(job.path) as temporary:
        temporary.write_text(json.dumps(asdict(job), indent=2) + "\n")


def _read(arguments: list[str]) -> Job:
    """Read the job file that the command line names, and go to the job's working directory."""
    wanted = {field.name for field in fields(Job)}
    where = arguments[0] if arguments else "the command line"
    try:
        (name,) = arguments
        path = Path(name).resolve()
        content = json.loads(path.read_text())
        job = Job(**content)
        os.chdir(path.parent / job.directory)
    except (ValueError, TypeError, OSError) as error:
        raise JobError(
            "a job file",
            where=where,
            expected=f"one {SUFFIX} file with {', '.join(sorted(wanted))}",
            got=f"{type(error).__name__}: {error}",
            remedy="Give the file that Snakemake left beside the rule's log, or run the rule with Snakemake.",
        ) from error
    return job


# Output and errors


class _Tee:
    """A text stream that copies what is written to it into a log."""

    def __init__(self, stream: TextIO, log: TextIO):
        self._stream, self._log = stream, log

    def write(self, text: str) -> int:
        # A progress bar draws over itself with carriage returns; a log keeps the lines.
        _write_log(self._log, text.replace("\r", "\n"))
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _write_log(log: TextIO, text: str) -> None:
    # On a full disk the text still goes to stderr, and the job's own writing says what is wrong.
    with suppress(OSError):
        log.write(text)


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Copy stdout, stderr, and the traceback of what the block raises to a log file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", buffering=1) as log:
        faulthandler.enable(log)  # a crash inside a library leaves the Python stack in the log
        try:
            with redirect_stdout(_Tee(sys.stdout, log)), redirect_stderr(_Tee(sys.stderr, log)):
                yield
        except BaseException:
            _write_log(log, traceback.format_exc())
            raise
        finally:
            faulthandler.disable()


def _message(error: Exception, job: Job | None) -> str:
    """Say what went wrong, once: a clear error as a sentence, any other with its traceback."""
    shown = error if isinstance(error, ArchgaugeError) else _disk_error(error, job)
    text = f"{shown}\n" if shown else "".join(traceback.format_exception(error))
    return f"Error in rule {job.rule}: {text}" if job else text


def _disk_error(error: BaseException | None, job: Job | None) -> ArchgaugeError | None:
    """Return a clear error when a full disk or a missing permission is behind an error, else None."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            expected, remedy = _DISK_ERRORS[error.errno]
            return JobError(
                "a file of the job",
                where=error.filename or _output_folders(job),
                expected=expected,
                got=error.strerror or error,
                remedy=f"{remedy} and run the same command again: what is done is kept.",
            )
        error = error.__cause__ or error.__context__
    return None


def _output_folders(job: Job | None) -> str:
    """Name the folders that a job writes to: a failed write does not say which file it was."""
    folders = sorted({str(file.parent) for file in _files(job.outputs)} if job else {"."})
    return ", ".join(f"{folder} ({_free_mb(Path(folder))} MB free now)" for folder in folders)


def _free_mb(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free // 10**6


def _terminate(_signal_number: int, _frame: object) -> None:
    """End as on Ctrl-C: half-written files are removed and the record is closed."""
    raise KeyboardInterrupt
