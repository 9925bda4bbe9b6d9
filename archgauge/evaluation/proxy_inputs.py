"""Reading what tables of zero-cost proxies compare: scores, costs and accuracies of the same architectures."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from archgauge.evaluation.labels import counted, label_values, rows_of
from archgauge.evaluation.proxy_scores import Correlation, Scores, correlation
from archgauge.graphs.graph import concatenate
from archgauge.graphs.tables import iter_graphs, read_kinds
from archgauge.proxies.scores import scores_of
from archgauge.schemas import GRAPHS, LABELS, PROXIES, read_table

Settings = Mapping[str, Any]
"""Of `archgauge.proxy_config.comparison_settings`."""


def accuracy_labels(path: Path, settings: Settings) -> pa.Table:
    """The LABELS rows that scores are compared with, from LABELS or from the collected table."""
    if settings["collected"]:
        table = import_module(f"archgauge.families.{settings['family']}").LABEL_SOURCES["tables"](path)
    else:
        table = read_table(path, LABELS)
    return table.filter(pc.equal(table["label"], settings["label"]))


def costs(graphs: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The `arch_id`s (N,) of a GRAPHS table, and their "macs" and "params", (N,) float64."""
    table = read_table(graphs, GRAPHS, ["arch_id", "macs", "params"])
    return table["arch_id"].to_numpy(), {name: table[name].to_numpy().astype(float) for name in ("macs", "params")}


def published_costs(
    family: str, collected: Path, graphs: Path, kinds: Path
) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """What is published of the architectures of a GRAPHS table: "macs" and "params", (N,), and how many equal ours.

    Published MACs are compared as they were counted (`table_flops`).
    """
    module = import_module(f"archgauge.families.{family}")
    arch_ids, ours = costs(graphs)
    table = module.published_costs(collected)
    table = table.take(rows_of(arch_ids, table["arch_id"], str(collected)))
    networks = concatenate([group for group, _ in iter_graphs(graphs, read_kinds(kinds))])
    theirs = {name: table[name].to_numpy().astype(float) for name in ours}
    same = {"macs": module.table_flops(networks), "params": ours["params"]}
    return theirs, {name: int((theirs[name] == same[name]).sum()) for name in theirs}


def sample_scores(proxies: Path, graphs: Path, batch: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The `arch_id`s (N,) of a sample, and their scores at a batch size, with "macs" and "params"."""
    arch_ids, counts = costs(graphs)
    return arch_ids, {**scores_of(read_table(proxies, PROXIES), arch_ids, batch), **counts}


def correlations(
    arch_ids: np.ndarray, scores: Scores, labels: pa.Table, only: pa.Array | None
) -> dict[str, Correlation]:
    """Proxy -> its correlation with accuracy, over those of `arch_ids` (N,) that have both it and a label.

    Args:
        scores: NaN where a score failed.
        labels: one LABELS row for each labelled architecture.
        only: the architectures that count; all when None.
    """
    ids = pa.array(arch_ids, pa.string())
    counts = pc.is_in(ids, labels["arch_id"].combine_chunks().cast(pa.string())).to_numpy(zero_copy_only=False)
    if only is not None:
        counts &= pc.is_in(ids, only).to_numpy(zero_copy_only=False)
    accuracy = label_values(labels, labels["label"][0].as_py(), arch_ids[counts])
    return {proxy: correlation(values[counts], accuracy) for proxy, values in scores.items()}


def published_correlations(
    published: Path, graphs: Path, labels: pa.Table, only: pa.Array | None
) -> dict[str, Correlation]:
    """The same of every published proxy over all rows that carry it, and of MACs and params over the whole GRAPHS."""
    table = read_table(published, PROXIES, ["arch_id", "proxy", "value"])
    found = correlations(*costs(graphs), labels, only)
    for proxy in table["proxy"].unique().to_pylist():
        mine = table.filter(pc.equal(table["proxy"], proxy))
        found |= correlations(mine["arch_id"].to_numpy(), {proxy: mine["value"].to_numpy()}, labels, only)
    return found


def members(family: str, only: str | None) -> pa.Array | None:
    """The architectures of a family that count; None where all do."""
    return None if only is None else counted(family, only)
