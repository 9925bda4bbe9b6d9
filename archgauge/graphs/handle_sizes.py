"""Tracing of operations that change height and width."""

from typing import Any

import torch
from torch import Tensor

from archgauge.graphs.handlers_common import (
    call,
    exactly,
    filled,
    pair,
)
from archgauge.graphs.layouts import copies, shape_of
from archgauge.graphs.operations import Kind, as_extra
from archgauge.graphs.recorder import Recorder

aten = torch.ops.aten


def _pool(recorder: Recorder, operation: str, result: Tensor, x: Tensor, sizes: tuple, counts_padding: bool) -> None:
    """`sizes` are kernel, stride and padding."""
    kernel, stride, padding = (pair(size) for size in (sizes[0], sizes[1] or sizes[0], sizes[2]))
    steps = zip(x.shape[2:], kernel, stride, padding, strict=True)
    floor = [(size + 2 * around - span) // step + 1 for size, span, step, around in steps]
    hangs_over, counts = floor != list(result.shape[2:]), counts_padding and any(padding)
    extra = as_extra(ceil=hangs_over or None, counts_padding=counts or None)
    shapes = (shape_of(x.shape),), (shape_of(result.shape),)
    kind = Kind(operation, *shapes, kernel, stride, padding, (1, 1), extra=extra)
    recorder.bind(result, recorder.node(kind, [recorder.loose(x)[0]]))


def max_pool(recorder: Recorder, func: Any, result: Any, args: tuple, kwargs: dict) -> None:
    x, kernel, stride, padding, dilation, _ = filled(func, args, kwargs)
    output = result if isinstance(result, Tensor) else result[0]
    if pair(dilation) != (1, 1) or x.dim() != 4 or not _without_indices(recorder, result):
        return call(recorder, func, result, args, kwargs)
    return _pool(recorder, "max_pool", output, x, (kernel, stride, padding), False)


def _without_indices(recorder: Recorder, result: Any) -> bool:
    """Whether nothing reads where the maxima were, so that the pool is one of the vocabulary."""
    return isinstance(result, Tensor) or recorder.leave_out(result[1])


def avg_pool(recorder: Recorder, func: Any, result: Tensor, args: tuple, kwargs: dict) -> None:
    x, kernel, stride, padding, _, counts_padding, divisor = filled(func, args, kwargs)
    if divisor is not None or x.dim() != 4:
        return call(recorder, func, result, args, kwargs)
    return _pool(recorder, "avg_pool", result, x, (kernel, stride, padding), counts_padding)


def adaptive_pool(recorder: Recorder, func: Any, result: Any, args: tuple, kwargs: dict) -> None:
    """An adaptive pool whose windows all have one size is an ordinary one."""
    x = args[0]
    average = func.overloadpacket in (aten.adaptive_avg_pool2d, aten._adaptive_avg_pool2d)
    output = result if isinstance(result, Tensor) else result[0]
    before, after = x.shape[-2:], output.shape[-2:]
    divides = not any(b % a for b, a in zip(before, after, strict=True))
    if x.dim() != 4 or not copies(x.shape) or not divides or not _without_indices(recorder, result):
        return call(recorder, func, result, args, kwargs)
    if average and tuple(after) == (1, 1):
        return _global_pool(recorder, output, x)
    kernel = [b // a for b, a in zip(before, after, strict=True)]
    return _pool(recorder, "avg_pool" if average else "max_pool", output, x, (kernel, kernel, 0), False)


def _global_pool(recorder: Recorder, result: Tensor, x: Tensor) -> None:
    before = shape_of(x.shape)
    kind = Kind("global_avg_pool", (before,), ((1, 1, before[2]),))
    recorder.bind(result, recorder.node(kind, [recorder.loose(x)[0]]), tuple(x.shape[:2]))


def mean(recorder: Recorder, func: Any, result: Tensor, args: tuple, kwargs: dict) -> None:
    x = args[0]
    axes = args[1] if len(args) > 1 else kwargs.get("dim")
    axes = [axes] if isinstance(axes, int) else axes or []
    if x.dim() != 4 or not copies(x.shape) or sorted(axis % 4 for axis in axes) != [2, 3] or "dtype" in kwargs:
        return call(recorder, func, result, args, kwargs)
    return _global_pool(recorder, result, x)


def maximum(recorder: Recorder, func: Any, result: Tensor, args: tuple, kwargs: dict) -> None:
    """The largest element of each image is a pool with one window."""
    x, axes, _ = filled(func, args, kwargs)
    if x.dim() != 4 or not copies(x.shape) or sorted(axis % 4 for axis in axes) != [2, 3]:
        return call(recorder, func, result, args, kwargs)
    pooled = torch.empty((*x.shape[:2], 1, 1), dtype=x.dtype, device="meta")
    _pool(recorder, "max_pool", pooled, x, (x.shape[2:], x.shape[2:], 0), False)
    return recorder.bind(result, *recorder.pending(pooled))


def pad(recorder: Recorder, func: Any, result: Tensor, args: tuple, kwargs: dict) -> None:
    x, frame = args[:2]
    others = [item for item in (*args[2:], *kwargs.values()) if item not in (None, "constant")]
    if x.dim() != 4 or len(frame) > 6 or min(frame) < 0 or any(others):
        return call(recorder, func, result, args, kwargs)
    frame = [*frame, *[0] * (6 - len(frame))]
    kind_extra = as_extra(frame=frame if any(frame[4:]) else frame[:4])
    kind = Kind("pad", (shape_of(x.shape),), (shape_of(result.shape),), extra=kind_extra)
    return recorder.bind(result, recorder.node(kind, [recorder.exact(x)]))


def nearest(recorder: Recorder, func: Any, result: Tensor, args: tuple, kwargs: dict) -> None:
    before, after = shape_of(args[0].shape), shape_of(result.shape)
    scale = after[0] // before[0]
    if after != (before[0] * scale, before[1] * scale, before[2]):
        return call(recorder, func, result, args, kwargs)
    kind = Kind("upsample", (before,), (after,), extra=as_extra(scale=scale))
    return recorder.bind(result, recorder.node(kind, [recorder.exact(args[0])]))


def bilinear(recorder: Recorder, func: Any, result: Tensor, args: tuple, kwargs: dict) -> None:
    x, _, aligned, *scales = filled(func, args, kwargs)
    scales = [scale for scale in (scales[0] if isinstance(scales[0], list | tuple) else scales) or [] if scale]
    if any(size * scale != after for size, scale, after in zip(x.shape[2:], scales, result.shape[2:], strict=False)):
        return call(recorder, func, result, args, kwargs)
    return exactly(recorder, "interpolate", result, [x], aligned=bool(aligned))
