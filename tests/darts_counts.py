"""What the truth tables of DARTS-like networks count, counted on our graphs."""

import json
from collections import Counter

import numpy as np

from archgauge.graphs.graph import Graphs

MODULES = {
    "conv": "Conv2d",
    "depthwise": "Conv2d_depthwise",
    "batch_norm": "BatchNorm2d",
    "max_pool": "MaxPool2d",
    "avg_pool": "AvgPool2d",
    "global_avg_pool": "AdaptiveAvgPool2d",
    "linear": "Linear",
    "pad": "ConstantPad2d",
    "zero": "Zero",
}
FUNCTIONS = {"relu": ("relu", "relu_"), "slice": ("slice",)}


def counted(graph: Graphs) -> Counter:
    """Operations of a graph; `adds` are sums of two."""
    found: Counter = Counter()
    for index in graph.kind.tolist():
        kind = graph.kinds[index]
        depthwise = kind.operation == "conv" and kind.groups == kind.inputs[0][2] > 1
        found["depthwise" if depthwise else kind.operation] += 1
        found["slice"] += 2 * (kind.operation == "zero" and not kind.inputs)  # theirs takes every second row and column
    terms = np.bincount(graph.edge_target, minlength=len(graph.kind))
    found["adds"] = int((terms - 1)[graph.having("add")].sum())
    return found


def published(row: dict) -> Counter:
    """The same of a row of a truth table, without concatenations."""
    modules, functions = json.loads(row["modules"]), json.loads(row["functional"])
    found = Counter({ours: modules.get(name, 0) for ours, name in MODULES.items()})
    found |= Counter({ours: sum(functions.get(name, 0) for name in names) for ours, names in FUNCTIONS.items()})
    found["adds"] = row["adds"]
    return +found
