"""Speed of what predicts: message passing, encoders, heads and clusters, for `python -m archgauge.bench`."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch

from archgauge.bench_lines import Line, Machine, timed
from archgauge.clustering import ENGINES, fit_clusters, initial_memberships
from archgauge.encoders.graph_encoder import GraphEncoder, GraphEncoderConfig
from archgauge.families import nb101
from archgauge.graphs.batch import GraphBatch
from archgauge.graphs.store import GraphStore
from archgauge.nn.colours import refine
from archgauge.nn.graph_conv import KGnn
from archgauge.predictors.fuzzy_ensemble import Predictor
from archgauge.predictors.population import Population

BATCH = 128
CELLS, VERTICES = 512, 7
NODES = 250
"""A graph of this size, give or take a tenth, is one of the size that `BEST_MS` was measured with."""
BEST_MS = {"cells": 5.9, "graphs": 66.0}
"""The fastest step that any library took for these shapes on two threads: dense padded products for `CELLS` cells of
`VERTICES` nodes, PyG's GraphConv for `BATCH` graphs of some `NODES`. DGL took 8.3 and 69."""
SLOWER = 1.5
"""A step may take so many times the best one."""
ENCODER = GraphEncoderConfig(features="extended", gnn_layers=8)
"""Of the transfers in config.yaml, as the fuzzifier is."""
FUZZIFIER = 2.0
SCORED, LABELS, TUNED_BATCH, CLUSTERS = 1_500, 50, 5, 16
EPOCHS, MEASURED_EPOCHS = 100, 5


