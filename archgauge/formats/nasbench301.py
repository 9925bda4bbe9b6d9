"""The official files of NAS-Bench-301: configurations and results of trainings (automl/nasbench301).

A configuration names the operation of each kept edge, `...:darts:edge_normal_0` to `edge_reduce_13`, and the two inputs
of nodes 3 to 5, `...:darts:inputs_node_normal_3` = "0_2"; node 2 always reads both inputs of the cell. Edges are
numbered node by node: 0 and 1 lead to node 2, 2 to 4 to node 3, 5 to 8 to node 4, 9 to 13 to node 5.

A result, one `results_<number>.json` a training, holds the configuration as `optimized_hyperparamater_config` (sic),
`info[0].val_accuracy` and `test_accuracy` in percent, `runtime` in seconds, `budget` in epochs, and
`info[0].model_parameters`, which counts the auxiliary head.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from archgauge.errors import FormatError
from archgauge.formats._members import load_json, members

OPERATIONS = (
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
"""In the benchmark's order, which numbers them in compact forms and in the features of its surrogates."""

Edge = tuple[str, int]
Cells = tuple[Sequence[Edge], Sequence[Edge]]
"""Edges (operation, input) of the normal and of the reduction cell, two for each of nodes 2 to 5, inputs ascending."""

_PREFIX = "NetworkSelectorDatasetInfo:darts:"
_SIDES = ("normal", "reduce")
_FIRST_EDGE = {2: 0, 3: 2, 4: 5, 5: 9}
_SETTINGS = {
    f"{_PREFIX}init_channels": 32,
    f"{_PREFIX}layers": 8,
    "OptimizerSelector:sgd:learning_rate": 0.025,
    "OptimizerSelector:sgd:weight_decay": 3e-4,
}
"""What the benchmark holds fixed and some of its trainings vary."""

_RESULT = re.compile(r"results_\d+\.json")
_RESULT_MAX_BYTES = 2**22


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        name: of its file, relative to the folder or archive.
        standard: whether width, depth, learning rate and weight decay are the benchmark's.
        epochs: that it was meant for.
        parameters: trainable ones, with the auxiliary head.
    """

    name: str
    cells: Cells
    standard: bool
    epochs: int
    validation_pct: float
    test_pct: float
    seconds: float
    parameters: int


def read_runs(path: Path) -> Iterator[Run]:
    """Yield the trainings in a folder, a zip archive or one file, sorted by name.

    Raises:
        FormatError: when a file is corrupt, hostile, or holds no result; or there is none.
    """
    found = False
    for name, content in members(path, lambda name: _RESULT.fullmatch(name) is not None, _RESULT_MAX_BYTES):
        found = True
        result = load_json(content, path / name)
        try:
            yield _run(name, result)
        except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise wrong_run(path / name, error) from error
    if not found:
        raise wrong_run(path, "no results_<number>.json")


def wrong_run(where: Path, got: object) -> FormatError:
    """The error for a file that is no result of a training."""
    return FormatError(
        "a result of NAS-Bench-301",
        where=where,
        expected="a training's JSON with its configuration, accuracies and runtime",
        got=f"{type(got).__name__}: {got}" if isinstance(got, Exception) else got,
        remedy="The file is of another format or damaged: fetch it again.",
    )


def _run(name: str, result: dict[str, Any]) -> Run:
    configuration, info = result["optimized_hyperparamater_config"], result["info"][0]
    return Run(
        name,
        cells_of(configuration),
        all(configuration[setting] == value for setting, value in _SETTINGS.items()),
        int(result["budget"]),
        float(info["val_accuracy"]),
        float(result["test_accuracy"]),
        float(result["runtime"]),
        int(info["model_parameters"]),
    )


def cells_of(configuration: dict[str, Any]) -> Cells:
    """The cells of a configuration. Raises KeyError, ValueError or AttributeError where it lacks or garbles a part."""
    normal, reduce = (
        [
            (str(configuration[f"{_PREFIX}edge_{side}_{first + source}"]), source)
            for node, first in _FIRST_EDGE.items()
            for source in _node_inputs(configuration, side, node)
        ]
        for side in _SIDES
    )
    return normal, reduce


def _node_inputs(configuration: dict[str, Any], side: str, node: int) -> tuple[int, int]:
    if node == 2:
        return 0, 1
    first, second = map(int, configuration[f"{_PREFIX}inputs_node_{side}_{node}"].split("_"))
    return first, second


def configuration_of(normal: Sequence[Edge], reduce: Sequence[Edge]) -> dict[str, str]:
    """The architecture's part of a configuration. Inverse of `cells_of`."""
    configuration: dict[str, str] = {}
    for side, edges in zip(_SIDES, (normal, reduce), strict=True):
        for (node, first), place in zip(_FIRST_EDGE.items(), range(0, 8, 2), strict=True):
            pair = edges[place : place + 2]
            configuration |= {f"{_PREFIX}edge_{side}_{first + source}": name for name, source in pair}
            if node > 2:
                configuration[f"{_PREFIX}inputs_node_{side}_{node}"] = "_".join(str(source) for _, source in pair)
    return configuration


