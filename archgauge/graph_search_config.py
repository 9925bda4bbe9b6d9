"""What the rules of the search by mutation ask of the configuration, which `archgauge.config_check` has checked."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from archgauge.config import Config, can_run, clusterings_of, plain, population_tables, predictor_keywords
from archgauge.evaluation.published import published
from archgauge.proxy_config import IMAGES
from archgauge.signatures import datasheet_of, needs_of
from archgauge.transfer_config import model_files

NETWORKS = ("start", "found", "random")
"""What is compared: the network that a search begins with, what it finds, and the end of a random descent."""

_PAPER = "gennape_table7"
_DESCRIBED = {"embedding", "membership", "macs", "params"}
"""What is known of a mutant: see archgauge/search/graph_guide.py."""


def mutation_choices(config: Config) -> Iterator[tuple[str, Any, Iterable[Any]]]:
    """(key, name, what there is to choose from) of every name that the search by mutation refers to."""
    paper, predictors, experiments = config["papers"][_PAPER], config["predictors"], config["experiments"]
    guides = [
        name
        for name, one in predictors.items()
        if {"fine_tuning", "encoder"} <= one.keys() and needs_of(one["module"]) <= _DESCRIBED
    ]
    yield f"papers.{_PAPER}.guide", paper["guide"], guides
    single = [name for name, settings in experiments.items() if settings["protocol"] == "source"]
    transfers = [
        name
        for name, settings in experiments.items()
        if settings["protocol"] == "transfer" and settings["source"] in single
    ]
    for family, one in paper["families"].items():
        where, chosen = f"papers.{_PAPER}.families.{family}", one["guided_by"]
        fitting = [
            name
            for name in experiments
            if (name in (*single, *transfers) and experiments[name]["family"] == family)
            or (name in single and one["spec"] is not None)
        ]
        yield f"{where}.guided_by.experiment", chosen["experiment"], fitting
        settings = experiments[chosen["experiment"]]
        sizes = settings["n_train"] if settings["protocol"] == "transfer" else []
        yield f"{where}.guided_by.n_train", chosen["n_train"], [0, *sizes]
        source = experiments[settings["source"]] if settings["protocol"] == "transfer" else settings
        yield f"papers.{_PAPER}.guide", paper["guide"], source["predictors"]
        for row in one["rows"].values():
            published("gennape", "7", row, "FLOPs")


def searched_families(config: Config) -> list[str]:
    """The families whose guide can be had here."""
    families = config["papers"][_PAPER]["families"]
    return [family for family, one in families.items() if can_run(config, one["guided_by"]["experiment"])]


def trained_files(config: Config) -> list[str]:
    """The accuracies of the trained networks, by family, network and seed; none without images."""
    if not cifar10_folder(config):
        return []
    return [
        f"results/graph_search/trained/{family}/{network}/{seed}.parquet"
        for family in searched_families(config)
        if (training := config["papers"][_PAPER]["families"][family]["training"]) is not None
        for network in NETWORKS
        for seed in range(training["seeds"])
    ]


def cifar10_folder(config: Config) -> list[str]:
    """The folder of CIFAR-10; nothing where none is there."""
    named, tables_dir = config["papers"][_PAPER]["images"], config["tables_dir"]
    if named is not None:
        return [named]
    folder = None if tables_dir is None else Path(tables_dir) / IMAGES
    return [str(folder)] if folder is not None and folder.is_dir() else []


def guide_inputs(config: Config, family: str) -> dict[str, list[str]]:
    """The files that the guide of a family's search is made of, by the names of workflow_scripts/graph_search.py.

    The family's own tables where it is fine-tuned on some of its labels.
    """
    name, experiment, n_train = _guided_by(config, family)
    settings, guide = config["experiments"][experiment], config["predictors"][name]
    source = settings["source"] if settings["protocol"] == "transfer" else experiment
    return {
        "models": model_files(config, source, name),
        "encoder": [f"results/encoders/{guide['encoder']}.pt"],
        "clusters": [f"results/clusters/{guide['clustering']}.npz"] if "clustering" in guide else [],
        "population": list(population_tables(config, name, family).values()) if n_train else [],
        "splits": [f"results/splits/{experiment}.parquet"] if n_train else [],
    }


def start_inputs(config: Config, family: str) -> dict[str, list[str]]:
    """The files that name the network to begin with; none where the configuration does and nothing is learnt."""
    *_, n_train = _guided_by(config, family)
    best = config["papers"][_PAPER]["families"][family]["spec"] is None
    return {
        "architectures": [f"results/architectures/{family}.parquet"] if best else [],
        "labels": [f"results/labels/{family}.parquet"] if best or n_train else [],
    }


def graph_search_settings(config: Config, family: str) -> dict[str, Any]:
    """What workflow_scripts/graph_search.py needs to know."""
    paper = config["papers"][_PAPER]
    name, experiment, n_train = _guided_by(config, family)
    guide, settings = config["predictors"][name], config["experiments"][experiment]
    return {
        "family": family,
        "graph": plain(config["families"][family]["graph"]),
        "spec": paper["families"][family]["spec"],
        "label": settings["label"],
        "module": guide["module"],
        "keywords": predictor_keywords(config, name),
        "tables": list(population_tables(config, name, family)) if n_train else [],
        "transferred": settings.get("transferred", "best"),
        "fine_tuning": plain(guide["fine_tuning"]),
        "n_train": n_train,
        "search": plain(paper["search"]),
        "seed": paper["seed"],
    }


def graph_search_modules(config: Config, family: str) -> list[str]:
    """The modules that a search by mutation finds by name."""
    name, *_ = _guided_by(config, family)
    return [f"archgauge.predictors.{config['predictors'][name]['module']}", f"archgauge.families.{family}"]


def recipe_of(config: Config, family: str) -> dict[str, Any]:
    """The fields of `archgauge.evaluation.network_training.Recipe`."""
    training = plain(config["papers"][_PAPER]["families"][family]["training"])
    return {name: value for name, value in training.items() if name != "seeds"}


def mutation_table_settings(config: Config) -> dict[str, Any]:
    """What workflow_scripts/mutation_table.py needs to know."""
    paper, ready = config["papers"][_PAPER], searched_families(config)
    families = {}
    for family, one in paper["families"].items():
        families[family] = {
            "title": datasheet_of(family)["title"],
            "rows": plain(one["rows"]),
            "guide": _guide_text(config, family) if family in ready else None,
            "note": one.get("note"),
            "training": plain(one["training"]),
        }
    return {
        "title": paper["title"],
        "search": plain(paper["search"]),
        "families": families,
        "clusterings": clusterings_of(config, [paper["guide"]]) if ready else [],
    }


def _guided_by(config: Config, family: str) -> tuple[str, str, int]:
    """The guide of a family's search, the experiment that it comes from, and how many labels it is fine-tuned on."""
    paper = config["papers"][_PAPER]
    chosen = paper["families"][family]["guided_by"]
    return paper["guide"], chosen["experiment"], chosen["n_train"]


def _guide_text(config: Config, family: str) -> str:
    name, experiment, n_train = _guided_by(config, family)
    settings = config["experiments"][experiment]
    source = settings["source"] if settings["protocol"] == "transfer" else experiment
    trained = config["experiments"][source]
    tuned = f"fine-tuned on {n_train} labels {settings['label']}" if n_train else "not fine-tuned"
    return (
        f"Guide: {config['predictors'][name]['title']}, trained on {trained['n_train'][0]:,} labels of "
        f"{trained['family']}, {tuned}."
    )
