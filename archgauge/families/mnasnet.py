"""The MnasNet space of Accel-NASBench (Ahmad et al. 2024, arXiv 2404.08005): seven stages of EfficientNet-B0's shape.

The spec is seven stages: "1x:e6k3-2x:e4k5se-...". Each has 1 to 3 equal layers (the sixth 1 to 4) with an expansion of
1, 4, 6, a kernel of 3, 5, and squeeze-excite or not. So there are 36^6 * 48 = 104,485,552,128 networks. `arch_id` is
`mnasnet/<spec>`. The space has no cell; what `crossover` moves is a stage's layer without the number of layers.

Labels, for each network of the benchmark. Thirteen of the 5,125 networks were trained twice, as run0 and run1. That
makes a standard deviation of 0.27 points for a run's accuracy, or 0.105 without the one pair that is 1.28 apart.
- "imagenet/validation@16/run0", "imagenet/validation-top5@16/run0": percent on the 50,000 ImageNet validation images
  at 256 pixels after 16 epochs with 160 to 192 pixels, some 10 points below full training.
- "imagenet/train_seconds@16/run0": s, on four GPUs.
- "throughput@a100/run0", also 3090, tpuv2, tpuv3, zcu102, vck190: images/s. "latency@zcu102/run0": ms for one image;
  "latency@vck190/run0": ms for six, the fewest that the board takes. Some devices lack a few networks.
"tables" is the collected accel_nasbench.parquet, "accel" the official JSON files.

The graph is the network that was trained: ReLU, squeeze-excite with a h-sigmoid gate that is a quarter of the layer's
*input* channels wide, on 224 pixels, where the benchmark counted. (The authors' code can also have SiLU and sigmoid,
with the same counts.) Stochastic depth and dropout act in training alone. The published parameters are ours on all
rows. The published MACs are thop's, which counts more than convolutions and linear layers: `thop_macs` gives them.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from archgauge.download import Remote
from archgauge.errors import SpecError, TableError
from archgauge.families._common import bad_spec, labels
from archgauge.families._mobile_blocks import conv_bn, inverted_residual
from archgauge.families._segments import Part, Segment, Space, spec_of
from archgauge.formats import accel_nasbench
from archgauge.graphs import cost
from archgauge.graphs.builder import GraphBuilder
from archgauge.graphs.graph import Graphs
from archgauge.graphs.operations import Kind, KindTable
from archgauge.schemas import read_table

FAMILY = "mnasnet"

_SQUEEZED = {False: "", True: "se"}
_LAYER = (("e1", "e4", "e6"), ("k3", "k5"), tuple(_SQUEEZED.values()))
_MOST_LAYERS = (3, 3, 3, 3, 3, 4, 3)
SPACE = Space(
    FAMILY,
    tuple(Segment((tuple(f"{n}x:" for n in range(1, most + 1)),), _LAYER, (1, 1)) for most in _MOST_LAYERS),
)

_STEM, _HEAD, _CLASSES, _PIXELS = 32, 1280, 1000, 224
_CHANNELS = (16, 24, 40, 80, 112, 192, 320)
_STRIDES = (1, 2, 2, 2, 1, 2, 1)
_SQUEEZE = 4

_MEASURES = {
    "val_top1": ("imagenet/validation@16/run{}", "percent"),
    "val_top5": ("imagenet/validation-top5@16/run{}", "percent"),
    "train_time": ("imagenet/train_seconds@16/run{}", "s"),
    **{
        name: (name.replace("_", "@") + "/run{}", "images/s" if name.startswith("throughput") else "ms")
        for name in accel_nasbench.DEVICE_METRICS
    },
}
"""Column -> label and unit."""

sample = SPACE.sample
mutate = SPACE.mutate
crossover = SPACE.crossover


def from_blocks(blocks: Mapping[str, Any]) -> str:
    """The spec of the benchmark's own form {"block0_e": 6, "block0_k": 3, "block0_l": 1, "block0_se": True, ...}.

    Raises:
        SpecError: when a name is missing or a value is not of the space.
    """
    try:
        stages = [[blocks[f"block{stage}_{name}"] for name in ("e", "k", "l", "se")] for stage in range(len(_CHANNELS))]
        spec = spec_of(Part((f"{n}x:",), ((f"e{e}", f"k{k}", _SQUEEZED[se]),)) for e, k, n, se in stages)
    except (LookupError, TypeError) as error:
        raise bad_spec(FAMILY, blocks, "block0_e to block6_se, the last one true or false") from error
    SPACE.parse(spec)
    return spec


def arch_id(spec: str) -> str:
    """Return `mnasnet/<spec>`.

    Raises:
        SpecError: when `spec` is not of this space.
    """
    SPACE.parse(spec)
    return f"{FAMILY}/{spec}"


def to_graph(spec: str, kinds: KindTable | None = None) -> Graphs:
    """Return the computation graph of a network on 224 x 224 pixels.

    Raises:
        SpecError: when `spec` is not of this space.
    """
    build = GraphBuilder(KindTable() if kinds is None else kinds)
    x = conv_bn(build, build.input(_PIXELS, _PIXELS, 3), _STEM, 3, "relu", stride=2)
    for part, channels, stage_stride in zip(SPACE.parse(spec), _CHANNELS, _STRIDES, strict=True):
        ((expansion, kernel, squeeze),) = part.blocks
        for layer in range(int(part.settings[0][:-2])):
            x = inverted_residual(
                build,
                x,
                channels,
                int(expansion[1:]),
                int(kernel[1:]),
                "relu",
                stride=1 if layer else stage_stride,
                squeezed=build.shape(x)[2] // _SQUEEZE if squeeze else 0,
            )
    x = build.global_avg_pool(conv_bn(build, x, _HEAD, 1, "relu"))
    build.output(build.linear(x, _CLASSES))
    return build.finish()


def thop_macs(graphs: Graphs) -> np.ndarray:
    """(B,) int64 multiply-adds as the package thop counted them for the benchmark.

    They are our MACs (convolutions and linear layers), and 4 for each output element of a batch norm, and each input
    and output element of every global average pool, those in squeeze-excites too.
    """
    extra = np.array([_counted_by_thop(kind) for kind in graphs.kinds], np.int64)[graphs.kind]
    return cost.macs(graphs) + np.add.reduceat(extra, graphs.node_offset[:-1])


def _counted_by_thop(kind: Kind) -> int:
    match kind.operation:
        case "batch_norm":
            return 4 * int(np.prod(kind.outputs[0]))
        case "global_avg_pool":
            return int(np.prod(kind.inputs[0]) + np.prod(kind.outputs[0]))
    return 0


def published_costs(path: Path) -> pa.Table:
    """(arch_id, params, macs) of the collected accel_nasbench.parquet, a row for each network; `macs` are thop's."""
    columns = ("params_M", "macs_M")
    costs = {name: [round(row[column] * 1e6) for column in columns] for name, row in _table_rows(path, columns)}
    params, macs = zip(*costs.values(), strict=True)
    return pa.table({"arch_id": list(costs), "params": params, "macs": macs})


