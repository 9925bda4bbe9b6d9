"""The user's code that a table names: the file as it was, run, and traced on the shapes that the table gives.

A Python reference is `package.module:name` or `path/file.py:name`, a callable that returns a `torch.nn.Module`. What it
raises, whatever that is, becomes a SpecError.
"""

import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from archgauge.errors import ArchgaugeError, SpecError
from archgauge.graphs.graph import Graphs
from archgauge.graphs.operations import KindTable

if TYPE_CHECKING:  # the workflow asks families for their label sources on every call: it should not wait for torch
    import torch
    from torch import nn

SHAPES = 'sizes such as "1,3,224,224", or with a type "int64:1,77"'
_SHAPE = re.compile(r"(?:(float16|bfloat16|float32|float64|int32|int64|bool):)?([1-9]\d*(?:,[1-9]\d*)*)", re.ASCII)


def sha256(content: bytes) -> str:
    """The hash of a file's content, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def shapes_in(text: str) -> list[re.Match[str] | None]:
    """(type, sizes) of each input in a text, None where one is not of the form of `SHAPES`."""
    return [_SHAPE.fullmatch(shape.replace(" ", "")) for shape in text.split(";")]


def unchanged(file: Path, expected: str, spec: str) -> bytes:
    """The content of a file that a spec names.

    Raises:
        SpecError: when it cannot be read, or has another hash than `expected`.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise broken(spec, "the file of an architecture", "a file that can be read", repr(error)) from error
    if (found := sha256(content)) != expected:
        raise broken(spec, "the file of an architecture", "the one that the table was read with", f"sha256 {found}")
    return content


def traced(reference: str, inputs: str, file: Path | None, code: bytes, spec: str, kinds: KindTable | None) -> Graphs:
    """The computation graph of the model that a Python reference makes.

    Args:
        inputs: the shapes that it is called with.
        file: the Python file of the reference and its content; None and nothing where it names a package.
        spec: of the architecture, for errors.
        kinds: the table to build over; a new one by default.

    Raises:
        SpecError: when there is no such module, the user's code fails, or the shapes are none.
        GraphError: when the model does not run.
    """
    from archgauge.graphs.trace import trace

    place, _, name = reference.rpartition(":")
    examples = _examples(inputs, spec)
    with _said(spec), _importing(file.parent if file else None):
        module = _loaded(file, code) if file else importlib.import_module(place)
        return trace(_network(getattr(module, name)(), spec), *examples, kinds=kinds)


@contextmanager
def _said(spec: str) -> Iterator[None]:
    """Say what the user's own code raises, which may be anything, an exit too."""
    try:
        yield
    except ArchgaugeError:
        raise
    except (Exception, SystemExit) as error:
        got = f"{type(error).__name__}: {error}"
        raise broken(spec, "the Python reference of an architecture", "a callable that runs", got) from error


def _network(model: Any, spec: str) -> "nn.Module":
    from torch import nn

    if not isinstance(model, nn.Module):
        raise broken(spec, "the Python reference of an architecture", "a torch.nn.Module", type(model).__name__)
    return model


@contextmanager
def _importing(folder: Path | None) -> Iterator[None]:
    """Let the user's file import its neighbours, and forget them: another folder may have others of the same names."""
    if folder is None:
        yield
        return
    path, known = sys.path[:], {name.partition(".")[0] for name in sys.modules}
    writes_bytecode = sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # it would take a neighbour for unchanged that was edited within a second
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:], sys.dont_write_bytecode = path, writes_bytecode
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] not in known and _stands_in(module, folder):
                del sys.modules[name]


def _stands_in(module: ModuleType, folder: Path) -> bool:
    """Whether a module is the user's: of this folder, and not of an environment inside it."""
    found = getattr(module, "__file__", None)
    places = [found] if found else getattr(module, "__path__", [])  # a package without __init__.py is in no file
    return any(
        Path(place).resolve().is_relative_to(folder.resolve()) and not Path(place).is_relative_to(sys.prefix)
        for place in places
    )


def _loaded(path: Path, code: bytes) -> Any:
    """Run a Python file, as the module of a name that no other has."""
    described = importlib.util.spec_from_file_location(f"{path.stem}_{sha256(bytes(path) + code)[:16]}", path)
    assert described is not None  # the ending is .py
    module = importlib.util.module_from_spec(described)
    sys.modules[module.__name__] = module  # dataclasses look their module up there
    # Not by the loader: its bytecode cache takes a file for unchanged that was edited within a second.
    exec(compile(code, path, "exec"), vars(module))
    return module


def _examples(shapes: str, spec: str) -> "list[torch.Tensor]":
    """The inputs of a model, on the meta device."""
    import torch

    try:
        return [
            torch.empty([*map(int, match[2].split(","))], dtype=getattr(torch, match[1] or "float32"), device="meta")  # type: ignore[index]
            for match in shapes_in(shapes)
        ]
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:  # no match, or too large
        raise broken(spec, "the input of an architecture", SHAPES, repr(shapes[:100])) from error


def broken(spec: str, checked: str, expected: str, got: str) -> SpecError:
    """The error for an architecture of a table that cannot be built."""
    remedy = "Correct the row of the table; archgauge/families/table.py says what it holds."
    return SpecError(checked, where=f"table, {spec}", expected=expected, got=got, remedy=remedy)
