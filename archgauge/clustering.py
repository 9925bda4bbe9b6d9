"""Fuzzy c-means over graph embeddings (GENNAPE, AAAI 2023, section 3.2), with two engines that agree.

Shape letters: N graphs, D embedding, F features after the projection, C clusters. This is the only module that
imports scikit-fuzzy.

A collapse is likely at the fuzzifiers the paper uses: with `lambda` the largest eigenvalue of mean(z z^T),
z = (x - mean) / |x - mean|, centroids that sit together at the mean drift apart only if m < 1 / (1 - 2 lambda).
(A small shift delta of a centroid returns as 2m / (m - 1) mean(z z^T) delta after one update; it grows when that
factor is above 1.) Every fit therefore carries a `Diagnosis`, and a fit with fewer distinct centroids than clusters
warns.
"""

import math
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from archgauge.errors import ConfigError, FormatError, PredictorError
from archgauge.files import whole_file

NEAR = 1e-3
"""Squared distances below this share of |x|^2 + |v|^2 are taken again from differences: the expanded square has lost
three digits there, and Eq. 2 at m = 4 turns an error e at a centroid into e^(1/3)."""

SAME_CENTROID = 1e-3
"""Centroids closer than this share of the data's root mean square radius count as one."""


class CollapsedClustersWarning(UserWarning):
    """Centroids fell together: the memberships say less than the number of clusters promises."""


@dataclass(frozen=True)
class Projection:
    """[embedding || standardised MACs] to principal components, as fitted on the training graphs.

    Attributes:
        macs_mean, macs_std: of the training graphs' MACs.
        mean: (D + 1,) mean of the joined vector.
        components: (F, D + 1) orthonormal rows, by falling variance.
    """

    macs_mean: float
    macs_std: float
    mean: np.ndarray
    components: np.ndarray

    def __call__(self, embedding: np.ndarray, macs: np.ndarray) -> np.ndarray:
        """Project embeddings (N, D) and MACs (N,) to (N, F) float64."""
        return (_joined(embedding, macs, self.macs_mean, self.macs_std) - self.mean) @ self.components.T


@dataclass(frozen=True)
class Diagnosis:
    """How far a fit is from the collapse in which every membership is 1 / C.

    Attributes:
        largest_eigenvalue: lambda of the module docstring, in [1/F, 1].
        fuzzifier_bound: 1 / (1 - 2 lambda), infinite for lambda >= 1/2: above it all centroids become the mean.
        distinct_centroids: how many of the C centroids are further apart than `SAME_CENTROID`.
        membership_entropy: mean over graphs, in units of log C: 0 is a hard assignment, 1 is 1 / C everywhere.
    """

    largest_eigenvalue: float
    fuzzifier_bound: float
    distinct_centroids: int
    membership_entropy: float

    @property
    def bound(self) -> str:
        """The bound in words. Below it all centroids cannot become one, but some may coincide."""
        if math.isinf(self.fuzzifier_bound):
            return "no m makes all of them one"
        return f"all become one above m = {self.fuzzifier_bound:.2f}"


@dataclass(frozen=True)
class FuzzyClusters:
    """A fitted clustering: all that the membership of a new graph needs.

    Attributes:
        centroids: (C, F) float64.
        fuzzifier: m of Eqs. 2 and 3.
        iterations: updates done.
        converged: whether the last update moved no membership by more than the tolerance (Eq. 4).
    """

    centroids: np.ndarray
    fuzzifier: float
    iterations: int
    converged: bool
    projection: Projection
    diagnosis: Diagnosis

    def memberships(self, embedding: np.ndarray, macs: np.ndarray) -> np.ndarray:
        """Give the membership of each graph in each cluster from the fixed centroids (Eq. 2).

        A graph on a centroid belongs to it alone; on several coinciding ones, to each in equal shares.

        Args:
            embedding: (N, D) finite.
            macs: (N,) finite, one multiply-add counts once.

        Returns:
            (N, C) float64, rows sum to 1.

        Raises:
            PredictorError: when a value is not finite.
        """
        _check_data(embedding, macs)
        return _memberships_at(self.projection(embedding, macs), self.centroids, self.fuzzifier).T


