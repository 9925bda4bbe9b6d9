"""Data sheets: what a family's tables hold, how good its labels are, and what leaks between families and roles."""

import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from scipy.stats import kendalltau
from tabulate import tabulate

from archgauge.evaluation.splits import division

_RUN = re.compile(r"/run\d+(?=\+|$)")
_DRAWN = {None: "the whole space", "labelled": "those that the labels' source has"}
_OF_A_SAMPLE = " That is a count of a sample; it says nothing of the whole space, which may hold many equal ones."
_GROUPS = (
    "They form {count:,} groups of variants of one design or of equal live graphs. An experiment evaluates no "
    "architecture of a group that it learns from."
)
_NO_LABELS = (
    "None are read here: the configuration names no source that can be read. The family still serves unlabelled, for "
    "pretraining and for predictions. To have its labels, name one of the sources below in `families.{family}.labels`."
)


def label_summary(labels: pa.Table) -> pd.DataFrame:
    """One row a label: how many architectures have it, mean, standard deviation, least and greatest value, unit."""
    frame = labels.to_pandas().groupby(["label", "unit"], observed=True)["value"]
    summary = frame.agg(["size", "mean", "std", "min", "max"]).reset_index()
    return summary[["label", "size", "mean", "std", "min", "max", "unit"]]


def label_noise(labels: pa.Table) -> pd.DataFrame:
    """One row for each two runs of one label: how far a second training of the same architectures differs.

    Columns: label, runs, shared (architectures that have both), noise (the standard deviation of one run, from the
    differences: sd / sqrt(2)), kendall (tau-b between the two), unit.
    """
    rows = []
    stems: dict[str, list[str]] = {}
    for name in sorted(map(str, labels["label"].unique().to_pylist())):
        if _RUN.search(name):
            stems.setdefault(_RUN.sub("/run*", name), []).append(name)
    for stem, names in stems.items():
        for first, second in combinations(names, 2):
            both = _values(labels, first).merge(_values(labels, second), on="arch_id", suffixes=("", "_second"))
            if len(both) < 2:
                continue
            noise = (both["value"] - both["value_second"]).std() / np.sqrt(2)
            tau = kendalltau(both["value"], both["value_second"]).statistic
            runs = " and ".join(_RUN.search(name).group()[1:] for name in (first, second))  # type: ignore[union-attr]
            rows.append((stem, runs, len(both), noise, tau, both["unit"].iloc[0]))
    return pd.DataFrame(rows, columns=["label", "runs", "shared", "noise", "kendall", "unit"])


def cost_summary(graphs: pa.Table) -> pd.DataFrame:
    """Least, median and greatest number of parameters, multiply-adds, nodes and edges of a GRAPHS table."""
    columns = {
        "parameters": graphs["params"].to_numpy(),
        "parameters outside the graph": graphs["params_outside"].to_numpy(),
        "multiply-adds": graphs["macs"].to_numpy(),
        "nodes": pc.list_value_length(graphs["kind"]).to_numpy(),
        "edges": pc.list_value_length(graphs["edge_source"]).to_numpy(),
    }
    rows = [
        (name, values.min(), np.median(values), values.max())
        for name, values in columns.items()
        if values.any() or name == "parameters"
    ]
    return pd.DataFrame(rows, columns=["", "least", "median", "greatest"])


