"""NAS-Bench-301 (Siems et al. 2020; Zela et al. 2022, arXiv 2008.09777): the DARTS space on CIFAR-10.

A normal and a reduction cell of four nodes. A node sums two of seven operations on two *different* earlier nodes or
inputs; the output concatenates all four. A cell has 1 * 3 * 6 * 10 choices of inputs and 7^8 of operations, so there
are 1,037,664,180^2 = 1.08e18 genotypes. Genotypes that differ in the numbers of their nodes alone are counted apart,
as the authors do.

The spec is `<normal cell>;<reduction cell>`; a cell is `operation~input|operation~input+...`, one pair for each node,
inputs ascending. The arch_id is `nb301/<spec>`. `from_genotype`, `from_configuration` and `from_compact` read the
three native forms: DARTS' genotype, the benchmark's configuration, NASLib's pairs of numbers.

Networks (`to_graph`'s skeleton):
- "authors", what the benchmark trains: 32 channels, 8 cells, affine batch norms. The auxiliary head of training has
  468,234 parameters (and 663,040 MACs), which count as parameters outside. The `model_parameters` that the training
  logs print are the sum of both.
- "naslib", what the columns of the collected table were measured on: no auxiliary head, a batch norm behind each pool,
  and no scale and shift inside operations. `params` is exact; `flops` is what `table_flops` counts.
- "gennape", GENNAPE's: 20 cells of 48, 96 and 192 channels (a width of 16, from which the factor 3 of the stem is never
  divided out), two stems conv-ReLU-BN, a 1x1 convolution without bias as classifier, eps 1e-3. Its batch norms have
  no scale in TensorFlow; ours count it.

Labels, accuracies in percent:
- "tables": the collected nb301_surrogate725.parquet, from NAS-Bench-Suite-Zero. NASLib asked the benchmark's v1.0
  XGBoost ensemble with its default, noise on: `cifar10/validation@100/xgb_noisy+surrogate`.
- "runs": the official results of trainings, `cifar10/validation@100/run0`, `cifar10/test@100/run0` and
  `cifar10/train_seconds@100/run0`. A run with other settings than the benchmark's has `+other_settings`.
- "surrogate": the official v1.0 ensembles on `SURROGATE_SAMPLE` genotypes drawn with `SURROGATE_SEED`;
  `surrogate_labels` asks them about any. `cifar10/validation@100/xgb+surrogate` and `.../gin+surrogate` are means of
  an ensemble, `xgb_noisy` and `gin_noisy` draws around them; `cifar10/train_seconds@100/lgb+surrogate` is of training
  time.
"""

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from archgauge.cells import Cell
from archgauge.download import Remote
from archgauge.errors import ConfigError, SpecError
from archgauge.families import _common
from archgauge.families._darts_network import Plan, operation, unfold
from archgauge.families._genotypes import Edge, Genotype, Space, edges_of, merged_cell, text_of
from archgauge.formats import nasbench301, nasbench301_surrogates
from archgauge.graphs.builder import GraphBuilder
from archgauge.graphs.graph import Graphs
from archgauge.graphs.operations import KindTable
from archgauge.schemas import read_table

FAMILY = "nb301"
OPERATIONS = nasbench301.OPERATIONS
SPACE = Space(OPERATIONS, nodes=4, same_input=False, loose_ends=False)
SIZE = SPACE.cells**2
"""Number of genotypes."""

SURROGATE_SAMPLE, SURROGATE_SEED = 10_000, 301

_PLANS = {
    "authors": Plan(width=32, depth=8, auxiliary=True),
    "naslib": Plan(width=32, depth=8, affine=False, pool_norm=True),
    "gennape": Plan(width=48, depth=20, two_stems=True, eps=1e-3),
}
_EXPECTED = "two cells of four nodes, `operation~input|operation~input+...;...`, each node with two different inputs"
_TABLE = pa.schema(
    [
        ("arch_compact", pa.large_string()),
        ("val_accuracy", pa.float64()),
        ("params", pa.float64()),
        ("flops", pa.float64()),
    ]
)


def parse(spec: str) -> Genotype:
    """The genotype of a spec, in canonical order.

    Raises:
        SpecError: when `spec` describes no genotype.
    """
    texts = spec.split(";")
    cells = [edges_of(text) for text in texts]
    if len(cells) != 2 or cells[0] is None or cells[1] is None:
        raise _common.bad_spec(FAMILY, spec, _EXPECTED)
    return _genotype(cells[0], cells[1], spec)