def fit_clusters(
    embedding: np.ndarray,
    macs: np.ndarray,
    *,
    n_clusters: int,
    fuzzifier: float,
    pca_dims: int,
    tolerance: float,
    max_iterations: int,
    engine: str,
    rng: np.random.Generator,
) -> FuzzyClusters:
    """Project the training graphs and cluster them.

    Args:
        embedding: (N, D) of the training family.
        macs: (N,) of the same graphs.
        n_clusters: C; GENNAPE picks 16 for regressors, 11 for pairwise classifiers.
        fuzzifier: m > 1; GENNAPE picks 4.0 and 3.5.
        pca_dims: F; 32 in GENNAPE.
        tolerance: largest change of a membership at which the iteration stops (Eq. 4); 1e-9 in GENNAPE.
        max_iterations: 10,000 in GENNAPE.
        engine: "torch" or "scikit-fuzzy"; same numbers, the first is several times faster.
        rng: draws the first centroids (k-means++); the paper does not say how it starts.

    Raises:
        ConfigError: when a setting is out of range or does not fit the size of the data.
        PredictorError: when a value of the data is not finite.

    Warns:
        CollapsedClustersWarning: when centroids coincide.
    """
    _check_data(embedding, macs)
    _check_settings(embedding.shape, n_clusters, fuzzifier, pca_dims, tolerance, max_iterations, engine)
    projection = fit_projection(embedding, macs, pca_dims)
    data = projection(embedding, macs)
    start = initial_memberships(data, n_clusters, fuzzifier, rng)
    updates = ENGINES[engine](data, start, fuzzifier)
    centroids, membership, iterations, converged = _iterate(updates, start, tolerance, max_iterations)
    found = diagnose(data, centroids, membership)
    clusters = FuzzyClusters(centroids, float(fuzzifier), iterations, converged, projection, found)
    _warn_if_collapsed(clusters, data)
    return clusters


def fit_projection(embedding: np.ndarray, macs: np.ndarray, pca_dims: int) -> Projection:
    """Fit the standardisation of MACs and the principal components on (N, D) and (N,)."""
    macs_mean, macs_std = float(np.mean(macs)), float(np.std(macs)) or 1.0
    joined = _joined(embedding, macs, macs_mean, macs_std)
    mean = joined.mean(axis=0)
    _, vectors = np.linalg.eigh((joined - mean).T @ (joined - mean))
    components = vectors[:, ::-1][:, :pca_dims].T
    # An eigenvector's sign is arbitrary: the largest entry is made positive, so that runs agree.
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=1, keepdims=True), axis=1)
    return Projection(macs_mean, macs_std, mean, np.ascontiguousarray(components * np.sign(largest)))


