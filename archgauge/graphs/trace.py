"""From any PyTorch model to its computation graph, by watching the ATen operations of one forward pass.

The pass runs on the meta device: shapes flow, nothing is computed and no weight is allocated; Python control flow is
followed as it runs.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

from archgauge.errors import GraphError
from archgauge.graphs.builder import GraphBuilder, Value
from archgauge.graphs.graph import Graphs
from archgauge.graphs.operations import BATCH_NORM_EPS, LEAKY_RELU_SLOPE, Kind, KindTable, Shape, as_extra

aten = torch.ops.aten


def trace(model: nn.Module, *inputs: Tensor, kinds: KindTable | None = None) -> Graphs:
    """The computation graph of a model's forward pass in evaluation mode.

    Args:
        inputs: what the model is called with, batch axis first; only types and the shape of one sample are used.
        kinds: a table to build over; a new one by default.

    Returns:
        One graph in normal form. An operation outside the vocabulary is a node "other" with its name and arguments.

    Raises:
        GraphError: when the model does not run on these inputs.
    """
    tracer = _Tracer(GraphBuilder(KindTable() if kinds is None else kinds))
    stand_in: dict[int, Tensor] = {}
    state = {
        name: stand_in.setdefault(id(tensor), torch.empty_like(tensor, device="meta"))
        for name, tensor in _named_state(model)
    }
    tracer.watch(model, state)
    examples = [tensor[:1].to("meta") for tensor in inputs]
    for example in examples:
        tracer.bind(example, tracer.builder.input(*_shape(example)))
    try:
        with _evaluating(model), torch.no_grad(), tracer:
            result = functional_call(model, state, tuple(examples), tie_weights=False)
    except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
        raise GraphError(
            "the forward pass of a model to trace",
            where=type(model).__name__,
            expected=f"a pass over inputs of shape {[tuple(tensor.shape) for tensor in inputs]}",
            got=f"{type(error).__name__}: {error}",
            remedy="Check the input shapes; operations that need real values cannot run on the meta device.",
        ) from error
    for output in _tensors(result):
        tracer.builder.output(tracer.value(output))
    return tracer.finish()


class _Tracer(TorchDispatchMode):
    """Turns each operation that is dispatched into a node."""

    def __init__(self, builder: GraphBuilder):
        super().__init__()
        self.builder = builder
        self._values: dict[int, Value] = {}
        self._state: dict[int, Tensor] = {}
        self._alive: list[Any] = []  # ids stay unique only while their tensors live
        self._weight_id: dict[int, int] = {}
        self._trainable: dict[int, int] = {}

    def watch(self, model: nn.Module, state: dict[str, Tensor]) -> None:
        """Know the model's parameters and buffers by their stand-ins."""
        trainable = {name for name, tensor in model.named_parameters(remove_duplicate=False) if tensor.requires_grad}
        for name, tensor in state.items():
            self._state[id(tensor)] = tensor
            if name in trainable:
                self._trainable[id(tensor)] = tensor.numel()
        self._alive.extend(state.values())

    def bind(self, tensor: Tensor, value: Value) -> None:
        """Remember which value a tensor is."""
        self._values[id(tensor)] = value
        self._alive.append(tensor)

    def value(self, tensor: Tensor) -> Value:
        """The value that a tensor is; a parameter or a fresh tensor becomes a constant."""
        if id(tensor) not in self._values:
            root = self.root(tensor)
            trainable = root is not None and id(root) in self._trainable
            kind = Kind("constant", (), (_parameter_shape(tensor),), extra=as_extra(trainable=trainable))
            self.bind(tensor, self.node(kind, [], root))
        return self._values[id(tensor)]

    def root(self, tensor: Tensor | None) -> Tensor | None:
        """The parameter or buffer that a tensor is, or is a plain view of."""
        return None if tensor is None else self._state.get(id(tensor))

    def node(self, kind: Kind, inputs: list[Tensor], *state: Tensor | None) -> int:
        """Add a node that reads `inputs` and holds `state`; nodes that hold one parameter share its weight id."""
        values = [self.value(tensor) for tensor in inputs]
        held = next((root for tensor in state if (root := self.root(tensor)) is not None), None)
        weight_id = -1 if held is None else self._weight_id.setdefault(id(held), len(self._weight_id))
        for tensor in state:
            self._trainable.pop(id(self.root(tensor)), None)
        return self.builder.node(kind, values, weight_id)

    def finish(self) -> Graphs:
        """The graph, with the parameters that no node took counted apart."""
        self.builder.params_outside = sum(self._trainable.values())
        return self.builder.finish()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        handler = _HANDLERS.get(func.overloadpacket, _other)
        handler(self, result, args, kwargs or {}, func)
        return result