def _genotype(normal: Sequence[Edge], reduce: Sequence[Edge], given: object) -> Genotype:
    genotype = Genotype(SPACE.wiring(normal), SPACE.wiring(reduce))
    for cell in (genotype.normal, genotype.reduce):
        if (fault := SPACE.fault(cell)) is not None:
            raise _common.bad_spec(FAMILY, given, f"{_EXPECTED}, not {fault}")
    return genotype


def spec_of(genotype: Genotype) -> str:
    """The spec of a genotype in canonical order. Inverse of `parse`."""
    return f"{text_of(genotype.normal)};{text_of(genotype.reduce)}"


def arch_id(spec: str) -> str:
    """Return `nb301/<canonical spec>`.

    Raises:
        SpecError: when `spec` describes no genotype.
    """
    return f"{FAMILY}/{spec_of(parse(spec))}"


def sample(n: int, rng: np.random.Generator) -> list[str]:
    """Draw `n` distinct genotypes, uniform over all; genotypes with other numbers of nodes count apart.

    Raises:
        ConfigError: when `n` is negative or larger than the space.
    """
    return _common.distinct(n, lambda: spec_of(SPACE.draw(rng)), FAMILY, SIZE)


def mutate(spec: str, rng: np.random.Generator) -> str:
    """Change one operation or one input, either as likely.

    Raises:
        SpecError: when `spec` describes no genotype.
    """
    return spec_of(SPACE.mutate(parse(spec), rng))


def crossover(first: str, second: str, rng: np.random.Generator) -> str:
    """Replace one operation of the first by a different one of the second's same cell.

    Raises:
        SpecError: when `first` or `second` describes no genotype.
    """
    return spec_of(SPACE.crossover(parse(first), parse(second), rng))


def cell(spec: str) -> Cell:
    """Both cells as one DAG of 22 vertices; `archgauge.families._genotypes.merged_cell` says how.

    Raises:
        SpecError: when `spec` describes no genotype.
    """
    return merged_cell(parse(spec))


def to_graph(
    spec: str, kinds: KindTable | None = None, *, skeleton: Literal["authors", "naslib", "gennape"] = "authors"
) -> Graphs:
    """The computation graph of a genotype.

    Args:
        kinds: the table to build over; a new one by default.
        skeleton: "authors", "naslib" or "gennape", see the module.

    Raises:
        SpecError: when `spec` describes no genotype.
        ConfigError: when the skeleton is unknown.
    """
    if skeleton not in _PLANS:
        raise ConfigError(
            "the skeleton of a network",
            where=f"families.{FAMILY}.graph.skeleton",
            expected=f"one of {', '.join(_PLANS)}",
            got=repr(skeleton),
            remedy="Name one of these.",
        )
    return unfold(parse(spec), _PLANS[skeleton], KindTable() if kinds is None else kinds)


def operation_graph(name: str) -> Graphs:
    """Input, one operation of a normal cell by DARTS' name, and output, as the benchmark's network has it."""
    build = GraphBuilder(KindTable())
    build.output(operation(build, build.input(8, 8, 16), name, 1, _PLANS["authors"]))
    return build.finish()


table_flops = _common.table_flops
"""What the collected table calls flops, on graphs of the skeleton "naslib"."""

# Native forms

_TEXT_PAIR = r"\('(\w+)', ([0-9])\)"
_TEXT_CELL = re.compile(rf"\[{_TEXT_PAIR}(?:, {_TEXT_PAIR})*\]")
_TEXT = re.compile(
    r"Genotype\(normal=(\[[^\]]*\]), normal_concat=(\[[^\]]*\]|range\(2, 6\)),"
    r" reduce=(\[[^\]]*\]), reduce_concat=(\[[^\]]*\]|range\(2, 6\))\)"
)


