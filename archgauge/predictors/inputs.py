"""Reading what predictors look at from the tables of a family."""

from collections.abc import Mapping, Set
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from archgauge.errors import TableError
from archgauge.graphs.store import GraphStore
from archgauge.predictors.population import Population
from archgauge.proxies.scores import scores_of
from archgauge.schemas import ARCHITECTURES, COMPOSITIONS, EMBEDDINGS, MEMBERSHIPS, PROXIES, STRUCTURES, read_table

_LISTS = {"embedding": EMBEDDINGS, "membership": MEMBERSHIPS, "structure": STRUCTURES, "composition": COMPOSITIONS}


def load_population(family: str, tables: Mapping[str, Path], needs: Set[str]) -> Population:
    """Read the columns that a predictor needs, for all architectures of a family, in the order of GRAPHS.

    Args:
        family: name of the family's module, which makes cells of specs.
        tables: paths under "architectures", "graphs", "kinds" and, where needed, "embeddings", "memberships",
            "structures", "compositions" and "proxies" (which may lack architectures).
        needs: names of `Population`'s columns.

    Raises:
        TableError: when the tables do not hold the same architectures in the same order.
    """
    store = GraphStore(tables["graphs"], tables["kinds"])
    columns: dict[str, Any] = {}
    if "cells" in needs:
        specs = _column(read_table(tables["architectures"], ARCHITECTURES), "spec", store, tables["architectures"])
        columns["cells"] = tuple(map(import_module(f"archgauge.families.{family}").cell, specs.to_pylist()))
    for name, schema in _LISTS.items():
        if name in needs:
            path = tables[f"{name}s"]
            columns[name] = _matrix(_column(read_table(path, schema), name, store, path))
    if "proxies" in needs:
        columns["proxies"] = _proxies(tables["proxies"], store.arch_id)
    if "graphs" in needs:
        columns["graphs"] = (store, np.arange(len(store)))
    return Population(store.arch_id, store.macs.astype(float), store.params.astype(float), **columns)


def check_same_rows(found: pa.Table, path: Path, arch_id: np.ndarray, other: Path) -> None:
    """Check that a table holds the architectures `arch_id` (N,) of another one, in the same order.

    Raises:
        TableError: when it does not; joined by position, its rows would stand beside the wrong architectures.
    """
    if not np.array_equal(found["arch_id"].to_numpy(), arch_id):
        raise TableError(
            "the architectures of a table",
            where=path,
            expected=f"those of {other}, in the same order",
            got=f"{len(found)} architectures, others or in another order",
            remedy="Delete the file and run the workflow again.",
        )


def _column(table: pa.Table, name: str, store: GraphStore, path: Path) -> pa.ChunkedArray:
    check_same_rows(table, path, store.arch_id, store.path)
    return table[name]


def read_matrix(path: Path, schema: pa.Schema, name: str) -> np.ndarray:
    """Read a list column of equal lengths, such as EMBEDDINGS', as (N, length) float32."""
    return _matrix(read_table(path, schema)[name])


def list_column(values: np.ndarray) -> pa.ListArray:
    """(N, length) numbers as a list column of float32."""
    flat = pa.array(np.ascontiguousarray(values, np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1]).cast(pa.list_(pa.float32()))


def _proxies(path: Path, arch_ids: np.ndarray) -> np.ndarray:
    """Scores by proxy, (N,) with a field for each, NaN where an architecture has none."""
    scores = scores_of(read_table(path, PROXIES, ["arch_id", "proxy", "value"]), arch_ids)
    found = np.empty(len(arch_ids), [(proxy, np.float64) for proxy in scores])
    for proxy, values in scores.items():
        found[proxy] = values
    return found


def _matrix(lists: pa.ChunkedArray) -> np.ndarray:
    return lists.combine_chunks().values.to_numpy().reshape(len(lists), -1)