def overlap(hashes: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """One row for each two families that have live graphs in common: family, other, graphs (distinct ones).

    Args:
        hashes: (N,) live hashes by family.
    """
    distinct = {family: set(values.tolist()) for family, values in hashes.items()}
    rows = [(one, other, len(distinct[one] & distinct[other])) for one, other in combinations(distinct, 2)]
    return pd.DataFrame([row for row in rows if row[2]], columns=["family", "other", "graphs"])


def leakage(splits: pa.Table, arch_ids: np.ndarray, live_hash: np.ndarray, sizes: Sequence[int]) -> pd.DataFrame:
    """How many evaluated architectures are, as live graphs, one of those that were learnt from.

    Args:
        splits: SPLITS of the family.
        arch_ids, live_hash: (N,) of the family.
        sizes: numbers of labels to learn from.

    Returns:
        One row a size: learnt from, evaluated, equal to one learnt from (percent, mean over splits).
    """
    rows = []
    numbers = sorted(splits["split"].unique().to_pylist())
    for size in sizes:
        counts, shares = [], []
        for number in numbers:
            divided = division(splits, number, arch_ids)
            evaluated = divided.evaluated_rows(size)
            known = np.isin(live_hash[evaluated], live_hash[divided.training_rows(size)])
            counts.append(len(evaluated))
            shares.append(100 * known.mean() if len(evaluated) else np.nan)
        rows.append((size, round(float(np.mean(counts))), float(np.mean(shares))))
    return pd.DataFrame(rows, columns=["learnt from", "evaluated", "of them equal to one learnt from (%)"])


def datasheet(
    family: str,
    about: Mapping[str, str],
    graphs: pa.Table,
    labels: pa.Table | None,
    leaks: Mapping[str, pd.DataFrame],
    settings: Mapping[str, Any],
) -> str:
    """The sheet of one family, as Markdown.

    Args:
        about: the family module's DATASHEET.
        graphs: GRAPHS of what is tabulated here.
        labels: LABELS, or None where they cannot be had.
        leaks: `leakage` by experiment.
        settings: "sample" (as `archgauge.config.sampled` says it), "sources" (label source -> addresses), "figure",
            and "groups", how many the family's `groups` makes, where it has groups.
    """
    count, distinct = len(graphs), pc.count_distinct(graphs["live_hash"]).as_py()
    drawn = _DRAWN.get(settings["sample"], "drawn at random from the space")
    parts = [
        f"# {about['title']} (`{family}`)",
        about["space"],
        f"Tabulated here: {count:,} architectures ({drawn}) with {distinct:,} distinct live graphs."
        + (_OF_A_SAMPLE if isinstance(settings["sample"], int) else ""),
        *([_GROUPS.format(count=settings["groups"])] if "groups" in settings else []),
        _markdown(cost_summary(graphs)),
        f"![Histograms]({settings['figure']})",
        "## Labels",
        about["labels"],
        _NO_LABELS.format(family=family) if labels is None else _markdown(label_summary(labels)),
    ]
    if labels is not None:
        noise = label_noise(labels)
        told = "No architecture has two runs of one label here, so the noise cannot be measured."
        parts += ["### Noise", _markdown(noise) if len(noise) else told]
    told = f"`archgauge/families/{family}.py` says what each one is."
    parts += ["### Sources", f"{_sources(settings['sources'])}\n\n{told}"]
    if leaks:
        parts += ["## Leakage", "Architectures that are evaluated, and equal as live graphs one that was learnt from."]
        parts += [part for name, frame in leaks.items() for part in (f"Experiment `{name}`:", _markdown(frame))]
    parts += ["## Licence and citation", f"Licence: {about['licence']}", f"Cite: {about['citation']}"]
    return "\n\n".join(parts) + "\n"


def overlap_page(hashes: Mapping[str, np.ndarray]) -> str:
    """What families have in common, as Markdown; `hashes` as for `overlap`."""
    rows = [(family, len(values), len(np.unique(values))) for family, values in hashes.items()]
    counts = pd.DataFrame(rows, columns=["family", "architectures", "distinct live graphs"])
    shared = overlap(hashes)
    told = _markdown(shared) if len(shared) else "No live graph is of two families."
    parts = ["# Live graphs of the families", _markdown(counts), "## Shared by two families", told]
    return "\n\n".join(parts) + "\n"


def _values(labels: pa.Table, name: str) -> pd.DataFrame:
    return labels.filter(pc.equal(labels["label"], name)).select(["arch_id", "value", "unit"]).to_pandas()


def _sources(sources: Mapping[str, Sequence[str]]) -> str:
    lines = [f"- `{name}`: {', '.join(where) or 'no download'}" for name, where in sources.items()]
    return "\n".join(lines) or "This family has no published labels."


def _markdown(frame: pd.DataFrame) -> str:
    cells = [[_text(value) for value in row] for row in frame.astype(object).itertuples(index=False)]
    return tabulate(cells, headers=list(frame.columns), tablefmt="github", disable_numparse=True)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return "–" if np.isnan(value) else f"{value:,.0f}" if abs(value) >= 1e5 else f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
