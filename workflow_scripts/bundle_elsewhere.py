"""Judge the bundle on labels of other sources, and print that as one table."""

from pathlib import Path

import pyarrow as pa

from archgauge import job
from archgauge.evaluation.table_files import write_files
from archgauge.ranking.bundle import Bundle
from archgauge.ranking.elsewhere import elsewhere_table, judged_elsewhere
from archgauge.schemas import LABELS, METRICS, read_table, write_table


def main(
    *,
    bundle: Path,
    graphs: list[Path],
    kinds: list[Path],
    labels: list[Path],
    metrics: Path,
    page: Path,
    markdown: Path,
    comma_separated: Path,
    latex: Path,
    settings: dict,
) -> None:
    """`settings`: "families", the label of each; "judged", those whose labels can be had; "seed"."""
    loaded, tables = Bundle.load(bundle), []
    for family, *paths, known in zip(settings["judged"], graphs, kinds, labels, strict=True):
        keys = {"experiment": "bundle_elsewhere", "family": family, "label": settings["families"][family]}
        tables.append(judged_elsewhere(loaded, *paths, read_table(known, LABELS), keys, settings["seed"]))
    found = pa.concat_tables(tables).unify_dictionaries()
    write_table(metrics, found, METRICS)
    write_files(
        elsewhere_table(found, settings),
        page=page,
        markdown=markdown,
        comma_separated=comma_separated,
        latex=latex,
    )


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
