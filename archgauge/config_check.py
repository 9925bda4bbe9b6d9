"""Checking the configuration before any job starts.

The Snakefile calls this every time, so it imports nothing heavy.
"""

import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from archgauge.config import Config, sampled, sizes
from archgauge.config_values import check_choice, check_keywords, check_schema
from archgauge.errors import ConfigError
from archgauge.evaluation.published import published
from archgauge.fingerprint import PACKAGE_ROOT, choices
from archgauge.graph_search_config import mutation_choices
from archgauge.held_out_config import held_out_choices
from archgauge.predictors.shared_gp_columns import check_columns
from archgauge.proxy_config import PAPERS
from archgauge.search.evolution_settings import check_settings
from archgauge.search_config import ON_DEMAND, guide_choices
from archgauge.signatures import (
    family_keywords,
    fields,
    finds_itself,
    has_member,
    keywords,
    label_sources,
    needs_of,
    remotes,
)
from archgauge.transfer_config import transfer_choices

PLUGINS = {
    "family": ("archgauge.families", "FAMILY"),
    "predictor": ("archgauge.predictors", "Predictor"),
    "strategy": ("archgauge.search", "search"),
    "proxy": ("archgauge.proxies", "score"),
}
"""What is found by name: the package, and the member that makes a module one of its choices."""


def check(config: Config) -> None:
    """Check types, ranges, names of modules and their keywords, and references within the configuration.

    Raises:
        ConfigError: naming the key's path and the choices.
    """
    check_schema(config)
    folder = config["tables_dir"]
    if folder is not None and not Path(folder).is_dir():
        raise ConfigError(
            "the folder of collected tables",
            where="tables_dir",
            expected="a folder, or null",
            got=f"{folder}, where there is none",
            remedy="Correct the path; without the folder set it to null.",
        )
    for name, family in config["families"].items():
        check_choice(f"families.{name}", name, choices(*PLUGINS["family"]))
        check_keywords(f"families.{name}.graph", family["graph"], family_keywords(name))
        if family["labels"]["source"] is not None:
            check_choice(f"families.{name}.labels.source", family["labels"]["source"], label_sources(name))
            _check_path(f"families.{name}.labels.path", name, family["labels"])
        _check_sample(f"families.{name}", name, config)
    _check_bundle(config)
    _check_encoders(config)
    _check_predictors(config)
    for name, experiment in config["experiments"].items():
        _check_experiment(f"experiments.{name}", experiment, config)
    for name, search in config["searches"].items():
        _check_search(f"searches.{name}", search, config)
    for name, table in config["search_tables"].items():
        _check_search_table(f"search_tables.{name}", table, config)
    for name, table in config["tables"].items():
        _check_table(f"tables.{name}", table, config)
    for name, figure in config["figures"].items():
        _check_figure(f"figures.{name}", figure, config)
    for name, chosen in config["proxies"].items():
        _check_proxies(f"proxies.{name}", chosen, config)
    for name, paper in config["papers"].items():
        for family in paper["families"]:
            check_choice(f"papers.{name}.families", family, config["families"])
        if name in PAPERS:
            _check_proxy_paper(f"papers.{name}", paper, config)
        if "encoder" in paper:
            check_choice(f"papers.{name}.encoder", paper["encoder"], config["encoders"])
    for where, name, known in chain(
        transfer_choices(config), guide_choices(config), mutation_choices(config), held_out_choices(config)
    ):
        check_choice(where, name, known)
    for name, study in config["held_out"].items():
        _check_held_out(f"held_out.{name}", study, config)


def _check_path(where: str, family: str, labels: Config) -> None:
    source, path = labels["source"], labels["path"]
    if path is None and source != "tables" and source not in remotes(family) and not finds_itself(family, source):
        raise ConfigError(
            "where labels are read from",
            where=where,
            expected=f"the file or folder of the source {source}",
            got="null",
            remedy="Name it; this source is neither installed nor fetched.",
        )


def _check_sample(where: str, family: str, config: Config) -> None:
    is_space = has_member(family, "sample") or has_member(family, "enumerate_specs")
    if not is_space and sampled(config, family) != "labelled":
        raise ConfigError(
            "the architectures of a family",
            where=where,
            expected="labelled_only: true and a source of labels, because there is no space to sample from",
            got=f"labelled_only: {config['families'][family].get('labelled_only', False)}, "
            f"labels.source: {config['families'][family]['labels']['source']}",
            remedy="Set both; the architectures are those that the source lists.",
        )


