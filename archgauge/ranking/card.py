"""A bundle's model card as text, which is Markdown, too."""

from collections.abc import Mapping, Sequence
from typing import Any

LEAST_NETWORKS = 3
"""Families of models with fewer networks are shown together."""


def card_text(card: Mapping[str, Any]) -> str:
    """The model card that `archgauge.ranking.fitting` wrote."""
    spread = card["accuracy_pct"]
    level = f"{card['level']:.0%}"
    unlabelled = card["unlabelled"]
    lines = [
        f"# Model card: {card['title']}",
        f"Predicts `{card['label']}` in %. Fitted on {card['networks']} networks of {card['architectures']} "
        f"architectures in {card['model_families']} families of models; accuracies {spread['least']:.1f} to "
        f"{spread['most']:.1f}, median {spread['median']:.1f}.",
        f"{card['labels']} Licence: {card['licence']}. {card['citation']}.",
        "## Predictor",
        f"{card['predictor']['title']}. Chosen by the least mean absolute error on families of models left out one by "
        "one, among all rows but the forest, so that its own row is slightly optimistic. ± is the standard error over "
        "architectures or families.",
        _table(("predictor", "ρ, new architectures", "MAE", "ρ, new families", "MAE"), map(_compared, _rows(card))),
        "## Intervals",
        f"CV+ conformal intervals of level {level}, calibrated on whole families of models. Measured on networks that "
        "neither the fit nor the calibration has seen:",
        _table(
            ("held out", "holds the truth", "mean width", "median width", "rank interval, of 10", "ranks in it"),
            (_covered(name, score) for name, score in card["intervals"].items()),
        ),
        "## Families of models, each left out",
        _table(
            ("family", "networks", "MAE", "bias", "interval holds"),
            (
                (row["family"], str(row["networks"]), *(f"{row[key]:{form}}" for key, form in _FAMILY))
                for row in _families(card["families"])
            ),
        ),
        "Left out together with some others, in folds; bias is predicted less measured, in points. The "
        f"families of fewer than {LEAST_NETWORKS} networks share the last row; `--card --json` has each.",
        *_by_distance(card["by_distance"]),
        "## What it is not good for",
        "\n".join(f"- {sentence}" for sentence in card["limits"]),
    ]
    if unlabelled["networks"]:
        lines.append(
            f"Of {unlabelled['networks']} networks of the same source without this label, made for other data sets, "
            f"{unlabelled['flagged']} are flagged."
        )
    lines += ["## Made with", ", ".join(f"{name} {version}" for name, version in card["versions"].items())]
    return "\n\n".join(lines) + "\n"


_FAMILY = (("mae_pct", ".2f"), ("bias_pct", "+.2f"), ("coverage", ".0%"))


def _families(families: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows of families, those of few networks pooled in the last one: means over their networks."""
    few = [row for row in families if row["networks"] < LEAST_NETWORKS]
    networks = sum(row["networks"] for row in few)
    pooled = {key: sum(row["networks"] * row[key] for row in few) / networks for key, _ in _FAMILY} if few else {}
    others = [{"family": f"others ({len(few)})", "networks": networks, **pooled}] if few else []
    return [row for row in families if row["networks"] >= LEAST_NETWORKS] + others


def _by_distance(split: Mapping[str, Any]) -> list[str]:
    """What the flag for distance is worth."""
    far, near = split["far"], split["near"]
    if not (far["networks"] and near["networks"]):
        return []
    return [
        f"{far['networks']} of them lie so far from all others that they would have been flagged: their mean absolute "
        f"error is {far['mae_pct']:.2f} points, that of the rest {near['mae_pct']:.2f}."
    ]


def _rows(card: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(card["compared"].values())


def _compared(row: Mapping[str, Any]) -> tuple[str, ...]:
    cells = [row["title"]]
    for score in (row["architectures"], row["families"]):
        cells.append(f"{score['spearman']:.3f} ± {score['spearman_se']:.3f}")
        cells.append(f"{score['mae_pct']:.2f} ± {score['mae_se_pct']:.2f}")
    return tuple(cells)


def _covered(name: str, score: Mapping[str, float]) -> tuple[str, ...]:
    return (
        f"new {name}",
        f"{score['coverage']:.1%} ± {100 * score['coverage_se']:.1f}",
        f"{score['mean_width_pct']:.1f} points",
        f"{score['median_width_pct']:.1f} points",
        f"{score['rank_coverage']:.1%}",
        f"{score['ranks_allowed']:.1f}",
    )


def _table(header: Sequence[str], rows: Any) -> str:
    """A Markdown table whose columns also stand in line as plain text."""
    lines = [tuple(header), *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join("| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines)
