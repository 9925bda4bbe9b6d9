"""The official files of GENNAPE, written as the authors' code writes them, and what must not pass for one."""

import json
import os
import pickle
import struct
import sys
import types
import zipfile
from collections import namedtuple

import numpy as np
import pytest
from gennape_cases import authors_module, cache, compute_graph, labelled_file, official_state

from archgauge.errors import FormatError
from archgauge.families import hiaml
from archgauge.families._gennape_graphs import graph_of
from archgauge.formats import gennape
from archgauge.graphs.canonical import canonical_hash

NAME = "gpi_test_hiaml_cifar10_labelled_cg_data.json"
SPEC = "z-a22-t31-src8"
STATE = official_state(hiaml.to_graph(SPEC))
ENTRY = {"net_config": ["hiaml_z"] * 4, "max_perf": 92.5, "perfs": [91.0, 92.5], "cg": STATE}


SMALL = '{"net_config": 1, "max_perf": 9, "perfs": [], "cg": {}}'


def read(path, name=NAME):
    return list(gennape.read_labelled(path, name))


# JSON


def test_entries_come_in_the_order_of_the_file(tmp_path):
    networks = read(labelled_file(tmp_path / "x.json", {"b": ENTRY, "a": {**ENTRY, "max_perf": 93}}))
    assert [network.key for network in networks] == ["b", "a"]
    assert networks[1].max_perf == 93.0
    assert networks[0] == gennape.LabelledNetwork("b", ["hiaml_z"] * 4, 92.5, (91.0, 92.5), STATE)


def test_white_space_and_a_missing_list_do_not_matter(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("\n" + json.dumps({"a": {k: v for k, v in ENTRY.items() if k != "perfs"}}, indent=1) + "\n")
    assert [(network.key, network.perfs) for network in read(path)] == [("a", ())]


def test_every_truncation_of_a_json_file_is_refused(tmp_path):
    whole = json.dumps({"a": {**ENTRY, "cg": {}}, "b": {**ENTRY, "cg": {}}})
    path = tmp_path / "x.json"
    for length in range(len(whole)):
        path.write_text(whole[:length])
        with pytest.raises(FormatError, match=r"x\.json: expected one whole JSON object"):
            read(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "expected one whole JSON object, got JSONDecodeError: Expecting one of {"),
        ("{}", "expected one whole JSON object"),
        (f'{{"a": {SMALL}}} {{}}', "Extra data"),
        (f'{{"a": {SMALL}; "b": {SMALL}}}', "Expecting one of ,}"),
        ('{"a": ' + "[" * 100_000, "RecursionError"),
        ('{"a": ' + "9" * 10_000 + "}", "ValueError"),
        ('{"message": "Not Found"}', r"key 'message': expected an object with cg.* got AttributeError"),
        ('{"a": 3}', r"key 'a': expected an object with cg.* got AttributeError"),
        ('{"a": {"max_perf": 1, "perfs": [], "cg": {}}}', "key 'a': .* got KeyError: 'net_config'"),
        ('{"a": {"net_config": 1, "perfs": [], "cg": {}}}', "got KeyError: 'max_perf'"),
        ('{"a": {"net_config": 1, "max_perf": "9", "perfs": [], "cg": {}}}', "'9' in place of a number"),
        ('{"a": {"net_config": 1, "max_perf": true, "perfs": [], "cg": {}}}', "True in place of a number"),
        (
            '{"a": {"net_config": 1, "max_perf": 9, "perfs": [[1, 90.0]], "cg": {}}}',
            r"\[1, 90.0\] in place of a number",
        ),
        ('{"a": {"net_config": 1, "max_perf": 9, "perfs": 3, "cg": {}}}', "got TypeError"),
        ('{"a": {"net_config": 1, "max_perf": 9, "perfs": [], "cg": []}}', "list in place of an object"),
    ],
)
def test_a_json_file_of_another_form_is_refused(tmp_path, text, message):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(FormatError, match=message):
        read(path)


