"""Laplacian spectra against networkx, scipy and textbook graphs."""

import networkx as nx
import numpy as np
import pyarrow as pa
import pytest
import scipy.linalg
import scipy.sparse.csgraph
from graph_cases import random_graph

from archgauge.families import nb101, nb201
from archgauge.graphs import spectrum
from archgauge.graphs.graph import Graphs, concatenate
from archgauge.graphs.normal_form import live
from archgauge.graphs.operations import Kind, KindTable
from archgauge.graphs.spectrum import laplacian_eigenvalues, write_spectra
from archgauge.graphs.tables import convert
from archgauge.schemas import ARCHITECTURES, SPECTRA, read_table, write_table


def arrays(nodes: int, edges: list[tuple[int, int]]) -> Graphs:
    """A graph of given edges; its kinds mean nothing."""
    ordered = sorted((max(edge), min(edge)) for edge in edges)
    target, source = np.array(ordered, np.int32).reshape(-1, 2).T
    zeros, offset = np.zeros(len(source), np.int32), np.array([0, len(source)])
    kinds = KindTable([Kind("relu", ((1, 1, 1),), ((1, 1, 1),))])
    return Graphs(
        kinds,
        np.zeros(nodes, np.int32),
        np.array([0, nodes]),
        source,
        zeros,
        target,
        zeros,
        offset,
        np.full(nodes, -1, np.int32),
        np.zeros(1, np.int64),
    )


def known(name: str, n: int) -> np.ndarray:
    k = np.arange(n)
    return np.sort(
        {
            "path": 1 - np.cos(np.pi * k / (n - 1)),
            "cycle": 1 - np.cos(2 * np.pi * k / n),
            "complete": np.where(k == 0, 0, n / (n - 1)),
            "star": np.where(k == 0, 0, np.where(k == n - 1, 2, 1)),
        }[name]
    )


@pytest.mark.parametrize("name", ["path", "cycle", "complete", "star"])
@pytest.mark.parametrize("n", [3, 8, 25])
def test_textbook_spectra(name, n):
    """Chung 1997, Spectral Graph Theory, examples 1.1 to 1.5."""
    make = {"path": nx.path_graph, "cycle": nx.cycle_graph, "complete": nx.complete_graph, "star": nx.star_graph}[name]
    graph = arrays(n, list((make(n - 1) if name == "star" else make(n)).edges))
    np.testing.assert_allclose(laplacian_eigenvalues(graph, n)[0], known(name, n), atol=1e-6)
    np.testing.assert_allclose(laplacian_eigenvalues(graph, 2)[0], known(name, n)[:2], atol=1e-6)


def test_spectra_of_networks_are_scipys_and_networkxs():
    rng, kinds = np.random.default_rng(0), KindTable()
    graphs = concatenate(
        [live(nb101.to_graph(spec, kinds)) for spec in nb101.sample(4, rng)]
        + [live(nb201.to_graph(spec, kinds)) for spec in nb201.sample(4, rng)]
        + [live(random_graph(rng, 30, kinds)) for _ in range(10)]
    )
    found = laplacian_eigenvalues(graphs, 21)
    assert found.dtype == np.float32
    for row, graph in enumerate(graphs):
        whole = nx.Graph(zip(graph.edge_source.tolist(), graph.edge_target.tolist(), strict=True))
        whole.add_nodes_from(range(len(graph.kind)))
        theirs = scipy.linalg.eigh(nx.normalized_laplacian_matrix(whole).toarray(), eigvals_only=True)
        sparse = scipy.sparse.csgraph.laplacian(nx.to_scipy_sparse_array(whole, dtype=float), normed=True)
        np.testing.assert_allclose(theirs, np.linalg.eigvalsh(sparse.toarray()), atol=1e-8)
        size = min(21, len(theirs))
        np.testing.assert_allclose(found[row, :size], theirs[:size], atol=1e-6)
        assert not found[row, size:].any()


def test_graphs_smaller_than_the_count_are_padded_with_zeros():
    found = laplacian_eigenvalues(arrays(3, [(0, 1), (1, 2)]), 6)
    np.testing.assert_allclose(found, [[0, 1, 2, 0, 0, 0]], atol=1e-6)
    assert (np.diff(found[0, :3]) >= 0).all()


def test_parallel_edges_and_directions_do_not_count():
    once = laplacian_eigenvalues(arrays(4, [(0, 1), (1, 2), (2, 3), (0, 3)]), 4)
    twice = laplacian_eigenvalues(arrays(4, [(0, 1), (0, 1), (1, 2), (2, 3), (0, 3), (0, 3)]), 4)
    assert np.array_equal(once, twice)


def test_a_node_without_edges_adds_a_zero():
    np.testing.assert_allclose(laplacian_eigenvalues(arrays(3, [(0, 1)]), 3), [[0, 0, 2]], atol=1e-6)
    assert laplacian_eigenvalues(arrays(1, []), 2).tolist() == [[0, 0]]


@pytest.mark.parametrize("processes", [1, 2])
def test_written_spectra_are_those_of_the_live_graphs(tmp_path, processes, monkeypatch):
    """Equal live graphs are worked out once, and every row gets its own."""
    specs = nb201.sample(15, np.random.default_rng(0))
    none = nb201.spec_of(["none"] * 6)
    specs += [none, nb201.spec_of(["nor_conv_3x3"] + ["none"] * 5), specs[0], specs[3]]
    names = [f"nb201/{row}" for row in range(len(specs))]
    table = pa.table({"arch_id": names, "family": ["nb201"] * len(specs), "spec": specs})
    write_table(tmp_path / "a.parquet", table, ARCHITECTURES)
    graphs, kinds = tmp_path / "g.parquet", tmp_path / "k.parquet"
    convert(tmp_path / "a.parquet", nb201.to_graph, graphs, kinds, 1)
    write_spectra(graphs, kinds, tmp_path / "s.parquet", 11, processes)
    read = read_table(tmp_path / "s.parquet", SPECTRA)
    assert read["arch_id"].to_pylist() == names
    expected = [laplacian_eigenvalues(live(nb201.to_graph(spec)), 11)[0] for spec in specs]
    found = np.array(read["eigenvalues"].to_pylist(), np.float32)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.array_equal(found[0], found[-2])
    assert np.array_equal(found[15], found[16])
    assert spectrum.SPECTRA is SPECTRA
