"""From a computation graph to the network that it describes, ready to train."""

from collections.abc import Callable
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archgauge.errors import GraphError
from archgauge.graphs import calls
from archgauge.graphs.graph import Graphs
from archgauge.graphs.layouts import axis_number, default_sizes, resolved
from archgauge.graphs.operations import LEAKY_RELU_SLOPE, NORM_EPS, Kind

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
    """The network of one graph in float32, with PyTorch's default initialisation; bare parameters and buffers are zero.

    A vector comes out as (batch, C), also where the traced model gave it axes of length 1.

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


def load_weights(network: "RealisedGraph", model: nn.Module, state: dict[str, str | Tensor]) -> None:
    """Copy a model's parameters and buffers into the network of its own graph, which takes over their types.

    Args:
        state: what `trace.trace_with_state` gave with the graph.

    Raises:
        GraphError: when the two do not belong together.
    """
    mine = dict([*network.named_parameters(), *network.named_buffers()])
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    theirs = dict(named)
    with torch.no_grad():
        for name, source in state.items():
            given = source if isinstance(source, Tensor) else theirs.get(source)
            if name not in mine or given is None or given.shape != mine[name].shape:
                raise GraphError(
                    "the weights to load",
                    where=f"{name} from {type(model).__name__}",
                    expected="the model whose graph was realised",
                    got="none of that name" if given is None or name not in mine else f"shape {tuple(given.shape)}",
                    remedy="Give the graph and the state that one call of `trace_with_state` returned.",
                )
            mine[name].data = mine[name].to(given.dtype)
            mine[name].copy_(given)


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
            layer = _layer(kind) if name == str(node) else None
            if layer is not None:
                self.layers[name] = layer
                if weight_id >= 0:
                    shared[weight_id] = name
            call = calls.runner(kind, node) if kind.operation == "other" else None
            done = sorted({source for source, _ in inputs if last_reader[source] == node})
            self._plan.append((node, kind, name if name in self.layers else None, call, inputs, done))
        whole = [kind.settings.get("batched", True) for _, kind, *_ in self._plan if kind.operation == "input"]
        self._example = whole.index(True) if True in whole else 0

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Run the network.

        Args:
            inputs: (batch, C, H, W) each; (batch, N, C) for tokens, (batch, C) for vectors.

        Returns:
            The output, or a tuple of them where the graph has several.
        """
        waiting, outputs = iter(inputs), []
        example = inputs[self._example] if inputs else torch.empty(1)
        values: dict[int, tuple[Tensor, ...]] = {}
        for node, kind, layer, call, sources, done in self._plan:
            taken = [values[source][output] for source, output in sources]
            if kind.operation == "input":
                result = next(waiting)
            elif kind.operation == "output":
                outputs.append(taken[0])
                continue
            elif call is not None:
                result = call(taken, example)
            elif layer is None:
                result = _run(kind, taken, example)
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
    def __init__(self, kind: Kind):
        super().__init__()
        settings = kind.settings
        dtype = getattr(torch, settings.get("dtype", "float32"))
        value = torch.zeros(settings.get("sizes", (1, *default_sizes(kind.outputs[0]))), dtype=dtype)
        if settings["trainable"]:
            self.value = nn.Parameter(value)
        else:
            self.register_buffer("value", value)

    def forward(self) -> Tensor:
        return self.value


def _layer(kind: Kind) -> nn.Module | None:
    """The layer that holds a node's state or settings, or None."""
    if kind.operation in ("conv", "conv_transpose", "linear") and len(kind.inputs) > 1:
        return None
    after = kind.outputs[0][2] // kind.copies if kind.outputs else 0
    before = kind.inputs[0][2] // kind.copies if kind.inputs else 0
    settings = kind.settings
    eps = settings.get("eps", NORM_EPS)
    match kind.operation:
        case "conv":
            sizes = (kind.kernel, kind.stride, kind.padding, kind.dilation)
            return nn.Conv2d(before, after, *sizes, kind.groups, kind.bias)
        case "conv_transpose":
            around = settings.get("output_padding", 0)
            sizes = (kind.kernel, kind.stride, kind.padding, around)
            return nn.ConvTranspose2d(before, after, *sizes, kind.groups, kind.bias, kind.dilation)
        case "linear":
            return nn.Linear(before, after, kind.bias)
        case "embedding":
            return nn.Embedding(settings["rows"], after)
        case "batch_norm":
            return _BatchNorm(after, eps, affine=kind.affine)
        case "layer_norm":
            return nn.LayerNorm(after, eps, kind.affine, kind.bias)
        case "group_norm":
            return nn.GroupNorm(kind.groups, after, eps, kind.affine)
        case "instance_norm":
            return nn.InstanceNorm2d(after, eps, affine=kind.affine)
        case "prelu":
            return nn.PReLU(1 if settings.get("shared") else after)
        case "max_pool":
            return nn.MaxPool2d(kind.kernel, kind.stride, kind.padding, ceil_mode=settings.get("ceil", False))
        case "avg_pool":
            ceil, counts_padding = (settings.get(name, False) for name in ("ceil", "counts_padding"))
            return nn.AvgPool2d(kind.kernel, kind.stride, kind.padding, ceil, counts_padding)
        case "leaky_relu":
            return nn.LeakyReLU(settings.get("slope", LEAKY_RELU_SLOPE))
        case "constant" if "values" not in settings:
            return _Constant(kind)
    return None


