"""Figures as SVG: opaque light ground, so that they read the same in light and dark viewers; equal data, equal bytes.

Text stays text. Layers of many marks are drawn as pixels inside the SVG, which keeps a file small. Colours are those of
Okabe and Ito for names and viridis or cividis for amounts, both fit for colour-blind readers; line styles tell curves
apart in grey.
"""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import NullLocator
from scipy import stats
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors

from archgauge.errors import TableError
from archgauge.evaluation.metrics import spearman
from archgauge.files import whole_file

GROUND = "#ffffff"
INK = "#2b2f36"
FAINT = "#c9ced6"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C8C8C")
DASHED = (0, (4, 3))
MARKERS = ("o", "^", "s")
LINES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (4, 1.2, 1, 1.2)))

DENSITY = LinearSegmentedColormap.from_list("density", ["#d5e5f2", "#6aaed6", "#0b559f", "#061a33"])

CHARACTERS_PER_INCH = 9.5  # of a title
LOWEST_SHOWN = 0.05
MEMBERSHIP_COLUMNS = 800

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "archgauge",
    "figure.facecolor": GROUND,
    "savefig.facecolor": GROUND,
    "axes.facecolor": GROUND,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.grid": False,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "savefig.dpi": 150,
}
"""What every figure shares; set while one is drawn, never globally."""


def predicted_against_measured(
    path: str | Path, predicted: np.ndarray, accuracy_pct: np.ndarray, *, title: str, in_percent: bool
) -> None:
    """Draw predictions against measured accuracies, as values and as ranks.

    The panel of values leaves out the lowest 5 % of either axis, because a few very bad networks would squeeze all
    others into a corner, and says how many that are. The panel of ranks shows all of them.

    Args:
        path: SVG file to write.
        predicted: (N,) predictions.
        accuracy_pct: (N,) measured accuracies in percent.
        title: one line: what was predicted, by whom.
        in_percent: whether predictions are accuracies in percent; the diagonal of the values is drawn for these only.
    """
    rho = spearman(predicted, accuracy_pct)
    limits = [_upper_limits(accuracy_pct), _upper_limits(predicted)]
    if in_percent:
        limits = [(min(low for low, _ in limits), max(high for _, high in limits))] * 2
    (x_low, x_high), (y_low, y_high) = limits
    inside = (accuracy_pct >= x_low) & (predicted >= y_low)
    with _figure(path, title, (7.6, 3.7)) as figure:
        left, right = figure.subplots(1, 2)
        values = _density(left, accuracy_pct[inside], predicted[inside], (x_low, x_high, y_low, y_high))
        if in_percent:
            left.axline((x_low, x_low), slope=1, color=INK, linewidth=0.8, linestyle=DASHED)
        outside = np.count_nonzero(~inside)
        left.set_title(f"Values ({outside:,} low ones not shown)" if outside else "Values")
        left.set(xlabel="measured accuracy (%)", ylabel="predicted accuracy (%)" if in_percent else "prediction")
        x, y = (stats.rankdata(scores) / len(scores) * 100 for scores in (accuracy_pct, predicted))
        ranks = _density(right, x, y, (0, 100, 0, 100))
        right.axline((0, 0), slope=1, color=INK, linewidth=0.8, linestyle=DASHED)
        right.set(title=f"Ranks, Spearman {rho:.3f}", xlabel="measured rank (%)", ylabel="predicted rank (%)")
        shared = LogNorm(1, max(2, *(shades.get_array().max() for shades in (values, ranks))))
        values.set_norm(shared)
        ranks.set_norm(shared)
        figure.colorbar(
            ranks, ax=[left, right], pad=0.02, aspect=30, format="{x:,.0f}", label="architectures per hexagon"
        )


