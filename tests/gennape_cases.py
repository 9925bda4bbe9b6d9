"""What the tests of GENNAPE's families share: the truth tables, and files written as the authors' code writes them."""

import json
import pickle
import sys
import types
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import nn

from archgauge.formats.gennape import OPERATIONS
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.cost import macs, params
from archgauge.graphs.graph import Graphs
from archgauge.graphs.realise import realise
from archgauge.graphs.trace import trace

MODULES = {
    **{"conv": "Conv2d", "depthwise": "Conv2d_depthwise", "batch_norm": "BatchNorm2d", "linear": "Linear"},
    **{"relu": "ReLU", "relu6": "ReLU6", "max_pool": "MaxPool2d", "avg_pool": "AvgPool2d"},
    "global_avg_pool": "AdaptiveAvgPool2d",
}
FUNCTIONS = {
    **{"conv": "convolution", "depthwise": "convolution", "batch_norm": "native_batch_norm", "linear": "addmm"},
    **{"relu": "relu", "relu6": "hardtanh", "max_pool": "max_pool2d_with_indices", "avg_pool": "avg_pool2d"},
    **{"global_avg_pool": "mean", "add": "add", "concat": "cat"},
}


def truth(tables_dir, family: str) -> list[tuple[dict, dict]]:
    """(the authors' configuration, counts of the authors' network) of each row of a truth table."""
    rows = pq.read_table(tables_dir / "truth" / f"{family}.parquet").to_pylist()
    names = ("params", "macs", "macs_conv", "macs_linear", "adds", "cats")
    nothing = ("Dropout", "Identity")  # of rate 0, and in place of a projection that is not needed: no operations
    return [
        (
            json.loads(row["config"]),
            {name: row[name] for name in names}
            | {"functional": json.loads(row["functional"]), "output_shape": json.loads(row["output_shape"])}
            | {"modules": {name: n for name, n in json.loads(row["modules"]).items() if name not in nothing}},
        )
        for row in rows
    ]


def counted(graph: Graphs) -> dict:
    """The counts of a truth table, of one graph."""
    kinds = [graph.kinds[index] for index in graph.kind]
    names = ["depthwise" if k.operation == "conv" and k.groups > 1 else k.operation for k in kinds]
    terms = np.bincount(graph.edge_target, minlength=len(kinds))
    modules, functions, adds = Counter(), Counter(), 0
    for name, count in zip(names, terms.tolist(), strict=True):
        repeats = count - 1 if name == "add" else 1  # torch adds two tensors at a time
        modules[MODULES.get(name)] += 1
        functions[FUNCTIONS.get(name)] += repeats
        adds += repeats * (name == "add")
    by_kind = {name: sum(k.macs for k in kinds if k.operation == name) for name in ("conv", "linear")}
    modules.pop(None), functions.pop(None)
    return {
        **{"params": int(params(graph)[0]), "macs": int(macs(graph)[0]), "adds": adds, "cats": functions["cat"]},
        **{"macs_conv": by_kind["conv"], "macs_linear": by_kind["linear"], "modules": dict(modules)},
        "functional": {name: n for name, n in functions.items() if n},
        "output_shape": [1, next(k.inputs[0][2] for k in kinds if k.operation == "output")],
    }


def comes_back(graph: Graphs) -> bool:
    """Whether tracing the realised graph gives it again."""
    again = trace(realise(graph), torch.zeros(2, 3, 32, 32))
    return canonical_hash(again)[0] == canonical_hash(graph)[0]


def learns(graph: Graphs) -> bool:
    """Whether a loss of the realised graph has a gradient for every parameter."""
    network = realise(graph)
    loss = network(torch.randn(4, 3, 32, 32)).square().sum()
    loss.backward()
    return all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


class Layers(nn.Module):
    """A network whose layers are made in its first pass and used again, in the same order, in the later ones."""

    def __init__(self, body):
        super().__init__()
        self.layers, self.body = nn.ModuleList(), body
        self.made = False
        self.eval()
        with torch.no_grad():
            self(torch.zeros(1, 3, 32, 32))
        self.made = True

    def forward(self, image):
        used = iter(self.layers)

        def apply(make, x):
            if not self.made:
                self.layers.append(make().eval())
            return (next(used) if self.made else self.layers[-1])(x)

        return self.body(apply, image)


def traced_hash(body) -> str:
    return canonical_hash(trace(Layers(body), torch.zeros(1, 3, 32, 32)))[0]


