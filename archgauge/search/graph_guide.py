"""A predictor's word on graphs that stand in no table, described as the workflow describes those that do."""

from typing import Any

import numpy as np

from archgauge.clustering import FuzzyClusters
from archgauge.encoders.graph_encoder import GraphEncoder
from archgauge.graphs import cost
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.graph import Graphs
from archgauge.graphs.store import LiveGraphs
from archgauge.predictors.population import Population


class GraphGuide:
    """Scores live graphs of any family.

    Args:
        predictor: fitted; it reads costs, embeddings and memberships.
        encoder, clusters: make what it reads.
    """

    def __init__(self, predictor: Any, encoder: GraphEncoder, clusters: FuzzyClusters | None):
        self._predictor, self._encoder, self._clusters = predictor, encoder, clusters

    def score(self, graphs: Graphs) -> np.ndarray:
        """Predict N live graphs: (N,) float64, higher is better.

        Raises:
            PredictorError: when the predictor reads more than costs, embeddings and memberships.
        """
        return self._predictor.predict(described(graphs, self._encoder, self._clusters))


def described(graphs: Graphs, encoder: GraphEncoder, clusters: FuzzyClusters | None) -> Population:
    """N live graphs as predictors see them; their names are their canonical hashes."""
    macs, params = cost.macs(graphs).astype(float), cost.params(graphs).astype(float)
    embedding = encoder.embed(LiveGraphs(graphs), np.arange(len(graphs)))
    membership = None if clusters is None else clusters.memberships(embedding, macs).astype(np.float32)
    return Population(canonical_hash(graphs), macs, params, embedding=embedding, membership=membership)