def from_genotype(text: str) -> str:
    """The spec of DARTS' printed genotype, `Genotype(normal=[('sep_conv_3x3', 0), ...], normal_concat=[...], ...)`.

    Raises:
        SpecError: when it is none, or its output lacks a node.
    """
    match = _TEXT.fullmatch(re.sub(r"\s+", " ", text.strip()))
    if match is None or not all(concat in ("[2, 3, 4, 5]", "range(2, 6)") for concat in (match[2], match[4])):
        raise _common.bad_spec(FAMILY, text, "DARTS' Genotype(normal=..., normal_concat=[2, 3, 4, 5], reduce=..., ...)")
    if not (_TEXT_CELL.fullmatch(match[1]) and _TEXT_CELL.fullmatch(match[3])):
        raise _common.bad_spec(FAMILY, text, "cells as lists of ('operation', input)")
    normal, reduce = (ast.literal_eval(cell) for cell in (match[1], match[3]))
    return spec_of(_genotype(normal, reduce, text))


def to_genotype(spec: str) -> str:
    """DARTS' printed genotype. Inverse of `from_genotype`.

    Raises:
        SpecError: when `spec` describes no genotype.
    """
    genotype = parse(spec)
    normal, reduce = list(genotype.normal.edges), list(genotype.reduce.edges)
    concat = "[2, 3, 4, 5]"
    return f"Genotype(normal={normal}, normal_concat={concat}, reduce={reduce}, reduce_concat={concat})"


def from_configuration(configuration: dict[str, object]) -> str:
    """The spec of a configuration of the benchmark (`...:darts:edge_normal_0` and so on); other settings are left out.

    Raises:
        SpecError: when it describes no genotype.
    """
    try:
        cells = nasbench301.cells_of(configuration)
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        raise _common.bad_spec(FAMILY, error, "a configuration of NAS-Bench-301's space") from error
    return spec_of(_genotype(*cells, configuration))


def to_configuration(spec: str) -> dict[str, str]:
    """The benchmark's configuration of a spec, without the settings that it holds fixed. Inverse of the above.

    Raises:
        SpecError: when `spec` describes no genotype.
    """
    genotype = parse(spec)
    return nasbench301.configuration_of(genotype.normal.edges, genotype.reduce.edges)


def from_compact(text: str) -> str:
    """The spec of NASLib's form: two lists of (input, number of the operation), normal cell first.

    Raises:
        SpecError: when it is none.
    """
    wanted = f"two lists of eight (input, operation) with operations 0 to {len(OPERATIONS) - 1}"
    try:
        cells = [[(OPERATIONS[code], int(source)) for source, code in pairs] for pairs in ast.literal_eval(text)]
        normal, reduce = cells
    except (ValueError, TypeError, IndexError, SyntaxError, MemoryError, RecursionError) as error:
        raise _common.bad_spec(FAMILY, text[:300], wanted) from error
    return spec_of(_genotype(normal, reduce, text))


# Labels


def _read_tables(path: Path) -> pa.Table:
    rows = read_table(path, _TABLE).to_pylist()
    label = "cifar10/validation@100/xgb_noisy+surrogate"
    found = ((f"{FAMILY}/{from_compact(row['arch_compact'])}", label, row["val_accuracy"], "percent") for row in rows)
    return _common.labels(found, path)


def published_costs(path: Path) -> pa.Table:
    """(arch_id, params, macs) of the collected table; `params` of the skeleton "naslib", `macs` its `table_flops`."""
    table = read_table(path, _TABLE)
    arch_ids = [f"{FAMILY}/{from_compact(text)}" for text in table["arch_compact"].to_pylist()]
    counts = [pc.cast(pc.round(pc.multiply(table[name], 1e6)), pa.int64()) for name in ("params", "flops")]
    return pa.table([arch_ids, *counts], names=["arch_id", "params", "macs"])


_PROXIES = ("epe_nas", "fisher", "grad_norm", "grasp", "jacov", "l2_norm", "plain", "snip", "synflow")
_PROXY_COLUMNS = {name: name for name in _PROXIES} | {"naswot": "nwot"}


def published_proxies(path: Path) -> pa.Table:
    """(arch_id, proxy, value) of the collected table: NASLib's zero-cost proxies, on its own skeleton ("naslib").

    Signs are as published; the values of synflow are logarithms. The column of zen is empty.

    Raises:
        TableError: when a column is absent, or a value is not finite.
    """
    columns = [(column, pa.float64()) for column in _PROXY_COLUMNS.values()]
    table = read_table(path, pa.schema([("arch_compact", pa.large_string()), *columns]))
    arch_ids = [f"{FAMILY}/{from_compact(text)}" for text in table["arch_compact"].to_pylist()]
    return _common.published_columns(path, arch_ids, table, _PROXY_COLUMNS)


