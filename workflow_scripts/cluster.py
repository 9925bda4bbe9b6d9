"""Split a family's embeddings into fuzzy clusters, and say whether the clusters mean anything."""

from pathlib import Path

import numpy as np

from archgauge import job
from archgauge.clustering import fit_clusters, save_clusters
from archgauge.predictors.inputs import read_matrix
from archgauge.schemas import EMBEDDINGS, GRAPHS, read_table


def main(*, embeddings: Path, graphs: Path, clusters: Path, settings: dict, seed: int, report) -> None:
    macs = read_table(graphs, GRAPHS, ["macs"])["macs"].to_numpy().astype(float)
    vectors = read_matrix(embeddings, EMBEDDINGS, "embedding")
    fitted = fit_clusters(vectors, macs, **settings, rng=np.random.default_rng(seed))
    print(fitted.diagnosis, f"after {fitted.iterations} iterations, converged: {fitted.converged}")
    for name, value in vars(fitted.diagnosis).items():
        report(f"clustering/{name}", float(value), fitted.iterations)
    save_clusters(clusters, fitted)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
