"""GENNAPE's published computation graphs as ours, for networks whose configuration is not at hand.

What the published graphs do not say, and what stands here in its place:
- The order of the inputs of a concatenation: here the order of the nodes.
- The eps of a batch normalisation, and whether it has scale and shift: here 1e-5, with both.
- TensorFlow's padding "same" lies on the right and below only where a stride of 2 makes it odd: here both sides are
  padded by the larger half, which gives the same shape, parameters and MACs.
- Reshapes, which the authors drop, so that a linear layer may read more values than its source has channels.

So the graph of a HiAML network is `archgauge.families.hiaml.to_graph` of its spec. An average pool differs from that of
the other two families, because TensorFlow leaves out the padding where PyTorch counts it.
"""

from collections.abc import Callable, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from archgauge.errors import FormatError
from archgauge.formats.gennape import Node, nodes_and_edges
from archgauge.graphs.builder import GraphBuilder, conv_kind, pool_kind
from archgauge.graphs.graph import Graphs
from archgauge.graphs.operations import Kind, KindTable, Pair, Shape, as_extra


def graph_of(state: dict[str, Any], kinds: KindTable | None = None, *, where: object = "a computation graph") -> Graphs:
    """The graph of a published state. An operation without a kind of ours is an "other" with its name.

    Args:
        state: `archgauge.formats.gennape.LabelledNetwork.state` or `CachedNetwork.state`.
        kinds: the table to build over; a new one by default.
        where: what to call the state in an error.

    Raises:
        FormatError: when the state is not of the form that the authors' code writes, or its edges make a cycle.
    """
    nodes, edges = nodes_and_edges(state, where)
    sources: dict[int, list[int]] = {index: [] for index in range(len(nodes))}
    for source, target in edges:
        sources[target].append(source)
    try:
        order = list(TopologicalSorter(sources).static_order())
    except CycleError as error:
        raise FormatError(
            "the edges of a computation graph of GENNAPE",
            where=where,
            expected="no cycle",
            got=error.args[1],
            remedy="The file is damaged: fetch CG_data.zip again.",
        ) from error
    build = GraphBuilder(KindTable() if kinds is None else kinds)
    read = {source for source, _ in edges}
    value: dict[int, int] = {}
    for index in order:
        inputs = sorted(sources[index])
        kind = kind_of(nodes[index], [nodes[source].after for source in inputs], index in read)
        value[index] = build.node(kind, [value[source] for source in inputs])
    for index in order:
        if index not in read and nodes[index].operation != "output":
            build.output(value[index])
    return build.finish()


def kind_of(node: Node, inputs: Sequence[Shape], is_read: bool) -> Kind:
    """The kind of a node with these input shapes; "other" where it has none."""
    make = _KINDS.get(node.operation)
    kind = make(node, inputs) if make else None
    if node.operation == "output" and is_read:
        kind = None
    if kind is not None and kind.outputs in ((node.after,), ()):
        return kind
    name = node.operation if node.operation != "unknown" else node.label
    sizes = (node.kernel, node.stride, (0, 0), node.dilation)
    return Kind("other", tuple(inputs), (node.after,), *sizes, bias=node.bias, extra=as_extra(name=f"gennape:{name}"))


def _input(node: Node, inputs: Sequence[Shape]) -> Kind | None:
    return None if inputs else Kind("input", (), (node.after,))


def _output(node: Node, inputs: Sequence[Shape]) -> Kind | None:
    return Kind("output", (node.before,), ()) if len(inputs) == 1 else None


def _conv(node: Node, inputs: Sequence[Shape]) -> Kind | None:
    """A convolution; a depthwise one's weight has the channels of the image and a multiplier."""
    channels, after = node.weight
    groups = 1
    if node.operation == "depthwise":
        groups, after = channels, channels * after
    if len(inputs) != 1 or node.before[2] != channels or not after or node.dilation[0] != node.dilation[1]:
        return None
    reach = [node.dilation[0] * (size - 1) + 1 for size in node.kernel]
    padding = _padding(node, (reach[0], reach[1]))
    if padding is None:
        return None
    return conv_kind(node.before, after, node.kernel, node.stride, padding, node.dilation[0], groups, node.bias)