def message_passing(machine: Machine, store: GraphStore, rng: np.random.Generator) -> Iterator[Line]:
    """Forward and backward pass of four k-GNN layers, width 64, on graphs as they come and on those of two shapes.

    The k-GNN computes nodes that it cannot tell apart once; the note says how long it takes where none are alike.
    """
    large = np.flatnonzero(np.abs(store.node_count - NODES) <= NODES // 10)
    batches = {
        f"{BATCH} graphs": (store.batch(rng.permutation(len(store))[:BATCH]), None),
        f"{CELLS} cells": (_cells(rng), BEST_MS["cells"]),
        f"{BATCH} graphs of {NODES} nodes": (store.batch(rng.permutation(large)[:BATCH]), BEST_MS["graphs"]),
    }
    for what, (batch, best) in batches.items():
        kinds = int(batch.kind.max()) + 1
        flops, moved = _work_of_k_gnn(batch, kinds, 64, 4)
        # Floor: a backward pass does the work of two forward passes.
        floor = 3e3 * (flops / machine.flops_per_s + moved / machine.bytes_per_s)
        apart = GraphBatch(torch.arange(len(batch.kind)), batch.edge_source, batch.edge_target, batch.node_offset)
        for name in ("torch", "dgl"):  # encoders use the first, unless the configuration says otherwise
            bar = SLOWER * best if best is not None and name == "torch" else None
            note = f"{len(batch.kind):,} nodes, {_step_ms(apart, len(batch.kind), name):.0f} ms if none were alike"
            yield Line(f"k-GNN step, {what}, {name}", _step_ms(batch, kinds, name), "ms", floor, bar, note)


def _cells(rng: np.random.Generator) -> GraphBatch:
    """Random cells of NAS-Bench-101 with all their vertices, as graphs of `VERTICES` nodes."""
    cells = [nb101.cell(spec) for spec in nb101.sample(2 * CELLS, rng)]
    cells = [cell for cell in cells if len(cell.operations) == VERTICES][:CELLS]
    names = {name: number for number, name in enumerate(sorted({one for cell in cells for one in cell.operations}))}
    edges = [
        (VERTICES * at + source, VERTICES * at + target)
        for at, cell in enumerate(cells)
        for source, target in sorted(cell.edges, key=lambda edge: edge[1])
    ]
    source, target = torch.tensor(edges).T
    kind = torch.tensor([names[name] for cell in cells for name in cell.operations])
    return GraphBatch(kind, source.contiguous(), target.contiguous(), VERTICES * torch.arange(len(cells) + 1))


def _step_ms(batch: GraphBatch, kinds: int, message_backend: str) -> float:
    layers = KGnn(64, 64, 4, message_backend=message_backend)
    embedded = torch.randn(kinds, 64, requires_grad=True)
    return 1e3 * timed(lambda: layers(embedded, batch).sum().backward())


def _work_of_k_gnn(batch: GraphBatch, rows: int, width: int, layers: int) -> tuple[float, float]:
    """Operations and bytes of a forward pass: two matrices a row, one gathered and added row of `width` an edge."""
    flops = moved = 0.0
    for made in refine(batch.kind, batch.edge_source, batch.edge_target, layers)[0]:
        flops += 2 * 2 * rows * width**2
        moved += 3 * 4 * width * len(made.source)  # an edge's message is read, its sum is read and written
        rows = len(made.own)
    return flops, moved


def predictors(machine: Machine, store: GraphStore, rng: np.random.Generator) -> Iterator[Line]:
    """GENNAPE's encoder, and its regressor with clusters and FLOPs transform (CL+FCM+T): scoring and fine-tuning."""
    rows = rng.permutation(len(store))[:SCORED]
    encoder = GraphEncoder(ENCODER, torch.Generator().manual_seed(0))
    embedding_s = timed(lambda: encoder.embed(store, rows), 3)
    floor = _floor_of_embedding(machine, store, rows)
    yield Line(f"{SCORED:,} graphs embedded", embedding_s, "s", floor, note=f"{SCORED / embedding_s:,.0f} graphs/s")

    embedded, macs = encoder.embed(store, rows), store.macs[rows].astype(float)
    clusters = fit_clusters(
        embedded, macs, n_clusters=CLUSTERS, fuzzifier=FUZZIFIER, pca_dims=32, tolerance=1e-3, max_iterations=20,
        engine="torch", rng=rng,
    )  # fmt: skip

    def population(vectors: np.ndarray) -> Population:
        """Memberships included, of architectures `rows`."""
        shares = clusters.memberships(vectors, macs).astype(np.float32)
        return Population(store.arch_id[rows], macs, macs, embedding=vectors, membership=shares)

    known, accuracy_pct = population(embedded), rng.uniform(80, 95, SCORED)
    predictor = Predictor(flops_transform="centred", epochs=1, seed=0).fit(known, accuracy_pct)
    scoring_s = timed(lambda: predictor.predict(population(encoder.embed(store, rows))), 3)
    weights = sum(parameter.numel() for parameter in predictor.network_.parameters())
    # Floor: the encoder's, and a multiplication and an addition for each weight of each cluster's head.
    floor += 2 * weights * SCORED / machine.flops_per_s
    yield Line(f"{SCORED:,} unseen graphs scored", scoring_s, "s", floor, 1, f"{SCORED / scoring_s:,.0f} graphs/s")

    tune = partial(predictor.fine_tune, epochs=MEASURED_EPOCHS, learning_rate=2e-4, batch_size=TUNED_BATCH, seed=0)
    tuning_s = timed(lambda: tune(known.take(slice(LABELS)), accuracy_pct[:LABELS]), 1) * EPOCHS / MEASURED_EPOCHS
    # Floor: Adam reads a weight, its gradient and two moments in each step, and writes all but the gradient.
    floor = 7 * 4 * weights * EPOCHS * LABELS / TUNED_BATCH / machine.bytes_per_s
    note = f"{weights / 1e6:.1f} M weights, {EPOCHS} epochs extrapolated from {MEASURED_EPOCHS}"
    yield Line(f"fine-tuning with {LABELS} labels", tuning_s, "s", floor, 10, note)


def _floor_of_embedding(machine: Machine, store: GraphStore, rows: np.ndarray) -> float:
    """Seconds. A token takes four square matrices and the feed-forward pair, attention two products of token pairs."""
    batch, width = store.batch(rows), ENCODER.half_width
    flops, moved = _work_of_k_gnn(batch, len(store.kinds), width, ENCODER.gnn_layers)
    pairs = torch.unique(batch.graph_of_node() * len(store.kinds) + batch.kind) // len(store.kinds)
    tokens = torch.bincount(pairs).double()
    flops += float(tokens.sum()) * 2 * (4 * width**2 + 2 * width * ENCODER.feedforward)
    flops += float((tokens**2).sum()) * 2 * 2 * width
    return flops / machine.flops_per_s + moved / machine.bytes_per_s


def clustering(machine: Machine, rng: np.random.Generator) -> Iterator[Line]:
    """One iteration of fuzzy c-means at GENNAPE's size: 49,000 graphs, 33 numbers, 16 clusters."""
    graphs, numbers, clusters = 49_000, 33, 16
    data = rng.standard_normal((graphs, numbers))
    first = initial_memberships(data, clusters, FUZZIFIER, rng)
    # Floor: two matrix products; data read twice, distances and weights written and read once in float64.
    flops = 2 * 2 * graphs * numbers * clusters
    moved = 8 * (2 * graphs * numbers + 4 * graphs * clusters)
    floor = 1e3 * (flops / machine.double_flops_per_s + moved / machine.bytes_per_s)
    for name, engine in ENGINES.items():
        updates = engine(data, first, FUZZIFIER)
        milliseconds, bar = 1e3 * timed(partial(next, updates), 20), 10 if name == "torch" else None
        yield Line(f"fuzzy c-means iteration, {name}", milliseconds, "ms", floor, bar)