def _run(kind: Kind, taken: list[Tensor], example: Tensor) -> Tensor:
    """An operation without state."""
    settings = kind.settings
    match kind.operation:
        case "add":
            return reduce(torch.add, _aligned(taken))
        case "mul":
            return reduce(torch.mul, _aligned(taken))
        case "sub":
            return torch.sub(*_aligned(taken))
        case "div":
            return torch.div(*_aligned(taken))
        case "scale":
            return taken[0] * settings["by"]
        case "shift":
            return taken[0] + settings["by"]
        case "constant":
            dtype = getattr(torch, settings["dtype"]) if "dtype" in settings else _floating(example)
            return torch.tensor(settings["values"], dtype=dtype, device="cpu").to(example.device)
        case "matmul":
            return torch.matmul(*taken)
        case "attention":
            query, key, value, mask = [*taken, None][:4]
            causal, scale = settings.get("causal", False), settings.get("scale")
            return F.scaled_dot_product_attention(query, key, value, mask, is_causal=causal, scale=scale)  # type: ignore[arg-type]
        case "softmax":
            return taken[0].softmax(settings["axis"])
        case "reshape":
            return taken[0].reshape([resolved(size, len(example)) for size in settings["sizes"]])
        case "permute":
            return taken[0].permute(settings["axes"])
        case "concat":
            return _concatenated(_aligned(taken), settings.get("axis", "channels"))
        case "slice":
            axis = axis_number(taken[0].dim(), settings["axis"])
            return taken[0].narrow(axis, settings["first"], settings["last"] - settings["first"])
        case "pad":
            return F.pad(taken[0], settings["frame"])
        case "upsample":
            return F.interpolate(taken[0], scale_factor=settings["scale"])
        case "interpolate":
            return F.interpolate(taken[0], kind.outputs[0][:2], mode="bilinear", align_corners=settings["aligned"])
        case "global_avg_pool":
            return _image(taken[0]).mean((2, 3))
        case "zero" if taken:
            return torch.zeros_like(taken[0])
        case "zero":
            sizes = (len(example), *default_sizes(kind.outputs[0]))
            return example.new_zeros(sizes, dtype=_floating(example))
        case "conv" | "conv_transpose" | "linear":
            return _computed(kind, _fitted(taken[0], kind), *taken[1:])
    return _ACTIVATIONS[kind.operation](taken[0])


def _floating(example: Tensor) -> torch.dtype:
    """The type of what the pass makes up: the input's, unless that holds numbers of words."""
    return example.dtype if example.is_floating_point() else torch.float32


def _computed(kind: Kind, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A layer whose weight is computed."""
    if kind.operation == "linear":
        return F.linear(x, weight, bias)
    if kind.operation == "conv":
        return F.conv2d(x, weight, bias, kind.stride, kind.padding, kind.dilation, kind.groups)
    around = kind.settings.get("output_padding", 0)
    return F.conv_transpose2d(x, weight, bias, kind.stride, kind.padding, around, kind.groups, kind.dilation)


def _fitted(x: Tensor, kind: Kind) -> Tensor:
    """A vector as the image of one pixel that a convolution reads, and the other way round for a linear layer."""
    if kind.operation == "linear":
        pixel = x.dim() == 4 and x.shape[2:] == (1, 1) and kind.inputs[0] == (1, 1, x.shape[1])
        return x.flatten(1) if pixel else x
    return _image(x) if kind.operation in ("conv", "conv_transpose", "max_pool", "avg_pool") else x


def _aligned(values: list[Tensor]) -> list[Tensor]:
    """Vectors as images of one pixel where they meet images."""
    return [_image(value) for value in values] if any(value.dim() == 4 for value in values) else values


def _concatenated(values: list[Tensor], axis: str) -> Tensor:
    """Along a named axis; what has one sample (a class token) is repeated for each of the others'."""
    batch = max(len(value) for value in values)
    whole = [value if len(value) == batch else value.expand(batch, *value.shape[1:]) for value in values]
    return torch.cat(whole, axis_number(values[0].dim(), axis))


def _image(x: Tensor) -> Tensor:
    return x.view(*x.shape, 1, 1) if x.dim() == 2 else x
