"""GENNAPE's published computation graphs as ours."""

import pytest
from gennape_cases import official_state

from archgauge.errors import FormatError
from archgauge.families import hiaml, inception, two_path
from archgauge.families._gennape_graphs import graph_of
from archgauge.formats import gennape
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.cost import macs, params
from archgauge.graphs.operations import KindTable

SPEC = "z-a22-t31-src8"


@pytest.mark.parametrize(
    "graph",
    [
        *(hiaml.to_graph(spec) for spec in (SPEC, "b23-j30-g30-r30", "l20-t20-src0-src1", "src3-src7-a22-z")),
        two_path.to_graph("conv5x5/2,double3x3/2|inception_s5x5/2,maxpool3x3+bottleneck-e2-k3,conv3x3/2"),
        inception.to_graph(
            "2xdepthwise5x5@16>16|inception_p5x5@16>16;2xconv3x3+depthwise3x3@32>64;2xconv3x3@128>128;2xconv3x3@256>256"
        ),
    ],
)
def test_a_published_graph_is_that_of_its_configuration(graph):
    found = graph_of(official_state(graph))
    assert canonical_hash(found)[0] == canonical_hash(graph)[0]
    assert (macs(found)[0], params(found)[0]) == (macs(graph)[0], params(graph)[0])


def test_an_average_pool_leaves_out_the_padding():
    graph = two_path.to_graph("avgpool3x3+conv3x3/2,conv3x3/2|conv3x3/2,conv3x3/2")
    found = graph_of(official_state(graph))
    extras = [{k.extra for k in g.kinds if k.operation == "avg_pool"} for g in (graph, found)]
    assert extras == [{'{"counts_padding":true}'}, {""}]
    assert macs(found)[0] == macs(graph)[0]


def regular(label, operation, before, after, **settings):
    resolution = [size for pair in zip(before, after, strict=True) for size in pair]
    node = {"str_id": f"0|{label}", "op_type_idx": gennape.OPERATIONS.index(operation), "label": label}
    return {**node, "resolution": resolution, "strides": None, "metadata": None, **settings}


def kinds_of(regular_nodes, edges, weighted_nodes=()):
    """The kinds of a small graph, one a node."""
    state = {"weighted_nodes": list(weighted_nodes), "regular_nodes": list(regular_nodes), "edge_pairs": edges}
    table = KindTable()
    graph = graph_of(state, table)
    return [table[index] for index in graph.kind]


IMAGE = regular("input", "input", (8, 8, 4), (8, 8, 4))


@pytest.mark.parametrize(
    ("node", "operation"),
    [
        (regular("relu6", "relu6", (8, 8, 4), (8, 8, 4)), "relu6"),
        (regular("swish_f32", "swish", (8, 8, 4), (8, 8, 4)), "silu"),
        (regular("batchnorm", "batchnorm", (8, 8, 4), (8, 8, 4)), "batch_norm"),
        (regular("mean", "mean", (8, 8, 4), (1, 1, 4)), "global_avg_pool"),
        (regular("mean", "mean", (8, 8, 4), (8, 8, 1)), "other"),
        (regular("relu", "relu", (8, 8, 4), (8, 8, 5)), "other"),
        (regular("spacetobatchnd", "spacetobatchnd", (8, 8, 4), (4, 4, 4)), "other"),
        (regular("odd", "unknown", (8, 8, 4), (8, 8, 4)), "other"),
        (regular("pad", "paddings", (8, 8, 4), (9, 11, 4), metadata={"pad_h": [0, 1], "pad_w": [1, 2]}), "pad"),
        (regular("pad", "paddings", (8, 8, 4), (8, 8, 4), metadata={"pad_h": [0, 1], "pad_w": [1, 2]}), "other"),
    ],
)
def test_an_operation_has_its_kind_or_is_another(node, operation):
    kind = kinds_of([IMAGE, node], [[0, 1]])[1]
    assert kind.operation == operation
    assert kind.outputs == ((node["resolution"][1], node["resolution"][3], node["resolution"][5]),)
    if operation == "other":
        assert kind.settings["name"] == "gennape:" + {"pad": "paddings"}.get(node["label"], node["label"])
    if operation == "pad":
        assert kind.settings == {"frame": [1, 2, 0, 1]}


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "after", "found"),
    [
        (8, 3, 1, "same", 8, (1, 1)),
        (8, 3, 2, "same", 4, (1, 1)),
        (9, 3, 2, "same", 5, (1, 1)),
        (8, 1, 2, "same", 4, (0, 0)),
        (8, 2, 2, "same", 4, (0, 0)),
        (8, 3, 1, "valid", 6, (0, 0)),
        (8, 2, 1, "same", 8, None),  # a pixel on one side only
        (8, 3, 1, "", 8, None),
    ],
)
@pytest.mark.parametrize("operation", ["conv", "maxpool"])
def test_padding_is_worked_out_from_its_name(operation, size, kernel, stride, padding, after, found):
    image = regular("input", "input", (size, size, 4), (size, size, 4))
    settings = {"padding": padding} | ({"ksize": [1, kernel, kernel, 1]} if operation == "maxpool" else {})
    node = regular(
        "x", operation, (size, size, 4), (after, after, 4), strides=[1, stride, stride, 1], metadata=settings
    )
    if operation == "conv":
        kinds = kinds_of([image], [[1, 0]], [{**node, "shape": [4, 4, kernel, kernel]}])
    else:
        kinds = kinds_of([image, node], [[0, 1]])
    assert kinds[1].operation == ("other" if found is None else {"conv": "conv", "maxpool": "max_pool"}[operation])
    assert kinds[1].padding == (found or (0, 0))
    assert kinds[1].kernel == (kernel, kernel)


