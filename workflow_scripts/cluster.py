"""Split a family's embeddings into fuzzy clusters, and say whether the clusters mean anything."""

from pathlib import Path

import numpy as np

from archgauge import job
from archgauge.clustering import fit_clusters, save_clusters
from archgauge.predictors.inputs import check_same_rows, read_matrix
from archgauge.schemas import EMBEDDINGS, GRAPHS, read_table


def main(*, embeddings: Path, graphs: Path, clusters: Path, settings: dict, seed: int, report) -> None:
    table = read_table(graphs, GRAPHS, ["arch_id", "macs"])
    check_same_rows(table, graphs, read_table(embeddings, EMBEDDINGS, ["arch_id"])["arch_id"].to_numpy(), embeddings)
    macs = table["macs"].to_numpy().astype(float)
    vectors = read_matrix(embeddings, EMBEDDINGS, "embedding")
    fitted = fit_clusters(vectors, macs, **settings, rng=np.random.default_rng(seed))
    print(fitted.diagnosis, f"after {fitted.iterations} iterations, converged: {fitted.converged}")
    for name, value in vars(fitted.diagnosis).items():
        report(f"clustering/{name}", float(value), fitted.iterations)
    save_clusters(clusters, fitted)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
