"""Draw the embeddings of several families, coloured by family and by accuracy."""

from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from archgauge import job
from archgauge.evaluation.figures import embedding_map
from archgauge.predictors.inputs import read_matrix
from archgauge.schemas import EMBEDDINGS, LABELS, read_table


def main(*, embeddings: list[Path], labels: Path, figure: Path, settings: dict) -> None:
    table = read_table(labels, LABELS)
    table = table.filter(pc.equal(table["label"], settings["label"]))
    accuracy = dict(zip(table["arch_id"].to_pylist(), table["value"].to_pylist(), strict=True))
    rng = np.random.default_rng(0)
    vectors, families, values = [], [], []
    for path, family in zip(embeddings, settings["families"], strict=True):
        arch_id = read_table(path, EMBEDDINGS, ["arch_id"])["arch_id"].to_pylist()
        rows = rng.permutation(len(arch_id))[: settings["shown"]]
        vectors.append(read_matrix(path, EMBEDDINGS, "embedding")[rows])
        families += [family] * len(rows)
        values += [accuracy.get(arch_id[row], np.nan) for row in rows]
    embedding_map(
        figure,
        np.concatenate(vectors),
        families,
        np.array(values),
        title=f"Embeddings of {settings['encoder']}, no labels in its training",
        method="tsne",
        seed=0,
    )


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
