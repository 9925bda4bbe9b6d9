"""Paths of cells, against networkx."""

from collections import Counter

import networkx as nx
import numpy as np

from archgauge.cells import Cell
from archgauge.families import nb101, nb201


def by_networkx(cell: Cell, dropped=("none",), passed=("skip",)) -> Counter:
    graph = nx.DiGraph(list(cell.edges))
    graph.add_nodes_from(range(len(cell.operations)))
    found = Counter()
    for path in nx.all_simple_paths(graph, 0, len(cell.operations) - 1):
        names = [cell.operations[vertex] for vertex in path[1:-1]]
        if not set(names) & set(dropped):
            found[tuple(name for name in names if name not in passed)] += 1
    return found


def test_paths_of_the_families_are_networkxs():
    rng = np.random.default_rng(0)
    for family in (nb101, nb201):
        for spec in family.sample(300, rng):
            assert family.cell(spec).paths() == by_networkx(family.cell(spec))


def test_paths_of_random_dags_in_any_order_of_edges():
    rng = np.random.default_rng(1)
    names = np.array(["conv3x3", "skip", "none", "maxpool3x3"])
    for _ in range(200):
        vertices = int(rng.integers(2, 9))
        edges = [(a, b) for a in range(vertices) for b in range(a + 1, vertices) if rng.random() < 0.5]
        rng.shuffle(edges)
        interior = rng.choice(names, vertices - 2).tolist()
        cell = Cell(("input", *interior, "output"), tuple(map(tuple, edges)))
        assert cell.paths() == by_networkx(cell)
        chosen = {"dropped": ("maxpool3x3",), "passed": ("none", "conv3x3")}
        assert cell.paths(**chosen) == by_networkx(cell, **chosen)


def test_two_equal_paths_count_twice_and_a_skip_leaves_no_trace():
    operations = ("input", "conv3x3", "conv3x3", "skip", "output")
    cell = Cell(operations, ((0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4), (0, 4)))
    assert cell.paths() == {("conv3x3",): 2, (): 2}
    assert cell.paths(passed=()) == {("conv3x3",): 2, ("skip",): 1, (): 1}


def test_a_cell_that_leads_nowhere_has_no_path():
    assert Cell(("input", "none", "output"), ((0, 1), (1, 2))).paths() == {}
    assert Cell(("input", "conv3x3", "output"), ((0, 1),)).paths() == {}