OFFICIAL = {
    **{"batch_norm": ("fusedbatchnormv3", "batchnorm"), "linear": ("matmul", "matmul"), "concat": ("concat", "concat")},
    **{"max_pool": ("maxpool", "maxpool"), "avg_pool": ("avgpool", "avgpool"), "global_avg_pool": ("mean", "mean")},
}


def official_state(graph: Graphs, name: str = "Net0") -> dict:
    """The state of a graph as GENNAPE's code writes it to JSON: weighted nodes first, no slots."""
    kinds = [graph.kinds[index] for index in graph.kind]
    weighted = [index for index, kind in enumerate(kinds) if kind.operation in ("conv", "linear")]
    order = weighted + [index for index in range(len(kinds)) if index not in weighted]
    place = {index: new for new, index in enumerate(order)}
    edges = sorted(
        [place[a], place[b]] for a, b in zip(graph.edge_source.tolist(), graph.edge_target.tolist(), strict=True)
    )
    nodes = [official_node(index, kinds[index]) for index in order]
    return {
        **{"name": name, "input_shape": [1, 32, 32, 3], "max_hidden_size": 512, "max_kernel_size": 7},
        **{"max_derived_H": 256, "max_derived_W": 256, "edge_pairs": edges},
        **{"regular_nodes": nodes[len(weighted) :], "weighted_nodes": nodes[: len(weighted)]},
    }


def official_node(index: int, kind) -> dict:
    label, operation = OFFICIAL.get(kind.operation, (kind.operation, kind.operation))
    depthwise = kind.operation == "conv" and kind.groups > 1
    if kind.operation == "conv":
        label, operation = ("depthwise", "depthwise") if depthwise else ("conv2d", "conv")
    before, after = (kind.inputs or kind.outputs)[0], (kind.outputs or kind.inputs)[0]
    node = {
        **{"str_id": f"{index}|net/{label}", "op_type_idx": OPERATIONS.index(operation), "label": label},
        "resolution": [size for pair in zip(before, after, strict=True) for size in pair],
        **{"strides": None, "metadata": None},
    }
    if kind.kernel != (0, 0):
        node["strides"] = [1, *kind.stride, 1]
        node["metadata"] = {"data_format": "NHWC", "padding": "same"}
        if kind.operation == "conv":
            node["metadata"]["dilations"] = [1, 1, 1, 1]
            node["shape"] = [before[2], 1 if depthwise else after[2], *kind.kernel]
        else:
            node["metadata"]["ksize"] = [1, *kind.kernel, 1]
    if kind.operation == "linear":
        node["shape"] = [before[2], after[2], 0, 0]
    if kind.bias:
        node["metadata"] = {**(node["metadata"] or {}), "use_bias": True}
    return node


def labelled_file(path, entries: dict[str, dict]):
    """Write a JSON file of labelled networks."""
    path.write_text(json.dumps(entries))
    return path


def one_edit(first: list, second: list) -> bool:
    """Whether two sequences differ in one item replaced, inserted or removed."""
    short, long = sorted((first, second), key=len)
    if len(long) - len(short) > 1 or first == second:
        return False
    start = next((i for i, (a, b) in enumerate(zip(short, long, strict=False)) if a != b), len(short))
    return short[start + (len(short) == len(long)) :] == long[start + 1 :]


def authors_module(monkeypatch):
    """The authors' classes, under their names, as long as a test writes with them."""
    module = types.ModuleType("model_src.comp_graph.tf_comp_graph")
    for name in ("ComputeGraph", "RegularNode", "WeightedNode"):
        setattr(module, name, type(name, (), {"__module__": module.__name__}))
    for name in ("model_src", "model_src.comp_graph"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def compute_graph(module, state):
    """A ComputeGraph with the attributes that the authors' object has."""
    graph = module.ComputeGraph()
    vars(graph).update({k: v for k, v in state.items() if not k.endswith("_nodes")})
    for kind, name, number in (("RegularNode", "regular_nodes", 0), ("WeightedNode", "weighted_nodes", 1)):
        nodes = []
        for node in state[name]:
            nodes.append(getattr(module, kind)())
            vars(nodes[-1]).update({**node, "type_idx": number, "resolution": tuple(node["resolution"])})
        setattr(graph, name, nodes)
        setattr(graph, f"n_{name}", len(nodes))
    graph.edge_pairs = [tuple(pair) for pair in state["edge_pairs"]]
    return graph


def cache(path, entries, protocol=4):
    """A cache: a pickle, by default of the protocol that the authors use."""
    path.write_bytes(pickle.dumps(entries, protocol))
    return path
