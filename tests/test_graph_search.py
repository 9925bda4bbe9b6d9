"""The search by mutation: what it keeps and finds, and that its guide sees graphs as the tables show them."""

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from archgauge.clustering import fit_clusters, save_clusters
from archgauge.encoders.graph_encoder import GraphEncoder, GraphEncoderConfig
from archgauge.errors import PredictorError, TableError
from archgauge.evaluation.labels import label_values
from archgauge.evaluation.mutations import (
    accuracies,
    compared,
    fitted_guide,
    improved,
    mutants,
    read_network,
    start_spec,
)
from archgauge.evaluation.source_models import load_model, save_model, transferred
from archgauge.evaluation.splits import few_label_split, source_split
from archgauge.evaluation.transfer import train_source, transfer
from archgauge.families import nb201
from archgauge.families._common import architectures
from archgauge.graphs import cost
from archgauge.graphs.builder import GraphBuilder
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.graph import Graphs, concatenate
from archgauge.graphs.normal_form import live
from archgauge.graphs.operations import KindTable
from archgauge.graphs.store import GraphStore
from archgauge.graphs.tables import convert
from archgauge.predictors import fuzzy_ensemble, structural_gp
from archgauge.predictors.inputs import load_population
from archgauge.predictors.population import Population
from archgauge.schemas import ARCHITECTURES, CANDIDATES, LABELS, SPLITS, read_table, write_table
from archgauge.search import graph_search
from archgauge.search.graph_guide import GraphGuide, described
from archgauge.search.graph_search import best_of, found, improve, random_descent

ROOT = Path(__file__).parents[1]
SETTINGS = {"iterations": 3, "kept": 4, "children": 5}


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def network() -> Graphs:
    build = GraphBuilder(KindTable())
    x = build.input(8, 8, 3)
    for channels in (8, 8, 16):
        x = build.same("relu", build.batch_norm(build.conv(x, channels, 3)))
    build.output(build.linear(build.global_avg_pool(x), 10))
    return build.finish()


def many_nodes(graphs: Graphs) -> np.ndarray:
    return graphs.node_count.astype(float)


# What is kept


def ranked(predicted: np.ndarray, macs: np.ndarray) -> list[list[int]]:
    """Pareto fronts, straight from their definition."""
    left, fronts = [row for row in range(len(macs)) if macs[row] <= macs[0]], []
    while left:
        front = []
        for row in left:
            others = [(predicted[one] - predicted[row], macs[row] - macs[one]) for one in left]
            if not any(better >= 0 and fewer >= 0 and better + fewer > 0 for better, fewer in others):
                front.append(row)
        fronts.append(front)
        left = [row for row in left if row not in front]
    return fronts


@pytest.mark.parametrize("seed", range(8))
def test_front_after_front_is_kept(seed):
    rng = np.random.default_rng(seed)
    predicted, macs = rng.integers(0, 12, 40).astype(float), rng.integers(1, 12, 40)
    macs[0] = 10
    fronts = ranked(predicted, macs)
    kept = best_of(predicted, macs, 9).tolist()
    assert len(set(kept)) == len(kept) == 9
    for front in fronts:
        if len(front) <= len(kept):
            assert sorted(kept[: len(front)]) == sorted(front)
            kept = kept[len(front) :]
            continue
        assert set(kept) <= set(front)
        if len(kept) > 1:
            assert max(predicted[kept]) == max(predicted[front])
            assert min(macs[kept]) == min(macs[front])
        break


def test_one_that_is_kept_is_the_best_predicted_and_heavier_ones_never_are():
    predicted, macs = np.array([1.0, 2.0, 3.0, 9.0]), np.array([10, 9, 10, 11])
    assert best_of(predicted, macs, 1).tolist() == [2]
    assert sorted(best_of(predicted, macs, 9).tolist()) == [0, 1, 2]


# The search


def test_a_search_goes_where_its_guide_points():
    start = network()
    looked = improve(start, many_nodes, np.random.default_rng(0), **SETTINGS)
    best = looked.graphs.node_count[looked.kept]
    assert best.max() > len(start.kind)
    assert looked.predicted.tolist() == looked.graphs.node_count.tolist()
    light = improve(start, lambda graphs: -cost.macs(graphs).astype(float), np.random.default_rng(0), **SETTINGS)
    assert light.kept.sum() == 4
    assert light.macs[light.kept].max() < 0.7 * light.macs[0]


