"""GENNAPE's graph encoder: a k-GNN beside a Transformer, each averaged over the nodes, concatenated (supplement)."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn

from archgauge.encoders.node_embedding import NodeEmbedding
from archgauge.errors import ConfigError, FormatError
from archgauge.graphs import features as feature_sets
from archgauge.graphs.batch import GraphBatch
from archgauge.graphs.features import NodeFeatures
from archgauge.graphs.operations import Kind
from archgauge.nn.attention import TransformerLayer, tokens_of
from archgauge.nn.checkpoint import read_checkpoint, write_checkpoint
from archgauge.nn.graph_conv import KGnn
from archgauge.nn.heads import initialise
from archgauge.nn.message_passing import backend

FEATURES = {"gennape": feature_sets.gennape, "extended": feature_sets.extended}
_FORMAT = "archgauge graph encoder 1"


class Store(Protocol):
    """The part of a graph store that an encoder reads."""

    @property
    def kinds(self) -> Iterable[Kind]: ...
    @property
    def node_count(self) -> np.ndarray: ...
    def batch(self, indices: np.ndarray) -> GraphBatch: ...


@dataclass(frozen=True)
class KindTensors:
    """Features of the K kinds of a store, ready for an encoder; see `GraphEncoder.kind_tensors`.

    Attributes:
        categories: (K, c) int64.
        numbers: (K, r) float32.
    """

    categories: Tensor
    numbers: Tensor


@dataclass(frozen=True)
class GraphEncoderConfig:
    """What rebuilds an encoder, besides its weights. Defaults are GENNAPE's (supplement and public code).

    Attributes:
        features: "gennape" or "extended", a feature set of `archgauge.graphs.features`.
        direction: "forward" or "both", where messages run; see `KGnn`.
        aggregation: "sum" or "mean" of messages; see `GraphConv`.
        node_width: width of a node's embedding.
        half_width: width of each half; an embedding has D = 2 * half_width.
        gnn_layers: GraphConv layers.
        heads: attention heads of the one Transformer layer.
        feedforward: hidden width of that layer; Vaswani et al. take four times its width.
        dropout: rate in the Transformer half. The k-GNN of the public code has none, so it is the same in both twins.
    """

    features: Literal["gennape", "extended"] = "gennape"
    direction: Literal["forward", "both"] = "forward"
    aggregation: Literal["sum", "mean"] = "sum"
    node_width: int = 32
    half_width: int = 64
    gnn_layers: int = 4
    heads: int = 2
    feedforward: int = 256
    dropout: float = 0.1

    def __post_init__(self):
        if self.features not in FEATURES:
            raise ConfigError(
                "the configuration of a graph encoder",
                where="features",
                expected=f"one of {', '.join(FEATURES)}",
                got=repr(self.features),
                remedy="Correct the encoder's block in the configuration.",
            )


class GraphEncoder(nn.Module):
    """Computation graphs to vectors of D = 2 * half_width.

    Dropout never depends on a training mode: it acts in `twins`, whose masks come from a generator, and nowhere else.

    Args:
        config: the shape of the encoder.
        generator: source of the initial weights.
        message_backend: name of a message passing backend; the numbers do not depend on it beyond rounding.
    """

    def __init__(self, config: GraphEncoderConfig, generator: torch.Generator, message_backend: str = "torch"):
        super().__init__()
        self.config = config
        self.backend = backend(message_backend)
        empty = _features_of(config, [])
        width = config.half_width
        self.embedding = NodeEmbedding(empty.cardinality, empty.numbers.shape[1], config.node_width)
        self.gnn = KGnn(
            config.node_width, width, config.gnn_layers, config.aggregation, config.direction, message_backend
        )
        self.widen = nn.Linear(config.node_width, width)
        self.transformer = TransformerLayer(width, config.heads, config.feedforward, config.dropout)
        initialise(self, generator)

    @property
    def width(self) -> int:
        """D, the length of an embedding."""
        return 2 * self.config.half_width

    @property
    def device(self) -> torch.device:
        return self.widen.weight.device

    def kind_tensors(self, kinds: Iterable[Kind]) -> KindTensors:
        """Features of a kind table, on the encoder's device; worth keeping as long as the table does not grow."""
        found = _features_of(self.config, kinds)
        return KindTensors(
            torch.from_numpy(found.categories).to(self.device), torch.from_numpy(found.numbers).to(self.device)
        )

    def forward(self, batch: GraphBatch, kinds: KindTensors) -> Tensor:
        """Embed B graphs without dropout: (B, D)."""
        return self._encode(batch, kinds, None, copies=1)[0]

    def twins(self, batch: GraphBatch, kinds: KindTensors, generator: torch.Generator, copies: int = 2) -> Tensor:
        """Embed B graphs several times, each with its own dropout masks from `generator`: (copies, B, D)."""
        return self._encode(batch, kinds, generator, copies)

    def _encode(self, batch: GraphBatch, kinds: KindTensors, generator: torch.Generator | None, copies: int) -> Tensor:
        embedded = self.embedding(kinds.categories, kinds.numbers)
        local = self.gnn(embedded, batch).expand(copies, -1, -1)
        return torch.cat([local, self._global(embedded, batch, generator, copies)], dim=-1)

    def _global(self, embedded: Tensor, batch: GraphBatch, generator: torch.Generator | None, copies: int) -> Tensor:
        """The Transformer half: (K, node_width) -> (copies, B, half_width)."""
        tokens = tokens_of(batch, len(embedded))
        x = self.widen(embedded).index_select(0, tokens.kind)
        x = self.transformer(x, tokens, generator=generator, copies=copies)
        share = tokens.count / batch.node_offset.diff().repeat_interleave(tokens.offset.diff())
        weighted = (x * share[:, None]).transpose(0, 1).reshape(len(share), -1)
        return self.backend.segment_sum(weighted, tokens.offset).view(len(batch), copies, -1).transpose(0, 1)

    def embed(self, store: Store, rows: np.ndarray, batch_size: int = 256) -> np.ndarray:
        """Embed the graphs `rows` of a store, without dropout and without gradients.

        Graphs go through in order of size, so that a batch pads little.

        Args:
            store: a graph store.
            rows: (N,) row numbers in the store.
            batch_size: graphs at a time.

        Returns:
            (N, D) float32, in the order of `rows`.
        """
        result = np.empty((len(rows), self.width), np.float32)
        order = np.argsort(store.node_count[rows], kind="stable")
        kinds = self.kind_tensors(store.kinds)
        with torch.inference_mode():
            for start in range(0, len(rows), batch_size):
                chosen = order[start : start + batch_size]
                result[chosen] = self(store.batch(rows[chosen]).to(self.device), kinds).cpu().numpy()
        return result

    def save(self, path: str | Path) -> None:
        """Write the configuration, the names of the features and the weights to one file."""
        content = {
            "config": asdict(self.config),
            "feature_names": list(_features_of(self.config, []).names),
            "state": self.state_dict(),
        }
        write_checkpoint(path, _FORMAT, content)

    @classmethod
    def load(cls, path: str | Path, message_backend: str = "torch") -> Self:
        """Rebuild an encoder, on the CPU, from what `save` wrote.

        Raises:
            FormatError: when the file is missing, damaged or something else, or was trained on features of another
                meaning.
        """
        remedy = "Delete the file and train the encoder again."
        content = read_checkpoint(path, _FORMAT, what="the checkpoint of a graph encoder", remedy=remedy)
        config = GraphEncoderConfig(**content["config"])
        names = list(_features_of(config, []).names)
        if names != content["feature_names"]:
            raise FormatError(
                f"the node features of an encoder trained on {config.features!r}",
                where=path,
                expected=", ".join(names),
                got=", ".join(content["feature_names"]),
                remedy="Train the encoder again: the feature set has changed since.",
            )
        encoder = cls(config, torch.Generator(), message_backend)
        encoder.load_state_dict(content["state"])
        return encoder


def _features_of(config: GraphEncoderConfig, kinds: Iterable[Kind]) -> NodeFeatures:
    return FEATURES[config.features](kinds)
