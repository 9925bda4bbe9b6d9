"""From any PyTorch model to its computation graph, by watching the ATen operations of one forward pass.

The pass runs on the meta device: shapes flow, nothing is computed and no weight is allocated; Python control flow is
followed as it runs. Small tensors that the pass makes up itself (positions, masks) are computed, so that control flow
may depend on them, and on a buffer of one number.
"""

import gc
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from archgauge.errors import GraphError
from archgauge.graphs import meta
from archgauge.graphs.calls import tensors
from archgauge.graphs.graph import Graphs
from archgauge.graphs.handlers_common import call
from archgauge.graphs.layouts import BATCH, counted, resolved
from archgauge.graphs.operations import KindTable
from archgauge.graphs.recorder import Recorder, State
from archgauge.graphs.trace_handlers import HANDLERS

LONGEST_PASS = 100_000  # operations; more come from a loop over the samples of a batch
COMPUTED = 2**20  # elements up to which a tensor that the pass makes up is computed


def trace(model: nn.Module, *inputs: Tensor, kinds: KindTable | None = None) -> Graphs:
    """The computation graph of a model's forward pass in evaluation mode.

    A graph does not hold between which types of floating point a model casts, also by `torch.autocast`: the realised
    network computes in the types of its inputs and weights. A number that the model computes from the size of the
    batch must be a multiple of it to come back right: one or two more or less and the half are refused, but others
    (a root, a reciprocal) cannot be told from a constant.

    Args:
        inputs: what the model is called with, batch axis first; only types and the shape of one sample are used. An
            input whose first axis is not as long as the first input's has no batch axis.
        kinds: a table to build over; a new one by default.

    Returns:
        One graph in normal form. An operation outside the vocabulary is a node "other" with its name and arguments
        (`archgauge.graphs.calls.unknown_operations` lists them). Weights of layers count, frozen or not.

    Raises:
        GraphError: when the model is no plain module or an input no tensor, when the model does not run on these
            inputs, its path depends on their values, or a number in it on the size of the batch in another way.
    """
    return trace_with_state(model, *inputs, kinds=kinds)[0]


def trace_with_state(model: nn.Module, *inputs: Tensor, kinds: KindTable | None = None) -> tuple[Graphs, State]:
    """As `trace`, and where the realised network holds what the model's state does (for `realise.load_weights`)."""
    _check(model, inputs)
    with _uncollected():
        return _traced(model, inputs, KindTable() if kinds is None else kinds)


def _traced(model: nn.Module, inputs: tuple[Tensor, ...], kinds: KindTable) -> tuple[Graphs, State]:
    apart: frozenset[str] = frozenset()
    functional = False
    with _undisturbed(model):
        while True:
            recorder = Recorder(model, kinds, apart)
            try:
                for tensor in _pass(recorder, inputs, functional):
                    recorder.output(tensor)
            except _ViewChanged:
                functional = True
                continue
            if recorder.conflicts <= apart:
                return recorder.finish()
            apart |= recorder.conflicts