def test_candidates_are_distinct_descend_from_the_start_and_know_their_costs():
    looked = improve(network(), many_nodes, np.random.default_rng(1), **SETTINGS)
    assert len(set(looked.live_hash)) == len(looked.graphs) <= 1 + 5 + 2 * 4 * 5
    assert looked.live_hash.tolist() == canonical_hash(live(looked.graphs)).tolist()
    assert (looked.parent[0], looked.iteration[0]) == (-1, 0)
    assert (looked.iteration[looked.parent[1:]] < looked.iteration[1:]).all()
    assert looked.macs.tolist() == cost.macs(looked.graphs).tolist()
    assert looked.params.tolist() == cost.params(looked.graphs).tolist()
    assert looked.macs[looked.kept].max() <= looked.macs[0]


def test_equal_seeds_search_alike():
    first, again, other = (improve(network(), many_nodes, np.random.default_rng(s), **SETTINGS) for s in (2, 2, 3))
    assert first.live_hash.tolist() == again.live_hash.tolist() != other.live_hash.tolist()
    assert first.kept.tolist() == again.kept.tolist()


def test_dead_branches_of_the_start_are_pruned():
    build = GraphBuilder(KindTable())
    x = build.input(8, 8, 3)
    build.conv(x, 64, 3)
    build.output(build.conv(x, 4, 3))
    looked = improve(build.finish(), many_nodes, np.random.default_rng(0), **SETTINGS)
    assert looked.macs[0] == 64 * 4 * 27


def test_what_is_found_is_the_smallest_that_is_predicted_no_worse():
    looked = improve(network(), many_nodes, np.random.default_rng(4), **SETTINGS)
    size = len(looked.macs)
    macs, predicted = np.full(size, 100), np.full(size, 5.0)
    macs[1:5], predicted[1:5] = (60, 80, 80, 99), (4, 5, 6, 9)
    assert found(replace(looked, macs=macs, predicted=predicted)) == 3
    predicted[1:] = 4
    assert found(replace(looked, macs=macs, predicted=predicted)) == 0


