"""Once-for-All MobileNetV3 (Cai et al. 2020, arXiv 1908.09791): subnets of the supernets w1.0 and w1.2.

The spec is width multiplier, image pixels, and the blocks of five stages: "w1.2-r176-e3k5,e6k7-e4k5,e4k3,e3k3-...".
A stage has 2 to 4 blocks, each with an expansion of 3, 4, 6 and a kernel of 3, 5, 7. So there are
(9^2 + 9^3 + 9^4)^5 = 7,371^5, some 2.2 * 10^19, networks at each of the 25 resolutions and two widths. `arch_id` is
`ofa_mbv3/<spec>`. `from_ofa` reads a sample of the supernet, whose lists also hold the slots that its depths leave
unused. The space has no cell. A mutation never changes the width: that is another supernet with other weights.

Labels: ImageNet top-1 with weights inherited from the supernet, see `archgauge.families._ofa_labels`.
- "tables": the collected ofa_mbv3_w10.parquet, 2,223 rows, all of width 1.0 and 224 pixels, 2,162 of them distinct.
  They are the steps of a search, so good and small networks are too frequent.
- "gennape": the cache in GENNAPE's CG_data.zip, of width 1.2 at many resolutions.

The graph is what the supernet's own `get_active_subnet` gives: batch norm eps 1e-5 (GENNAPE's copy has 1e-3 in
blocks), squeeze-excite to a quarter of the expanded channels with h-sigmoid, a head that mixes features behind the
pool. The published parameters and MACs (convolutions and linear layers) are ours on all rows.
"""

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from archgauge.download import Remote
from archgauge.errors import SpecError, TableError
from archgauge.families import _gennape_labels, _ofa_labels
from archgauge.families import _ofa_mobile as ofa
from archgauge.families._mobile_blocks import conv_bn, inverted_residual
from archgauge.families._segments import Space
from archgauge.graphs.builder import GraphBuilder
from archgauge.graphs.graph import Graphs
from archgauge.graphs.operations import BATCH_NORM_EPS, KindTable
from archgauge.schemas import read_table

FAMILY = "ofa_mbv3"
SPACE = Space(FAMILY, (ofa.width_segment(1.0, 1.2), ofa.RESOLUTION, *[ofa.STAGE] * 5))

_CHANNELS = (16, 16, 24, 40, 80, 112, 160, 960, 1280)  # stem, first block, five stages, two layers of the head
_STAGES = (  # stride, activation, squeeze-excite
    (2, "relu", False),
    (2, "relu", True),
    (2, "hardswish", False),
    (1, "hardswish", True),
    (2, "hardswish", True),
)
_LONGEST_SAMPLE = 10_000  # characters; they are evaluated as a literal

sample = SPACE.sample
mutate = SPACE.mutate
crossover = SPACE.crossover


def from_ofa(sampled: Mapping[str, Any], width: float, resolution: int) -> str:
    """The spec of a supernet's sample {"ks": 20 kernels, "e": 20 expansions, "d": 5 depths}.

    Raises:
        SpecError: when the lists do not fit the supernet.
    """
    return ofa.from_ofa(SPACE, sampled, width, resolution)


def from_blocks(blocks: Sequence[Sequence[str]], width: float, resolution: int) -> str:
    """The spec of GENNAPE's form of a subnet: for each stage the names of its blocks, like "mbconv3_e6_k5".

    Raises:
        SpecError: when a name or a depth is not of the supernet.
    """
    return ofa.from_blocks(SPACE, blocks, width, resolution)


def arch_id(spec: str) -> str:
    """Return `ofa_mbv3/<spec>`.

    Raises:
        SpecError: when `spec` is not of this space.
    """
    SPACE.parse(spec)
    return f"{FAMILY}/{spec}"


