"""Print how the accuracies of families are distributed, beside GENNAPE's Table 2."""

from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from archgauge import job
from archgauge.evaluation.family_tables import accuracy_table
from archgauge.evaluation.labels import counted
from archgauge.evaluation.table_files import write_files
from archgauge.schemas import LABELS, read_table


def main(
    *,
    labels: list[Path],
    page: Path,
    markdown: Path,
    comma_separated: Path,
    latex: Path,
    labelled: list[str],
    settings: dict,
) -> None:
    """`settings` comes from `archgauge.config.family_table_settings`; `labelled` names the families of `labels`."""
    tables = dict(zip(labelled, labels, strict=True))
    accuracies: dict[str, np.ndarray | None] = dict.fromkeys(settings["titles"])
    for family, path in tables.items():
        table = read_table(path, LABELS)
        table = table.filter(pc.equal(table["label"], settings["labels"][family]))
        if family in settings["only"]:
            table = table.filter(pc.is_in(table["arch_id"], counted(family, settings["only"][family])))
        accuracies[family] = table["value"].to_numpy()
    write_files(
        accuracy_table(accuracies, settings), page=page, markdown=markdown, comma_separated=comma_separated, latex=latex
    )


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
