"""Checking the configuration before any job starts, and answering what the rules ask of it.

The Snakefile imports this on every call, so it imports nothing heavy.
"""

import ast
import difflib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from archgauge.errors import ConfigError
from archgauge.evaluation.published import published
from archgauge.fingerprint import PACKAGE_ROOT, choices

SCHEMA = Path(__file__).with_name("config.schema.yaml")
Config = Mapping[str, Any]

PLUGINS = {
    "family": ("archgauge.families", "to_graph"),
    "predictor": ("archgauge.predictors", "Predictor"),
    "strategy": ("archgauge.search", "search"),
}
"""What is found by name: the package, and the member that makes a module one of its choices."""


def check(config: Config) -> None:
    """Check types, ranges, names of modules and their keywords, and references within the configuration.

    Raises:
        ConfigError: naming the key's path and the choices.
    """
    _check_schema(config)
    for name, family in config["families"].items():
        _choice(f"families.{name}", name, choices(*PLUGINS["family"]))
        _keywords(f"families.{name}.graph", family["graph"], _signature("archgauge.families", name, "to_graph"))
        if family["labels"]["source"] is not None:
            _choice(f"families.{name}.labels.source", family["labels"]["source"], _label_sources(name))
    _check_encoders(config)
    _check_predictors(config)
    for name, experiment in config["experiments"].items():
        _check_experiment(f"experiments.{name}", experiment, config)
    for name, search in config["searches"].items():
        _check_search(f"searches.{name}", search, config)
    for name, table in config["tables"].items():
        _check_table(f"tables.{name}", table, config)
    for name, figure in config["figures"].items():
        _check_figure(f"figures.{name}", figure, config)


def has_labels(config: Config, family: str) -> bool:
    """Whether the family's labels can be had: it names a source, and the folder of tables where that is needed."""
    source = config["families"][family]["labels"]["source"]
    return source is not None and (source != "tables" or config["tables_dir"] is not None)


def can_run(config: Config, experiment: str) -> bool:
    """Whether the labels of all families of an experiment can be had."""
    settings = config["experiments"][experiment]
    return all(has_labels(config, settings[key]) for key in ("family", "source") if key in settings)


def sizes(config: Config, experiment: str, predictor: str) -> list[int]:
    """The training sizes at which a predictor runs in an experiment."""
    wanted = config["experiments"][experiment]["n_train"]
    allowed = config["predictors"][predictor].get("n_train", wanted)
    return [size for size in wanted if size in allowed]


def label_path(config: Config, family: str) -> str | None:
    """Where a family's labels are read from; None where the source finds them itself."""
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
        return str(Path(config["tables_dir"]) / f"{family}.parquet")
    return labels["path"]


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
    return tables


@cache
def needs_of(module: str) -> frozenset[str]:
    """The columns of a population that a predictor's module reads, its `Predictor.needs`, without importing it."""
    constants = (part.value for part in ast.walk(_stated(module, "needs")) if isinstance(part, ast.Constant))
    return frozenset(constant for constant in constants if isinstance(constant, str))


@cache
def predicts_percent(module: str) -> bool:
    """A predictor module's `Predictor.predicts_percent`, without importing it."""
    return bool(ast.literal_eval(_stated(module, "predicts_percent")))


def _stated(module: str, name: str) -> ast.expr:
    """The value of an annotated attribute of a module's class `Predictor`."""
    node = _member(f"archgauge.predictors.{module}", "Predictor")
    stated = (item for item in node.body if isinstance(item, ast.AnnAssign) and ast.unparse(item.target) == name)
    value = next(stated).value
    assert value is not None
    return value


def learnt_from(config: Config, experiment: str) -> str:
    """The family whose labels an experiment's predictors learn from."""
    settings = config["experiments"][experiment]
    return settings.get("source", settings["family"])


def split_settings(config: Config, experiment: str) -> dict[str, Any]:
    """What workflow_scripts/split.py needs to know."""
    settings = config["experiments"][experiment]
    return {
        "label": settings.get("source_label", settings["label"]),
        "minimum_label": settings.get("minimum_label"),
        "repeats": settings.get("splits") or settings["repeats"],
        "seed": settings["seed"],
    }


def predict_settings(config: Config, experiment: str, predictor: str) -> dict[str, Any]:
    """What workflow_scripts/predict.py needs to know."""
    settings, chosen = config["experiments"][experiment], config["predictors"][predictor]
    return {
        "predictor": predictor,
        "module": chosen["module"],
        "keywords": _plain(chosen.get("settings", {})),
        "family": settings["family"],
        "source": settings.get("source"),
        "label": settings.get("source_label", settings["label"]),
        "sizes": sizes(config, experiment, predictor),
        "tables": list(population_tables(config, predictor, settings["family"])),
    }


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
        "label": settings["label"],
        "metrics": list(settings["metrics"]),
        "in_percent": [
            name for name in settings["predictors"] if predicts_percent(config["predictors"][name]["module"])
        ],
        "learnt_from_family": settings["protocol"] == "few_label",
        "backend": config["message_passing"],
    }