def embedding_map(
    path: str | Path,
    embedding: np.ndarray,
    family: Sequence[str] | np.ndarray,
    accuracy_pct: np.ndarray,
    *,
    title: str,
    method: Literal["pca", "tsne"],
    seed: int,
) -> None:
    """Draw embeddings in two dimensions, coloured by family and by accuracy.

    Args:
        path: SVG file to write.
        embedding: (N, D) embeddings; with t-SNE keep N below some 5,000.
        family: (N,) names.
        accuracy_pct: (N,) accuracies in percent, nan where there is no label.
        title: one line.
        method: projection: "pca" for the two directions of largest variance, "tsne" for neighbourhoods.
        seed: of the order in which points are drawn, and of t-SNE.
    """
    _check("embeddings", embedding, 2)
    order = np.random.default_rng(seed).permutation(len(embedding))
    family, accuracy_pct = np.asarray(family, dtype=str)[order], np.asarray(accuracy_pct)[order]
    points, axis_labels = _projected(embedding, method, seed)
    x, y = points[order].T
    size = float(np.clip(20_000 / len(x), 1.5, 14))
    with _figure(path, title, (7.6, 3.7)) as figure:
        by_family, by_accuracy = figure.subplots(1, 2, sharex=True, sharey=True)
        names, counts = np.unique(family, return_counts=True)
        colour = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(names[np.argsort(-counts)])}
        by_family.scatter(x, y, s=size, c=[colour[name] for name in family], linewidths=0, rasterized=True)
        for name in colour:
            by_family.scatter([], [], s=24, color=colour[name], label=f"{name} ({np.count_nonzero(family == name):,})")
        by_family.legend(loc="upper left", bbox_to_anchor=(0, -0.1), ncols=3, handletextpad=0.2, borderpad=0)
        by_family.set_title("Family")
        known = np.isfinite(accuracy_pct)
        by_accuracy.scatter(x[~known], y[~known], s=size, color=FAINT, linewidths=0, rasterized=True)
        low, high = np.quantile(accuracy_pct[known], [0.05, 0.995]) if known.any() else (0, 1)
        shades = by_accuracy.scatter(
            x[known],
            y[known],
            s=size,
            c=accuracy_pct[known],
            cmap="viridis",
            vmin=low,
            vmax=high,
            linewidths=0,
            rasterized=True,
        )
        by_accuracy.set_title("Accuracy" if known.all() else "Accuracy (grey: not labelled)")
        figure.colorbar(shades, ax=by_accuracy, pad=0.02, aspect=30, extend="both", label="measured accuracy (%)")
        for axes in (by_family, by_accuracy):
            axes.set(xlabel=axis_labels[0], ylabel=axis_labels[1], xticks=[], yticks=[])


def family_map(
    path: str | Path, embedding: np.ndarray, family: Sequence[str] | np.ndarray, *, title: str, seed: int
) -> None:
    """Draw embeddings of many families in two dimensions by t-SNE, and say how well they are apart.

    Args:
        path: SVG file to write.
        embedding: (N, D); keep N below some 5,000.
        family: (N,) names.
        title: one line, to which the share of embeddings is added whose nearest other one is of the same family.
        seed: of the order in which points are drawn, and of t-SNE.
    """
    _check("embeddings", embedding, 2)
    family = np.asarray(family, dtype=str)
    points, axis_labels = _projected(embedding, "tsne", seed)
    nearest = NearestNeighbors(n_neighbors=1).fit(embedding).kneighbors(return_distance=False)[:, 0]
    apart = 100 * float(np.mean(family[nearest] == family))
    with _figure(path, f"{title}: {apart:.0f} % have their nearest in their family", (5.6, 4.6)) as figure:
        axes = figure.subplots()
        order = np.random.default_rng(seed).permutation(len(family))
        names = list(dict.fromkeys(family.tolist()))
        for index, name in enumerate(names):
            marker: dict[str, Any] = {
                "color": COLOURS[index % len(COLOURS)],
                "marker": MARKERS[index // len(COLOURS) % len(MARKERS)],
            }
            mine = order[family[order] == name]
            x, y = points[mine].T
            axes.scatter(x, y, s=7, linewidths=0, rasterized=True, **marker)
            axes.scatter([], [], s=24, label=f"{name} ({len(mine):,})", **marker)
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), handletextpad=0.2, borderpad=0)
        axes.set(xlabel=axis_labels[0], ylabel=axis_labels[1], xticks=[], yticks=[])