def _read_tables(path: Path) -> pa.Table:
    """Read the collected accel_nasbench.parquet."""
    return _labels(_table_rows(path, _MEASURES), path)


def _read_accel(path: Path) -> pa.Table:
    """Read the official JSON files: their folder or their .tar.gz."""
    return _labels(_named(enumerate(accel_nasbench.read_results(path)), path), path)


def _table_rows(path: Path, values: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    flags = {name: pa.bool_() if name.endswith("se") else pa.int64() for name in accel_nasbench.ARCHITECTURE}
    schema = pa.schema([*flags.items(), *((name, pa.float64()) for name in values)])
    return _named(enumerate(read_table(path, schema).to_pylist()), path)


def _named(rows: Iterable[tuple[int, dict[str, Any]]], path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, row in rows:
        try:
            spec = from_blocks(row)
        except SpecError as error:
            raise TableError(
                "the architecture of a network",
                where=f"{path}, row {number}",
                expected=error.expected,
                got=error.got,
                remedy="The file is damaged or of another space: fetch it again.",
            ) from error
        yield f"{FAMILY}/{spec}", row


def _labels(rows: Iterable[tuple[str, dict[str, Any]]], path: Path) -> pa.Table:
    """LABELS of all networks; a network's later rows are its next runs."""
    runs: Counter[str] = Counter()
    found = []
    for name, row in rows:
        for column, (label, unit) in _MEASURES.items():
            if row[column] is not None or column not in accel_nasbench.DEVICE_METRICS:  # a device may lack a network
                found.append((name, label.format(runs[name]), row[column], unit))
        runs[name] += 1
    return labels(found, path)


LABEL_SOURCES: dict[str, Callable[[Path], pa.Table]] = {"tables": _read_tables, "accel": _read_accel}
"""Source -> reader of its file or folder, giving LABELS.

Readers raise TableError when a network is not of the space or a value is missing or out of its range, and FormatError
or TableError when the file cannot be read.
"""

COLLECTED = "accel_nasbench.parquet"
"""The file of the collected tables that its labels are in."""

REMOTES: dict[str, Remote] = {
    "accel": Remote(
        ("https://raw.githubusercontent.com/afzalxo/Accel-NASBench/master/anb_dataset/anb_dataset_jsons.tar.gz",)
    ),
}

DATASHEET = {
    "title": "Accel-NASBench, MnasNet space",
    "space": "Seven stages of 1 to 3 (the sixth to 4) inverted residual layers, each stage with an expansion of 1, 4, "
    "6, a kernel of 3, 5, and squeeze-excite or not: 104,485,552,128 networks.",
    "labels": "5,125 random networks trained for 16 epochs on ImageNet at 160 to 192 pixels, 13 of them twice. "
    "The standard deviation of a run is 0.27 points, 0.105 without the one pair that is 1.28 apart. Throughput on "
    "six devices and latency on two, measured.",
    "licence": "Apache-2.0",
    "citation": "A. Ahmad, L. Du, Z. Xie, W. Zhang, Accel-NASBench: Sustainable Benchmarking for Accelerator-Aware "
    "NAS, DAC 2024",
    "graph": "On 224 x 224 pixels, where parameters and MACs were counted; training used smaller images.",
}