def _pool(node: Node, inputs: Sequence[Shape]) -> Kind | None:
    padding = _padding(node, node.kernel)
    if len(inputs) != 1 or padding is None or any(one != other for one, other in (node.kernel, node.stride, padding)):
        return None
    name = {"maxpool": "max_pool", "avgpool": "avg_pool"}[node.operation]
    return pool_kind(node.before, name, node.kernel[0], node.stride[0], padding[0], False, False)


def _padding(node: Node, reach: Pair) -> Pair | None:
    """What TensorFlow pads, the larger half of it on both sides; None where it cannot be told."""
    if min(*reach, *node.stride) < 1 or node.padding not in ("same", "valid"):
        return None
    if node.padding == "valid":
        return (0, 0)
    height, width = (
        (max((-(-size // step) - 1) * step + span - size, 0) + 1) // 2
        for size, step, span in zip(node.before[:2], node.stride, reach, strict=True)
    )
    return height, width


def _linear(node: Node, inputs: Sequence[Shape]) -> Kind | None:
    fits = len(inputs) == 1 and node.weight == (node.before[2], node.after[2]) and node.before[:2] == node.after[:2]
    return Kind("linear", (node.before,), (node.after,), bias=node.bias) if fits else None


def _same(operation: str) -> Callable[[Node, Sequence[Shape]], Kind | None]:
    def make(node: Node, inputs: Sequence[Shape]) -> Kind | None:
        fits = len(inputs) == 1 and node.before == node.after
        return Kind(operation, (node.before,), (node.after,), affine=operation == "batch_norm") if fits else None

    return make


def _elementwise(node: Node, inputs: Sequence[Shape]) -> Kind | None:
    """A sum of equal shapes, or a product, in which one number a channel may stand for an image."""
    stretched = (1, 1, node.after[2]) if node.operation == "mul" else node.after
    fits = len(inputs) > 1 and set(inputs) <= {node.after, stretched} and node.after in inputs
    return Kind(node.operation, (node.after,), (node.after,)) if fits else None


def _concat(node: Node, inputs: Sequence[Shape]) -> Kind | None:
    fits = {shape[:2] for shape in inputs} == {node.after[:2]} and sum(shape[2] for shape in inputs) == node.after[2]
    return Kind("concat", (node.after,), (node.after,)) if fits else None


def _mean(node: Node, inputs: Sequence[Shape]) -> Kind | None:
    fits = len(inputs) == 1 and node.after == (1, 1, node.before[2])
    return Kind("global_avg_pool", (node.before,), (node.after,)) if fits else None


def _pad(node: Node, inputs: Sequence[Shape]) -> Kind | None:
    left, right, top, bottom = node.frame
    height, width, channels = node.before
    fits = len(inputs) == 1 and node.after == (height + top + bottom, width + left + right, channels)
    return Kind("pad", (node.before,), (node.after,), extra=as_extra(frame=list(node.frame))) if fits else None


_KINDS: dict[str, Callable[[Node, Sequence[Shape]], Kind | None]] = {
    "input": _input,
    "output": _output,
    "conv": _conv,
    "depthwise": _conv,
    "matmul": _linear,
    "batchnorm": _same("batch_norm"),
    **{name: _same(name) for name in ("relu", "relu6", "sigmoid", "tanh", "gelu", "zero")},
    "swish": _same("silu"),
    "add": _elementwise,
    "mul": _elementwise,
    "concat": _concat,
    "maxpool": _pool,
    "avgpool": _pool,
    "mean": _mean,
    "global": _mean,
    "paddings": _pad,
}
"""Operation of GENNAPE -> our kind of such a node, or None where it does not fit."""
