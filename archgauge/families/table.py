"""The user's own architectures: a CSV or Parquet table with one architecture a row, and any measured columns.

A row says what its architecture is in one of three ways; columns that no row uses may be left out:
- `family` and `spec`: an architecture of a family of this package;
- `onnx`: an ONNX file, its path relative to the table's folder, which a relative path may not leave;
- `module` and `input`: a callable that returns a `torch.nn.Module`, as `package.module:name` or `path/file.py:name`
  (relative to the table's folder), and the shape of its input, "1,3,224,224"; several are divided by ";". Inputs are
  float32 unless a shape says otherwise, "int64:1,77".

An optional column `name` gives the `arch_id`, `table/<name>`; else it is `table/<row>`, counted from 1. Every other
column holds labels: numbers, empty where a row was not measured. Its header is the label's name, with the unit in
brackets where there is one: "latency [ms]". Labels in [percent] (or [%]) must lie in 0 to 100.

The spec of an architecture is JSON with sorted keys that says all by itself: its name, and family and spec, or the
absolute path of the ONNX file, or module and input. It holds the SHA-256 of the file that it names, so that an edited
file is another architecture; modules that a Python file imports, and packages, are not watched. A Python reference runs
the user's own code, with its folder on the path of modules.

A table is no space of architectures: there is nothing to sample from or to mutate, and no download.
"""

import csv
import importlib
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from archgauge.download import Remote
from archgauge.errors import ArchgaugeError, TableError
from archgauge.families._common import bad_spec, labels
from archgauge.families._table_code import SHAPES, broken, sha256, shapes_in, traced, unchanged
from archgauge.graphs.graph import Graphs
from archgauge.graphs.operations import KindTable
from archgauge.schemas import architectures

FAMILY = "table"
SOURCES = ("family", "spec", "onnx", "module", "input")
"""The columns that say what an architecture is."""

_NAME = "name"
_HEADER = re.compile(r"(?P<label>[^\[\]]+?)\s*(?:\[(?P<unit>[^\[\]]+)\])?")
_HASH = "sha256"
_FORM = f"JSON: name, and family and spec, or onnx, or module and input, and {_HASH} of a file, all of them text"
_KEYS = ({"family", "spec"}, {"onnx"}, {"input", "module"})
_Row = dict[str, Any]


def parse(spec: str) -> dict[str, str]:
    """Return what a spec says, by column.

    Raises:
        SpecError: when `spec` is not of the form that the module's docstring gives.
    """
    try:
        content = json.loads(spec)
    except (ValueError, TypeError, RecursionError):
        content = None
    fits = isinstance(content, dict) and _NAME in content and set(content) - {_NAME, _HASH} in _KEYS
    if not fits or not all(isinstance(value, str) and value for value in content.values()):
        raise bad_spec(FAMILY, spec, _FORM)
    if (_HASH in content) != (_file_of(content) is not None):
        raise bad_spec(FAMILY, spec, _FORM)
    return content


def _file_of(content: dict[str, str]) -> Path | None:
    """The file that a row or a spec names."""
    file = content.get("onnx") or content.get("module", "").rpartition(":")[0]
    return Path(file) if "onnx" in content or file.endswith(".py") else None


def spec_of(content: dict[str, str]) -> str:
    """Return the spec of what it says. Inverse of `parse`."""
    return json.dumps(content, sort_keys=True)


def arch_id(spec: str) -> str:
    """Return `table/<name>`.

    Raises:
        SpecError: when `spec` is none of this family.
    """
    return f"{FAMILY}/{parse(spec)[_NAME]}"


def tabulate(path: str | Path) -> pa.Table:
    """Return the architectures of a table (schema ARCHITECTURES).

    Raises:
        TableError: when the table cannot be read or a row is wrong, naming the file, the row, and the column.
    """
    hashes: dict[Path, str] = {}
    specs = []
    for name, content in _sources(Path(path)):
        if file := _file_of(content):
            content[_HASH] = hashes.get(file) or hashes.setdefault(file, sha256(file.read_bytes()))
        specs.append(spec_of({_NAME: name, **content}))
    return architectures(FAMILY, [arch_id(spec) for spec in specs], specs)


