"""Laplacian spectra: the topological fingerprint that contrastive pretraining compares graphs by."""

import numpy as np

from archgauge.graphs.graph import Graphs


def laplacian_eigenvalues(graphs: Graphs, count: int) -> np.ndarray:
    """The smallest eigenvalues of I - D^(-1/2) A D^(-1/2) of each underlying undirected graph.

    Parallel edges count once. A graph with fewer nodes than `count` is padded with zeros (the papers do not say).
    One dense `eigvalsh` a graph: on graphs of some 190 nodes every sparse, banded or partial solver was slower.

    Returns:
        (B, count) float32, ascending before the padding, within [0, 2].
    """
    spectra = np.zeros((len(graphs), count), np.float32)
    for row in range(len(graphs)):
        edges = slice(*graphs.edge_offset[row : row + 2])
        first, last = graphs.node_offset[row : row + 2]
        source, target = graphs.edge_source[edges] - first, graphs.edge_target[edges] - first
        smallest = np.linalg.eigvalsh(_normalised_laplacian(last - first, source, target))[:count]
        spectra[row, : len(smallest)] = smallest
    return spectra


def _normalised_laplacian(nodes: int, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    adjacency = np.zeros((nodes, nodes))
    adjacency[source, target] = adjacency[target, source] = 1
    degree = adjacency.sum(1)
    scale = np.divide(1, np.sqrt(degree), out=np.zeros(nodes), where=degree > 0)
    return np.diag((degree > 0).astype(float)) - scale[:, None] * adjacency * scale
