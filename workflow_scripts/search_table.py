"""Print what the strategies of a search have found, beside the published numbers."""

from pathlib import Path

from archgauge import job
from archgauge.evaluation.search_tables import search_table
from archgauge.evaluation.table_files import write_files
from archgauge.schemas import METRICS, read_table


def main(*, metrics: Path, page: Path, markdown: Path, comma_separated: Path, latex: Path, settings: dict) -> None:
    """`settings` comes from `archgauge.search_config.search_report_settings`."""
    table = search_table(read_table(metrics, METRICS), settings)
    write_files(table, page=page, markdown=markdown, comma_separated=comma_separated, latex=latex)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