def membership_heat_map(path: str | Path, membership: np.ndarray, *, title: str) -> None:
    """Draw fuzzy memberships: architectures side by side, grouped by their strongest cluster; cluster sizes beside.

    The partition coefficient is the mean over architectures of the sum of squared memberships, in [1 / C, 1]. Where
    there are more architectures than columns of pixels, each column is the mean of its neighbours.

    Args:
        path: SVG file to write.
        membership: (N, C), each row sums to one.
        title: one line.
    """
    _check("memberships", membership, 2)
    clusters = membership.shape[1]
    strongest = membership.argmax(axis=1)
    order = np.lexsort((-membership.max(axis=1), strongest))
    blocks = np.array_split(membership[order], min(len(membership), MEMBERSHIP_COLUMNS))
    partition = np.square(membership).sum(axis=1).mean()
    with _figure(path, title, (7.6, 1.5 + 0.16 * clusters)) as figure:
        heat, sizes = figure.subplots(1, 2, sharey=True, width_ratios=[6, 1])
        image = heat.imshow(
            np.stack([block.mean(axis=0) for block in blocks], axis=1),
            aspect="auto",
            cmap="cividis",
            vmin=0,
            vmax=max(2 / clusters, membership.max()),
            interpolation="nearest",
            extent=(0, len(membership), clusters + 0.5, 0.5),
        )
        heat.set(xlabel="architectures, by strongest cluster", ylabel="cluster", yticks=range(1, clusters + 1))
        heat.set_title(f"Partition coefficient {partition:.4f}, where equal memberships give {1 / clusters:.4f}")
        heat.xaxis.set_major_formatter("{x:,.0f}")
        heat.tick_params(axis="y", length=0)
        heat.spines[:].set_visible(False)
        numbers = np.arange(1, clusters + 1)
        sizes.barh(numbers, membership.mean(axis=0) * 100, height=0.7, color=COLOURS[0])
        sizes.axvline(100 / clusters, color=INK, linewidth=0.8, linestyle=DASHED)
        sizes.set(xlabel="mean (%)", title="Size")
        sizes.tick_params(axis="y", length=0)
        figure.colorbar(image, ax=[heat, sizes], pad=0.015, aspect=25, label="membership")


