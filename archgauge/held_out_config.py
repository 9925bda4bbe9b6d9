"""What the rules of held-out families ask of the configuration, which `archgauge.config_check.check` has checked."""

from collections.abc import Iterable, Iterator
from typing import Any

from archgauge.config import Config, has_labels, plain, population_tables, predictor_keywords
from archgauge.signatures import is_untrained


def held_out_choices(config: Config) -> Iterator[tuple[str, Any, Iterable[Any]]]:
    """(key, name, what there is to choose from) of every name that studies of held-out families refer to."""
    modules = {name: one["module"] for name, one in config["predictors"].items() if "module" in one}
    for name, study in config["held_out"].items():
        where = f"held_out.{name}"
        yield from ((f"{where}.labels", family, config["families"]) for family in study["labels"])
        yield from ((f"{where}.families", family, study["labels"]) for family in study["families"])
        yield from ((f"{where}.only", family, study["families"]) for family in study.get("only", {}))
        yield from ((f"{where}.predictors", one, modules) for one in study["predictors"])
        apart = [one for one, module in modules.items() if is_untrained(module) and one not in study["predictors"]]
        yield from ((f"{where}.untrained", one, apart) for one in study["untrained"])
        yield f"{where}.headline", study["headline"], study["predictors"]


def held_out_sources(config: Config, study: str, family: str) -> list[str]:
    """The families that are learnt from when `family` is held out: all others of the study whose labels can be had."""
    return [one for one in config["held_out"][study]["labels"] if one != family and has_labels(config, one)]


def held_out_families(config: Config, study: str) -> list[str]:
    """The families that a study predicts one by one, of those whose labels can be had."""
    return [family for family in config["held_out"][study]["families"] if has_labels(config, family)]


def source_tables(config: Config, study: str, family: str) -> dict[str, str]:
    """The tables of a family that the predictors of a study learn from, by name."""
    return _tables(config, config["held_out"][study]["predictors"], family)


def target_tables(config: Config, study: str, family: str) -> dict[str, str]:
    """The tables of a family that a study predicts it from, by name."""
    return _tables(config, _shown(config, study), family)


def _tables(config: Config, predictors: Iterable[str], family: str) -> dict[str, str]:
    return {name: path for one in predictors for name, path in population_tables(config, one, family).items()}


def _shown(config: Config, study: str) -> list[str]:
    """The rows of a study's table."""
    return [*config["held_out"][study]["untrained"], *config["held_out"][study]["predictors"]]


def held_out_modules(config: Config, study: str, family: str) -> list[str]:
    """The modules that a job of a study finds by name."""
    families = [family, *held_out_sources(config, study, family)]
    predictors = [config["predictors"][one]["module"] for one in _shown(config, study)]
    return [f"archgauge.predictors.{one}" for one in dict.fromkeys(predictors)] + [
        f"archgauge.families.{one}" for one in families
    ]


def held_out_settings(config: Config, study: str, family: str) -> dict[str, Any]:
    """What workflow_scripts/hold_out.py needs to know."""
    settings = config["held_out"][study]
    return {
        "family": family,
        "tables": list(target_tables(config, study, family)),
        "sources": {
            one: {"label": settings["labels"][one], "tables": list(source_tables(config, study, one))}
            for one in held_out_sources(config, study, family)
        },
        **{
            key: {
                one: {"module": config["predictors"][one]["module"], "keywords": predictor_keywords(config, one)}
                for one in settings[key]
            }
            for key in ("predictors", "untrained")
        },
        **{name: settings[name] for name in ("n_train", "draws", "seed")},
    }


def held_out_table_settings(config: Config, study: str) -> dict[str, Any]:
    """What workflow_scripts/held_out_table.py needs to know."""
    settings, families, columns = config["held_out"][study], [], []
    for family in held_out_families(config, study):
        only, label = settings.get("only", {}).get(family), settings["labels"][family]
        families.append({"family": family, "label": label, "only": only})
        sources = ", ".join(held_out_sources(config, study, family))
        note = f"Label {label}; learnt from {sources}."
        for population in [only, "all"] if only else ["all"]:
            text = family if population == "all" else f"{family} {population.replace('_', ' ')}"
            columns.append({"text": text, "family": family, "population": population, "note": note})
    shown = {name: config["predictors"][name] for name in _shown(config, study)}
    return {
        "name": study,
        "title": settings["title"],
        "families": families,
        "columns": columns,
        "titles": {name: one["title"] for name, one in shown.items()},
        "notes": {name: one["note"] for name, one in shown.items() if "note" in one},
        "headline": settings["headline"],
        "legend": (
            f"{plain(settings['note'])} Spearman's rho over {settings['draws']} draws of {settings['n_train']} labels "
            "of each family that is learnt from; no label of the column's family is read."
        ),
    }
