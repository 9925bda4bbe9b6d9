"""Combine the scores of an ensemble's members, run by run."""

from pathlib import Path

import numpy as np

from archgauge import job
from archgauge.evaluation.labels import label_values
from archgauge.evaluation.source_models import load_model, transferred
from archgauge.evaluation.transfer import ensemble
from archgauge.schemas import LABELS, PREDICTIONS, SCORES, SPLITS, read_table, write_table


def main(
    *, members: list[Path], models: list[Path], labels: Path, splits: Path, predictions: Path, settings: dict
) -> None:
    """`models` are all seeds of each of the `members`. `settings`: `archgauge.transfer_config.ensemble_settings`."""
    scores = [read_table(path, SCORES) for path in members]
    seeds = np.array([load_model(path) for path in models], dtype=object).reshape(len(members), -1)
    arch_id = np.array(sorted(scores[0]["arch_id"].unique().to_pylist()), dtype=object)
    table = ensemble(
        settings["predictor"],
        scores,
        [transferred(list(of_member), settings["transferred"]) for of_member in seeds],
        label_values(read_table(labels, LABELS), settings["label"], arch_id),
        arch_id,
        read_table(splits, SPLITS),
        [tuple(run) for run in settings["runs"]],
    )
    write_table(predictions, table, PREDICTIONS)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