def table_settings(config: Config, table: str) -> dict[str, Any]:
    """What workflow_scripts/table.py needs to know."""
    settings = config["tables"][table]
    experiment = config["experiments"][settings["experiment"]]
    return {
        **_plain(settings),
        "headline": experiment["headline"],
        "published": _plain(settings.get("published", [])),
        "notes": {
            name: config["predictors"][name]["note"]
            for name in experiment["predictors"]
            if "note" in config["predictors"][name]
        },
        "protocol": experiment["protocol"],
        "label": experiment["label"],
        "titles": {name: config["predictors"][name]["title"] for name in experiment["predictors"]},
    }


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


def _check_schema(config: Config) -> None:
    schema = yaml.safe_load(SCHEMA.read_text())
    errors = sorted(jsonschema.Draft202012Validator(schema).iter_errors(_plain(config)), key=lambda e: list(e.path))
    if errors:
        error = _deepest(errors[0])
        path = ".".join(map(str, error.absolute_path)) or "the top level"
        known = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
        described = error.schema.get("description", "") if isinstance(error.schema, dict) else ""
        raise ConfigError(
            "the configuration",
            where=path,
            expected=f"one of the keys {', '.join(known)}"
            if error.validator == "additionalProperties"
            else _rule(error),
            got=error.message,
            remedy=described or "Correct config.yaml; archgauge/config.schema.yaml describes every key.",
        )


def _deepest(error: jsonschema.ValidationError) -> jsonschema.ValidationError:
    """Of alternatives, the failure of the one that was meant: the one whose constant (protocol, kind) fits."""
    while error.context:
        branches: dict[Any, list[jsonschema.ValidationError]] = {}
        for inner in error.context:
            branches.setdefault(inner.schema_path[0], []).append(inner)
        meant = [
            group for group in branches.values() if all(inner.validator not in ("const", "type") for inner in group)
        ]
        chosen = (meant or list(branches.values()))[0]
        error = chosen[0]
    return error


def _rule(error: jsonschema.ValidationError) -> str:
    return f"{error.validator} {error.validator_value}"


