"""Where the batch is among the axes of an ONNX file's values.

A file that was exported with a batch of two or more has it in its shapes, also folded into other axes: attention runs
over (L, 8B, D), windows over (64B, L, C). The batch is followed from the inputs by ONNX's own shape inference with a
prime in its place, as in a trace, and through views, whose sizes are written out in the file, by its stride.
"""

from collections.abc import Callable, Iterable
from math import prod
from typing import Any

import numpy as np

from archgauge.graphs.layouts import BATCH

Dims = tuple[int, ...]
Place = tuple[int, int]
"""The axis that holds the batch, and how many elements of that axis lie between two samples."""

Node = Any
"""A NodeProto: only the modules that read the file know the package onnx."""

_VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Cast", "CastLike", "Dropout"})
_BROADCAST = frozenset({"Add", "Sub", "Mul", "Div", "Sum", "Pow", "Max", "Min", "Where", "Concat", "MatMul"})


class BatchPlaces:
    """Follows a batch of `size` >= 2 samples through a file; `lost` are values in which it cannot be told."""

    def __init__(self, size: int, dims: Callable[[str], Dims | None]):
        self.size, self._dims = size, dims
        self.lost: set[str] = set()
        self._place: dict[str, Place] = {}

    def start(self, name: str) -> None:
        """Note that the first axis of an input is the batch if it is as long."""
        dims = self._dims(name)
        if dims and dims[0] == self.size:
            self._place[name] = 0, 1

    def axis(self, name: str) -> int:
        """The axis of a value that holds the batch."""
        return self._place[name][0]

    def of_one(self, name: str, dims: Dims) -> Dims:
        """The axes of one sample: the batch is 1."""
        return self._with(name, dims, 1)

    def value_of_one(self, name: str, value: np.ndarray) -> np.ndarray:
        """The part of a constant that stands for one sample."""
        if name not in self._place:
            return value
        return value.take(range(self.of_one(name, value.shape)[self.axis(name)]), self.axis(name))

    def repeated(self, node: Node, constants: Iterable[str]) -> list[str]:
        """The constants that a node lays beside the batch one for each sample; their batch is known from now on."""
        carrier = self._carrier(node)
        if carrier is None or node.op_type not in _BROADCAST:
            return []
        (axis, inner), dims = self._place[carrier], self._dims(carrier) or ()
        back, found = len(dims) - axis, []
        for name in constants:
            own = self._dims(name) or ()
            fits = back <= len(own) and own[-back] == dims[axis] and not (node.op_type == "MatMul" and back < 3)
            if fits and name not in self._place:
                self._place[name] = len(own) - back, inner
                found.append(name)
        return found

    def follow(self, node: Node, infer: Callable[[dict[str, Dims]], dict[str, Dims]]) -> None:
        """Find the batch in what a node makes; `infer` gives its outputs' axes for other axes of its inputs."""
        carrier = self._carrier(node)
        if carrier is None:
            return
        marked = None if node.op_type in _VIEWS else infer(self._marked(node))
        for name in filter(None, node.output):
            after = self._dims(name)
            if after is None:
                continue
            place = self._moved(carrier, after) if marked is None else self._seen(node, marked.get(name, ()), after)
            if place is None:
                self.lost.add(name)
            else:
                self._place[name] = place

    def _carrier(self, node: Node) -> str | None:
        return next((name for name in node.input if name in self._place), None)

    def _with(self, name: str, dims: Dims, batch: int) -> Dims:
        if name not in self._place:
            return dims
        axis, _ = self._place[name]
        return (*dims[:axis], dims[axis] // self.size * batch, *dims[axis + 1 :])

    def _marked(self, node: Node) -> dict[str, Dims]:
        known = {name: self._dims(name) for name in node.input if name in self._place}
        return {name: self._with(name, dims, BATCH) for name, dims in known.items() if dims is not None}

    def _moved(self, carrier: str, after: Dims) -> Place | None:
        """The batch behind a view: the axis that its stride falls into."""
        axis, inner = self._place[carrier]
        stride, below = inner * prod((self._dims(carrier) or ())[axis + 1 :]), 1
        for place in reversed(range(len(after))):
            span = below * after[place]
            if stride % below == 0 and span % (stride * self.size) == 0:
                return place, stride // below
            below = span
        return None

    def _seen(self, node: Node, marked: Dims, after: Dims) -> Place | None:
        """The batch where inference with a marker shows it, or else in the first axis if it always was there."""
        axes = [axis for axis, size in enumerate(marked) if size and size % BATCH == 0]
        if len(axes) == 1 and marked[axes[0]] // BATCH * self.size == after[axes[0]]:
            return axes[0], self._inner(node, after[axes[0]])
        carriers = [name for name in node.input if name in self._place]
        first = all(self._place[name] == (0, 1) and (self._dims(name) or (0,))[0] == self.size for name in carriers)
        return (0, 1) if first and not axes and after[:1] == (self.size,) else None

    def _inner(self, node: Node, length: int) -> int:
        """Elements between two samples in an axis of a length, as in the input that has such an axis."""
        for name in node.input:
            if name in self._place:
                axis, inner = self._place[name]
                if (self._dims(name) or ())[axis] == length:
                    return inner
        return length // self.size
