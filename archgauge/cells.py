"""The cell: the small DAG that a cell-based family's authors search, beside the computation graph it unfolds to."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """A DAG with one operation a vertex.

    Attributes:
        operations: name of each vertex' operation; the first is "input", the last "output". Vertices stand in
            topological order. Where a family searches two cells, they stand side by side, and the operations of the
            second have a prefix ("reduce:skip").
        edges: (source, target) with source < target; no edge stands twice.
    """

    operations: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]

    def paths(self, dropped: Sequence[str] = ("none",), passed: Sequence[str] = ("skip",)) -> Counter[tuple[str, ...]]:
        """Count the operation sequences from input to output (the path encoding of BANANAS, as counts).

        A path through an operation in `dropped` carries nothing and is left out; an operation in `passed`
        leaves no trace in the sequence.
        """
        last = len(self.operations) - 1
        reaching: list[Counter[tuple[str, ...]]] = [Counter() for _ in self.operations]
        reaching[0][()] = 1
        for source, target in sorted(self.edges, key=lambda edge: (edge[1], edge[0])):
            operation = self.operations[target]
            kind = operation.rpartition(":")[2]
            if kind in dropped:
                continue
            tail = () if kind in passed or target == last else (operation,)
            for path, count in reaching[source].items():
                reaching[target][path + tail] += count
        return reaching[last]
