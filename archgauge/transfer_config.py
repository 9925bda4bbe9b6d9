"""What the rules of transfers ask of the configuration, which `archgauge.config_check.check` has checked."""

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from archgauge.config import (
    Config,
    can_run,
    clusterings_of,
    families_of,
    in_percent,
    notes_of,
    plain,
    population_tables,
    predictor_keywords,
    runs,
)
from archgauge.evaluation.published import published

SOURCES = ("source", "joint_source")
"""The protocols of what transfers start from."""

NO_LABELS = "The labels cannot be had here: no source of them is configured, or no folder of collected tables."


def transfer_choices(config: Config) -> Iterator[tuple[str, Any, Iterable[Any]]]:
    """(key, name, what there is to choose from) of every name that transfers refer to."""
    predictors, experiments = config["predictors"], config["experiments"]
    modules = [name for name, predictor in predictors.items() if "module" in predictor]
    for name, predictor in predictors.items():
        yield from ((f"predictors.{name}.members", member, modules) for member in predictor.get("members", []))
    single = [name for name, one in experiments.items() if one["protocol"] == "source"]
    sources = {name: one["predictors"] for name, one in experiments.items() if one["protocol"] in SOURCES}
    for name, experiment in experiments.items():
        yield from ((f"experiments.{name}.sources", one, single) for one in experiment.get("sources", []))
    for name, experiment in experiments.items():
        where, chosen = f"experiments.{name}", experiment["predictors"]
        if experiment["protocol"] == "transfer":
            unseen = [name for name in sources if experiment["family"] not in families_of(config, name)]
            yield f"{where}.source", experiment["source"], unseen
            trained = sources[experiment["source"]]
            yield from ((f"{where}.predictors", one, trained) for one in chosen if "fine_tuning" in predictors[one])
            known = [one for one in trained if one in chosen]
            for one in chosen:
                yield from ((f"predictors.{one}.members", each, known) for each in predictors[one].get("members", []))
        else:
            yield from ((f"{where}.predictors", one, modules) for one in chosen)
    for name, table in config["transfer_tables"].items():
        yield from _table_choices(f"transfer_tables.{name}", table, config)


def _table_choices(where: str, table: Config, config: Config) -> Iterator[tuple[str, Any, Iterable[Any]]]:
    yield from ((f"{where}.predictors", name, config["predictors"]) for name in table["predictors"])
    yield f"{where}.headline", table["headline"], table["predictors"]
    for text, row in table["rows"].items():
        if "experiment" in row:
            yield f"{where}.rows.{text}.experiment", row["experiment"], config["experiments"]
            experiment = config["experiments"][row["experiment"]]
            yield f"{where}.rows.{text}.n_train", row["n_train"], experiment["n_train"]
            yield from ((f"{where}.metrics", metric, experiment["metrics"]) for metric in table["metrics"])
        if "published" in row:
            for paper in table["metrics"].values():
                for column in filter(None, table["predictors"].values()):
                    published("gennape", paper, row["published"], column)


def experiments_of(config: Config, *protocols: str) -> str:
    """Pattern of the names of all experiments of some protocols; one that matches nothing when there are none."""
    names = (name for name, experiment in config["experiments"].items() if experiment["protocol"] in protocols)
    return "|".join(names) or "(?!)"


def predictors_with(config: Config, key: str) -> str:
    """Pattern of the names of all predictors that have a "module", or "members" in its place."""
    return "|".join(name for name, predictor in config["predictors"].items() if key in predictor) or "(?!)"


def prediction_files(config: Config, experiment: str) -> list[str]:
    """The predictions that an experiment's evaluation judges."""
    settings = config["experiments"][experiment]
    if settings["protocol"] != "source":
        return [f"results/predictions/{experiment}/{predictor}.parquet" for predictor in settings["predictors"]]
    models = (file for predictor in settings["predictors"] for file in model_files(config, experiment, predictor))
    return [file.removesuffix(".pt") + ".parquet" for file in models]


def model_files(config: Config, source: str, predictor: str) -> list[str]:
    """What is kept of a predictor's trainings on a source, one file for each seed."""
    seeds = range(config["experiments"][source]["seeds"])
    return [f"results/sources/{source}/{predictor}/{seed}.pt" for seed in seeds]