def _check(model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Refuse what cannot be traced before anything of it is touched."""
    if not isinstance(model, nn.Module) or not hasattr(model, "_modules"):
        remedy = "Give the module itself; its __init__ must call that of torch.nn.Module."
        raise _refused("the model", "a torch.nn.Module", type(model).__name__, remedy)
    for name, module in model.named_modules():
        where = f"{type(model).__name__}{name and '.'}{name}"
        if isinstance(module, torch.jit.ScriptModule):
            remedy = "Give the module as it was before torch.jit.script or torch.jit.trace."
            raise _refused(where, "modules that run in Python", f"a {type(module).__name__}", remedy)
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            remedy = "Give the module that it wraps, its attribute `module`."
            raise _refused(where, "modules that run on one device", f"a {type(module).__name__}", remedy)
        if any(map(is_lazy, (*module._parameters.values(), *module._buffers.values()))):
            remedy = "Run the model once on an example first: that sets the shapes."
            raise _refused(where, "parameters that have shapes", f"a {type(module).__name__} without", remedy)
    for place, tensor in enumerate(inputs):
        if not isinstance(tensor, Tensor):
            remedy = "Wrap the model in a module that is called with tensors alone."
            raise _refused(f"{type(model).__name__}, input {place}", "a tensor", type(tensor).__name__, remedy)


def _refused(where: str, expected: str, got: str, remedy: str) -> GraphError:
    return GraphError("a model to trace and its inputs", where=where, expected=expected, got=got, remedy=remedy)


class _ViewChanged(Exception):
    """A tensor that shares memory with another one is changed in place: only a functional pass gets that right."""


def _pass(recorder: Recorder, inputs: tuple[Tensor, ...], functional: bool) -> list[Tensor]:
    """Run the model under the recorder's eyes. Returns the tensors that come out.

    Raises:
        GraphError: when it fails.
    """
    size = inputs[0].shape[:1] if inputs else ()
    examples = [recorder.input(tensor, tensor.dim() > 0 and tensor.shape[:1] == size) for tensor in inputs]
    watch = _Watch(recorder, functional)
    try:
        with torch.inference_mode(), watch, _ValuesKept():
            result = _called(recorder, examples, functional)
    except (_ViewChanged, GraphError):
        raise
    except Exception as error:  # a model may raise anything
        raise _failure(recorder.model, inputs, watch, error) from error
    outputs = tensors(result)
    if not outputs:
        raise _failure(recorder.model, inputs, watch, TypeError(f"no tensor in a result of {type(result).__name__}"))
    return outputs


def _called(recorder: Recorder, examples: list[Tensor], functional: bool) -> Any:
    if recorder.on_meta and not functional:
        return recorder.model(*examples)

    def run(state: dict[str, Tensor], *given: Tensor) -> Any:
        everything = {name: state[first] for name, first in recorder.first_name.items()}
        return functional_call(recorder.model, everything, given, tie_weights=False)

    return _functionally(run, recorder.state, *examples) if functional else run(recorder.state, *examples)


def _functionally(run: Callable[..., Any], *given: Any) -> Any:
    """`run(*given)` with each change in place rewritten as a new tensor, which its views see too.

    `torch.func.functionalize` does the same as a transform, under which a `torch.autograd.Function` does not run.
    """
    torch._enable_functionalization(reapply_views=True)  # type: ignore[attr-defined]
    try:
        result = run(*tree_map_only(Tensor, torch._to_functional_tensor, given))
    finally:
        torch._disable_functionalization()  # type: ignore[attr-defined]
    return tree_map_only(Tensor, _seen_through, result)


def _seen_through(tensor: Tensor) -> Tensor:
    if not torch._is_functional_tensor(tensor):  # made outside of the pass
        return tensor
    torch._sync(tensor)
    return torch._from_functional_tensor(tensor)


class _Watch(TorchDispatchMode):
    """Shows each operation that is dispatched to the recorder."""

    def __init__(self, recorder: Recorder, functional: bool):
        super().__init__()
        self.recorder, self.functional = recorder, functional
        self.operations, self.last = 0, None
        self._viewed: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        traits = _traits(func)
        if traits.handler is None and traits.composite:
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        self.operations, self.last = self.operations + 1, func
        if self.operations > LONGEST_PASS:
            raise RuntimeError(f"more than {LONGEST_PASS:,} operations, as of a loop over the samples of a batch")
        if func is torch.ops.aten._local_scalar_dense.default and self.recorder.number(args[0]) is not None:
            return self.recorder.number(args[0])
        if traits.picks:
            args = (args[0], self._by_places(args[1]), *args[2:])
        args, kwargs = self._placed(args, kwargs)
        if self._viewed and not self.functional and self._reaches_views([args[place] for place in traits.writes]):
            raise _ViewChanged
        result = meta.run(func, args, kwargs)
        if traits.view:
            self._viewed.update(map(_memory, tensors(result)))
        (traits.handler or call)(self.recorder, func, result, args, kwargs)
        return result

    def _by_places(self, indices: list) -> list:
        """An index with places for the truth values that are known."""
        masks = [isinstance(each, Tensor) and each.dtype == torch.bool for each in indices]
        parts = [self.recorder.places(each) if mask else (each,) for each, mask in zip(indices, masks, strict=True)]
        return [place for part in parts for place in part]

    def _reaches_views(self, written: list) -> bool:
        return any(_memory(tensor) in self._viewed for tensor in tensors(written))

    def _placed(self, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """The arguments, all on the meta device unless none is: a made-up tensor that meets others is stood in for."""
        given = tensors((args, kwargs)) if kwargs else tensors(args)
        if not given:
            return args, _small_on_cpu(args, kwargs)
        real = [tensor for tensor in given if not tensor.is_meta]
        if not real or (len(real) == len(given) and not _large((args, kwargs))):
            return args, kwargs
        stand_in = {id(tensor): self.recorder.stand_in(tensor) for tensor in real}
        return _replaced(args, stand_in), _replaced(kwargs, stand_in)


class _ValuesKept(TorchFunctionMode):
    """Makes tensors of Python numbers on the CPU: on the meta device they would be gone before an operation is seen."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in _INDEXING:
            args = (args[0], _indices(args[1]), *args[2:])
        elif func in _WRITING and not (args and isinstance(args[0], Tensor)):
            kwargs = {**kwargs, "device": "cpu"}
        elif func is Tensor.new_tensor and not any(isinstance(data, Tensor) for data in args[1:]):
            kwargs = {"dtype": args[0].dtype, **kwargs, "device": "cpu"}
            return torch.tensor(*args[1:], **kwargs)
        return func(*args, **kwargs)


_PICKING = frozenset((torch.ops.aten.index, torch.ops.aten.index_put, torch.ops.aten.index_put_))
_INDEXING = frozenset((Tensor.__getitem__, Tensor.__setitem__))
_WRITING = frozenset((torch.tensor, torch.as_tensor, torch.asarray))


def _indices(index: Any) -> Any:
    """An index with tensors for its lists. A list that is the whole index may stand for a tuple unless it is flat."""
    if isinstance(index, tuple):
        return tuple(_listed(item) if isinstance(item, list | tuple | range) else item for item in index)
    flat = isinstance(index, range) or (isinstance(index, list) and all(isinstance(item, int) for item in index))
    return _listed(index) if flat else index


def _listed(numbers: Any) -> Tensor:
    return torch.tensor(list(numbers), device="cpu", dtype=None if len(numbers) else torch.int64)


class _Traits:
    """Of an operation: who handles it, which arguments it writes to, whether it picks, gives a view, or decomposes."""

    def __init__(self, func: Any):
        self.func = func  # as long as this is kept its id is nobody else's
        self.handler = HANDLERS.get(func.overloadpacket)
        arguments, returns = func._schema.arguments, func._schema.returns
        aliases = [argument.alias_info for argument in arguments]
        changes = func.overloadpacket is not torch.ops.aten.detach_  # no values: `torch.tensor` ends with it
        self.writes = [place for place, alias in enumerate(aliases) if alias is not None and alias.is_write and changes]
        self.view = changes and not self.writes and any(result.alias_info is not None for result in returns)
        self.picks = func.overloadpacket in _PICKING
        self.composite = torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd")


_known_traits: dict[int, _Traits] = {}  # by id: the hash of an operation is slow


def _traits(func: Any) -> _Traits:
    found = _known_traits.get(id(func))
    if found is None:
        found = _known_traits[id(func)] = _Traits(func)
    return found


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _small_on_cpu(args: tuple, kwargs: dict) -> dict:
    """Keyword arguments that make a tensor out of nothing real where it is small, so that a path may depend on it."""
    if "device" not in kwargs:
        return kwargs
    return {**kwargs, "device": torch.device("meta" if _large((args, kwargs)) else "cpu")}


def _large(arguments: tuple) -> bool:
    """Whether a number among them is a size that grows with the batch, or more than is worth computing."""
    return any(abs(number) >= COMPUTED or (number and number % BATCH == 0) for number in _numbers(arguments))


def _numbers(value: Any) -> Iterator[int]:
    if isinstance(value, int):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, dict):
        yield from _numbers(tuple(value.values()))


