"""The one sender that shows the jobs' records in MLflow.

`send_records` brings an MLflow up to date with a folder of records (`archgauge.records`) and may be repeated at any
moment. It finds a run by the tag `archgauge.record_id` before it makes one, and MLflow keeps one copy of equal
metrics, so a sender that died anywhere is simply followed by another. What was acknowledged is noted in
`<record>/sent-<key of the MLflow>.json`, which spares requests and may be deleted.

While jobs run, one process a machine (`_follow`) does the same every few seconds; jobs start it and never wait for
it. MLflow is imported in this module alone, and only once there is something to send.
"""

import hashlib
import json
import os
import re
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from archgauge.files import sha256, whole_file
from archgauge.records import (
    Record,
    TrackingError,
    bury,
    live_lock,
    open_record,
    read_record,
    record_paths,
    runs_here,
    write_json,
)

__all__ = ["Record", "SendSummary", "TrackingError", "create_database", "open_record", "send_records", "tracking_uri"]

RECORD_TAG = "archgauge.record_id"
ERROR_TAG = "archgauge.error"
LIVE_EVERY_S = 2.0  # pause of the live sender
PASS_LIMIT_S = 60  # the live sender ends itself when one pass takes longer; a running job starts the next

_RUNS_VIEW = {"mlflow.experimentKind": "custom_model_development"}  # else its page opens on traces of language models

# MLflow's own limits on names and on values in one request (its server refuses what is larger).
_NAME_LIMIT, _PARAM_LIMIT, _TAG_LIMIT = 250, 6000, 8000
_METRICS_A_REQUEST, _PARAMS_A_REQUEST = 1000, 25
_ENDINGS = {"done": "FINISHED", "failed": "FAILED", "killed": "KILLED"}


@dataclass(frozen=True)
class SendSummary:
    """What one call of `send_records` did, by record id."""

    sent: tuple[str, ...] = ()  # now complete in MLflow
    unchanged: tuple[str, ...] = ()  # were complete already
    pending: dict[str, str] = field(default_factory=dict)  # why: still running, server away, another sender has it
    failed: dict[str, str] = field(default_factory=dict)  # why this record is refused though the server answers

    def __str__(self) -> str:
        lines = [
            f"MLflow: {len(self.sent)} records sent, {len(self.unchanged)} there already, "
            f"{len(self.pending)} pending, {len(self.failed)} failed"
        ]
        lines += [f"  failed {name}: {reason}" for name, reason in self.failed.items()]
        lines += [f"  {reason}" for reason in dict.fromkeys(self.pending.values())]
        return "\n".join(lines)


def tracking_uri(results: str | Path) -> str:
    """Return `MLFLOW_TRACKING_URI` where it is set, else the SQLite database under `results`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path(results).absolute() / 'mlflow.db'}"


def create_database(uri: str) -> None:
    """Make the SQLite database of `uri` where it is missing, and check it; a server minds its own tables.

    MLflow cannot do this from several processes at once, so they take turns. A kill leaves no half database.

    Raises:
        TrackingError: when the database cannot be created, or an existing file is no usable MLflow database.
    """
    path = _sqlite_path(uri)
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock", timeout=120):
            if not path.exists():
                with whole_file(path) as empty:
                    _client(f"sqlite:///{empty}").search_experiments(max_results=1)
    except (OSError, Timeout) as error:
        raise TrackingError(
            "creating the MLflow database",
            where=path,
            expected="a writable folder",
            got=f"{type(error).__name__}: {error}",
            remedy="Free the disk or the permission; the records are kept and are sent later.",
        ) from error
    _check_database(path)


def send_records(folder: str | Path, uri: str) -> SendSummary:
    """Bring the MLflow at `uri` up to date with all records of `folder`. Safe to repeat, to kill and to run twice.

    It never raises because of the server, and gives up within seconds when the server is away or hangs. Jobs that
    died without a word are first marked as killed, in their record too. A record sent before costs no request,
    unless the experiment is another one than it was sent to: then the database is new, and all is sent again.
    """
    return _send_all(Path(folder), _absolute(uri), frozenset())


def _follow(folder: Path, uri: str) -> None:
    """Send every few seconds while a job of this machine runs, and once after the last one ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the jobs; this process sees them end
    with suppress(Timeout), FileLock(live_lock(folder)).acquire(timeout=1):
        os.nice(10)
        settled: frozenset[str] = frozenset()
        alive = True
        while alive:
            alive = any(runs_here(path) for path in record_paths(folder, settled))
            signal.alarm(PASS_LIMIT_S)
            summary = _send_all(folder, uri, settled)
            signal.alarm(0)
            if summary.sent or summary.failed:
                print(summary, flush=True)
            settled |= {*summary.sent, *summary.unchanged}
            if alive:
                time.sleep(LIVE_EVERY_S)


@dataclass
class _Sent:
    """What one MLflow has acknowledged of one record."""

    experiment: str = ""  # identity of the MLflow experiment; all else is void in another one
    run_id: str = ""
    params: bool = False
    metric_bytes: int = 0
    artifacts: dict[str, str] = field(default_factory=dict)  # name -> sha256
    error: bool = False
    complete: str = ""  # digest of the ended record that was sent to the end


