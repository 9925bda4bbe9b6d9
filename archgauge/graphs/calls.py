"""Calls of ATen operations outside the vocabulary: written down as JSON, listed for the user, and run again.

A call is {"name": "aten.cumsum.default", "arguments": [...], "keywords": {...}}, with "macs" where it multiplies by a
weight. An argument is a number, a truth
value, null, a list, "8B" for a size that is 8 batches, or one of {"tensor": i} (input i of the node), {"text": ...},
{"float": "inf"}, {"dtype": "float32"}, {"memory_format": ...}, {"device": true} (where the network runs).
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from archgauge.errors import GraphError
from archgauge.graphs.graph import Graphs
from archgauge.graphs.layouts import check_no_batch, counted, resolved
from archgauge.graphs.operations import Kind, Shape, as_extra


@dataclass(frozen=True)
class UnknownOperation:
    """An operation outside the vocabulary, as some graphs use it.

    Attributes:
        name: of the ATen operation and its overload ("aten.cumsum.default").
        arguments: canonical JSON of the call, as the module's docstring says.
        inputs, outputs: (H, W, C) of each.
        nodes: how many nodes call it so.
    """

    name: str
    arguments: str
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    nodes: int


def unknown_operations(graphs: Graphs) -> list[UnknownOperation]:
    """What the graphs hold outside the vocabulary, the most frequent first."""
    found = Counter(kind for row in graphs.kind if (kind := graphs.kinds[int(row)]).operation == "other")
    listed = []
    for kind, nodes in found.most_common():
        arguments = json.dumps({name: kind.settings.get(name) for name in ("arguments", "keywords")}, sort_keys=True)
        listed.append(UnknownOperation(kind.settings.get("name", ""), arguments, kind.inputs, kind.outputs, nodes))
    return listed


def written(func: Any, args: Sequence, kwargs: dict, slots: dict[int, int], macs: int | None = None) -> str:
    """The `extra` of a call.

    Args:
        slots: which input of the node each tensor is, by the tensor's id.
        macs: multiply-adds with a weight in one sample, where there are some.
    """
    keywords = {name: _written(item, slots) for name, item in sorted(kwargs.items())}
    call = {
        "name": str(func),
        "arguments": [_written(item, slots) for item in args],
        "keywords": {name: item for name, item in keywords.items() if item is not None},
    }
    return as_extra(**call, macs=macs)


def _written(item: Any, slots: dict[int, int]) -> Any:
    match item:
        case None | bool():
            return item
        case Tensor():
            return {"tensor": slots[id(item)]}
        case int():
            return counted(item)
        case float():
            check_no_batch(item)
            return item if math.isfinite(item) else {"float": str(item)}
        case str():
            return {"text": item}
        case torch.dtype() | torch.memory_format():
            return {type(item).__name__: str(item).removeprefix("torch.")}
        case torch.device():
            return {"device": True}
        case torch.layout():
            return None
        case list() | tuple():
            return [_written(each, slots) for each in item]
    return {"unknown": repr(item)}


def runner(kind: Kind, node: int) -> Callable[[list[Tensor], Tensor], Any]:
    """What runs a node "other": a function of its inputs and of an example, whose first axis is the batch.

    Raises:
        GraphError: when the call cannot be run again.
    """
    call = kind.settings
    func = _looked_up(call.get("name", ""))
    if func is None or '"unknown"' in kind.extra:
        raise GraphError(
            "the operation of a node to realise",
            where=f"node {node}",
            expected="a call of an ATen operation on tensors with plain arguments",
            got=kind.extra,
            remedy="Add the operation to the vocabulary and to archgauge.graphs.realise.",
        )
    changed = [place for place, argument in enumerate(func._schema.arguments) if _is_written(argument)]
    placed = not kind.inputs and any(argument.name == "device" for argument in func._schema.arguments)

    def run(taken: list[Tensor], example: Tensor) -> Any:
        args = [_read(item, taken, example) for item in call["arguments"]]
        kwargs = {name: _read(item, taken, example) for name, item in call["keywords"].items()}
        for place in changed:
            if place < len(args):  # an operation in place must not reach who else reads its input
                args[place] = args[place].clone()
        if placed:
            kwargs["device"] = example.device
        result = func(*args, **kwargs)
        return tuple(tensors(result)) if isinstance(result, list | tuple) else result

    return run


def _read(item: Any, taken: list[Tensor], example: Tensor) -> Any:
    if isinstance(item, list):
        return [_read(each, taken, example) for each in item]
    if isinstance(item, str):
        return resolved(item, len(example))
    if not isinstance(item, dict):
        return item
    ((what, value),) = item.items()
    match what:
        case "tensor":
            return taken[value]
        case "dtype" | "memory_format":
            return getattr(torch, value)
        case "device":
            return example.device
        case "float":
            return float(value)
    return value


def _looked_up(name: str) -> Any:
    """The overload of that name; None for one that is not ATen's, or that could touch files."""
    parts = name.split(".")
    if len(parts) != 3 or parts[0] != "aten" or not all(part.isidentifier() for part in parts):
        return None
    func = getattr(getattr(torch.ops.aten, parts[1], None), parts[2], None)
    if not isinstance(func, torch._ops.OpOverload):
        return None
    files = any("file" in argument.name for argument in func._schema.arguments)
    returns = [str(result.type) for result in func._schema.returns]
    return None if files or not returns or not all("Tensor" in result for result in returns) else func


def _is_written(argument: Any) -> bool:
    return argument.alias_info is not None and argument.alias_info.is_write


def tensors(value: Any) -> list[Tensor]:
    """The tensors of a nest of lists, tuples and dictionaries, in order."""
    if isinstance(value, Tensor):
        return [value]
    found: list[Tensor] = []
    if isinstance(value, list | tuple | dict):
        for item in value.values() if isinstance(value, dict) else value:
            if isinstance(item, Tensor):
                found.append(item)
            elif isinstance(item, list | tuple | dict):
                found += tensors(item)
    return found
