"""What a trace has seen so far: which value each tensor is, and which node holds which parameters."""

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from archgauge.errors import GraphError
from archgauge.graphs.builder import GraphBuilder, Value
from archgauge.graphs.calls import written
from archgauge.graphs.graph import Graphs
from archgauge.graphs.layouts import BATCH, Sizes, counted, default_sizes, shape_of, vector
from archgauge.graphs.operations import Kind, KindTable, Shape, as_extra

WRITTEN_OUT = 64  # elements of a made-up tensor up to which a constant holds its values
aten = torch.ops.aten

State = dict[str, str | Tensor]
"""Name in the state of the realised network -> name of the model's parameter or buffer, or a tensor of its own."""


class Recorder:
    """Builds the graph of a forward pass.

    A view (flatten, squeeze, expand) is no node as long as nothing needs it: a linear layer reads an image of one
    pixel, a product broadcasts. So each tensor is a value and the sizes that the value has in the realised network;
    `exact` makes a node of the difference, `loose` lets it be where it is only that between (B, C) and (B, C, 1, 1).
    """

    def __init__(self, model: nn.Module, kinds: KindTable, apart: frozenset[str]):
        """What earlier passes found goes in `apart`.

        That is state that does not belong to one layer alone: it becomes constants that the layers read. And it is
        outputs that a node of the vocabulary does not give but something reads: their operation is a node "other".
        """
        self.model, self._apart = model, apart
        self.conflicts: set[str] = set()  # what should have been named in `apart`
        self._builder = GraphBuilder(kinds)
        self._bound: dict[int, tuple[Value, Sizes]] = {}
        self._reshapes: dict[tuple[Value, Sizes], int] = {}  # one view that is taken twice is one node
        self._alive: list[Any] = []  # ids stay unique only while their tensors live
        self._transposed: dict[int, Tensor] = {}
        self._same: dict[int, Tensor] = {}
        self._stand_in: dict[int, Tensor] = {}
        self._own: dict[int, Tensor] = {}  # by id of a stand-in: a tensor that the model holds apart from its state
        self._left_out: dict[int, str] = {}  # by id of an output that its node does not give: its name in `apart`
        self._weight_id: dict[tuple, int] = {}
        self._owner: dict[str, tuple] = {}
        self._held: list[tuple[int, dict[str, str | Tensor]]] = []
        self._fixed: list[bool] = []  # of each node: whether no input takes part in it
        self._lasting = 0  # nodes that merging sums cannot remove
        named = list(_named_state(model))
        first: dict[int, str] = {}
        self.first_name = {name: first.setdefault(id(tensor), name) for name, tensor in named}
        self.state = {name: tensor for name, tensor in named if self.first_name[name] == name}
        self._trainable = {name: tensor.numel() for name, tensor in self.state.items() if tensor.requires_grad}
        self._buffers = {name: tensor for name, tensor in self.state.items() if not isinstance(tensor, nn.Parameter)}
        self.on_meta = all(tensor.is_meta for tensor in self.state.values())
        if not self.on_meta:
            self.state = {name: torch.empty_like(tensor, device="meta") for name, tensor in self.state.items()}
        self._name = {id(tensor): name for name, tensor in self.state.items()}

    def input(self, tensor: Tensor, batched: bool) -> Tensor:
        """A stand-in for an input, with an input node."""
        sizes = (BATCH, *tensor.shape[1:]) if batched else tuple(tensor.shape)
        example = torch.empty(sizes, dtype=tensor.dtype, device="meta")
        extra = as_extra(batched=None if batched else False, dtype=_dtype(tensor))
        self.bind(example, self.node(Kind("input", (), (shape_of(sizes),), extra=extra), []))
        return example

    def stand_in(self, tensor: Tensor) -> Tensor:
        """A meta tensor in the place of a real one that the pass made up or that the model holds."""
        found = self._stand_in.get(id(tensor))
        if found is None:
            with torch.inference_mode(tensor.is_inference()):
                found = self._stand_in[id(tensor)] = torch.empty_like(tensor, device="meta")
            self._alive.append(tensor)
            if id(tensor) in self._bound:
                self._bound[id(found)] = self._bound[id(tensor)]
            else:
                self._own[id(found)] = tensor
        return found

    def bind(self, tensor: Tensor, value: Value, sizes: Sizes | None = None) -> None:
        """Remember which value a tensor is, and which sizes that has where they are not the tensor's."""
        self._bound[id(tensor)] = (value, tuple(tensor.shape) if sizes is None else sizes)
        self._alive.append(tensor)

    def loose(self, tensor: Tensor) -> tuple[Value, Sizes]:
        """The value that a tensor is, and its realised sizes: the tensor's, or the other form of a vector."""
        value, sizes = self.pending(tensor)
        if sizes == tensor.shape or vector(sizes) == vector(tensor.shape):
            return value, sizes
        return self.exact(tensor), tuple(tensor.shape)

    def exact(self, tensor: Tensor) -> Value:
        """The value that a tensor is, with the tensor's own sizes."""
        value, sizes = self.pending(tensor)
        if sizes == tensor.shape:
            return value
        if prod(sizes) == tensor.numel():
            value = self._reshaped(value, sizes, tuple(tensor.shape))
        else:
            if len(sizes) < tensor.dim():  # a vector that stands for an image of one pixel
                image = (*sizes, 1, 1)
                value, sizes = self._reshaped(value, sizes, image), image
            extra = written(aten.expand.default, (tensor, list(tensor.shape)), {}, {id(tensor): 0})
            value = self.node(Kind("other", (shape_of(sizes),), (shape_of(tensor.shape),), extra=extra), [value])
        self.bind(tensor, value)
        return value

    def pending(self, tensor: Tensor) -> tuple[Value, Sizes]:
        """The value that a tensor is and that value's sizes; what is unknown becomes a constant."""
        tensor = self._same.get(id(tensor), tensor)
        found = self._bound.get(id(tensor))
        if found is None:
            self.bind(tensor, self._unbound(tensor))
            found = self._bound[id(tensor)]
        return found

    def leave_out(self, tensor: Tensor) -> bool:
        """Note that an output is not given by its node (a pool's indices), or return False when something reads it."""
        name = f"output {len(self._left_out)}"  # the same in each pass
        self._left_out[id(tensor)] = name
        self._alive.append(tensor)
        return name not in self._apart

    def view_left_out(self, view: Tensor, tensor: Tensor) -> bool:
        """Whether an output is left out, and with it this view of it."""
        missing = id(tensor) in self._left_out and id(tensor) not in self._bound
        if missing:
            self._left_out[id(view)] = self._left_out[id(tensor)]
            self._alive.append(view)
        return missing

    def node(self, kind: Kind, values: list[Value], weight_id: int = -1) -> int:
        """Add a node."""
        self._lasting += kind.operation != "add"
        index = self._builder.node(kind, values, weight_id)
        self._fixed.append(kind.operation != "input" and all(self._fixed[_node_of(value)] for value in values))
        return index

    def layer(self, kind: Kind, values: list[Value], **state: Tensor | None) -> int | None:
        """Add a node that holds state (weight, bias, running_mean, running_var), or return None when it cannot.

        Nodes that hold the same state in the same way share a weight id.
        """
        held = {part: tensor for part, tensor in state.items() if tensor is not None}
        names = {part: self._name[id(tensor)] for part, tensor in held.items() if id(tensor) in self._name}
        if len(names) < len(held) or not self._apart.isdisjoint(names.values()):
            return None
        if kind.params != sum(tensor.numel() for part, tensor in held.items() if part in ("weight", "bias")):
            return None  # a bias of one number for all channels
        weight_id = self._own_state(names, (kind.layer, *names.items())) if names else -1
        return self.node(kind, values, weight_id)

    def is_fixed(self, tensor: Tensor) -> bool:
        """Whether a tensor is the same whatever the inputs are: a parameter, or what is computed without an input."""
        found = self._bound.get(id(self._same.get(id(tensor), tensor)))
        return found is None or self._fixed[_node_of(found[0])]

    def number(self, tensor: Tensor) -> Any:
        """The number that a buffer of the model holds; None for another tensor, or when the model has no weights."""
        real = self._buffers.get(self._name.get(id(tensor), ""))
        return None if real is None or real.is_meta else real.item()

    def places(self, truths: Tensor) -> tuple[Tensor, ...]:
        """Where a tensor of truth values is true, one tensor an axis; the tensor itself when its values are unknown."""
        real = self._buffers.get(self._name.get(id(truths), ""), truths)
        return (truths,) if real.is_meta else tuple(real.cpu().nonzero().unbind(1))

    def shape(self, value: Value) -> Shape:
        """The (H, W, C) of a value."""
        return self._builder.shape(value)

    def is_state(self, tensor: Any) -> bool:
        """Whether a tensor is a parameter or buffer."""
        return tensor is None or id(tensor) in self._name

    def transposed(self, tensor: Tensor) -> Tensor | None:
        """The parameter that a tensor is the transpose of."""
        return self._transposed.get(id(tensor))

    def remember_transposed(self, tensor: Tensor, original: Tensor) -> None:
        """Note that a tensor is the transpose of a parameter: no node as long as it only goes into a linear layer."""
        self._transposed[id(tensor)] = original
        self._alive.append(tensor)

    def same_state(self, tensor: Tensor, original: Tensor) -> None:
        """Note that a tensor is a parameter or buffer under another guise."""
        self._name[id(tensor)] = self._name[id(original)]
        self._same[id(tensor)] = self._same.get(id(original), original)
        self._alive.append(tensor)

    def output(self, tensor: Tensor) -> None:
        """Add an output node."""
        value, _ = self.loose(tensor)
        self.node(Kind("output", (shape_of(tensor.shape),), ()), [value])

    def finish(self) -> tuple[Graphs, State]:
        """The graph, with the parameters that no node took counted apart, and where its state is."""
        self._builder.params_outside = sum(self._trainable.values())
        graph = self._builder.finish()
        lasting = np.flatnonzero(~graph.having("add"))
        state = {f"layers.{lasting[rank]}.{part}": name for rank, held in self._held for part, name in held.items()}
        return graph, state

    def _reshaped(self, value: Value, before: Sizes, after: Sizes) -> Value:
        if (value, after) not in self._reshapes:
            extra = as_extra(sizes=[counted(size) for size in after])
            kind = Kind("reshape", (shape_of(before),), (shape_of(after),), extra=extra)
            self._reshapes[value, after] = self.node(kind, [value])
        return self._reshapes[value, after]

    def _turned(self, original: Tensor, tensor: Tensor) -> Value:
        shapes = (shape_of(original.shape),), (shape_of(tensor.shape),)
        return self.node(Kind("permute", *shapes, extra=as_extra(axes=[1, 0])), [self.exact(original)])

    def _unbound(self, tensor: Tensor) -> Value:
        """The value of a tensor that no node was seen to give."""
        original = self._transposed.get(id(tensor))
        if original is not None:
            return self._turned(original, tensor)
        if id(tensor) in self._left_out:  # anything will do: the pass is repeated
            self.conflicts.add(self._left_out[id(tensor)])
            return self.node(Kind("constant", (), (shape_of(tensor.shape),), extra=as_extra(trainable=False)), [])
        return self._constant(tensor)

    def _own_tensor(self, tensor: Tensor) -> Tensor:
        """A tensor that is no state, with its values.

        Raises:
            GraphError: when it has none, or is as large as the batch.
        """
        own = self._own.get(id(tensor), tensor)
        grows = any(isinstance(counted(size), str) for size in own.shape)
        if own.is_meta or grows:
            raise GraphError(
                "a tensor that is neither an input, a result, a parameter nor a buffer",
                where=type(self.model).__name__,
                expected="its values, and a size that does not grow with the batch",
                got=f"{_dtype(own) or 'float'} {[counted(size) for size in own.shape]} on {own.device}",
                remedy="Register it as a buffer, or make it on the CPU from the shapes of the inputs.",
            )
        return own

    def _constant(self, tensor: Tensor) -> Value:
        name, sizes = self._name.get(id(tensor)), tuple(tensor.shape)
        shape = shape_of(sizes)
        values = None
        if name is None:
            own = self._own_tensor(tensor)
            if own.numel() <= WRITTEN_OUT and not own.is_complex():
                values = own.tolist()
        extra = as_extra(
            trainable=name in self._trainable,
            sizes=None if sizes == (1, *default_sizes(shape)) else list(sizes),
            dtype=_dtype(tensor),
            values=values,
        )
        rank = self._lasting
        if name is not None:
            self._own_state({"value": name}, ("constant", name))
        elif values is None:
            self._held.append((rank, {"value": self._own.get(id(tensor), tensor)}))
        return self.node(Kind("constant", (), (shape,), extra=extra), [])

    def _own_state(self, names: dict[str, str], key: tuple) -> int:
        """The weight id of state that the next node holds."""
        for name in names.values():
            if self._owner.setdefault(name, key) != key:
                self.conflicts.add(name)
            self._trainable.pop(name, None)
        if key not in self._weight_id:
            self._held.append((self._lasting, {**names}))
        return self._weight_id.setdefault(key, len(self._weight_id))


def _named_state(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers; a tensor of two modules has two names, a module that stands in two places one."""
    for prefix, module in model.named_modules():
        for name, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None:
                yield f"{prefix}.{name}" if prefix else name, tensor


def _node_of(value: Value) -> int:
    return value if isinstance(value, int) else value[0]


def _dtype(tensor: Tensor) -> str | None:
    """The type of a tensor that is not of floating point."""
    return None if tensor.is_floating_point() else str(tensor.dtype).removeprefix("torch.")
