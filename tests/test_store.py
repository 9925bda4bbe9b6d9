"""The store: batches are what a naive assembly gives, and a damaged or outdated cache is built again."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from archgauge.errors import GraphError
from archgauge.families import nb201
from archgauge.graphs import cost, store
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.graph import concatenate
from archgauge.graphs.normal_form import live
from archgauge.graphs.operations import KindTable
from archgauge.graphs.store import GraphStore, live_graphs
from archgauge.graphs.tables import graphs_to_table, kinds_to_table, read_kinds
from archgauge.schemas import GRAPHS, KINDS, write_table

SPECS = [*nb201.sample(60, np.random.default_rng(0)), nb201.spec_of(["none"] * 6)]


def write_graphs(folder, specs: list[str] = SPECS, per_group: int = 25) -> tuple:
    """Graphs in row groups of `per_group`, so that a batch spans several."""
    kinds = KindTable()
    graphs = concatenate([nb201.to_graph(spec, kinds) for spec in specs])
    columns = {
        "arch_id": np.array([nb201.arch_id(spec) for spec in specs]),
        "macs": cost.macs(graphs),
        "params": cost.params(graphs),
        "params_outside": graphs.params_outside,
        "live_hash": canonical_hash(live(graphs)),
    }
    live(graphs)  # adds the kinds of held zeros
    table = graphs_to_table(graphs, columns)
    parts = [table.slice(first, per_group) for first in range(0, len(specs), per_group)]
    write_table(folder / "g.parquet", parts, GRAPHS)
    write_table(folder / "k.parquet", kinds_to_table(kinds), KINDS)
    return folder / "g.parquet", folder / "k.parquet"


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    return GraphStore(*write_graphs(tmp_path_factory.mktemp("store")))


def naive(opened: GraphStore, rows) -> dict[str, list[int]]:
    """Graph after graph, node after node."""
    kind, source, target, offset = [], [], [], [0]
    for row in rows:
        graph = live(nb201.to_graph(SPECS[row]))
        numbers = KindTable(opened.kinds)
        kind += [numbers.index(graph.kinds[node]) for node in graph.kind]
        source += (graph.edge_source + offset[-1]).tolist()
        target += (graph.edge_target + offset[-1]).tolist()
        offset.append(offset[-1] + len(graph.kind))
    return {"kind": kind, "edge_source": source, "edge_target": target, "node_offset": offset}


def as_lists(batch) -> dict[str, list[int]]:
    return {name: getattr(batch, name).tolist() for name in ("kind", "edge_source", "edge_target", "node_offset")}


@pytest.mark.parametrize(
    "rows",
    [[0], [60], [3, 3, 3], [24, 25], list(range(61)), [50, 2, 40, 2, 0, 60, 25, 49, 24], list(range(60, -1, -1)), []],
)
def test_a_batch_is_what_a_naive_assembly_gives(opened, rows):
    batch = opened.batch(np.array(rows, int))
    assert as_lists(batch) == naive(opened, rows)
    assert len(batch) == len(rows)
    for name in ("kind", "edge_source", "edge_target", "node_offset"):
        assert getattr(batch, name).dtype == torch.int64


def test_random_batches(opened):
    rng = np.random.default_rng(1)
    for size in (1, 7, 40, 200):
        rows = rng.integers(0, 61, size)
        assert as_lists(opened.batch(rows)) == naive(opened, rows)


@pytest.fixture(scope="module")
def pair(opened, tmp_path_factory):
    """The store, and another one of other graphs whose kinds come in another order."""
    return opened, GraphStore(*write_graphs(tmp_path_factory.mktemp("other"), OTHERS, per_group=7))


OTHERS = nb201.sample(20, np.random.default_rng(5))[::-1]


def test_joined_stores_give_the_graphs_of_each(pair):
    """Each graph of a mixed batch has the nodes, kind by kind, and the edges that its own store gives it."""
    one, other = pair
    joined = one.followed_by(other)
    assert len(joined) == 81
    assert len(joined.kinds) == len(set(one.kinds) | set(other.kinds)) < len(one.kinds) + len(other.kinds)
    rows = np.random.default_rng(2).permutation(81)[:30]
    batch, at = joined.batch(rows), 0
    for row in rows:
        own, store = (row, one) if row < 61 else (row - 61, other)
        alone = store.batch(np.array([own]))
        nodes = slice(at, at + len(alone.kind))
        found = [joined.kinds[kind] for kind in batch.kind[nodes]]
        assert found == [store.kinds[kind] for kind in alone.kind]
        inside = (batch.edge_target >= nodes.start) & (batch.edge_target < nodes.stop)
        assert (batch.edge_source[inside] - at).tolist() == alone.edge_source.tolist()
        assert (batch.edge_target[inside] - at).tolist() == alone.edge_target.tolist()
        assert (joined.arch_id[row], joined.macs[row]) == (store.arch_id[own], store.macs[own])
        at = nodes.stop
    assert at == len(batch.kind)


def test_a_joined_store_leaves_its_stores_alone(pair):
    one, other = pair
    before = [as_lists(store.batch(np.arange(20))) for store in pair]
    joined = one.followed_by(other)
    assert [as_lists(store.batch(np.arange(20))) for store in pair] == before
    assert as_lists(joined.followed_by(one).batch(np.arange(81))) == as_lists(joined.batch(np.arange(81)))
    assert joined.row[other.arch_id[3]] == 64
    assert one.followed_by().arch_id.tolist() == one.arch_id.tolist()


def test_edges_are_sorted_by_target_and_lead_forward(opened):
    batch = opened.batch(np.arange(61))
    assert (batch.edge_target.diff() >= 0).all()
    assert (batch.edge_source < batch.edge_target).all()
    assert torch.equal(batch.graph_of_node()[batch.edge_source], batch.graph_of_node()[batch.edge_target])


def test_columns_of_the_store(opened):
    graphs = [nb201.to_graph(spec) for spec in SPECS]
    assert len(opened) == 61
    assert opened.arch_id.tolist() == [nb201.arch_id(spec) for spec in SPECS]
    assert opened.row[nb201.arch_id(SPECS[40])] == 40
    assert opened.macs.tolist() == [cost.macs(graph).item() for graph in graphs]
    assert opened.params.tolist() == [cost.params(graph).item() for graph in graphs]
    assert opened.node_count.tolist() == [len(live(graph).kind) for graph in graphs]
    assert opened.live_hash.tolist() == [canonical_hash(live(graph)).item() for graph in graphs]


def test_live_graphs_are_streamed_in_order(opened):
    groups = list(live_graphs(opened.path, opened.kinds))
    assert [len(group) for group in groups] == [25, 25, 11]
    assert np.concatenate([group.node_count for group in groups]).tolist() == opened.node_count.tolist()


def cache_of(path):
    return path.with_suffix(".live.arrow")


def test_the_cache_is_built_once(tmp_path, monkeypatch):
    paths = write_graphs(tmp_path)
    GraphStore(*paths)
    monkeypatch.setattr(store, "_build", None)
    assert as_lists(GraphStore(*paths).batch(np.arange(61))) == naive(GraphStore(*paths), range(61))


@pytest.mark.parametrize("keep", [0, 5, 0.3, 0.9, -8, -1])
def test_a_truncated_cache_is_built_again(tmp_path, keep):
    paths = write_graphs(tmp_path)
    expected = as_lists(GraphStore(*paths).batch(np.arange(61)))
    content = cache_of(paths[0]).read_bytes()
    cache_of(paths[0]).write_bytes(content[: int(len(content) * keep) if isinstance(keep, float) else keep])
    assert as_lists(GraphStore(*paths).batch(np.arange(61))) == expected
    assert cache_of(paths[0]).read_bytes() == content


@pytest.mark.parametrize("damage", ["noise", "tail"])
def test_a_corrupt_cache_is_built_again(tmp_path, damage):
    paths = write_graphs(tmp_path)
    GraphStore(*paths)
    content = bytearray(cache_of(paths[0]).read_bytes())
    where = {"noise": slice(0, None), "tail": slice(-400, None)}[damage]
    whole = bytes(content)
    content[where] = np.random.default_rng(0).bytes(len(content[where]))
    cache_of(paths[0]).write_bytes(content)
    GraphStore(*paths)
    assert cache_of(paths[0]).read_bytes() == whole


def test_a_cache_of_another_table_or_version_is_built_again(tmp_path, monkeypatch):
    paths = write_graphs(tmp_path)
    sizes = GraphStore(*paths).node_count.tolist()
    write_graphs(tmp_path, SPECS[::-1])
    assert GraphStore(*paths).node_count.tolist() == sizes[::-1] != sizes
    monkeypatch.setattr(store, "_FORMAT", b"another")
    before = cache_of(paths[0]).read_bytes()
    GraphStore(*paths)
    assert cache_of(paths[0]).read_bytes() != before


def test_kinds_that_pruning_adds_and_the_table_lacks_are_named(tmp_path):
    paths = write_graphs(tmp_path)
    full = read_kinds(paths[1])
    lacking = KindTable(kind for kind in full if kind.operation != "zero" or kind.inputs)
    assert len(lacking) == len(full) - 1
    write_table(paths[1], kinds_to_table(lacking), KINDS)
    with pytest.raises(GraphError, match=r"the kinds of live graphs at .*g\.parquet: expected all.*got 1 that are not"):
        GraphStore(*paths)
    assert not cache_of(paths[0]).exists()


def test_the_cache_is_mapped_not_read(tmp_path):
    opened = GraphStore(*write_graphs(tmp_path))
    before = pa.total_allocated_bytes()
    GraphStore(*(tmp_path / name for name in ("g.parquet", "k.parquet")))
    assert pa.total_allocated_bytes() - before < 50_000
    assert not opened._chunks[0].kind.flags.owndata
