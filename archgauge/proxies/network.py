"""What the proxies share: a seeded network, its weighted layers, the loss and its gradients.

A proxy is a module of this package with

    score(network, images, labels, rng) -> dict[int, float]

- `network`: a RealisedGraph of its own (`initialised`), in train mode, so batch normalisation takes the statistics of
  the batch; the proxy may change it.
- `images`: (B, C, H, W) float32; `labels`: (B,) int64 class indices.
- `rng`: the source of all randomness of the proxy itself; most use none.

A proxy of the weights and the gradient of the loss alone also has `of_gradient(own, gradient)`, both by node, so that
several share one backward pass.

It returns what each node of the graph contributes; the score of the network is their sum, higher is better. A proxy
that is no sum over nodes returns one value under `WHOLE`. A network without the operations that a proxy looks at has
no score: no node contributes. Values may be NaN or infinite; the runner counts these.

Layers are convolutions (transposed ones too) and linear layers, the classifier among them. Their weights count; biases
and normalisations do not (SamsungLabs/zero-cost-nas). Nodes that share weights count once, under the first. A dead
branch has gradients of zero.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from archgauge.graphs.graph import Graphs
from archgauge.graphs.realise import RealisedGraph, realise

Score = dict[int, float]

WHOLE = -1
"""Stands for the whole network where a node is expected."""

RECTIFIERS = frozenset[Callable]({F.relu, F.relu6, F.leaky_relu, F.prelu})
Layer = nn.Conv2d | nn.ConvTranspose2d | nn.Linear
BatchNorm = nn.modules.batchnorm._BatchNorm
Normalisation = BatchNorm | nn.LayerNorm | nn.GroupNorm
Key = TypeVar("Key")


def initialised(graph: Graphs, seed: int) -> RealisedGraph:
    """The network of one graph with PyTorch's default initialisation from a seed, in train mode."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return realise(graph).train()


def weighted(network: RealisedGraph) -> dict[int, Layer]:
    """Node -> its convolution or linear layer."""
    return {int(node): layer for node, layer in network.layers.items() if isinstance(layer, Layer)}


def weights(network: RealisedGraph) -> dict[int, Tensor]:
    """Node -> the weight of its layer."""
    return {node: layer.weight for node, layer in weighted(network).items()}


def loss(network: RealisedGraph, images: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy of the network's logits."""
    return F.cross_entropy(network(images).flatten(1), labels)


def gradients(value: Tensor, of: dict[Key, Tensor], create_graph: bool = False) -> dict[Key, Tensor]:
    """Node (or call) -> the gradient of a scalar; zeros where it does not depend on a tensor."""
    if not of:
        return {}
    found = torch.autograd.grad(value, list(of.values()), create_graph=create_graph, materialize_grads=True)
    return dict(zip(of, found, strict=True))


class Watched(TorchFunctionMode):
    """A context that keeps the first argument of each call of some functions, in the order of the calls."""

    def __init__(self, functions: frozenset[Callable]):
        super().__init__()
        self.functions = functions
        self.inputs: list[Tensor] = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in self.functions:
            self.inputs.append(args[0])
        return function(*args, **(kwargs or {}))
