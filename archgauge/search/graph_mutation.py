"""Mutations of computation graphs: a random run of operations makes way for a new subgraph of the same shapes.

Source: GENNAPE, supplement, "Search Algorithm Details": "randomly replacing a sequence of primitive operations with a
sub-graph of new operations, ensuring that previous HWC channel constraints are met". The paper says neither how long a
sequence is nor what the new operations are. Here a run is a chain of at most `LONGEST` operations on images, between
which nobody else reads; so stems, heads and shortcuts mutate as well as cells. What replaces it:

    subgraph := path | path + path | concat(path, path) | nothing, or a skip beside a path, where the shapes allow it
    path     := one to three of: convolution, max pool, average pool, activation

A convolution comes with the batch norm and the activation that the graph's own ones have, before or behind it as often
as there. Kernels and activations are the graph's own, beside 1x1 and 3x3. A run that ends behind the global pool is
replaced by a subgraph, a global pool and, where channels change, a linear layer.

A run that shrinks an image by s is replaced by layers whose strides multiply to s: with half of an odd kernel padded,
a layer of stride s makes ceil(H / s) of H, and ceil(ceil(H / a) / b) = ceil(H / ab).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from archgauge.errors import GraphError
from archgauge.graphs.builder import GraphBuilder, Value
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.graph import Graphs
from archgauge.graphs.normal_form import live
from archgauge.graphs.operations import ACTIVATIONS, BATCH_NORM_EPS, Pair, Shape

LONGEST = 9
"""Operations of a run: three convolutions with their batch norms and activations."""

MOST_LAYERS = 3
"""Layers of a path."""

GROUPS = (2, 4, 8)
"""Of a grouped convolution, beside as many as it has channels."""

GROUPED = 0.5
"""Share of the convolutions that are grouped, where the channels allow it."""

REPLACEABLE = frozenset({"conv", "batch_norm", "max_pool", "avg_pool", "global_avg_pool", "linear", *ACTIVATIONS})
_RESIZING = ("conv", "max_pool", "avg_pool")
_FROM_IMAGES = frozenset({*_RESIZING, "conv_transpose", "upsample", "interpolate"})
_KEEPING = frozenset(
    {*ACTIVATIONS, "prelu", "batch_norm", "group_norm", "instance_norm", "scale", "shift", "slice", "pad"}
)
_JOINING = frozenset({"add", "mul", "concat"})
Choice = TypeVar("Choice")


def mutate(graph: Graphs, rng: np.random.Generator) -> Graphs:
    """Replace one run of a graph, drawn uniformly, by a random subgraph; draw again until it is another graph.

    Returns:
        One live graph in normal form, with the inputs and outputs of `graph`, over the same kind table, which takes in
        new kinds.

    Raises:
        GraphError: when no run can be replaced.
    """
    graph = live(graph)
    style, choices = Style.of(graph), runs(graph)
    if not choices:
        raise GraphError(
            "the operations that a mutation may replace",
            where="archgauge.search.graph_mutation.mutate",
            expected=f"at least one of {', '.join(sorted(REPLACEABLE))} on images",
            got=f"none among {len(graph.kind)} nodes",
            remedy="Search from another network: this one has no layer that images pass through.",
        )
    while True:
        child = _replaced(graph, choices[rng.integers(len(choices))], style, rng)
        if not _equal(child, graph):
            return child


def runs(graph: Graphs) -> list[list[int]]:
    """All runs of one live graph that can be replaced, each as its nodes from entry to exit."""
    kinds = [graph.kinds[kind] for kind in graph.kind]
    inputs = np.bincount(graph.edge_target, minlength=len(kinds))
    readers = np.bincount(graph.edge_source, minlength=len(kinds))
    fits = graph.having(*REPLACEABLE) & (inputs == 1) & (graph.weight_id < 0)
    before, after = np.full(len(kinds), -1), np.full(len(kinds), -1)
    before[graph.edge_target], after[graph.edge_source] = graph.edge_source, graph.edge_target
    wide = np.array([bool(kind.inputs) and kind.inputs[0][1] > 1 for kind in kinds])
    entries = fits & wide & images(graph)[before]
    found = []
    for first in np.flatnonzero(entries).tolist():
        entry, run, pooled = kinds[first].inputs[0], list[int](), False
        node = first
        while len(run) < LONGEST and fits[node] and (pooled or kinds[node].operation != "linear"):
            run.append(node)
            pooled |= kinds[node].operation == "global_avg_pool"
            if pooled or _stride(entry, kinds[node].outputs[0]):
                found.append(list(run))
            if readers[node] != 1:
                break
            node = int(after[node])
    return found


def images(graph: Graphs) -> np.ndarray:
    """(V,) bool: nodes of one graph whose value certainly has the axes (batch, C, H, W)."""
    certain = np.zeros(len(graph.kind), bool)
    sources: list[list[int]] = [[] for _ in graph.kind]
    for source, target in zip(graph.edge_source.tolist(), graph.edge_target.tolist(), strict=True):
        sources[target].append(source)
    for node, row in enumerate(graph.kind.tolist()):
        kind = graph.kinds[row]
        match kind.operation:
            case "input":
                certain[node] = kind.outputs[0][1] > 1 and not kind.extra
            case operation if operation in _FROM_IMAGES:
                certain[node] = True
            case operation if operation in _KEEPING:
                certain[node] = certain[sources[node][0]]
            case operation if operation in _JOINING:  # whatever meets an image becomes one
                certain[node] = certain[sources[node]].any()
    return certain


@dataclass(frozen=True)
class Style:
    """How a graph's own layers on images look.

    Attributes:
        kernels: (height, width) of odd convolutions, among them always 1x1 and 3x3.
        activations: their names.
        bias: whether most convolutions have one.
        norm: (affine, eps) of most batch norms; None where there are none.
        activation_last: share of the batch norms whose reader is an activation: conv-BN-ReLU against ReLU-conv-BN.
    """

    kernels: tuple[Pair, ...]
    activations: tuple[str, ...]
    bias: bool
    norm: tuple[bool, float] | None
    activation_last: float

    @classmethod
    def of(cls, graph: Graphs) -> "Style":
        """The style of one graph."""
        kinds = [graph.kinds[kind] for kind in graph.kind]
        convs = [kind for kind in kinds if kind.operation == "conv"]
        odd = {kind.kernel for kind in convs if kind.kernel[0] % 2 and kind.kernel[1] % 2}
        norms = [kind for kind in kinds if kind.operation == "batch_norm"]
        settings = Counter((kind.affine, kind.settings.get("eps", BATCH_NORM_EPS)) for kind in norms)
        behind_norm = graph.having("batch_norm")[graph.edge_source]
        read = graph.having(*ACTIVATIONS)[graph.edge_target[behind_norm]]
        on_images = graph.kind[graph.having(*ACTIVATIONS) & images(graph)]
        activations = {graph.kinds[int(kind)].operation for kind in on_images}
        return cls(
            kernels=tuple(sorted(odd | {(1, 1), (3, 3)})),
            activations=tuple(sorted(activations or {"relu"})),
            bias=2 * sum(kind.bias for kind in convs) > len(convs),
            norm=settings.most_common(1)[0][0] if settings else None,
            activation_last=float(read.mean()) if len(read) else 1.0,
        )


def _equal(first: Graphs, second: Graphs) -> bool:
    """Whether two graphs over one kind table are isomorphic; few have the same operations, so hashes are rare."""
    same_kinds = np.array_equal(np.sort(first.kind), np.sort(second.kind))
    return same_kinds and bool(canonical_hash(first) == canonical_hash(second))


def _replaced(graph: Graphs, run: Sequence[int], style: Style, rng: np.random.Generator) -> Graphs:
    """The graph with a new subgraph in the place of a run."""
    build = GraphBuilder(graph.kinds)
    build.params_outside = int(graph.params_outside[0])
    inputs: list[list[tuple[int, int]]] = [[] for _ in graph.kind]
    edges = zip(graph.edge_source.tolist(), graph.edge_output.tolist(), graph.edge_target.tolist(), strict=True)
    for source, output, target in edges:
        inputs[target].append((source, output))
    writer = _Writer(build, style, rng)
    write = writer.head if graph.having("global_avg_pool")[run].any() else writer.subgraph
    value: dict[tuple[int, int], Value] = {}
    for node, sources in enumerate(inputs):
        kind = graph.kinds[int(graph.kind[node])]
        if node == run[-1]:
            value[node, 0] = write(value[inputs[run[0]][0]], kind.outputs[0])
        elif node not in run:
            made = build.node(kind, [value[source] for source in sources], int(graph.weight_id[node]))
            value |= {(node, output): (made, output) if output else made for output in range(len(kind.outputs))}
    return build.finish()


@dataclass(frozen=True)
class _Writer:
    """Writes random subgraphs of given shapes."""

    build: GraphBuilder
    style: Style
    rng: np.random.Generator

    def head(self, x: Value, after: Shape) -> Value:
        """From an image to a vector of `after`'s channels."""
        height, width, channels = self.build.shape(x)
        inside = self._one_of([channels, after[2], 2 * channels])
        x = self.build.global_avg_pool(self.subgraph(x, (height, width, inside)))
        return x if inside == after[2] and self.rng.random() < 0.5 else self.build.linear(x, after[2])

    def subgraph(self, x: Value, after: Shape) -> Value:
        """From an image to one of the shape `after`."""
        before, form = self.build.shape(x), self._one_of(["path", "sum", "concat"])
        if form == "concat" and after[2] > 1:
            first = max(1, after[2] * int(self.rng.integers(1, 4)) // 4)
            parts = [(*after[:2], first), (*after[:2], after[2] - first)]
            return self.build.concat([self.path(x, part) for part in parts])
        empty = before == after and self.rng.random() < 0.5
        if form == "sum":
            return self.build.add([x if empty else self.path(x, after), self.path(x, after)])
        return x if empty else self.path(x, after)

    def path(self, x: Value, after: Shape) -> Value:
        """One to three layers: the last convolution makes the channels, random ones share the stride."""
        before = self.build.shape(x)
        stride = _stride(before, after)
        layers = [self._one_of([*_RESIZING, "activation"]) for _ in range(self.rng.integers(1, MOST_LAYERS + 1))]
        if before[2] != after[2] and "conv" not in layers:
            layers[self.rng.integers(len(layers))] = "conv"
        if stride > 1 and not set(layers) & set(_RESIZING):
            layers[self.rng.integers(len(layers))] = self._one_of(_RESIZING)
        strides = [1] * len(layers)
        resizing = [place for place, layer in enumerate(layers) if layer in _RESIZING]
        for factor in _prime_factors(stride):
            strides[self._one_of(resizing)] *= factor
        convs = [place for place, layer in enumerate(layers) if layer == "conv"]
        for place, (layer, step) in enumerate(zip(layers, strides, strict=True)):
            if layer == "conv":
                x = self._conv(x, after[2] if place == convs[-1] else self._width(x, after[2]), step)
            elif layer == "activation":
                x = self._activation(x)
            else:
                x = self.build.pool(x, layer, 3, stride=step)
        return x

    def _conv(self, x: Value, channels: int, stride: int) -> Value:
        """A convolution with its batch norm, and an activation before or behind the two."""
        last = self.rng.random() < self.style.activation_last
        x = x if last else self._activation(x)
        before = self.build.shape(x)[2]
        groups = [one for one in (*GROUPS, before) if before % one == channels % one == 0]
        grouped = groups and self.rng.random() < GROUPED
        kernel, bias = self._one_of(self.style.kernels), self.style.bias
        x = self.build.conv(
            x, channels, kernel, stride=stride, groups=self._one_of(groups) if grouped else 1, bias=bias
        )
        if self.style.norm is not None:
            affine, eps = self.style.norm
            x = self.build.batch_norm(x, affine=affine, eps=eps)
        return self._activation(x) if last else x

    def _activation(self, x: Value) -> Value:
        return self.build.same(self._one_of(self.style.activations), x)

    def _width(self, x: Value, after: int) -> int:
        return self._one_of([self.build.shape(x)[2], after, 2 * after, max(1, after // 2), max(1, after // 4)])

    def _one_of(self, choices: Sequence[Choice]) -> Choice:
        return choices[int(self.rng.integers(len(choices)))]


def _stride(before: Shape, after: Shape) -> int:
    """The stride of odd padded layers that leads from one image to another, or 0."""
    steps = (-(-old // new) for old, new in zip(before[:2], after[:2], strict=True))
    step = max(steps)
    return step if all(-(-old // step) == new for old, new in zip(before[:2], after[:2], strict=True)) else 0


def _prime_factors(number: int) -> list[int]:
    factors, divisor = [], 2
    while number > 1:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return factors
