"""Print how predictors transfer: a row for each family and number of labels, a column for each predictor."""

from pathlib import Path

import pyarrow as pa

from archgauge import job
from archgauge.clustering import load_clusters
from archgauge.evaluation.reports import transfer_table
from archgauge.evaluation.table_files import write_files
from archgauge.schemas import METRICS, read_table


def main(
    *,
    metrics: list[Path],
    clusters: list[Path],
    page: Path,
    markdown: Path,
    comma_separated: Path,
    latex: Path,
    settings: dict,
) -> None:
    """`settings` comes from `archgauge.transfer_config.transfer_table_settings`."""
    numbers = pa.concat_tables([read_table(path, METRICS) for path in metrics]).unify_dictionaries()
    fits = {path.stem: load_clusters(path) for path in clusters}
    write_files(
        transfer_table(numbers, fits, settings),
        page=page,
        markdown=markdown,
        comma_separated=comma_separated,
        latex=latex,
    )


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
