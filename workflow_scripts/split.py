"""Write an experiment's splits: the one place where it is decided who learns from what."""

from pathlib import Path

import numpy as np

from archgauge import job
from archgauge.evaluation.labels import label_values
from archgauge.evaluation.splits import few_label_split
from archgauge.schemas import ARCHITECTURES, LABELS, SPLITS, read_table, write_table


def main(*, architectures: Path, labels: Path, splits: Path, settings: dict) -> None:
    label, minimum_label = settings["label"], settings["minimum_label"]
    arch_ids = read_table(architectures, ARCHITECTURES, ["arch_id"])["arch_id"].to_numpy()
    if minimum_label is not None:
        arch_ids = arch_ids[label_values(read_table(labels, LABELS), label, arch_ids) >= minimum_label]
    write_table(splits, few_label_split(arch_ids, settings["splits"], np.random.default_rng(settings["seed"])), SPLITS)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
