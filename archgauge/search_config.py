"""What the rules of the searches ask of the configuration, which `archgauge.config_check.check` has checked."""

from collections.abc import Iterable, Iterator
from typing import Any

from archgauge.config import Config, can_run, families_of, has_labels, plain, population_tables, predictor_keywords
from archgauge.signatures import datasheet_of, needs_of
from archgauge.transfer_config import NO_LABELS, SOURCES, model_files

ON_DEMAND = frozenset({"macs", "params", "structure", "embedding"})
"""What a predictor may read in a search of a whole space, whose architectures are described when they come up."""


def guide_choices(config: Config) -> Iterator[tuple[str, Any, Iterable[Any]]]:
    """(key, name, what there is to choose from) of the sources of guides: other families, fine-tunable predictors."""
    for name, search in config["searches"].items():
        for strategy, chosen in search["strategies"].items():
            if "source" not in chosen:
                continue
            tunable = [one for one, predictor in config["predictors"].items() if "fine_tuning" in predictor]
            yield f"searches.{name}.strategies.{strategy}.predictor", chosen.get("predictor"), tunable
            known = [
                source
                for source, experiment in config["experiments"].items()
                if experiment["protocol"] in SOURCES
                and chosen["predictor"] in experiment["predictors"]
                and search["family"] not in families_of(config, source)
            ]
            yield f"searches.{name}.strategies.{strategy}.source", chosen["source"], known


def searched_by_default(config: Config, search: str) -> bool:
    """Whether the default workflow makes a search: those of the papers' tables are asked for by name."""
    asked = any(search in table["searches"] for table in config["search_tables"].values())
    return not asked and has_labels(config, config["searches"][search]["family"])


def searched_space(config: Config, search: str) -> str:
    """The ARCHITECTURES that are searched: those that the family is tabulated with, or all that it can list."""
    settings = config["searches"][search]
    folder = "spaces" if settings.get("whole") else "architectures"
    return f"results/{folder}/{settings['family']}.parquet"


def strategies_of(config: Config, search: str) -> dict[str, Config]:
    """The strategies of a search, less those whose guide comes from families whose labels cannot be had."""
    strategies = config["searches"][search]["strategies"]
    return {name: one for name, one in strategies.items() if "source" not in one or can_run(config, one["source"])}


def guide_of(config: Config, search: str, strategy: str) -> Config:
    """The predictor that guides a strategy; empty where none does."""
    return config["predictors"].get(config["searches"][search]["strategies"][strategy].get("predictor"), {})


def guide_tables(config: Config, search: str, strategy: str) -> dict[str, str]:
    """What a strategy's guide reads: tables as `population_tables` names them; in a whole space an encoder at most."""
    predictor = config["searches"][search]["strategies"][strategy].get("predictor")
    if predictor is None:
        return {}
    if not config["searches"][search].get("whole"):
        return population_tables(config, predictor, config["searches"][search]["family"])
    chosen = config["predictors"][predictor]
    return {"encoder": f"results/encoders/{chosen['encoder']}.pt"} if "embedding" in needs_of(chosen["module"]) else {}


def guide_models(config: Config, search: str, strategy: str) -> list[str]:
    """What a source has made of the predictor that guides a strategy, one file for each seed; none without a source."""
    chosen = config["searches"][search]["strategies"][strategy]
    return model_files(config, chosen["source"], chosen["predictor"]) if "source" in chosen else []


def search_settings(config: Config, search: str, strategy: str) -> dict[str, Any]:
    """What workflow_scripts/search.py needs to know."""
    settings, guide = config["searches"][search], guide_of(config, search, strategy)
    chosen = settings["strategies"][strategy]
    guided = None
    if guide:
        guided = {
            "module": guide["module"],
            "keywords": predictor_keywords(config, chosen["predictor"]),
            "fine_tuning": plain(guide.get("fine_tuning", {})),
        }
    return {
        "strategy": strategy,
        "module": chosen["module"],
        "keywords": dict(chosen.get("settings", {})),
        "guide": guided,
        "tables": list(guide_tables(config, search, strategy)),
        "family": settings["family"],
        "whole": bool(settings.get("whole")),
        "graph": plain(config["families"][settings["family"]]["graph"]),
        "backend": config["message_passing"],
        "label": settings["searched_label"],
        "queries": settings["queries"],
        "seeds": settings["seeds"],
    }


def search_modules(config: Config, search: str, strategy: str) -> list[str]:
    """The modules that a search job finds by name."""
    settings, guide = config["searches"][search], guide_of(config, search, strategy)
    return [
        f"archgauge.search.{settings['strategies'][strategy]['module']}",
        f"archgauge.families.{settings['family']}",
        *([f"archgauge.predictors.{guide['module']}"] if guide else []),
    ]


def judge_settings(config: Config, search: str) -> dict[str, Any]:
    """What workflow_scripts/judge_search.py needs to know."""
    settings = config["searches"][search]
    kept = {key: settings[key] for key in ("family", "searched_label", "label")}
    return {"search": search, **kept, "backend": config["message_passing"]}


def search_report_settings(config: Config, search: str) -> dict[str, Any]:
    """What workflow_scripts/search_table.py and search_figure.py need to know."""
    settings = config["searches"][search]
    strategies = strategies_of(config, search)
    return {
        "title": settings["title"],
        "queries": settings["queries"],
        "shown": list(settings["shown"]),
        "headline": settings["headline"],
        "titles": {name: strategy["title"] for name, strategy in strategies.items()},
        "notes": {name: strategy["note"] for name, strategy in strategies.items() if "note" in strategy},
        "published": {
            name: list(strategy["published"]) for name, strategy in strategies.items() if "published" in strategy
        },
    }


def comparison_searches(config: Config, table: str) -> list[str]:
    """The searches of a paper's table whose labels can be had; where none can, all: their rules say what is missing."""
    searches = list(config["search_tables"][table]["searches"])
    return [name for name in searches if has_labels(config, config["searches"][name]["family"])] or searches


def search_comparison_settings(config: Config, table: str) -> dict[str, Any]:
    """What workflow_scripts/search_comparison.py needs to know."""
    settings, made = config["search_tables"][table], comparison_searches(config, table)
    searches = {}
    for name, entry in settings["searches"].items():
        search, runs = config["searches"][name], strategies_of(config, name)
        unlabelled = dict.fromkeys(search["strategies"].keys() - runs.keys(), NO_LABELS)
        searches[name] = {
            **plain(entry),
            "absent": plain(entry.get("absent", {})) | unlabelled,
            "missing": None if name in made else NO_LABELS,
            "family": datasheet_of(search["family"])["title"].partition(" (")[0],
            "label": search["label"],
            "searched_label": search["searched_label"],
            "most": search["queries"],
            "strategies": list(runs),
        }
    strategies: dict[str, Config] = {}
    for name in settings["searches"]:
        strategies = config["searches"][name]["strategies"] | strategies
    shown = {name: strategies[name] for name in settings["strategies"]}
    return {
        **plain(settings),
        "searches": searches,
        "titles": {name: strategy["title"] for name, strategy in shown.items()},
        "notes": {name: strategy["note"] for name, strategy in shown.items() if "note" in strategy},
    }
