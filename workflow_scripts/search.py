"""Search a family with one strategy, once for each seed, and write down what it asked for."""

from collections.abc import Callable, Set
from functools import partial
from importlib import import_module
from pathlib import Path

import pyarrow as pa

from archgauge import job
from archgauge.encoders.graph_encoder import GraphEncoder
from archgauge.evaluation.labels import label_values, rows_of
from archgauge.evaluation.protocols import factory
from archgauge.evaluation.source_models import load_model, transferred
from archgauge.evaluation.transfer import Transferred
from archgauge.predictors.inputs import load_population
from archgauge.schemas import ARCHITECTURES, LABELS, TRACES, read_table, write_table
from archgauge.search.description import OnDemand
from archgauge.search.guide import Described, Guide, NoGuide, PredictorGuide
from archgauge.search.runs import traces as search_all
from archgauge.search.space import Space


def main(
    *,
    architectures: Path,
    labels: Path,
    population: list[Path],
    models: list[Path],
    traces: Path,
    settings: dict,
    fingerprint: str,
) -> None:
    """`models` are the guide's on a source, or none. `settings`: `archgauge.search_config.search_settings`."""
    space = Space.of(settings["family"], read_table(architectures, ARCHITECTURES))
    strategy = import_module(f"archgauge.search.{settings['module']}").search
    tables = dict(zip(settings["tables"], population, strict=True))
    queried = search_all(
        partial(strategy, **settings["keywords"]),
        space,
        label_values(read_table(labels, LABELS), settings["label"], space.arch_id),
        _guides(settings, tables, models, space),
        name=settings["strategy"],
        queries=settings["queries"],
        seeds=settings["seeds"],
        settings={name: settings[name] for name in ("module", "keywords", "guide", "label")},
        fragments=traces.parent / "fragments" / settings["strategy"],
        fingerprint=fingerprint,
        inputs=[architectures, labels, *population, *models],
    )
    write_table(traces, queried, TRACES)


def _guides(settings: dict, tables: dict[str, Path], models: list[Path], space: Space) -> Callable[[int], Guide]:
    """A function that makes a guide from a seed."""
    guide = settings["guide"]
    if guide is None:
        return lambda seed: NoGuide()
    make = factory(guide["module"], guide["keywords"])
    needs = import_module(f"archgauge.predictors.{guide['module']}").Predictor.needs
    described = _on_demand if settings["whole"] else _tabulated
    population = described(settings, tables, space, needs)
    if models:
        (model,) = transferred([load_model(path) for path in models], "best")
        return lambda seed: PredictorGuide(Transferred(make, model, guide["fine_tuning"], seed=seed), population)
    return lambda seed: PredictorGuide(make(seed), population)


def _tabulated(settings: dict, tables: dict[str, Path], space: Space, needs: Set[str]) -> Described:
    population = load_population(settings["family"], tables, needs)
    return population.take(rows_of(space.arch_id, pa.array(population.arch_id), "the guide's tables"))


def _on_demand(settings: dict, tables: dict[str, Path], space: Space, needs: Set[str]) -> Described:
    encoder = GraphEncoder.load(tables["encoder"], settings["backend"]) if "encoder" in tables else None
    return OnDemand(settings["family"], settings["graph"], space, needs, encoder)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
