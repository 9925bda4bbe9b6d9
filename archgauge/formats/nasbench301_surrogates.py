"""The official surrogates of NAS-Bench-301 v1.0: ensembles that predict CIFAR-10 validation accuracy or training time.

The archive holds one folder an ensemble, `xgb_v1.0`, `gnn_gin_v1.0` and `lgb_runtime_v1.0`, and anywhere below it one
folder a member, with `surrogate_model.model` and the member's settings in `model_config.json`, whose `model` names its
kind.

- xgb: a pickled XGBoost booster on `archgauge.formats.nasbench301.features`.
- lgb_time: a pickled LightGBM booster on the same, which predicts seconds.
- gnn_gin: a PyTorch state dict of a graph isomorphism network with a virtual node (Hu et al. 2020, OGB), on a graph of
  14 nodes: of each cell two inputs, four nodes and an output. Edges carry operations; "identity" joins the nodes to
  their output, the normal output to itself and to both inputs of the reduction cell, and the reduction output to the
  inputs of the normal cell. A node is known by its kind and its degree in the undirected graph. The mean over nodes
  goes through a linear layer and a sigmoid.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from archgauge.errors import FormatError
from archgauge.formats import nasbench301
from archgauge.formats._members import load_json, members
from archgauge.formats.lightgbm_trees import LightForest, read_pickled_lightgbm
from archgauge.formats.nasbench301 import FEATURES, OPERATIONS, Cells
from archgauge.formats.xgboost_trees import MAX_BYTES, Forest, read_pickled_forest

_MODEL, _SETTINGS = "surrogate_model.model", "model_config.json"
_SETTINGS_MAX_BYTES = 2**20
_GRAPHS = 512  # scored at once

Member = Callable[[Sequence[Cells]], np.ndarray]
"""Gives (N,) predictions of N pairs of cells, in percent or seconds."""


@dataclass(frozen=True)
class Ensemble:
    """The members of one surrogate; `name` is "xgb", "gin", or of training time "lgb"."""

    name: str
    members: tuple[Member, ...]

    def predict(self, cells: Sequence[Cells]) -> np.ndarray:
        """(M, N) float64 validation accuracies in percent, or seconds, by each of M members. The benchmark predicts
        their mean, and with noise a normal draw around it with their standard deviation."""
        return np.stack([member(cells) for member in self.members]).astype(float)


def read_ensembles(path: Path) -> list[Ensemble]:
    """Read the ensembles in the archive, in a folder of it, or in a folder of one ensemble.

    Raises:
        FormatError: when a file is damaged, hostile or of another kind, or there is no ensemble.
    """
    settings: dict[PurePosixPath, dict[str, Any]] = {}
    for name, content in members(path, lambda name: name == _SETTINGS, _SETTINGS_MAX_BYTES):
        settings[PurePosixPath(name).parent] = load_json(content, path / name)
    found: dict[str, list[Member]] = {}
    for name, content in members(path, lambda name: name == _MODEL, MAX_BYTES):
        given = settings.get(PurePosixPath(name).parent)
        if not isinstance(given, dict) or "model" not in given:
            raise _wrong(path / name, f"no {_SETTINGS} beside it that names its model")
        match given["model"]:
            case "xgb":
                found.setdefault("xgb", []).append(_trees(read_pickled_forest(content, path / name, FEATURES)))
            case "gnn_gin":
                found.setdefault("gin", []).append(_gin(content, path / name, given))
            case "lgb_time":
                found.setdefault("lgb", []).append(_trees(read_pickled_lightgbm(content, path / name, FEATURES)))
            case other:
                raise _wrong(path / name, f"a model {other!r}")
    if not found:
        raise _wrong(path, f"no {_MODEL}")
    return [Ensemble(name, tuple(parts)) for name, parts in sorted(found.items(), reverse=True)]


def _wrong(where: Path, got: object) -> FormatError:
    return FormatError(
        "a surrogate of NAS-Bench-301",
        where=where,
        expected="the members of xgb_v1.0, gnn_gin_v1.0 or lgb_runtime_v1.0, each a model beside its model_config.json",
        got=f"{type(got).__name__}: {got}" if isinstance(got, Exception) else got,
        remedy="Fetch nb_models v1.0 again from its authors (figshare article 13061510).",
    )


def _trees(forest: Forest | LightForest) -> Member:
    return lambda cells: forest.predict(np.stack([nasbench301.features(pair) for pair in cells]))


# The graph isomorphism network

_IDENTITY = 0  # operations are numbered from 1 on edges
_NODE_KINDS = (0, 1, 2, 2, 2, 2, 3)  # input 0, input 1, node, output
_NODES = len(_NODE_KINDS)
_DEGREES = 8
_OUTPUT_EDGES = [(node, 6) for node in range(2, 6)]
_BETWEEN_CELLS = [(6, 6), (6, 7), (6, 8), (13, 0), (13, 1)]
_MOST_LAYERS, _MOST_CHANNELS = 64, 1024


def gin_graph(cells: Cells) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The graph of a genotype: (14, 2) kind and degree of each node, (2, 29) edges, (29,) operation of each edge.

    As the authors' code has it: the edges of a cell are sorted by their source, its operations by the node that they
    lead to, and the two are paired in these orders, so that most operations lie on another edge than their own. The
    network was trained on such graphs.
    """
    edges: list[tuple[int, int]] = []
    operations: list[int] = []
    for shift, side in zip((0, _NODES), cells, strict=True):
        own = sorted((source, 2 + place // 2) for place, (_, source) in enumerate(side))
        edges += [(source + shift, target + shift) for source, target in (*own, *_OUTPUT_EDGES)]
        operations += [OPERATIONS.index(name) + 1 for name, _ in side]
        operations += [_IDENTITY] * len(_OUTPUT_EDGES)
    edges += _BETWEEN_CELLS
    operations += [_IDENTITY] * len(_BETWEEN_CELLS)
    undirected = {pair for a, b in edges for pair in ((a, b), (b, a))}
    degree = np.bincount([a for a, _ in undirected], minlength=2 * _NODES)
    return np.stack([np.array(_NODE_KINDS * 2), degree], 1), np.array(edges).T, np.array(operations)


class GinSurrogate(nn.Module):
    """One member; the names of its parts are those of the published state dict."""

    def __init__(self, channels: int, layers: int):
        super().__init__()
        self.node_encoder = _NodeEncoder(channels)  # the published state holds it under both names
        self.gnn_node = _Messages(self.node_encoder, channels, layers)
        self.graph_pred_linear = nn.Linear(channels, 1)

    def forward(self, nodes: Tensor, edges: Tensor, operations: Tensor) -> Tensor:
        """(B,) accuracies from 0 to 1.

        Args:
            nodes: (B, 14, 2) kind and degree.
            edges: (2, B * E) source and target in the nodes laid one after another.
            operations: (B * E,) of the edges.
        """
        return self.graph_pred_linear(self.gnn_node(nodes, edges, operations).mean(1)).flatten().sigmoid()


class _NodeEncoder(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.type_encoder = nn.Embedding(4, channels)
        self.attribute_encoder = nn.Embedding(_DEGREES, channels)

    def forward(self, nodes: Tensor) -> Tensor:
        return self.type_encoder(nodes[..., 0]) + self.attribute_encoder(nodes[..., 1])


class _Messages(nn.Module):
    """Layers of messages. A virtual node adds to all nodes before a layer and takes in their sum."""

    def __init__(self, encoder: _NodeEncoder, channels: int, layers: int):
        super().__init__()
        self.node_encoder = encoder
        self.virtualnode_embedding = nn.Embedding(1, channels)
        self.convs = nn.ModuleList(_GinLayer(channels) for _ in range(layers))
        self.batch_norms = nn.ModuleList(nn.BatchNorm1d(channels) for _ in range(layers))
        self.mlp_virtualnode_list = nn.ModuleList(_virtual_layer(channels) for _ in range(layers - 1))

    def forward(self, nodes: Tensor, edges: Tensor, operations: Tensor) -> Tensor:
        """(B, 14, channels) of nodes, edges and operations as `GinSurrogate` takes them."""
        h = self.node_encoder(nodes)
        shape = h.shape
        virtual = self.virtualnode_embedding.weight.expand(shape[0], -1)
        for layer, (conv, norm) in enumerate(zip(self.convs, self.batch_norms, strict=True)):
            h = h + virtual[:, None]
            gathered = h.sum(1) + virtual
            h = norm(conv(h.flatten(0, 1), edges, operations)).view(shape)
            if layer < len(self.mlp_virtualnode_list):  # the last layer has neither
                h, virtual = h.relu(), self.mlp_virtualnode_list[layer](gathered)
        return h


class _GinLayer(nn.Module):
    """mlp((1 + eps) h_v + sum over edges u -> v of ReLU(h_u + the operation's embedding))."""

    def __init__(self, channels: int):
        super().__init__()
        wide = 2 * channels
        self.mlp = nn.Sequential(nn.Linear(channels, wide), nn.BatchNorm1d(wide), nn.ReLU(), nn.Linear(wide, channels))
        self.eps = nn.Parameter(torch.zeros(1))
        self.edge_encoder = nn.Embedding(len(OPERATIONS) + 1, channels)

    def forward(self, h: Tensor, edges: Tensor, operations: Tensor) -> Tensor:
        messages = (h.index_select(0, edges[0]) + self.edge_encoder(operations)).relu()
        return self.mlp((1 + self.eps) * h + torch.zeros_like(h).index_add_(0, edges[1], messages))


def _virtual_layer(channels: int) -> nn.Sequential:
    wide = 2 * channels
    first = (nn.Linear(channels, wide), nn.BatchNorm1d(wide), nn.ReLU())
    return nn.Sequential(*first, nn.Linear(wide, channels), nn.BatchNorm1d(channels), nn.ReLU())


def _gin(content: bytes, where: Path, settings: dict[str, Any]) -> Member:
    _check_settings(settings, where)
    model = GinSurrogate(settings["gnn_hidden_dimensions"], settings["num_gnn_layers"])
    try:
        model.load_state_dict(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
    except Exception as error:  # damaged bytes make the loader raise nearly anything
        raise _wrong(where, error) from error
    model.eval()

    def predict(cells: Sequence[Cells]) -> np.ndarray:
        parts = [_score(model, cells[start : start + _GRAPHS]) for start in range(0, len(cells), _GRAPHS)]
        return np.concatenate([np.empty(0, np.float32), *parts])

    return predict


def _check_settings(settings: dict[str, Any], where: Path) -> None:
    sizes = {"num_gnn_layers": (2, _MOST_LAYERS), "gnn_hidden_dimensions": (1, _MOST_CHANNELS)}
    odd = [name for name in ("undirected_graph", "self_loops") if settings.get(f"graph_preprocessing:{name}")]
    for name, (least, most) in sizes.items():
        size = settings.get(name)
        if not isinstance(size, int) or not least <= size <= most:
            odd.append(name)
    if settings.get("graph_pooling") != "mean":
        odd.append("graph_pooling")
    if settings.get("virtual_node") is not True:
        odd.append("virtual_node")
    if odd:
        raise _wrong(where, f"settings that this network cannot have: {', '.join(odd)}")


@torch.inference_mode()
def _score(model: GinSurrogate, cells: Sequence[Cells]) -> np.ndarray:
    graphs = [gin_graph(pair) for pair in cells]
    nodes, edges, operations = (np.stack([graph[part] for graph in graphs]) for part in range(3))
    shift = 2 * _NODES * np.arange(len(cells))[:, None, None]
    laid = (edges + shift).transpose(1, 0, 2).reshape(2, -1)
    return 100 * model(*map(torch.from_numpy, (nodes, laid, operations.reshape(-1)))).numpy()