def initial_memberships(data: np.ndarray, n_clusters: int, fuzzifier: float, rng: np.random.Generator) -> np.ndarray:
    """Seed centroids with k-means++ and return the memberships (C, N) that they give to `data` (N, F)."""
    chosen = [int(rng.integers(len(data)))]
    nearest = ((data - data[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < n_clusters:
        total = nearest.sum()
        # With fewer distinct points than clusters all distances end at zero, and any point is as good.
        chosen.append(int(rng.choice(len(data), p=nearest / total if total > 0 else None)))
        nearest = np.minimum(nearest, ((data - data[chosen[-1]]) ** 2).sum(axis=1))
    return _memberships_at(data, data[chosen], fuzzifier)


def diagnose(data: np.ndarray, centroids: np.ndarray, membership: np.ndarray) -> Diagnosis:
    """Measure the collapse of centroids (C, F) and memberships (C, N) on `data` (N, F)."""
    largest = spread_eigenvalue(data)
    return Diagnosis(
        largest_eigenvalue=largest,
        fuzzifier_bound=_bound(largest),
        distinct_centroids=_count_distinct(centroids, SAME_CENTROID * _radius(data)),
        membership_entropy=_entropy(membership),
    )


def spread_eigenvalue(data: np.ndarray) -> float:
    """Return the largest eigenvalue of mean(z z^T), z = (x - mean) / |x - mean|, of `data` (N, F).

    Points at the mean pull nowhere and are left out of the sum, but counted in the mean.
    """
    centred = data - data.mean(axis=0)
    length = np.linalg.norm(centred, axis=1)
    directions = centred[length > 0] / length[length > 0, None]
    return float(np.linalg.eigvalsh(directions.T @ directions / len(data))[-1])


def save_clusters(path: str | Path, clusters: FuzzyClusters) -> None:
    """Write a clustering as one NumPy archive, whole or not at all."""
    fields: dict[str, Any] = {"centroids": clusters.centroids, "fuzzifier": clusters.fuzzifier}
    fields |= {"iterations": clusters.iterations, "converged": clusters.converged}
    fields |= asdict(clusters.projection) | asdict(clusters.diagnosis)
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **fields)


def load_clusters(path: str | Path) -> FuzzyClusters:
    """Read a clustering back; no pickle is ever loaded.

    Raises:
        FormatError: when the file is missing, truncated or holds something else.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            values = {name: file[name] if file[name].ndim else file[name].item() for name in file.files}
        projection = Projection(**{name: values.pop(name) for name in Projection.__dataclass_fields__})
        diagnosis = Diagnosis(**{name: values.pop(name) for name in Diagnosis.__dataclass_fields__})
        return FuzzyClusters(projection=projection, diagnosis=diagnosis, **values)
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise FormatError(
            "a file of fuzzy clusters",
            where=path,
            expected="the archive that save_clusters writes",
            got=f"{type(error).__name__}: {error}",
            remedy="Delete the file and run the workflow again: the rule that makes it will run.",
        ) from error


Updates = Iterator[tuple[np.ndarray, np.ndarray]]
"""An endless run of centroids (C, F) (Eq. 3) with the memberships (C, N) that follow from them (Eq. 2)."""


def _torch_updates(data: np.ndarray, membership: np.ndarray, fuzzifier: float) -> Updates:
    points = torch.from_numpy(data)
    lengths = (points * points).sum(dim=1)
    weights = torch.from_numpy(membership) ** fuzzifier
    while True:
        centroids = (weights @ points) / weights.sum(dim=1, keepdim=True)
        updated, weights = _memberships(_squared_distances(points, centroids, lengths), fuzzifier)
        yield centroids.numpy(), updated.numpy()


def _scikit_fuzzy_updates(data: np.ndarray, membership: np.ndarray, fuzzifier: float) -> Updates:
    # Imported here, so that the default engine does not pay for it.
    from skfuzzy.cluster import cmeans

    columns = np.ascontiguousarray(data.T)
    while True:
        # One iteration a call: the library stops on the Frobenius norm, Eq. 4 is the largest change.
        centroids, membership, *_ = cmeans(columns, len(membership), fuzzifier, 0.0, 1, init=membership)
        yield centroids, membership


ENGINES: dict[str, Callable[[np.ndarray, np.ndarray, float], Updates]] = {
    "torch": _torch_updates,
    "scikit-fuzzy": _scikit_fuzzy_updates,
}
"""Each takes data (N, F), first memberships (C, N) and m."""


def _iterate(
    updates: Updates, membership: np.ndarray, tolerance: float, max_iterations: int
) -> tuple[np.ndarray, np.ndarray, int, bool]:
    """Take updates until Eq. 4 holds; both engines stop by this rule.

    Returns:
        Centroids (C, F), memberships (C, N), the number of updates, and whether Eq. 4 holds.
    """
    change, iterations = math.inf, 0
    while change > tolerance and iterations < max_iterations:
        centroids, updated = next(updates)
        change = float((torch.from_numpy(updated) - torch.from_numpy(membership)).abs_().max())
        membership, iterations = updated, iterations + 1
    return centroids, membership, iterations, change <= tolerance


def _squared_distances(data: Tensor, centroids: Tensor, lengths: Tensor) -> Tensor:
    """Squared Euclidean distances (C, N) between `data` (N, F), of squared `lengths` (N,), and `centroids` (C, F).

    The expanded square is three times as fast as differences. See `NEAR` for what it costs and how that is mended.
    """
    size = lengths[None, :] + (centroids * centroids).sum(dim=1)[:, None]
    squared = torch.addmm(size, centroids, data.T, alpha=-2)
    cluster, graph = torch.nonzero(squared < NEAR * size, as_tuple=True)
    difference = data.index_select(0, graph) - centroids.index_select(0, cluster)
    return squared.index_put_((cluster, graph), (difference * difference).sum(dim=1))


def _memberships(squared: Tensor, fuzzifier: float) -> tuple[Tensor, Tensor]:
    """Eq. 2 from squared distances (C, N): memberships U (C, N) and U^m.

    Ratios to the nearest centroid never overflow, and the smallest positive number in place of zero gives the limit
    of Eq. 2. With r the ratio, U ~ r^(1/(m-1)) and U^m ~ r^(m/(m-1)) = r^(1/(m-1)) r, which spares a power.
    """
    squared = squared.clamp_(min=torch.finfo(squared.dtype).tiny)
    ratio = squared.amin(dim=0) / squared
    share = ratio ** (1 / (fuzzifier - 1))
    total = share.sum(dim=0)
    return share / total, ratio.mul_(share).div_(total**fuzzifier)


def _memberships_at(data: np.ndarray, centroids: np.ndarray, fuzzifier: float) -> np.ndarray:
    """Eq. 2 for `data` (N, F) and fixed `centroids` (C, F): (C, N)."""
    points = torch.from_numpy(data)
    squared = _squared_distances(points, torch.from_numpy(centroids), (points * points).sum(dim=1))
    return _memberships(squared, fuzzifier)[0].numpy()


def _joined(embedding: np.ndarray, macs: np.ndarray, macs_mean: float, macs_std: float) -> np.ndarray:
    standardised = (np.asarray(macs, dtype=np.float64) - macs_mean) / macs_std
    return np.column_stack([np.asarray(embedding, dtype=np.float64), standardised])


def _bound(largest_eigenvalue: float) -> float:
    return math.inf if largest_eigenvalue >= 0.5 else 1 / (1 - 2 * largest_eigenvalue)


def _radius(data: np.ndarray) -> float:
    return float(np.sqrt(((data - data.mean(axis=0)) ** 2).sum(axis=1).mean()))


def _count_distinct(centroids: np.ndarray, closest: float) -> int:
    kept: list[np.ndarray] = []
    for centroid in centroids:
        if all(np.linalg.norm(centroid - other) > closest for other in kept):
            kept.append(centroid)
    return len(kept)


def _entropy(membership: np.ndarray) -> float:
    if len(membership) == 1:
        return 0.0
    logs = np.log(np.where(membership > 0, membership, 1.0))
    return float(-(membership * logs).sum(axis=0).mean() / np.log(len(membership)))


def _warn_if_collapsed(clusters: FuzzyClusters, data: np.ndarray) -> None:
    found, wanted = clusters.diagnosis, len(clusters.centroids)
    if found.distinct_centroids == wanted:
        return
    if clusters.fuzzifier >= found.fuzzifier_bound:
        remedy = (
            f"Take a fuzzifier below {found.fuzzifier_bound:.3g} or at most {_dims_for(data, clusters.fuzzifier)} "
            "principal components."
        )
    else:
        remedy = f"Take a smaller fuzzifier or at most {found.distinct_centroids} clusters."
    warnings.warn(
        f"Fuzzy c-means left {found.distinct_centroids} distinct centroids of {wanted}: with fuzzifier "
        f"{clusters.fuzzifier:g} ({found.bound}) the membership entropy is {found.membership_entropy:.3f} of 1. "
        f"{remedy}",
        CollapsedClustersWarning,
        stacklevel=3,
    )


def _dims_for(data: np.ndarray, fuzzifier: float) -> int:
    """Return the most leading components for which `fuzzifier` is below the bound; two always do (lambda >= 1/2)."""
    dims = range(data.shape[1], 2, -1)
    return next((d for d in dims if fuzzifier < _bound(spread_eigenvalue(data[:, :d]))), min(2, data.shape[1]))


def _check_data(embedding: np.ndarray, macs: np.ndarray) -> None:
    for name, values in (("embedding", embedding), ("macs", macs)):
        wrong = np.argwhere(~np.isfinite(values))
        if len(wrong):
            raise PredictorError(
                "the data to cluster",
                where=f"{name}, row {wrong[0][0]}",
                expected="finite numbers",
                got=f"{len(wrong)} that are not",
                remedy="Look at the encoder that made the embeddings: its training probably diverged.",
            )


def _check_settings(shape, n_clusters, fuzzifier, pca_dims, tolerance, max_iterations, engine) -> None:
    graphs, most_dims = shape[0], min(shape[0], shape[1] + 1)
    for key, value, fits, expected in (
        ("n_clusters", n_clusters, 1 <= n_clusters <= graphs, f"1 to the number of graphs, {graphs}"),
        ("fuzzifier", fuzzifier, 1 < fuzzifier < math.inf, "a number above 1"),
        ("pca_dims", pca_dims, 1 <= pca_dims <= most_dims, f"1 to {most_dims}"),
        ("tolerance", tolerance, tolerance >= 0, "a number of at least 0"),
        ("max_iterations", max_iterations, max_iterations >= 1, "at least 1"),
        ("engine", engine, engine in ENGINES, " or ".join(ENGINES)),
    ):
        if not fits:
            raise ConfigError(
                "a setting of fuzzy c-means",
                where=key,
                expected=expected,
                got=value,
                remedy="Change it in config.yaml.",
            )