def _check_bundle(config: Config) -> None:
    family = config["bundle"]["family"]
    check_choice("bundle.family", family, config["families"])
    for other in config["bundle"]["elsewhere"]:
        check_choice("bundle.elsewhere", other, [one for one in config["families"] if one != family])
    missing = [member for member in ("groups", "model_families") if not has_member(family, member)]
    if missing:
        raise ConfigError(
            "the family of the predictor bundle",
            where="bundle.family",
            expected="a module with groups and model_families, which say what a split must not separate",
            got=f"{family}, without {' and '.join(missing)}",
            remedy="Name another family, or add the functions to its module.",
        )


def _check_encoders(config: Config) -> None:
    shape = fields("archgauge.encoders.graph_encoder", "GraphEncoderConfig")
    training = fields("archgauge.pretraining.trainer", "PretrainingConfig")
    for name, encoder in config["encoders"].items():
        for family in encoder["families"]:
            check_choice(f"encoders.{name}.families", family, config["families"])
        check_keywords(f"encoders.{name}.shape", encoder["shape"], shape)
        _check_heads(f"encoders.{name}.shape", encoder["shape"])
        if encoder["training"] is not None:
            check_keywords(f"encoders.{name}.training", encoder["training"], training)
    for name, clustering in config["clusterings"].items():
        check_choice(f"clusterings.{name}.encoder", clustering["encoder"], config["encoders"])
        check_choice(f"clusterings.{name}.family", clustering["family"], config["families"])


def _check_heads(where: str, shape: Config) -> None:
    if "half_width" in shape and "heads" in shape and shape["half_width"] % shape["heads"]:
        raise ConfigError(
            "the attention heads of an encoder",
            where=f"{where}.heads",
            expected=f"a divisor of half_width, {shape['half_width']}",
            got=shape["heads"],
            remedy="Correct one of the two.",
        )


def _check_predictors(config: Config) -> None:
    for name, predictor in config["predictors"].items():
        if "members" in predictor:
            continue
        where = f"predictors.{name}"
        check_choice(f"{where}.module", predictor["module"], choices(*PLUGINS["predictor"]))
        one_batch = [name for name, chosen in config["proxies"].items() if len(chosen["batch_sizes"]) == 1]
        choosable = {
            **{key: config[f"{key}s"] for key in ("encoder", "clustering")},
            "proxies": ["published", *one_batch],
        }
        for key, known in choosable.items():
            if key in predictor:
                check_choice(f"{where}.{key}", predictor[key], known)
        _check_needs(where, predictor)
        if "clustering" in predictor:
            clustered = config["clusterings"][predictor["clustering"]]["encoder"]
            check_choice(f"{where}.encoder", predictor["encoder"], [clustered])
        signature = keywords(f"archgauge.predictors.{predictor['module']}", "Predictor")
        settings = predictor.get("settings", {})
        check_keywords(f"{where}.settings", {**settings, "seed": 0}, signature)
        if predictor["module"] == "shared_gp":
            columns = {key: settings[key] for key in ("costs", "without") if key in settings}
            check_columns(ConfigError, f"{where}.settings", **columns)


def _check_needs(where: str, predictor: Config) -> None:
    needs = needs_of(predictor["module"])
    for key, column, read in (
        ("encoder", "embedding", "an embedding"),
        ("clustering", "membership", "memberships"),
        ("proxies", "proxies", "scores of proxies"),
    ):
        if (column in needs) != (key in predictor):
            does, number = ("reads", "a") if column in needs else ("does not read", "no")
            raise ConfigError(
                "the inputs of a predictor",
                where=f"{where}.{key}",
                expected=f"{number} key {key}, because the module {predictor['module']} {does} {read}",
                got=repr(predictor.get(key)),
                remedy="Name one that is configured." if column in needs else f"Take the key {key} out.",
            )