class _Destination:
    """An MLflow that answered; the constructor raises when it does not."""

    def __init__(self, uri: str):
        database = _sqlite_path(uri)
        if database is not None:
            create_database(uri)
        self.client = _client(uri)
        self.state_name = f"sent-{hashlib.sha256(uri.encode()).hexdigest()[:12]}.json"
        self._artifacts = (database.parent / "mlartifacts").as_uri() if database is not None else None
        self._experiments: dict[str, tuple[str, str]] = {}
        self.client.search_experiments(max_results=1)

    def answers(self) -> bool:
        try:
            self.client.search_experiments(max_results=1)
        except Exception:  # whatever a server's client raises, it is no answer
            return False
        return True

    def experiment(self, name: str) -> tuple[str, str]:
        """Return the experiment's id, and an identity that no experiment of a rebuilt database shares."""
        if name not in self._experiments:
            found = self.client.get_experiment_by_name(name)
            if found is None:
                found = self._create_experiment(name)
            self._experiments[name] = (found.experiment_id, f"{found.experiment_id}@{found.creation_time}")
        return self._experiments[name]

    def _create_experiment(self, name: str):
        try:
            return self.client.get_experiment(self.client.create_experiment(name, self._artifacts, _RUNS_VIEW))
        except Exception:
            found = self.client.get_experiment_by_name(name)  # another sender may have been faster
            if found is None:
                raise
            return found


def _send_all(folder: Path, uri: str, settled: frozenset[str]) -> SendSummary:
    done: dict[str, list[str]] = {"sent": [], "unchanged": []}
    pending: dict[str, str] = {}
    failed: dict[str, str] = {}
    paths: list[Path] = []
    for path in record_paths(folder, settled):
        try:
            bury(path)
            paths.append(path)
        except (TrackingError, OSError) as error:
            failed[path.name] = str(error)
    destination: _Destination | None = None
    for position, path in enumerate(paths):
        try:
            destination = destination or _Destination(uri)
            with FileLock(path / ".lock").acquire(timeout=1):
                outcome = _send_one(destination, path)
            if outcome in done:
                done[outcome].append(path.name)
            else:
                pending[path.name] = outcome
        except Timeout:
            pending[path.name] = "another sender is at work"
        except Exception as error:  # the client of a foreign server may raise anything, and no job may fail by it
            if destination is not None and destination.answers():
                failed[path.name] = _reason(error)
            else:
                pending |= dict.fromkeys((left.name for left in paths[position:]), _reason(error))
                break
    return SendSummary(tuple(done["sent"]), tuple(done["unchanged"]), pending, failed)


def _send_one(destination: _Destination, path: Path) -> str:
    """Post what is new in one record; the caller holds its lock. Return `sent`, `unchanged` or why it is pending."""
    fields = read_record(path)  # before the metrics: all metrics of an ended job are in the file by now
    digest = f"{sha256(path / 'record.json')}+{(path / 'metrics.jsonl').stat().st_size}"
    experiment_id, identity = destination.experiment(fields["experiment"])
    state = _read_state(path / destination.state_name)
    if state.experiment == identity and state.complete == digest:
        return "unchanged"
    if state.experiment != identity:
        state = _Sent(experiment=identity)
    ended = fields["status"] != "running"
    if ended or not state.run_id:
        run_id = _find_or_create_run(destination.client, experiment_id, fields, state.run_id)
        if run_id != state.run_id:
            state = _Sent(experiment=identity, run_id=run_id)
            _save_state(path, destination, state)
    _send_values(destination, path, fields, state)
    if ended:
        _send_ending(destination.client, fields, state)
    _send_artifacts(destination, path, fields, state)
    if not ended:
        return "the job is running"
    destination.client.log_artifact(state.run_id, str(path / "record.json"))
    state.complete = digest
    _save_state(path, destination, state)
    return "sent"


def _find_or_create_run(client, experiment_id: str, fields: dict[str, Any], known: str) -> str:
    """Return the record's one run.

    A request that a slow server answers too late may have made a run that nobody heard of. So the tag is searched
    before a run is made and again when the record has ended, and of several runs one stays.
    """
    runs = client.search_runs([experiment_id], filter_string=f"tags.`{RECORD_TAG}` = '{fields['record_id']}'")
    found = sorted(run.info.run_id for run in runs)
    if found:
        kept = known if known in found else found[0]
        for surplus in found:
            if surplus != kept:
                client.delete_run(surplus)
        return kept
    tags = {
        RECORD_TAG: fields["record_id"],
        "archgauge.fingerprint": fields["fingerprint"],
        "archgauge.commit": fields["commit"] or "unknown",
        "archgauge.host": fields["host"],
        "archgauge.device": fields["device"],
        "mlflow.source.name": fields["job"],
    }
    tags = {key: value[:_TAG_LIMIT] for key, value in tags.items()}
    name = fields["job"][:_NAME_LIMIT]
    return client.create_run(experiment_id, start_time=fields["start_time_ms"], tags=tags, run_name=name).info.run_id