def search_curves(path: str | Path, regret: Mapping[str, np.ndarray], *, title: str) -> None:
    """Draw what searches have found after each query: mean over runs, band of one standard error.

    Args:
        path: SVG file to write.
        regret: by strategy, (R, Q) percent points below the best of the space, for R runs and Q queries.
        title: one line.
    """
    for strategy, curves in regret.items():
        _check(f"regrets of {strategy}", curves, 2)
    with _figure(path, title, (5.6, 3.7)) as figure:
        axes = figure.subplots()
        ordered = sorted(regret.items(), key=lambda item: -item[1][:, -1].mean())
        for index, (strategy, curves) in enumerate(ordered):
            queries, mean = np.arange(1, curves.shape[1] + 1), curves.mean(axis=0)
            error = stats.sem(curves, axis=0) if len(curves) > 1 else np.zeros_like(mean)
            line: dict[str, Any] = {"color": COLOURS[index % len(COLOURS)], "linestyle": LINES[index % len(LINES)]}
            axes.fill_between(
                queries, mean - error, mean + error, step="post", color=line["color"], alpha=0.18, linewidth=0
            )
            axes.step(queries, mean, where="post", linewidth=1.6, label=f"{strategy} ({len(curves)} runs)", **line)
        axes.set_yscale("symlog", linthresh=0.1, linscale=0.5)
        top = max(curves.mean(axis=0).max() for curves in regret.values()) or 0.1
        ticks = [tick for tick in (0, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if tick <= 1.6 * top]
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_ylim(0, 1.2 * top)
        axes.set_xlim(1, max(curves.shape[1] for curves in regret.values()))
        axes.set(xlabel="queries", ylabel="regret (percent points)", title="Mean and standard error over runs")
        axes.grid(axis="y")
        axes.legend(loc="upper right")


def pretraining_loss(path: str | Path, losses: Mapping[str, tuple[np.ndarray, np.ndarray]], *, title: str) -> None:
    """Draw the mean loss of each epoch over the optimiser's steps.

    Args:
        path: SVG file to write.
        losses: by name of the encoder, the (S,) steps at which epochs ended and the (S,) mean losses of the epochs.
        title: one line.
    """
    for name, (steps, loss) in losses.items():
        _check(f"steps of {name}", steps, 1)
        _check(f"losses of {name}", loss, 1)
    with _figure(path, title, (5.6, 3.4)) as figure:
        axes = figure.subplots()
        for index, (name, (steps, loss)) in enumerate(losses.items()):
            line: dict[str, Any] = {"color": COLOURS[index % len(COLOURS)], "linestyle": LINES[index % len(LINES)]}
            axes.plot(steps, loss, linewidth=1.4, marker=".", label=name, **line)
        axes.set(xlabel="optimiser steps", ylabel="loss")
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.grid(axis="y")
        axes.legend(loc="upper right")


def histograms(path: str | Path, rows: Mapping[str, Mapping[str, np.ndarray | None]], *, title: str) -> None:
    """Draw a row of histograms for each family.

    Args:
        path: SVG file to write.
        rows: by family, by what is counted (with its unit), the (N,) values; None where they cannot be had.
        title: one line; a family that it names is not named again.
    """
    columns = max(map(len, rows.values()))
    with _figure(path, title, (2.6 * columns, 0.5 + 1.9 * len(rows))) as figure:
        grid = figure.subplots(len(rows), columns, squeeze=False)
        for line, (family, panels) in zip(grid, rows.items(), strict=True):
            for axes, (what, values) in zip(line, panels.items(), strict=True):
                axes.set(xlabel=what)
                if values is None:
                    axes.text(0.5, 0.5, "no labels here", ha="center", va="center", transform=axes.transAxes)
                    axes.set(xticks=[], yticks=[])
                    continue
                _check(f"{what} of {family}", values, 1)
                axes.hist(values, bins=min(60, max(5, int(2 * len(values) ** 0.5))), color=COLOURS[0])
                axes.yaxis.set_major_formatter("{x:,.0f}")
            line[0].set(title="" if family in title else family, ylabel="architectures")


@contextmanager
def _figure(path: str | Path, title: str, inches: tuple[float, float]) -> Iterator[Figure]:
    """Yield an empty figure in the common style; write it as SVG when the block ends."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=inches, layout=ConstrainedLayoutEngine(wspace=0.05))
        FigureCanvasSVG(figure)
        lines = textwrap.fill(title, int(CHARACTERS_PER_INCH * inches[0]))
        figure.suptitle(lines, x=0.01, ha="left", fontsize=11, fontweight="bold")
        yield figure
        with whole_file(path) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None, "Title": title})


def _density(axes: Axes, x: np.ndarray, y: np.ndarray, extent: tuple[float, float, float, float]):
    shades = axes.hexbin(x, y, gridsize=45, extent=extent, mincnt=1, cmap=DENSITY, linewidths=0.2, rasterized=True)
    axes.set(xlim=extent[:2], ylim=extent[2:], box_aspect=1)
    return shades


def _upper_limits(values: np.ndarray) -> tuple[float, float]:
    low, high = float(np.quantile(values, LOWEST_SHOWN)), float(values.max())
    margin = 0.03 * (high - low) or 1.0
    return low, high + margin


def _projected(embedding: np.ndarray, method: str, seed: int) -> tuple[np.ndarray, tuple[str, str]]:
    """Project (N, D) to (N, 2); return also what the axes mean."""
    centred = embedding.astype(np.float64)
    if method == "tsne":
        perplexity = min(30.0, (len(centred) - 1) / 3)
        tsne = TSNE(perplexity=perplexity, init="pca", random_state=np.random.RandomState(seed))
        return tsne.fit_transform(centred), ("t-SNE 1", "t-SNE 2")
    pca = PCA(n_components=2, svd_solver="full").fit(centred)
    shares = pca.explained_variance_ratio_ * 100
    return pca.transform(centred), (f"PCA 1 ({shares[0]:.0f} % of variance)", f"PCA 2 ({shares[1]:.0f} %)")


def _check(what: str, values: np.ndarray, dimensions: int) -> None:
    if values.ndim != dimensions or not values.size or not np.isfinite(values).all():
        raise TableError(
            f"the {what} of a figure",
            where="a figure",
            expected=f"finite numbers in {dimensions} dimension(s), at least one",
            got=f"shape {values.shape}, {np.count_nonzero(~np.isfinite(values))} of them not finite",
            remedy="Look at the job that made them.",
        )