def _check_experiment(where: str, experiment: Config, config: Config) -> None:
    if experiment["protocol"] == "joint_source":  # what it joins is checked where it stands
        return
    family = experiment["family"]
    check_choice(f"{where}.family", family, config["families"])
    if "only" in experiment:
        _check_only(f"{where}.only", family, experiment["only"])
    if experiment["protocol"] == "zero_shot":
        check_choice(f"{where}.source", experiment["source"], config["families"])
    for predictor in experiment["predictors"]:
        check_choice(f"{where}.predictors", predictor, config["predictors"])
        if not sizes(config, where.partition(".")[2], predictor):
            raise ConfigError(
                "the training sizes of a predictor",
                where=f"predictors.{predictor}.n_train",
                expected=f"one of those of {where}: {', '.join(map(str, experiment['n_train']))}",
                got=config["predictors"][predictor]["n_train"],
                remedy="Give it one of these sizes, or take it out of the experiment.",
            )
    check_choice(f"{where}.headline", experiment["headline"], experiment["predictors"])


def _check_only(where: str, family: str, only: str) -> None:
    if not has_member(family, only):
        raise ConfigError(
            "the architectures that count",
            where=where,
            expected=f"a function of archgauge/families/{family}.py",
            got=repr(only),
            remedy="Name one that says of a spec whether it counts, or take the key out.",
        )


def _check_held_out(where: str, study: Config, config: Config) -> None:
    for family, only in study.get("only", {}).items():
        _check_only(f"{where}.only.{family}", family, only)
    name = where.partition(".")[2]
    tables = ("tables", "transfer_tables", "search_tables", "searches")
    taken = [kind for kind in tables if name in config[kind]] + ["rules"] * (name in _rules())
    _check_name(where, "a study of held-out families", "a rule and a table", taken)


def _rules() -> list[str]:
    """The names of the workflow's rules."""
    files = [*PACKAGE_ROOT.glob("Snakefile"), *PACKAGE_ROOT.glob("rules/*.smk")]
    return [name for file in files for name in re.findall(r"^rule (\w+):", file.read_text(), re.MULTILINE)]


def _check_name(where: str, what: str, called: str, taken: Sequence[str]) -> None:
    if taken:
        raise ConfigError(
            f"the name of {what}",
            where=where,
            expected=f"a name of its own: {called} are called by it",
            got=f"the name of one of the {taken[0]}",
            remedy="Rename one of the two.",
        )


def _check_table(where: str, table: Config, config: Config) -> None:
    check_choice(f"{where}.experiment", table["experiment"], config["experiments"])
    experiment = config["experiments"][table["experiment"]]
    for metric in table["metrics"]:
        check_choice(f"{where}.metrics", metric, experiment["metrics"])
    for size in table["n_train"]:
        check_choice(f"{where}.n_train", size, experiment["n_train"])
    for number in table.get("published", []):
        check_choice(f"{where}.published", number["predictor"], experiment["predictors"])
        published(*number["source"])


def _always_made(search: Config) -> list[str]:
    """Strategies that need the labels of no other family; what a table compares with has to be among them."""
    return [name for name, strategy in search["strategies"].items() if "source" not in strategy]


def _check_guide(where: str, search: Config, predictor: Config) -> None:
    beyond = needs_of(predictor["module"]) - ON_DEMAND
    if search.get("whole") and beyond:
        raise ConfigError(
            "the guide of a search in a whole space",
            where=where,
            expected=f"one that reads nothing but {', '.join(sorted(ON_DEMAND))}",
            got=f"one that reads {', '.join(sorted(beyond))}",
            remedy="Name another, or search the family as it is tabulated.",
        )


def _check_search_table(where: str, table: Config, config: Config) -> None:
    check_choice(f"{where}.headline", table["headline"], table["strategies"])
    for name, entry in table["searches"].items():
        one = f"{where}.searches.{name}"
        check_choice(f"{where}.searches", name, config["searches"])
        search = config["searches"][name]
        for strategy in table["strategies"]:
            check_choice(f"{where}.strategies", strategy, [*search["strategies"], *entry.get("absent", {})])
        rows = [row for row in table["strategies"].values() if row is not None] + entry.get("methods", [])
        for metric, (printed, column) in entry.get("published", {}).items():
            check_choice(f"{one}.published", metric, table["metrics"])
            for row in rows:
                published("transferable", printed, row, column)
                at = published("transferable", printed, row, entry["at"]).value if "at" in entry else search["queries"]
                check_choice(f"{one}.queries", int(at), entry["queries"])