def named_files(path: str | Path) -> list[Path]:
    """Return the files that a table's rows name, each once: what else its architectures depend on.

    Raises:
        TableError: as `tabulate`.
    """
    return list(dict.fromkeys(file for _, content in _sources(Path(path)) if (file := _file_of(content))))


def _sources(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The name of each row, and what its architecture is."""
    for number, (name, row) in enumerate(_named_rows(path).items(), 1):
        yield name, _source(row, path, number)


def read_labels(path: str | Path) -> pa.Table:
    """Return the measured columns of a table (schema LABELS).

    Raises:
        TableError: when the table cannot be read, or an entry is no number, naming the file, the row, and the column.
    """
    path = Path(path)
    rows = _named_rows(path)
    headers = [header for header in next(iter(rows.values())) if header not in (*SOURCES, _NAME)]
    named = [_label(header, path) for header in headers]
    _check_once([label for label, _ in named], path)
    return labels(
        (
            (f"{FAMILY}/{name}", label, value, unit)
            for header, (label, unit) in zip(headers, named, strict=True)
            for number, (name, row) in enumerate(rows.items(), 1)
            if (value := _measured(row.get(header), unit, path, number, header)) is not None
        ),
        path,
    )


LABEL_SOURCES: dict[str, Callable[[Path], pa.Table]] = {"table": read_labels}
"""Source -> reader of the user's table, giving LABELS; raises what `read_labels` raises."""


def to_graph(spec: str, kinds: KindTable | None = None) -> Graphs:
    """Return the computation graph of an architecture.

    Args:
        kinds: the table to build over; a new one by default.

    Raises:
        SpecError: when `spec` is none of this family, names a family or a module that is not there, or a file that has
            changed since, or when the user's code fails.
        FormatError: when an ONNX file is damaged.
        GraphError: when a model does not run, or an ONNX file does not say its shapes.
    """
    content = parse(spec)
    if "family" in content:
        return _family(content["family"], spec).to_graph(content["spec"], kinds)
    file = _file_of(content)
    code = unchanged(file, content[_HASH], spec) if file else b""
    if "onnx" in content:
        from archgauge.graphs.onnx_import import load_onnx  # only a table with such files needs the package onnx

        return load_onnx(content["onnx"], kinds)
    return traced(content["module"], content["input"], file, code, spec, kinds)


def _family(name: str, spec: str) -> Any:
    """The module of a family."""
    known = sorted(file.stem for file in Path(__file__).parent.glob("[a-z]*.py") if file.stem != FAMILY)
    if name not in known:
        raise broken(spec, "the family of an architecture", f"one of {', '.join(known)}", repr(name))
    return importlib.import_module(f"archgauge.families.{name}")


def _rows(path: Path) -> Iterator[_Row]:
    """The rows of a table by column."""
    try:
        if path.suffix == ".parquet":
            _check_once(pq.read_schema(path).names, path)
            yield from pq.read_table(path).to_pylist()
        else:
            with path.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file, strict=True, restkey="", restval=None)
                _check_once(reader.fieldnames or (), path)
                yield from reader
    except (pa.ArrowException, OSError, csv.Error, UnicodeDecodeError) as error:
        raise TableError(
            "a table of architectures",
            where=path,
            expected="a whole CSV (UTF-8) or, with the ending .parquet, a Parquet file",
            got=f"{type(error).__name__}: {error}",
            remedy="Correct the path or save the table again.",
        ) from error


def _wrong(path: Path, number: int, column: str, expected: object, got: object, remedy: str) -> TableError:
    where = f"{path}, row {number}, column {column}"
    return TableError("a table of architectures", where=where, expected=expected, got=got, remedy=remedy)


def _text(row: _Row, column: str) -> str:
    value = row.get(column)
    return "" if value is None else str(value).strip()


def _named_rows(path: Path) -> dict[str, _Row]:
    """The rows by name; a row without one is called by its number."""
    named: dict[str, _Row] = {}
    for number, row in enumerate(_rows(path), 1):
        name = _text(row, _NAME) or str(number)
        if name in named:
            remedy = "Give each row a name of its own, or none."
            raise _wrong(path, number, _NAME, "a name that no other row has", repr(name), remedy)
        named[name] = row
    if not named:
        raise TableError(
            "a table of architectures",
            where=path,
            expected="a header and at least one row",
            got="no row",
            remedy="Add one row for each architecture.",
        )
    return named


