"""Draw predicted against measured accuracies of one run: the first split, evaluated cells only."""

from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from archgauge import job
from archgauge.evaluation.figures import predicted_against_measured
from archgauge.evaluation.labels import label_values
from archgauge.evaluation.splits import division
from archgauge.schemas import LABELS, PREDICTIONS, SPLITS, read_table


def main(*, predictions: Path, splits: Path, labels: Path, figure: Path, settings: dict) -> None:
    """`settings` comes from `archgauge.config.predicted_settings`."""
    table = read_table(predictions, PREDICTIONS)
    table = table.filter((pc.field("n_train") == settings["n_train"]) & (pc.field("split") == 0))
    arch_id = table["arch_id"].to_numpy()
    rows = np.arange(len(table))
    if settings["protocol"] == "few_label":
        rows = division(read_table(splits, SPLITS), 0, arch_id).evaluated_rows(settings["n_train"])
    predicted_against_measured(
        figure,
        table["predicted"].to_numpy()[rows],
        label_values(read_table(labels, LABELS), settings["label"], arch_id[rows]),
        title=f"{settings['title']}, {settings['family']}, {settings['n_train']} labels of {settings['learnt_from']}",
        in_percent=settings["in_percent"],
    )


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
