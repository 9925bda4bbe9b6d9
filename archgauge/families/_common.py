"""What families share: checked samples, specs and labels."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from archgauge.errors import ConfigError, SpecError, TableError
from archgauge.graphs.graph import Graphs
from archgauge.graphs.operations import Kind
from archgauge.schemas import LABELS, architectures


@dataclass(frozen=True)
class Listed:
    """Enumeration and samples of a family whose specs can all be listed.

    Attributes:
        family: its name.
        specs: gives the specs in the family's order; the arch_id of each is `<family>/<spec>`.
    """

    family: str
    specs: Callable[[], Sequence[str]]

    def enumerate_specs(self) -> pa.Table:
        """All architectures in the family's order (schema ARCHITECTURES)."""
        return architectures(self.family, [f"{self.family}/{spec}" for spec in self.specs()], self.specs())

    def sample(self, n: int, rng: np.random.Generator) -> list[str]:
        """Draw `n` distinct specs, each set of `n` equally likely.

        Raises:
            ConfigError: when there are fewer than `n`.
        """
        specs = self.specs()
        return distinct(n, lambda: specs[int(rng.integers(len(specs)))], self.family, len(specs))


def distinct(n: int, draw: Callable[[], str], family: str, size: int | None = None) -> list[str]:
    """`n` different specs, each set equally likely when every draw is uniform.

    Args:
        draw: gives one random spec in canonical form.
        size: how many architectures the family has, where that is known.

    Raises:
        ConfigError: when the family has fewer than `n`, or so it seems, because draws give no new one.
    """
    if n < 0 or (size is not None and n > size):
        raise ConfigError(
            "the size of a sample",
            where=f"families.{family}.sample",
            expected=f"0 to {size:,} architectures" if size is not None else "0 or more architectures",
            got=n,
            remedy="Ask for fewer architectures.",
        )
    drawn: dict[str, None] = {}
    in_vain = 0
    while len(drawn) < n:
        before = len(drawn)
        drawn[draw()] = None
        in_vain = in_vain + 1 if len(drawn) == before else 0
        if in_vain > 1_000 * n + 100_000:  # of n equally likely ones none is missed so long
            raise ConfigError(
                "the size of a sample",
                where=f"families.{family}.sample",
                expected=f"about {before:,} architectures, after which {in_vain:,} draws gave no new one",
                got=n,
                remedy="Ask for fewer architectures.",
            )
    return list(drawn)


_NOT_A_NUMBER = -1e8  # NASLib's stand-in


def published_columns(path: Path, arch_ids: Sequence[str], table: pa.Table, columns: Mapping[str, str]) -> pa.Table:
    """(arch_id, proxy, value) of columns of proxies, signs as published, null where a score was no number.

    Args:
        table: one row for each of `arch_ids`; a null is a score that was not computed, and is left out.
        columns: proxy -> name of its column.

    Raises:
        TableError: when a value is not finite.
    """
    parts = []
    for proxy, column in columns.items():
        part = pa.table({"arch_id": arch_ids, "proxy": [proxy] * len(arch_ids), "value": table[column]})
        part = part.filter(pc.is_valid(part["value"]))
        if not pc.all(pc.is_finite(part["value"])).as_py():
            raise TableError(
                f"the published column {column}",
                where=path,
                expected="finite numbers",
                got="NaN or infinity",
                remedy="The file is damaged: fetch it again.",
            )
        number = pc.not_equal(part["value"], _NOT_A_NUMBER)
        parts.append(part.set_column(2, "value", pc.if_else(number, part["value"], pa.scalar(None, pa.float64()))))
    return pa.concat_tables(parts)


def table_flops(graphs: Graphs) -> np.ndarray:
    """(B,) int64: what the collected tables of NAS-Bench-201 and NAS-Bench-301 call FLOPs.

    MACs, and for each output element 1 of a ReLU, 1 or (affine) 2 of a batch norm, the kernel's area of a pool, and 81
    for each channel of the global pool over 8x8.
    """
    counts = np.array([kind.macs + _extra_flops(kind) for kind in graphs.kinds], np.int64)
    return np.add.reduceat(counts[graphs.kind], graphs.node_offset[:-1])


def _extra_flops(kind: Kind) -> int:
    area = kind.kernel[0] * kind.kernel[1]
    each = {"relu": 1, "batch_norm": 1 + kind.affine, "max_pool": area, "avg_pool": area, "global_avg_pool": 81}
    return each.get(kind.operation, 0) * math.prod(kind.outputs[0]) if kind.outputs else 0


def bad_spec(family: str, spec: object, expected: str) -> SpecError:
    """The error for a spec that does not describe an architecture of `family`."""
    return SpecError(
        f"the spec of an architecture of {family}",
        where=f"{family}/?",
        expected=expected,
        got=repr(spec),
        remedy=f"archgauge/families/{family}.py says what a spec looks like.",
    )


def labels(rows: Iterable[tuple[str, str, float | None, str]], path: Path) -> pa.Table:
    """LABELS from (arch_id, label, value, unit) rows, every one of them checked.

    Raises:
        TableError: when a value is missing, not finite, or a percentage outside 0 to 100.
    """
    columns: dict[str, list] = {name: [] for name in LABELS.names}
    for arch_id, label, value, unit in rows:
        limit = 100.0 if unit == "percent" else np.finfo(float).max
        if value is None or not -limit <= value <= limit or (unit == "percent" and value < 0):
            raise TableError(
                f"the label {label}",
                where=f"{path}, {arch_id}",
                expected="a percentage from 0 to 100" if unit == "percent" else f"a finite number of {unit}",
                got=value,
                remedy="The file is damaged or of another benchmark: fetch it again.",
            )
        for name, entry in zip(LABELS.names, (arch_id, label, value, unit), strict=True):
            columns[name].append(entry)
    return pa.table(columns).cast(LABELS)