def _convolution(tracer: _Tracer, result: Tensor, args, kwargs, func) -> None:
    x, weight, bias, stride, padding, dilation, transposed, output_padding, groups = args
    if x.dim() != 4 or tracer.root(weight) is None:
        return _other(tracer, result, args, kwargs, func)
    kind = Kind(
        "conv_transpose" if transposed else "conv",
        (_shape(x),),
        (_shape(result),),
        tuple(weight.shape[2:]),
        tuple(stride),
        tuple(padding),
        tuple(dilation),
        groups,
        bias is not None,
        extra=as_extra(output_padding=list(output_padding) if any(output_padding) else None),
    )
    return tracer.bind(result, tracer.node(kind, [x], weight, bias))


def _addmm(tracer: _Tracer, result: Tensor, args, kwargs, func) -> None:
    bias, x, weight = args[:3]
    if tracer.root(weight) is None or tracer.root(bias) is None or kwargs:
        return _other(tracer, result, args, kwargs, func)
    kind = Kind("linear", (_shape(x),), (_shape(result),), bias=True)
    return tracer.bind(result, tracer.node(kind, [x], weight, bias))


def _mm(tracer: _Tracer, result: Tensor, args, kwargs, func) -> None:
    x, weight = args
    if tracer.root(weight) is None:
        return _other(tracer, result, args, kwargs, func)
    return tracer.bind(result, tracer.node(Kind("linear", (_shape(x),), (_shape(result),)), [x], weight))


def _batch_norm(tracer: _Tracer, result: tuple[Tensor, ...], args, kwargs, func) -> None:
    x, weight, bias = args[:3]
    eps = args[-1]
    extra = as_extra(eps=None if eps == BATCH_NORM_EPS else eps)
    kind = Kind("batch_norm", (_shape(x),), (_shape(x),), affine=weight is not None, extra=extra)
    tracer.bind(result[0], tracer.node(kind, [x], weight, bias))


def _max_pool(tracer: _Tracer, result: tuple[Tensor, Tensor], args, kwargs, func) -> None:
    x, kernel, stride, padding, dilation, _ = _filled(args, 6, [None, None, [], [0, 0], [1, 1], False])
    if list(dilation) != [1, 1]:
        return _other(tracer, result[0], args, kwargs, func)
    kind = _pool_kind("max_pool", x, result[0], kernel, stride, padding)
    return tracer.bind(result[0], tracer.node(kind, [x]))


def _avg_pool(tracer: _Tracer, result: Tensor, args, kwargs, func) -> None:
    defaults = [None, None, [], [0, 0], False, True, None]
    x, kernel, stride, padding, _, count_padding, divisor = _filled(args, 7, defaults)
    if divisor is not None:
        return _other(tracer, result, args, kwargs, func)
    kind = _pool_kind("avg_pool", x, result, kernel, stride, padding, count_padding)
    return tracer.bind(result, tracer.node(kind, [x]))


def _mean(tracer: _Tracer, result: Tensor, args, kwargs, func) -> None:
    x, axes = args[0], [axis % args[0].dim() for axis in (args[1] if len(args) > 1 and args[1] else [])]
    if x.dim() != 4 or sorted(axes) != [2, 3]:
        return _other(tracer, result, args, kwargs, func)
    return tracer.bind(result, tracer.node(Kind("global_avg_pool", (_shape(x),), (_shape(result),)), [x]))


def _add(tracer: _Tracer, result: Tensor, args, kwargs, func) -> None:
    if kwargs or not all(isinstance(term, Tensor) for term in args[:2]):
        return _other(tracer, result, args, kwargs, func)
    kind = Kind("mul" if func.overloadpacket in _PRODUCTS else "add", (_shape(result),), (_shape(result),))
    return tracer.bind(result, tracer.node(kind, list(args[:2])))


