"""Predict a target family with a predictor from a source, zero-shot and fine-tuned on a few labels."""

from importlib import import_module
from pathlib import Path

from archgauge import job
from archgauge.evaluation.protocols import factory, labelled_population
from archgauge.evaluation.source_models import load_model, transferred
from archgauge.evaluation.transfer import transfer
from archgauge.predictors.inputs import load_population
from archgauge.schemas import LABELS, SCORES, SPLITS, read_table, write_table


def main(
    *,
    population: list[Path],
    models: list[Path],
    labels: Path,
    splits: Path,
    predictions: Path,
    settings: dict,
    fingerprint: str,
) -> None:
    """`models` are the seeds of the predictor's source, or none. `settings`: `archgauge.transfer_config`'s."""
    needs = import_module(f"archgauge.predictors.{settings['module']}").Predictor.needs
    target = load_population(settings["family"], dict(zip(settings["tables"], population, strict=True)), needs)
    known = [load_model(path) for path in models]
    table = transfer(
        factory(settings["module"], settings["keywords"]),
        transferred(known, settings["transferred"]) if known else [],
        settings["fine_tuning"],
        *labelled_population(target, read_table(labels, LABELS), settings["label"]),
        read_table(splits, SPLITS),
        [tuple(run) for run in settings["runs"]],
        predictor=settings["predictor"],
        settings={name: settings[name] for name in ("module", "keywords", "label", "fine_tuning", "transferred")},
        fragments=predictions.parent / "fragments" / settings["predictor"],
        fingerprint=fingerprint,
        inputs=[*population, *models, labels],
    )
    write_table(predictions, table, SCORES)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
