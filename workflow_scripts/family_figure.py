"""Draw histograms of the accuracy and the multiply-adds of families."""

from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from archgauge import job
from archgauge.evaluation.figures import histograms
from archgauge.schemas import GRAPHS, LABELS, read_table


def main(*, labels: list[Path], graphs: list[Path], figure: Path, labelled: list[str], settings: dict) -> None:
    """`settings` comes from `archgauge.config.family_table_settings`; `labelled` names the families of `labels`."""
    accuracies: dict[str, np.ndarray] = {}
    for family, path in zip(labelled, labels, strict=True):
        table = read_table(path, LABELS)
        accuracies[family] = table.filter(pc.equal(table["label"], settings["labels"][family]))["value"].to_numpy()
    rows = {}
    for (family, title), path in zip(settings["titles"].items(), graphs, strict=True):
        macs = read_table(path, GRAPHS, ["macs"])["macs"].to_numpy() / 1e6
        rows[title] = {"accuracy (%)": accuracies.get(family), "multiply-adds (10⁶)": macs}
    histograms(figure, rows, title=settings["title"])


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
