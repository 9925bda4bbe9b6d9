"""Train a predictor on a source, one family or several, with one seed, and keep it for every target."""

from importlib import import_module
from pathlib import Path

import numpy as np

from archgauge import job
from archgauge.evaluation.protocols import factory, labelled_population
from archgauge.evaluation.source_models import save_model
from archgauge.evaluation.splits import joint_split
from archgauge.evaluation.transfer import train_source
from archgauge.predictors.inputs import load_population
from archgauge.predictors.population import Population
from archgauge.schemas import LABELS, SCORES, SPLITS, read_table, write_table


def main(
    *,
    population: list[Path],
    labels: list[Path],
    splits: list[Path],
    model: Path,
    predictions: Path,
    settings: dict,
    report,
) -> None:
    """`settings` comes from `archgauge.transfer_config.source_settings`.

    `labels` and `splits` are a file for each family of the source, `population` its tables, family after family.
    """
    needs = import_module(f"archgauge.predictors.{settings['module']}").Predictor.needs
    files, families = iter(population), settings["families"]
    parts = []
    for family, path in zip(families, labels, strict=True):
        tables = {name: next(files) for name in family["tables"]}
        whole = load_population(family["family"], tables, needs)
        parts.append(labelled_population(whole, read_table(path, LABELS), family["label"]))
    populations, accuracies = zip(*parts, strict=True)
    trained, table = train_source(
        factory(settings["module"], settings["keywords"]),
        Population.concatenate(populations),
        np.concatenate(accuracies),
        joint_split([read_table(path, SPLITS) for path in splits], [family["n_train"] for family in families]),
        settings["run"],
        report,
        by_family=settings["by_family"],
    )
    save_model(model, trained)
    write_table(predictions, table, SCORES)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
