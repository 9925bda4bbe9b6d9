"""Making a bundle: choose the predictor, fit it, calibrate it, and measure all that on networks held out."""

from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from archgauge.errors import TableError
from archgauge.evaluation.labels import label_values, labelled
from archgauge.graphs.graph import Graphs, concatenate
from archgauge.graphs.tables import iter_graphs, read_kinds
from archgauge.ranking.assessment import (
    CANDIDATES,
    Assessed,
    columns_of,
    coverage,
    forest,
    gaussian_process,
    held_out,
    intervals,
    partitions,
    scored,
)
from archgauge.ranking.bundle import Bundle, Networks
from archgauge.ranking.description import Description, describe
from archgauge.ranking.familiarity import Limits, to_other_families
from archgauge.ranking.gauge import Gauge

PACKAGES = ("archgauge", "numpy", "scipy", "torch", "pytorchcv")
LEAST_FAMILIES = 3

LIMITS = (
    "The label is of one data set: a model for another one, or for another number of classes, is flagged.",
    "Only the architecture is seen, not its training: a longer or better recipe moves the accuracy of every network.",
    "Models of a kind that no known network shares are flagged; their intervals are not backed by measurements.",
    "Models whose intervals overlap are not told apart: their order is a best guess.",
)


def read_networks(graphs: Path, kinds: Path) -> tuple[Graphs, pa.Table]:
    """All graphs of a GRAPHS table, and their arch_id and live_hash."""
    parts = list(iter_graphs(graphs, read_kinds(kinds), ["arch_id", "live_hash"]))
    return concatenate([part for part, _ in parts]), pa.concat_tables([table for _, table in parts])


def make_bundle(graphs: Path, kinds: Path, labels: pa.Table, module: Any, settings: Mapping[str, Any]) -> Bundle:
    """Make the bundle of a family.

    Args:
        graphs, kinds: its GRAPHS table and the kinds beside it.
        labels: LABELS.
        module: of the family; `groups` and `model_families` say what must not be separated, `DATASHEET` what it is.
        settings: `label`, `level`, `flagged`, `folds` and `seed`, as config.schema.yaml describes them.

    Raises:
        TableError: when fewer than three families of models have the label.
    """
    drawn, table = read_networks(graphs, kinds)
    arch_id, live_hash = (np.array(table[name].to_pylist()) for name in ("arch_id", "live_hash"))
    with_label = labelled(labels, settings["label"], arch_id)
    everything = describe(drawn)
    known = everything.rows(with_label)
    networks = Networks(
        arch_id=arch_id[with_label],
        group=np.array(module.groups(arch_id, live_hash))[with_label],
        family=np.array(module.model_families(arch_id[with_label])),
        live_hash=known.live_hash,
        accuracy_pct=label_values(labels, settings["label"], arch_id[with_label]),
        features=known.features,
    )
    if len(np.unique(networks.family)) < LEAST_FAMILIES:
        raise TableError(
            "the networks of a predictor bundle",
            where=settings["label"],
            expected=f"at least {LEAST_FAMILIES} families of models with the label",
            got=", ".join(np.unique(networks.family)) or "none",
            remedy="Raise the family's sample, or choose a label that more networks have.",
        )
    compared = compare(networks, settings)
    chosen = min(CANDIDATES, key=lambda name: compared[name]["families"]["mae_pct"])
    columns = columns_of(chosen)
    fold = partitions(networks.group, networks.family, settings)["families"].fold
    gauge = Gauge.fit(networks.features, networks.accuracy_pct, columns, fold)
    limits = Limits.of(gauge.place(networks.features), networks.family, known.facts, settings["flagged"])
    card = _about(networks, module.DATASHEET, settings) | {
        "predictor": {"name": chosen, "title": CANDIDATES[chosen][0]},
        "compared": compared,
        **measured(networks, gauge, limits, settings),
    }
    bundle = Bundle(networks, gauge, limits, card)
    return replace(bundle, card=card | {"unlabelled": _flagged(bundle, everything.rows(~with_label))})


def compare(networks: Networks, settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Score all candidates, and a forest beside them, on architectures held out and on families of models left out.

    Architectures are held out in folds of groups; families one by one.
    """
    apart = partitions(networks.group, networks.family, settings)
    held = {"architectures": apart["architectures"], "families": apart["each_family"]}
    everything = CANDIDATES["composition_paths"][0].removeprefix("GP on ")
    rows = {name: (title, gaussian_process, columns_of(name)) for name, (title, _) in CANDIDATES.items()}
    rows["forest"] = (f"Random forest on {everything} (compared only)", forest, columns_of("composition_paths"))
    true = networks.accuracy_pct
    return {
        name: {"title": title}
        | {
            what: scored(held_out(fit, networks.features[:, columns], true, by.fold), true, by.unit, settings["seed"])
            for what, by in held.items()
        }
        for name, (title, fit, columns) in rows.items()
    }


def measured(networks: Networks, gauge: Gauge, limits: Limits, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The intervals on networks held out; single families of models; and whether the limit of distance tells errors."""
    apart = partitions(networks.group, networks.family, settings)
    given = networks.features, networks.accuracy_pct, gauge.columns, networks.family
    by_group = intervals(*given, apart["architectures"].fold, settings)
    by_family = intervals(*given, apart["families"].fold, settings)
    true, seed = networks.accuracy_pct, settings["seed"]
    names = np.unique(networks.family)
    rows = [{"family": str(name)} | _errors(by_family, true, networks.family == name) for name in names]
    far = to_other_families(gauge.place(networks.features), apart["families"].fold) > limits.distance
    return {
        "intervals": {
            "architectures": coverage(by_group, true, networks.group, seed),
            "families": coverage(by_family, true, networks.family, seed),
        },
        "families": sorted(rows, key=lambda row: (-row["networks"], row["family"])),
        "by_distance": {"near": _errors(by_family, true, ~far), "far": _errors(by_family, true, far)},
    }


def _errors(assessed: Assessed, true: np.ndarray, rows: np.ndarray) -> dict[str, Any]:
    """Of some of the networks that were left out, (n,) bool; numbers are None where there are none."""
    if not rows.any():
        return {"networks": 0, "mae_pct": None, "bias_pct": None, "coverage": None}
    error = assessed.predicted.accuracy_pct[rows] - true[rows]
    return {
        "networks": int(rows.sum()),
        "mae_pct": float(np.abs(error).mean()),
        "bias_pct": float(error.mean()),
        "coverage": float(assessed.covered[rows].mean()),
    }


def _flagged(bundle: Bundle, others: Description) -> dict[str, int]:
    """How many of the family's networks without the label are flagged as unlike those with it."""
    return {"networks": len(others.facts), "flagged": sum(bool(reasons) for reasons in bundle.unlike_each(others))}


def _about(networks: Networks, datasheet: Mapping[str, str], settings: Mapping[str, Any]) -> dict[str, Any]:
    accuracy = networks.accuracy_pct
    versions = {name: _version(name) for name in PACKAGES}
    return {
        "title": f"{datasheet['title']}: {settings['label']}",
        "label": settings["label"],
        "level": settings["level"],
        "settings": dict(settings),
        "networks": len(networks),
        "architectures": len(np.unique(networks.group)),
        "model_families": len(np.unique(networks.family)),
        "accuracy_pct": {"least": accuracy.min(), "median": float(np.median(accuracy)), "most": accuracy.max()},
        "limits": list(LIMITS),
        "labels": datasheet["labels"],
        "licence": datasheet["licence"],
        "citation": datasheet["citation"],
        "versions": {name: version for name, version in versions.items() if version},
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
