"""Building a computation graph node by node; shapes, kinds and costs follow from the inputs."""

from collections.abc import Sequence
from itertools import chain

import numpy as np

from archgauge.errors import GraphError
from archgauge.graphs.graph import INDEX, Graphs
from archgauge.graphs.normal_form import merge_sums, shared_ids
from archgauge.graphs.operations import BATCH_NORM_EPS, LEAKY_RELU_SLOPE, Kind, KindTable, Pair, Shape, as_extra

AXES = ("height", "width", "channels")
Value = int | tuple[int, int]
"""What a node yields: its index, or (index, output) for an output other than the first."""


class GraphBuilder:
    """Builds one graph. Every method adds a node and returns its value.

    A kind is worked out once per operation, attributes and input shapes, then looked up, because a family repeats
    few kinds over millions of nodes.
    """

    def __init__(self, kinds: KindTable):
        self.kinds = kinds
        self._kind: list[int] = []
        self._outputs: list[tuple[Shape, ...]] = []
        self._inputs: list[tuple[Value, ...]] = []
        self._weight_id: dict[int, int] = {}
        self._known = kinds.known
        self.params_outside = 0

    def shape(self, value: Value) -> Shape:
        """The (H, W, C) of a value."""
        return self._outputs[value][0] if isinstance(value, int) else self._outputs[value[0]][value[1]]

    def input(self, height: int, width: int, channels: int) -> Value:
        """An input of the network."""
        return self.node(Kind("input", (), ((height, width, channels),)), ())

    def output(self, value: Value) -> Value:
        """An output of the network."""
        return self.node(Kind("output", (self.shape(value),), ()), (value,))

    def constant(self, shape: Shape, trainable: bool) -> Value:
        """A bare parameter or buffer."""
        return self.node(Kind("constant", (), (shape,), extra=as_extra(trainable=trainable)), ())

    def conv(
        self,
        x: Value,
        channels: int,
        kernel: int | Pair,
        *,
        stride: int | Pair = 1,
        padding: int | Pair | None = None,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = False,
    ) -> Value:
        """A convolution; padding that keeps the size of an odd kernel at stride 1, unless said."""
        key = ("conv", self.shape(x), channels, kernel, stride, padding, dilation, groups, bias)
        found = self._known.get(key)
        if found is None:
            found = self._remember(key, conv_kind(*key[1:]))
        return self._append(found, (x,))

    def conv_transpose(
        self, x: Value, channels: int, kernel: int, *, stride: int, padding: int, output_padding: int = 0, bias: bool
    ) -> Value:
        """A square transposed convolution."""
        height, width, _ = before = self.shape(x)
        grown = kernel + output_padding - 2 * padding
        after = ((height - 1) * stride + grown, (width - 1) * stride + grown, channels)
        sizes = (_pair(kernel), _pair(stride), _pair(padding), (1, 1), 1, bias)
        extra = as_extra(output_padding=[output_padding] * 2 if output_padding else None)
        return self.node(Kind("conv_transpose", (before,), (after,), *sizes, extra=extra), (x,))

    def pool(
        self,
        x: Value,
        operation: str,
        kernel: int,
        *,
        stride: int = 1,
        padding: int | None = None,
        ceil: bool = False,
        counts_padding: bool = False,
    ) -> Value:
        """A "max_pool" or "avg_pool". Half the kernel is padded unless said.

        Args:
            ceil: whether the last window may hang over the edge.
            counts_padding: whether an average divides by the whole window also at the edge.
        """
        key = (operation, self.shape(x), kernel, stride, padding, ceil, counts_padding)
        found = self._known.get(key)
        if found is None:
            found = self._remember(key, pool_kind(self.shape(x), operation, *key[2:]))
        return self._append(found, (x,))

    def linear(self, x: Value, channels: int, *, bias: bool = True) -> Value:
        """A linear layer over the channels."""
        height, width, _ = before = self.shape(x)
        return self.node(Kind("linear", (before,), ((height, width, channels),), bias=bias), (x,))

    def batch_norm(self, x: Value, *, affine: bool = True, eps: float = BATCH_NORM_EPS) -> Value:
        """A batch normalisation."""
        key = ("batch_norm", self.shape(x), affine, eps)
        found = self._known.get(key)
        if found is None:
            extra = as_extra(eps=None if eps == BATCH_NORM_EPS else eps)
            found = self._remember(key, Kind("batch_norm", (key[1],), (key[1],), affine=affine, extra=extra))
        return self._append(found, (x,))

    def same(self, operation: str, x: Value) -> Value:
        """An operation without attributes that keeps the shape: an activation, or "zero"."""
        key = (operation, self.shape(x))
        found = self._known.get(key)
        if found is None:
            found = self._remember(key, Kind(operation, (key[1],), (key[1],)))
        return self._append(found, (x,))

    def leaky_relu(self, x: Value, slope: float) -> Value:
        """A ReLU that lets `slope` of a negative value through."""
        extra = as_extra(slope=None if slope == LEAKY_RELU_SLOPE else slope)
        return self.node(Kind("leaky_relu", (self.shape(x),), (self.shape(x),), extra=extra), (x,))

    def global_avg_pool(self, x: Value) -> Value:
        """The mean over height and width."""
        before = self.shape(x)
        return self.node(Kind("global_avg_pool", (before,), ((1, 1, before[2]),)), (x,))

    def slice(self, x: Value, axis: str, first: int, last: int) -> Value:
        """What lies from `first` to below `last` along "height", "width" or "channels"."""
        before, size = self.shape(x), last - first
        height, width, channels = (size if name == axis else old for name, old in zip(AXES, before, strict=True))
        extra = as_extra(axis=axis, first=first, last=last)
        return self.node(Kind("slice", (before,), ((height, width, channels),), extra=extra), (x,))

    def pad(self, x: Value, left: int, right: int, top: int, bottom: int) -> Value:
        """An image with a frame of zeros."""
        height, width, channels = before = self.shape(x)
        after = (height + top + bottom, width + left + right, channels)
        return self.node(Kind("pad", (before,), (after,), extra=as_extra(frame=[left, right, top, bottom])), (x,))

    def upsample(self, x: Value, scale: int) -> Value:
        """Each pixel repeated `scale` times along both axes."""
        height, width, channels = before = self.shape(x)
        after = (height * scale, width * scale, channels)
        return self.node(Kind("upsample", (before,), (after,), extra=as_extra(scale=scale)), (x,))

    def add(self, values: Sequence[Value]) -> Value:
        """The sum; of one value, the value itself.

        Raises:
            GraphError: when the shapes differ or there is nothing to add.
        """
        if len(values) == 1:
            return values[0]
        shapes = {self.shape(value) for value in values}
        if len(shapes) != 1:
            raise GraphError(
                "the shapes of a sum",
                where=f"node {len(self._kind)}",
                expected="one shape",
                got=sorted(shapes) or "no values",
                remedy="Project the inputs to one shape before they are added.",
            )
        shape = shapes.pop()
        key = ("add", shape)
        found = self._known.get(key)
        if found is None:
            found = self._remember(key, Kind("add", (shape,), (shape,)))
        return self._append(found, values)

    def concat(self, values: Sequence[Value]) -> Value:
        """The concatenation over channels; of one value, the value itself."""
        if len(values) == 1:
            return values[0]
        shapes = [self.shape(value) for value in values]
        if len({shape[:2] for shape in shapes}) != 1:
            raise GraphError(
                "the shapes of a concatenation",
                where=f"node {len(self._kind)}",
                expected="one height and width",
                got=shapes or "no values",
                remedy="Bring the inputs to one resolution before they are concatenated.",
            )
        result = (*shapes[0][:2], sum(shape[2] for shape in shapes))
        return self.node(Kind("concat", (result,), (result,)), values)

    def node(self, kind: Kind, inputs: Sequence[Value], weight_id: int = -1) -> int:
        """Any node, from its kind."""
        index = self._append((self.kinds.index(kind), kind.outputs), inputs)
        if weight_id >= 0:
            self._weight_id[index] = weight_id
        return index

    def finish(self) -> Graphs:
        """The graph, in normal form: a chain of sums is one sum, and a weight id that one node alone has is dropped."""
        nodes = len(self._kind)
        weight_id = np.full(nodes, -1, INDEX)
        if self._weight_id:
            weight_id[list(self._weight_id)] = list(self._weight_id.values())
            weight_id = shared_ids(np.zeros(nodes, INDEX), weight_id)
        count = np.fromiter(map(len, self._inputs), INDEX, nodes)
        values = list(chain.from_iterable(self._inputs))
        first = np.repeat(np.cumsum(count, dtype=INDEX) - count, count)
        return merge_sums(
            Graphs(
                kinds=self.kinds,
                kind=np.array(self._kind, INDEX),
                node_offset=np.array([0, nodes], np.int64),
                edge_source=np.array([value if isinstance(value, int) else value[0] for value in values], INDEX),
                edge_output=np.array([0 if isinstance(value, int) else value[1] for value in values], INDEX),
                edge_target=np.repeat(np.arange(nodes, dtype=INDEX), count),
                edge_slot=np.arange(len(values), dtype=INDEX) - first,
                edge_offset=np.array([0, len(values)], np.int64),
                weight_id=weight_id,
                params_outside=np.array([self.params_outside], np.int64),
            )
        )

    def _remember(self, key: tuple, kind: Kind) -> tuple[int, tuple[Shape, ...]]:
        found = self._known[key] = (self.kinds.index(kind), kind.outputs)
        return found

    def _append(self, found: tuple[int, tuple[Shape, ...]], inputs: Sequence[Value]) -> int:
        self._kind.append(found[0])
        self._outputs.append(found[1])
        self._inputs.append(tuple(inputs))
        return len(self._kind) - 1


