"""A restricted unpickler: benchmark files are data, so nothing in them may name code that we did not list.

A pickle is a program that can call any importable function (the warning on top of the `pickle` documentation). Here
each format lists the globals that its files need and what to use in their place; every other global is refused.
"""

import io
import pickle
import resource
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from archgauge.errors import FormatError

Allowed = Mapping[tuple[str, str], Callable[..., Any]]
"""(module, name) as the pickle spells it -> the class or function of ours that stands in for it."""

OBJECT_BYTES_PER_PICKLE_BYTE = 64
"""The shortest instruction that makes an object is one byte, an empty dict 64 bytes."""

_MEMORY_FLOOR = 128 * 2**20  # room for the interpreter's arenas, whatever the size of the file


class Readable(Protocol):
    """An open binary stream: a file, a decompressor, a member of an archive."""

    def read(self, size: int, /) -> bytes: ...


class _Sealed(type):
    """Classes that a pickle cannot change: its BUILD instruction may set attributes of anything it can name."""

    def __setattr__(cls, name: str, value: object) -> None:
        raise TypeError(f"a pickle may not set {cls.__name__}.{name}")


class Record(metaclass=_Sealed):
    """Stands in for a benchmark's own class: an object with the pickled attributes and no behaviour."""


class NumpyType(metaclass=_Sealed):
    """Stands in for `numpy.dtype`, whose own `__setstate__` trusts its input with memory layout."""

    _NATIVE = "="

    def __init__(self, code: str, _align: bool = False, _copy: bool = True):
        self.code, self.byte_order = code, self._NATIVE

    def __setstate__(self, state: tuple) -> None:
        self.byte_order = state[1]


_STRUCT_CODES = {"f8": "d", "f4": "f", "f2": "e", "i8": "q", "i4": "i", "i2": "h", "i1": "b"}
_STRUCT_CODES |= {"u8": "Q", "u4": "I", "u2": "H", "u1": "B", "b1": "?"}


def _numpy_scalar(kind: NumpyType, data: bytes) -> float | int | bool:
    order = {"<": "<", ">": ">", "=": "=", "|": "="}[kind.byte_order]
    return struct.unpack(order + _STRUCT_CODES[kind.code], data)[0]


NUMPY_SCALARS: Allowed = {
    ("numpy", "dtype"): NumpyType,
    ("numpy.core.multiarray", "scalar"): _numpy_scalar,  # numpy 1
    ("numpy._core.multiarray", "scalar"): _numpy_scalar,  # numpy 2
}
"""Numbers that numpy pickled become Python numbers; numpy itself is not called."""


def load_pickle(file: Readable, *, where: object, allowed: Allowed, max_bytes: int) -> Any:
    """Read one pickle and nothing after it.

    Args:
        file: open binary stream, decompressed if need be. It is read to its end, so a compressor's checksum is checked.
        where: what to call the file in an error.
        allowed: the only globals that the pickle may name.
        max_bytes: the most that may come out of `file`; the objects may take
            `OBJECT_BYTES_PER_PICKLE_BYTE` times as much memory.

    Raises:
        FormatError: naming the file, when it is truncated, corrupt, too large, or names a global that is not allowed.
    """
    stream = io.BufferedReader(_Bounded(file, max_bytes), 2**16)
    try:
        with _memory_ceiling(_MEMORY_FLOOR + OBJECT_BYTES_PER_PICKLE_BYTE * max_bytes):
            value = _Restricted(stream, where, allowed).load()
            trailing = stream.read(1)
    except FormatError:
        raise
    except Exception as error:  # damaged bytes make the unpickler raise nearly anything
        raise FormatError(
            "a pickle",
            where=where,
            expected=f"one whole pickle of at most {max_bytes:,} bytes",
            got=f"{type(error).__name__}: {error}",
            remedy="The file is truncated, corrupt or not of this format: fetch it again.",
        ) from error
    if trailing:
        raise FormatError(
            "a pickle",
            where=where,
            expected="nothing after its end",
            got="more bytes",
            remedy="The file was damaged or tampered with: fetch it again.",
        )
    return value


class _Restricted(pickle.Unpickler):
    def __init__(self, stream: io.BufferedIOBase, where: object, allowed: Allowed):
        super().__init__(stream)
        self._where, self._allowed = where, allowed

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if (module, name) not in self._allowed:
            raise FormatError(
                "a pickle's globals",
                where=self._where,
                expected=f"only {', '.join(f'{m}.{n}' for m, n in self._allowed) or 'plain data'}",
                got=f"{module}.{name}",
                remedy="Files of this format never need it: do not trust this one, fetch it from its authors.",
            )
        return self._allowed[module, name]


class _Bounded(io.RawIOBase):
    """Pass a stream on until it has yielded `limit` bytes, so that a small compressed file cannot fill the memory."""

    def __init__(self, file: Readable, limit: int):
        self._file, self._left = file, limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise OverflowError("more data than a file of this format has")
        buffer[: len(data)] = data
        return len(data)


@contextmanager
def _memory_ceiling(extra: int) -> Iterator[None]:
    """Let the process grow by at most `extra` bytes meanwhile: six bytes of pickle can ask for a table of 32 GB."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as statm:
        mapped = int(statm.read().split()[0]) * resource.getpagesize()
    ceiling = mapped + extra
    lowered = all(limit == resource.RLIM_INFINITY or ceiling < limit for limit in before)
    if lowered:
        resource.setrlimit(resource.RLIMIT_AS, (ceiling, before[1]))
    try:
        yield
    finally:
        if lowered:
            resource.setrlimit(resource.RLIMIT_AS, before)
