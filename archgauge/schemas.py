"""The Parquet tables that are the only contracts between rules, and the one way to write and read them.

Every table is written whole or not at all (`archgauge.files.whole_file`) and checked against its schema on both sides.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from archgauge.errors import TableError
from archgauge.files import whole_file

ROW_GROUP_ROWS = 10_000

_name = pa.dictionary(pa.int32(), pa.string())
_indices = pa.list_(pa.int32())

ARCHITECTURES = pa.schema([("arch_id", pa.string()), ("family", _name), ("spec", pa.string())])
"""One architecture a row: `arch_id` is `family/native-id`, `spec` the family's native encoding."""

LABELS = pa.schema([("arch_id", pa.string()), ("label", _name), ("value", pa.float64()), ("unit", _name)])
"""One measured number a row. The label says data set, split, epochs, run or mean, training and source."""

GRAPHS = pa.schema(
    [
        ("arch_id", pa.string()),
        ("kind", _indices),  # (V,) row of the kind table, nodes in topological order
        ("edge_source", _indices),  # (E,) node index
        ("edge_output", _indices),  # (E,) which output of the source; empty when all are 0
        ("edge_target", _indices),  # (E,) node index, ascending
        ("edge_slot", _indices),  # (E,) which input of the target
        ("weight_id", _indices),  # (V,) equal ids share weights; empty when nothing is shared
        ("macs", pa.int64()),
        ("params", pa.int64()),
        ("params_outside", pa.int64()),  # parameters off the forward path (auxiliary heads)
        ("live_hash", pa.string()),  # canonical hash of the live graph, 32 hexadecimal digits
    ]
)
_shapes = pa.list_(pa.list_(pa.int32()))
_pair = pa.list_(pa.int32())
KINDS = pa.schema(
    [
        ("operation", pa.string()),
        ("inputs", _shapes),  # (H, W, C) each
        ("outputs", _shapes),
        ("kernel", _pair),  # (height, width), as the next three
        ("stride", _pair),
        ("padding", _pair),
        ("dilation", _pair),
        ("groups", pa.int32()),
        ("bias", pa.bool_()),
        ("affine", pa.bool_()),
        ("extra", pa.string()),
    ]
)
"""The kind table beside GRAPHS: row k is the kind that `GRAPHS.kind` calls k."""

SPECTRA = pa.schema([("arch_id", pa.string()), ("eigenvalues", pa.list_(pa.float32()))])
"""The smallest eigenvalues of the normalised Laplacian of the undirected live graph, ascending."""

STRUCTURES = pa.schema([("arch_id", pa.string()), ("structure", pa.list_(pa.float32()))])
"""Path statistics of the live graph, in the order of `archgauge.graphs.paths.FEATURES`."""

COMPOSITIONS = pa.schema([("arch_id", pa.string()), ("composition", pa.list_(pa.float32()))])
"""What the live graph is made of, in the order of `archgauge.graphs.composition.COMPOSITION_AND_DEPTHS`."""

SPLITS = pa.schema([("arch_id", pa.string()), ("split", pa.int16()), ("role", _name), ("position", pa.int32())])
"""`role` is train, validation, validation2, pool or test. Labels of a pool are revealed in the order of `position`.

Architectures that no split may separate share a position, and are revealed in the order of their rows.
"""

EMBEDDINGS = pa.schema([("arch_id", pa.string()), ("embedding", pa.list_(pa.float32()))])
MEMBERSHIPS = pa.schema([("arch_id", pa.string()), ("membership", pa.list_(pa.float32()))])
LOSSES = pa.schema([("encoder", _name), ("step", pa.int32()), ("metric", _name), ("value", pa.float64())])
"""Means over an epoch of pretraining; `step` counts the optimiser's steps at its end."""

PROXIES = pa.schema(
    [
        ("arch_id", pa.string()),
        ("proxy", _name),
        ("value", pa.float64()),  # the network's score, higher is better; null where it failed
        ("seed", pa.int32()),  # of the initialisation and the batch
        ("batch", pa.int32()),  # images
        ("images", _name),  # random or cifar10
        ("failed", pa.bool_()),  # NaN, overflow, or nothing in the network that the proxy looks at
        ("node", _indices),  # nodes of the graph that contribute; -1 is the network as a whole
        ("node_value", pa.list_(pa.float64())),  # what each of them contributes to the sum
    ]
)
PREDICTIONS = pa.schema(
    [
        ("arch_id", pa.string()),
        ("predictor", _name),
        ("n_train", pa.int32()),
        ("split", pa.int16()),
        ("seed", pa.int32()),
        ("predicted", pa.float64()),
    ]
)
SCORES = PREDICTIONS.append(pa.field("score", pa.float64()))
"""PREDICTIONS of a transfer. The score, unlike a rank, does not depend on who else is predicted; it has no unit."""

