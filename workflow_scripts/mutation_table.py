"""Print what searches by mutation found, beside GENNAPE's Table 7."""

from pathlib import Path

from archgauge import job
from archgauge.clustering import load_clusters
from archgauge.evaluation.mutation_tables import Searched, mutation_table
from archgauge.evaluation.mutations import accuracies
from archgauge.evaluation.table_files import write_files
from archgauge.schemas import CANDIDATES, GRAPHS, read_table


def main(
    *,
    candidates: list[Path],
    graphs: list[Path],
    trained: list[Path],
    clusters: list[Path],
    page: Path,
    markdown: Path,
    comma_separated: Path,
    latex: Path,
    families: list[str],
    settings: dict,
) -> None:
    """`settings` comes from `archgauge.graph_search_config`; `families` names those of `candidates` and `graphs`."""
    measured = accuracies(trained)
    searched = {}
    for family, looked, networks in zip(families, candidates, graphs, strict=True):
        arch_ids = tuple(read_table(networks, GRAPHS, ["arch_id"])["arch_id"].to_pylist())
        searched[family] = Searched(arch_ids, read_table(looked, CANDIDATES), measured)
    table = mutation_table(settings, searched, {path.stem: load_clusters(path) for path in clusters})
    write_files(table, page=page, markdown=markdown, comma_separated=comma_separated, latex=latex)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