def _plain(value: Any) -> Any:
    """Snakemake hands over ordered mappings; jsonschema wants plain ones."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _check_encoders(config: Config) -> None:
    shape = _fields("archgauge.encoders.graph_encoder", "GraphEncoderConfig")
    training = _fields("archgauge.pretraining.trainer", "PretrainingConfig")
    for name, encoder in config["encoders"].items():
        for family in encoder["families"]:
            _choice(f"encoders.{name}.families", family, config["families"])
        _keywords(f"encoders.{name}.shape", encoder["shape"], shape)
        if encoder["training"] is not None:
            _keywords(f"encoders.{name}.training", encoder["training"], training)
    for name, clustering in config["clusterings"].items():
        _choice(f"clusterings.{name}.encoder", clustering["encoder"], config["encoders"])
        _choice(f"clusterings.{name}.family", clustering["family"], config["families"])


def _check_predictors(config: Config) -> None:
    for name, predictor in config["predictors"].items():
        where = f"predictors.{name}"
        _choice(f"{where}.module", predictor["module"], choices(*PLUGINS["predictor"]))
        for key, known in (("encoder", config["encoders"]), ("clustering", config["clusterings"])):
            if key in predictor:
                _choice(f"{where}.{key}", predictor[key], known)
        _check_needs(where, predictor)
        if "clustering" in predictor:
            clustered = config["clusterings"][predictor["clustering"]]["encoder"]
            _choice(f"{where}.encoder", predictor["encoder"], [clustered])
        signature = _signature("archgauge.predictors", predictor["module"], "Predictor")
        _keywords(f"{where}.settings", {**predictor.get("settings", {}), "seed": 0}, signature)


def _check_needs(where: str, predictor: Config) -> None:
    needs = needs_of(predictor["module"])
    for key, column in (("encoder", "embedding"), ("clustering", "membership")):
        if (column in needs) != (key in predictor):
            does, number = ("reads", "a") if column in needs else ("does not read", "no")
            raise ConfigError(
                "the inputs of a predictor",
                where=f"{where}.{key}",
                expected=f"{number} key {key}, because the module {predictor['module']} {does} an {column}",
                got=repr(predictor.get(key)),
                remedy=f"Name one of the configured {key}s." if column in needs else f"Take the key {key} out.",
            )


def _check_experiment(where: str, experiment: Config, config: Config) -> None:
    for key in ("family", "source"):
        if key in experiment:
            _choice(f"{where}.{key}", experiment[key], config["families"])
    for predictor in experiment["predictors"]:
        _choice(f"{where}.predictors", predictor, config["predictors"])
    _choice(f"{where}.headline", experiment["headline"], experiment["predictors"])


def _check_table(where: str, table: Config, config: Config) -> None:
    _choice(f"{where}.experiment", table["experiment"], config["experiments"])
    experiment = config["experiments"][table["experiment"]]
    for metric in table["metrics"]:
        _choice(f"{where}.metrics", metric, experiment["metrics"])
    for size in table["n_train"]:
        _choice(f"{where}.n_train", size, experiment["n_train"])
    for number in table.get("published", []):
        _choice(f"{where}.published", number["predictor"], experiment["predictors"])
        published(*number["source"])


def _check_search(where: str, search: Config, config: Config) -> None:
    _choice(f"{where}.family", search["family"], config["families"])
    _choice(f"{where}.headline", search["headline"], search["strategies"])
    for name, strategy in search["strategies"].items():
        one = f"{where}.strategies.{name}"
        _choice(f"{one}.module", strategy["module"], choices(*PLUGINS["strategy"]))
        if "predictor" in strategy:
            _choice(f"{one}.predictor", strategy["predictor"], config["predictors"])
        signature = _signature("archgauge.search", strategy["module"], "search")
        _keywords(f"{one}.settings", strategy.get("settings", {}), signature)
    if max(search["shown"]) > search["queries"]:
        raise ConfigError(
            "the queries that a table shows",
            where=f"{where}.shown",
            expected=f"at most {search['queries']}, the queries of each run",
            got=max(search["shown"]),
            remedy="Show fewer queries, or make more.",
        )
    taken = [kind for kind in ("tables", "figures") if where.partition(".")[2] in config[kind]]
    if taken:
        raise ConfigError(
            "the name of a search",
            where=where,
            expected="a name of its own: a table and a figure are called by it",
            got=f"the name of one of the {taken[0]}",
            remedy="Rename one of the two.",
        )


def _check_figure(where: str, figure: Config, config: Config) -> None:
    for key, known in (
        ("experiment", "experiments"),
        ("predictor", "predictors"),
        ("encoder", "encoders"),
        ("clustering", "clusterings"),
        ("family", "families"),
        ("label_family", "families"),
    ):
        if key in figure:
            _choice(f"{where}.{key}", figure[key], config[known])
    for key, known in (("encoders", "encoders"), ("families", "families")):
        for name in figure.get(key, []):
            _choice(f"{where}.{key}", name, config[known])


def _choice(where: str, name: Any, known: Iterable[Any]) -> None:
    known = list(known)
    if name not in known:
        close = difflib.get_close_matches(str(name), map(str, known), 1)
        raise ConfigError(
            "a name in the configuration",
            where=where,
            expected=f"one of {', '.join(map(str, known)) or 'none, because none is configured'}",
            got=repr(name),
            remedy=f"Did you mean {close[0]!r}?" if close else "Correct config.yaml.",
        )


_TYPES: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,)}


def _keywords(where: str, given: Mapping[str, Any], known: Mapping[str, tuple[str, bool]]) -> None:
    """Compare keywords with a signature: name -> (annotation, has a default)."""
    for name in given:
        _choice(f"{where}.{name}", name, known)
    missing = [name for name, (_, optional) in known.items() if not optional and name not in given]
    if missing:
        raise ConfigError(
            "the keywords in the configuration",
            where=where,
            expected=", ".join(known),
            got=f"no {', '.join(missing)}",
            remedy="Add what is missing; the module's docstring says what it means.",
        )
    for name, value in given.items():
        types = _TYPES.get(known[name][0])
        if types and (not isinstance(value, types) or (isinstance(value, bool) and bool not in types)):
            raise ConfigError(
                "the type of a setting",
                where=f"{where}.{name}",
                expected=known[name][0],
                got=f"{value!r} ({type(value).__name__})",
                remedy="Correct config.yaml.",
            )


@cache
def _signature(package: str, module: str, member: str) -> dict[str, tuple[str, bool]]:
    """Keyword-only arguments of a function or of a class' constructor, read without importing the module."""
    node = _member(f"{package}.{module}", member)
    if isinstance(node, ast.ClassDef):
        node = next(item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__")
    assert isinstance(node, ast.FunctionDef)
    pairs = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    return {
        arg.arg: (ast.unparse(arg.annotation) if arg.annotation else "", default is not None) for arg, default in pairs
    }


@cache
def _fields(module: str, member: str) -> dict[str, tuple[str, bool]]:
    """Fields of a dataclass, read without importing the module."""
    node = _member(module, member)
    assert isinstance(node, ast.ClassDef)
    fields = [item for item in node.body if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)]
    return {item.target.id: (ast.unparse(item.annotation), item.value is not None) for item in fields}  # type: ignore[union-attr]


def _label_sources(family: str) -> list[str]:
    """Names of a family's LABEL_SOURCES, read without importing the module."""
    tree = ast.parse(PACKAGE_ROOT.joinpath("archgauge", "families", f"{family}.py").read_text())
    found = [
        node.value
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "LABEL_SOURCES"
    ]
    return [ast.literal_eval(key) for value in found if isinstance(value, ast.Dict) for key in value.keys if key]


def _member(module: str, member: str) -> ast.ClassDef | ast.FunctionDef:
    path = PACKAGE_ROOT.joinpath(*module.split(".")).with_suffix(".py")
    tree = ast.parse(path.read_text())
    return next(node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == member)
