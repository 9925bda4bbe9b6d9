"""Draw the embeddings of many families in one plane, coloured by family."""

from pathlib import Path

import numpy as np

from archgauge import job
from archgauge.evaluation.figures import family_map
from archgauge.predictors.inputs import read_matrix
from archgauge.schemas import EMBEDDINGS


def main(*, embeddings: list[Path], figure: Path, titles: list[str], title: str, encoder: str, shown: int) -> None:
    """`titles` are those of the families of `embeddings`."""
    rng = np.random.default_rng(0)
    vectors, families = [], []
    for path, family in zip(embeddings, titles, strict=True):
        embedding = read_matrix(path, EMBEDDINGS, "embedding")
        vectors.append(embedding[rng.permutation(len(embedding))[:shown]])
        families += [family] * len(vectors[-1])
    family_map(figure, np.concatenate(vectors), families, title=f"{title} ({encoder})", seed=0)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