def transferred_files(config: Config, experiment: str, predictor: str) -> list[str]:
    """The source models of a predictor that is transferred; none for one that learns from the target alone."""
    if "fine_tuning" not in config["predictors"][predictor]:
        return []
    return model_files(config, config["experiments"][experiment]["source"], predictor)


def source_settings(config: Config, experiment: str, predictor: str, seed: str) -> dict[str, Any]:
    """What workflow_scripts/source.py needs to know."""
    labels = config["experiments"][experiment].get("labels", "together")
    families = []
    for source in _single_sources(config, experiment).values():
        (n_train,), tables = source["n_train"], list(population_tables(config, predictor, source["family"]))
        families.append({"family": source["family"], "label": source["label"], "n_train": n_train, "tables": tables})
    n_train = sum(family["n_train"] for family in families)
    return {
        "module": config["predictors"][predictor]["module"],
        "keywords": predictor_keywords(config, predictor),
        "families": families,
        "by_family": labels == "by_family",
        "run": {"predictor": predictor, "n_train": n_train, "split": 0, "seed": int(seed)},
    }


def source_files(config: Config, experiment: str, predictor: str) -> list[str]:
    """The tables of the families of a source that a predictor reads, family after family."""
    return [
        path
        for source in _single_sources(config, experiment).values()
        for path in population_tables(config, predictor, source["family"]).values()
    ]


def source_labels(config: Config, experiment: str) -> list[str]:
    """The labels of each family of a source."""
    return [f"results/labels/{one['family']}.parquet" for one in _single_sources(config, experiment).values()]


def source_splits(config: Config, experiment: str) -> list[str]:
    """The split of each family of a source."""
    return [f"results/splits/{name}.parquet" for name in _single_sources(config, experiment)]


def _single_sources(config: Config, experiment: str) -> dict[str, Any]:
    """The experiments that a source consists of: itself, or those that it joins."""
    settings = config["experiments"][experiment]
    return {name: config["experiments"][name] for name in settings.get("sources", [experiment])}


def transfer_settings(config: Config, experiment: str, predictor: str) -> dict[str, Any]:
    """What workflow_scripts/transfer.py needs to know."""
    return {
        **_made_of(config, experiment, predictor),
        "predictor": predictor,
        "fine_tuning": plain(config["predictors"][predictor].get("fine_tuning", {})),
        "transferred": config["experiments"][experiment]["transferred"],
        "runs": transfer_runs(config, experiment, predictor),
    }


def ensemble_settings(config: Config, experiment: str, predictor: str) -> dict[str, Any]:
    """What workflow_scripts/ensemble.py needs to know."""
    settings = config["experiments"][experiment]
    return {
        "predictor": predictor,
        "label": settings["label"],
        "transferred": settings["transferred"],
        "runs": transfer_runs(config, experiment, predictor),
    }


def ensemble_members(config: Config, experiment: str, predictor: str) -> list[str]:
    """The members' predictions of the target."""
    return [f"results/predictions/{experiment}/{one}.parquet" for one in config["predictors"][predictor]["members"]]


def ensemble_models(config: Config, experiment: str, predictor: str) -> list[str]:
    """The members' source models, all seeds of a member one after another."""
    source = config["experiments"][experiment]["source"]
    members = config["predictors"][predictor]["members"]
    return [file for member in members for file in model_files(config, source, member)]


def transfer_runs(config: Config, experiment: str, predictor: str) -> list[list[int]]:
    """[n_train, split, seed] of each run of a predictor in a transfer, the same for all that have the size.

    Zero-shot there is no draw of labels, but a run for each model that is transferred.
    """
    settings = config["experiments"][experiment]
    models = config["experiments"][settings["source"]]["seeds"] if settings["transferred"] == "every" else 1
    made: list[list[int]] = []
    for size, splits in runs(config, experiment, predictor):
        made += [[size, split, split] for split in range(splits)] if size else [[0, 0, seed] for seed in range(models)]
    return made


