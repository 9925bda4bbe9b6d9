"""Path statistics against every path listed by networkx, on graphs of all shapes."""

from itertools import pairwise

import networkx as nx
import numpy as np
import pyarrow as pa
import pytest

from archgauge.families import nb101, nb201
from archgauge.graphs import cost
from archgauge.graphs.builder import GraphBuilder
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.graph import Graphs, concatenate
from archgauge.graphs.normal_form import live
from archgauge.graphs.operations import KindTable
from archgauge.graphs.paths import CLASSES, FEATURES, path_statistics, write_structures
from archgauge.graphs.tables import convert
from archgauge.schemas import ARCHITECTURES, STRUCTURES, read_table, write_table

OPERATIONS = ("conv3", "conv1", "depthwise", "max_pool", "relu", "zero", "skip")


def random_graph(rng: np.random.Generator, kinds: KindTable, inputs: int = 1, outputs: int = 1) -> Graphs:
    """A DAG of up to twelve operations on 8 x 8 x 4, each reading a sum of up to three values, sometimes one twice."""
    build = GraphBuilder(kinds)
    values = [build.input(8, 8, 4) for _ in range(inputs)]
    for _ in range(rng.integers(1, 12)):
        recent = values[-5:]
        x = build.add([recent[i] for i in rng.integers(0, len(recent), rng.integers(1, 4))])
        values.append(_apply(build, x, str(rng.choice(OPERATIONS))))
    for value in values[-outputs:]:
        build.output(value)
    return build.finish()


def _apply(build: GraphBuilder, x, operation: str):
    match operation:
        case "conv3":
            return build.conv(x, 4, 3)
        case "conv1":
            return build.conv(x, 4, 1)
        case "depthwise":
            return build.conv(x, 4, 3, groups=4)
        case "max_pool":
            return build.pool(x, "max_pool", 3)
        case "skip":
            return x
    return build.same(operation, x)


def listed(graph: Graphs) -> tuple[nx.MultiDiGraph, list[list[int]]]:
    """The graph in networkx, between a node "in" and a node "out", and all its paths; parallel edges make several."""
    network = nx.MultiDiGraph()
    network.add_nodes_from([*range(len(graph.kind)), "in", "out"])
    network.add_edges_from(zip(graph.edge_source.tolist(), graph.edge_target.tolist(), strict=True))
    operations = [graph.kinds[int(kind)].operation for kind in graph.kind]
    network.add_edges_from(("in", node) for node, name in enumerate(operations) if name == "input")
    network.add_edges_from((node, "out") for node, name in enumerate(operations) if name == "output")
    paths = [["in", *(edge[1] for edge in path)] for path in nx.all_simple_edge_paths(network, "in", "out")]
    return network, paths


def classes_of(graph: Graphs, node) -> dict[str, bool]:
    if not isinstance(node, int):
        return dict.fromkeys(CLASSES, False)
    kind = graph.kinds[int(graph.kind[node])]
    weighted, pool = kind.operation in ("conv", "linear"), kind.operation in ("max_pool", "avg_pool")
    depthwise = kind.operation == "conv" and kind.groups > 1
    return {
        "spatial": weighted and kind.kernel[0] > 1 and not depthwise,
        "pointwise": weighted and kind.kernel[0] < 2,
        "depthwise": depthwise,
        "weighted": weighted,
        "pool": pool,
        "layer": weighted or pool,
    }


def expected_of_paths(graph: Graphs, parts: list[list[list]], prefix: str) -> dict[str, float]:
    """Means over `parts`, each a list of paths, each a list of nodes."""
    rows = []
    for paths in parts:
        counts = {name: [sum(classes_of(graph, node)[name] for node in path) for path in paths] for name in CLASSES}
        row = {"log_paths": np.log(len(paths))}
        for moment, take in (("mean", np.mean), ("std", np.std), ("min", np.min), ("max", np.max)):
            row |= {f"{moment}_{name}": take(values) for name, values in counts.items()}
        if prefix:
            bins = np.minimum(counts["weighted"], 3)
            row |= {f"paths_{k}_weighted": min(len(paths), 1000) * np.mean(bins == k) for k in range(4)}
        rows.append(row)
    return {f"{prefix}{name}": float(np.mean([row[name] for row in rows])) for name in (rows[0] if rows else ())}


