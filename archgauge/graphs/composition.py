"""What a live graph is made of: how much of which operation, and where its MACs, parameters and activations lie.

Beside `archgauge.graphs.paths`, which says how operations follow one another, this says what there is of each, in a
form that networks of different families share. Counts enter by their logarithms: a network twice as deep is a step
away, whatever its size.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa

from archgauge.graphs.graph import Graphs
from archgauge.graphs.normal_form import live
from archgauge.graphs.operations import WEIGHTED, Kind
from archgauge.graphs.signal import DEPTHS, signal_depths
from archgauge.graphs.tables import iter_graphs, read_kinds
from archgauge.schemas import COMPOSITIONS, write_table

_LAYERS = ("spatial", "grouped_spatial", "pointwise", "grouped_pointwise", "depthwise", "linear")
"""Classes of layers with weights. A convolution is spatial when its kernel is wider than 1."""

_OTHERS = {
    "batch_norm": ("batch_norm",),
    "other_norm": ("layer_norm", "group_norm", "instance_norm"),
    "relu": ("relu", "relu6", "leaky_relu", "prelu"),
    "smooth": ("silu", "hardswish", "gelu", "tanh"),
    "gate": ("sigmoid", "hardsigmoid"),
    "softmax": ("softmax",),
    "attention": ("matmul", "attention"),
    "pool": ("max_pool", "avg_pool"),
    "global_pool": ("global_avg_pool",),
    "add": ("add",),
    "mul": ("mul",),
    "concat": ("concat",),
    "rearrangement": ("slice", "permute", "reshape", "pad"),
    "upsample": ("upsample", "interpolate"),
    "unknown": ("other",),
}
"""Classes of operations without weights that steer an architecture, by the names of the vocabulary."""

_SIZES = (
    "log_macs",
    "log_params",
    "log_macs_per_param",
    "log_activations",
    "log_mean_channels",
    "log_mean_pixels",
    "log_most_channels",
    "log_input_pixels",
)

COMPOSITION = (
    *_SIZES,
    *(f"log_nodes_{name}" for name in (*_LAYERS, *_OTHERS)),
    *(f"macs_share_{name}" for name in _LAYERS),
    *(f"params_share_{name}" for name in _LAYERS),
)
"""Names of the F columns of `composition`."""

COMPOSITION_AND_DEPTHS = (*COMPOSITION, *DEPTHS)
"""Names of the numbers of a COMPOSITIONS row."""

CHUNK_GRAPHS = 1000
"""Graphs that are worked out at a time."""


def composition(graphs: Graphs) -> np.ndarray:
    """What B live graphs are made of: (B, F) float64, columns `COMPOSITION`.

    Logarithms are natural, of one plus the number. Activations are the elements that layers with weights put out.
    The mean of channels weighs a layer by its activations, the mean of pixels by its parameters; layers that share
    weights count each time. A graph without MACs or parameters has shares of zero.
    """
    kinds = list(graphs.kinds)
    classes = _classes(kinds)
    macs, params = (np.array([getattr(kind, name) for kind in kinds], np.float64) for name in ("macs", "params"))
    layers = classes[:, : len(_LAYERS)]
    macs_of, params_of = _summed(graphs, layers * macs[:, None]), _summed(graphs, layers * params[:, None])
    total_macs, total_params = _summed(graphs, macs[:, None]), _summed(graphs, params[:, None])
    pixels, channels = _outputs(kinds)
    weighted = layers.any(axis=1)
    activations = _summed(graphs, (weighted * pixels * channels)[:, None])
    by_activation = _summed(graphs, (weighted * pixels * channels**2)[:, None])
    by_params = _summed(graphs, (params * pixels)[:, None])
    sizes = (
        total_macs,
        total_params,
        _ratio(total_macs, total_params),
        activations,
        _ratio(by_activation, activations),
        _ratio(by_params, total_params),
        _largest(graphs, weighted * channels),
        _largest(graphs, pixels * [kind.operation == "input" for kind in kinds]),
    )
    shares = _ratio(macs_of, total_macs), _ratio(params_of, total_params)
    return np.hstack([np.log1p(np.hstack([*sizes, _summed(graphs, classes)])), *shares])


def write_compositions(graphs: Path, kinds: Path, compositions: Path) -> None:
    """Write the COMPOSITIONS of a GRAPHS table: `composition`, then `archgauge.graphs.signal.signal_depths`."""
    groups = iter_graphs(graphs, read_kinds(kinds), ["arch_id"])
    write_table(compositions, (_rows(*group) for group in groups), COMPOSITIONS)


def _rows(group: Graphs, columns: pa.Table) -> pa.Table:
    chunks = (np.arange(at, min(at + CHUNK_GRAPHS, len(group))) for at in range(0, len(group), CHUNK_GRAPHS))
    alive = (live(group.select(chunk)) for chunk in chunks)
    values = np.concatenate([np.hstack([composition(part), signal_depths(part)]) for part in alive])
    lists = pa.FixedSizeListArray.from_arrays(values.astype(np.float32).ravel(), len(COMPOSITION_AND_DEPTHS))
    return pa.table({"arch_id": columns["arch_id"], "composition": lists.cast(pa.list_(pa.float32()))})


def _classes(kinds: list[Kind]) -> np.ndarray:
    """(K, classes) float64, 1 where a kind belongs to a class of `_LAYERS` or `_OTHERS`."""
    rows = np.zeros((len(kinds), len(_LAYERS) + len(_OTHERS)))
    place = {operation: len(_LAYERS) + at for at, names in enumerate(_OTHERS.values()) for operation in names}
    for row, kind in zip(rows, kinds, strict=True):
        if kind.operation in WEIGHTED:
            row[_LAYERS.index(_layer(kind))] = 1
        elif kind.operation in place:
            row[place[kind.operation]] = 1
    return rows


def _layer(kind: Kind) -> str:
    if kind.operation == "linear":
        return "linear"
    if kind.groups == kind.inputs[0][2] // kind.copies > 1:
        return "depthwise"
    return ("grouped_" if kind.groups > 1 else "") + ("spatial" if max(kind.kernel) > 1 else "pointwise")


def _outputs(kinds: list[Kind]) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and channels of the first output of K kinds, (K,) each; zeros where there is none."""
    shapes = np.array([kind.outputs[0] if kind.outputs else (0, 0, 0) for kind in kinds], np.float64).reshape(-1, 3)
    return shapes[:, 0] * shapes[:, 1], shapes[:, 2]


def _summed(graphs: Graphs, of_kind: np.ndarray) -> np.ndarray:
    """Sum what a node of each kind adds, (K, F), over the nodes of each graph: (B, F)."""
    return np.add.reduceat(of_kind[graphs.kind], graphs.node_offset[:-1], axis=0)


def _largest(graphs: Graphs, of_kind: np.ndarray) -> np.ndarray:
    """(K,) -> (B, 1)."""
    return np.maximum.reduceat(of_kind[graphs.kind], graphs.node_offset[:-1])[:, None]


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """(B, F) over (B, 1); zero where the whole is."""
    return part / np.where(whole > 0, whole, 1.0)
