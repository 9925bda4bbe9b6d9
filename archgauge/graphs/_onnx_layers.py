"""How ONNX's layers and what works element by element become nodes."""

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from archgauge.graphs._onnx_calls import (
    Handler,
    as_number,
    as_other,
    first_operand,
    held_or_other,
    operand_at,
    padding_around,
    setting,
    window,
)
from archgauge.graphs._onnx_file import Call, Operand
from archgauge.graphs._onnx_recorder import OnnxRecorder
from archgauge.graphs.builder import Value
from archgauge.graphs.layouts import Sizes, broadcast_sizes, channels_last, copies, leading, shape_of, vector
from archgauge.graphs.operations import LEAKY_RELU_SLOPE, NORM_EPS, Kind, as_extra

# Layers


def _conv(run: OnnxRecorder, call: Call) -> None:
    x, weight, bias = first_operand(call), operand_at(call, 1), operand_at(call, 2)
    transposed = call.operation == "ConvTranspose"
    if len(x.dims) != 4 or weight is None or not weight.constant:
        macs = None if weight is None else prod(x.dims if transposed else call.dims[0] or ()) * prod(weight.dims[1:])
        return as_other(run, call, macs)
    kernel, stride, dilation = window(call, weight.dims[2:])
    top, left, bottom, right = padding_around(call, x.dims[2:], kernel, stride, dilation)
    value, before, padding = run.loose(x)[0], shape_of(run.sizes(x.dims)), (top, left)
    if (top, left) != (bottom, right):
        if transposed:
            return as_other(run, call)
        value, padding = run.build.pad(run.exact(x), left, right, top, bottom), (0, 0)
        before = run.build.shape(value)
    grown = call.attributes.get("output_padding", [0, 0])
    kind = Kind(
        "conv_transpose" if transposed else "conv",
        (before,),
        (shape_of(run.result(call)),),
        kernel,
        stride,
        padding,
        dilation,
        call.attributes.get("group", 1),
        _is_weight(bias),
        extra=as_extra(output_padding=grown if any(grown) else None, copies=_several(run, x)),
    )
    return run.bind(call.outputs[0], run.held_or_read(kind, value, weight, bias), run.result(call))


def _is_weight(operand: Operand | None) -> bool:
    return operand is not None and operand.weight is not None


def _gemm(run: OnnxRecorder, call: Call) -> None:
    x, weight, bias = first_operand(call), operand_at(call, 1), operand_at(call, 2)
    plain = call.attributes.get("alpha", 1.0) == call.attributes.get("beta", 1.0) == 1.0
    if weight is None or not weight.constant or x.constant or not plain or call.attributes.get("transA", 0):
        return as_other(run, call)
    return _linear(run, call, x, weight, bias)


def _linear(run: OnnxRecorder, call: Call, x: Operand, weight: Operand, bias: Operand | None) -> None:
    own, result = run.own(x), run.result(call)
    before = channels_last(own)
    value, sizes = run.loose(x) if before == shape_of(own) else (run.exact(x), own)
    kind = Kind("linear", (before,), (channels_last(result),), bias=_is_weight(bias))
    node = run.held_or_read(kind, value, weight, bias)
    run.bind(call.outputs[0], node, (*(vector(sizes) if before[:2] == (1, 1) else sizes)[:-1], result[-1]))


def _matmul(run: OnnxRecorder, call: Call) -> None:
    x, weight = first_operand(call), operand_at(call, 1)
    if weight is None or not weight.constant or len(weight.dims) != 2 or x.constant:
        fixed = x.constant or (weight is not None and weight.constant)
        return _exactly(run, call, "matmul", macs=prod(call.dims[0] or ()) * x.dims[-1] if fixed else None)
    follower = run.only_reader(call)
    terms = [operand for operand in follower.operands if operand] if follower and follower.operation == "Add" else []
    bias = next((term for term in terms if term.weight and term.dims == weight.dims[1:]), None)
    _linear(run, call, x, weight, bias)
    if bias is not None and follower is not None:
        run.bind(follower.outputs[0], *run.pending(Operand(call.outputs[0], (), False)))
    return None


def _einsum(run: OnnxRecorder, call: Call) -> None:
    """A product and sum over named axes."""
    terms = [operand for operand in call.operands if operand is not None]
    names = call.attributes["equation"].replace(" ", "").split("->")[0].split(",")
    if len(terms) != 2 or terms[0].constant == terms[1].constant or "." in call.attributes["equation"]:
        return as_other(run, call)
    size = dict(pair for each, term in zip(names, terms, strict=True) for pair in zip(each, term.dims, strict=True))
    return as_other(run, call, prod(size.values()))


