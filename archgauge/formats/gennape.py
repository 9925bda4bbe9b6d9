"""The official files of GENNAPE (Mills et al. 2023, arXiv 2211.17226; repository Ascend-Research/GENNAPE).

CG_data.zip holds two folders; every reader takes the zip, which it does not unpack, or the file itself:
- data/*_labelled_cg_data.json, networks of HiAML, Two-Path and Inception: {key: {"cg": the state of a computation
  graph, "net_config": the authors' configuration, "max_perf": percent, "perfs": [percent]}};
- cache/gpi_*_comp_graph_cache.pkl, of public families: a pickled list of {"compute graph": a ComputeGraph object,
  "acc": a fraction, "flops", "n_params" (not of NAS-Bench-201), "original config": whatever the family has}.

A state is {"name", "input_shape", "edge_pairs", "regular_nodes", "weighted_nodes", ...}; edges count the weighted nodes
first. What is written here of the files is read from the authors' code that writes and reads them; the files themselves
were not at hand. What does not fit is refused with a FormatError that says what came.
"""

import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from archgauge.errors import FormatError
from archgauge.formats.pickles import NUMPY_SCALARS, Allowed, Readable, Record, load_pickle

OPERATIONS = (
    *("unknown", "input", "output", "conv", "depthwise", "batchnorm", "relu", "relu6", "matmul", "add", "mul"),
    *("concat", "maxpool", "avgpool", "sigmoid", "tanh", "swish", "gelu", "paddings", "mean", "spacetobatchnd"),
    *("batchtospacend", "spacetodepthnd", "depthtospacend", "global", "identity", "zero"),
    *(f"reserved{number}" for number in range(1, 6)),
)
"""By the files' `op_type_idx`."""

MAX_BYTES = 2**33
_ZIP_START = b"PK\x03\x04"
_SPACE = re.compile(r"[ \t\n\r]*")
_LARGEST = 2**20  # of a height, width, number of channels, kernel or stride
_WRONG_CONTENT = (LookupError, TypeError, ValueError, AttributeError)

Pair = tuple[int, int]
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class LabelledNetwork:
    """An entry of a JSON file. Accuracies are in percent; `state` is the computation graph's."""

    key: str
    config: Any
    max_perf: float
    perfs: tuple[float, ...]
    state: dict[str, Any]


@dataclass(frozen=True)
class CachedNetwork:
    """An entry of a cache. `accuracy` is in percent; `flops` and `params` as they stand there, None where absent."""

    config: Any
    accuracy: float
    flops: float | None
    params: float | None
    state: dict[str, Any]


@dataclass(frozen=True)
class Node:
    """A node of a computation graph.

    Attributes:
        operation: a name of `OPERATIONS`.
        label: the authors' finer name.
        before, after: (H, W, C) of the first input and of the output.
        weight: channels in and out of a weight, (0, 0) where there is none.
        kernel: of a weight or a pool, (0, 0) where there is none.
        stride, dilation: (height, width).
        padding: "same", "valid" or "" where it means nothing.
        frame: (left, right, top, bottom) that a padding adds.
        bias: whether a weighted node has one.
    """

    operation: str
    label: str
    before: Shape
    after: Shape
    weight: Pair
    kernel: Pair
    stride: Pair
    dilation: Pair
    padding: str
    frame: tuple[int, int, int, int]
    bias: bool


class _Genotype(Record):
    """Stands in for NAS-Bench-301's Genotype, a named tuple of normal, normal_concat, reduce, reduce_concat."""

    values: tuple

    def __new__(cls, *values: Any):
        self = super().__new__(cls)
        self.values = values
        return self


class _Array(Record):
    """Stands in for a numpy array of numbers, of which it keeps shape and values."""

    def __setstate__(self, state: tuple) -> None:
        _, shape, kind, in_columns, data = state
        values = np.frombuffer(data, f"{kind.byte_order}{kind.code}".replace("|", ""))
        if values.dtype.kind not in "iufb":
            raise ValueError(f"an array of {values.dtype}")
        self.values = values.reshape(shape, order="F" if in_columns else "C").tolist()


def _reconstruct(_kind: type, _shape: tuple, _code: bytes) -> _Array:
    return _Array()


class _Globals(dict):
    """The allowed globals. No text says in which module the Genotype lies, and a stand-in may lie in any."""

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or (isinstance(key, tuple) and key[1] == "Genotype")

    def __missing__(self, _key: tuple[str, str]) -> type:
        return _Genotype


