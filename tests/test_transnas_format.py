"""The official file of TransNAS-Bench-101, written here in both layouts of torch.save, whole, damaged and hostile."""

import io
import os
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from archgauge.errors import FormatError, TableError
from archgauge.families import transnas_macro, transnas_micro
from archgauge.formats import transnas

EPOCHS = {"class_scene": 25, "class_object": 25, "room_layout": 25, "jigsaw": 10}
TOP1 = ["train_top1", "train_loss", "valid_top1", "valid_loss", "test_top1", "test_loss", "time_elapsed"]
METRICS = {
    "class_scene": TOP1,
    "class_object": TOP1,
    "room_layout": ["valid_loss", "valid_neg_loss", "test_neg_loss"],
    "jigsaw": TOP1,
    "segmentsemantic": ["valid_acc", "test_acc", "valid_mIoU", "test_mIoU"],
    "normal": ["valid_l1_loss", "valid_ssim", "test_ssim"],
    "autoencoder": ["valid_l1_loss", "valid_ssim", "test_ssim"],
}


def record(number: int) -> dict:
    """One architecture: the last epoch's value is `number` / 100 and the best one, in the middle, 0.5 more."""
    results = {}
    for task, metrics in METRICS.items():
        epochs = EPOCHS.get(task, 30)
        sign = -1 if task == "room_layout" else 1
        curve = [0.0 if sign > 0 else -90.0] * epochs
        curve[epochs // 2], curve[-1] = sign * number / 100 + 0.5, sign * number / 100
        results[task] = {
            "model_info": {"encoder_params": 1, "encoder_FLOPs": 2.0, "inference_time": 0.1},
            "metrics": {metric: ["00:01"] * epochs if metric == "time_elapsed" else list(curve) for metric in metrics},
            "total_epochs": epochs,
        }
    return results


MACRO = [f"64-{spec}-basic" for spec in transnas_macro.enumerate_specs()["spec"].to_pylist()]


def benchmark(macro=("64-2311-basic",), micro=("64-41414-1_02_333",)) -> dict:
    return {
        "metrics_dict": METRICS,
        "info_names": ["inference_time", "encoder_params"],
        "task_list": list(METRICS),
        "data": {
            "macro": {arch: record(number) for number, arch in enumerate(macro)},
            "micro": {arch: record(number) for number, arch in enumerate(micro)},
        },
    }


@pytest.fixture(params=["zip", "stream"])
def save(request, tmp_path):
    """Write with torch itself, in its new or its old layout."""

    def write(content):
        path = tmp_path / "transnas-bench_v10141024.pth"
        torch.save(content, path, _use_new_zipfile_serialization=request.param == "zip")
        assert zipfile.is_zipfile(path) == (request.param == "zip")
        return path

    return write


def test_both_layouts_give_the_curves(save):
    path = save(benchmark())
    ((arch, tasks),) = transnas.read_runs(path, "micro")
    assert arch == "64-41414-1_02_333"
    assert set(tasks) == set(METRICS)
    assert set(tasks["segmentsemantic"]) == {
        (split, metric) for split in ("validation", "test") for metric in ("acc", "mIoU")
    }
    assert tasks["jigsaw"]["test", "top1"] == record(0)["jigsaw"]["metrics"]["test_top1"]
    assert [arch for arch, _ in transnas.read_runs(path, "macro")] == ["64-2311-basic"]


def test_numpy_numbers_and_ordered_dicts_are_read(save):
    content = benchmark()
    content["data"] = OrderedDict(content["data"])
    curve = content["data"]["macro"]["64-2311-basic"]["jigsaw"]["metrics"]["valid_top1"]
    content["data"]["macro"]["64-2311-basic"]["jigsaw"]["metrics"]["valid_top1"] = [np.float32(x) for x in curve]
    ((_, tasks),) = transnas.read_runs(save(content), "macro")
    assert tasks["jigsaw"]["validation", "top1"] == curve
    assert all(type(value) is float for value in tasks["jigsaw"]["validation", "top1"])


def test_the_family_serves_final_and_best_values(tmp_path):
    path = tmp_path / "x.pth"
    torch.save(benchmark(macro=MACRO), path)
    labels = transnas_macro.LABEL_SOURCES["transnas"](path)
    assert len(labels) == len(MACRO) * 8 * 3  # eight metrics: validation's last and best epoch, test's last
    row = labels.filter(pc.equal(labels["arch_id"], MACRO[7].replace("64-", "transnas_macro/").replace("-basic", "")))
    values = dict(zip(pc.cast(row["label"], pa.string()).to_pylist(), row["value"].to_pylist(), strict=True))
    assert values["class_object/validation@25/run0"] == 0.07
    assert values["class_object/validation@25/best"] == pytest.approx(0.57)
    assert values["class_object/test@25/run0"] == 0.07
    assert "class_object/test@25/best" not in values
    assert values["room_layout/validation@25/best"] == pytest.approx(0.43)
    assert values["segmentsemantic/validation_miou@30/best"] == pytest.approx(0.57)
    assert {name.partition("/")[0] for name in values} == set(METRICS)


@pytest.mark.parametrize("best", [0, 24])
def test_the_best_epoch_may_be_the_first_or_the_last(tmp_path, best):
    content = benchmark(macro=MACRO)
    curve = [50.0] * 25
    curve[best] = 60.0
    content["data"]["macro"][MACRO[7]]["class_object"]["metrics"]["valid_top1"] = curve
    torch.save(content, tmp_path / "x.pth")
    labels = transnas_macro.LABEL_SOURCES["transnas"](tmp_path / "x.pth")
    name = MACRO[7].replace("64-", "transnas_macro/").replace("-basic", "")
    row = labels.filter(pc.equal(labels["arch_id"], name))
    values = dict(zip(pc.cast(row["label"], pa.string()).to_pylist(), row["value"].to_pylist(), strict=True))
    assert values["class_object/validation@25/best"] == 60.0
    assert values["class_object/validation@25/run0"] == curve[-1]


def test_a_file_that_lacks_architectures_is_refused(save):
    with pytest.raises(TableError, match=r"each of the 4,096 of the space once, got 1; .* missing: .'0_00_000'"):
        transnas_micro.LABEL_SOURCES["transnas"](save(benchmark()))


class Calls:
    """Pickles as a call of `function` on `arguments`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_a_hostile_pickle_is_refused(save, tmp_path):
    """Nothing but plain data: neither a system call nor a tensor."""
    touched = tmp_path / "touched"
    for content in (Calls(os.system, f"touch {touched}"), {"data": Calls(os.system, f"touch {touched}")}):
        with pytest.raises(FormatError, match=r"a pickle's globals .* got posix.system"):
            list(transnas.read_runs(save(content), "micro"))
    assert not touched.exists()


def test_a_tensor_is_refused(save):
    with pytest.raises(FormatError, match=r"a pickle's globals|an end that is not an empty list of tensors"):
        list(transnas.read_runs(save({"data": torch.zeros(3)}), "micro"))


def test_a_truncated_file_is_refused(save):
    path = save(benchmark())
    whole = path.read_bytes()
    for share in (0.01, 0.3, 0.6, 0.99):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(FormatError, match="fetch"):
            list(transnas.read_runs(path, "micro"))


def test_damage_is_found_or_harmless(save):
    """A zip's checksum finds all damage to its pickle. A stream has none: an error of ours comes, or other numbers, or
    the same where what was hit is not read (the other space, training curves)."""
    path = save(benchmark())
    whole, right = path.read_bytes(), list(transnas.read_runs(path, "micro"))
    zipped, start = zipfile.is_zipfile(path), whole.index(b"data.pkl") if zipfile.is_zipfile(path) else 0
    end = whole.index(b"PK", start) if zipped else len(whole)
    found, other = 0, 0
    for place in np.random.default_rng(0).integers(start + 64 * zipped, end, size=60):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            runs = list(transnas.read_runs(path, "micro"))
        except FormatError as error:
            found += str(path) in str(error)
        else:
            other += runs != right
            assert all(set(tasks) == set(METRICS) for _, tasks in runs)
    assert (found, other) == (60, 0) if zipped else (found >= 5 and other >= 5)


def zipped(path, members: dict[str, bytes]):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_a_zip_is_never_unpacked(tmp_path):
    """A member's name can leave the folder, but nothing is written; two pickles are refused."""
    data = pickle.dumps(benchmark())
    path = zipped(tmp_path / "x.pth", {"../../data.pkl": data})
    assert len(list(transnas.read_runs(path, "micro"))) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.pth"]
    for members in ({"a/data.pkl": data, "b/data.pkl": data}, {"version": b"3"}):
        with pytest.raises(FormatError, match=r"a zip with [02] members data\.pkl"):
            list(transnas.read_runs(zipped(path, members), "micro"))


def test_a_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(transnas, "_MAX_BYTES", 2**16)
    path = tmp_path / "x.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", pickle.dumps("0" * 2**22))
    with pytest.raises(FormatError, match="more data than a file of this format has"):
        list(transnas.read_runs(path, "micro"))


