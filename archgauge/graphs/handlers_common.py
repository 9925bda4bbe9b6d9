"""What the handlers of a trace share. A handler is given the recorder, the operation, its result and its arguments."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from archgauge.graphs.calls import tensors, written
from archgauge.graphs.layouts import Sizes, leading, shape_of
from archgauge.graphs.operations import Kind, as_extra
from archgauge.graphs.recorder import Recorder

aten = torch.ops.aten
Handler = Callable[[Recorder, Any, Any, tuple, dict], None]


def call(recorder: Recorder, func: Any, result: Any, args: tuple, kwargs: dict, *, macs: int | None = None) -> None:
    """An operation outside the vocabulary, and its multiply-adds with a weight."""
    outputs = list(tensors(result))
    inputs = list({id(tensor): tensor for tensor in tensors((args, kwargs))}.values())
    if not outputs:
        return
    values = [recorder.exact(tensor) for tensor in inputs]
    extra = written(func, args, kwargs, {id(tensor): slot for slot, tensor in enumerate(inputs)}, macs)
    before, after = (tuple(shape_of(tensor.shape) for tensor in each) for each in (inputs, outputs))
    node = recorder.node(Kind("other", before, after, extra=extra), values)
    for number, output in enumerate(outputs):
        recorder.bind(output, (node, number) if number else node)


def filled(func: Any, args: tuple, kwargs: dict) -> list:
    """All arguments of a call in the order of the schema, with the defaults."""
    missing = func._schema.arguments[len(args) :]
    return [*args, *(kwargs.get(argument.name, argument.default_value) for argument in missing)]


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    values = [value] if isinstance(value, int) else list(value)
    return values[0], values[-1]


def unary(recorder: Recorder, operation: str, result: Tensor, x: Tensor, **settings: Any) -> None:
    value, sizes = recorder.loose(x)
    kind = Kind(operation, (shape_of(x.shape),), (shape_of(result.shape),), extra=as_extra(**settings))
    recorder.bind(result, recorder.node(kind, [value]), sizes)


def exactly(recorder: Recorder, operation: str, result: Tensor, given: Sequence[Tensor], **settings: Any) -> None:
    """An operation that reads tensors with just their axes."""
    inputs = tuple(shape_of(tensor.shape) for tensor in given)
    kind = Kind(operation, inputs, (shape_of(result.shape),), extra=as_extra(**settings))
    recorder.bind(result, recorder.node(kind, [recorder.exact(tensor) for tensor in given]))


def broadcast(tensor: Tensor, rank: int) -> Sizes:
    return leading(tuple(tensor.shape), rank)


def reshaped_view(recorder: Recorder, tensor: Tensor, sizes: Sizes) -> Tensor:
    """Another view of a tensor, bound to the same value."""
    view = torch.empty(sizes, dtype=tensor.dtype, device="meta")
    recorder.exact(tensor)
    recorder.bind(view, *recorder.pending(tensor))
    return view