_MODULE = "model_src.comp_graph.tf_comp_graph"
_ALLOWED: Allowed = _Globals(
    {(_MODULE, name): Record for name in ("ComputeGraph", "RegularNode", "WeightedNode")}
    | {("numpy", "ndarray"): _Array, ("collections", "OrderedDict"): dict}
    | {(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")}
    | dict(NUMPY_SCALARS)
)


def read_labelled(path: Path, name: str) -> Iterator[LabelledNetwork]:
    """Yield the networks of a JSON file, in its order.

    Args:
        path: CG_data.zip or the JSON file itself.
        name: the file's name inside the zip.

    Raises:
        FormatError: when the file is missing, damaged, hostile or of another form.
    """
    with _opened(path, name) as (file, size):
        keys = set()
        for key, entry in _members(_text(file, size, path), path):
            where = f"{path}, key {key!r}"
            if key in keys:
                raise _wrong(where, "each key once", "the key again")
            keys.add(key)
            try:
                perfs = tuple(_number(value) for value in entry.get("perfs", ()))
                network = LabelledNetwork(
                    key, entry["net_config"], _number(entry["max_perf"]), perfs, _mapping(entry["cg"])
                )
            except _WRONG_CONTENT as error:
                expected = "an object with cg, net_config, max_perf in percent and perfs, a list of percentages"
                raise _wrong(where, expected, f"{type(error).__name__}: {error}") from error
            yield network


def read_cache(path: Path, name: str = "") -> Iterator[CachedNetwork]:
    """Yield the networks of a cache, in its order. The whole cache is in memory meanwhile.

    Args:
        path: CG_data.zip or the pickle itself.
        name: the pickle's name inside the zip.

    Raises:
        FormatError: when the file is missing, damaged, hostile or of another form.
    """
    with _opened(path, name) as (file, size):
        entries = load_pickle(file, where=path, allowed=_ALLOWED, max_bytes=size)
    if not isinstance(entries, list):
        raise _wrong(path, "a list of networks", type(entries).__name__)
    for number, entry in enumerate(entries):
        try:
            costs = [None if entry.get(cost) is None else _number(entry[cost]) for cost in ("flops", "n_params")]
            accuracy = _number(entry["acc"])
            if not 0 <= accuracy <= 1:
                raise ValueError(f"acc {accuracy} in place of a fraction")
            network = CachedNetwork(
                config=entry["original config"],
                accuracy=100 * accuracy,
                flops=costs[0],
                params=costs[1],
                state=_state(entry["compute graph"]),
            )
        except _WRONG_CONTENT as error:
            expected = "a dict with compute graph, acc, flops, n_params, original config"
            raise _wrong(f"{path}, entry {number}", expected, f"{type(error).__name__}: {error}") from error
        yield network


def nodes_and_edges(state: dict[str, Any], where: object) -> tuple[list[Node], list[Pair]]:
    """The checked nodes of a state, the weighted ones first, and its (source, target) edges.

    Raises:
        FormatError: when the state is not of the form that the authors' code writes.
    """
    try:
        weighted, regular = state["weighted_nodes"], state["regular_nodes"]
        nodes = [_node(node, node["shape"]) for node in weighted] + [_node(node, None) for node in regular]
        edges = [(source, target) for source, target in (_whole(pair, 2) for pair in state["edge_pairs"])]
        if any(end >= len(nodes) for edge in edges for end in edge):
            raise ValueError(f"an edge to a node beyond the {len(nodes)}")
    except _WRONG_CONTENT as error:
        expected = "the state of a computation graph: weighted_nodes, regular_nodes, edge_pairs"
        raise _wrong(where, expected, f"{type(error).__name__}: {error}") from error
    return nodes, edges


def _node(node: dict[str, Any], shape: Any) -> Node:
    settings = node["metadata"] or {}
    h_in, h_out, w_in, w_out, c_in, c_out = _whole(node["resolution"], 6)
    channels_in, channels_out, *kernel = _whole(shape, 4) if shape is not None else (0, 0, 0, 0)
    axes = slice(2, 4) if settings.get("data_format") == "NCHW" else slice(1, 3)

    def pair(values: Any) -> Pair:
        height, width = (1, 1) if values is None else _whole(values, 4)[axes]
        return height, width

    top, bottom = _whole(settings.get("pad_h", (0, 0)), 2)
    left, right = _whole(settings.get("pad_w", (0, 0)), 2)
    return Node(
        operation=OPERATIONS[_whole([node["op_type_idx"]], 1)[0]],
        label=str(node["label"]),
        before=(h_in, w_in, c_in),
        after=(h_out, w_out, c_out),
        weight=(channels_in, channels_out),
        kernel=pair(settings["ksize"]) if "ksize" in settings else (kernel[0], kernel[1]),
        stride=pair(node["strides"]),
        dilation=pair(settings.get("dilations")),
        padding=str(settings.get("padding", "")),
        frame=(left, right, top, bottom),
        bias=bool(settings.get("use_bias")),
    )


def _whole(values: Any, count: int) -> list[int]:
    values = list(values)
    fits = [type(value) is int and 0 <= value <= _LARGEST for value in values]
    if len(values) != count or not all(fits):
        raise ValueError(f"{values!r} in place of {count} whole numbers up to {_LARGEST:,}")
    return values


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError(f"{value!r} in place of a number")
    return float(value)


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{type(value).__name__} in place of an object")
    return value


def _state(graph: Any) -> dict[str, Any]:
    """The state of a pickled ComputeGraph, as the JSON files have it."""
    if not isinstance(graph, Record):
        raise TypeError(f"{type(graph).__name__} in place of a ComputeGraph")
    state = dict(vars(graph))
    for name in ("regular_nodes", "weighted_nodes"):
        state[name] = [dict(vars(node)) for node in state[name]]
    return state


@contextmanager
def _opened(path: Path, name: str) -> Iterator[tuple[Readable, int]]:
    """Open a file, or its namesake in a zip, whose other members are not touched; with its size in bytes."""
    try:
        with path.open("rb") as file:
            zipped = file.read(len(_ZIP_START)) == _ZIP_START
            file.seek(0)
            if not zipped:
                yield file, _bounded(path.stat().st_size, path)
                return
            with zipfile.ZipFile(file) as archive:
                member = _member(archive, name, path)
                with archive.open(member) as inside:
                    yield inside, _bounded(member.file_size, path)
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _wrong(path, "a whole file", f"{type(error).__name__}: {error}") from error


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> zipfile.ZipInfo:
    outside = [one for one in archive.namelist() if one.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", one)]
    if outside:
        raise _wrong(path, "names inside the archive's own folder", outside[0])
    found = [member for member in archive.infolist() if member.filename.split("/")[-1] == name]
    if len(found) != 1:
        raise _wrong(path, f"one member {name}", [member.filename for member in found] or "none")
    return found[0]


def _bounded(size: int, path: Path) -> int:
    if size > MAX_BYTES:
        raise _wrong(path, f"at most {MAX_BYTES:,} bytes", f"{size:,}")
    return size


def _text(file: Readable, size: int, path: Path) -> str:
    try:
        return file.read(size).decode("utf-8")
    except UnicodeDecodeError as error:
        raise _wrong(path, "text in UTF-8", error) from error


def _members(text: str, path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the members of the one object in a JSON text. Its values are decoded one at a time: a value takes some
    ten times the memory of its text."""
    decode, mark, at = json.JSONDecoder().raw_decode, "{", 0

    def skip(at: int) -> int:
        match = _SPACE.match(text, at)
        return match.end() if match else at

    def expect(at: int, marks: str) -> tuple[str, int]:
        found = text[(at := skip(at)) : at + 1]
        if not found or found not in marks:
            raise json.JSONDecodeError(f"Expecting one of {marks}", text, at)
        return found, skip(at + 1)

    try:
        _, at = expect(at, "{")
        mark = ","
        while mark == ",":
            key, at = decode(text, at)
            _, at = expect(at, ":")
            value, at = decode(text, at)
            yield str(key), value
            mark, at = expect(at, ",}")
        if at != len(text):
            raise json.JSONDecodeError("Extra data", text, at)
    except (ValueError, RecursionError) as error:
        raise _wrong(path, "one whole JSON object", f"{type(error).__name__}: {error}") from error


def _wrong(where: object, expected: object, got: object) -> FormatError:
    return FormatError(
        "a file of GENNAPE",
        where=where,
        expected=expected,
        got=got,
        remedy="The file is truncated, damaged or not of this format: fetch CG_data.zip again.",
    )
