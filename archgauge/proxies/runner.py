"""Zero-cost proxies of many architectures: spread over processes, resumable, failures counted."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import torch
from threadpoolctl import threadpool_limits

from archgauge.errors import ConfigError, TableError
from archgauge.fingerprint import PACKAGE_ROOT, choices, fingerprint
from archgauge.fragments import FragmentStore, Settings, sweep
from archgauge.graphs.graph import INDEX, Graphs
from archgauge.graphs.operations import KindTable
from archgauge.graphs.tables import iter_graphs, read_kinds
from archgauge.proxies.images import CIFAR10_SHAPE, Batch, batch_files, cifar10_batch, random_batch, shapes
from archgauge.proxies.network import Score, gradients, initialised, loss, weights
from archgauge.schemas import PROXIES
from archgauge.workers import Workers

CHUNK_GRAPHS = 16  # architectures that a kill loses at most


@dataclass(frozen=True)
class Recipe:
    """What the scores of an architecture depend on, besides its graph.

    Attributes:
        proxies: names of modules of this package.
        seed: of the initialisation, the batch and the proxies' own randomness.
        batch: images.
        cifar10: folder of CIFAR-10 in the binary layout; random images and labels when None.
    """

    proxies: tuple[str, ...]
    seed: int
    batch: int
    cifar10: Path | None = None

    @property
    def images(self) -> str:
        """What the images are, as the PROXIES table says it."""
        return "random" if self.cifar10 is None else "cifar10"


def names() -> list[str]:
    """The proxies of this package."""
    return choices("archgauge.proxies", "score")


def node_scores(graph: Graphs, recipe: Recipe) -> dict[str, Score]:
    """What each node contributes to each proxy, each on its own copy of one initialised network.

    Proxies that have a function `of_gradient` read one gradient of the loss.

    Raises:
        ConfigError: when there is no proxy of that name or CIFAR-10 does not fit the network.
        GraphError: when the network is no classifier of one image.
    """
    batch = _batch(graph, recipe)
    sharing = [name for name in recipe.proxies if name in choices("archgauge.proxies", "of_gradient")]
    found = {}
    if sharing:
        network = initialised(graph, recipe.seed)
        own = weights(network)
        gradient = gradients(loss(network, batch.images, batch.labels), own)
        found = {name: _proxy(name).of_gradient(own, gradient) for name in sharing}
    for name in set(recipe.proxies) - set(sharing):
        network, rng = initialised(graph, recipe.seed), torch.Generator().manual_seed(recipe.seed)
        found[name] = _proxy(name).score(network, batch.images, batch.labels, rng)
    return {name: found[name] for name in recipe.proxies}


def compute(
    graphs: Path, kinds: Path, arch_ids: Sequence[str], recipe: Recipe, fragments: Path, processes: int
) -> pa.Table:
    """The PROXIES rows of some architectures of a GRAPHS table, by architecture and then by proxy.

    Finished chunks of 16 architectures are kept in `fragments` and not computed again.

    Args:
        processes: how many work in parallel, one thread each; the result does not depend on it.

    Raises:
        TableError: when an architecture is not in the table.
        ConfigError, GraphError: as `node_scores`.
    """
    chosen = _chosen(graphs, kinds, arch_ids)
    settings = {"proxies": list(recipe.proxies), "seed": recipe.seed, "batch": recipe.batch}
    chunks = [list(arch_ids[first : first + CHUNK_GRAPHS]) for first in range(0, len(arch_ids), CHUNK_GRAPHS)]
    read = [graphs, kinds, *(batch_files(recipe.cifar10) if recipe.cifar10 else [])]
    code = fingerprint(PACKAGE_ROOT, [__name__, *(f"archgauge.proxies.{name}" for name in recipe.proxies)])
    with Workers(processes, _one_thread) as workers:

        def chunk_rows(task: Settings) -> pa.Table:
            parts = (chosen[arch_id] for arch_id in task["arch_ids"])
            return _rows(task["arch_ids"], workers.spread(partial(node_scores, recipe=recipe), parts), recipe)

        tasks = [{**settings, "arch_ids": chunk} for chunk in chunks]
        store = FragmentStore(fragments, PROXIES)
        return sweep(tasks, chunk_rows, store, fingerprint=code, inputs=read, name="proxies")


def failures(table: pa.Table) -> dict[str, int]:
    """How many architectures of a PROXIES table have no finite value, by proxy."""
    counts = table.group_by("proxy").aggregate([("failed", "sum")])
    return dict(zip(counts["proxy"].to_pylist(), counts["failed_sum"].to_pylist(), strict=True))


def _rows(arch_ids: Sequence[str], scores: Iterable[dict[str, Score]], recipe: Recipe) -> pa.Table:
    """PROXIES rows; a score that is not finite, or that no node contributes to, is a failure without values."""
    rows = []
    waiting = iter(scores)
    for arch_id in arch_ids:
        try:
            found = next(waiting)
        except Exception as error:
            error.add_note(f"This happened at {arch_id}.")
            raise
        for name, shares in found.items():
            total = sum(shares.values()) if _all_finite(shares) else math.nan
            good = math.isfinite(total)
            row = {"arch_id": arch_id, "proxy": name, "value": total if good else None, "failed": not good}
            nodes = {"node": list(shares) if good else [], "node_value": list(shares.values()) if good else []}
            rows.append({**row, **nodes, "seed": recipe.seed, "batch": recipe.batch, "images": recipe.images})
    return pa.Table.from_pylist(rows, PROXIES)


def _all_finite(shares: Score) -> bool:
    return bool(shares) and all(map(math.isfinite, shares.values()))


def _chosen(graphs: Path, kinds: Path, arch_ids: Sequence[str]) -> dict[str, Graphs]:
    """`arch_id` -> its graph, each over the few kinds of its own: they travel to other processes."""
    wanted, found = set(arch_ids), {}
    for group, columns in iter_graphs(graphs, read_kinds(kinds)):
        for row, arch_id in enumerate(columns["arch_id"].to_pylist()):
            if arch_id in wanted:
                found[arch_id] = _over_own_kinds(group[row])
    if missing := sorted(wanted - set(found)):
        raise TableError(
            "the architectures to score",
            where=graphs,
            expected="rows of this table",
            got=f"{len(missing)} that are not, the first {missing[0]}",
            remedy="Convert these architectures too, or leave them out.",
        )
    return found


def _over_own_kinds(graph: Graphs) -> Graphs:
    used, kind = np.unique(graph.kind, return_inverse=True)
    return replace(graph, kinds=KindTable(graph.kinds[int(row)] for row in used), kind=kind.astype(INDEX))


def _batch(graph: Graphs, recipe: Recipe) -> Batch:
    shape, classes = shapes(graph)
    if recipe.cifar10 is None:
        return random_batch(shape, classes, recipe.batch, recipe.seed)
    if shape != CIFAR10_SHAPE or classes < 10:
        raise ConfigError(
            "the images of the proxies",
            where=recipe.cifar10,
            expected=f"networks for images of (H, W, C) = {CIFAR10_SHAPE} and at least 10 classes",
            got=f"one for {shape} and {classes} classes",
            remedy="Leave out the folder of CIFAR-10: random images fit every network.",
        )
    return _cifar10(recipe.cifar10, recipe.batch, recipe.seed)


_cifar10 = lru_cache(maxsize=1)(cifar10_batch)  # a process scores many architectures on one batch


def _proxy(name: str) -> ModuleType:
    if name not in names():
        raise ConfigError(
            "a zero-cost proxy",
            where="archgauge.proxies",
            expected=f"one of {', '.join(names())}",
            got=repr(name),
            remedy="Name one of these; MACs and parameters are columns of the GRAPHS table.",
        )
    return import_module(f"archgauge.proxies.{name}")


def _one_thread() -> None:
    torch.set_num_threads(1)
    threadpool_limits(1)