TRACES = pa.schema([("strategy", _name), ("seed", pa.int32()), ("step", pa.int32()), ("arch_id", pa.string())])
CANDIDATES = pa.schema(
    [
        ("arch_id", pa.string()),
        ("parent", pa.string()),  # the architecture that was mutated; null for the start and for a random descent's end
        ("iteration", pa.int32()),  # 0 is the start; null for a random descent's end
        ("predicted", pa.float64()),  # percent
        ("macs", pa.int64()),
        ("params", pa.int64()),
        ("kept", pa.bool_()),  # among the best at the end
    ]
)
"""Computation graphs that a search by mutation looked at."""

METRICS = pa.schema(
    [
        ("experiment", _name),
        ("predictor", _name),
        ("family", _name),
        ("population", _name),  # which cells are counted: all, without_none, unseen_functions
        ("label", _name),
        ("n_train", pa.int32()),
        ("split", pa.int16()),
        ("seed", pa.int32()),
        ("metric", _name),
        ("value", pa.float64()),
        ("n", pa.int32()),
        ("backend", _name),
    ]
)


def architectures(family: str, arch_ids: Sequence[str], specs: Sequence[str]) -> pa.Table:
    """ARCHITECTURES rows of one family."""
    column = pa.DictionaryArray.from_arrays(np.zeros(len(specs), np.int32), [family])
    return pa.table([pa.array(arch_ids, pa.string()), column, pa.array(specs, pa.string())], schema=ARCHITECTURES)


def write_table(path: str | Path, batches: pa.Table | Iterable[pa.Table], schema: pa.Schema) -> None:
    """Write one table, or a stream of tables, as zstd Parquet with row groups of `ROW_GROUP_ROWS` rows.

    Raises:
        TableError: when columns or types do not fit `schema`.
    """
    if isinstance(batches, pa.Table):
        batches = [batches]
    settings = {"compression": "zstd", "write_page_checksum": True}  # zstd alone can decode damaged bytes to wrong ones
    with whole_file(path) as temporary, pq.ParquetWriter(temporary, schema, **settings) as writer:
        for batch in batches:
            writer.write_table(_fitted(batch, schema, path), row_group_size=ROW_GROUP_ROWS)


def read_table(path: str | Path, schema: pa.Schema, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table, or some of its columns, and check it against its schema.

    Raises:
        TableError: when the file is missing, unreadable, truncated or damaged, or a column is absent or of another
            type.
    """
    with _opened(path, schema, columns) as file:
        return file.read(columns=list(columns) if columns is not None else schema.names)


def read_row_groups(path: str | Path, schema: pa.Schema, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Read some columns as `read_table` does, one row group at a time."""
    with _opened(path, schema, columns) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=list(columns))


@contextmanager
def _opened(path: str | Path, schema: pa.Schema, columns: Sequence[str] | None) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            _check_columns(path, file.schema_arrow, schema, columns)
            yield file
    except (pa.ArrowException, OSError) as error:
        raise TableError(
            "a Parquet table",
            where=path,
            expected="a whole file",
            got=f"{type(error).__name__}: {error}",
            remedy="Delete the file and run the workflow again: the rule that makes it will run.",
        ) from error


def _check_columns(path, found: pa.Schema, schema: pa.Schema, columns: Sequence[str] | None) -> None:
    wanted = [schema.field(name) for name in (columns if columns is not None else schema.names)]
    wrong = [field for field in wanted if field.name not in found.names or not _same(found.field(field.name), field)]
    if wrong:
        raise TableError(
            "the columns of a Parquet table",
            where=path,
            expected=", ".join(f"{field.name}: {field.type}" for field in wrong),
            got=", ".join(f"{field.name}: {field.type}" for field in found),
            remedy="Delete the file and run the workflow again, or give a file with these columns.",
        )


def _same(found: pa.Field, wanted: pa.Field) -> bool:
    """Compare types; a dictionary-encoded column and a plain one hold the same values."""
    return _plain(found.type) == _plain(wanted.type)


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_list(kind):
        return pa.list_(kind.value_type)
    return kind


def _fitted(table: pa.Table, schema: pa.Schema, path) -> pa.Table:
    try:
        if set(table.column_names) == set(schema.names):
            return table.select(schema.names).cast(schema)
    except pa.ArrowException:
        pass  # named below
    raise TableError(
        "the columns of a table to write",
        where=path,
        expected=", ".join(f"{field.name}: {field.type}" for field in schema),
        got=", ".join(f"{field.name}: {field.type}" for field in table.schema),
        remedy="This is a bug in the rule's script: its table breaks the contract in archgauge/schemas.py.",
    )
