"""What the rules of the zero-cost proxies ask of the configuration, which `archgauge.config_check` has checked."""

from pathlib import Path
from typing import Any

from archgauge.config import Config, can_run, collected_table, has_labels, plain
from archgauge.signatures import datasheet_of, has_member
from archgauge.transfer_config import NO_LABELS, scale_of

IMAGES = "cifar-10-batches-bin"
"""The folder of CIFAR-10 in the folder of collected tables."""

PAPERS = ("gennape_table1", "transferable_table1")
"""The papers' tables of zero-cost proxies."""


def sample_settings(config: Config, name: str) -> dict[str, Any]:
    """What workflow_scripts/proxy_sample.py needs to know."""
    chosen = config["proxies"][name]
    return {key: plain(chosen[key]) for key in ("sample", "seed", "proxies")}


def proxy_settings(config: Config, name: str) -> dict[str, Any]:
    """What workflow_scripts/proxies.py needs to know."""
    chosen = config["proxies"][name]
    return {key: plain(chosen[key]) for key in ("seed", "proxies", "batch_sizes")}


def proxy_graph_options(config: Config, name: str) -> dict[str, Any]:
    """Keywords of `to_graph` for the networks that are scored."""
    chosen = config["proxies"][name]
    return plain(chosen.get("graph", config["families"][chosen["family"]]["graph"]))


def proxy_modules(config: Config, name: str) -> list[str]:
    """The modules of a set of proxies."""
    return [f"archgauge.proxies.{proxy}" for proxy in config["proxies"][name]["proxies"]]


def proxy_images(config: Config, name: str) -> list[str]:
    """The folder of CIFAR-10 that a set reads; nothing where its images are random, or no folder is there."""
    if config["proxies"][name]["images"] == "random" or config["tables_dir"] is None:
        return []
    folder = Path(config["tables_dir"]) / IMAGES
    return [str(folder)] if folder.is_dir() else []


def sampled_from(config: Config, name: str) -> list[str]:
    """The table of published proxies that a sample is drawn from; nothing where it is drawn from the whole family."""
    chosen = config["proxies"][name]
    return published_table(config, chosen["family"]) if chosen["published_only"] else []


def published_table(config: Config, family: str) -> list[str]:
    """Our table of the proxies that are published of a family; nothing where none are, or none can be read."""
    return [f"results/proxies/published/{family}.parquet"] if _is_published(config, family) else []


def published_files(config: Config, family: str) -> list[str]:
    """The collected table that holds published proxies of a family; nothing where there is none."""
    return [collected_table(config, family)] if _is_published(config, family) else []


def can_score(config: Config, name: str) -> bool:
    """Whether the accuracies that a set is compared with can be had."""
    return _reads_collected(config, name) or has_labels(config, config["proxies"][name]["family"])


def proxy_labels(config: Config, name: str) -> str:
    """The file with the accuracies of a set: the collected table, or LABELS."""
    family = config["proxies"][name]["family"]
    return collected_table(config, family) if _reads_collected(config, name) else f"results/labels/{family}.parquet"


def comparison_settings(config: Config, name: str) -> dict[str, Any]:
    """What a table that compares a set of proxies needs to know of it."""
    chosen = config["proxies"][name]
    collected = _reads_collected(config, name)
    return {
        "title": datasheet_of(chosen["family"])["title"],
        "family": chosen["family"],
        "proxies": list(chosen["proxies"]),
        "batch_sizes": list(chosen["batch_sizes"]),
        "label": chosen["collected_label" if collected else "label"],
        "collected": collected,
    }


def paper_sets(config: Config, paper: str) -> list[str]:
    """The sets of proxies in a paper's table whose accuracies can be had, by the order of its families."""
    named = (entry["proxies"] for entry in config["papers"][paper]["families"].values() if "proxies" in entry)
    return [name for name in named if can_score(config, name)]


def paper_published(config: Config, paper: str) -> list[str]:
    """The families of `paper_sets` of which published proxies can be read."""
    families = [config["proxies"][name]["family"] for name in paper_sets(config, paper)]
    return [family for family in families if _is_published(config, family)]


def paper_settings(config: Config, paper: str) -> dict[str, Any]:
    """What workflow_scripts/proxy_paper.py needs to know."""
    chosen, ready = config["papers"][paper], paper_sets(config, paper)
    families = {}
    for family, entry in chosen["families"].items():
        scored = entry.get("proxies") in ready
        families[family] = {
            "row": entry["row"],
            "title": datasheet_of(family)["title"],
            "only": entry.get("only"),
            "note": entry.get("note"),
            "published": scored and _is_published(config, family),
            "set": comparison_settings(config, entry["proxies"]) if scored else None,
        }
    return {"title": chosen["title"], "families": families, "learnt": _learnt_settings(config, paper)}


def paper_experiments(config: Config, paper: str) -> list[str]:
    """The experiments that give a paper's table the numbers of its learnt predictors, those that can run."""
    families = config["papers"][paper].get("learnt", {}).get("families", {})
    return [place["experiment"] for place in families.values() if can_run(config, place["experiment"])]


def _learnt_settings(config: Config, paper: str) -> dict[str, Any]:
    """What the rows of learnt predictors read: by row and family, one cell of METRICS or why it is empty."""
    learnt = config["papers"][paper].get("learnt")
    if learnt is None:
        return {"headline": None, "rows": {}, "notes": {}, "scales": {}}
    ready = {family: place for family, place in learnt["families"].items() if can_run(config, place["experiment"])}
    rows: dict[str, dict[str, Any]] = {}
    for row, chosen in learnt["rows"].items():
        fixed = {"n_train": 0} if chosen.get("zero_shot") else {}
        rows[row] = {
            family: {**plain(place), "predictor": chosen["predictor"], **fixed}
            if family in ready
            else {"missing": NO_LABELS}
            for family, place in learnt["families"].items()
        }
    predictors = {row: config["predictors"][chosen["predictor"]] for row, chosen in learnt["rows"].items()}
    return {
        "headline": learnt["headline"],
        "rows": rows,
        "notes": {row: chosen["note"] for row, chosen in predictors.items() if "note" in chosen},
        "scales": {family: scale_of(config, place["experiment"], place["n_train"]) for family, place in ready.items()},
    }


def _is_published(config: Config, family: str) -> bool:
    return config["tables_dir"] is not None and has_member(family, "published_proxies")


def _reads_collected(config: Config, name: str) -> bool:
    return "collected_label" in config["proxies"][name] and config["tables_dir"] is not None
