"""How ONNX's pools, resizings, views and parts become nodes."""

from math import prod

from archgauge.graphs._onnx_calls import (
    Handler,
    as_other,
    first_operand,
    held_or_other,
    keep_axes,
    operand_at,
    padding_around,
    setting,
    window,
)
from archgauge.graphs._onnx_file import Call, Operand
from archgauge.graphs._onnx_recorder import OnnxRecorder
from archgauge.graphs.builder import Value
from archgauge.graphs.layouts import BATCH, Sizes, axis_name, channels_last, shape_of, vector
from archgauge.graphs.operations import Kind, as_extra

# Pools and sizes


def _pool(run: OnnxRecorder, call: Call) -> None:
    x, result = first_operand(call), run.result(call)
    if len(x.dims) != 4:
        return as_other(run, call)
    kernel, stride, dilation = window(call, ())
    top, left, bottom, right = padding_around(call, x.dims[2:], kernel, stride, dilation)
    if (top, left) != (bottom, right) or dilation != (1, 1) or any(map(run.is_read, call.outputs[1:])):
        return as_other(run, call)
    steps = zip(x.dims[2:], kernel, stride, (top, left), strict=True)
    floor = tuple((size + 2 * edge - span) // step + 1 for size, span, step, edge in steps)
    counts = bool(call.attributes.get("count_include_pad", 0)) and (top, left) != (0, 0)
    extra = as_extra(ceil=(floor != result[2:]) or None, counts_padding=counts or None)
    operation = {"MaxPool": "max_pool", "AveragePool": "avg_pool"}[call.operation]
    shapes = (shape_of(run.sizes(x.dims)),), (shape_of(result),)
    kind = Kind(operation, *shapes, kernel, stride, (top, left), (1, 1), extra=extra)
    return run.bind(call.outputs[0], run.build.node(kind, (run.loose(x)[0],)), result)


def _mean(run: OnnxRecorder, call: Call) -> None:
    x = first_operand(call)
    axes = [2, 3] if call.operation == "GlobalAveragePool" else setting(call, 1, "axes")
    if len(x.dims) != 4 or axes is None or sorted(axis % 4 for axis in axes) != [2, 3]:
        return as_other(run, call)
    before = shape_of(run.sizes(x.dims))
    kind = Kind("global_avg_pool", (before,), ((1, 1, before[2]),))
    return run.bind(call.outputs[0], run.build.node(kind, (run.loose(x)[0],)), run.sizes(x.dims)[:2])


def _maximum(run: OnnxRecorder, call: Call) -> None:
    """The largest element of each image is a pool with one window."""
    x, axes = first_operand(call), setting(call, 1, "axes")
    if len(x.dims) != 4 or axes is None or sorted(axis % 4 for axis in axes) != [2, 3]:
        return as_other(run, call)
    height, width = x.dims[2:]
    sizes = (*run.sizes(x.dims)[:2], 1, 1)
    shapes = (shape_of(run.sizes(x.dims)),), (shape_of(sizes),)
    kind = Kind("max_pool", *shapes, (height, width), (height, width), (0, 0), (1, 1))
    return run.bind(call.outputs[0], run.build.node(kind, (run.loose(x)[0],)), sizes)


def _pad(run: OnnxRecorder, call: Call) -> None:
    x, frame, value, axes = (
        first_operand(call),
        setting(call, 1, "pads"),
        setting(call, 2, "value"),
        operand_at(call, 3),
    )
    mode = call.attributes.get("mode", "constant")
    if len(x.dims) != 4 or frame is None or mode != "constant" or any(value or ()) or axes is not None:
        return as_other(run, call)
    sample, channels, top, left, *behind = frame
    if sample or behind[0] or min(frame) < 0:
        return as_other(run, call)
    sides = [left, behind[3], top, behind[2], channels, behind[1]]
    return keep_axes(run, call, "pad", frame=sides if any(sides[4:]) else sides[:4])


def _resize(run: OnnxRecorder, call: Call) -> None:
    x = first_operand(call)
    before, after = shape_of(run.sizes(x.dims)), shape_of(run.result(call))
    scale = after[0] // before[0]
    repeats = after == (before[0] * scale, before[1] * scale, before[2])
    how = call.attributes.get("coordinate_transformation_mode", "half_pixel")
    match call.attributes.get("mode", "nearest"):
        case "nearest" if len(x.dims) == 4 and repeats and how != "align_corners":
            return keep_axes(run, call, "upsample", scale=scale)
        case "linear" if len(x.dims) == 4 and how in ("half_pixel", "pytorch_half_pixel", "align_corners"):
            return keep_axes(run, call, "interpolate", aligned=how == "align_corners")
    return as_other(run, call)


# Views and parts


def _gather(run: OnnxRecorder, call: Call) -> None:
    """Gather: rows of a table of weights, or one place along an axis of an activation."""
    x, places = first_operand(call), operand_at(call, 1)
    axis = call.attributes.get("axis", 0) % len(x.dims)
    assert places is not None
    if x.weight and axis == 0 and len(x.dims) == 2 and not places.constant:
        shapes = (shape_of(run.sizes(places.dims)),), (channels_last(run.result(call)),)
        kind = Kind("embedding", *shapes, extra=as_extra(rows=x.dims[0]))
        return held_or_other(run, call, kind, run.exact(places), run.result(call), weight=x)
    if x.constant or places.value is None or places.dims:
        return as_other(run, call)
    place = int(places.value) % x.dims[axis]
    value = _range(run, x, axis, place, place + 1)
    return as_other(run, call) if value is None else run.bind(call.outputs[0], *value)


def _view(run: OnnxRecorder, call: Call) -> None:
    """The same numbers in the same order: a node only where something needs the new sizes."""
    x, dims = first_operand(call), call.dims[0]
    if dims is None or prod(dims) != prod(x.dims):
        return as_other(run, call)
    return run.bind(call.outputs[0], *run.pending(x))


def _expand(run: OnnxRecorder, call: Call) -> None:
    """A broadcast: a node only where something needs the new sizes."""
    x = first_operand(call)
    value, sizes = run.pending(x)
    own = x.dims if x.constant else run.sizes(x.dims)
    if len(own) != len(run.result(call)) or vector(sizes) != vector(own):
        value, sizes = run.exact(x), own
    run.bind(call.outputs[0], value, sizes)


def _permute(run: OnnxRecorder, call: Call) -> None:
    x = first_operand(call)
    order = [axis % len(x.dims) for axis in call.attributes.get("perm", range(len(x.dims))[::-1])]
    moved = [axis for axis in order if run.sizes(x.dims)[axis] != 1]
    return _view(run, call) if moved == sorted(moved) else keep_axes(run, call, "permute", axes=order)


def _concat(run: OnnxRecorder, call: Call) -> None:
    result, parts = run.result(call), [operand for operand in call.operands if operand is not None]
    name = axis_name(len(result), call.attributes.get("axis", 1) % len(result)) if result[:1] == (BATCH,) else None
    if name is None:
        return as_other(run, call)
    found = [run.pending(part) for part in parts]
    pixels = len(result) == 4 and vector(result) != result and name == "channels"
    if pixels and all(sizes == vector(run.sizes(part.dims)) for (_, sizes), part in zip(found, parts, strict=True)):
        values, sizes = [value for value, _ in found], vector(result)
    else:
        values, sizes = [run.exact(part) for part in parts], result
    kind = Kind(
        "concat", (shape_of(result),), (shape_of(result),), extra=as_extra(axis=None if name == "channels" else name)
    )
    return run.bind(call.outputs[0], run.build.node(kind, values), sizes)


def _range(run: OnnxRecorder, x: Operand, axis: int, first: int, last: int) -> tuple[Value, Sizes] | None:
    """What lies from `first` to below `last` along an axis; None where the axis has no name."""
    own = run.sizes(x.dims)
    if (first, last) == (0, own[axis]):
        return run.pending(x)
    name = axis_name(len(own), axis) if own[0] == BATCH else None
    if name is None:
        return None
    value, sizes = run.loose(x)
    kept = (*own[:axis], last - first, *own[axis + 1 :])
    extra = as_extra(axis=name, first=first, last=last)
    node = run.build.node(Kind("slice", (shape_of(own),), (shape_of(kept),), extra=extra), (value,))
    return node, (*sizes[:axis], last - first, *sizes[axis + 1 :])


def _slice(run: OnnxRecorder, call: Call) -> None:
    x = first_operand(call)
    starts, ends, axes, steps = (
        setting(call, 1 + i, name) for i, name in enumerate(("starts", "ends", "axes", "steps"))
    )
    if starts is None or ends is None or any(step != 1 for step in steps or ()):
        return as_other(run, call)
    dims = list(x.dims)
    for axis, start, end in zip(range(len(starts)) if axes is None else axes, starts, ends, strict=True):
        first, last, _ = slice(start, end).indices(dims[axis])
        found = _range(run, x, axis % len(dims), first, last)
        if found is None or first >= last:
            return as_other(run, call)
        dims[axis] = last - first
        x = Operand(f"{call.outputs[0]}/{axis}", tuple(dims), False)
        run.bind(x.name, *found)
    return run.bind(call.outputs[0], *run.pending(x))


def _split(run: OnnxRecorder, call: Call) -> None:
    x, first = first_operand(call), 0
    axis = call.attributes.get("axis", 0) % len(x.dims)
    if run.sizes(x.dims)[0] != BATCH or axis_name(len(x.dims), axis) is None or None in call.dims:
        return as_other(run, call)
    for number, name in enumerate(call.outputs):
        last = first + run.result(call, number)[axis]
        part = _range(run, x, axis, first, last)
        assert part is not None
        run.bind(name, *part)
        first = last
    return None


VIEWS: dict[str, Handler] = {
    **dict.fromkeys(("Identity", "Dropout", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Cast"), _view),
    **dict.fromkeys(("MaxPool", "AveragePool"), _pool),
    **dict.fromkeys(("GlobalAveragePool", "ReduceMean"), _mean),
    **dict.fromkeys(("Resize", "Upsample"), _resize),
    "ReduceMax": _maximum,
    "Expand": _expand,
    "Gather": _gather,
    "Concat": _concat,
    "Slice": _slice,
    "Split": _split,
    "Pad": _pad,
    "Transpose": _permute,
}