def test_a_random_descent_never_rises_and_ends_where_it_is_small_enough(monkeypatch):
    start = network()
    macs = int(cost.macs(start)[0])
    assert cost.macs(random_descent(start, np.random.default_rng(0), most_macs=macs // 2))[0] <= macs // 2
    unchanged = random_descent(start, np.random.default_rng(0), most_macs=macs)
    assert canonical_hash(unchanged) == canonical_hash(start)
    monkeypatch.setattr(graph_search, "MOST_TRIES", 5)
    assert cost.macs(random_descent(start, np.random.default_rng(1), most_macs=1))[0] <= macs


# The guide, from tables to tables


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Tables of 30 cells, an encoder as initialised, clusters, and two seeds of a predictor trained on them."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("tables")
    specs = nb201.sample(30, np.random.default_rng(0))
    names = [nb201.arch_id(spec) for spec in specs]
    write_table(folder / "architectures", architectures("nb201", names, specs), ARCHITECTURES)
    convert(folder / "architectures", nb201.to_graph, folder / "graphs.parquet", folder / "kinds", 1)
    store = GraphStore(folder / "graphs.parquet", folder / "kinds")
    accuracy_pct = 80 + 10 * store.params / store.params.max()
    rows = [
        {"arch_id": a, "label": "top1", "value": v, "unit": "percent"} for a, v in zip(names, accuracy_pct, strict=True)
    ]
    write_table(folder / "labels", pa.Table.from_pylist(rows).cast(LABELS), LABELS)
    write_table(folder / "splits", few_label_split(np.array(names, object), 1, np.random.default_rng(0)), SPLITS)
    config = GraphEncoderConfig(node_width=8, half_width=8, gnn_layers=2, feedforward=16)
    encoder = GraphEncoder(config, torch.Generator().manual_seed(0))
    encoder.save(folder / "encoder")
    embedding = encoder.embed(store, np.arange(30))
    settings = {"n_clusters": 2, "fuzzifier": 2.0, "pca_dims": 3, "tolerance": 1e-6, "max_iterations": 50}
    clusters = fit_clusters(
        embedding, store.macs.astype(float), **settings, engine="torch", rng=np.random.default_rng(0)
    )
    save_clusters(folder / "clusters.npz", clusters)
    script("embed")(
        encoder=folder / "encoder",
        graphs=folder / "graphs.parquet",
        kinds=folder / "kinds",
        embeddings=folder / "embeddings",
        backend="torch",
        device="cpu",
    )
    script("memberships")(
        clusters=folder / "clusters.npz",
        embeddings=folder / "embeddings",
        graphs=folder / "graphs.parquet",
        memberships=folder / "memberships",
    )
    population = load_population("nb201", tables(folder), fuzzy_ensemble.Predictor.needs)
    splits = source_split(population.arch_id, np.random.default_rng(0))
    for seed in (0, 1):
        run = {"predictor": "guide", "n_train": 16, "split": 0, "seed": seed}
        model, _ = train_source(
            lambda seed: fuzzy_ensemble.Predictor(**KEYWORDS, seed=seed),
            population,
            accuracy_pct,
            splits,
            run,
            lambda *watched: None,
        )
        save_model(folder / f"{seed}.pt", model)
    return folder


KEYWORDS = {"flops_transform": "centred", "epochs": 3, "learning_rate": 1e-3}


def tables(folder: Path) -> dict[str, Path]:
    names = {"graphs": "graphs.parquet"}
    return {
        name: folder / names.get(name, name)
        for name in ("architectures", "graphs", "kinds", "embeddings", "memberships")
    }


def script(name: str):
    return runpy.run_path(str(ROOT / f"workflow_scripts/{name}.py"))["main"]


def settings(**other) -> dict:
    return {
        "family": "nb201",
        "graph": {},
        "spec": None,
        "label": "top1",
        "module": "fuzzy_ensemble",
        "keywords": KEYWORDS,
        "tables": list(tables(Path())),
        "transferred": "best",
        "fine_tuning": {"epochs": 5, "learning_rate": 1e-3, "batch_size": 1},
        "n_train": 6,
        "search": {"iterations": 2, "kept": 2, "children": 3},
        "seed": 0,
        **other,
    }


def searched(folder: Path, out: Path, **other) -> tuple[pa.Table, Path, Path]:
    chosen = settings(**other)
    few = chosen["n_train"] > 0
    script("graph_search")(
        models=[folder / "0.pt", folder / "1.pt"],
        encoder=[folder / "encoder"],
        clusters=[folder / "clusters.npz"],
        population=list(tables(folder).values()) if few else [],
        splits=[folder / "splits"] if few else [],
        architectures=[folder / "architectures"] if chosen["spec"] is None else [],
        labels=[folder / "labels"],
        candidates=out / "candidates",
        graphs=out / "graphs",
        kinds=out / "kinds",
        settings=chosen,
        backend="torch",
        device="cpu",
    )
    return read_table(out / "candidates", CANDIDATES), out / "graphs", out / "kinds"


def test_new_graphs_are_described_as_the_tables_describe_known_ones(folder):
    known = load_population("nb201", tables(folder), fuzzy_ensemble.Predictor.needs)
    specs, kinds = read_table(folder / "architectures", ARCHITECTURES)["spec"].to_pylist(), KindTable()
    graphs = concatenate([nb201.to_graph(spec, kinds) for spec in specs])
    from archgauge.clustering import load_clusters

    new = described(live(graphs), GraphEncoder.load(folder / "encoder"), load_clusters(folder / "clusters.npz"))
    np.testing.assert_allclose(new.embedding, known.embedding, atol=1e-5)
    np.testing.assert_allclose(new.membership.sum(1), 1, atol=1e-5)
    whole = cost.macs(live(graphs)) == cost.macs(graphs)  # tables count dead branches, mutants have none
    assert whole.sum() > 5
    np.testing.assert_allclose(new.membership[whole], known.membership[whole], atol=1e-4)
    assert new.macs[whole].tolist() == known.macs[whole].tolist()


def test_the_rule_writes_candidates_and_the_networks_that_are_compared(folder, tmp_path):
    table, graphs, kinds = searched(folder, tmp_path)
    networks = [read_network(graphs, kinds, row) for row in range(3)]
    labels = read_table(folder / "labels", LABELS)
    best = labels["arch_id"][int(np.argmax(labels["value"].to_numpy()))].as_py()
    assert networks[0][0] == best == table["arch_id"][0].as_py()
    assert table["parent"].to_pylist()[0] is None
    rows = {row["arch_id"]: row for row in table.to_pylist()}
    assert len(rows) == len(table) > 8
    for name, graph in networks:
        assert rows[name]["macs"] == cost.macs(graph)[0]
        assert name == best or name == f"nb201/mutant-{canonical_hash(graph)[0]}"
    found_row = rows[networks[1][0]]
    assert rows[networks[2][0]]["macs"] <= found_row["macs"] <= rows[best]["macs"]
    assert found_row["predicted"] >= rows[best]["predicted"]
    assert improved(table) == sum(
        row["predicted"] > rows[best]["predicted"] and row["macs"] < rows[best]["macs"]
        for row in rows.values()
        if row["iteration"] is not None
    )
    assert set(mutants(table)["arch_id"].to_pylist()) == {row["arch_id"] for row in rows.values() if row["parent"]}
    again, *_ = searched(folder, tmp_path)
    assert again.equals(table)
    with pytest.raises(TableError, match=r"the networks that a search compares .* expected at least 4, got 3"):
        read_network(graphs, kinds, 3)


def test_a_start_that_nothing_beats_is_no_new_network():
    start = network()
    alone = improve(start, lambda graphs: -many_nodes(graphs), np.random.default_rng(0), **SETTINGS)
    alone = replace(alone, predicted=np.where(alone.iteration == 0, 1.0, 0.0))
    (graphs, names), table = compared("a/start", alone, many_nodes, np.random.default_rng(0), {"family": "a"})
    assert names == ["a/start"] * 3
    assert len(set(canonical_hash(graphs))) == 1
    assert len(table) == len(alone.graphs)
    assert table["iteration"].null_count == improved(table) == 0


def test_fine_tuning_changes_the_guide_and_a_given_start_is_taken(folder, tmp_path):
    spec = read_table(folder / "architectures", ARCHITECTURES)["spec"][3].as_py()
    tables_of = [searched(folder, tmp_path, spec=spec, n_train=count)[0] for count in (0, 6)]
    assert [table["arch_id"][0].as_py() for table in tables_of] == [nb201.arch_id(spec)] * 2
    assert tables_of[0]["predicted"][0] != tables_of[1]["predicted"][0]


def test_the_guide_is_the_one_that_the_transfer_scores(folder, tmp_path):
    """Of its first run: the same labels of the same cells, and so the same predictions."""
    chosen, labels = settings(), read_table(folder / "labels", LABELS)
    models, needed = [folder / "0.pt", folder / "1.pt"], list(tables(folder).values())
    guide = fitted_guide(models, needed, [folder / "labels"], [folder / "splits"], chosen)
    population = load_population("nb201", tables(folder), fuzzy_ensemble.Predictor.needs)
    scores = transfer(
        lambda seed: fuzzy_ensemble.Predictor(**KEYWORDS, seed=seed),
        transferred([load_model(path) for path in models], "best"),
        chosen["fine_tuning"],
        population,
        label_values(labels, "top1", population.arch_id),
        read_table(folder / "splits", SPLITS),
        [(6, 0, 0)],
        predictor="guide",
        settings={},
        fragments=tmp_path,
        fingerprint="f",
        inputs=[],
    )
    np.testing.assert_allclose(guide.predict(population), scores["predicted"].to_numpy(), rtol=1e-6)


def test_the_seed_of_the_configuration_is_the_searchs(folder, tmp_path):
    first, again, other = (searched(folder, tmp_path, n_train=0, seed=seed)[0] for seed in (0, 0, 1))
    assert first["arch_id"].to_pylist() == again["arch_id"].to_pylist() != other["arch_id"].to_pylist()


def test_a_guide_that_reads_more_says_so(folder):
    few = Population(
        np.array(["a", "b", "c"]), np.ones(3), np.ones(3), structure=np.random.default_rng(0).random((3, 5))
    )
    predictor = structural_gp.Predictor(seed=0).fit(few, np.array([80.0, 81.0, 85.0]))
    with pytest.raises(PredictorError, match="structural_gp: expected a column structure, got none"):
        GraphGuide(predictor, GraphEncoder.load(folder / "encoder"), None).score(network())


def test_the_configured_start_is_the_best_of_all_cells(tables_dir):
    import pyarrow.parquet as pq
    import yaml

    config = yaml.safe_load((ROOT / "config.yaml").read_text())["papers"]["gennape_table7"]["families"]["nb101"]
    table = pq.read_table(tables_dir / "nb101.parquet", columns=["module_hash", "cifar10_test_acc_e108_run0"])
    best = table["module_hash"][int(np.argmax(table["cifar10_test_acc_e108_run0"].to_numpy()))].as_py()
    chosen = settings(family="nb101", spec=config["spec"])
    assert start_spec([], [], chosen)[0] == f"nb101/{best}"


def test_accuracies_are_gathered_by_network_and_training(tmp_path):
    for seed, value in ((0, 50.0), (1, 60.0)):
        row = {"arch_id": "a/1", "label": f"cifar10/test@1/run{seed}", "value": value, "unit": "percent"}
        write_table(tmp_path / str(seed), pa.Table.from_pylist([row]).cast(LABELS), LABELS)
    assert accuracies([tmp_path / "0", tmp_path / "1", tmp_path / "0"]) == {"a/1": [50.0, 60.0]}
