"""Train a predictor on each training set of an experiment and predict the experiment's family."""

from importlib import import_module
from pathlib import Path

from archgauge import job
from archgauge.evaluation.protocols import factory, few_label, labelled_population, zero_shot
from archgauge.predictors.inputs import load_population
from archgauge.schemas import LABELS, PREDICTIONS, SPLITS, read_table, write_table


def main(
    *,
    population: list[Path],
    source: list[Path],
    labels: Path,
    splits: Path,
    predictions: Path,
    settings: dict,
    fingerprint: str,
) -> None:
    """`settings` comes from `archgauge.config.predict_settings`."""
    needs = import_module(f"archgauge.predictors.{settings['module']}").Predictor.needs
    tables = settings["tables"]
    target = load_population(settings["family"], dict(zip(tables, population, strict=True)), needs)
    make = factory(settings["module"], settings["keywords"])
    kept = {
        "predictor": settings["predictor"],
        "settings": {name: settings[name] for name in ("module", "keywords", "label")},
        "fragments": predictions.parent / "fragments" / settings["predictor"],
        "fingerprint": fingerprint,
        "inputs": [*population, *source, labels],
    }
    accuracies, chosen = read_table(labels, LABELS), read_table(splits, SPLITS)
    if settings["source"] is None:
        labelled = labelled_population(target, accuracies, settings["label"])
        table = few_label(make, *labelled, chosen, settings["runs"], **kept)
    else:
        known = load_population(settings["source"], dict(zip(tables, source, strict=True)), needs)
        labelled = labelled_population(known, accuracies, settings["label"])
        table = zero_shot(make, *labelled, chosen, target, settings["runs"], **kept)
    write_table(predictions, table, PREDICTIONS)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