def test_another_stream_of_pickles_is_refused(tmp_path):
    stream = io.BytesIO()
    for part in (1, 1001, {}, benchmark(), []):
        pickle.dump(part, stream, protocol=2)
    path = tmp_path / "x.pth"
    path.write_bytes(stream.getvalue())
    with pytest.raises(FormatError, match=r"another number than torch.save's at its start"):
        list(transnas.read_runs(path, "micro"))
    path.write_bytes(b"")
    with pytest.raises(FormatError, match=r"the file of TransNAS-Bench-101 .* got ValueError"):
        list(transnas.read_runs(path, "micro"))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content.pop("data"),
        lambda content: content["data"].pop("micro"),
        lambda content: content.update(data=[1, 2]),
        lambda content: content["data"]["micro"]["64-41414-1_02_333"].pop("normal"),
        lambda content: content["data"]["micro"]["64-41414-1_02_333"]["jigsaw"].pop("metrics"),
        lambda content: content["data"]["micro"]["64-41414-1_02_333"]["jigsaw"]["metrics"].update(valid_top1=["x"]),
        lambda content: content["data"]["micro"]["64-41414-1_02_333"]["jigsaw"]["metrics"].update(valid_top1=[]),
        lambda content: content["data"]["micro"]["64-41414-1_02_333"]["jigsaw"]["metrics"].update(valid_top1=None),
    ],
)
def test_another_content_is_refused(spoil, tmp_path):
    content, path = pickle.loads(pickle.dumps(benchmark())), tmp_path / "x.pth"
    spoil(content)
    torch.save(content, path)
    with pytest.raises(FormatError, match=r"the content of TransNAS-Bench-101's file .* the micro records"):
        list(transnas.read_runs(path, "micro"))


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(FormatError, match=r"the file of TransNAS-Bench-101 at .*absent.pth.*FileNotFoundError"):
        list(transnas.read_runs(tmp_path / "absent.pth", "micro"))
