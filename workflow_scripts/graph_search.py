"""Search by mutation from one network, and keep all graphs that were looked at and those that are compared."""

from pathlib import Path

import numpy as np

from archgauge import job
from archgauge.clustering import load_clusters
from archgauge.encoders.graph_encoder import GraphEncoder
from archgauge.evaluation.mutations import compared, fitted_guide, start_spec, write_networks
from archgauge.schemas import CANDIDATES, write_table
from archgauge.search.graph_guide import GraphGuide
from archgauge.search.graph_search import improve


def main(
    *,
    models: list[Path],
    encoder: list[Path],
    clusters: list[Path],
    population: list[Path],
    splits: list[Path],
    architectures: list[Path],
    labels: list[Path],
    candidates: Path,
    graphs: Path,
    kinds: Path,
    settings: dict,
    backend: str,
    device: str,
) -> None:
    """`settings` comes from `archgauge.graph_search_config.graph_search_settings`; lists may be empty."""
    reader = GraphEncoder.load(encoder[0], backend).to(device)
    guide = GraphGuide(
        fitted_guide(models, population, labels, splits, settings),
        reader,
        load_clusters(clusters[0]) if clusters else None,
    )
    arch_id, start = start_spec(architectures, labels, settings)
    rng = np.random.default_rng(settings["seed"])
    searched = improve(start, guide.score, rng, **settings["search"])
    networks, table = compared(arch_id, searched, guide.score, rng, settings)
    write_table(candidates, table, CANDIDATES)
    write_networks(networks, graphs, kinds)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
