"""Learn from labels of several families and predict another one, of which no label is read."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from archgauge import job
from archgauge.evaluation.held_out import hold_out
from archgauge.evaluation.protocols import factory, labelled_population
from archgauge.predictors.inputs import load_population
from archgauge.schemas import LABELS, PREDICTIONS, read_table, write_table


def main(*, population: list[Path], sources: list[Path], labels: list[Path], predictions: Path, settings: dict) -> None:
    """`settings` comes from `archgauge.held_out_config.held_out_settings`."""
    learning, untrained = settings["predictors"], settings["untrained"]
    needs = _needs(learning)
    files, known = iter(sources), {}
    for (family, source), path in zip(settings["sources"].items(), labels, strict=True):
        tables = {name: next(files) for name in source["tables"]}
        whole = load_population(family, tables, needs)
        known[family] = labelled_population(whole, read_table(path, LABELS), source["label"])
    tables = dict(zip(settings["tables"], population, strict=True))
    target = load_population(settings["family"], tables, needs | _needs(untrained))
    draws = {name: settings[name] for name in ("n_train", "draws", "seed")}
    write_table(predictions, hold_out(_made(learning), _made(untrained), known, target, **draws), PREDICTIONS)


def _needs(predictors: dict) -> set[str]:
    modules = (import_module(f"archgauge.predictors.{one['module']}") for one in predictors.values())
    return set().union(*(module.Predictor.needs for module in modules))


def _made(predictors: dict) -> dict[str, Callable[[int], Any]]:
    return {name: factory(one["module"], one["keywords"]) for name, one in predictors.items()}


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
