"""Sequences in ONNX files: a chunk or split may be written as a sequence, and each part as a place in it."""

from collections.abc import Callable, Mapping

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

Dims = tuple[int, ...]


class Sequences:
    """The tensors that were split into sequences; `dims` and `values` tell the axes and constants known so far."""

    def __init__(self, dims: Callable[[str], Dims | None], values: Mapping[str, np.ndarray]):
        self._dims, self._values = dims, values
        self._split: dict[str, tuple[str, int, list[int]]] = {}  # a sequence's tensor, axis and where its parts begin

    def takes(self, node: NodeProto) -> bool:
        """Whether a node makes a sequence whose parts are known; it is remembered."""
        dims = self._dims(node.input[0]) if node.op_type == "SplitToSequence" and len(node.input) == 2 else None
        sizes = self._values.get(node.input[1]) if dims else None
        if dims is None or sizes is None:
            return False
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0) % len(dims)
        size = int(sizes.min())  # of each part where there is only one; a slice ends where the tensor does
        ends = np.cumsum(sizes) if sizes.ndim else np.arange(size, dims[axis] + size, size)
        self._split[node.output[0]] = node.input[0], axis, [0, *ends.tolist()]
        return True

    def part(self, node: NodeProto) -> tuple[NodeProto, list[TensorProto]] | None:
        """The slice that a place in a sequence is, and its constants; None where a node is no such place."""
        found = self._split.get(node.input[0]) if node.op_type == "SequenceAt" else None
        place = self._values.get(node.input[1]) if found else None
        if found is None or place is None:
            return None
        name, axis, ends = found
        number = int(place) % (len(ends) - 1)
        given = {"first": ends[number], "last": ends[number + 1], "axis": axis}
        constants = [numpy_helper.from_array(np.array([n]), f"{node.output[0]}/{key}") for key, n in given.items()]
        inputs = [name, *(constant.name for constant in constants)]
        return helper.make_node("Slice", inputs, node.output, node.name), constants
