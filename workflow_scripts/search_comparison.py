"""Print what searches have found beside a paper's numbers and the published methods that have no counterpart here."""

from pathlib import Path

import pyarrow as pa

from archgauge import job
from archgauge.evaluation.search_tables import comparison_table
from archgauge.evaluation.table_files import write_files
from archgauge.schemas import METRICS, read_table


def main(
    *, metrics: list[Path], page: Path, markdown: Path, comma_separated: Path, latex: Path, settings: dict
) -> None:
    """`settings` comes from `archgauge.search_config.search_comparison_settings`."""
    numbers = pa.concat_tables([METRICS.empty_table(), *(read_table(path, METRICS) for path in metrics)])
    table = comparison_table(numbers.unify_dictionaries(), settings)
    write_files(table, page=page, markdown=markdown, comma_separated=comma_separated, latex=latex)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