def test_channels_first_and_dilation_are_understood():
    settings = {"data_format": "NCHW", "padding": "same", "dilations": [1, 1, 2, 2], "use_bias": True}
    node = regular("conv2d", "conv", (8, 8, 4), (8, 8, 6), strides=[1, 1, 1, 1], metadata=settings)
    kind = kinds_of([IMAGE], [[1, 0]], [{**node, "shape": [4, 6, 3, 3]}])[1]
    assert (kind.dilation, kind.padding, kind.bias, kind.params) == ((2, 2), (2, 2), True, 6 * 4 * 9 + 6)


def test_a_squeeze_multiplies_an_image():
    squeezed = regular("mean", "mean", (8, 8, 4), (1, 1, 4))
    product = regular("mul", "mul", (1, 1, 4), (8, 8, 4))
    kinds = kinds_of([IMAGE, squeezed, product], [[0, 1], [1, 2], [0, 2]])
    assert [kind.operation for kind in kinds] == ["input", "global_avg_pool", "mul", "output"]


def test_a_node_named_output_is_the_output():
    kinds = kinds_of([regular("output", "output", (8, 8, 4), (8, 8, 4)), IMAGE], [[1, 0]])
    assert [kind.operation for kind in kinds] == ["input", "output"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("edge_pairs"), "KeyError: 'edge_pairs'"),
        (lambda s: s["edge_pairs"].append([0, 9999]), "an edge to a node beyond the"),
        (lambda s: s["edge_pairs"].append([0]), r"\[0\] in place of 2 whole numbers"),
        (lambda s: s["edge_pairs"].append([-1, 0]), r"\[-1, 0\] in place of 2"),
        (lambda s: s["regular_nodes"].append(3), "TypeError"),
        (lambda s: s["regular_nodes"][0].pop("label"), "KeyError: 'label'"),
        (lambda s: s["regular_nodes"][0].update(op_type_idx=32), "IndexError"),
        (lambda s: s["regular_nodes"][0].update(op_type_idx=-1), r"\[-1\] in place of 1"),
        (lambda s: s["regular_nodes"][0].update(resolution=[8] * 5), "in place of 6 whole numbers"),
        (lambda s: s["regular_nodes"][0].update(resolution=[2**40] * 6), "in place of 6 whole numbers up to 1,048,576"),
        (lambda s: s["regular_nodes"][0].update(resolution=None), "TypeError"),
        (lambda s: s["weighted_nodes"][0].update(shape=[1.5] * 4), "in place of 4 whole numbers"),
        (lambda s: s["weighted_nodes"][0].update(strides=[1, 1]), "in place of 4 whole numbers"),
        (lambda s: s["weighted_nodes"][0].update(metadata=[1]), "AttributeError"),
        (lambda s: s["edge_pairs"].extend([list(reversed(pair)) for pair in s["edge_pairs"]]), "expected no cycle"),
    ],
)
def test_a_state_of_another_form_is_refused(change, message):
    state = official_state(hiaml.to_graph(SPEC))
    change(state)
    with pytest.raises(FormatError, match=f"network 7: .*{message}"):
        graph_of(state, where="network 7")
