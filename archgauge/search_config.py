"""What the rules of the searches ask of the configuration, which `archgauge.config_check.check` has checked."""

from typing import Any

from archgauge.config import Config, population_tables, predictor_keywords


def guide_of(config: Config, search: str, strategy: str) -> Config:
    """The predictor that guides a strategy; empty where none does."""
    return config["predictors"].get(config["searches"][search]["strategies"][strategy].get("predictor"), {})


def guide_tables(config: Config, search: str, strategy: str) -> dict[str, str]:
    """The tables that a strategy's guide reads, as `population_tables` names them; none where there is no guide."""
    predictor = config["searches"][search]["strategies"][strategy].get("predictor")
    return population_tables(config, predictor, config["searches"][search]["family"]) if predictor else {}


def search_settings(config: Config, search: str, strategy: str) -> dict[str, Any]:
    """What workflow_scripts/search.py needs to know."""
    settings, guide = config["searches"][search], guide_of(config, search, strategy)
    chosen = settings["strategies"][strategy]
    guided = {"module": guide["module"], "keywords": predictor_keywords(config, chosen["predictor"])} if guide else None
    return {
        "strategy": strategy,
        "module": chosen["module"],
        "keywords": dict(chosen.get("settings", {})),
        "guide": guided,
        "tables": list(guide_tables(config, search, strategy)),
        "family": settings["family"],
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
    strategies = settings["strategies"]
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