def _replaced(value: Any, stand_in: dict[int, Tensor]) -> Any:
    if isinstance(value, Tensor):
        return stand_in.get(id(value), value)
    if isinstance(value, list | tuple):
        return type(value)(_replaced(item, stand_in) for item in value)
    return {name: _replaced(item, stand_in) for name, item in value.items()} if isinstance(value, dict) else value


def _failure(model: nn.Module, inputs: tuple[Tensor, ...], watch: _Watch, error: Exception) -> GraphError:
    message = _in_own_sizes((str(error).strip() or type(error).__name__).splitlines()[0], inputs)
    last = str(watch.last or "none")
    if last.startswith("quantized."):
        remedy = "Give the model as it was before it was quantised."
    elif "_pack_padded_sequence" in last:
        remedy = "Give the layer the padded sequences, without pack_padded_sequence."
    elif "meta tensor" in message or "meta device" in message or isinstance(error, NotImplementedError):
        remedy = "The path depends on the values of a tensor: take that part out of the forward pass."
    else:
        remedy = "Check the input shapes, batch axis first; the model must run on a batch of any size."
    return GraphError(
        "the forward pass of a model to trace",
        where=f"{type(model).__name__}, operation {watch.operations:,} ({last})",
        expected=f"a pass over inputs of shape {[tuple(tensor.shape) for tensor in inputs]}",
        got=f"{type(error).__name__}: {message}",
        remedy=remedy,
    )


def _in_own_sizes(message: str, inputs: tuple[Tensor, ...]) -> str:
    """A message with the sizes of the given inputs in place of those of the batch that is traced."""
    batch = inputs[0].shape[0] if inputs and inputs[0].dim() else 1
    return re.sub(r"\d{7,}", lambda found: str(_in_own_size(int(found[0]), batch)), message)


def _in_own_size(size: int, batch: int) -> int:
    return size if size % BATCH else resolved(counted(size), batch)


@contextmanager
def _uncollected() -> Iterator[None]:
    """The garbage collector rests: a pass makes thousands of objects and hardly a cycle, and drops them at its end."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without fused attention; afterwards the modules are as they were, caches and all."""
    before = [(vars(module), dict(vars(module)), dict(module._buffers)) for module in model.modules()]
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        model.eval()
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for attributes, old_attributes, old_buffers in before:
            attributes.clear()
            attributes.update(old_attributes)
            attributes["_buffers"].clear()
            attributes["_buffers"].update(old_buffers)
