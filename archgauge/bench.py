"""Speed and memory of the paths that work on whole families: `python -m archgauge.bench`, or `make bench`.

Each line has the measured number, the bar that the project set itself, and the floor: the time that this machine takes
to move the bytes and do the floating-point operations that the task cannot do without, at the memory bandwidth and the
matrix product rate measured first. Times are of the wall clock, so other work on the machine shows.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import torch

from archgauge.bench_lines import Line, Machine, measure_machine, timed
from archgauge.bench_predictors import BATCH, clustering, message_passing, predictors
from archgauge.graphs.store import GraphStore
from archgauge.schemas import ARCHITECTURES, GRAPHS, LABELS, ROW_GROUP_ROWS, read_table, write_table

PROCESSES = 2
NB101_GRAPHS, NB101_SPACE = 50_000, 423_624
QUICK_GRAPHS = 5_000
FAMILIES = {"nb201": 15_625, "transnas_micro": 4_096, "transnas_macro": 3_256, "mnasnet": 5_138, "ofa_mbv3": 2_223}
"""Family -> as many graphs as its collected table has."""
EIGENVALUES = 21


@dataclass(frozen=True)
class Used:
    """What a tree of processes used: time, time of all cores, and the most memory; shared pages count in each."""

    seconds: float
    cpu_seconds: float
    bytes: int

    def line(self, what: str, measured: int, whole: int, floor: float, bar: float) -> Line:
        """The time, for `whole` items where `measured` were done."""
        scale = whole / measured
        note = f"CPU {self.cpu_seconds * scale:.0f} s" + (f", extrapolated from {measured:,}" if scale != 1 else "")
        return Line(what, self.seconds * scale, "s", floor, bar, note)


def conversion(
    machine: Machine, folder: Path, family: str, graphs: int, whole: int, bar: float, memory_bar: float
) -> Iterator[Line]:
    """Specs to the tables of graphs and kinds, costs and hashes included; `memory_bar` in GB."""
    specs = import_module(f"archgauge.families.{family}").sample(graphs, np.random.default_rng(0))
    names = [f"{family}/{row}" for row in range(graphs)]
    table = pa.table({"arch_id": names, "family": [family] * graphs, "spec": specs})
    write_table(folder / f"{family}.specs.parquet", table, ARCHITECTURES)
    used = _in_a_tree_of_processes(
        f"from archgauge.families.{family} import to_graph; from archgauge.graphs.tables import convert;"
        f"convert(files[0], to_graph, files[1], files[2], {PROCESSES})",
        [folder / f"{family}.specs.parquet", *_graph_files(folder, family)],
    )
    table = read_table(_graph_files(folder, family)[0], GRAPHS)
    # Floor: every index of every graph written once. For memory: the row group that is put together to be written.
    floor = table.nbytes * whole / graphs / machine.bytes_per_s
    yield used.line(f"{family}: {whole:,} graphs converted", graphs, whole, floor, bar)
    name = f"{family}: memory of all processes, at most"
    yield Line(name, used.bytes / 1e9, "GB", table.nbytes / graphs * ROW_GROUP_ROWS / 1e9, memory_bar)


def whole_space(machine: Machine, folder: Path, quick: bool) -> Iterator[Line]:
    """All of NAS-Bench-101: converted, as files, and its architectures and labels as a job loads them."""
    graphs = 4 * QUICK_GRAPHS if quick else NB101_SPACE
    yield from conversion(machine, folder, "nb101", graphs, NB101_SPACE, 360, 3)
    files = sum(path.stat().st_size for path in _graph_files(folder, "nb101")) * NB101_SPACE / graphs
    indices = read_table(_graph_files(folder, "nb101")[0], GRAPHS, ["kind", "edge_source", "edge_target", "edge_slot"])
    floor = indices.nbytes / 4 * NB101_SPACE / graphs  # one byte for each index: there are fewer than 256 kinds
    yield Line("nb101: files of all graphs", files / 1e6, "MB", floor / 1e6, 600)
    yield from _loading(machine, folder)


def _loading(machine: Machine, folder: Path) -> Iterator[Line]:
    """As many architectures and labels as NAS-Bench-101's tables have, with made-up names and values."""
    names = [f"nb101/{row:032x}" for row in range(NB101_SPACE)]
    specs = ["7:" + "01" * 10 + "1:conv3x3,conv1x1,maxpool3x3,conv3x3,conv1x1"] * NB101_SPACE
    table = pa.table({"arch_id": names, "family": ["nb101"] * NB101_SPACE, "spec": specs})
    write_table(folder / "architectures.parquet", table, ARCHITECTURES)
    columns = {"arch_id": names, "label": ["cifar10/test@108/run0"] * NB101_SPACE, "unit": ["percent"] * NB101_SPACE}
    values = np.random.default_rng(0).uniform(10, 95, NB101_SPACE)
    write_table(folder / "labels.parquet", pa.table({**columns, "value": values}), LABELS)
    code = (
        "import sys, time; from pathlib import Path; from archgauge.schemas import *;"
        "folder, start = Path(sys.argv[1]), time.perf_counter();"
        "kept = [read_table(folder / 'architectures.parquet', ARCHITECTURES),"
        " read_table(folder / 'labels.parquet', LABELS)];"
        "seconds = time.perf_counter() - start;"
        # The kernel's peak of this very program; getrusage would show the peak of the one that started it.
        "peak = Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0];"
        "print(seconds, int(peak) * 1024, sum(table.nbytes for table in kept))"
    )
    told = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True).stdout
    seconds, peak, held = map(float, told.split())
    yield Line("nb101: architectures and labels loaded", seconds, "s", held / machine.bytes_per_s, 1)
    yield Line("nb101: memory of that process", peak / 1e6, "MB", held / 1e6, 500)