def to_graph(spec: str, kinds: KindTable | None = None) -> Graphs:
    """Return the computation graph of a subnet.

    Raises:
        SpecError: when `spec` is not of this space.
    """
    width, pixels, stages = ofa.subnet(SPACE, spec)
    stem, first, *stage_channels, last, mixed = ofa.scaled(_CHANNELS, width)
    build = GraphBuilder(KindTable() if kinds is None else kinds)
    x = conv_bn(build, build.input(pixels, pixels, 3), stem, 3, "hardswish", stride=2)
    x = inverted_residual(build, x, first, 1, 3, "relu")
    for blocks, channels, (stride, activation, squeeze) in zip(stages, stage_channels, _STAGES, strict=True):
        x = ofa.stage(build, x, blocks, channels, stride, activation, squeeze=squeeze, eps=BATCH_NORM_EPS)
    x = build.global_avg_pool(conv_bn(build, x, last, 1, "hardswish"))
    x = build.same("hardswish", build.conv(x, mixed, 1))
    build.output(build.linear(x, ofa.CLASSES))
    return build.finish()


def published_costs(path: Path) -> pa.Table:
    """(arch_id, params, macs) of the collected ofa_mbv3_w10.parquet, a row for each distinct subnet."""
    costs = {name: (row["Model Parameters"], row["MACs"]) for name, row in _rows(path)}
    params, macs = zip(*costs.values(), strict=True)
    return pa.table({"arch_id": list(costs), "params": params, "macs": macs})


def _read_tables(path: Path) -> pa.Table:
    """Read the collected ofa_mbv3_w10.parquet."""
    return _ofa_labels.inherited(((name, row["Top-1 Acc (%)"]) for name, row in _rows(path)), path)


def _read_gennape(path: Path) -> pa.Table:
    """Read CG_data.zip or the cache in it."""
    return _ofa_labels.read_mobile_cache(path, FAMILY, lambda blocks, pixels: from_blocks(blocks, 1.2, pixels))


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    columns = [("Model Parameters", pa.int64()), ("MACs", pa.int64()), ("Top-1 Acc (%)", pa.float64())]
    table = read_table(path, pa.schema([("Sub-network", pa.large_string()), *columns]))
    for number, row in enumerate(table.to_pylist()):
        text = row["Sub-network"]
        try:
            found = ast.literal_eval(text[:_LONGEST_SAMPLE])
            (resolution,) = found["r"]
            yield f"{FAMILY}/{from_ofa(found, 1.0, resolution)}", row
        except (SpecError, LookupError, TypeError, ValueError, SyntaxError, RecursionError, MemoryError) as error:
            raise TableError(
                "the sample of a subnet",
                where=f"{path}, row {number}",
                expected="a dictionary with ks, e, d and r of Once-for-All's MobileNetV3",
                got=f"{str(text)[:200]!r} ({type(error).__name__})",
                remedy="The file is damaged or of another space: fetch it again.",
            ) from error


LABEL_SOURCES: dict[str, Callable[[Path], pa.Table]] = {"tables": _read_tables, "gennape": _read_gennape}
"""Source -> reader of its file, giving LABELS.

Readers raise TableError (or, of the cache, FormatError) when the file cannot be read, a subnet is not of the space or a
value is no percentage.
"""

COLLECTED = "ofa_mbv3_w10.parquet"
"""The file of the collected tables that its labels are in."""

REMOTES: dict[str, Remote] = {"gennape": _gennape_labels.CG_DATA}

DATASHEET = {
    "title": "Once-for-All, MobileNetV3",
    "space": "Five stages of 2 to 4 inverted residual blocks, each with a kernel of 3, 5, 7 and an expansion of "
    "3, 4, 6, at 128 to 224 pixels: 7,371^5 networks for each of 25 resolutions and 2 widths.",
    "labels": "ImageNet top-1 on the validation images with weights inherited from the supernet, not trained further. "
    "The collected subnets are a search's, of width 1.0 at 224 pixels, and no uniform sample; GENNAPE's cache has "
    "subnets of width 1.2.",
    "licence": "MIT (once-for-all); Apache-2.0 (the measurements, DyNAS-T)",
    "citation": "H. Cai, C. Gan, T. Wang, Z. Zhang, S. Han, Once-for-All: Train One Network and Specialize it for "
    "Efficient Deployment, ICLR 2020",
    "graph": "Once-for-All's own subnet on images of the resolution that the spec names, with 1,000 classes.",
}
