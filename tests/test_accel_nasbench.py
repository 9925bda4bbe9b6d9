"""Accel-NASBench's official JSON files, written here in the authors' form, and hostile ones."""

import gzip
import io
import json
import tarfile

import pytest

from archgauge.errors import FormatError
from archgauge.formats import accel_nasbench
from archgauge.formats.accel_nasbench import read_results


def result(**changes) -> dict:
    """The content of one result_<number>.json."""
    architecture = {}
    for block in range(7):
        architecture |= {
            f"block{block}_k": 3,
            f"block{block}_e": 6,
            f"block{block}_l": 2,
            f"block{block}_se": block == 1,
        }
    devices = {
        name: {f"{name.split('_')[0]}_mean": 100.0 + number, f"{name.split('_')[0]}_std": 1.0}
        for number, name in enumerate(accel_nasbench.DEVICE_METRICS)
    }
    return {
        "architecture": architecture,
        "metrics": {"val_top1": 59.4, "val_top5": 82.6, "train_time": 2660.4},
        "model_info": {"macs": 415.4, "params": 2.5},
        "platform_perf": devices,
    } | changes


def archive(path, members):
    """Write a .tar.gz of (name, content)."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def folder(path, *contents):
    for number, content in enumerate(contents):
        text = content if isinstance(content, bytes) else json.dumps(content).encode()
        (path / f"result_{number}.json").write_bytes(text)
    return path


def test_a_result_is_read(tmp_path):
    (row,) = read_results(folder(tmp_path, result()))
    assert list(row) == [*accel_nasbench.ARCHITECTURE, *accel_nasbench.METRICS, *accel_nasbench.DEVICE_METRICS]
    assert (row["block0_e"], row["block0_k"], row["block0_l"], row["block0_se"]) == (6, 3, 2, False)
    assert row["block1_se"] is True
    assert (row["val_top1"], row["val_top5"], row["train_time"]) == (59.4, 82.6, 2660.4)
    assert (row["throughput_a100"], row["latency_vck190"]) == (100.0, 107.0)


def test_the_archive_and_its_folder_read_alike_and_by_number(tmp_path):
    contents = {number: result(metrics={"val_top1": number, "val_top5": 80, "train_time": 1}) for number in (10, 2, 1)}
    files = [(f"json/result_{number}.json", json.dumps(content).encode()) for number, content in contents.items()]
    path = archive(
        tmp_path / "anb_dataset_jsons.tar.gz", [*files, ("json/README.md", b"x"), ("json/._result_1.json", b"")]
    )
    (tmp_path / "json").mkdir()
    for name, content in files:
        (tmp_path / name).write_bytes(content)
    assert [row["val_top1"] for row in read_results(path)] == [1, 2, 10]
    assert list(read_results(path)) == list(read_results(tmp_path / "json")) == list(read_results(tmp_path))


def test_flags_may_be_words_and_devices_may_be_absent(tmp_path):
    content = result()
    content["architecture"] |= {"block0_se": "True", "block1_se": "False"}
    content["platform_perf"] = {
        "latency_zcu102": {"latency_mean": 5},
        "throughput_a100": {"throughput_mean": float("nan")},
    }
    (row,) = read_results(folder(tmp_path, content))
    assert (row["block0_se"], row["block1_se"]) == (True, False)
    assert {name for name in accel_nasbench.DEVICE_METRICS if row[name] is not None} == {"latency_zcu102"}


def change(part, **values):
    content = result()
    return content | {part: content[part] | values}


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"null", b"[" * 60_000, b"\xff\xfe", {}, result(architecture=None), result(metrics=[])),
        *(result(platform_perf=3), result(platform_perf={"throughput_a100": 3}), result(architecture={"block0_e": 6})),
        *(
            change("architecture", block0_e="6"),
            change("architecture", block0_se="yes"),
            change("architecture", block0_l=True),
        ),
        *(change("metrics", val_top1="59"), change("metrics", val_top1=float("nan")), change("metrics", train_time=-3)),
        *(change("metrics", val_top5=float("inf")), change("metrics", val_top1=None), change("metrics", val_top1=True)),
        change("platform_perf", latency_zcu102={"latency_mean": -1.0}),
        change("platform_perf", latency_zcu102={"latency_mean": "5"}),
    ],
)
def test_a_damaged_result_is_named(tmp_path, content):
    path = folder(tmp_path, result(), content)
    with pytest.raises(
        FormatError, match=r"the data of Accel-NASBench at .*, result_1.json: expected an architecture of 7"
    ):
        list(read_results(path))


def test_a_huge_file_is_not_read(tmp_path):
    path = folder(tmp_path, b" " * 100_000)
    with pytest.raises(FormatError, match=r"result_0.json: expected at most 65,536 bytes, got more"):
        list(read_results(path))
    path = archive(tmp_path / "x.tar.gz", [("result_0.json", b" " * 100_000)])
    with pytest.raises(FormatError, match=r"result_0.json: expected at most 65,536 bytes, got more"):
        list(read_results(path))


def test_an_archive_that_unpacks_to_too_much_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(accel_nasbench, "_ALL_MAX_BYTES", 100_000)
    path = archive(tmp_path / "x.tar.gz", [("notes", b" " * 200_000), ("result_0.json", json.dumps(result()).encode())])
    with pytest.raises(FormatError, match="expected at most 100,000 bytes unpacked, got more"):
        list(read_results(path))


@pytest.mark.parametrize("name", ["../result_0.json", "/tmp/result_0.json", "a/../../result_0.json"])
def test_a_name_outside_the_archive_is_refused(tmp_path, name):
    path = archive(tmp_path / "x.tar.gz", [(name, json.dumps(result()).encode())])
    with pytest.raises(FormatError, match="expected names inside the archive's own folder, got"):
        list(read_results(path))


def test_links_are_not_followed(tmp_path):
    (tmp_path / "secret.json").write_text(json.dumps(result()))
    path = tmp_path / "x.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo("result_0.json")
        member.type, member.linkname = tarfile.SYMTYPE, str(tmp_path / "secret.json")
        tar.addfile(member)
    with pytest.raises(FormatError, match=r"expected files result_<number>.json in a folder or a .tar.gz, got none"):
        list(read_results(path))


def test_two_files_of_one_number_are_refused(tmp_path):
    content = json.dumps(result()).encode()
    path = archive(tmp_path / "x.tar.gz", [("a/result_3.json", content), ("b/result_3.json", content)])
    with pytest.raises(FormatError, match=r"expected one file for each number, got a second result_3.json"):
        list(read_results(path))


def test_a_cut_or_foreign_archive_is_refused(tmp_path):
    members = [(f"result_{number}.json", json.dumps(result()).encode()) for number in range(200)]
    whole = archive(tmp_path / "x.tar.gz", members).read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    for content in (whole[: len(whole) // 2], whole[:-6], bytes(flipped), b"<html>", gzip.compress(b"no tar" * 500)):
        path = tmp_path / "y.tar.gz"
        path.write_bytes(content)
        with pytest.raises(
            FormatError, match=r"the data of Accel-NASBench at .*y.tar.gz: expected a whole .tar.gz, got"
        ):
            list(read_results(path))


def test_nothing_there_is_said(tmp_path):
    with pytest.raises(FormatError, match=r"expected files result_<number>.json"):
        list(read_results(tmp_path))
    with pytest.raises(FormatError, match="FileNotFoundError"):
        list(read_results(tmp_path / "absent.tar.gz"))
