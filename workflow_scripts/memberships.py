"""Give a family's architectures their memberships in clusters that were fitted elsewhere."""

from pathlib import Path

from archgauge import job
from archgauge.clustering import load_clusters
from archgauge.predictors.inputs import check_same_rows, list_column, read_matrix
from archgauge.schemas import EMBEDDINGS, GRAPHS, MEMBERSHIPS, read_table, write_table


def main(*, clusters: Path, embeddings: Path, graphs: Path, memberships: Path) -> None:
    table = read_table(graphs, GRAPHS, ["arch_id", "macs"])
    check_same_rows(table, graphs, read_table(embeddings, EMBEDDINGS, ["arch_id"])["arch_id"].to_numpy(), embeddings)
    vectors = read_matrix(embeddings, EMBEDDINGS, "embedding")
    values = load_clusters(clusters).memberships(vectors, table["macs"].to_numpy().astype(float))
    write_table(memberships, table.select(["arch_id"]).append_column("membership", list_column(values)), MEMBERSHIPS)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