def _read_runs(path: Path) -> pa.Table:
    return _common.labels(_run_rows(path), path)


def _run_rows(path: Path) -> Iterable[tuple[str, str, float, str]]:
    seen: Counter[tuple[str, str]] = Counter()
    for run in nasbench301.read_runs(path):
        try:
            name = f"{FAMILY}/{spec_of(_genotype(*run.cells, run.name))}"
        except SpecError as error:
            raise nasbench301.wrong_run(path / run.name, error) from error
        suffix = "" if run.standard else "+other_settings"
        end = f"@{run.epochs}/run{seen[name, suffix]}{suffix}"
        seen[name, suffix] += 1
        yield name, f"cifar10/validation{end}", run.validation_pct, "percent"
        yield name, f"cifar10/test{end}", run.test_pct, "percent"
        yield name, f"cifar10/train_seconds{end}", run.seconds, "seconds"


def surrogate_labels(path: Path, specs: Sequence[str], rng: np.random.Generator | None = None) -> pa.Table:
    """What the official ensembles in `path` say of `specs` (schema LABELS).

    Args:
        path: the archive, or a folder that holds one or more of its ensembles.
        rng: draws the noise that the benchmark adds to an accuracy, normal with the ensemble's standard deviation;
            without it the ensemble's mean is taken.

    Raises:
        SpecError: when a spec describes no genotype.
        FormatError: when the archive is damaged, hostile or holds no ensemble.
    """
    genotypes = [parse(spec) for spec in specs]
    cells = [(genotype.normal.edges, genotype.reduce.edges) for genotype in genotypes]
    names = [f"{FAMILY}/{spec_of(genotype)}" for genotype in genotypes]
    rows: list[tuple[str, str, float, str]] = []
    for ensemble in nasbench301_surrogates.read_ensembles(path):
        members = ensemble.predict(cells)  # (members, N)
        values, spread = members.mean(0), members.std(0)
        noisy = "_noisy" if rng is not None else ""
        values = rng.normal(values, spread) if rng is not None else values
        quantity, unit = ("train_seconds", "seconds") if ensemble.name == "lgb" else ("validation", "percent")
        label = f"cifar10/{quantity}@100/{ensemble.name}{noisy}+surrogate"
        rows += [(name, label, float(value), unit) for name, value in zip(names, values, strict=True)]
    return _common.labels(rows, path)


def _read_surrogate(path: Path) -> pa.Table:
    return surrogate_labels(path, sample(SURROGATE_SAMPLE, np.random.default_rng(SURROGATE_SEED)))


LABEL_SOURCES: dict[str, Callable[[Path], pa.Table]] = {
    "tables": _read_tables,
    "runs": _read_runs,
    "surrogate": _read_surrogate,
}
"""Source -> reader of its file, archive or folder, giving LABELS."""

COLLECTED = "nb301_surrogate725.parquet"
"""The file of the source "tables"."""

REMOTES: dict[str, Remote] = {
    "surrogate": Remote(sources=("https://ndownloader.figshare.com/files/24992018",), file="nb_models_v1.0.zip"),
    "runs": Remote(
        sources=(
            "https://figshare.com/articles/dataset/NAS-Bench-301_Dataset_v1_0/13246952",
            "https://figshare.com/articles/dataset/nasbench301_full_data/13286105",
        ),
        file="nasbench301_dataset_v1_0.zip",
    ),
}
"""The v1.0 ensembles, and the trainings' results. Of the latter the authors publish pages alone, which no program can
fetch from: the error of the download says what to take out of them by hand."""

DATASHEET = {
    "title": "NAS-Bench-301 (DARTS space)",
    "space": "1.08e18 pairs of a normal and a reduction cell, four nodes with two of seven operations each.",
    "labels": "CIFAR-10 after 100 epochs: single runs of some 60,000 genotypes, or surrogates fitted to them.",
    "licence": "Apache-2.0",
    "citation": (
        "Zela, Siems, Zimmer, Lukasik, Keuper, Hutter: Surrogate NAS Benchmarks: Going Beyond the Limited Search "
        "Spaces of Tabular NAS Benchmarks, ICLR 2022"
    ),
    "graph": "8 cells of 32 channels; the auxiliary head's 468,234 parameters are counted apart.",
}
