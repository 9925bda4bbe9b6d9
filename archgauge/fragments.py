"""Fragments: the results of single runs, kept so that a sweep repeats only what is new.

A sweep job makes one table a run, and a run is often one (n_train, split, seed). Each table is stored under a key over
everything that it depends on: its settings, the code's fingerprint and the content of the input files. A kill loses
the run that was under way; going from 5 to 10 seeds computes 5.
"""

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from tqdm import tqdm

from archgauge.errors import TableError
from archgauge.files import sha256
from archgauge.schemas import read_table, write_table

Settings = Mapping[str, Any]
"""What distinguishes one run: JSON values by name."""


class FragmentStore:
    """Tables of one schema in a folder, each under its key."""

    def __init__(self, folder: str | Path, schema: pa.Schema):
        self.folder = Path(folder)
        self.schema = schema

    def path(self, key: str) -> Path:
        return self.folder / f"{key}.parquet"

    def get(self, key: str) -> pa.Table | None:
        """Return the table under `key`, or None when there is none.

        A fragment that cannot be read is deleted, with a warning: it costs one run to make it again.
        """
        path = self.path(key)
        if not path.is_file():
            return None
        try:
            return read_table(path, self.schema)
        except TableError as error:
            warnings.warn(f"Deleted a fragment that cannot be read; its run is repeated. {error}", stacklevel=2)
            path.unlink(missing_ok=True)
            return None

    def put(self, key: str, table: pa.Table) -> None:
        """Store a table under `key`, whole or not at all.

        Raises:
            TableError: when its columns do not fit the store's schema.
        """
        write_table(self.path(key), table, self.schema)

    def assemble(self, keys: Sequence[str]) -> pa.Table:
        """Return the rows of all fragments, in the order of `keys`.

        Raises:
            TableError: when a fragment is absent.
        """
        tables = [self.get(key) for key in keys]
        missing = [key for key, table in zip(keys, tables, strict=True) if table is None]
        if missing:
            raise TableError(
                "the fragments of a sweep",
                where=self.folder,
                expected=f"{len(keys)} fragments",
                got=f"{len(missing)} missing, the first {missing[0]}",
                remedy="Run the same command again: the runs that are missing will be made.",
            )
        return pa.concat_tables([table for table in tables if table is not None] or [self.schema.empty_table()])


def key(settings: Settings, fingerprint: str, inputs: Sequence[str | Path]) -> str:
    """Hash what a run depends on: 32 hexadecimal digits.

    Args:
        settings: the run's own settings, JSON values; the order of names does not count.
        fingerprint: of the code (`archgauge.fingerprint`).
        inputs: the files that the run reads, in an order that does not change. Their content counts, not their paths.
    """
    parts = {"settings": dict(settings), "fingerprint": fingerprint, "inputs": [_content(path) for path in inputs]}
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def sweep(
    tasks: Sequence[Settings],
    compute: Callable[[Settings], pa.Table],
    store: FragmentStore,
    *,
    fingerprint: str,
    inputs: Sequence[str | Path],
    name: str = "runs",
) -> pa.Table:
    """Compute the runs that the store does not have, one after another, and return the rows of all.

    `compute` gets a run's settings and may use nothing else that changes its rows besides the inputs: what is not in
    the key is not noticed.

    Args:
        tasks: the settings of each run.
        name: stands before the progress bar.

    Returns:
        The rows of all runs in the order of `tasks`, in the store's schema.

    Raises:
        TableError: when two tasks have equal settings, or a run's table does not fit the store's schema.
    """
    keys = [key(task, fingerprint, inputs) for task in tasks]
    if len(set(keys)) < len(keys):
        twice = next(dict(task) for at, task in enumerate(tasks) if keys[at] in keys[:at])
        raise TableError(
            "the runs of a sweep",
            where=store.folder,
            expected="settings that differ from run to run",
            got=f"{twice} twice",
            remedy="Leave out the repeated run, or put what distinguishes it into its settings.",
        )
    tables = {one: store.get(one) for one in keys}
    pending = [(one, task) for one, task in zip(keys, tasks, strict=True) if tables[one] is None]
    reused = len(keys) - len(pending)
    for one, task in tqdm(pending, desc=f"{name} ({reused} reused)" if reused else name, unit="run", mininterval=1):
        store.put(one, compute(task))
    return store.assemble(keys)


def _content(path: str | Path) -> str:
    path = Path(path)
    state = path.stat()
    return _content_at(path, state.st_mtime_ns, state.st_size)


@cache
def _content_at(path: Path, mtime_ns: int, size: int) -> str:
    """Hash a file once a process, as long as its time and size stand."""
    return sha256(path)