def _send_values(destination: _Destination, path: Path, fields: dict[str, Any], state: _Sent) -> None:
    """Post settings, once, and the metrics behind the last acknowledged byte."""
    from mlflow.entities import Metric, Param

    if not state.params:
        params = [Param(_name(key), value[:_PARAM_LIMIT]) for key, value in _flat(fields["settings"])]
        for start in range(0, len(params), _PARAMS_A_REQUEST):
            destination.client.log_batch(state.run_id, params=params[start : start + _PARAMS_A_REQUEST])
        state.params = True
        _save_state(path, destination, state)
    batches = _metric_batches(path / "metrics.jsonl", state.metric_bytes)
    for lines, end in batches:
        metrics = [Metric(_name(line["name"]), line["value"], line["time_ms"], line["step"]) for line in lines]
        destination.client.log_batch(state.run_id, metrics=metrics)
        state.metric_bytes = end
        _save_state(path, destination, state)


def _send_ending(client, fields: dict[str, Any], state: _Sent) -> None:
    if fields["error"]:
        client.set_tag(state.run_id, ERROR_TAG, fields["error"][-_TAG_LIMIT:])  # a traceback ends with the error
    elif state.error:  # taken for dead while it was only suspended
        client.delete_tag(state.run_id, ERROR_TAG)
    state.error = bool(fields["error"])
    client.set_terminated(state.run_id, status=_ENDINGS[fields["status"]], end_time=fields["end_time_ms"])


def _send_artifacts(destination: _Destination, path: Path, fields: dict[str, Any], state: _Sent) -> None:
    for name, entry in fields["artifacts"].items():
        if entry["copied"] and state.artifacts.get(name) != entry["sha256"]:
            destination.client.log_artifact(state.run_id, str(path / "artifacts" / name))
            state.artifacts[name] = entry["sha256"]
            _save_state(path, destination, state)


def _metric_batches(path: Path, start: int) -> Iterator[tuple[list[dict[str, Any]], int]]:
    """Yield whole lines from byte `start` on, with the byte behind them. What is torn is left out."""
    with path.open("rb") as file:
        file.seek(start)
        batch: list[dict[str, Any]] = []
        end = start
        for raw in file:
            if not raw.endswith(b"\n"):
                break
            end += len(raw)
            with suppress(ValueError):
                batch.append(json.loads(raw))
            if len(batch) == _METRICS_A_REQUEST:
                yield batch, end
                batch = []
        if batch:
            yield batch, end


def _flat(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)


def _name(name: str) -> str:
    """Return a name that MLflow takes: `ndcg@10` becomes `ndcg at 10`; other changes end in a hash of the name."""
    spelt = name.replace("@", " at ")
    plain = re.sub(r"[^\w\-.: /]", "_", spelt)[: _NAME_LIMIT - 9]
    plain = "/".join(part for part in plain.split("/") if part not in ("", ".")) or "_"  # else MLflow sees a path
    plain = re.sub(r"(^|(?<=/))\.\.", "__", plain)
    return plain if plain == spelt else f"{plain}:{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _client(uri: str):
    # A telemetry call would hang offline; the user's own values of these variables win.
    for variable in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        os.environ.setdefault(variable, "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # the next pass is the retry
    from mlflow import MlflowClient

    return MlflowClient(uri)


def _sqlite_path(uri: str) -> Path | None:
    scheme, _, rest = uri.partition(":///")
    return Path(rest).absolute() if scheme == "sqlite" else None


def _absolute(uri: str) -> str:
    path = _sqlite_path(uri)
    return uri if path is None else f"sqlite:///{path}"


def _check_database(path: Path) -> None:
    """Open the database as SQLite does: MLflow would try again for 100 s before it says what is wrong."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=3)) as database:
            database.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        raise TrackingError(
            "the MLflow database",
            where=path,
            expected="an SQLite file with MLflow's tables",
            got=f"{type(error).__name__}: {error}",
            remedy="If nothing else is using it, delete it and send again: it is rebuilt from the records.",
        ) from error


def _reason(error: Exception) -> str:
    """Put an error in one line without the password that an address may hold."""
    text = " ".join(str(error).split())
    return re.sub(r"//[^/@\s]+@", "//", f"{type(error).__name__}: {text}")[:500]


def _read_state(path: Path) -> _Sent:
    """Read the sender's notes. Without them everything is posted again, which changes nothing."""
    try:
        return _Sent(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return _Sent()


def _save_state(path: Path, destination: _Destination, state: _Sent) -> None:
    write_json(path / destination.state_name, asdict(state))


def main(arguments: list[str]) -> int:
    """`send <folder> <uri>` sends once and prints the summary; `follow <folder>` is the live sender."""
    if len(arguments) == 3 and arguments[0] == "send":
        summary = send_records(arguments[1], arguments[2])
        print(summary)
        return 1 if summary.failed else 0
    if len(arguments) == 2 and arguments[0] == "follow":
        _follow(Path(arguments[1]), os.environ["MLFLOW_TRACKING_URI"])
        return 0
    print("usage: python -m archgauge.tracking send <folder> <uri>", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