# Normalisations


def _eps(call: Call) -> float | None:
    eps = call.attributes.get("epsilon", NORM_EPS)
    return None if eps == NORM_EPS else eps


def _several(run: OnnxRecorder, x: Operand) -> int | None:
    """How many images of one sample a layer runs over, where it is not one."""
    several = copies(run.sizes(x.dims))
    return None if several == 1 else several


def _batch_norm(run: OnnxRecorder, call: Call) -> None:
    x, scale, shift, mean, variance = call.operands[:5]
    assert x is not None
    node = None
    if len(x.dims) in (2, 4):
        value, sizes = run.loose(x)
        shape = shape_of(run.sizes(x.dims))
        extra = as_extra(eps=_eps(call), copies=_several(run, x))
        kind = Kind("batch_norm", (shape,), (shape,), affine=_is_weight(scale), extra=extra)
        node = run.layer(kind, value, weight=scale, bias=shift, running_mean=mean, running_var=variance)
    if node is None:
        running = [each and replace(each, weight=None, value=None) for each in (mean, variance)]  # not trainable
        return as_other(run, replace(call, operands=(x, scale, shift, *running)))
    return run.bind(call.outputs[0], node, sizes)


def _layer_norm(run: OnnxRecorder, call: Call) -> None:
    x, weight, bias = first_operand(call), operand_at(call, 1), operand_at(call, 2)
    if call.attributes.get("axis", -1) % len(x.dims) != len(x.dims) - 1 or any(map(run.is_read, call.outputs[1:])):
        return as_other(run, call)
    shape, extra = channels_last(run.sizes(x.dims)), as_extra(eps=_eps(call))
    kind = Kind("layer_norm", (shape,), (shape,), bias=_is_weight(bias), affine=_is_weight(weight), extra=extra)
    return held_or_other(run, call, kind, run.exact(x), run.sizes(x.dims), weight=weight, bias=bias)


def _instance_norm(run: OnnxRecorder, call: Call) -> None:
    x, weight, bias = first_operand(call), operand_at(call, 1), operand_at(call, 2)
    if len(x.dims) != 4:
        return as_other(run, call)
    shape, extra = shape_of(run.sizes(x.dims)), as_extra(eps=_eps(call), copies=_several(run, x))
    kind = Kind("instance_norm", (shape,), (shape,), affine=_is_weight(weight), extra=extra)
    return held_or_other(run, call, kind, run.exact(x), run.sizes(x.dims), weight=weight, bias=bias)


# Element by element


def _unary(run: OnnxRecorder, call: Call, operation: str, **settings: Any) -> None:
    x = first_operand(call) if not first_operand(call).constant else call.operands[1]
    assert x is not None
    value, sizes = run.loose(x)
    shapes = (shape_of(run.sizes(x.dims)),), (shape_of(run.result(call)),)
    node = run.build.node(Kind(operation, *shapes, extra=as_extra(**settings)), (value,))
    run.bind(call.outputs[0], node, sizes)


def _activation(operation: str) -> Handler:
    def handle(run: OnnxRecorder, call: Call) -> None:
        if set(call.attributes.values()) - {"none", 1.0}:  # gelu's approximation, swish's alpha
            return as_other(run, call)
        return _unary(run, call, operation)

    return handle


def _sigmoid(run: OnnxRecorder, call: Call) -> None:
    x, follower = first_operand(call), run.only_reader(call)
    if follower and follower.operation == "Mul" and x.name in [term.name for term in follower.operands if term]:
        _unary(run, call, "silu")
        run.bind(follower.outputs[0], *run.pending(Operand(call.outputs[0], (), False)))
    else:
        _unary(run, call, "sigmoid")


def _clip(run: OnnxRecorder, call: Call) -> None:
    low, high = setting(call, 1, "min"), setting(call, 2, "max")
    return _unary(run, call, "relu6") if (low, high) == ([0.0], [6.0]) else as_other(run, call)


def _hard_sigmoid(run: OnnxRecorder, call: Call) -> None:
    alpha, beta = call.attributes.get("alpha", 0.2), call.attributes.get("beta", 0.5)
    same = np.float32(alpha) == np.float32(1 / 6) and beta == 0.5
    return _unary(run, call, "hardsigmoid") if same else as_other(run, call)


