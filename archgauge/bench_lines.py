"""What the benchmarks of speed print: a measurement beside its bar and what the hardware would allow."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch


@dataclass(frozen=True)
class Machine:
    """What the hardware gives two threads: bytes moved and floating-point operations done in a second."""

    bytes_per_s: float
    flops_per_s: float
    double_flops_per_s: float


@dataclass(frozen=True)
class Line:
    """One measurement: `measured`, `floor` and `bar` in `unit`."""

    what: str
    measured: float
    unit: str
    floor: float
    bar: float | None = None
    note: str = ""

    def __str__(self) -> str:
        bar = "" if self.bar is None else f"{self.bar:g} {self.unit}"
        verdict = "" if self.bar is None else "holds" if self.measured <= self.bar else "MISSED"
        return (
            f"{self.what:<44}{self.measured:>10.3g} {self.unit:<3}{bar:>9}{verdict:>8}"
            f"{self.floor:>12.2g} {self.unit:<3} {self.note}"
        )


def measure_machine() -> Machine:
    """Copy 256 MB (read and written) and multiply matrices of 1,536 rows."""
    source = torch.ones(2**26)
    target = torch.empty_like(source)
    copied = 2 * source.nbytes / timed(lambda: target.copy_(source))

    def rate(dtype: torch.dtype) -> float:
        matrix = torch.ones(1_536, 1_536, dtype=dtype)
        return 2 * len(matrix) ** 3 / timed(lambda: matrix @ matrix)

    return Machine(copied, rate(torch.float32), rate(torch.float64))


def timed(work: Callable[[], object], repeats: int = 7) -> float:
    """Median seconds of some runs after a first one that warms up."""
    work()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return median(seconds)
