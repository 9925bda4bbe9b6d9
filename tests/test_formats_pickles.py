"""The restricted unpickler against hostile and damaged pickles."""

import io
import os
import pickle
import resource
import struct
import sys
from collections import OrderedDict

import numpy as np
import pytest

from archgauge.errors import FormatError
from archgauge.formats.pickles import NUMPY_SCALARS, Record, load_pickle

ALLOWED = {("collections", "OrderedDict"): dict, ("benchmark.data", "Architecture"): Record, **NUMPY_SCALARS}


def load(data: bytes, allowed=ALLOWED, max_bytes=2**20):
    return load_pickle(io.BytesIO(data), where="file.pickle", allowed=allowed, max_bytes=max_bytes)


def global_of(module: str, name: str) -> bytes:
    return b"c" + f"{module}\n{name}\n".encode()


class Calls:
    """Pickles as a call of `function` on `arguments`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_comes_back(protocol):
    data = {"a": [1, 2.5, None, True], ("cifar10", 777): (1, "é"), "d": OrderedDict([("z", 1), ("a", 2)])}
    loaded = load(pickle.dumps(data, protocol))
    assert loaded == data
    assert list(loaded["d"]) == ["z", "a"]
    assert type(loaded["d"]) is dict


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
@pytest.mark.parametrize("kind", "?bhilBHILefd")
def test_numpy_scalars_become_equal_python_numbers(protocol, module, kind):
    """Both spellings: of numpy 1, which wrote the benchmarks, and of numpy 2."""
    value = np.dtype(kind).type(1.25)
    data = pickle.dumps(value, protocol)
    data = data.replace(b"\x8c\x16numpy._core.multiarray", bytes([0x8C, len(module)]) + module.encode())
    data = data.replace(b"cnumpy._core.multiarray\n", f"c{module}\n".encode())
    assert module.encode() in data
    loaded = load(unframed(data))
    assert type(loaded) in (bool, int, float)
    assert loaded == value


def unframed(data: bytes) -> bytes:
    """Drop the frame of a short pickle of protocol 4, whose length an edit has made wrong."""
    return data[:2] + data[11:] if data[2:3] == b"\x95" else data


def test_a_big_endian_scalar_keeps_its_value():
    kind = b"\x80\x02" + global_of("numpy", "dtype") + b"X\x02\x00\x00\x00f8\x89\x88\x87R"
    kind += b"(K\x03X\x01\x00\x00\x00>NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    data = global_of("numpy.core.multiarray", "scalar") + kind[2:] + b"C\x08" + struct.pack(">d", 93.5) + b"\x86R."
    assert load(b"\x80\x03" + data) == 93.5


def test_a_class_of_the_benchmark_becomes_a_record_of_its_attributes():
    data = b"\x80\x02" + global_of("benchmark.data", "Architecture") + b")\x81}X\x01\x00\x00\x00xK\x07sb."
    assert vars(load(data)) == {"x": 7}
    assert "benchmark" not in sys.modules


@pytest.mark.parametrize(
    ("function", "arguments", "named"),
    [
        (os.system, ("touch {}",), "posix.system"),
        (eval, ("open({!r}, 'w')",), "builtins.eval"),
        (exec, ("open({!r}, 'w')",), "builtins.exec"),
        (getattr, (dict, "mro"), "builtins.getattr"),
        (np.load, ("{}",), "numpy.load"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_hostile_global_is_named_and_not_called(tmp_path, function, arguments, named, protocol):
    victim = tmp_path / "victim"
    arguments = [word.format(str(victim)) if isinstance(word, str) else word for word in arguments]
    with pytest.raises(FormatError, match="do not trust this one") as error:
        load(pickle.dumps({"data": Calls(function, *arguments)}, protocol))
    assert error.value.where == "file.pickle"
    assert error.value.got in (named, named.replace("builtins", "__builtin__"), "numpy.lib._npyio_impl.load")
    assert not victim.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [("collections", "OrderedDict.fromkeys"), ("numpy", "dtype.__init__"), ("collections", "namedtuple")],
)
def test_an_allowed_name_opens_no_way_to_its_neighbours(module, name):
    words = b"".join(b"\x8c" + bytes([len(word)]) + word.encode() for word in (module, name))
    with pytest.raises(FormatError, match=f"{module}.{name}"):
        load(b"\x80\x04" + words + b"\x93.")


@pytest.mark.parametrize(
    "victim", [("benchmark.data", "Architecture"), ("numpy", "dtype"), ("collections", "OrderedDict")]
)
def test_a_pickle_cannot_change_the_stand_ins(victim):
    """BUILD with a pair of states sets attributes of whatever is on the stack, here a class."""
    with pytest.raises(FormatError, match="TypeError"):
        load(b"\x80\x02" + global_of(*victim) + b"N}X\x01\x00\x00\x00xK\x07s\x86b.")
    assert not hasattr(Record, "x")


def test_extension_codes_and_persistent_ids_are_refused():
    for data in (b"\x80\x02\x82\x01.", b"\x80\x02Pid\n.", b"\x80\x02K\x01Q."):
        with pytest.raises(FormatError, match="a pickle at file"):
            load(data)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_every_truncation_is_refused(protocol):
    whole = pickle.dumps({"a": [1, 2.5, "text"], "b": OrderedDict(x=np.float64(1.0))}, protocol)
    allowed = {**ALLOWED, ("_codecs", "encode"): str.encode}  # how old protocols spell bytes
    load(whole, allowed)
    for length in range(len(whole)):
        with pytest.raises(FormatError, match=r"one whole pickle.*truncated, corrupt"):
            load(whole[:length], allowed)


def test_flipped_bytes_raise_nothing_but_format_errors():
    whole = bytearray(pickle.dumps({"a": [1, 2.5, "text"] * 3, "b": OrderedDict(x=np.float64(1.0))}, 4))
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(2000):
        damaged = whole.copy()
        damaged[rng.integers(len(whole))] = rng.integers(256)
        try:
            load(bytes(damaged))
        except FormatError:
            refused += 1
    assert refused > 500


def test_bytes_after_the_end_are_refused():
    with pytest.raises(FormatError, match="expected nothing after its end"):
        load(pickle.dumps(1) + b"x")


def test_a_stream_that_is_too_long_is_refused_without_reading_it_all():
    class Endless(io.RawIOBase):
        given = 0

        def read(self, size=-1):
            self.given += size
            return (b"\x80\x04" if self.given == size else b"]]") + b"]" * (size - 2)

    stream = Endless()
    with pytest.raises(FormatError, match="more data than a file of this format has"):
        load_pickle(stream, where="file.pickle", allowed={}, max_bytes=2**17)
    assert stream.given <= 2**17 + 2**16


def test_a_memory_bomb_is_refused_and_the_limit_put_back():
    """LONG_BINPUT of a huge index makes the unpickler allocate a memo of 32 GB."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(FormatError, match="MemoryError"):
        load(b"\x80\x02K\x01r\xff\xff\xff\x7f.")
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    assert load(pickle.dumps(1)) == 1
