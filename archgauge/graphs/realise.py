"""From a computation graph to the network that it describes, ready to train."""

from collections.abc import Callable
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archgauge.errors import GraphError
from archgauge.graphs.graph import Graphs
from archgauge.graphs.operations import BATCH_NORM_EPS, LEAKY_RELU_SLOPE, Kind, Shape

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "silu": F.silu,
    "gelu": F.gelu,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
}


def realise(graph: Graphs) -> "RealisedGraph":
    """The network of one graph, with PyTorch's default initialisation.

    Raises:
        GraphError: when there is not exactly one graph, or an operation cannot be run.
    """
    if len(graph) != 1:
        raise GraphError(
            "the number of graphs",
            where="archgauge.graphs.realise.realise",
            expected=1,
            got=len(graph),
            remedy="Pick one: `graphs[index]`.",
        )
    return RealisedGraph(graph)


class RealisedGraph(nn.Module):
    """Runs the nodes of one computation graph in topological order.

    The layer of node v is `layers["v"]`; nodes with one weight id have one layer. A value is dropped after its last
    reader has run.
    """

    def __init__(self, graph: Graphs):
        super().__init__()
        self.layers = nn.ModuleDict()
        readers: dict[int, list[tuple[int, int]]] = {node: [] for node in range(len(graph.kind))}
        edges = zip(graph.edge_source.tolist(), graph.edge_output.tolist(), graph.edge_target.tolist(), strict=True)
        for source, output, target in edges:
            readers[target].append((source, output))
        last_reader = dict(zip(graph.edge_source.tolist(), graph.edge_target.tolist(), strict=True))
        shared: dict[int, str] = {}
        self._plan = []
        for node, inputs in readers.items():
            kind, weight_id = graph.kinds[int(graph.kind[node])], int(graph.weight_id[node])
            name = shared.get(weight_id, str(node))
            layer = _layer(kind, node) if name == str(node) else None
            if layer is not None:
                self.layers[name] = layer
                if weight_id >= 0:
                    shared[weight_id] = name
            done = sorted({source for source, _ in inputs if last_reader[source] == node})
            self._plan.append((node, kind, name if name in self.layers else None, inputs, done))

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Run the network.

        Args:
            inputs: (batch, C, H, W) each; (batch, N, C) for tokens, (batch, C) for vectors.

        Returns:
            The output, or a tuple of them where the graph has several.
        """
        waiting, outputs = iter(inputs), []
        values: dict[int, tuple[Tensor, ...]] = {}
        for node, kind, layer, sources, done in self._plan:
            taken = [values[source][output] for source, output in sources]
            if kind.operation == "input":
                result = next(waiting)
            elif kind.operation == "output":
                outputs.append(taken[0])
                continue
            elif layer is None:
                result = _run(kind, taken, inputs[0])
            elif kind.operation == "constant":
                result = self.layers[layer]()
            else:
                result = self.layers[layer](_fitted(taken[0], kind))
            values[node] = result if isinstance(result, tuple) else (result,)
            for source in done:
                del values[source]
        return outputs[0] if len(outputs) == 1 else tuple(outputs)


class _BatchNorm(nn.modules.batchnorm._BatchNorm):
    """A batch normalisation of images or vectors."""

    def _check_input_dim(self, x: Tensor) -> None:
        """Any number of axes will do."""


class _Constant(nn.Module):
    def __init__(self, shape: tuple[int, ...], trainable: bool):
        super().__init__()
        self.value = nn.Parameter(torch.zeros(shape), requires_grad=trainable)

    def forward(self) -> Tensor:
        return self.value


def _layer(kind: Kind, node: int) -> nn.Module | None:
    """The layer that holds a node's state, or None."""
    match kind.operation:
        case "conv":
            before, after = kind.inputs[0][2], kind.outputs[0][2]
            sizes = (kind.kernel, kind.stride, kind.padding, kind.dilation)
            return nn.Conv2d(before, after, *sizes, kind.groups, kind.bias)
        case "conv_transpose":
            before, after = kind.inputs[0][2], kind.outputs[0][2]
            around = kind.settings.get("output_padding", 0)
            sizes = (kind.kernel, kind.stride, kind.padding, around)
            return nn.ConvTranspose2d(before, after, *sizes, kind.groups, kind.bias, kind.dilation)
        case "linear":
            return nn.Linear(kind.inputs[0][2], kind.outputs[0][2], kind.bias)
        case "batch_norm":
            return _BatchNorm(kind.outputs[0][2], kind.settings.get("eps", BATCH_NORM_EPS), affine=kind.affine)
        case "max_pool":
            ceil = kind.settings.get("ceil", False)
            return nn.MaxPool2d(kind.kernel, kind.stride, kind.padding, ceil_mode=ceil)
        case "avg_pool":
            ceil, counts_padding = (kind.settings.get(name, False) for name in ("ceil", "counts_padding"))
            return nn.AvgPool2d(kind.kernel, kind.stride, kind.padding, ceil, counts_padding)
        case "leaky_relu":
            return nn.LeakyReLU(kind.settings.get("slope", LEAKY_RELU_SLOPE))
        case "constant":
            return _Constant((1, *_axes(kind.outputs[0])), kind.settings["trainable"])
        case "other":
            raise GraphError(
                "the operation of a node to realise",
                where=f"node {node}",
                expected="an operation of archgauge.graphs.operations.VOCABULARY",
                got=kind.extra,
                remedy="Add the operation to the vocabulary and to archgauge.graphs.realise.",
            )
    return None


def _run(kind: Kind, taken: list[Tensor], example: Tensor) -> Tensor:
    """An operation without state."""
    match kind.operation:
        case "add":
            return reduce(torch.add, _aligned(taken))
        case "mul":
            return reduce(torch.mul, _aligned(taken))
        case "concat":
            return torch.cat(_aligned(taken), 1)
        case "slice":
            axis = ("channels", "height", "width").index(kind.settings["axis"]) + 1
            return taken[0].narrow(axis, kind.settings["first"], kind.settings["last"] - kind.settings["first"])
        case "pad":
            return F.pad(taken[0], kind.settings["frame"])
        case "upsample":
            return F.interpolate(taken[0], scale_factor=kind.settings["scale"])
        case "global_avg_pool":
            return taken[0].mean((2, 3))
        case "zero" if taken:
            return torch.zeros_like(taken[0])
        case "zero":
            return example.new_zeros(len(example), *_axes(kind.outputs[0]))
    return _ACTIVATIONS[kind.operation](taken[0])


def _axes(shape: Shape) -> tuple[int, ...]:
    """The axes behind the batch: (C,) of a vector, (N, C) of tokens, (C, H, W) of an image."""
    height, width, channels = shape
    if width == 1:
        return (channels,) if height == 1 else (height, channels)
    return channels, height, width


def _fitted(x: Tensor, kind: Kind) -> Tensor:
    """A vector as the image of one pixel that a convolution reads, and the other way round for a linear layer."""
    if kind.operation == "linear":
        return x.flatten(1) if x.dim() == 4 else x
    return _image(x) if kind.operation in ("conv", "conv_transpose", "max_pool", "avg_pool") else x


def _aligned(values: list[Tensor]) -> list[Tensor]:
    """Vectors as images of one pixel where they meet images."""
    return [_image(value) for value in values] if any(value.dim() == 4 for value in values) else values


def _image(x: Tensor) -> Tensor:
    return x.view(*x.shape, 1, 1) if x.dim() == 2 else x