def _leaky_relu(run: OnnxRecorder, call: Call) -> None:
    slope = call.attributes.get("alpha", LEAKY_RELU_SLOPE)
    _unary(run, call, "leaky_relu", slope=None if slope == LEAKY_RELU_SLOPE else slope)


def _prelu(run: OnnxRecorder, call: Call) -> None:
    x, weight = first_operand(call), operand_at(call, 1)
    if weight is None or not weight.weight or len(x.dims) not in (2, 4):
        return as_other(run, call)
    value, sizes = run.loose(x)
    shape = shape_of(run.sizes(x.dims))
    extra = as_extra(shared=(prod(weight.dims) == 1) or None, copies=_several(run, x))
    kind = Kind("prelu", (shape,), (shape,), extra=extra)
    return held_or_other(run, call, kind, value, sizes, weight=weight)


def _exactly(run: OnnxRecorder, call: Call, operation: str, **settings: Any) -> None:
    """An operation that reads its inputs with just their axes."""
    values = [run.exact(operand) for operand in call.operands if operand is not None]
    shapes = tuple(map(run.build.shape, values)), (shape_of(run.result(call)),)
    run.bind(
        call.outputs[0], run.build.node(Kind(operation, *shapes, extra=as_extra(**settings)), values), run.result(call)
    )


_ONE_AXIS = 13
"""The version from which a softmax is along one axis; before, it is along that axis and all behind it together."""


def _softmax(run: OnnxRecorder, call: Call) -> None:
    rank, flattens = len(first_operand(call).dims), call.version < _ONE_AXIS
    axis = call.attributes.get("axis", 1 if flattens else -1) % rank
    if flattens and axis != rank - 1:
        return as_other(run, replace(call, attributes={"axis": axis}))
    return _exactly(run, call, "softmax", axis=axis)


_BINARY = {"Add": "add", "Sum": "add", "Mul": "mul", "Sub": "sub", "Div": "div"}


def _binary(run: OnnxRecorder, call: Call) -> None:
    terms = [operand for operand in call.operands if operand is not None]
    operation, numbers = _BINARY[call.operation], [as_number(term) for term in terms]
    if any(number is not None for number in numbers):
        return _with_number(run, call, operation, numbers)
    values, sizes = _together(run, terms, run.result(call))
    shape = shape_of(run.result(call))
    inputs = (shape,) if operation in ("add", "mul") else tuple(map(run.build.shape, values))
    return run.bind(call.outputs[0], run.build.node(Kind(operation, inputs, (shape,)), values), sizes)


def _with_number(run: OnnxRecorder, call: Call, operation: str, numbers: list[float | None]) -> None:
    first, second = (*numbers, None)[:2]
    match operation:
        case "add" if len(numbers) == 2:
            return _unary(run, call, "shift", by=first if second is None else second)
        case "mul":
            return _unary(run, call, "scale", by=first if second is None else second)
        case "sub" if second is not None:
            return _unary(run, call, "shift", by=-second)
        case "div" if second:
            return _unary(run, call, "scale", by=1 / second)
    return as_other(run, call)


def _together(run: OnnxRecorder, terms: list[Operand], result: Sizes) -> tuple[list[Value], Sizes]:
    """The values of terms that are broadcast to a result, and its sizes."""
    found = [run.pending(term) for term in terms]
    sizes = broadcast_sizes([sizes for _, sizes in found], [run.own(term) for term in terms], result)
    if sizes is not None:
        return [value for value, _ in found], sizes
    rank = len(result)
    flat = [len(term.dims) == 2 < rank for term in terms]  # would be taken for vectors
    full = zip(terms, flat, strict=True)
    return [run.exact(replace(term, dims=leading(term.dims, rank)) if each else term) for term, each in full], result


_ACTIVATIONS = {"Relu": "relu", "Tanh": "tanh", "Gelu": "gelu", "HardSwish": "hardswish", "Swish": "silu"}
LAYERS: dict[str, Handler] = {
    **{name: _activation(operation) for name, operation in _ACTIVATIONS.items()},
    **dict.fromkeys(("Conv", "ConvTranspose"), _conv),
    **dict.fromkeys(_BINARY, _binary),
    "Gemm": _gemm,
    "MatMul": _matmul,
    "BatchNormalization": _batch_norm,
    "Einsum": _einsum,
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "Sigmoid": _sigmoid,
    "Clip": _clip,
    "HardSigmoid": _hard_sigmoid,
    "LeakyRelu": _leaky_relu,
    "PRelu": _prelu,
    "Softmax": _softmax,
}
