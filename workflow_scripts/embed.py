"""Embed a family's live graphs with an encoder; equal graphs are embedded once."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from archgauge import job
from archgauge.encoders.graph_encoder import GraphEncoder
from archgauge.graphs.store import GraphStore
from archgauge.predictors.inputs import list_column
from archgauge.schemas import EMBEDDINGS, write_table


def main(*, encoder: Path, graphs: Path, kinds: Path, embeddings: Path, backend: str, device: str) -> None:
    store = GraphStore(graphs, kinds)
    _, first, which = np.unique(store.live_hash, return_index=True, return_inverse=True)
    vectors = GraphEncoder.load(encoder, backend).to(device).embed(store, first)[which]
    write_table(embeddings, pa.table({"arch_id": store.arch_id, "embedding": list_column(vectors)}), EMBEDDINGS)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
