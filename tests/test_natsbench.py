"""NATS-Bench's official layouts, written here byte for byte as their authors' code does."""

import bz2
import io
import os
import pickle
import pickletools
import tarfile
from collections import OrderedDict

import numpy as np
import pytest

from archgauge.errors import FormatError
from archgauge.formats import natsbench

STRINGS = (
    "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|",
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|",
)
SEEDS = {"12": (111,), "200": (999, 777, 888)}  # not ascending: the order of a file is no promise
EVALUATED = {
    "cifar10-valid": ("x-valid", "ori-test"),
    "cifar10": ("ori-test",),
    "cifar100": ("x-valid", "x-test", "ori-test"),
    "ImageNet16-120": ("x-valid", "x-test", "ori-test"),
}


def accuracy(index: int, epochs: str, data_set: str, evaluated: str, seed: int, epoch: int) -> float:
    words = (index, epochs, data_set, evaluated, seed, epoch)
    return float(np.random.default_rng(list(repr(words).encode())).uniform(10, 95))


def run(index: int, epochs: str, data_set: str, seed: int) -> dict:
    """A ResultsCount's state: the test sets of all epochs, the validation sets of the last epoch only."""
    last = int(epochs) - 1
    accuracies = {
        f"{evaluated}@{epoch}": np.float64(accuracy(index, epochs, data_set, evaluated, seed, epoch))
        for evaluated in EVALUATED[data_set]
        for epoch in (range(last + 1) if evaluated == "ori-test" else (last,))
    }
    return {
        "name": "infer.tiny",
        "net_state_dict": None,
        "train_acc1es": {epoch: float(epoch) for epoch in range(last + 1)},
        "arch_config": {"channel": 16, "num_cells": 5, "arch_str": STRINGS[index], "class_num": 10},
        "params": 0.129306,
        "flop": np.float32(15.64737),
        "seed": seed,
        "epochs": int(epochs),
        "latency": [np.float64(0.0138)],
        "eval_names": list(EVALUATED[data_set]),
        "eval_acc1es": accuracies,
    }


def architecture(index: int) -> OrderedDict:
    return OrderedDict(
        (
            epochs,
            {
                "arch_index": index,
                "arch_str": STRINGS[index],
                "all_results": {(data, seed): run(index, epochs, data, seed) for data in EVALUATED for seed in seeds},
                "dataset_seed": {data: list(seeds) for data in EVALUATED},
                "clear_net_done": True,
            },
        )
        for epochs, seeds in SEEDS.items()
    )


def packed(content: object) -> bytes:
    """Pickle with protocol 4 as numpy 1 spelt it, packed by bz2."""
    data = unframed(pickle.dumps(content, 4))
    old, new = (bytes([0x8C, len(name)]) + name for name in (b"numpy._core.multiarray", b"numpy.core.multiarray"))
    return bz2.compress(data.replace(old, new))


def unframed(data: bytes) -> bytes:
    """Drop the frames, whose lengths an edit makes wrong; a pickle is as good without them."""
    starts = [place for operation, _, place in pickletools.genops(data) if operation.name == "FRAME"]
    ends = [0, *(place + 9 for place in starts)]
    return b"".join(data[end:start] for end, start in zip(ends, [*starts, len(data)], strict=True))


META = {"meta_archs": list(STRINGS), "total_archs": 2, "arch2infos": {}, "evaluated_indexes": {0, 1}}
FILES = {"meta.pickle.pbz2": packed(META)} | {f"{i:06d}.pickle.pbz2": packed(architecture(i)) for i in range(2)}


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "NATS-tss-v1_0-3ffb9-simple"
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    (folder / "README.txt").write_text("not ours")
    return folder


def tar_of(folder):
    path = folder.parent / f"{folder.name}.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(folder, folder.name)
    return path


@pytest.fixture
def whole(tmp_path):
    path = tmp_path / "NATS-tss-v1_0-3ffb9.pickle.pbz2"
    path.write_bytes(packed(META | {"arch2infos": {i: architecture(i) for i in range(2)}}))
    return path


def expected() -> dict:
    rows = {}
    for index, string in enumerate(STRINGS):
        for (data, evaluated), name in natsbench.SETS.items():
            for epochs, seeds in SEEDS.items():
                values = [accuracy(index, epochs, data, evaluated, seed, int(epochs) - 1) for seed in sorted(seeds)]
                for position, value in enumerate(values):
                    rows[index, string, f"{name}@{epochs}/run{position}"] = value
                rows[index, string, f"{name}@{epochs}/mean"] = np.mean(values)
    return rows


