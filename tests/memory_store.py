"""Graphs in memory behind the interface of a graph store, and random graphs, for tests."""

from pathlib import Path

import numpy as np
import torch

from archgauge.families import nb101, nb201
from archgauge.graphs import cost
from archgauge.graphs.batch import GraphBatch
from archgauge.graphs.graph import Graphs, concatenate
from archgauge.graphs.normal_form import live
from archgauge.graphs.operations import KindTable
from archgauge.graphs.spectrum import laplacian_eigenvalues
from archgauge.graphs.store import LiveGraphs


class MemoryStore(LiveGraphs):
    """What `GraphStore` offers, without files."""

    path = Path("memory.parquet")

    def __init__(self, graphs: Graphs, arch_id: list[str]):
        super().__init__(live(graphs))
        self.macs, self.params = cost.macs(graphs), cost.params(graphs)
        self.arch_id = np.array(arch_id, object)

    def __len__(self) -> int:
        return len(self.arch_id)

    def eigenvalues(self, count: int = 21) -> np.ndarray:
        return laplacian_eigenvalues(self._graphs, count)


def family_store(family: str, n: int, seed: int = 0) -> MemoryStore:
    """A store of `n` random architectures of "nb101" or "nb201"."""
    module = {"nb101": nb101, "nb201": nb201}[family]
    specs, kinds = module.sample(n, np.random.default_rng(seed)), KindTable()
    graphs = concatenate([module.to_graph(spec, kinds) for spec in specs])
    return MemoryStore(graphs, [module.arch_id(spec) for spec in specs])


def random_batch(rng: np.random.Generator, sizes: list[int], n_kinds: int) -> GraphBatch:
    """Chain-like DAGs with branches and, now and then, parallel edges; nodes of each graph in topological order."""
    kind, source, target, offset = [], [], [], [0]
    for size in sizes:
        kind += rng.integers(0, n_kinds, size).tolist()
        for node in range(1, size):
            readers = [node - 1, *rng.integers(max(0, node - 8), node, rng.integers(0, 3))]
            source += [offset[-1] + int(reader) for reader in readers]
            target += [offset[-1] + node] * len(readers)
        offset.append(offset[-1] + size)
    return GraphBatch(*(torch.tensor(values, dtype=torch.int64) for values in (kind, source, target, offset)))
