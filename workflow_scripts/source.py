"""Train a predictor on a source family with one seed, and keep it for every target."""

from importlib import import_module
from pathlib import Path

from archgauge import job
from archgauge.evaluation.protocols import factory, labelled_population
from archgauge.evaluation.source_models import save_model
from archgauge.evaluation.transfer import train_source
from archgauge.predictors.inputs import load_population
from archgauge.schemas import LABELS, SCORES, SPLITS, read_table, write_table


def main(
    *, population: list[Path], labels: Path, splits: Path, model: Path, predictions: Path, settings: dict, report
) -> None:
    """`settings` comes from `archgauge.transfer_config.source_settings`."""
    needs = import_module(f"archgauge.predictors.{settings['module']}").Predictor.needs
    source = load_population(settings["family"], dict(zip(settings["tables"], population, strict=True)), needs)
    trained, table = train_source(
        factory(settings["module"], settings["keywords"]),
        *labelled_population(source, read_table(labels, LABELS), settings["label"]),
        read_table(splits, SPLITS),
        settings["run"],
        report,
    )
    save_model(model, trained)
    write_table(predictions, table, SCORES)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
