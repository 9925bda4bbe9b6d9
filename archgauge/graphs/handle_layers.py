"""Tracing of operations that hold parameters: convolutions, linear layers, normalisations."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import Tensor

from archgauge.graphs.builder import Value
from archgauge.graphs.handle_sizes import pad
from archgauge.graphs.handle_views import permute
from archgauge.graphs.handlers_common import (
    call,
    exactly,
    filled,
    pair,
)
from archgauge.graphs.layouts import BATCH, channels_last, copies, shape_of, vector
from archgauge.graphs.operations import NORM_EPS, Kind, Pair, as_extra
from archgauge.graphs.recorder import Recorder

aten = torch.ops.aten


def conv2d(recorder: Recorder, func: Any, result: Tensor, args: tuple, kwargs: dict) -> None:
    x, weight, bias, stride, padding, dilation, groups = filled(func, args, kwargs)
    if x.dim() != 4 or not copies(x.shape):
        return call(recorder, func, result, args, kwargs, macs=_each(result) * prod(weight.shape[1:]))
    if isinstance(padding, str):
        x, padding = _padded(recorder, x, padding, weight.shape[2:], pair(dilation))
    settings = (pair(stride), pair(padding), pair(dilation), groups)
    return _weighted(recorder, "conv", result, x, weight, bias, settings, None)


def _padded(recorder: Recorder, x: Tensor, name: str, kernel: Sequence[int], dilation: Pair) -> tuple[Tensor, Pair]:
    """What a convolution reads whose padding has a name, and its padding in numbers.

    "same" pads dilation * (kernel - 1) in all along an axis, the odd one behind (PyTorch's rule); lopsided padding is
    a node of its own.
    """
    if name == "valid":
        return x, (0, 0)
    height, width = (step * (span - 1) for step, span in zip(dilation, kernel, strict=True))
    if height % 2 == width % 2 == 0:
        return x, (height // 2, width // 2)
    frame = [width // 2, width - width // 2, height // 2, height - height // 2]
    sizes = (*x.shape[:2], x.shape[2] + height, x.shape[3] + width)
    framed = torch.empty(sizes, dtype=x.dtype, device="meta")
    pad(recorder, aten.constant_pad_nd.default, framed, (x, frame), {})
    return framed, (0, 0)


def conv_transpose2d(recorder: Recorder, func: Any, result: Tensor, args: tuple, kwargs: dict) -> None:
    x, weight, bias, stride, padding, around, groups, dilation = filled(func, args, kwargs)
    if x.dim() != 4 or not copies(x.shape):
        return call(recorder, func, result, args, kwargs, macs=_each(x) * prod(weight.shape[1:]))
    settings = (pair(stride), pair(padding), pair(dilation), groups)
    return _weighted(recorder, "conv_transpose", result, x, weight, bias, settings, around)


def convolution(recorder: Recorder, func: Any, result: Tensor, args: tuple, kwargs: dict) -> None:
    x, weight, bias, stride, padding, dilation, transposed, around, groups = filled(func, args, kwargs)[:9]
    if x.dim() != 4 or not copies(x.shape):
        macs = _each(x if transposed else result) * prod(weight.shape[1:])
        return call(recorder, func, result, args, kwargs, macs=macs)
    settings = (pair(stride), pair(padding), pair(dilation), groups)
    operation = "conv_transpose" if transposed else "conv"
    return _weighted(recorder, operation, result, x, weight, bias, settings, around)


def _weighted(
    recorder: Recorder,
    operation: str,
    result: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    settings: tuple[Pair, Pair, Pair, int],
    around: Sequence[int] | None,
) -> None:
    """A convolution, whose weight may be computed."""
    value, _ = recorder.loose(x)
    stride, padding, dilation, groups = settings
    kind = Kind(
        operation,
        (shape_of(x.shape),),
        (shape_of(result.shape),),
        pair(weight.shape[2:]),
        stride,
        padding,
        dilation,
        groups,
        bias is not None,
        extra=as_extra(output_padding=list(pair(around)) if around and any(pair(around)) else None, copies=_several(x)),
    )
    recorder.bind(result, _held_or_read(recorder, kind, value, weight, bias))


def _held_or_read(recorder: Recorder, kind: Kind, value: Value, weight: Tensor, bias: Tensor | None) -> int:
    """A node that holds its weight, or that reads it where it is computed or belongs to others too."""
    node = recorder.layer(kind, [value], weight=weight, bias=bias)
    if node is not None:
        return node
    read = [tensor for tensor in (weight, bias) if tensor is not None]
    inputs = (*kind.inputs, *(shape_of(tensor.shape) for tensor in read))
    return recorder.node(replace(kind, inputs=inputs), [value, *map(recorder.exact, read)])


def linear(recorder: Recorder, func: Any, result: Tensor, args: tuple, kwargs: dict) -> None:
    x, weight, bias = filled(func, args, kwargs)
    _linear_layer(recorder, result, x, weight, bias)


def _linear_layer(recorder: Recorder, result: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    before, after = channels_last(x.shape), channels_last(result.shape)
    value, sizes = recorder.loose(x) if before == shape_of(x.shape) else (recorder.exact(x), tuple(x.shape))
    kind = Kind("linear", (before,), (after,), bias=bias is not None)
    node = _held_or_read(recorder, kind, value, weight, bias)
    recorder.bind(result, node, (*(vector(sizes) if before[:2] == (1, 1) else sizes)[:-1], result.shape[-1]))


def matmul(recorder: Recorder, func: Any, result: Tensor, args: tuple, kwargs: dict) -> None:
    """A product of two tensors, or a linear layer that is written as one."""
    x, second = args[:2]
    weight = _linear_weight(recorder, x, second)
    if weight is not None:
        return _linear_layer(recorder, result, x, weight, None)
    return exactly(recorder, "matmul", result, [x, second], macs=_product_macs(recorder, result, x, second))


def addmm(recorder: Recorder, func: Any, result: Tensor, args: tuple, kwargs: dict) -> None:
    """addmm, baddbmm: a product and a sum, or a linear layer that is written as one."""
    bias, x, second = args[:3]
    weight = None if kwargs or not recorder.is_state(bias) or bias.dim() != 1 else _linear_weight(recorder, x, second)
    if weight is None:
        return call(recorder, func, result, args, kwargs, macs=_product_macs(recorder, result, x, second))
    return _linear_layer(recorder, result, x, weight, bias)


def _linear_weight(recorder: Recorder, x: Tensor, second: Tensor) -> Tensor | None:
    """The weight, outputs first, where a product is a linear layer."""
    if x.dim() < 2 or second.dim() != 2 or recorder.is_fixed(x) or not recorder.is_fixed(second):
        return None
    weight = recorder.transposed(second)
    if weight is None:
        weight = torch.empty(second.shape[::-1], dtype=second.dtype, device="meta")
        permute(recorder, aten.t.default, weight, (second,), {})
    return weight


def _product_macs(recorder: Recorder, result: Tensor, first: Tensor, second: Tensor) -> int | None:
    """Multiply-adds of a product of an activation and a weight; None of two activations or two weights."""
    if recorder.is_fixed(first) == recorder.is_fixed(second):
        return None
    return _each(result) * first.shape[-1]


def _each(tensor: Tensor) -> int:
    """Elements of one sample."""
    return tensor.numel() // BATCH if tensor.numel() % BATCH == 0 else tensor.numel()


def embedding(recorder: Recorder, func: Any, result: Tensor, args: tuple, kwargs: dict) -> None:
    weight, rows = args[:2]
    inputs, outputs = (shape_of(rows.shape),), (channels_last(result.shape),)
    extra = as_extra(rows=weight.shape[0])
    value = recorder.exact(rows)
    node = recorder.layer(Kind("embedding", inputs, outputs, extra=extra), [value], weight=weight)
    if node is None:
        return call(recorder, func, result, args, kwargs)
    return recorder.bind(result, node)


def embedding_bag(recorder: Recorder, func: Any, result: Any, args: tuple, kwargs: dict) -> None:
    """A node "other", written as the overload that also runs where gradients are wanted."""
    func, given = aten._embedding_bag.default, list(args)
    defaults = [argument.default_value for argument in func._schema.arguments]
    while not isinstance(given[-1], Tensor) and given[-1] == defaults[len(given) - 1]:
        given.pop()  # as PyTorch itself leaves them out
    call(recorder, func, result, tuple(given), kwargs)


def _eps(eps: float) -> float | None:
    return None if eps == NORM_EPS else eps


def _several(x: Tensor) -> int | None:
    """How many images of one sample a layer runs over, where it is not one."""
    return None if copies(x.shape) == 1 else copies(x.shape)


def batch_norm(recorder: Recorder, func: Any, result: Any, args: tuple, kwargs: dict) -> None:
    x, weight, bias, mean, variance = args[:5]
    training = args[5] if func.overloadpacket in (aten.batch_norm, aten.native_batch_norm) else False
    eps = args[7] if func.overloadpacket is aten.batch_norm else args[-1]
    output = result if isinstance(result, Tensor) else result[0]
    node = None
    if not training and mean is not None and copies(x.shape) and (weight is None) == (bias is None):
        value, sizes = recorder.loose(x)
        shape, extra = shape_of(x.shape), as_extra(eps=_eps(eps), copies=_several(x))
        kind = Kind("batch_norm", (shape,), (shape,), affine=weight is not None, extra=extra)
        node = recorder.layer(kind, [value], weight=weight, bias=bias, running_mean=mean, running_var=variance)
    if node is None:
        return call(recorder, func, result, args, kwargs)
    return recorder.bind(output, node, sizes)


def layer_norm(recorder: Recorder, func: Any, result: Tensor, args: tuple, kwargs: dict) -> None:
    x, normalised, weight, bias, eps, _ = filled(func, args, kwargs)
    node = None
    if len(normalised) == 1 and not (weight is None and bias is not None):
        shape, extra = channels_last(x.shape), as_extra(eps=_eps(eps))
        kind = Kind("layer_norm", (shape,), (shape,), bias=bias is not None, affine=weight is not None, extra=extra)
        node = recorder.layer(kind, [recorder.exact(x)], weight=weight, bias=bias)
    if node is None:
        return call(recorder, func, result, args, kwargs)
    return recorder.bind(result, node)


def group_norm(recorder: Recorder, func: Any, result: Tensor, args: tuple, kwargs: dict) -> None:
    x, groups, weight, bias, eps, _ = filled(func, args, kwargs)
    node = None
    if x.dim() == 4 and copies(x.shape) and (weight is None) == (bias is None):
        shape, extra = shape_of(x.shape), as_extra(eps=_eps(eps), copies=_several(x))
        kind = Kind("group_norm", (shape,), (shape,), groups=groups, affine=weight is not None, extra=extra)
        node = recorder.layer(kind, [recorder.exact(x)], weight=weight, bias=bias)
    if node is None:
        return call(recorder, func, result, args, kwargs)
    return recorder.bind(result, node)


def instance_norm(recorder: Recorder, func: Any, result: Tensor, args: tuple, kwargs: dict) -> None:
    x, weight, bias, mean, _, from_input, _, eps, _ = args
    node = None
    if x.dim() == 4 and copies(x.shape) and from_input and mean is None and (weight is None) == (bias is None):
        shape, extra = shape_of(x.shape), as_extra(eps=_eps(eps), copies=_several(x))
        kind = Kind("instance_norm", (shape,), (shape,), affine=weight is not None, extra=extra)
        node = recorder.layer(kind, [recorder.exact(x)], weight=weight, bias=bias)
    if node is None:
        return call(recorder, func, result, args, kwargs)
    return recorder.bind(result, node)


def prelu(recorder: Recorder, func: Any, result: Tensor, args: tuple, kwargs: dict) -> None:
    x, weight = args
    node = None
    if copies(x.shape):
        value, sizes = recorder.loose(x)
        shape, extra = shape_of(x.shape), as_extra(shared=(weight.numel() == 1) or None, copies=_several(x))
        node = recorder.layer(Kind("prelu", (shape,), (shape,), extra=extra), [value], weight=weight)
    if node is None:
        return call(recorder, func, result, args, kwargs)
    return recorder.bind(result, node, sizes)