def test_a_key_that_comes_twice_is_refused(tmp_path):
    path, entry = tmp_path / "x.json", json.dumps(ENTRY)
    path.write_text(f'{{"a": {entry}, "a": {entry}}}')
    with pytest.raises(FormatError, match="key 'a': expected each key once"):
        read(path)


def test_what_is_no_text_or_no_file_is_refused(tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(FormatError, match="FileNotFoundError"):
        read(path)
    path.write_bytes(b'{"\xff": 1}')
    with pytest.raises(FormatError, match="expected text in UTF-8"):
        read(path)


# the zip


def zipped(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_the_zip_is_read_in_place(tmp_path):
    members = {"CG_data/data/" + NAME: json.dumps({"a": ENTRY}), "CG_data/cache/other.pkl": b"no pickle"}
    path = zipped(tmp_path / "CG_data.zip", members)
    assert read(path) == read(labelled_file(tmp_path / "x.json", {"a": ENTRY}))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["CG_data.zip", "x.json"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"data/other.json": "{}"}, "one member gpi_test_hiaml_cifar10_labelled_cg_data.json, got none"),
        ({"a/" + NAME: "{}", "b/" + NAME: "{}"}, r"got \['a/.*', 'b/"),
        ({"../../" + NAME: "{}"}, r"names inside the archive's own folder, got \.\./\.\./"),
        ({NAME: "{}", "a\\..\\x": ""}, "names inside the archive's own folder"),
        ({NAME: "{}", "/etc/x": ""}, "got /etc/x"),
    ],
)
def test_a_zip_with_other_names_is_refused(tmp_path, members, message):
    with pytest.raises(FormatError, match=message):
        read(zipped(tmp_path / "x.zip", members))


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_zip_is_refused(tmp_path, compression):
    path = zipped(tmp_path / "x.zip", {NAME: json.dumps({"a": ENTRY})}, compression)
    whole = path.read_bytes()
    for length in range(4, len(whole), len(whole) // 40):
        path.write_bytes(whole[:length])
        with pytest.raises(FormatError, match=r"x\.zip"):
            read(path)
    middle = len(whole) // 3
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    with pytest.raises(FormatError, match=r"expected a whole file, got (BadZipFile|error)"):
        read(path)


def test_a_file_that_is_too_large_is_refused(tmp_path, monkeypatch):
    text = json.dumps({"a": ENTRY})
    monkeypatch.setattr(gennape, "MAX_BYTES", len(text) - 1)
    for path in (zipped(tmp_path / "x.zip", {NAME: text}), labelled_file(tmp_path / "x.json", {"a": ENTRY})):
        with pytest.raises(FormatError, match=f"expected at most {len(text) - 1:,} bytes, got {len(text):,}"):
            read(path)


# caches


@pytest.fixture
def authors(monkeypatch):
    return authors_module(monkeypatch)


@pytest.mark.parametrize("protocol", [4, 5])
def test_a_cache_gives_the_same_graphs_as_the_json(tmp_path, authors, protocol):
    graph = compute_graph(authors, STATE)
    entries = [
        {"compute graph": graph, "acc": 0.9123, "flops": 1.5, "n_params": 7, "original config": (["op"], [[0, 1]])},
        {"compute graph": graph, "acc": np.float64(0.5), "flops": np.int64(3), "original config": (224, ["a"])},
    ]
    path = cache(tmp_path / "x.pkl", entries, protocol)
    for name in [name for name in sys.modules if name.startswith("model_src")]:
        del sys.modules[name]
    first, second = gennape.read_cache(path)
    assert (first.accuracy, first.flops, first.params) == (pytest.approx(91.23), 1.5, 7)
    assert (second.accuracy, second.flops, second.params) == (50.0, 3.0, None)
    assert first.config == (["op"], [[0, 1]])
    assert canonical_hash(graph_of(first.state))[0] == canonical_hash(graph_of(STATE))[0]
    inside = zipped(tmp_path / "x.zip", {"cache/x.pkl": path.read_bytes()})
    assert [network.accuracy for network in gennape.read_cache(inside, "x.pkl")] == [first.accuracy, 50.0]
    assert not any(name.startswith("model_src") for name in sys.modules)


def entry(authors, **changes):
    graph = compute_graph(authors, STATE)
    return {"compute graph": graph, "acc": 0.5, "flops": 1, "n_params": 2, "original config": None} | changes


def test_configurations_with_arrays_and_genotypes_are_read(tmp_path, authors, monkeypatch):
    """NAS-Bench-101's adjacency may be an array; NAS-Bench-301's genotype is a named tuple of an unknown module."""
    module = types.ModuleType("genotypes_of_darts")
    module.Genotype = namedtuple("Genotype", "normal normal_concat", module=module.__name__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    matrix = np.triu(np.ones((3, 3), np.int8), 1)
    genotype = module.Genotype([("skip_connect", 0)], [2, 3])
    configs = [(["op"], matrix), (["op"], np.asfortranarray(matrix)), matrix[0].astype(">f8"), genotype]
    path = cache(tmp_path / "x.pkl", [entry(authors, **{"original config": config}) for config in configs])
    found = [network.config for network in gennape.read_cache(path)]
    assert found[0][1].values == found[1][1].values == matrix.tolist()
    assert found[2].values == [0.0, 1.0, 1.0]
    assert found[3].values == ([("skip_connect", 0)], [2, 3])


class Call:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_hostile_cache_runs_nothing(tmp_path, protocol):
    victim = tmp_path / "victim"
    for call, named in (
        (Call(os.system, f"touch {victim}"), "posix.system"),
        (Call(eval, f"open({str(victim)!r}, 'w')"), "eval"),
    ):
        path = cache(tmp_path / "x.pkl", [{"acc": 0.5, "original config": call}], protocol)
        with pytest.raises(FormatError, match=f"{named}.* do not trust this one"):
            list(gennape.read_cache(path))
    assert not victim.exists()


def test_a_hostile_array_is_refused(tmp_path, authors):
    path = cache(tmp_path / "x.pkl", [entry(authors, **{"original config": np.array([None], object)})])
    with pytest.raises(FormatError, match=r"x\.pkl"):
        list(gennape.read_cache(path))
    for state in ((1, (10**9,), gennape.NUMPY_SCALARS["numpy", "dtype"]("i8"), False, struct.pack("q", 1)),):
        with pytest.raises(ValueError, match="cannot reshape"):
            gennape._Array().__setstate__(state)


def test_every_truncation_of_a_cache_is_refused(tmp_path, authors):
    whole = pickle.dumps([entry(authors)], 4)
    path = tmp_path / "x.pkl"
    for length in range(0, len(whole), 997):
        path.write_bytes(whole[:length])
        with pytest.raises(FormatError, match=r"x\.pkl: expected one whole pickle"):
            list(gennape.read_cache(path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"acc": 91.2}, "acc 91.2 in place of a fraction"),
        ({"acc": None}, "None in place of a number"),
        ({"flops": "1"}, "'1' in place of a number"),
        ({"compute graph": {}}, "dict in place of a ComputeGraph"),
    ],
)
def test_a_cache_of_another_form_is_refused(tmp_path, authors, change, message):
    with pytest.raises(FormatError, match=f"entry 0: expected a dict with compute graph.* {message}"):
        list(gennape.read_cache(cache(tmp_path / "x.pkl", [entry(authors, **change)])))
    with pytest.raises(FormatError, match="expected a list of networks, got dict"):
        list(gennape.read_cache(cache(tmp_path / "x.pkl", {})))
    with pytest.raises(FormatError, match=r"entry 0: .* KeyError: 'original config'"):
        list(gennape.read_cache(cache(tmp_path / "x.pkl", [{"acc": 0.5}])))