def _source(row: _Row, path: Path, number: int) -> dict[str, str]:
    """What a row's architecture is, checked as far as that goes without building it."""
    given = {column: _text(row, column) for column in SOURCES if _text(row, column)}
    if set(given) not in _KEYS:
        raise _wrong(
            path,
            number,
            ", ".join(given) or ", ".join(SOURCES),
            "family and spec, or onnx, or module and input",
            f"{' and '.join(given)} filled in" if given else "none of them filled in",
            "Fill in one of the three and leave the others empty.",
        )
    if "family" in given:
        _check_spec(given, path, number)
    elif "onnx" in given:
        given["onnx"] = _inside(given["onnx"], path, number, "onnx")
    else:
        _check_module(given, path, number)
    return given


def _check_spec(given: dict[str, str], path: Path, number: int) -> None:
    try:
        _family(given["family"], spec_of(given)).arch_id(given["spec"])
    except ArchgaugeError as error:
        column = "family" if "the family of" in error.checked else "spec"
        raise _wrong(path, number, column, error.expected, error.got, error.remedy) from error


def _check_module(given: dict[str, str], path: Path, number: int) -> None:
    place, colon, name = given["module"].rpartition(":")
    if not (colon and place and name.isidentifier()):
        expected = "package.module:callable or path/file.py:callable"
        raise _wrong(path, number, "module", expected, repr(given["module"]), "Name the callable behind a colon.")
    if place.endswith(".py"):
        given["module"] = f"{_inside(place, path, number, 'module')}:{name}"
    if None in shapes_in(given["input"]):
        raise _wrong(path, number, "input", SHAPES, repr(given["input"]), "Batch axis first.")


def _inside(name: str, path: Path, number: int, column: str) -> str:
    """The absolute path of a file that a row names."""
    folder = path.resolve().parent
    file = (folder / name).resolve()
    if not Path(name).is_absolute() and not file.is_relative_to(folder):
        remedy = "Move the file there, or give its absolute path."
        raise _wrong(path, number, column, f"a path inside {folder}", repr(name), remedy)
    if not file.is_file():
        raise _wrong(path, number, column, "a file", f"{file}, where there is none", "Correct the path.")
    return str(file)


def _check_once(names: Iterable[str], path: Path) -> None:
    """Refuse two columns of one name: one would hide the other."""
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise TableError(
            "a table of architectures",
            where=f"{path}, header",
            expected="each column and each label once",
            got=f"{repeated[0]!r} more than once",
            remedy="Rename one of the columns; a unit in brackets does not tell two labels apart.",
        )


def _label(header: Any, path: Path) -> tuple[str, str]:
    """(label, unit) of a column's header."""
    match = _HEADER.fullmatch(header.strip()) if isinstance(header, str) else None
    if match is None:
        remedy = "Name every column, and quote entries that hold commas."
        raise TableError(
            "a table of architectures",
            where=f"{path}, header",
            expected='a label and its unit, such as "latency [ms]"',
            got=repr(header),
            remedy=remedy,
        )
    unit = match["unit"] or ""
    return match["label"], "percent" if unit == "%" else unit


def _measured(entry: Any, unit: str, path: Path, number: int, column: str) -> float | None:
    """A label's value; None for an empty entry."""
    if entry is None or (isinstance(entry, str) and not entry.strip()):
        return None
    low, high = (0.0, 100.0) if unit == "percent" else (-sys.float_info.max, sys.float_info.max)
    try:
        value = float(entry)
    except (TypeError, ValueError):
        value = float("nan")
    if not low <= value <= high:
        expected = "a number of 0 to 100" if unit == "percent" else "a finite number"
        raise _wrong(path, number, column, expected, repr(entry), "Correct it; leave it empty if it was not measured.")
    return value


REMOTES: dict[str, Remote] = {}
"""None: the table is the user's own."""


def labelled_specs(path: str | Path) -> list[str]:
    """The specs of all rows, labelled or not; raises as `tabulate`."""
    return tabulate(path)["spec"].to_pylist()


DATASHEET = {
    "title": "The user's own table",
    "space": "Architectures of any family, ONNX files and PyTorch modules, as a table lists them.",
    "labels": "The table's own numeric columns.",
    "graph": "As its family, the ONNX file or the module has it; frozen layers count as all others do.",
    "licence": "The user's own.",
    "citation": "None.",
}
