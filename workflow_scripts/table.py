"""Print one table of an experiment: a row for each predictor, our numbers beside the published ones."""

from pathlib import Path

from archgauge import job
from archgauge.clustering import load_clusters
from archgauge.evaluation.reports import experiment_table
from archgauge.evaluation.table_files import write_files
from archgauge.schemas import METRICS, read_table


def main(
    *,
    metrics: Path,
    clusters: list[Path],
    page: Path,
    markdown: Path,
    comma_separated: Path,
    latex: Path,
    settings: dict,
) -> None:
    """`settings` comes from `archgauge.config.table_settings`."""
    fits = {path.stem: load_clusters(path) for path in clusters}
    table = experiment_table(read_table(metrics, METRICS), fits, settings)
    write_files(table, page=page, markdown=markdown, comma_separated=comma_separated, latex=latex)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