def _cat(tracer: _Tracer, result: Tensor, args, kwargs, func) -> None:
    if (args[1] if len(args) > 1 else 0) % result.dim() != 1 or result.dim() == 3:
        return _other(tracer, result, args, kwargs, func)
    return tracer.bind(result, tracer.node(Kind("concat", (_shape(result),), (_shape(result),)), list(args[0])))


def _slice(tracer: _Tracer, result: Tensor, args, kwargs, func) -> None:
    x, axis, first, _, step = _filled(args, 5, [None, 0, 0, None, 1])
    if result.shape == x.shape:
        return _alias(tracer, result, args, kwargs, func)
    if axis == 0 or x.dim() != 4 or step != 1:
        return _other(tracer, result, args, kwargs, func)
    first = (first or 0) % x.shape[axis]
    name = ("channels", "height", "width")[axis - 1]
    extra = as_extra(axis=name, first=first, last=first + result.shape[axis])
    return tracer.bind(result, tracer.node(Kind("slice", (_shape(x),), (_shape(result),), extra=extra), [x]))


def _pad(tracer: _Tracer, result: Tensor, args, kwargs, func) -> None:
    x, frame, value = _filled(args, 3, [None, None, 0])
    if x.dim() != 4 or len(frame) > 4 or min(frame) < 0 or value:
        return _other(tracer, result, args, kwargs, func)
    extra = as_extra(frame=[*frame, 0, 0][:4])
    return tracer.bind(result, tracer.node(Kind("pad", (_shape(x),), (_shape(result),), extra=extra), [x]))


def _upsample(tracer: _Tracer, result: Tensor, args, kwargs, func) -> None:
    before, after = _shape(args[0]), _shape(result)
    scale = after[0] // before[0]
    if after != (before[0] * scale, before[1] * scale, before[2]):
        return _other(tracer, result, args, kwargs, func)
    kind = Kind("upsample", (before,), (after,), extra=as_extra(scale=scale))
    return tracer.bind(result, tracer.node(kind, [args[0]]))


def _zero(tracer: _Tracer, result: Tensor, args, kwargs, func) -> None:
    inputs = [args[0]] if func.overloadpacket is aten.zeros_like else []
    kind = Kind("zero", tuple(_shape(x) for x in inputs), (_shape(result),))
    tracer.bind(result, tracer.node(kind, inputs))


def _alias(tracer: _Tracer, result: Tensor, args, kwargs, func) -> None:
    """The result is its first argument: a plain view of state, or the same values in the same (H, W, C)."""
    root = tracer.root(args[0])
    if root is not None:
        tracer._state[id(result)] = root
        tracer._alive.append(result)
    elif _shape(args[0]) == _shape(result) or (_is_vector(args[0]) and _is_vector(result)):
        tracer.bind(result, tracer.value(args[0]))
    else:
        _other(tracer, result, args, kwargs, func)


def _activation(operation: str) -> Callable:
    def handle(tracer: _Tracer, result: Tensor, args, kwargs, func) -> None:
        kind = Kind(operation, (_shape(args[0]),), (_shape(result),))
        tracer.bind(result, tracer.node(kind, [args[0]]))

    return handle


def _leaky_relu(tracer: _Tracer, result: Tensor, args, kwargs, func) -> None:
    slope = args[1] if len(args) > 1 else LEAKY_RELU_SLOPE
    extra = as_extra(slope=None if slope == LEAKY_RELU_SLOPE else slope)
    kind = Kind("leaky_relu", (_shape(args[0]),), (_shape(result),), extra=extra)
    tracer.bind(result, tracer.node(kind, [args[0]]))


def _hardtanh(tracer: _Tracer, result: Tensor, args, kwargs, func) -> None:
    handle = _activation("relu6") if tuple(args[1:]) == (0.0, 6.0) else _other
    handle(tracer, result, args, kwargs, func)


def _other(tracer: _Tracer, result, args, kwargs, func) -> None:
    """An operation outside the vocabulary. One that reads no tensor becomes a constant where its result is read."""
    inputs, outputs = list(_tensors((args, kwargs))), list(_tensors(result))
    if not inputs:
        return
    settings = [repr(item) for item in (*args, *kwargs.items()) if not list(_tensors(item))]
    extra = json.dumps({"name": str(func), "arguments": settings}, sort_keys=True)
    kind = Kind("other", tuple(map(_shape, inputs)), tuple(map(_shape, outputs)), extra=extra)
    node = tracer.node(kind, inputs)
    for number, output in enumerate(outputs):
        tracer.bind(output, (node, number) if number else node)