def transfer_modules(config: Config, experiment: str, predictor: str) -> list[str]:
    """The modules that a job of a source or a transfer finds by name."""
    settings = config["experiments"][experiment]
    families = families_of(config, experiment) if settings["protocol"] in SOURCES else [settings["family"]]
    return [
        f"archgauge.predictors.{config['predictors'][predictor]['module']}",
        *(f"archgauge.families.{family}" for family in families),
    ]


def transfer_metrics(config: Config, table: str) -> list[str]:
    """The METRICS that a table of transfers reads."""
    return [f"results/metrics/{name}.parquet" for name in dict.fromkeys(_run(config, table).values())]


def cluster_files(config: Config, predictors: Collection[str]) -> list[str]:
    """The clusterings behind the memberships that predictors read."""
    names = dict.fromkeys(name for _, name in clusterings_of(config, predictors))
    return [f"results/clusters/{name}.npz" for name in names]


def transfer_table_settings(config: Config, table: str) -> dict[str, Any]:
    """What workflow_scripts/transfer_table.py needs to know."""
    settings, run = config["transfer_tables"][table], _run(config, table)
    shown = {name: config["predictors"][name] for name in settings["predictors"]}
    return {
        **plain(settings),
        "rows": {
            text: plain(row) if text in run or "missing" in row else {**plain(row), "missing": NO_LABELS}
            for text, row in settings["rows"].items()
        },
        "titles": {name: one["title"] for name, one in shown.items()},
        "notes": notes_of(config, shown),
        "clusterings": clusterings_of(config, shown),
        "in_percent": in_percent(config, shown),
        "not_run": {
            text: {one: why for one in shown if (why := _not_run(config, name, one, settings["rows"][text]["n_train"]))}
            for text, name in run.items()
        },
        "scales": {text: scale_of(config, name, settings["rows"][text]["n_train"]) for text, name in run.items()},
    }


def _run(config: Config, table: str) -> dict[str, str]:
    """The experiments of the rows of a table of transfers that can run, by the rows' texts."""
    rows = config["transfer_tables"][table]["rows"].items()
    return {text: row["experiment"] for text, row in rows if "experiment" in row and can_run(config, row["experiment"])}


def _not_run(config: Config, experiment: str, predictor: str, n_train: int) -> str | None:
    """Why an experiment has no number of a predictor with `n_train` labels of the target; None where it has one."""
    if predictor not in config["experiments"][experiment]["predictors"]:
        return f"Not among the predictors of {experiment}."
    sizes = config["predictors"][predictor].get("n_train", [n_train])
    return None if n_train in sizes else f"It runs with {' or '.join(map(str, sizes))} labels of the target."


def scale_of(config: Config, experiment: str, n_train: int) -> str:
    """What an experiment learns from, of the target `n_train` labels, and by what it is judged."""
    settings = config["experiments"][experiment]
    if settings["protocol"] == "source":
        sample = config["families"][settings["family"]]["sample"]
        drawn = "all" if sample is None else f"a sample of {sample:,}"
        return (
            f"Trained on {n_train:,} labels {settings['label']} of {settings['family']} ({drawn}, those below "
            f"{settings['minimum_label']:g} % left out), {settings['seeds']} seeds."
        )
    source, models = settings["source"], config["experiments"][settings["source"]]
    learnt = " and ".join(
        f"{one['n_train'][0]:,} labels of {one['family']}" for one in _single_sources(config, source).values()
    )
    kept = "the seed of the best ρ there" if settings["transferred"] == "best" else "each seed"
    trained = "1 seed)" if models["seeds"] == 1 else f"{models['seeds']} seeds), {kept} transferred"
    drawn = f"{settings['splits']} draws of {n_train} target labels" if n_train else "no label of the target"
    return f"Label {settings['label']}; from {source} ({learnt}, {trained}; {drawn}."


def _made_of(config: Config, experiment: str, predictor: str) -> dict[str, Any]:
    settings, chosen = config["experiments"][experiment], config["predictors"][predictor]
    return {
        "module": chosen["module"],
        "keywords": predictor_keywords(config, predictor),
        "family": settings["family"],
        "label": settings["label"],
        "tables": list(population_tables(config, predictor, settings["family"])),
    }
