"""What is known while the calls of an ONNX file become nodes: the value of each name, and who holds which weights."""

from collections import defaultdict
from dataclasses import replace
from math import prod

from archgauge.graphs._onnx_file import Call, Dims, Network, Operand
from archgauge.graphs.builder import GraphBuilder, Value
from archgauge.graphs.layouts import BATCH, Sizes, counted, default_sizes, shape_of, vector
from archgauge.graphs.operations import Kind, Shape, as_extra


class OnnxRecorder:
    """Builds the graph of one file.

    As in a trace, a view is no node as long as nothing needs it: each name is a value, and the sizes that the value
    has in the realised network.
    """

    def __init__(self, network: Network, build: GraphBuilder, apart: frozenset[str]):
        """`apart` names weights that do not belong to one layer alone: they become constants that the layers read."""
        self.build, self.zeros = build, network.zeros
        self.conflicts: set[str] = set()  # what should have been named in `apart`
        self._apart = apart
        self._owner: dict[str, tuple] = {}
        self._bound: dict[str, tuple[Value, Sizes]] = {}
        self._weight_id: dict[tuple, int] = {}
        self._reshapes: dict[tuple[Value, Sizes], int] = {}  # one view that is taken twice is one node
        self._readers: defaultdict[str, list[Call | None]] = defaultdict(list)
        for call in network.calls:
            for operand in call.operands:
                if operand is not None:
                    self._readers[operand.name].append(call)
        for operand in network.outputs:
            self._readers[operand.name].append(None)

    def sizes(self, dims: Dims) -> Sizes:
        """The axes with the batch as `archgauge.graphs.layouts` has it."""
        return (BATCH, *dims[1:]) if dims and dims[0] == 1 else dims

    def own(self, operand: Operand) -> Sizes:
        """The axes of a value; those of a constant are as they are in the file."""
        return operand.dims if operand.constant else self.sizes(operand.dims)

    def result(self, call: Call, output: int = 0) -> Sizes:
        """The sizes of an output; one element where nothing can read it, as its shape is not known."""
        dims = call.dims[output]
        return (BATCH, 1) if dims is None else self.sizes(dims)

    def bind(self, name: str, value: Value, sizes: Sizes) -> None:
        """Remember what a name is."""
        self._bound[name] = (value, sizes)

    def bound(self, name: str) -> bool:
        """Whether a name is known."""
        return name in self._bound

    def pending(self, operand: Operand) -> tuple[Value, Sizes]:
        """The value of a name and that value's sizes; a constant becomes a node where it is first read."""
        if operand.name not in self._bound and operand.name in self.zeros:
            own = self.own(operand)
            self.bind(operand.name, self.build.node(Kind("zero", (), (shape_of(own),)), ()), own)
        elif operand.name not in self._bound:
            self.bind(operand.name, self._constant(operand), operand.dims)
        return self._bound[operand.name]

    def loose(self, operand: Operand) -> tuple[Value, Sizes]:
        """The value of a name with its own sizes, or with those of the other form of a vector."""
        value, sizes = self.pending(operand)
        own = self.own(operand)
        return (value, sizes) if vector(sizes) == vector(own) else (self.exact(operand), own)

    def exact(self, operand: Operand) -> Value:
        """The value of a name with its own sizes."""
        value, sizes = self.pending(operand)
        own = self.own(operand)
        if sizes != own:
            if _of_one(sizes) != _of_one(own):
                return self._repeated(operand, value, sizes, own)
            value = self._reshaped(value, shape_of(sizes), own)
            self.bind(operand.name, value, own)
        return value

    def _reshaped(self, value: Value, before: Shape, after: Sizes) -> int:
        if (value, after) not in self._reshapes:
            extra = as_extra(sizes=[counted(size) for size in after])
            kind = Kind("reshape", (before,), (shape_of(after),), extra=extra)
            self._reshapes[value, after] = self.build.node(kind, (value,))
        return self._reshapes[value, after]

    def _repeated(self, operand: Operand, value: Value, sizes: Sizes, own: Sizes) -> Value:
        """A node for what a broadcast alone would do."""
        if len(sizes) < len(own):
            sizes = (*sizes, 1, 1) if len(sizes) == 2 else (*[1] * (len(own) - len(sizes)), *sizes)
            value = self._reshaped(value, self.build.shape(value), sizes)
        extra = as_extra(name="Expand", arguments=[[counted(size) for size in own]], keywords={})
        value = self.build.node(Kind("other", (shape_of(sizes),), (shape_of(own),), extra=extra), (value,))
        self.bind(operand.name, value, own)
        return value

    def layer(self, kind: Kind, value: Value, **state: Operand | None) -> int | None:
        """Add a node with state, or return None when some of it belongs to others too.

        Nodes that hold the same in the same way share a weight id. Normalisations do not lay claim to their scale and
        shift: the new exporter keeps one of several that are equal.
        """
        names = tuple((part, held.weight) for part, held in state.items() if held is not None and held.weight)
        if not self._apart.isdisjoint(name for _, name in names):
            return None
        parts = [state[part] for part in ("weight", "bias") if part in state]
        if kind.params != sum(prod(held.dims) for held in parts if held is not None and held.weight):
            return None  # a bias of one number for all channels
        key = (kind.layer, names)
        if kind.operation not in ("batch_norm", "layer_norm", "instance_norm"):
            self._claim([name for _, name in names], key)
        weight_id = self._weight_id.setdefault(key, len(self._weight_id)) if names else -1
        return self.build.node(kind, (value,), weight_id)

    def held_or_read(self, kind: Kind, value: Value, weight: Operand, bias: Operand | None) -> int:
        """A node that holds its weight, or that reads it where it belongs to others too."""
        node = self.layer(kind, value, weight=weight, bias=bias)
        if node is not None:
            return node
        values = [value, self.exact(weight), *([self.exact(bias)] if kind.bias and bias is not None else [])]
        inputs = (*kind.inputs, *map(self.build.shape, values[1:]))
        return self.build.node(replace(kind, inputs=inputs), values)

    def _claim(self, names: list[str], key: tuple) -> None:
        self.conflicts.update(name for name in names if self._owner.setdefault(name, key) != key)

    def only_reader(self, call: Call) -> Call | None:
        """The one call that reads the result, where there is just one and it is no output of the network."""
        readers = self._readers[call.outputs[0]]
        return readers[0] if len(readers) == 1 else None

    def is_read(self, name: str) -> bool:
        """Whether anything reads a value."""
        return bool(self._readers[name])

    def _constant(self, operand: Operand) -> Value:
        shape = shape_of(operand.dims)
        extra = as_extra(
            trainable=operand.weight is not None,
            sizes=None if operand.dims == (1, *default_sizes(shape)) else list(operand.dims),
            dtype=operand.dtype,
            values=None if operand.weight or operand.value is None else operand.value.ravel().tolist(),
        )
        weight_id = -1
        if operand.weight is not None:
            self._claim([operand.weight], ("constant", operand.weight))
            weight_id = self._weight_id.setdefault(("constant", operand.weight), len(self._weight_id))
        return self.build.node(Kind("constant", (), (shape,), extra=extra), (), weight_id)


def _of_one(sizes: Sizes) -> int:
    """Elements of one sample."""
    return prod(1 if size == BATCH else size for size in sizes)