def conv_kind(
    before: Shape,
    channels: int,
    kernel: int | Pair,
    stride: int | Pair,
    padding: int | Pair | None,
    dilation: int,
    groups: int,
    bias: bool,
) -> Kind:
    """The kind of a convolution; `GraphBuilder.conv` says what the arguments mean."""
    reach = [dilation * (size - 1) + 1 for size in _pair(kernel)]
    around = (reach[0] // 2, reach[1] // 2) if padding is None else _pair(padding)
    sizes = zip(before[:2], reach, _pair(stride), around, strict=True)
    height, width = ((size + 2 * edge - span) // step + 1 for size, span, step, edge in sizes)
    attributes = (_pair(kernel), _pair(stride), around, _pair(dilation), groups, bias)
    return Kind("conv", (before,), ((height, width, channels),), *attributes)


def pool_kind(
    before: Shape, operation: str, kernel: int, stride: int, padding: int | None, ceil: bool, counts_padding: bool
) -> Kind:
    """The kind of a square pool; `GraphBuilder.pool` says what the arguments mean."""
    padding = kernel // 2 if padding is None else padding
    height, width = (_pooled(size, kernel, stride, padding, ceil) for size in before[:2])
    hangs_over = (height, width) != tuple(_pooled(size, kernel, stride, padding, False) for size in before[:2])
    extra = as_extra(ceil=hangs_over or None, counts_padding=bool(counts_padding and padding) or None)
    sizes = (_pair(kernel), _pair(stride), _pair(padding), (1, 1))
    return Kind(operation, (before,), ((height, width, before[2]),), *sizes, extra=extra)


def _pooled(size: int, kernel: int, stride: int, padding: int, ceil: bool) -> int:
    """How many windows there are; one that begins behind the input and its left padding is none."""
    windows = (size + 2 * padding - kernel + (stride - 1) * ceil) // stride + 1
    return windows - (ceil and (windows - 1) * stride >= size + padding)


def _pair(kernel: int | Pair) -> Pair:
    return (kernel, kernel) if isinstance(kernel, int) else kernel
