"""What the rules ask of the configuration, which `archgauge.config_check.check` has checked."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from archgauge.errors import ConfigError
from archgauge.signatures import (
    collected_file,
    datasheet_of,
    has_member,
    keywords,
    named_files,
    needs_of,
    predicts_percent,
    remotes,
)

Config = Mapping[str, Any]


def has_labels(config: Config, family: str) -> bool:
    """Whether the family's labels can be had: it names a source, and the folder of tables where that is needed."""
    source = config["families"][family]["labels"]["source"]
    return source is not None and (source != "tables" or config["tables_dir"] is not None)


def judging_families(config: Config) -> list[str]:
    """The families whose labels the bundle is judged on, of those that can be had.

    Raises:
        ConfigError: when none can.
    """
    wanted = list(config["bundle"]["elsewhere"])
    found = [family for family in wanted if has_labels(config, family)]
    if not found:
        raise ConfigError(
            "the labels that the bundle is judged on",
            where="bundle.elsewhere",
            expected="a family whose labels can be had",
            got=f"{', '.join(wanted) or 'no family'}, without labels",
            remedy="Set tables_dir, for example by --config tables_dir=FOLDER, or name other families.",
        )
    return found


def can_run(config: Config, experiment: str) -> bool:
    """Whether the labels of all families of an experiment can be had."""
    return all(has_labels(config, family) for family in families_of(config, experiment))


def families_of(config: Config, experiment: str) -> list[str]:
    """The family that an experiment predicts where it does, and those that its predictors come from."""
    settings = config["experiments"][experiment]
    match settings["protocol"]:
        case "joint_source":
            return [config["experiments"][name]["family"] for name in settings["sources"]]
        case "transfer":
            return [settings["family"], *families_of(config, settings["source"])]
        case "zero_shot":
            return [settings["family"], settings["source"]]
        case _:
            return [settings["family"]]


def by_default(config: Config, experiment: str) -> bool:
    """Whether the default workflow makes an experiment: transfers and their sources are asked for by name."""
    protocol = config["experiments"][experiment]["protocol"]
    return protocol not in ("source", "joint_source", "transfer") and can_run(config, experiment)


def sizes(config: Config, experiment: str, predictor: str) -> list[int]:
    """The training sizes at which a predictor runs in an experiment."""
    wanted = config["experiments"][experiment]["n_train"]
    allowed = config["predictors"][predictor].get("n_train", wanted)
    return [size for size in wanted if size in allowed]


def sampled(config: Config, family: str) -> int | str | None:
    """How a family is tabulated: a number of architectures, None for the whole space, or "labelled"."""
    settings = config["families"][family]
    return "labelled" if settings.get("labelled_only") and has_labels(config, family) else settings["sample"]


def runs(config: Config, experiment: str, predictor: str) -> list[list[int]]:
    """[training size, number of splits] of each of a predictor's sizes in an experiment."""
    settings, most = config["experiments"][experiment], config["predictors"][predictor].get("splits")
    counts = {size: _splits(settings, size) for size in sizes(config, experiment, predictor)}
    return [[size, count if most is None else min(most, count)] for size, count in counts.items()]


def _splits(experiment: Config, size: int) -> int:
    """How many splits an experiment has at a training size."""
    more = experiment.get("more_splits", {"n_train": []})
    return more["splits"] if size in more["n_train"] else experiment["splits"]


def label_files(config: Config, family: str) -> list[str]:
    """What a family's labels are read from: a file or folder, the sign of a finished download, or nothing.

    Nothing, where the source finds it itself.
    """
    labels = config["families"][family]["labels"]
    if not has_labels(config, family):
        raise ConfigError(
            "the labels of a family",
            where=f"families.{family}.labels",
            expected="a source that can be read",
            got=f"source {labels['source']!r} and tables_dir {config['tables_dir']!r}",
            remedy="Set tables_dir to the folder of collected tables, or name another source.",
        )
    if labels["source"] == "tables":
        return [collected_table(config, family)]
    if labels["path"] is not None:
        return [labels["path"]]
    remote = remotes(family).get(labels["source"])
    return [f"results/downloads/{remote}.ready"] if remote else []


