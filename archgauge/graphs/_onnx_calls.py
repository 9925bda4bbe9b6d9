"""What all operators of ONNX share: reading their settings, and the node of one outside the vocabulary."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from archgauge.graphs._onnx_file import Call, Dims, Operand
from archgauge.graphs._onnx_recorder import OnnxRecorder
from archgauge.graphs.builder import Value
from archgauge.graphs.layouts import Sizes, shape_of
from archgauge.graphs.operations import Kind, Pair, as_extra

Handler = Callable[[OnnxRecorder, Call], None]


def as_other(run: OnnxRecorder, call: Call, macs: int | None = None) -> None:
    """An operation outside the vocabulary; small constants are arguments.

    Args:
        macs: multiply-adds with a weight in one sample, where there are some.
    """
    taken = [operand for operand in call.operands if operand is not None]
    numbers = [operand for operand in taken if operand.constant and not operand.weight and operand.value is not None]
    inputs = [operand for operand in taken if operand not in numbers]
    settings: list[Any] = [operand.value.tolist() for operand in numbers if operand.value is not None]
    extra = as_extra(name=call.operation, arguments=settings, keywords=call.attributes, macs=macs)
    outputs = tuple(shape_of(run.result(call, number)) for number in range(len(call.outputs)))
    values = [run.exact(operand) for operand in inputs]
    node = run.build.node(Kind("other", tuple(map(run.build.shape, values)), outputs, extra=extra), values)
    for number, name in enumerate(call.outputs):
        run.bind(name, (node, number) if number else node, run.result(call, number))


def held_or_other(
    run: OnnxRecorder, call: Call, kind: Kind, value: Value, sizes: Sizes, **state: Operand | None
) -> None:
    """A layer that holds its weights, or an "other" that reads them where they belong to others too."""
    node = run.layer(kind, value, **state)
    if node is None:
        return as_other(run, call)
    return run.bind(call.outputs[0], node, sizes)


def first_operand(call: Call) -> Operand:
    operand = call.operands[0]
    assert operand is not None
    return operand


def operand_at(call: Call, place: int) -> Operand | None:
    return call.operands[place] if place < len(call.operands) else None


def setting(call: Call, place: int, name: str) -> list | None:
    """A setting that older operators have as an attribute and newer ones as an input; None when it is not there."""
    operand = operand_at(call, place)
    if operand is None:
        given = call.attributes.get(name)
        return given if given is None or isinstance(given, list) else [given]
    return None if operand.value is None else operand.value.ravel().tolist()


def as_number(operand: Operand | None) -> float | None:
    """A constant that is one number and no weight, as the shortest one that float32 rounds to it."""
    if operand is None or operand.weight or operand.value is None or operand.value.size != 1:
        return None
    return float(str(np.float32(operand.value.item())))


def window(call: Call, kernel: Sequence[int]) -> tuple[Pair, Pair, Pair]:
    """(kernel, stride, dilation) of a convolution or a pool of images."""
    sizes = call.attributes.get("kernel_shape", list(kernel))
    stride, dilation = (call.attributes.get(name, [1, 1]) for name in ("strides", "dilations"))
    return (sizes[0], sizes[1]), (stride[0], stride[1]), (dilation[0], dilation[1])


def padding_around(call: Call, sizes: Dims, kernel: Pair, stride: Pair, dilation: Pair) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of the padding."""
    mode = call.attributes.get("auto_pad", "NOTSET")
    if not mode.startswith("SAME"):
        top, left, bottom, right = call.attributes.get("pads", [0] * 4) if mode == "NOTSET" else [0] * 4
        return top, left, bottom, right
    axes = zip(sizes, kernel, stride, dilation, strict=True)
    total = [max((-(-size // step) - 1) * step + (span - 1) * gap + 1 - size, 0) for size, span, step, gap in axes]
    less, more = [each // 2 for each in total], [each - each // 2 for each in total]
    before, after = (less, more) if mode == "SAME_UPPER" else (more, less)
    return before[0], before[1], after[0], after[1]


def keep_axes(run: OnnxRecorder, call: Call, operation: str, **settings: Any) -> None:
    """An operation on the first input alone, with just its axes."""
    x, result = first_operand(call), run.result(call)
    kind = Kind(operation, (shape_of(run.sizes(x.dims)),), (shape_of(result),), extra=as_extra(**settings))
    run.bind(call.outputs[0], run.build.node(kind, (run.exact(x),)), result)
