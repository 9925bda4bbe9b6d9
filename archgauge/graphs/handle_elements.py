"""Tracing of operations element by element, with broadcasting."""

from typing import Any

import torch
from torch import Tensor

from archgauge.graphs.handlers_common import (
    Handler,
    broadcast,
    call,
    exactly,
    filled,
    reshaped_view,
    unary,
)
from archgauge.graphs.layouts import BATCH, Sizes, broadcast_sizes, check_no_batch, shape_of
from archgauge.graphs.operations import LEAKY_RELU_SLOPE, Kind, as_extra
from archgauge.graphs.recorder import Recorder

aten = torch.ops.aten


BINARY = {
    packet: name for name in ("add", "mul", "sub", "div") for packet in (getattr(aten, name), getattr(aten, f"{name}_"))
}


def activation(operation: str) -> Handler:
    def handle(recorder: Recorder, func: Any, result: Tensor, args: tuple, kwargs: dict) -> None:
        if kwargs or len(args) > 1:  # gelu's approximation
            return call(recorder, func, result, args, kwargs)
        return unary(recorder, operation, result, args[0])

    return handle


def leaky_relu(recorder: Recorder, func: Any, result: Tensor, args: tuple, kwargs: dict) -> None:
    slope = args[1] if len(args) > 1 else LEAKY_RELU_SLOPE
    unary(recorder, "leaky_relu", result, args[0], slope=None if slope == LEAKY_RELU_SLOPE else slope)


def hardtanh(recorder: Recorder, func: Any, result: Tensor, args: tuple, kwargs: dict) -> None:
    """hardtanh, clamp."""
    limits = filled(func, args, kwargs)[1:3]
    if any(isinstance(limit, Tensor) for limit in limits) or limits != [0, 6]:
        return call(recorder, func, result, args, kwargs)
    return unary(recorder, "relu6", result, args[0])


def softmax(recorder: Recorder, func: Any, result: Tensor, args: tuple, kwargs: dict) -> None:
    x, axis = args[:2]
    if (len(args) > 2 and args[2] not in (None, False)) or kwargs.get("dtype") is not None:
        return call(recorder, func, result, args, kwargs)
    kind = Kind("softmax", (shape_of(x.shape),), (shape_of(result.shape),), extra=as_extra(axis=axis % max(x.dim(), 1)))
    return recorder.bind(result, recorder.node(kind, [recorder.exact(x)]))


def binary(recorder: Recorder, func: Any, result: Tensor, args: tuple, kwargs: dict) -> None:
    """add, mul, sub, div of two tensors or of a tensor and a number."""
    operation = BINARY[func.overloadpacket]
    first, second = args[:2]
    if any(value is not None and value != 1 for value in (*args[2:], *kwargs.values())):
        return call(recorder, func, result, args, kwargs)
    if not isinstance(second, Tensor):
        return _with_number(recorder, func, result, args, kwargs, operation)
    if not isinstance(first, Tensor) or not result.is_floating_point():
        return call(recorder, func, result, args, kwargs)
    values, sizes = _together(recorder, [first, second], result)
    shape = shape_of(result.shape)
    variadic = operation in ("add", "mul")
    inputs = (shape,) if variadic else tuple(map(recorder.shape, values))
    return recorder.bind(result, recorder.node(Kind(operation, inputs, (shape,)), values), sizes)


def _with_number(recorder: Recorder, func: Any, result: Tensor, args: tuple, kwargs: dict, operation: str) -> None:
    x, number = args[:2]
    if not isinstance(number, complex):
        check_no_batch(number)
    batch = isinstance(number, int) and number != 0 and number % BATCH == 0
    if batch or isinstance(number, complex) or not x.is_floating_point():
        return call(recorder, func, result, args, kwargs)
    match operation:
        case "add":
            return unary(recorder, "shift", result, x, by=float(number))
        case "sub":
            return unary(recorder, "shift", result, x, by=-float(number))
        case "div" if number:
            return unary(recorder, "scale", result, x, by=1 / number)
        case "mul":
            return unary(recorder, "scale", result, x, by=float(number))
    return call(recorder, func, result, args, kwargs)


def _together(recorder: Recorder, given: list[Tensor], result: Tensor) -> tuple[list, Sizes]:
    """The values of terms that are broadcast to a result, and the sizes of that, as `realise` will see them."""
    found = [recorder.pending(tensor) for tensor in given]
    own = [tuple(tensor.shape) for tensor in given]
    sizes = broadcast_sizes([sizes for _, sizes in found], own, tuple(result.shape))
    if sizes is not None:
        return [value for value, _ in found], sizes
    values, rank = [], result.dim()
    for tensor in given:
        if tensor.dim() == 2 and rank > 2:  # would be taken for a vector
            tensor = reshaped_view(recorder, tensor, broadcast(tensor, rank))
        values.append(recorder.exact(tensor))
    return values, tuple(result.shape)


def attention(recorder: Recorder, func: Any, result: Tensor, args: tuple, kwargs: dict) -> None:
    query, key, value, mask, dropout, causal, scale, grouped = filled(func, args, kwargs)
    if dropout or grouped:
        return call(recorder, func, result, args, kwargs)
    given = [query, key, value] if mask is None else [query, key, value, mask]
    return exactly(recorder, "attention", result, given, causal=causal or None, scale=scale)