_PRODUCTS = {aten.mul, aten.mul_}
_ALIASES = (
    *(aten.t, aten.detach, aten.alias, aten.clone, aten.lift_fresh),
    *(aten.view, aten._unsafe_view, aten.unsqueeze, aten.squeeze, aten.expand),
)
_HANDLERS: dict[Any, Callable] = {
    aten.convolution: _convolution,
    aten.addmm: _addmm,
    aten.mm: _mm,
    aten.native_batch_norm: _batch_norm,
    aten.cudnn_batch_norm: _batch_norm,
    aten._native_batch_norm_legit_no_training: _batch_norm,
    aten.max_pool2d_with_indices: _max_pool,
    aten.avg_pool2d: _avg_pool,
    aten.mean: _mean,
    aten.add: _add,
    aten.add_: _add,
    aten.mul: _add,
    aten.mul_: _add,
    aten.cat: _cat,
    aten.slice: _slice,
    aten.zeros_like: _zero,
    aten.new_zeros: _zero,
    aten.constant_pad_nd: _pad,
    aten.upsample_nearest2d: _upsample,
    aten.leaky_relu: _leaky_relu,
    aten.leaky_relu_: _leaky_relu,
    aten.hardtanh: _hardtanh,
    aten.hardtanh_: _hardtanh,
    **{
        packet: _activation(operation)
        for operation, packets in {
            "relu": (aten.relu, aten.relu_),
            "sigmoid": (aten.sigmoid, aten.sigmoid_),
            "tanh": (aten.tanh, aten.tanh_),
            "silu": (aten.silu, aten.silu_),
            "gelu": (aten.gelu, aten.gelu_),
            "hardswish": (aten.hardswish, aten.hardswish_),
            "hardsigmoid": (aten.hardsigmoid, aten.hardsigmoid_),
        }.items()
        for packet in packets
    },
    **dict.fromkeys(_ALIASES, _alias),
}


def _shape(tensor: Tensor) -> Shape:
    """(H, W, C) of (1, C, H, W), (1, N, C), (1, C); what has other axes is counted in C.

    The batch has one sample, so (N, C) are the tokens that PyTorch hands to a matrix product.
    """
    sizes = tuple(tensor.shape[tensor.dim() != 2 or len(tensor) == 1 :])
    match len(sizes):
        case 3:
            return sizes[1], sizes[2], sizes[0]
        case 2:
            return sizes[0], 1, sizes[1]
        case 1:
            return 1, 1, sizes[0]
    return 1, 1, tensor.numel()


def _is_vector(tensor: Tensor) -> bool:
    """Whether one axis alone is longer than 1: such a tensor gains and loses axes on the way to a product."""
    return max(tensor.shape, default=1) == tensor.numel()


def _parameter_shape(tensor: Tensor) -> Shape:
    """(H, W, C) of a tensor that may lack the batch axis."""
    return _shape(tensor) if tensor.dim() > 1 else (1, 1, tensor.numel())


def _pool_kind(
    operation: str, x: Tensor, result: Tensor, kernel, stride, padding, counts_padding: bool = False
) -> Kind:
    sizes = (_pair(kernel), _pair(stride or kernel), _pair(padding), (1, 1))
    steps = zip(x.shape[2:], *sizes[:3], strict=True)
    floor = [(size + 2 * around - span) // step + 1 for size, span, step, around in steps]
    hangs_over, counts = floor != list(result.shape[2:]), counts_padding and any(sizes[2])
    extra = as_extra(ceil=hangs_over or None, counts_padding=counts or None)
    return Kind(operation, (_shape(x),), (_shape(result),), *sizes, extra=extra)


def _pair(value) -> tuple[int, int]:
    values = [value] if isinstance(value, int) else list(value)
    return values[0], values[-1]


def _filled(args: tuple, count: int, defaults: list) -> list:
    return [*args, *defaults[len(args) : count]]


def _named_state(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


def _tensors(value) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