# The vector that the benchmark's tree surrogates read


def _edges(numbers: Sequence[int]) -> list[str]:
    return [f"edge_{side}_{number}" for side in _SIDES for number in sorted(numbers, key=str)]


def _of_unit(value: float, lower: float, upper: float, log: bool = False) -> float:
    """Where a number lies in its range, 0 to 1; an integer's range is wider by 0.49999 at both ends."""
    if log:
        value, lower, upper = math.log(value), math.log(lower), math.log(upper)
    return (value - lower) / (upper - lower)


_WIDER = 0.49999
_ARCHITECTURE = [*_edges((0, 1)), "", *(f"inputs_node_{side}_{node}" for side in _SIDES for node in (3, 4, 5))]
_BATCH = _of_unit(96, 64 - _WIDER, 128 + _WIDER, True)
_HOLES, _CUTOUT = _of_unit(1, 1 - _WIDER, 3 + _WIDER), _of_unit(16, 1 - _WIDER, 50 + _WIDER)
_CHANNELS, _LAYERS, _EPOCHS = (_of_unit(number, 1 - _WIDER, 10_000 + _WIDER) for number in (32, 8, 100))
_MOMENTUM, _LAST_RATE, _MIXUP = _of_unit(0.9, 0.1, 0.99), _of_unit(1e-8, 0, 10_000), _of_unit(0.2, 0.01, 0.7, True)
_BEFORE = (_BATCH, 0, 0, 0, _HOLES, _CUTOUT, 0, 0, 0, 0)
_AFTER = (_LAYERS, 0, 0, math.log(0.025), _MOMENTUM, math.log(3e-4), _EPOCHS, _LAST_RATE, 0, 0, _MIXUP)
_CONDITIONAL = _edges(range(2, 14))
_INACTIVE = -1.0

FEATURES = len(_BEFORE) + len(_ARCHITECTURE) + len(_AFTER) + len(_CONDITIONAL)
"""Entries of `features`: 56."""

_INPUT_CHOICES = {
    f"inputs_node_{side}_{node}": [f"{a}_{b}" for a in range(node) for b in range(a + 1, node)]
    for side in _SIDES
    for node in (3, 4, 5)
}


def features(cells: Cells) -> np.ndarray:
    """(56,) float64 vector of a configuration with the benchmark's fixed settings, as ConfigSpace 0.4 makes it.

    Settings without a condition stand first, sorted by name, then the edges of nodes 3 to 5, sorted as text. A choice
    is the number of what was chosen, a number its place in its range (the learning rate and the weight decay their
    logarithm), an edge that is not there -1 in place of ConfigSpace's NaN.
    """
    configuration = configuration_of(*cells)
    middle = [_CHANNELS if not name else _choice(configuration, name) for name in _ARCHITECTURE]
    return np.array([*_BEFORE, *middle, *_AFTER, *(_choice(configuration, name) for name in _CONDITIONAL)])


def _choice(configuration: dict[str, str], name: str) -> float:
    value = configuration.get(_PREFIX + name)
    return _INACTIVE if value is None else float(_INPUT_CHOICES.get(name, OPERATIONS).index(value))
