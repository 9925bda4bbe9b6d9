"""ONNX files by hand: padding, old operators, shape arithmetic, and what is damaged or refused."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_cases import operations, same, weight, write

from archgauge.errors import FormatError, GraphError
from archgauge.graphs import cost, onnx_import
from archgauge.graphs.normal_form import live
from archgauge.graphs.onnx_import import load_onnx


def kinds_of(path):
    graph = load_onnx(path)
    return [graph.kinds[kind] for kind in graph.kind.tolist()]


def test_automatic_and_lopsided_padding(tmp_path):
    path, w = tmp_path / "m.onnx", weight("w", 6, 4, 2, 2)
    for attributes in ({"auto_pad": "SAME_UPPER"}, {"pads": [0, 0, 1, 1]}):
        write(path, [helper.make_node("Conv", ["x", "w"], ["y"], **attributes)], [w])
        _, pad, conv, _ = kinds_of(path)
        assert (pad.operation, pad.settings["frame"]) == ("pad", [0, 1, 0, 1])
        assert (conv.operation, conv.padding, conv.outputs) == ("conv", (0, 0), ((8, 8, 6),))
    write(path, [helper.make_node("Conv", ["x", "w"], ["y"], pads=[0, 1, 2, 0])], [w])  # top, left, bottom, right
    _, pad, conv, _ = kinds_of(path)
    assert (pad.settings["frame"], pad.outputs) == ([1, 0, 0, 2], ((10, 9, 4),))  # left, right, top, bottom
    assert (conv.padding, conv.outputs) == ((0, 0), ((9, 8, 6),))
    write(path, [helper.make_node("Conv", ["x", "w"], ["y"], auto_pad="SAME_LOWER", strides=[2, 2])], [w])
    assert [kind.operation for kind in kinds_of(path)] == ["input", "conv", "output"]
    write(path, [helper.make_node("Conv", ["x", "w"], ["y"], auto_pad="VALID")], [w])
    assert kinds_of(path)[1].outputs == ((7, 7, 6),)


def test_settings_in_attributes_of_old_operators(tmp_path):
    nodes = [
        helper.make_node("Clip", ["x"], ["a"], min=0.0, max=6.0),
        helper.make_node("Slice", ["a"], ["b"], starts=[1, -6], ends=[100, -1], axes=[1, 2]),
        helper.make_node("Pad", ["b"], ["c"], pads=[0, 0, 1, 0, 0, 0, 0, 2]),
        helper.make_node("Upsample", ["c", "s"], ["d"], mode="nearest"),
        helper.make_node("Dropout", ["d"], ["e"]),
        helper.make_node("ReduceMean", ["e"], ["y"], axes=[-1, -2], keepdims=0),
    ]
    scale = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "s")
    found = [
        (kind.operation, kind.settings, kind.outputs)
        for kind in kinds_of(write(tmp_path / "m.onnx", nodes, [scale], opset=9))[1:-1]
    ]
    assert found == [
        ("relu6", {}, ((8, 8, 4),)),
        ("slice", {"axis": "channels", "first": 1, "last": 4}, ((8, 8, 3),)),
        ("slice", {"axis": "height", "first": 2, "last": 7}, ((5, 8, 3),)),
        ("pad", {"frame": [0, 2, 1, 0]}, ((6, 10, 3),)),
        ("upsample", {"scale": 2}, ((12, 20, 3),)),
        ("global_avg_pool", {}, ((1, 1, 3),)),
    ]


def test_an_old_softmax_is_along_all_axes_from_one_on(tmp_path):
    for opset, attributes, operation, settings in (
        (11, {}, "other", {"name": "Softmax", "arguments": [], "keywords": {"axis": 1}}),
        (11, {"axis": 0}, "other", {"name": "Softmax", "arguments": [], "keywords": {"axis": 0}}),
        (11, {"axis": -1}, "softmax", {"axis": 2}),
        (13, {}, "softmax", {"axis": 2}),
        (13, {"axis": 1}, "softmax", {"axis": 1}),
    ):
        nodes = [helper.make_node("Softmax", ["x"], ["y"], **attributes)]
        path = write(tmp_path / "m.onnx", nodes, shape=(1, 5, 4), opset=opset)
        _, kind, _ = kinds_of(path)
        assert (kind.operation, kind.settings) == (operation, settings)
    old = onnx.defs.get_schema("Softmax", 11)
    assert (old.attributes["axis"].default_value.i, old.since_version) == (1, 11)
    assert "it will be coerced into one" in " ".join(old.doc.split())


def test_what_has_no_name_in_the_vocabulary_is_other(tmp_path):
    nodes = [
        helper.make_node("Elu", ["x"], ["a"], alpha=0.5),
        helper.make_node("MaxPool", ["a"], ["b"], kernel_shape=[3, 3], dilations=[2, 2]),
        helper.make_node("Sub", ["one", "b"], ["c"]),
        helper.make_node("Pad", ["c", "pads"], ["y"], mode="reflect"),
    ]
    pads = numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1]), "pads")
    one = numpy_helper.from_array(np.array(1, np.float32), "one")
    settings = [kind.settings for kind in kinds_of(write(tmp_path / "m.onnx", nodes, [pads, one]))[1:-1]]
    assert [each["name"] for each in settings] == ["Elu", "MaxPool", "Sub", "Pad"]
    assert settings[0]["keywords"] == {"alpha": 0.5}
    assert settings[1]["keywords"]["dilations"] == [2, 2]
    assert settings[2]["arguments"] == [1.0]
    assert settings[3] == {"name": "Pad", "arguments": [[0, 0, 1, 1, 0, 0, 1, 1]], "keywords": {"mode": "reflect"}}


def test_an_operator_of_another_domain_needs_a_shape(tmp_path):
    nodes = [helper.make_node("Swirl", ["x"], ["y"], domain="com.example", turns=3)]
    path = write(tmp_path / "m.onnx", nodes, out_shape=[1, 2, 4, 4], domains=["com.example"])
    kind = kinds_of(path)[1]
    assert (kind.settings["name"], kind.settings["keywords"]) == ("com.example::Swirl", {"turns": 3})
    assert kind.outputs == ((4, 4, 2),)
    write(path, [*nodes, helper.make_node("Relu", ["y"], ["z"])], output="z", domains=["com.example"])
    with pytest.raises(GraphError, match=r"the shape of a value .*node z \(Relu\): expected numbers for the axes of y"):
        load_onnx(path)


def test_shape_arithmetic_is_worked_out(tmp_path):
    """A flattening as exporters write it: Shape, Gather, Unsqueeze, Concat, Reshape."""
    numbers = {"zero": np.array(0), "axes": np.array([0]), "rest": np.array([-1])}
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "axes"], ["m"]),
        helper.make_node("Concat", ["m", "rest"], ["t"], axis=0),
        helper.make_node("Reshape", ["x", "t"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["y"], transB=1),
    ]
    constants = [numpy_helper.from_array(value, name) for name, value in numbers.items()]
    path = write(tmp_path / "m.onnx", nodes, [*constants, weight("w", 5, 256), weight("b", 5)], shape=("n", 4, 8, 8))
    graph = load_onnx(path)
    assert operations(graph) == {"input": 1, "reshape": 1, "linear": 1, "output": 1}
    assert cost.params(graph)[0] == 5 * 257


@pytest.mark.parametrize("sizes", [np.array(2), np.array([3, 1])], ids=["equal", "unequal"])
@pytest.mark.parametrize(("place", "axis"), [(-1, 1), (-2, 1), (-1, -3)])
def test_a_place_in_a_sequence_may_count_from_its_end(tmp_path, sizes, place, axis):
    """ONNX, SequenceAt: "Negative value means counting positions from the back"; so do axes."""

    def of(place, axis):
        nodes = [
            helper.make_node("SplitToSequence", ["x", "sizes"], ["s"], axis=axis),
            helper.make_node("SequenceAt", ["s", "place"], ["part"]),
            helper.make_node("Relu", ["part"], ["y"]),
        ]
        constants = [numpy_helper.from_array(sizes, "sizes"), numpy_helper.from_array(np.array(place), "place")]
        return load_onnx(write(tmp_path / "m.onnx", nodes, constants))

    graph, same_part = of(place, axis), of(2 + place, 1)
    assert same(graph, same_part)
    channels = (sizes.tolist() if sizes.ndim else [2, 2])[place]
    relu = next(kind for kind in graph.kinds if kind.operation == "relu")
    assert relu.inputs == ((8, 8, channels),)
    assert not same(graph, of(1 - (2 + place), 1))


def test_a_file_that_is_none_is_refused(tmp_path):
    path = tmp_path / "m.onnx"
    for content in (None, b"", b"no model at all", bytes(range(256)) * 9):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(
            FormatError, match=r"an ONNX file at .*m.onnx: expected one whole model.*export the model again"
        ):
            load_onnx(path)


def test_a_truncated_file_is_refused(tmp_path):
    path = write(tmp_path / "m.onnx", [helper.make_node("Conv", ["x", "w"], ["y"])], [weight("w", 6, 4, 3, 3)])
    whole = path.read_bytes()
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        with pytest.raises((FormatError, GraphError)):
            load_onnx(path)


def test_damage_raises_our_errors_or_none(tmp_path):
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["a"]), helper.make_node("Relu", ["a"], ["y"])]
    path = write(tmp_path / "m.onnx", nodes, [weight("w", 2, 4, 1, 1), weight("b", 2)])
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for place in range(0, len(whole), 2):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ int(rng.integers(1, 256))]) + whole[place + 1 :])
        try:
            load_onnx(path)
        except (FormatError, GraphError):
            continue


@pytest.mark.parametrize(
    "location", ["../weights.bin", "/etc/passwd", "a/../../b", "..\\weights.bin", "C:\\weights.bin"]
)
def test_weights_outside_the_folder_are_refused(tmp_path, location):
    outside = weight("w", 6, 4, 3, 3)
    outside.ClearField("raw_data")
    outside.data_location = TensorProto.EXTERNAL
    outside.external_data.add(key="location", value=location)
    path = write(tmp_path / "m.onnx", [helper.make_node("Conv", ["x", "w"], ["y"])], [outside])
    with pytest.raises(
        FormatError, match=r"where an ONNX file keeps its weights at .*m.onnx, w: .* model's own folder"
    ):
        load_onnx(path)


@pytest.mark.parametrize("shape", [(1, 4, "h", 8), ("n", "c", 8, 8), None, (1, 0, 8, 8)])
def test_an_axis_of_unknown_length_is_refused(tmp_path, shape):
    path = write(tmp_path / "m.onnx", [helper.make_node("Relu", ["x"], ["y"])], shape=shape)
    with pytest.raises(GraphError, match=r"the shape of a network's input at .*, x: .* without dynamic axes"):
        load_onnx(path)


def test_an_attribute_of_another_length_is_refused(tmp_path):
    nodes = [helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], pads=[1])]
    path = write(tmp_path / "m.onnx", nodes, out_shape=[1, 4, 6, 6])
    message = r"reader of ONNX files understands at .*m.onnx, node y \(MaxPool\): .* got ValueError.*check_model"
    with pytest.raises(FormatError, match=message):
        load_onnx(path)


def test_a_fault_of_the_reader_is_said_to_be_one(tmp_path, monkeypatch):
    def fails(run, call):
        raise ValueError("zip() argument 2 is longer than argument 1")

    def fails_between(*_):
        fails(None, None)

    monkeypatch.setitem(onnx_import._HANDLERS, "Relu", fails)
    path = write(tmp_path / "m.onnx", [helper.make_node("Relu", ["x"], ["y"], name="act")])
    with pytest.raises(FormatError, match=r"node act \(Relu\): .*ValueError: zip.* the reader is at fault: report"):
        load_onnx(path)
    monkeypatch.setattr(onnx_import, "_recorded", fails_between)
    with pytest.raises(FormatError, match=r"m.onnx, its inputs, initializers or outputs: .*ValueError: zip"):
        load_onnx(path)


def test_control_flow_is_refused(tmp_path):
    branch = helper.make_graph([], "b", [], [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)])
    truth = numpy_helper.from_array(np.array(True), "t")
    nodes = [helper.make_node("If", ["t"], ["y"], then_branch=branch, else_branch=branch, name="fork")]
    with pytest.raises(
        GraphError, match=r"the operations of an ONNX file at .*node fork \(If\): expected no control flow"
    ):
        load_onnx(write(tmp_path / "m.onnx", nodes, [truth]))


def test_nodes_out_of_order_are_refused(tmp_path):
    nodes = [helper.make_node("Relu", ["a"], ["y"]), helper.make_node("Relu", ["x"], ["a"])]
    with pytest.raises(FormatError, match=r"a value in an ONNX file at .*node y \(Relu\): .* got 'a'"):
        load_onnx(write(tmp_path / "m.onnx", nodes))


def test_a_name_that_stands_twice_is_refused(tmp_path):
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Tanh", ["x"], ["y"])]
    with pytest.raises(FormatError, match=r"the results of an ONNX file's nodes at .*node y \(Tanh\): .* got 'y'"):
        load_onnx(write(tmp_path / "m.onnx", nodes))


def test_an_initializer_that_is_too_short_is_refused(tmp_path):
    short = weight("w", 4)
    short.raw_data = short.raw_data[:-3]
    with pytest.raises(FormatError, match=r"an initializer of an ONNX file at .*, w: expected 4 elements"):
        load_onnx(write(tmp_path / "m.onnx", [helper.make_node("Add", ["x", "w"], ["y"])], [short]))


def test_a_huge_constant_is_not_worked_out(tmp_path):
    size = numpy_helper.from_array(np.array([2**20, 2**20, 2**10]), "n")
    nodes = [helper.make_node("ConstantOfShape", ["n"], ["c"]), helper.make_node("Size", ["c"], ["s"])]
    nodes += [helper.make_node("Relu", ["x"], ["y"])]
    graph = load_onnx(write(tmp_path / "m.onnx", nodes, [size]))
    assert operations(live(graph)) == {"input": 1, "relu": 1, "output": 1}
