"""Reading an ONNX file: the calls of its graph, with every shape known and all constant arithmetic done.

Only the `onnx` package is used. Weights may lie in a file beside, which may be absent: large values are read only to
see whether an embedding table is tied and whether a weight was expanded to a batch.
Exporters compute with shapes in the graph itself (Shape, Gather, Concat into a Reshape); such numbers are worked out
here, so that what is left are the calls that depend on an input.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
from google.protobuf.message import DecodeError
from onnx import AttributeProto, NodeProto, TensorProto, TypeProto, ValueInfoProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from archgauge.errors import FormatError, GraphError
from archgauge.graphs._onnx_batch import BatchPlaces
from archgauge.graphs._onnx_errors import reading
from archgauge.graphs._onnx_protos import FLOATING, Dims, attribute_value, known_dims
from archgauge.graphs._onnx_sequences import Sequences
from archgauge.graphs._onnx_weights import check_external, same_for_all, tied_to_tables

_SMALL = 64
"""Most elements of a constant whose value is worked out: shapes, axes, limits."""

_VIEWS = frozenset({"Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Cast", "CastLike", "Expand"})
_ALIAS_DOMAINS = ("", "ai.onnx")
_INFERENCE_FAILS = (
    *(onnx.defs.SchemaError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError),
    *(RuntimeError, ValueError, TypeError, KeyError),
)


@dataclass(frozen=True)
class Operand:
    """An input of a call.

    Attributes:
        name: the value's name in the file.
        dims: all its axes for one sample: a batch is 1, also where it was folded into another axis.
        constant: whether it depends on no input of the network.
        weight: for what comes from an initializer of floating point: the initializer's name, or the name of the
            value that was computed of initializers. Plain views keep it.
        value: of a small constant, where it could be worked out.
        dtype: name of the type where it is not of floating point.
    """

    name: str
    dims: Dims
    constant: bool
    weight: str | None = None
    value: np.ndarray | None = None
    dtype: str | None = None


@dataclass(frozen=True)
class Call:
    """An operation that depends on an input of the network.

    Attributes:
        operation: the operator's name, with its domain where that is not ONNX's own.
        operands: its inputs; None where an optional one is left out.
        outputs: names.
        dims: axes of each output; None where they are not known.
        version: of the set of operators that defines it.
        where: how an error names it.
    """

    operation: str
    attributes: dict[str, Any]
    operands: tuple[Operand | None, ...]
    outputs: tuple[str, ...]
    dims: tuple[Dims | None, ...]
    version: int
    where: str


@dataclass(frozen=True)
class Network:
    """What an ONNX file says about a forward pass. `zeros` are values that no call makes: they are all zero."""

    inputs: tuple[Operand, ...]
    calls: tuple[Call, ...]
    outputs: tuple[Operand, ...]
    zeros: frozenset[str]


def read_network(path: Path) -> Network:
    """Read the calls of an ONNX file in their order.

    Raises:
        FormatError: when the file is no whole ONNX model, keeps weights outside its folder, or reads what is not there.
        GraphError: when a shape is not known, an axis other than the batch is dynamic, or there is control flow.
    """
    model = _parsed(path)
    check_external(model, path)
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    return _Reader(model, path).network()


def _parsed(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(path, format="protobuf", load_external_data=False)
        if model.graph.node and model.opset_import:
            return model
        fault = "a model without nodes or without a version of the operators"
    except (DecodeError, OSError, ValueError) as error:
        fault = f"{type(error).__name__}: {error}"
    raise FormatError(
        "an ONNX file",
        where=path,
        expected="one whole model",
        got=fault,
        remedy="The file is missing, truncated or of another format: export the model again.",
    )


class _Reader:
    """Walks the nodes in their order, and knows of each value its type, and of constants where they come from."""

    def __init__(self, model: onnx.ModelProto, path: Path):
        self.graph, self.path = model.graph, path
        self.ir_version, self.opsets = model.ir_version, list(model.opset_import)
        self.version = {opset.domain: opset.version for opset in self.opsets}
        self.version.setdefault("", self.version.get("ai.onnx", 1))
        self.types: dict[str, TypeProto] = {}
        self.values: dict[str, np.ndarray] = {}
        self.weights: dict[str, str] = {}
        self.constants: set[str] = set()
        self.zeros: set[str] = set()
        self.produced: set[str] = set()
        self.initializers = {tensor.name: tensor for tensor in self.graph.initializer}
        self.tied = tied_to_tables(self.graph, path.parent)
        self.batch: BatchPlaces | None = None
        self.declared = {info.name: info.type for info in (*model.graph.value_info, *model.graph.output)}

    def network(self) -> Network:
        """Everything, in order."""
        for tensor in self.graph.initializer:
            self._add_initializer(tensor)
        fed = [info for info in self.graph.input if info.name not in self.constants]  # old files list weights, too
        for info in fed:
            self.types[info.name] = self._fixed(info)
        first = self._dims(fed[0].name) if fed else None
        if first and first[0] > 1:
            self.batch = BatchPlaces(first[0], self._dims)
            for info in fed:
                self.batch.start(info.name)
        inputs = tuple(self._operand(info.name, "the network's inputs") for info in fed)
        calls = [call for node in self._plain_nodes() if (call := self._call(node)) is not None]
        outputs = tuple(self._operand(info.name, "the network's outputs") for info in self.graph.output)
        return Network(inputs, tuple(calls), outputs, frozenset(self.zeros))

    def _plain_nodes(self) -> Iterator[NodeProto]:
        """The nodes in order, slices for places in a sequence that a tensor was split into."""
        sequences = Sequences(self._dims, self.values)
        for node in self.graph.node:
            part = sequences.part(node)
            if part is not None:
                for tensor in part[1]:
                    self._add_initializer(tensor)
                yield part[0]
            elif not sequences.takes(node):
                yield node

    def _add_initializer(self, tensor: TensorProto) -> None:
        self.constants.add(tensor.name)
        self.types[tensor.name] = helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims))
        scalar = not tensor.dims  # exporters fold numbers such as 0.5 to initializers without axes
        if tensor.data_type in FLOATING and not scalar:
            self.weights[tensor.name] = self.tied.get(tensor.name, tensor.name)
        if prod(tensor.dims) <= _SMALL and tensor.data_location != TensorProto.EXTERNAL:
            try:
                self.values[tensor.name] = numpy_helper.to_array(tensor)
            except (ValueError, TypeError) as error:
                raise FormatError(
                    "an initializer of an ONNX file",
                    where=f"{self.path}, {tensor.name}",
                    expected=f"{prod(tensor.dims)} elements",
                    got=f"{type(error).__name__}: {error}",
                    remedy="The file is damaged: export the model again.",
                ) from error

    def _fixed(self, info: ValueInfoProto) -> TypeProto:
        """The type of an input with one sample where the batch is dynamic."""
        tensor = info.type.tensor_type
        fixed = [axis.dim_value if axis.HasField("dim_value") else None for axis in tensor.shape.dim]
        if fixed and fixed[0] is None:
            fixed[0] = 1
        if not tensor.HasField("shape") or not all(fixed):
            raise GraphError(
                "the shape of a network's input",
                where=f"{self.path}, {info.name}",
                expected="numbers for all axes but the first",
                got=[axis.dim_param or axis.dim_value for axis in tensor.shape.dim] or "no shape",
                remedy="Export the model without dynamic axes; only the batch may be one.",
            )
        return helper.make_tensor_type_proto(tensor.elem_type, fixed)

    def _operand(self, name: str, where: str) -> Operand:
        if name not in self.types and name not in self.constants and name not in self.produced:
            raise FormatError(
                "a value in an ONNX file",
                where=f"{self.path}, {where}",
                expected="an input, an initializer or the result of an earlier node",
                got=repr(name),
                remedy="The file is damaged: its nodes are not in order. Export the model again.",
            )
        dims = self._dims(name)
        if dims is None:
            raise GraphError(
                "the shape of a value in an ONNX file",
                where=f"{self.path}, {where}",
                expected=f"numbers for the axes of {name}",
                got="none that ONNX's shape inference finds",
                remedy="Export with fixed input sizes, or write the shapes into the file's value_info.",
            )
        if self.batch is not None and name in self.batch.lost:
            raise self._unclear(name, where, dims)
        known = self.types[name] if name in self.types else self.declared[name]
        kind = known.tensor_type.elem_type
        dtype = None if kind in FLOATING else helper.tensor_dtype_to_np_dtype(kind).name
        value = self.values.get(name)
        if self.batch is not None:
            dims = self.batch.of_one(name, dims)
            value = None if value is None else self.batch.value_of_one(name, value)
        return Operand(name, dims, name in self.constants, self.weights.get(name), value, dtype)

    def _unclear(self, name: str, where: str, got: object) -> GraphError:
        assert self.batch is not None
        return GraphError(
            "the batch of an ONNX file",
            where=f"{self.path}, {where}",
            expected=f"one axis of {name} that holds the {self.batch.size} samples",
            got=got,
            remedy="Where the samples are cannot be told: export the model with batch 1.",
        )

    def _dims(self, name: str) -> Dims | None:
        """The axes of a value, with the file's own batch."""
        for types in (self.types, self.declared):
            if name in types and (known := known_dims({name: types[name]})):
                return known[name]
        return None

    def _call(self, node: NodeProto) -> Call | None:
        """Take a node in; return it where it depends on an input of the network."""
        operation = node.op_type if node.domain in _ALIAS_DOMAINS else f"{node.domain}::{node.op_type}"
        where = f"node {node.name or ', '.join(node.output)} ({operation})"
        with reading(self.path, where):
            return self._taken_in(node, operation, where)

    def _taken_in(self, node: NodeProto, operation: str, where: str) -> Call | None:
        self._check(node, operation, where)
        if self.batch is not None:
            self._check_repeated(self.batch, node, where)
        operands = tuple(self._operand(name, where) if name else None for name in node.input)
        self.types.update(self._inferred(node, {}))
        self.produced.update(node.output)
        told = operands[:1] if operation == "CastLike" else operands  # of the second, only the type matters
        if operation == "Shape" or all(operand is None or operand.constant for operand in told):
            self._fold(node, operation, operands)
            return None
        attributes = {attribute.name: attribute_value(attribute) for attribute in node.attribute}
        outputs = tuple(name for name in node.output if name)
        dims = tuple(map(self._dims, outputs))
        if self.batch is not None:
            self.batch.follow(node, lambda others: known_dims(self._inferred(node, others)))
            of_one = self.batch.of_one
            dims = tuple(each and of_one(name, each) for name, each in zip(outputs, dims, strict=True))
        return Call(operation, attributes, operands, outputs, dims, self._version(node), where)

    def _check_repeated(self, batch: BatchPlaces, node: NodeProto, where: str) -> None:
        """A weight that stands beside the batch is one that was expanded: then it says the same for each sample."""
        for name in batch.repeated(node, [name for name in node.input if name in self.constants]):
            tensor = self.initializers.get(name)
            if tensor is None or name not in self.weights:
                continue
            if not same_for_all(tensor, batch.size, batch.axis(name), self.path.parent):
                raise self._unclear(name, where, "weights that are missing or differ from sample to sample")

    def _check(self, node: NodeProto, operation: str, where: str) -> None:
        if any(attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for attribute in node.attribute):
            raise GraphError(
                "the operations of an ONNX file",
                where=f"{self.path}, {where}",
                expected="no control flow",
                got=operation,
                remedy="A computation graph is one forward pass: export the model traced with an example input.",
            )
        again = [name for name in node.output if name and (name in self.types or name in self.produced)]
        if again:
            raise FormatError(
                "the results of an ONNX file's nodes",
                where=f"{self.path}, {where}",
                expected="a name that was not there before",
                got=repr(again[0]),
                remedy="The file is damaged: export the model again.",
            )

    def _inferred(self, node: NodeProto, others: dict[str, Dims]) -> dict[str, TypeProto]:
        """The types of a node's outputs by ONNX's own rules, with `others` as axes of some inputs.

        The file's word stands where the rules say nothing.
        """
        types = {name: self.types.get(name, self.declared.get(name)) for name in node.input if name}
        for name, dims in others.items():
            known = types[name]
            assert known is not None
            types[name] = helper.make_tensor_type_proto(known.tensor_type.elem_type, dims)
        try:
            domain = "" if node.domain in _ALIAS_DOMAINS else node.domain
            schema = onnx.defs.get_schema(node.op_type, self._version(node), domain)
            return onnx.shape_inference.infer_node_outputs(
                schema,
                node,
                {name: kind for name, kind in types.items() if kind is not None},
                {name: numpy_helper.from_array(self.values[name]) for name in types if name in self.values},
                opset_imports=self.opsets,
                ir_version=self.ir_version,
            )
        except _INFERENCE_FAILS:
            return {}

    def _version(self, node: NodeProto) -> int:
        return self.version.get("" if node.domain in _ALIAS_DOMAINS else node.domain, 1)

    def _fold(self, node: NodeProto, operation: str, operands: Sequence[Operand | None]) -> None:
        """Take in a node whose results are constant."""
        sources = [operand.weight for operand in operands if operand is not None and operand.weight is not None]
        if not sources and self._is_activation_of_zeros(node, operation, operands):
            self.zeros.add(node.output[0])
            return
        self.constants.update(node.output)
        if sources and operation != "Shape":
            # An Identity is a weight of its own: torch.onnx.export keeps one of several equal initial values, and
            # reaches the others through an Identity.
            self.weights[node.output[0]] = sources[0] if operation in _VIEWS else node.output[0]
        for name, value in self._evaluated(node, operation, operands).items():
            self.values[name] = value
            self.types[name] = helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)

    def _is_activation_of_zeros(self, node: NodeProto, operation: str, operands: Sequence[Operand | None]) -> bool:
        """Whether a node makes many zeros: not a constant, but what a dead branch computes with."""
        dims = self._dims(node.output[0])
        if dims is None or prod(dims) <= _SMALL:
            return False
        if operation in ("Constant", "ConstantOfShape"):
            given = [attribute.t for attribute in node.attribute if attribute.type == AttributeProto.TENSOR]
            return len(given) == len(node.attribute) and not any(np.any(numpy_helper.to_array(each)) for each in given)
        source = operands[0].value if operands and operands[0] is not None else None
        return operation == "Expand" and source is not None and not np.any(source)

    def _evaluated(self, node: NodeProto, operation: str, operands: Sequence[Operand | None]) -> dict[str, np.ndarray]:
        """The values of a node's small results, by ONNX's reference implementation; nothing where it fails."""
        if operation == "Shape":
            assert operands[0] is not None
            given = {attribute.name: attribute.i for attribute in node.attribute}
            sizes = self._dims(operands[0].name) or ()  # with the file's batch, as in the sizes that are written out
            return {node.output[0]: np.array(sizes[given.get("start", 0) : given.get("end")], np.int64)}
        if operation == "CastLike" and operands[0] is not None and operands[0].value is not None:
            kind = self.types[node.output[0]].tensor_type.elem_type
            return {node.output[0]: operands[0].value.astype(helper.tensor_dtype_to_np_dtype(kind))}
        dims = self._dims(node.output[0])
        unknown = any(operand is not None and operand.value is None for operand in operands)
        if unknown or dims is None or prod(dims) > _SMALL:
            return {}
        function = helper.make_function(
            "", "fold", [name for name in node.input if name], node.output, [node], self.opsets
        )
        known = {operand.name: operand.value for operand in operands if operand is not None}
        try:
            results = ReferenceEvaluator(function).run(None, known, attributes={})
        except Exception:  # a constant that cannot be worked out stays one of unknown value
            return {}
        return {
            name: np.asarray(result) for name, result in zip(node.output, results, strict=True) if result is not None
        }
