"""Models as people name them on the command line: an ONNX file, or a Python reference and the shape of its input.

- `path/model.onnx`: the file says its own shapes.
- `path/file.py:Model` or `package.module:Model`: a callable that returns a `torch.nn.Module`, with the shape of its
  input behind an @, `a.py:Model@1,3,299,299`, or the one that is given for all. Several inputs are divided by ";", and
  inputs are float32 unless a shape says otherwise, "int64:1,77".

A Python reference runs the user's own code, with its folder on the path of modules.
"""

import contextlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from archgauge.errors import ArchgaugeError, SpecError
from archgauge.families import table
from archgauge.files import sha256
from archgauge.graphs.graph import Graphs

_WITH_SHAPE = re.compile(r"(.+)@([a-z0-9:,; -]*\d[a-z0-9:,; -]*)")
_HASHED = re.compile(r"'(\w+)_[0-9a-f]{16}'")
"""What a Python file is called while it runs as a module."""

_LONGEST = 300


def load_all(references: Sequence[str], shape: str | None) -> tuple[dict[str, Graphs], dict[str, str]]:
    """Load models by their references.

    Args:
        shape: of the input of all Python references that name none.

    Returns:
        their graphs, by short names where those differ; and why the others have none, in one line, by reference.
    """
    graphs: dict[str, Graphs] = {}
    failed: dict[str, str] = {}
    for reference in dict.fromkeys(references):
        try:
            graphs[reference] = load(reference, shape)
        except ArchgaugeError as error:
            failed[reference] = _line(_without(reference, str(error)))
    short = {reference: _short(reference) for reference in graphs}
    names = list(short.values())
    told = {reference: name if names.count(name) == 1 else reference for reference, name in short.items()}
    return {told[reference]: graph for reference, graph in graphs.items()}, failed


def load(reference: str, shape: str | None = None) -> Graphs:
    """The computation graph of one model.

    Raises:
        ArchgaugeError: naming the reference: when there is no such file, no such callable, no shape, when the user's
            code fails, or when the model cannot be traced on such an input.
    """
    spec = table.spec_of({"name": reference, **_content(reference, shape)})
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what the user's code prints is no part of a ranking
            return table.to_graph(spec)
    except SpecError as error:
        got = _line(_HASHED.sub(r"'\1.py'", str(error.got)))
        remedy = "Correct the reference or the code that it names."
        raise SpecError(error.checked, where=reference, expected=error.expected, got=got, remedy=remedy) from error
    except ArchgaugeError as error:
        where = f"{reference}, {error.where}"
        raise type(error)(
            error.checked, where=where, expected=error.expected, got=error.got, remedy=error.remedy
        ) from error


def _content(reference: str, shape: str | None) -> dict[str, str]:
    """What the spec of a row of a table would say."""
    matched = _WITH_SHAPE.fullmatch(reference)
    what, own = (matched[1], matched[2]) if matched else (reference, None)
    if what.endswith(".onnx"):
        if own:
            raise _wrong(reference, "an ONNX file without a shape", f"the shape {own!r}", "Leave the shape out.")
        path = _file(what, reference)
        return {"onnx": str(path), "sha256": sha256(path)}
    place, _, name = what.rpartition(":")
    if not place or not name.isidentifier():
        remedy = "Name the callable behind a colon; the shape of its input may follow an @."
        raise _wrong(reference, "file.py:callable, package.module:callable or file.onnx", repr(what), remedy)
    if not (own or shape):
        remedy = "Add --input 1,3,224,224, or the shape behind an @."
        raise _wrong(reference, "the shape of its input", "none", remedy)
    content = {"module": what, "input": own or shape or ""}
    if place.endswith(".py"):
        path = _file(place, reference)
        content |= {"module": f"{path}:{name}", "sha256": sha256(path)}
    return content


def _file(name: str, reference: str) -> Path:
    path = Path(name).expanduser().resolve()
    if not path.is_file():
        raise _wrong(reference, "a file", f"{path}, where there is none", "Correct the path.")
    return path


def _short(reference: str) -> str:
    matched = _WITH_SHAPE.fullmatch(reference)
    what = matched[1] if matched else reference
    return Path(what).stem if what.endswith(".onnx") else what.rpartition(":")[2]


def _without(reference: str, message: str) -> str:
    """A message without the reference, beside which it will stand."""
    return message.replace(f" at {reference}, ", " at ", 1).replace(f" at {reference}:", ":", 1)


def _wrong(reference: str, expected: str, got: str, remedy: str) -> SpecError:
    return SpecError("the reference of a model", where=reference, expected=expected, got=got, remedy=remedy)


def _line(message: str) -> str:
    """A message in one line that a terminal can show."""
    line = "".join(letter if letter.isprintable() else "?" for letter in " ".join(message.split()))
    return line if len(line) <= 2 * _LONGEST else f"{line[:_LONGEST]} … {line[-_LONGEST:]}"
