"""Make an encoder: pretrained without labels on the graphs of its families, or left at its initialisation."""

from pathlib import Path

import numpy as np
import torch

from archgauge import job
from archgauge.encoders.graph_encoder import GraphEncoder, GraphEncoderConfig
from archgauge.graphs.store import GraphStore
from archgauge.predictors.inputs import check_same_rows, read_matrix
from archgauge.pretraining.trainer import PretrainingConfig, Source, losses_table, pretrain
from archgauge.schemas import LOSSES, SPECTRA, read_table, write_table


def main(
    *,
    graphs: list[Path],
    kinds: list[Path],
    spectra: list[Path],
    encoder: Path,
    losses: Path,
    name: str,
    shape: dict,
    training: dict | None,
    most: int | None,
    eigenvalues: int,
    seed: int,
    backend: str,
    device: str,
    report,
    fingerprint: str,
) -> None:
    model = GraphEncoder(GraphEncoderConfig(**shape), torch.Generator().manual_seed(seed), backend).to(device)
    history: list[dict[str, float]] = []
    resume = encoder.with_name(f".{encoder.name}.resume")
    if training is not None:
        stores = [GraphStore(*paths) for paths in zip(graphs, kinds, strict=True)]
        rng = np.random.default_rng(seed)
        sources = [_source(store, path, most, rng) for store, path in zip(stores, spectra, strict=True)]
        config = PretrainingConfig(**{"eigenvalues": eigenvalues, **training})
        history = pretrain(model, sources, config, seed=seed, resume=resume, fingerprint=fingerprint, report=report)
    model.save(encoder)
    write_table(losses, losses_table(name, history), LOSSES)
    resume.unlink(missing_ok=True)


def _source(store: GraphStore, spectra: Path, most: int | None, rng: np.random.Generator) -> Source:
    """Every distinct live graph once, or `most` of them: to an encoder, equal ones are the same sample."""
    check_same_rows(read_table(spectra, SPECTRA, ["arch_id"]), spectra, store.arch_id, store.path)
    rows = np.unique(store.live_hash, return_index=True)[1]
    rows = np.sort(rows if most is None else rng.permutation(rows)[:most])
    return Source(store, rows, read_matrix(spectra, SPECTRA, "eigenvalues")[rows])


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