def tabulated_from(config: Config, family: str) -> list[str]:
    """What a family's architectures are read from: the labels' files and those that they name; nothing for a sample."""
    if sampled(config, family) != "labelled":
        return []
    files = label_files(config, family)
    return files + [named for file in files for named in named_files(family, file)]


def family_files(config: Config, encoder: str, pattern: str) -> list[str]:
    """One file for each family that an encoder is pretrained on; none where it stays as initialised."""
    if config["encoders"][encoder]["training"] is None:
        return []
    return [pattern.format(family) for family in config["encoders"][encoder]["families"]]


def clustered_embeddings(config: Config, clustering: str) -> str:
    """The embeddings that a clustering's centroids are fitted on."""
    settings = config["clusterings"][clustering]
    return f"results/embeddings/{settings['encoder']}/{settings['family']}.parquet"


def cluster_settings(config: Config, clustering: str) -> dict[str, Any]:
    """Keywords of `archgauge.clustering.fit_clusters`."""
    apart = ("encoder", "family", "seed")
    return {key: value for key, value in config["clusterings"][clustering].items() if key not in apart}


def population_tables(config: Config, predictor: str, family: str) -> dict[str, str]:
    """The tables of a family that a predictor reads, by the names of `archgauge.predictors.inputs.load_population`."""
    settings = config["predictors"][predictor]
    tables = {
        "architectures": f"results/architectures/{family}.parquet",
        "graphs": f"results/graphs/{family}.parquet",
        "kinds": f"results/graphs/{family}.kinds.parquet",
    }
    needs = needs_of(settings["module"])
    if "embedding" in needs:
        tables["embeddings"] = f"results/embeddings/{settings['encoder']}/{family}.parquet"
    if "membership" in needs:
        tables["memberships"] = f"results/memberships/{settings['clustering']}/{family}.parquet"
    if "structure" in needs:
        tables["structures"] = f"results/structures/{family}.parquet"
    if "composition" in needs:
        tables["compositions"] = f"results/compositions/{family}.parquet"
    if "proxies" in needs:
        chosen = f"published/{family}" if settings["proxies"] == "published" else settings["proxies"]
        tables["proxies"] = f"results/proxies/{chosen}.parquet"
    return tables


def learnt_from(config: Config, experiment: str) -> str:
    """The family whose labels an experiment's predictors learn from."""
    settings = config["experiments"][experiment]
    return settings["source"] if settings["protocol"] == "zero_shot" else settings["family"]


def split_graphs(config: Config, experiment: str) -> list[str]:
    """The graphs that an experiment's split needs, because the family's `groups` reads them."""
    family = learnt_from(config, experiment)
    return [f"results/graphs/{family}.parquet"] if has_member(family, "groups") else []


def split_modules(config: Config, experiment: str) -> list[str]:
    """The modules that a split finds by name."""
    found_by_name = split_graphs(config, experiment) or "only" in config["experiments"][experiment]
    return [f"archgauge.families.{learnt_from(config, experiment)}"] if found_by_name else []


def split_settings(config: Config, experiment: str) -> dict[str, Any]:
    """What workflow_scripts/split.py needs to know."""
    settings = config["experiments"][experiment]
    return {
        "family": learnt_from(config, experiment),
        "label": settings.get("source_label", settings["label"]),
        "minimum_label": settings.get("minimum_label"),
        "only": settings.get("only"),
        "splits": None
        if settings["protocol"] == "source"
        else max(_splits(settings, size) for size in settings["n_train"]),
        "seed": settings["seed"],
    }


def predict_priority(config: Config, predictor: str) -> int:
    """Longest first, or the last job would run on alone: a head for each cluster, then whatever trains in epochs."""
    module = config["predictors"][predictor]["module"]
    return 2 * ("membership" in needs_of(module)) + (
        "epochs" in keywords(f"archgauge.predictors.{module}", "Predictor")
    )


