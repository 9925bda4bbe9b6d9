"""The framing of TFRecord files, read and checked without TensorFlow.

A record is an 8-byte little-endian length, the masked CRC-32C of these 8 bytes, the data, and the masked CRC-32C of the
data; every CRC is 4 bytes, little-endian. Masked is `rotate_right(crc, 15) + 0xA282EAD8`, modulo 2^32.
"""

import struct
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np

from archgauge.errors import FormatError

MAX_RECORD_BYTES = 1 << 16
"""No benchmark read here has longer records; a longer one is a wrong file, not a reason to fill the memory."""

_POLYNOMIAL = 0x82F63B78  # Castagnoli's, bits reversed
_MASK = 0xA282EAD8
_BATCH_BYTES = 4 << 20  # of the matrix in which records are checked together


def read_records(path: str | Path) -> Iterator[bytes]:
    """Yield the data of every record, each only after both its checksums were found right.

    Raises:
        FormatError: when the file cannot be read, is cut off inside a record, or a checksum is wrong; it names the
            record, counted from 0.
    """
    first = 0
    for data, stored in _batches(path):
        found = masked(crc32c(data))
        wrong = np.flatnonzero(found != np.array(stored, dtype=np.uint32))
        yield from data[: wrong[0]] if len(wrong) else data
        if len(wrong):
            raise _corrupt(path, first + wrong[0], f"0x{stored[wrong[0]]:08x}", f"0x{found[wrong[0]]:08x}", "the data")
        first += len(data)


def crc32c(data: list[bytes]) -> np.ndarray:
    """Return the CRC-32C (RFC 3720, appendix B.4) of each byte string, uint32 of shape (len(data),).

    All strings advance together, one byte a step: as fast as numpy gathers, some 100 MB/s for records of 400 bytes.
    """
    lengths = np.array([len(item) for item in data], dtype=np.int64)
    order = np.argsort(-lengths, kind="stable")  # longest first, so the strings not yet at their end are a prefix
    width = int(lengths.max(initial=0))
    rows = b"".join([data[row].ljust(width, b"\0") for row in order])
    columns = np.ascontiguousarray(np.frombuffer(rows, dtype=np.uint8).reshape(len(data), width).T)
    alive = len(data) - np.searchsorted(lengths[order[::-1]], np.arange(width), side="right")
    register = np.full(len(data), 0xFFFFFFFF, dtype=np.uint32)
    table = _byte_table()
    for column, count in zip(columns, alive.tolist(), strict=True):
        part = register[:count]
        entry = part.astype(np.uint8) ^ column[:count]
        part >>= 8
        part ^= table[entry]
    crc = np.empty_like(register)
    crc[order] = ~register
    return crc


def masked(crc: np.ndarray) -> np.ndarray:
    """Return CRCs (uint32, any shape) as TFRecord files store them."""
    return ((crc >> 15) | (crc << 17)) + np.uint32(_MASK)


def _batches(path: str | Path) -> Iterator[tuple[list[bytes], list[int]]]:
    """Yield lists of records' data and stored CRCs; a fault in the framing is raised after what precedes it."""
    data: list[bytes] = []
    stored: list[int] = []
    longest = 0
    fault = None
    try:
        for item, crc in _frames(path):
            longest = max(longest, len(item))
            if longest * (len(data) + 1) > _BATCH_BYTES:
                yield data, stored
                data, stored, longest = [], [], len(item)
            data.append(item)
            stored.append(crc)
    except FormatError as error:
        fault = error
    if data:
        yield data, stored
    if fault is not None:
        raise fault


def _frames(path: str | Path) -> Iterator[tuple[bytes, int]]:
    try:
        with Path(path).open("rb") as file:
            left = file.seek(0, 2)
            file.seek(0)
            number = 0
            while left:
                length = _length(file, path, number)
                left -= 12 + length + 4
                if left < 0:
                    raise _truncated(path, number, f"{-left} bytes less")
                data = file.read(length)
                yield data, int.from_bytes(file.read(4), "little")
                number += 1
    except OSError as error:
        raise FormatError(
            "a TFRecord file",
            where=path,
            expected="a readable file",
            got=f"{type(error).__name__}: {error}",
            remedy="Check the path and its permissions, or download the file again.",
        ) from error


def _length(file: BinaryIO, path: str | Path, number: int) -> int:
    head = file.read(12)
    if len(head) < 12:
        raise _truncated(path, number, f"{len(head)} bytes of its 12-byte head")
    length, stored = struct.unpack("<QI", head)
    if stored != _crc_of_length(head[:8]):
        raise _corrupt(path, number, f"0x{stored:08x}", f"0x{_crc_of_length(head[:8]):08x}", "the length")
    if length > MAX_RECORD_BYTES:
        raise FormatError(
            "the length of a TFRecord record",
            where=f"{path}, record {number}",
            expected=f"at most {MAX_RECORD_BYTES} bytes",
            got=f"{length} bytes",
            remedy="This is no file of a benchmark that Archgauge reads; check which file was given.",
        )
    return length


@lru_cache(maxsize=4096)
def _crc_of_length(head: bytes) -> int:
    """A benchmark's records have a few hundred distinct lengths."""
    return int(masked(crc32c([head]))[0])


@lru_cache(maxsize=1)
def _byte_table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table


def _corrupt(path, number, stored: str, found: str, what: str) -> FormatError:
    return FormatError(
        f"the CRC-32C of {what}",
        where=f"{path}, record {number}",
        expected=f"{stored}, as the file says",
        got=found,
        remedy="The file is damaged or no TFRecord file; download it again.",
    )


def _truncated(path, number, got: str) -> FormatError:
    return FormatError(
        "the end of a TFRecord file",
        where=f"{path}, record {number}",
        expected="a whole record",
        got=got,
        remedy="The file is cut off; download it again.",
    )
