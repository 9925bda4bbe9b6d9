"""TFRecord framing and the official NAS-Bench-101 records; the files are written here byte for byte."""

import base64
import json
import struct

import numpy as np
import pytest

from archgauge.errors import FormatError
from archgauge.formats import nasbench101, tfrecord
from archgauge.schemas import LABELS

HASH = "00005c142e6f48ac74fdcf73e3439874"
OPERATIONS = "input,conv3x3-bn-relu,output"


def bitwise_crc32c(data: bytes) -> int:
    """RFC 3720 by the definition, one bit at a time."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def mask(crc: int) -> bytes:
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def frame(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + mask(bitwise_crc32c(length)) + data + mask(bitwise_crc32c(data))


def double(number: int, value: float) -> bytes:
    return bytes([number << 3 | 1]) + struct.pack("<d", value)


def evaluation(epoch, seconds, train, validation, test) -> bytes:
    return b"".join(double(i, value) for i, value in enumerate((epoch, seconds, train, validation, test), start=1))


def message(*evaluations: bytes) -> bytes:
    """ModelMetrics: field 1 repeated message, field 2 varint 8555530, field 3 double."""
    inside = b"".join(b"\x0a" + bytes([len(item)]) + item for item in evaluations)
    return inside + b"\x10\x8a\x98\x8a\x04" + double(3, 2000.0)


def metrics(test=0.9, validation=0.92, seconds=1700.0, half=0.5) -> bytes:
    start, middle = evaluation(0.0, 0.0, 0.1, 0.1, 0.1), evaluation(54.0, seconds / 2, 0.6, half + 0.01, half)
    return message(start, middle, evaluation(108.0, seconds, 1.0, validation, test))


def record(payload: bytes | None = None, **changed) -> bytes:
    fields = {
        "hash": HASH,
        "epochs": 108,
        "adjacency": "010001000",
        "operations": OPERATIONS,
        "metrics": base64.b64encode(metrics() if payload is None else payload).decode(),
    }
    return json.dumps(list((fields | changed).values())).encode()


def write(path, *records: bytes):
    path.write_bytes(b"".join(frame(item) for item in records))
    return path


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_crc32c_published_vectors(data, expected):
    """The check value of the polynomial and RFC 3720, appendix B.4."""
    assert tfrecord.crc32c([data]).tolist() == [expected]


def test_crc32c_of_mixed_lengths_equals_the_bitwise_one():
    rng = np.random.default_rng(0)
    data = [rng.bytes(int(length)) for length in rng.integers(0, 60, size=200)]
    assert tfrecord.crc32c(data).tolist() == [bitwise_crc32c(item) for item in data]


def test_empty_record_has_the_bytes_that_tensorflow_writes(tmp_path):
    path = tmp_path / "empty.tfrecord"
    path.write_bytes(bytes.fromhex("0000000000000000 29039807 d8ea82a2"))
    assert list(tfrecord.read_records(path)) == [b""]


def test_records_come_back_in_order_over_several_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(tfrecord, "_BATCH_BYTES", 100)
    written = [bytes([index]) * (index * 7 % 40) for index in range(60)]
    assert list(tfrecord.read_records(write(tmp_path / "a.tfrecord", *written))) == written


def test_no_single_flipped_bit_passes(tmp_path):
    whole = frame(b"first") + frame(b"second")
    path = tmp_path / "flipped.tfrecord"
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(FormatError, match=rf"flipped\.tfrecord, record {int(bit >= 8 * len(frame(b'first')))}:"):
            list(tfrecord.read_records(path))


def test_no_cut_passes_and_whole_records_before_it_are_given(tmp_path):
    whole = frame(b"first") + frame(b"second")
    start = len(frame(b"first"))
    path = tmp_path / "cut.tfrecord"
    for length in range(start + 1, len(whole)):
        path.write_bytes(whole[:length])
        records = tfrecord.read_records(path)
        assert next(records) == b"first"
        with pytest.raises(
            FormatError, match=r"end of a TFRecord file at .*cut\.tfrecord, record 1: .*download it again"
        ):
            next(records)


def test_a_bad_checksum_comes_before_a_later_cut_and_after_good_records(tmp_path):
    damaged = bytearray(frame(b"second"))
    damaged[-1] ^= 1
    path = tmp_path / "bad.tfrecord"
    path.write_bytes(frame(b"first") + damaged + frame(b"third")[:-1])
    records = tfrecord.read_records(path)
    assert next(records) == b"first"
    with pytest.raises(FormatError, match=r"CRC-32C of the data at .*record 1: expected 0x"):
        next(records)


@pytest.mark.parametrize("length", [tfrecord.MAX_RECORD_BYTES + 1, 2**63, 2**64 - 1])
def test_a_hostile_length_is_refused_before_memory_is_taken(tmp_path, length):
    head = struct.pack("<Q", length)
    path = tmp_path / "long.tfrecord"
    path.write_bytes(head + mask(bitwise_crc32c(head)) + b"x")
    with pytest.raises(FormatError, match=rf"record 0: expected at most 65536 bytes, got {length} bytes"):
        list(tfrecord.read_records(path))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FormatError, match=r"none\.tfrecord: expected a readable file, got FileNotFoundError"):
        list(tfrecord.read_records(tmp_path / "none.tfrecord"))


def test_labels_of_a_run(tmp_path):
    path = write(tmp_path / "one.tfrecord", record(metrics(test=0.9, validation=0.92, seconds=1700.0, half=0.5)))
    (table,) = nasbench101.read_labels(path)
    assert table.schema == LABELS
    assert set(table["arch_id"].to_pylist()) == {f"nb101/{HASH}"}
    found = {row["label"]: (row["value"], row["unit"]) for row in table.to_pylist()}
    assert found == {
        "cifar10/test@54of108/run0": (50.0, "percent"),
        "cifar10/validation@54of108/run0": (51.0, "percent"),
        "cifar10/train_seconds@54of108/run0": (850.0, "s"),
        "cifar10/test@108/run0": (90.0, "percent"),
        "cifar10/validation@108/run0": (92.0, "percent"),
        "cifar10/train_seconds@108/run0": (1700.0, "s"),
    }


def test_runs_are_numbered_per_module_and_epochs_across_tables(tmp_path, monkeypatch):
    monkeypatch.setattr(nasbench101, "_RECORDS_PER_TABLE", 2)
    other = HASH[::-1]
    runs = [(HASH, 108, 0.1), (other, 108, 0.2), (HASH, 4, 0.3), (HASH, 108, 0.4), (other, 108, 0.5), (HASH, 108, 0.6)]
    records = [record(metrics(test=test), hash=name, epochs=epochs) for name, epochs, test in runs]
    tables = list(nasbench101.read_labels(write(tmp_path / "runs.tfrecord", *records)))
    rows = [row for table in tables for row in table.to_pylist()]
    assert len(tables) == 3
    assert {(r["arch_id"][6:], r["label"]): round(r["value"], 9) for r in rows if "test@108/" in r["label"]} == {
        (HASH, "cifar10/test@108/run0"): 10.0,
        (HASH, "cifar10/test@108/run1"): 40.0,
        (HASH, "cifar10/test@108/run2"): 60.0,
        (other, "cifar10/test@108/run0"): 20.0,
        (other, "cifar10/test@108/run1"): 50.0,
    }
    assert {r["label"] for r in rows if "test@" in r["label"] and "108" not in r["label"]} == {
        "cifar10/test@2of4/run0",
        "cifar10/test@4/run0",
    }


def test_unknown_and_blank_fields_of_the_message_are_skipped(tmp_path):
    """A checkpoint path, field 6 of an evaluation, stands in some files."""
    blank = evaluation(0, 0, 0, 0.1, 0.1) + b"\x32\x00"
    final = evaluation(108, 9.0, 1, 0.8, 0.7) + b"\x32\x03a/b"
    (table,) = nasbench101.read_labels(write(tmp_path / "a.tfrecord", record(message(blank, blank, final))))
    assert table["value"].to_pylist() == pytest.approx([10, 10, 0, 70, 80, 9])


def test_damaged_base64_and_message(tmp_path):
    _fails(tmp_path, record(metrics="%%%"), "expected a base64 ModelMetrics message")
    _fails(tmp_path, record(b"\xff\xff\xff"), "expected a base64 ModelMetrics message, got DecodeError")
    _fails(tmp_path, record(metrics()[:100]), "expected a base64 ModelMetrics message, got DecodeError")


@pytest.mark.parametrize(
    ("bad", "message_part"),
    [
        (b"\xff\xfe not json", "expected a JSON list, got UnicodeDecodeError"),
        (b"{", "expected a JSON list, got JSONDecodeError"),
        (b"[" * 60_000, "expected a JSON list, got RecursionError"),
        (b"{}", r"expected a list of hash, epochs, .*got \{\}"),
        (b"[1, 2]", r"expected a list of hash, epochs, .*got \[1, 2\]"),
        (record(epochs=True), "expected a list of hash, epochs"),
        (record(hash="../../etc"), "expected a module hash of 32 hexadecimal digits"),
        (record(epochs=0), "expected 1 to 1000 epochs, got 0"),
        (record(adjacency="0100"), "expected 3² characters 0 or 1 for 3 operations, got '0100'"),
        (record(adjacency="0100010x0"), "expected 3² characters 0 or 1"),
        (record(b""), "expected 3 evaluations: initial, half-way, final, got 0"),
        (record(message(double(1, 0.0), double(1, 54.0), double(1, 108.0))), "expected the field test_accuracy"),
        (record(metrics(test=1.5)), "expected test_accuracy between 0 and 1, got 1.5"),
        (record(metrics(validation=float("nan"))), "expected validation_accuracy between 0 and 1, got nan"),
        (record(metrics(seconds=float("inf"))), r"expected training_time between 0 and 1\.\d+e\+308, got inf"),
    ],
)
def test_a_bad_record_is_named_with_its_number(tmp_path, bad, message_part):
    _fails(tmp_path, bad, message_part)


def test_a_file_without_a_record(tmp_path):
    with pytest.raises(FormatError, match=r"nothing\.tfrecord: expected at least one record, got an empty file"):
        list(nasbench101.read_labels(write(tmp_path / "nothing.tfrecord")))


def _fails(folder, bad: bytes, message_part: str):
    """Put two good records before the bad one."""
    path = write(folder / "runs.tfrecord", record(), record(), bad)
    with pytest.raises(FormatError, match=rf"(?s)runs\.tfrecord, record 2: {message_part}"):
        list(nasbench101.read_labels(path))
