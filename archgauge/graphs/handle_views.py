"""Tracing of views, parts of tensors, concatenations and zeros."""

from typing import Any

import torch
from torch import Tensor

from archgauge.graphs.handlers_common import (
    broadcast,
    call,
    exactly,
    filled,
    reshaped_view,
)
from archgauge.graphs.layouts import BATCH, axis_name, batched, default_sizes, shape_of, vector
from archgauge.graphs.operations import Kind, as_extra
from archgauge.graphs.recorder import Recorder

aten = torch.ops.aten


def alias(recorder: Recorder, func: Any, result: Any, args: tuple, kwargs: dict) -> None:
    """The result has the values of the first argument."""
    x = args[0]
    if recorder.is_state(x) and result is not x:
        recorder.same_state(result, x)
    elif result.dtype == x.dtype or (result.is_floating_point() and x.is_floating_point()):
        recorder.bind(result, *recorder.pending(x))
    else:
        call(recorder, func, result, args, kwargs)


def dropout(recorder: Recorder, func: Any, result: Tensor, args: tuple, kwargs: dict) -> None:
    (call if args[2] and args[1] else alias)(recorder, func, result, args, kwargs)


def view(recorder: Recorder, func: Any, result: Tensor, args: tuple, kwargs: dict) -> None:
    """The same numbers in the same order: a node only where something needs the new sizes."""
    if recorder.view_left_out(result, args[0]):
        return None
    if result.dtype != args[0].dtype:
        return call(recorder, func, result, args, kwargs)
    value, sizes = recorder.pending(args[0])
    if sizes != args[0].shape and torch.Size(sizes).numel() != args[0].numel():
        value, sizes = recorder.exact(args[0]), tuple(args[0].shape)
    return recorder.bind(result, value, sizes)


def expand(recorder: Recorder, func: Any, result: Tensor, args: tuple, kwargs: dict) -> None:
    x = args[0]
    if result.dim() != x.dim():
        x = reshaped_view(recorder, x, broadcast(x, result.dim()))
    value, sizes = recorder.pending(x)
    if sizes != x.shape and vector(sizes) != vector(x.shape):
        value, sizes = recorder.exact(x), tuple(x.shape)
    recorder.bind(result, value, sizes)


def permute(recorder: Recorder, func: Any, result: Tensor, args: tuple, kwargs: dict) -> None:
    x, rank = args[0], args[0].dim()
    order = list(range(rank))
    if func.overloadpacket is aten.permute:
        order = [axis % rank for axis in args[1]]
    elif func.overloadpacket is aten.numpy_T:
        order.reverse()
    elif rank > 1:
        first, second = args[1:3] if len(args) > 2 else (-2, -1)
        order[first % rank], order[second % rank] = second % rank, first % rank
    if order == [1, 0] and recorder.is_state(x):
        return recorder.remember_transposed(result, x)
    moved = [axis for axis in order if x.shape[axis] != 1]
    if moved == sorted(moved):
        return view(recorder, func, result, args, kwargs)
    return exactly(recorder, "permute", result, [x], axes=order)