def zoo(folder: Path, quick: bool) -> Iterator[Line]:
    """The published networks: built without weights, traced, and written as graphs."""
    module = import_module("archgauge.families.zoo")
    table = module.enumerate_specs()
    whole = len(table)
    if quick:
        table = table.take(np.random.default_rng(0).permutation(whole)[:40])
    write_table(folder / "zoo.specs.parquet", table, ARCHITECTURES)
    used = _in_a_tree_of_processes(
        "from archgauge.families.zoo import to_graph; from archgauge.graphs.tables import convert;"
        f"convert(files[0], to_graph, files[1], files[2], {PROCESSES})",
        [folder / "zoo.specs.parquet", *_graph_files(folder, "zoo")],
    )
    # No floor: the time is Python's, in the constructors and the forward passes of the networks.
    yield used.line(f"zoo: {whole:,} networks traced and converted", len(table), whole, float("nan"), 360)


def spectra(machine: Machine, folder: Path, graphs: int, whole: int) -> Iterator[Line]:
    """The smallest eigenvalues of NB101's live graphs."""
    used = _in_a_tree_of_processes(
        f"from archgauge.graphs.spectrum import write_spectra;write_spectra(*files, {EIGENVALUES}, {PROCESSES})",
        [*_graph_files(folder, "nb101"), folder / "spectra.parquet"],
    )
    nodes = GraphStore(*_graph_files(folder, "nb101")).node_count.astype(float)
    # Floor: 4/3 V^3 operations reduce a symmetric matrix to tridiagonal form (Golub and Van Loan, 8.3).
    floor = (4 / 3 * nodes**3).sum() * whole / graphs / machine.double_flops_per_s
    yield used.line(f"nb101: {whole:,} spectra", graphs, whole, floor, 120)


def batches(machine: Machine, store: GraphStore, rng: np.random.Generator) -> Iterator[Line]:
    """Random graphs gathered from the mapped store."""
    rows = rng.permutation(len(store))[:BATCH]
    batch = store.batch(rows)
    # Floor: one 4-byte kind a node and two 4-byte ends an edge are read, 8 bytes each are written.
    moved = 12 * (len(batch.kind) + 2 * len(batch.edge_source))
    milliseconds = 1e3 * timed(lambda: store.batch(rows), 50)
    yield Line(f"batch of {BATCH} graphs assembled", milliseconds, "ms", 1e3 * moved / machine.bytes_per_s, 2)


def _graph_files(folder: Path, family: str) -> tuple[Path, Path]:
    return folder / f"{family}.parquet", folder / f"{family}.kinds.parquet"


def _in_a_tree_of_processes(code: str, files: list[Path]) -> Used:
    """Run code that finds its `files`, in a process of its own: this one's imports are not measured."""
    prelude = "import sys; from pathlib import Path; files = list(map(Path, sys.argv[1:]));"
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", prelude + code, *files], stderr=subprocess.DEVNULL)
    peak, cpu = 0, {}
    while process.poll() is None:
        held = 0
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(process.pid)
            for member in (root, *root.children(recursive=True)):
                held += member.memory_info().rss
                cpu[member.pid] = sum(member.cpu_times()[:2])
        peak = max(peak, held)
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"what was to be measured ended with code {process.returncode}: {code}")
    return Used(time.perf_counter() - start, sum(cpu.values()), peak)


def run(folder: Path, quick: bool) -> Iterator[Line]:
    """All lines, as they are measured."""
    graphs = QUICK_GRAPHS if quick else NB101_GRAPHS
    machine, rng = measure_machine(), np.random.default_rng(0)
    print(
        f"This machine: {machine.bytes_per_s / 1e9:.1f} GB/s, {machine.flops_per_s / 1e9:.0f} and "
        f"{machine.double_flops_per_s / 1e9:.0f} GFLOP/s in float32 and float64 on {torch.get_num_threads()} threads."
    )
    print(f"{'':<44}{'measured':>10}    {'bar':>9}{'':>8}{'floor':>12}")
    for family, whole in FAMILIES.items():
        yield from conversion(machine, folder, family, whole, whole, 20, 2)
    yield from zoo(folder, quick)
    yield from whole_space(machine, folder, quick)
    yield from conversion(machine, folder, "nb101", graphs, NB101_GRAPHS, 90, 2)
    yield from spectra(machine, folder, graphs, NB101_GRAPHS)
    store = GraphStore(*_graph_files(folder, "nb101"))
    yield from batches(machine, store, rng)
    yield from message_passing(machine, store, rng)
    yield from predictors(machine, store, rng)
    yield from clustering(machine, rng)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"extrapolate NAS-Bench-101 from {QUICK_GRAPHS:,} graphs")
    quick = parser.parse_args().quick
    torch.set_num_threads(PROCESSES)
    with tempfile.TemporaryDirectory() as folder:
        for line in run(Path(folder), quick):
            print(line, flush=True)


if __name__ == "__main__":
    main()