@pytest.mark.parametrize("layout", ["folder", "tar", "whole"])
def test_all_layouts_give_the_final_accuracies(folder, whole, layout):
    path = {"folder": folder, "tar": tar_of(folder), "whole": whole}[layout]
    rows = list(natsbench.read_accuracies(path))
    found = {row[:3]: row[3] for row in rows}
    assert len(found) == len(rows) == 2 * 6 * (1 + 1 + 3 + 1)
    assert found == pytest.approx(expected(), rel=1e-12)
    assert all(type(value) is float for value in found.values())


def test_the_fixture_spells_numpy_as_the_authors_files_do():
    assert b"numpy.core.multiarray" in bz2.decompress(packed(run(0, "12", "cifar10", 111)))


def test_training_on_all_of_cifar10_is_not_mixed_with_training_on_half(folder):
    found = {row[2]: row[3] for row in natsbench.read_accuracies(folder) if row[0] == 0}
    assert found["cifar10/test@200/run0"] == accuracy(0, "200", "cifar10", "ori-test", 777, 199)
    assert found["cifar10/validation@200/run0"] == accuracy(0, "200", "cifar10-valid", "x-valid", 777, 199)


def read_all(path):
    return list(natsbench.read_accuracies(path))


def test_a_hostile_file_is_named_with_its_global(folder):
    class Hostile:
        def __reduce__(self):
            return os.system, ("exit 1",)

    (folder / "000001.pickle.pbz2").write_bytes(packed({"12": Hostile()}))
    with pytest.raises(FormatError, match=r"000001.pickle.pbz2: expected only .*, got posix.system"):
        read_all(folder)


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b[:-2], lambda b: b"", lambda b: b"x" + b])
def test_a_damaged_file_is_named(folder, damage):
    path = folder / "000001.pickle.pbz2"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FormatError, match=r"000001.pickle.pbz2: expected one whole pickle"):
        read_all(folder)


def test_a_flipped_bit_is_caught_by_the_compressors_checksum(folder):
    path = folder / "000001.pickle.pbz2"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"000001.pickle.pbz2"):
        read_all(folder)


def test_a_small_file_that_unpacks_to_very_much_is_refused(folder):
    popped = b"C\xff" + bytes(255) + b"0"
    (folder / "000001.pickle.pbz2").write_bytes(bz2.compress(b"\x80\x04" + popped * 100_000))
    assert (folder / "000001.pickle.pbz2").stat().st_size < 10_000
    with pytest.raises(FormatError, match="more data than a file of this format has"):
        read_all(folder)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("000001.pickle.pbz2", r"the 2 architectures.*got 1 architectures; missing or different: 000001.pickle.pbz2"),
        ("meta.pickle.pbz2", r"expected meta.pickle.pbz2, got 2 architectures; missing or different: meta"),
    ],
)
def test_a_half_unpacked_folder_is_refused(folder, missing, message):
    (folder / missing).unlink()
    with pytest.raises(FormatError, match=message):
        read_all(folder)


def test_a_file_under_anothers_name_is_refused(folder):
    (folder / "000001.pickle.pbz2").write_bytes(FILES["000000.pickle.pbz2"])
    with pytest.raises(FormatError, match=r"missing or different: 000001.pickle.pbz2"):
        read_all(folder)


@pytest.mark.parametrize("content", [7, {"200": 7}, {"200": {"arch_index": 1}}, {}, {"full": architecture(1)["200"]}])
def test_other_content_is_refused(folder, content):
    (folder / "000001.pickle.pbz2").write_bytes(packed(content))
    with pytest.raises(FormatError, match=r"000001.pickle.pbz2"):
        read_all(folder)


def test_a_run_without_its_last_epoch_is_refused(folder):
    content = architecture(1)
    del content["200"]["all_results"]["cifar100", 888]["eval_acc1es"]["x-test@199"]
    (folder / "000001.pickle.pbz2").write_bytes(packed(content))
    with pytest.raises(FormatError, match=r"the content of a NATS-Bench file at .*000001.*KeyError: 'x-test@199'"):
        read_all(folder)


def test_a_truncated_tar_is_refused(folder):
    path = tar_of(folder)
    content = path.read_bytes()
    for length in (0, 100, len(content) // 3, len(content) // 2, 3 * len(content) // 4):
        path.write_bytes(content[:length])
        with pytest.raises(FormatError, match=str(path)):
            read_all(path)


def test_a_tar_writes_nothing(folder, tmp_path):
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as tar:
        for name, content in FILES.items():
            member = tarfile.TarInfo(f"../../{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    before = set(tmp_path.rglob("*"))
    assert len(read_all(path)) == 72
    assert set(tmp_path.rglob("*")) == before


def test_another_kind_of_file_is_refused(tmp_path):
    with pytest.raises(FormatError, match="got nothing there"):
        read_all(tmp_path / "absent.pth")
    (tmp_path / "NAS-Bench-201.pth").touch()
    with pytest.raises(FormatError, match=r"got another kind of file.*as the .tar that its authors publish"):
        read_all(tmp_path / "NAS-Bench-201.pth")