def cat(recorder: Recorder, func: Any, result: Tensor, args: tuple, kwargs: dict) -> None:
    given, axis = list(args[0]), (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % max(result.dim(), 1)
    name = axis_name(result.dim(), axis) if batched(result.shape) else None
    if name is None or any(tensor.dim() != result.dim() for tensor in given):
        return call(recorder, func, result, args, kwargs)
    found = [recorder.pending(tensor) for tensor in given]
    pixels = result.dim() == 4 and vector(result.shape) != result.shape
    if (
        pixels
        and axis == 1
        and all(sizes == vector(tensor.shape) for (_, sizes), tensor in zip(found, given, strict=True))
    ):
        values, sizes = [value for value, _ in found], vector(result.shape)
    else:
        values, sizes = [_part(recorder, tensor) for tensor in given], tuple(result.shape)
    shape = shape_of(result.shape)
    kind = Kind("concat", (shape,), (shape,), extra=as_extra(axis=None if name == "channels" else name))
    return recorder.bind(result, recorder.node(kind, values), sizes)


def _part(recorder: Recorder, tensor: Tensor) -> Any:
    """A part of a concatenation: a constant is repeated for each sample there, a (B, C) is an image of one pixel."""
    value, sizes = recorder.pending(tensor)
    alike = vector(sizes) == vector(tensor.shape) if tensor.dim() == 4 else sizes == tensor.shape
    if alike or (len(sizes) == tensor.dim() and sizes == (1, *tensor.shape[1:])):
        return value
    return recorder.exact(tensor)


def _range(recorder: Recorder, result: Tensor, x: Tensor, axis: int, first: int, last: int) -> None:
    """What lies from `first` to below `last` along an axis; the result may lack that axis."""
    if first == 0 and last == x.shape[axis]:
        return view(recorder, aten.view.default, result, (x,), {})
    kept = torch.empty((*x.shape[:axis], last - first, *x.shape[axis + 1 :]), dtype=x.dtype, device="meta")
    name = axis_name(x.dim(), axis) if batched(x.shape) else None
    if name is None:
        call(recorder, aten.slice.Tensor, kept, (x, axis, first, last), {})
        return recorder.bind(result, *recorder.pending(kept))
    value, sizes = recorder.loose(x)
    extra = as_extra(axis=name, first=first, last=last)
    node = recorder.node(Kind("slice", (shape_of(x.shape),), (shape_of(kept.shape),), extra=extra), [value])
    return recorder.bind(result, node, (*sizes[:axis], last - first, *sizes[axis + 1 :]))


def part_of(recorder: Recorder, func: Any, result: Tensor, args: tuple, kwargs: dict) -> None:
    x, axis, first, _, step = filled(func, args, kwargs)
    axis, first = axis % x.dim(), first or 0
    size = x.shape[axis]
    first = max(first + size, 0) if first < 0 else min(first, size)
    if result.shape == x.shape and step == 1:
        return view(recorder, func, result, args, kwargs)
    if step != 1 or (axis == 0 and batched(x.shape)) or not result.numel():
        return call(recorder, func, result, args, kwargs)
    return _range(recorder, result, x, axis, first, first + result.shape[axis])


def select(recorder: Recorder, func: Any, result: Tensor, args: tuple, kwargs: dict) -> None:
    x, axis, place = args
    axis = axis % x.dim()
    if axis == 0 and batched(x.shape):
        return call(recorder, func, result, args, kwargs)
    place = place % x.shape[axis]
    return _range(recorder, result, x, axis, place, place + 1)


def split(recorder: Recorder, func: Any, result: Any, args: tuple, kwargs: dict) -> None:
    """chunk, split, unbind: one slice for each part."""
    x = args[0]
    unbind = func.overloadpacket is aten.unbind
    axis = (kwargs.get("dim", 0) if len(args) < 3 - unbind else args[2 - unbind]) % x.dim()
    if axis == 0 and batched(x.shape):
        return call(recorder, func, result, args, kwargs)
    first = 0
    for part in result:
        last = first + (1 if unbind else part.shape[axis])
        _range(recorder, part, x, axis, first, last)
        first = last
    return None


def zeros(recorder: Recorder, func: Any, result: Tensor, args: tuple, kwargs: dict) -> None:
    """Zeros as large as an activation; zeros without a batch are made anew."""
    like = func.overloadpacket is aten.zeros_like
    shape = shape_of(result.shape)
    default = (BATCH, *default_sizes(shape))
    plain = result.dtype == args[0].dtype if like else vector(result.shape) == default
    if not plain or not result.is_floating_point() or not batched(result.shape):
        return call(recorder, func, result, args, kwargs)
    value, sizes = recorder.loose(args[0]) if like else (None, default)
    kind = Kind("zero", (shape,) if like else (), (shape,))
    return recorder.bind(result, recorder.node(kind, [] if value is None else [value]), sizes)


def nothing(recorder: Recorder, func: Any, result: Any, args: tuple, kwargs: dict) -> None:
    """Memory that is given back."""