def predict_settings(config: Config, experiment: str, predictor: str) -> dict[str, Any]:
    """What workflow_scripts/predict.py needs to know."""
    settings, chosen = config["experiments"][experiment], config["predictors"][predictor]
    return {
        "predictor": predictor,
        "module": chosen["module"],
        "keywords": predictor_keywords(config, predictor),
        "family": settings["family"],
        "source": settings.get("source"),
        "label": settings.get("source_label", settings["label"]),
        "runs": runs(config, experiment, predictor),
        "tables": list(population_tables(config, predictor, settings["family"])),
    }


def predictor_keywords(config: Config, predictor: str) -> dict[str, Any]:
    """Keywords of a predictor's constructor, but for the seed."""
    chosen = config["predictors"][predictor]
    passes_messages = "backend" in keywords(f"archgauge.predictors.{chosen['module']}", "Predictor")
    backend = {"backend": config["message_passing"]} if passes_messages else {}
    return plain(chosen.get("settings", {})) | backend


def population_files(config: Config, experiment: str, predictor: str, key: str) -> list[str]:
    """The tables of an experiment's "family" or "source" that a predictor reads; none where there is no source."""
    settings = config["experiments"][experiment]
    return list(population_tables(config, predictor, settings[key]).values()) if key in settings else []


def predict_modules(config: Config, experiment: str, predictor: str) -> list[str]:
    """The modules that a prediction job finds by name."""
    settings = config["experiments"][experiment]
    families = {settings["family"], learnt_from(config, experiment)}
    return [
        f"archgauge.predictors.{config['predictors'][predictor]['module']}",
        *(f"archgauge.families.{family}" for family in sorted(families)),
    ]


def evaluate_settings(config: Config, experiment: str) -> dict[str, Any]:
    """What workflow_scripts/evaluate.py needs to know."""
    settings = config["experiments"][experiment]
    return {
        "experiment": experiment,
        "family": settings["family"],
        "cells": has_member(settings["family"], "cell"),
        "label": settings["label"],
        "metrics": list(settings["metrics"]),
        "in_percent": in_percent(config, settings["predictors"]),
        "learnt_from_family": settings["protocol"] != "zero_shot",
        "backend": config["message_passing"],
    }


def in_percent(config: Config, predictors: Iterable[str]) -> list[str]:
    """Those of some predictors whose predictions are accuracies; an ensemble's are not."""
    modules = {name: config["predictors"][name].get("module") for name in predictors}
    return [name for name, module in modules.items() if module is not None and predicts_percent(module)]


def table_settings(config: Config, table: str) -> dict[str, Any]:
    """What workflow_scripts/table.py needs to know."""
    settings = config["tables"][table]
    experiment = config["experiments"][settings["experiment"]]
    return {
        **plain(settings),
        "clusterings": clusterings_of(config, experiment["predictors"]),
        "in_percent": in_percent(config, experiment["predictors"]),
        "headline": experiment["headline"],
        "published": [{"n_train": settings["n_train"][0], **plain(one)} for one in settings.get("published", [])],
        "notes": notes_of(config, experiment["predictors"]),
        "protocol": experiment["protocol"],
        "label": experiment["label"],
        "titles": {name: config["predictors"][name]["title"] for name in experiment["predictors"]},
    }


def clusterings_of(config: Config, predictors: Collection[str]) -> list[tuple[str, str]]:
    """(title, clustering) of each predictor that reads memberships, and of an ensemble whose members do."""
    chosen = config["predictors"]
    return [
        (title, chosen[one]["clustering"]) for title, one in _said(config, predictors) if "clustering" in chosen[one]
    ]


def notes_of(config: Config, predictors: Collection[str]) -> list[tuple[str, str]]:
    """(title, note) of each predictor that has one; what is said of an ensemble's member begins with its title."""
    notes = []
    for title, one in _said(config, predictors):
        predictor = config["predictors"][one]
        if "note" in predictor:
            member = "" if predictor["title"] == title else f"{predictor['title']}: "
            notes.append((title, member + predictor["note"]))
    return notes