def expected(graph: Graphs) -> dict[str, float]:
    """All features, from the list of all paths; what is not in the result is zero."""
    network, paths = listed(graph)
    found = {"dead": float(not paths)}
    if paths:
        found |= expected_of_paths(graph, [paths], "")
        shared = set(paths[0]).intersection(*paths)
        cuts = [node for node in paths[0] if node in shared]
        pieces = []
        for start, end in pairwise(cuts):
            between = {tuple(path[path.index(start) + 1 : path.index(end) + 1]) for path in paths}
            pieces.append([path for path in sorted(between, key=str) for _ in range(_ways(network, (start, *path)))])
        branching = [piece for piece in pieces if len(piece) > 1]
        found["segments"] = float(len(branching))
        found |= expected_of_paths(graph, branching, "segment_")
    for name in CLASSES:
        found[f"nodes_{name}"] = sum(classes_of(graph, node)[name] for node in range(len(graph.kind)))
    found["log_nodes"], found["depth"] = np.log1p(len(graph.kind)), float(graph.level.max())
    found["log_macs"], found["log_params"] = np.log1p(cost.macs(graph)[0]), np.log1p(cost.params(graph)[0])
    return found


def _ways(network: nx.MultiDiGraph, path: tuple) -> int:
    """How often the nodes of a path are walked in this order: parallel edges multiply."""
    return int(np.prod([network.number_of_edges(*step) for step in pairwise(path)]))


def assert_matches_listing(graphs: Graphs) -> np.ndarray:
    values = path_statistics(graphs)
    for row, graph in zip(values, graphs, strict=True):
        want = expected(graph)
        np.testing.assert_allclose(row, [want.get(name, 0.0) for name in FEATURES], rtol=1e-9, atol=1e-9)
    return values


@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (2, 1), (1, 2), (3, 2)])
def test_random_graphs_match_their_listed_paths(inputs, outputs):
    rng, kinds = np.random.default_rng(inputs + 10 * outputs), KindTable()
    graphs = live(concatenate([random_graph(rng, kinds, inputs, outputs) for _ in range(150)]))
    values = assert_matches_listing(graphs)
    dead, segments, paths = (values[:, FEATURES.index(name)] for name in ("dead", "segments", "log_paths"))
    assert 0 < dead.sum() < 100
    assert segments.max() > 1 or inputs + outputs > 2
    assert paths.max() > 2


@pytest.mark.parametrize("family", [nb101, nb201])
def test_cells_match_their_listed_paths(family):
    """Of a network too many paths to list, the first stack of a few cells: cut off behind its first pool or stride."""
    kinds = KindTable()
    specs = family.sample(6, np.random.default_rng(4))
    graphs = live(concatenate([_head(family.to_graph(spec, kinds)) for spec in specs]))
    assert_matches_listing(graphs)


def _head(graph: Graphs) -> Graphs:
    """The network up to its 35th node, whose value is the output."""
    build = GraphBuilder(graph.kinds)
    for node in range(35):
        inputs = graph.edge_source[graph.edge_target == node].tolist()
        build.node(graph.kinds[int(graph.kind[node])], inputs)
    build.output(34)
    return build.finish()


def test_a_network_of_more_paths_than_a_float_counts():
    """600 blocks of x + conv(x) + conv(x): 3^600 paths, of 400 convolutions on average, with variance 600 * 2 / 9."""
    build = GraphBuilder(KindTable())
    x = build.input(8, 8, 4)
    for _ in range(600):
        x = build.add([x, build.conv(x, 4, 3), build.conv(x, 4, 3)])
    build.output(x)
    row = dict(zip(FEATURES, path_statistics(live(build.finish()))[0], strict=True))
    assert row["log_paths"] == pytest.approx(600 * np.log(3), rel=1e-12)
    assert row["mean_spatial"] == pytest.approx(400, rel=1e-12)
    assert row["std_spatial"] == pytest.approx(np.sqrt(600 * 2 / 9), rel=1e-9)
    assert (row["min_spatial"], row["max_spatial"], row["segments"]) == (0, 600, 600)
    assert row["segment_log_paths"] == pytest.approx(np.log(3))
    assert row["segment_paths_0_weighted"] == pytest.approx(1)


