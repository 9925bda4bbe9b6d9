"""The official files of NDS, Network Design Spaces (facebookresearch/nds): one JSON a sweep, all in data.zip.

A sweep is a list of trainings, or {"top": [...], "mid": [...]} on ImageNet. A training holds `net` (`genotype` with
`normal`, `normal_concat`, `reduce`, `reduce_concat`; `width`, `depth`, `aux`), `params`, `flops` (multiply-adds) and
the test errors in percent after each epoch, `test_ep_top1`. Curves over iterations make a sweep large; trainings are
decoded one at a time, so that only the text is held whole.
"""

import json
import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archgauge.errors import FormatError
from archgauge.formats._members import members

MAX_BYTES = 2**32
_SPACE = re.compile(r"[ \t\r\n]*")
_GROUPS = ("top", "mid")

Edge = tuple[str, int]


@dataclass(frozen=True)
class Training:
    """One training of a sweep.

    Attributes:
        normal, reduce: (operation, input) of the two cells, two for each node.
        normal_concat, reduce_concat: the nodes that a cell's output concatenates.
        auxiliary: whether `params` counts an auxiliary head, or None where the file does not say.
        macs: what the file calls flops.
        epochs: how many were run.
        accuracy_pct: 100 minus the test error after the last epoch.
    """

    normal: tuple[Edge, ...]
    normal_concat: tuple[int, ...]
    reduce: tuple[Edge, ...]
    reduce_concat: tuple[int, ...]
    width: int
    depth: int
    auxiliary: bool | None
    params: int
    macs: int
    epochs: int
    accuracy_pct: float


def read_sweep(path: Path, sweep: str) -> Iterator[Training]:
    """Yield the trainings of one sweep.

    Args:
        path: data.zip, the folder that it unpacks to, or the sweep's own JSON file.
        sweep: its name, such as "DARTS_fix-w-d".

    Raises:
        FormatError: when the file is corrupt, hostile, not of this format, or the sweep is not there.
    """
    if path.is_file() and path.suffix == ".json" and path.stem != sweep:
        raise _wrong(path, f"another sweep, {path.stem}", f"{sweep}.json")
    found = list(members(path, f"{sweep}.json".__eq__, MAX_BYTES))
    if len(found) != 1:
        raise _wrong(path, " and ".join(name for name, _ in found) or "no such file", f"one {sweep}.json")
    ((name, content),) = found
    yield from _trainings(content, path / name)


def _trainings(content: bytes, where: Path) -> Iterator[Training]:
    done = 0
    try:
        for record in _records(content.decode()):
            yield _training(record)
            done += 1
    except (AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise _wrong(where, f"{type(error).__name__}: {error} (training {done})") from error
    if not done:
        raise _wrong(where, "no training")


def _records(text: str) -> Iterator[dict[str, Any]]:
    """Decode the trainings one by one."""
    start = _skip(text, 0)
    if text[start] == "[":
        end = yield from _items(text, start)
    else:
        end = yield from _groups(text, start)
    if _skip(text, end) != len(text):
        raise ValueError("more behind the end of the sweep")


def _groups(text: str, start: int) -> Generator[dict[str, Any], None, int]:
    _expect(text, start, "{")
    while True:
        name, end = _DECODER.raw_decode(text, _skip(text, start + 1))
        if name not in _GROUPS:
            raise ValueError(f"a group {name!r}")
        colon = _expect(text, _skip(text, end), ":")
        start = _skip(text, (yield from _items(text, _expect_list(text, colon + 1))))
        if text[start] == "}":
            return start + 1
        _expect(text, start, ",")


def _expect_list(text: str, start: int) -> int:
    return _expect(text, _skip(text, start), "[")


def _items(text: str, start: int) -> Generator[dict[str, Any], None, int]:
    """Yield the items of the list that starts at `start`; return where it ends."""
    start = _skip(text, start + 1)
    if text[start] == "]":
        return start + 1
    while True:
        item, end = _DECODER.raw_decode(text, start)
        yield item
        end = _skip(text, end)
        if text[end] == "]":
            return end + 1
        start = _skip(text, _expect(text, end, ",") + 1)


def _skip(text: str, start: int) -> int:
    match = _SPACE.match(text, start)
    return match.end() if match else start


def _expect(text: str, position: int, sign: str) -> int:
    if text[position] != sign:
        raise ValueError(f"{text[position]!r} at {position} where {sign!r} belongs")
    return position


_DECODER = json.JSONDecoder()


def _training(record: dict[str, Any]) -> Training:
    net, errors = record["net"], record["test_ep_top1"]
    genotype, auxiliary = net["genotype"], net.get("aux")
    return Training(
        normal=_edges(genotype["normal"]),
        normal_concat=tuple(map(int, genotype["normal_concat"])),
        reduce=_edges(genotype["reduce"]),
        reduce_concat=tuple(map(int, genotype["reduce_concat"])),
        width=int(net["width"]),
        depth=int(net["depth"]),
        auxiliary=None if auxiliary is None else bool(auxiliary),
        params=int(record["params"]),
        macs=int(record["flops"]),
        epochs=len(errors),
        accuracy_pct=100 - float(errors[-1]),
    )


def _edges(pairs: list[list]) -> tuple[Edge, ...]:
    return tuple((str(name), int(source)) for name, source in pairs)


def _wrong(where: Path, got: str, expected: str = "a sweep of NDS as its authors publish it") -> FormatError:
    return FormatError(
        "a sweep of NDS",
        where=where,
        expected=expected,
        got=got,
        remedy="Fetch data.zip from facebookresearch/nds again and give it, its folder, or the sweep's JSON file.",
    )
