"""Train one of the networks that a search by mutation compares, from scratch on CIFAR-10, and test it."""

from pathlib import Path

import pyarrow as pa

from archgauge import job
from archgauge.evaluation.mutations import read_network
from archgauge.evaluation.network_training import Recipe, label_of, trained_accuracy
from archgauge.graph_search_config import NETWORKS
from archgauge.schemas import LABELS, write_table


def main(
    *,
    graphs: Path,
    kinds: Path,
    images: list[Path],
    trained: Path,
    network: str,
    seed: int,
    recipe: dict,
    device: str,
    fingerprint: str,
    report,
) -> None:
    """`recipe` comes from `archgauge.graph_search_config.recipe_of`; `images` holds CIFAR-10's folder."""
    arch_id, graph = read_network(graphs, kinds, NETWORKS.index(network))
    chosen, resume = Recipe(**recipe), trained.with_suffix(".resume.pt")
    accuracy_pct = trained_accuracy(
        graph, chosen, images[0], seed=seed, device=device, resume=resume, fingerprint=fingerprint, report=report
    )
    row = {"arch_id": arch_id, "label": label_of(chosen, seed), "value": accuracy_pct, "unit": "percent"}
    write_table(trained, pa.Table.from_pylist([row]).cast(LABELS), LABELS)
    resume.unlink(missing_ok=True)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
