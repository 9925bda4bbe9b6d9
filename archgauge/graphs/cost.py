"""Exact costs of computation graphs, from their kinds."""

import numpy as np

from archgauge.graphs.graph import Graphs


def macs(graphs: Graphs) -> np.ndarray:
    """(B,) int64 multiply-adds of a forward pass of one sample: convolutions, linear layers and other products with
    a weight, dead branches too.

    A weight is what no input takes part in: a parameter, a buffer, what is computed of such alone. A layer that shares
    its weights is counted each time that it is run. A product of two activations (attention) counts 0.
    """
    return _summed(graphs, np.array([kind.macs for kind in graphs.kinds], np.int64)[graphs.kind])


def params(graphs: Graphs) -> np.ndarray:
    """(B,) int64 trainable parameters of the forward path; shared weights are counted once.

    In a traced model those of layers count whether they are frozen (`requires_grad`) or not; a parameter that no layer
    holds, such as a position embedding, counts as a buffer where it is frozen.
    """
    counts = np.array([kind.params for kind in graphs.kinds], np.int64)[graphs.kind]
    sharing = np.flatnonzero(graphs.weight_id >= 0)
    keys = np.stack([graphs.graph_of_node[sharing], graphs.weight_id[sharing]])
    repeated = np.ones(len(sharing), bool)
    repeated[np.unique(keys, axis=1, return_index=True)[1]] = False
    counts[sharing[repeated]] = 0
    return _summed(graphs, counts)


def _summed(graphs: Graphs, values: np.ndarray) -> np.ndarray:
    total = np.concatenate([[0], np.cumsum(values)])
    return total[graphs.node_offset[1:]] - total[graphs.node_offset[:-1]]
