"""Official files of NDS, whole and broken."""

import json
import zipfile

import pytest
from nds_files import GENOTYPE, sweep, training

from archgauge.errors import FormatError
from archgauge.formats import nds


def read(path, content: bytes):
    path.write_bytes(content)
    return list(nds.read_sweep(path, "DARTS"))


def test_a_training(tmp_path):
    (found,) = read(tmp_path / "DARTS.json", sweep(training()))
    assert found == nds.Training(
        normal=tuple((name, source) for name, source in GENOTYPE["normal"]),
        normal_concat=(2, 3, 4, 5),
        reduce=tuple((name, source) for name, source in GENOTYPE["reduce"]),
        reduce_concat=(2, 3, 4, 5),
        width=16,
        depth=8,
        auxiliary=True,
        params=1_234_567,
        macs=98_765_432,
        epochs=3,
        accuracy_pct=93.25,
    )


def test_a_sweep_in_all_its_forms(tmp_path):
    """A file, a folder, data.zip, other spacing, the two groups of ImageNet, one of them empty."""
    many = [training(params=number) for number in range(5)]
    expected = read(tmp_path / "DARTS.json", sweep(*many))
    assert [found.params for found in expected] == [0, 1, 2, 3, 4]
    assert list(nds.read_sweep(tmp_path, "DARTS")) == expected
    with zipfile.ZipFile(tmp_path / "data.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("data/DARTS.json", sweep(*many))
        packed.writestr("data/DARTS_in.json", b"damaged")
    assert list(nds.read_sweep(tmp_path / "data.zip", "DARTS")) == expected
    assert read(tmp_path / "DARTS.json", json.dumps(many, indent=2).encode() + b"\n") == expected
    groups = {"top": many[:2], "mid": many[2:]}
    assert read(tmp_path / "DARTS.json", json.dumps(groups, indent=1).encode()) == expected
    assert read(tmp_path / "DARTS.json", json.dumps({"top": [], "mid": many}).encode()) == expected


def test_a_file_may_not_say_whether_it_had_an_auxiliary_head(tmp_path):
    net = {"genotype": GENOTYPE, "width": 16, "depth": 8}
    (found,) = read(tmp_path / "DARTS.json", sweep(training(net=net)))
    assert found.auxiliary is None


GOOD = sweep(training())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"IndexError.*\(training 0\)"),
        (b" [ ] ", "as its authors publish it, got no training"),
        (b'{"top": [], "mid": []}', "got no training"),
        (GOOD[:-1], r"IndexError.*\(training 1\)"),
        (GOOD[:-100], "JSONDecodeError"),
        (GOOD + b"[]", "more behind the end"),
        (GOOD[:-1] + b"x]", "'x' at"),
        (GOOD[:-1] + b",]", "JSONDecodeError"),
        (b'{"top": [], "low": []}', "a group 'low'"),
        (b'{"top": 3}', "'3' at 8 where '\\[' belongs"),
        (b"{}", "JSONDecodeError"),
        (b'"DARTS"', "where '{' belongs"),
        (b"[1]", "TypeError"),
        (b"[" * 200_000, "RecursionError"),
        (b"\xff", "UnicodeDecodeError"),
        (b"[" + b"9" * 5000 + b"]", "ValueError"),
        (sweep(training(), training(test_ep_top1=[])), r"IndexError.*\(training 1\)"),
        (sweep(training(test_ep_top1=["x"])), "ValueError"),
        (sweep(training(params=1e999)), "OverflowError"),
        (sweep(training(net={"width": 16, "depth": 8})), "KeyError: 'genotype'"),
        (sweep(training(GENOTYPE | {"normal": [["skip_connect"]]})), "ValueError"),
        (sweep(training(GENOTYPE | {"normal_concat": None})), "TypeError"),
    ],
)
def test_a_bad_sweep_is_refused(tmp_path, content, message):
    with pytest.raises(FormatError, match=message) as caught:
        read(tmp_path / "DARTS.json", content)
    assert "DARTS.json" in str(caught.value)


def test_a_sweep_that_is_not_there_is_said(tmp_path):
    (tmp_path / "ENAS.json").write_bytes(GOOD)
    with pytest.raises(FormatError, match=r"expected DARTS.json, got another sweep, ENAS"):
        list(nds.read_sweep(tmp_path / "ENAS.json", "DARTS"))
    with pytest.raises(FormatError, match=r"expected one DARTS.json, got no such file"):
        list(nds.read_sweep(tmp_path, "DARTS"))
    with pytest.raises(FormatError, match="got nothing there"):
        list(nds.read_sweep(tmp_path / "data.zip", "DARTS"))


def test_a_sweep_that_is_there_twice_is_said(tmp_path):
    """Its trainings would count as runs of their own copies."""
    for folder in ("new", "old"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "DARTS.json").write_bytes(GOOD)
    with pytest.raises(FormatError, match=r"expected one DARTS.json, got new/DARTS.json and old/DARTS.json"):
        list(nds.read_sweep(tmp_path, "DARTS"))


def test_a_hostile_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as packed:
        packed.writestr("../DARTS.json", GOOD)
    with pytest.raises(FormatError, match="leads out of the archive"):
        list(nds.read_sweep(tmp_path / "data.zip", "DARTS"))


def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(nds, "MAX_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "data.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("DARTS.json", b" " * 10**6)
    with pytest.raises(FormatError, match="a file of more than 1,000 bytes"):
        list(nds.read_sweep(tmp_path / "data.zip", "DARTS"))