def _check_search(where: str, search: Config, config: Config) -> None:
    check_choice(f"{where}.family", search["family"], config["families"])
    if search.get("whole") and not has_member(search["family"], "enumerate_specs"):
        raise ConfigError(
            "the space of a search",
            where=f"{where}.whole",
            expected="a family whose space can be listed",
            got=search["family"],
            remedy="Take the key out: then the family is searched as it is tabulated.",
        )
    check_choice(f"{where}.headline", search["headline"], _always_made(search))
    for name, strategy in search["strategies"].items():
        one = f"{where}.strategies.{name}"
        check_choice(f"{one}.module", strategy["module"], choices(*PLUGINS["strategy"]))
        if "predictor" in strategy:
            check_choice(f"{one}.predictor", strategy["predictor"], config["predictors"])
            _check_guide(f"{one}.predictor", search, config["predictors"][strategy["predictor"]])
        signature = keywords(f"archgauge.search.{strategy['module']}", "search")
        settings = strategy.get("settings", {})
        check_keywords(f"{one}.settings", settings, signature)
        if strategy["module"] == "evolution":
            numbers = {key: value for key, value in settings.items() if key != "refit"}
            check_settings(ConfigError, f"{one}.settings", search["queries"], **numbers)
    if max(search["shown"]) > search["queries"]:
        raise ConfigError(
            "the queries that a table shows",
            where=f"{where}.shown",
            expected=f"at most {search['queries']}, the queries of each run",
            got=max(search["shown"]),
            remedy="Show fewer queries, or make more.",
        )
    taken = [kind for kind in ("tables", "figures") if where.partition(".")[2] in config[kind]]
    _check_name(where, "a search", "a table and a figure", taken)


def _check_proxies(where: str, chosen: Config, config: Config) -> None:
    check_choice(f"{where}.family", chosen["family"], config["families"])
    check_keywords(f"{where}.graph", chosen.get("graph", {}), family_keywords(chosen["family"]))
    for proxy in chosen["proxies"]:
        check_choice(f"{where}.proxies", proxy, choices(*PLUGINS["proxy"]))


def _check_proxy_paper(where: str, paper: Config, config: Config) -> None:
    for family, entry in paper["families"].items():
        if "proxies" in entry:
            fitting = [name for name, chosen in config["proxies"].items() if chosen["family"] == family]
            check_choice(f"{where}.families.{family}.proxies", entry["proxies"], fitting)
    if "learnt" in paper:
        _check_learnt(f"{where}.learnt", paper, config)


def _check_learnt(where: str, paper: Config, config: Config) -> None:
    learnt = paper["learnt"]
    check_choice(f"{where}.headline", learnt["headline"], learnt["rows"])
    for family, place in learnt["families"].items():
        check_choice(f"{where}.families", family, paper["families"])
        fitting = [
            name
            for name, one in config["experiments"].items()
            if one["protocol"] == "transfer" and one["family"] == family
        ]
        check_choice(f"{where}.families.{family}.experiment", place["experiment"], fitting)
        experiment = config["experiments"][place["experiment"]]
        check_choice(f"{where}.families.{family}.n_train", place["n_train"], experiment["n_train"])
        check_choice(f"{where}.families.{family}.experiment.metrics", "spearman", experiment["metrics"])
        for row, chosen in learnt["rows"].items():
            check_choice(f"{where}.rows.{row}.predictor", chosen["predictor"], experiment["predictors"])
            size = 0 if chosen.get("zero_shot") else place["n_train"]
            check_choice(f"{where}.rows.{row}", size, sizes(config, place["experiment"], chosen["predictor"]))


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
            check_choice(f"{where}.{key}", figure[key], config[known])
    for key, known in (("encoders", "encoders"), ("families", "families")):
        for name in figure.get(key, []):
            check_choice(f"{where}.{key}", name, config[known])
    if figure["kind"] == "predicted":
        check_choice(
            f"{where}.predictor", figure["predictor"], config["experiments"][figure["experiment"]]["predictors"]
        )
        check_choice(f"{where}.n_train", figure["n_train"], sizes(config, figure["experiment"], figure["predictor"]))