def test_a_skip_past_everything_leaves_one_segment():
    """10^24 paths in between do not hide the one path that makes the inner nodes no cuts."""
    build = GraphBuilder(KindTable())
    first = x = build.input(8, 8, 4)
    for _ in range(80):
        x = build.add([build.same("relu", x), build.conv(x, 4, 3)])
        x = build.same("relu", x)
    build.output(build.add([x, first]))
    row = dict(zip(FEATURES, path_statistics(live(build.finish()))[0], strict=True))
    assert row["segments"] == 1
    assert row["segment_log_paths"] == pytest.approx(80 * np.log(2))
    assert sum(row[f"segment_paths_{k}_weighted"] for k in range(4)) == pytest.approx(1000)


def test_every_path_of_a_cell_is_found_whatever_the_skeleton():
    """Two parallel 3x3 convolutions beside a skip in each of fifteen cells; two residual blocks between stages."""
    spec = "|skip_connect~0|+|none~0|none~1|+|nor_conv_3x3~0|nor_conv_3x3~1|none~2|"
    for skeleton, spatial in (("authors", 2), ("gennape", 2)):
        graph = live(nb201.to_graph(spec, KindTable(), skeleton=skeleton))
        row = dict(zip(FEATURES, path_statistics(graph)[0], strict=True))
        assert row["log_paths"] == pytest.approx(17 * np.log(2))
        assert row["segments"] == 17
        assert row["segment_max_spatial"] == pytest.approx((15 * 1 + 2 * spatial) / 17)


def test_order_of_nodes_and_company_change_nothing():
    rng, kinds = np.random.default_rng(8), KindTable()
    graphs = live(concatenate([random_graph(rng, kinds) for _ in range(40)]))
    together = path_statistics(graphs)
    for row, graph in enumerate(graphs):
        np.testing.assert_allclose(path_statistics(_shuffled(graph, rng))[0], together[row], rtol=1e-9, atol=1e-9)


def _shuffled(graph: Graphs, rng: np.random.Generator) -> Graphs:
    """The same graph with its nodes in any order, topological or not."""
    place = rng.permutation(len(graph.kind)).astype(graph.edge_source.dtype)
    kind = np.empty_like(graph.kind)
    kind[place] = graph.kind
    target = place[graph.edge_target]
    order = np.lexsort((graph.edge_slot, target))
    return Graphs(
        graph.kinds,
        kind,
        graph.node_offset,
        place[graph.edge_source][order],
        graph.edge_output[order],
        target[order],
        graph.edge_slot[order],
        graph.edge_offset,
        np.full_like(graph.weight_id, -1),
        graph.params_outside,
    )


def test_equal_live_graphs_have_equal_statistics():
    rng, kinds = np.random.default_rng(2), KindTable()
    graphs = live(concatenate([nb201.to_graph(spec, kinds) for spec in nb201.sample(300, rng)]))
    hashes, values = canonical_hash(graphs), path_statistics(graphs)
    distinct, first, which = np.unique(hashes, return_index=True, return_inverse=True)
    assert len(distinct) < 290
    np.testing.assert_allclose(values, values[first[which]], rtol=1e-12, atol=1e-12)


def test_table_has_a_row_for_each_architecture(tmp_path):
    specs = nb201.sample(50, np.random.default_rng(3))
    rows = [{"arch_id": nb201.arch_id(spec), "family": "nb201", "spec": spec} for spec in specs] * 2
    write_table(tmp_path / "architectures.parquet", pa.Table.from_pylist(rows, ARCHITECTURES), ARCHITECTURES)
    graphs, kinds, structures = (tmp_path / f"{name}.parquet" for name in ("graphs", "kinds", "structures"))
    convert(tmp_path / "architectures.parquet", nb201.to_graph, graphs, kinds, 1)
    write_structures(graphs, kinds, structures)
    table = read_table(structures, STRUCTURES)
    assert table["arch_id"].to_pylist() == [row["arch_id"] for row in rows]
    known = KindTable()
    direct = path_statistics(live(concatenate([nb201.to_graph(row["spec"], known) for row in rows])))
    np.testing.assert_allclose(np.array(table["structure"].to_pylist()), direct, rtol=1e-6, atol=1e-6)


def test_names_are_as_many_as_columns_and_distinct():
    graph = live(nb201.to_graph(nb201.sample(1, np.random.default_rng(0))[0], KindTable()))
    assert path_statistics(graph).shape == (1, len(FEATURES))
    assert len(set(FEATURES)) == len(FEATURES)