def _said(config: Config, predictors: Collection[str]) -> list[tuple[str, str]]:
    """(title, predictor) of the columns of a table; an ensemble speaks for its members that are not among them too."""
    return [
        (config["predictors"][name]["title"], one)
        for name in predictors
        for one in (name, *(m for m in config["predictors"][name].get("members", ()) if m not in predictors))
    ]


def datasheet_splits(config: Config, family: str) -> dict[str, list[int]]:
    """The experiments that learn from a family's labels, with their training sizes."""
    return {
        name: list(experiment["n_train"])
        for name, experiment in config["experiments"].items()
        if by_default(config, name) and learnt_from(config, name) == family
    }


def datasheet_settings(config: Config, family: str) -> dict[str, Any]:
    """What workflow_scripts/datasheet.py needs to know."""
    return {"sample": sampled(config, family), "sizes": datasheet_splits(config, family)}


def labelled_families(config: Config, paper: str) -> list[str]:
    """The families of a paper's table or figure whose labels can be had."""
    return [family for family in config["papers"][paper]["families"] if has_labels(config, family)]


def family_modules(config: Config, paper: str) -> list[str]:
    """The modules of the families of a paper's table or figure."""
    return [f"archgauge.families.{family}" for family in config["papers"][paper]["families"]]


def family_table_settings(config: Config, paper: str) -> dict[str, Any]:
    """What workflow_scripts/family_table.py and family_figure.py need to know."""
    families = config["papers"][paper]["families"]
    return {
        "title": config["papers"][paper]["title"],
        "titles": {family: datasheet_of(family)["title"] for family in families},
        "labels": {family: settings["label"] for family, settings in families.items()},
        "rows": {family: settings["row"] for family, settings in families.items() if "row" in settings},
        "only": {family: settings["only"] for family, settings in families.items() if "only" in settings},
        "notes": {family: [settings["note"]] for family, settings in families.items() if "note" in settings},
    }


def collected_table(config: Config, family: str) -> str:
    """The file of a family in the folder of collected tables.

    Raises:
        ConfigError: when it is not there.
    """
    path = Path(config["tables_dir"]) / collected_file(family)
    if not path.is_file():
        raise ConfigError(
            "the collected table of a family",
            where=f"tables_dir, for families.{family}.labels",
            expected=f"the file {path}",
            got="nothing there",
            remedy="Put it there, name another source, or set tables_dir to null.",
        )
    return str(path)


def fetched_by(config: Config, file: str) -> dict[str, str]:
    """The family and the label source, one of those that a published file serves."""
    pairs = ((family, source) for family in config["families"] for source in remotes(family))
    return next({"family": family, "source": source} for family, source in pairs if remotes(family)[source] == file)


def figures_of(config: Config, kind: str) -> str:
    """Pattern of the names of all figures of a kind; one that matches nothing when there are none."""
    return "|".join(name for name, figure in config["figures"].items() if figure["kind"] == kind) or "(?!)"


def judged_on(config: Config, figure: str) -> str:
    """The family whose measured accuracies a figure of the kind "predicted" shows."""
    return config["experiments"][config["figures"][figure]["experiment"]]["family"]


def predicted_settings(config: Config, figure: str) -> dict[str, Any]:
    """What workflow_scripts/figure_predicted.py needs to know."""
    settings = config["figures"][figure]
    experiment, predictor = config["experiments"][settings["experiment"]], config["predictors"][settings["predictor"]]
    return {
        "n_train": settings["n_train"],
        "title": predictor["title"],
        "family": experiment["family"],
        "learnt_from": learnt_from(config, settings["experiment"]),
        "label": experiment["label"],
        "protocol": experiment["protocol"],
        "in_percent": predicts_percent(predictor["module"]),
    }


def plain(value: Any) -> Any:
    """Plain dicts and lists: Snakemake hands over ordered mappings."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value
