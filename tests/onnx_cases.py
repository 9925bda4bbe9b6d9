"""ONNX files written by hand, and what is asked of graphs."""

from collections import Counter

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.normal_form import live

WHOLE = {"dynamo": False, "training": torch.onnx.TrainingMode.TRAINING, "do_constant_folding": False}
"""The settings of torch.onnx.export that fold nothing."""


DEPLOYED = {"dynamo": False}


def same(graphs, others) -> bool:
    return bool((canonical_hash(live(graphs)) == canonical_hash(live(others))).all())


def operations(graph) -> Counter:
    return Counter(graph.kinds[kind].operation for kind in graph.kind.tolist())


def weight(name, *dims):
    return numpy_helper.from_array(np.ones(dims, np.float32), name)


def write(path, nodes, initializers=(), shape=(1, 4, 8, 8), output="y", opset=20, out_shape=None, domains=()):
    """A model of one input x."""
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    result = helper.make_tensor_value_info(output, TensorProto.FLOAT, out_shape)
    graph = helper.make_graph(nodes, "graph", [given], [result], list(initializers))
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    onnx.save(helper.make_model(graph, opset_imports=opsets), path)
    return path
