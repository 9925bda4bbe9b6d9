"""The official NAS-Bench-101 files (`nasbench_full.tfrecord`, `nasbench_only108.tfrecord`) as LABELS.

A record is one training run: a JSON list of the module's hash, the epochs trained, the adjacency as V² characters
0 or 1, the operations joined by commas, and a base64 `ModelMetrics` message (nasbench/api.py,
nasbench/lib/model_metrics.proto). The message has three evaluations: before training, half-way and at the end.
"""

import base64
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from archgauge.errors import FormatError
from archgauge.formats.tfrecord import read_records
from archgauge.schemas import LABELS

_RECORDS_PER_TABLE = 50_000
_HASH = re.compile(r"[0-9a-f]{32}")
_MEASURES = ("test", "validation", "train_seconds")
_FIELDS = ("test_accuracy", "validation_accuracy", "training_time")


class _Run(NamedTuple):
    module_hash: str
    epochs: int
    values: tuple[float, ...]  # (half, end) x _FIELDS, as the file has them


def read_labels(path: str | Path) -> Iterator[pa.Table]:
    """Yield the labels of all runs, some 50,000 runs a table, in the order of the file.

    A run gives test and validation accuracy (percent) and training seconds, at its end
    (`cifar10/test@108/run0`) and half-way (`cifar10/test@54of108/run0`: 54 epochs into a schedule of 108, which
    is another thing than a schedule of 54). Runs of a module are numbered as they come.

    Raises:
        FormatError: for a damaged file, a record that is not as above, or a value out of range; it names the record.
    """
    runs_seen: dict[int, Counter[bytes]] = defaultdict(Counter)
    records = enumerate(read_records(path))
    first = 0
    while batch := [
        _parsed(record, f"{path}, record {number}") for number, record in islice(records, _RECORDS_PER_TABLE)
    ]:
        _check_values(np.array([run.values for run in batch]), path, first)
        repeats = []
        for run in batch:
            seen, key = runs_seen[run.epochs], bytes.fromhex(run.module_hash)
            repeats.append(seen[key])
            seen[key] += 1
        yield _label_table(batch, repeats)
        first += len(batch)
    if not first:
        raise _wrong(path, "at least one record", "an empty file")


def _parsed(record: bytes, where: str) -> _Run:
    try:
        fields = json.loads(record)
    except (ValueError, RecursionError) as error:
        raise _wrong(where, "a JSON list", f"{type(error).__name__}: {error}") from error
    if not isinstance(fields, list) or [type(field) for field in fields] != [str, int, str, str, str]:
        raise _wrong(where, "a list of hash, epochs, adjacency, operations and metrics", _shortened(fields))
    module_hash, epochs, adjacency, operations, metrics = fields
    if not _HASH.fullmatch(module_hash):
        raise _wrong(where, "a module hash of 32 hexadecimal digits", _shortened(module_hash))
    if not 0 < epochs <= 1000:
        raise _wrong(where, "1 to 1000 epochs", _shortened(epochs))
    vertices = operations.count(",") + 1
    if len(adjacency) != vertices**2 or not set(adjacency) <= {"0", "1"}:
        raise _wrong(where, f"{vertices}² characters 0 or 1 for {vertices} operations", _shortened(adjacency))
    return _Run(module_hash, epochs, _decoded(metrics, where))


def _decoded(metrics: str, where: str) -> tuple[float, ...]:
    try:
        message = _model_metrics().FromString(base64.b64decode(metrics, validate=True))
    except (ValueError, DecodeError) as error:
        raise _wrong(where, "a base64 ModelMetrics message", f"{type(error).__name__}: {error}") from error
    evaluations = message.evaluation_data
    if len(evaluations) != 3:
        raise _wrong(where, "3 evaluations: initial, half-way, final", f"{len(evaluations)}")
    values = []
    for evaluation in evaluations[1:]:
        for field in _FIELDS:
            if not evaluation.HasField(field):
                raise _wrong(where, f"the field {field} in every evaluation", "an evaluation without it")
            values.append(getattr(evaluation, field))
    return tuple(values)


def _check_values(values: np.ndarray, path: str | Path, first: int) -> None:
    """Check values (runs, 6) as in `_Run`; comparisons are false for NaN."""
    limits = np.tile([1.0, 1.0, np.finfo(float).max], 2)
    wrong = np.argwhere(~((values >= 0) & (values <= limits)))
    if len(wrong):
        run, column = wrong[0]
        raise _wrong(
            f"{path}, record {first + run}",
            f"{_FIELDS[column % 3]} between 0 and {limits[column]:g}",
            f"{values[run, column]}",
        )


def _label_table(batch: list[_Run], repeats: list[int]) -> pa.Table:
    names: dict[tuple[int, int], int] = {}
    group = np.array(
        [names.setdefault((run.epochs, repeat), len(names)) for run, repeat in zip(batch, repeats, strict=True)]
    )
    labels = [
        f"cifar10/{measure}@{when}/run{repeat}"
        for epochs, repeat in names
        for when in (f"{epochs / 2:g}of{epochs}", str(epochs))
        for measure in _MEASURES
    ]
    rows = len(batch)
    arch_id = pa.array([f"nb101/{run.module_hash}" for run in batch])
    values = np.array([run.values for run in batch]) * np.tile([100.0, 100.0, 1.0], 2)
    label = (6 * group[:, None] + np.arange(6)).astype(np.int32).ravel()
    unit = np.tile(np.array([0, 0, 1], dtype=np.int32), 2 * rows)
    columns = [
        arch_id.take(pa.array(np.repeat(np.arange(rows), 6))),
        pa.DictionaryArray.from_arrays(label, labels),
        pa.array(values.ravel()),
        pa.DictionaryArray.from_arrays(unit, ["percent", "s"]),
    ]
    return pa.table(columns, schema=LABELS)


@cache
def _model_metrics() -> Any:
    """Return the message class, made from its field numbers: no compiled .proto file is needed."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="model_metrics.proto", package="nasbench", syntax="proto2")
    evaluation = file.message_type.add(name="EvaluationData")
    doubles = ("current_epoch", "training_time", "train_accuracy", "validation_accuracy", "test_accuracy")
    for number, name in enumerate(doubles, start=1):
        evaluation.field.add(name=name, number=number, type=kinds.TYPE_DOUBLE, label=kinds.LABEL_OPTIONAL)
    metrics = file.message_type.add(name="ModelMetrics")
    metrics.field.add(
        name="evaluation_data",
        number=1,
        type=kinds.TYPE_MESSAGE,
        type_name=".nasbench.EvaluationData",
        label=kinds.LABEL_REPEATED,
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("nasbench.ModelMetrics"))


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _wrong(where: object, expected: str, got: str) -> FormatError:
    return FormatError(
        "a record of the NAS-Bench-101 file",
        where=where,
        expected=expected,
        got=got,
        remedy="Download the official file again, or check which file was given.",
    )
