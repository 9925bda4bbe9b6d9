"""Fuzzy c-means: against scikit-fuzzy, Eqs. 2 and 3 by hand, and the theory of its collapse."""

import re
import warnings

import numpy as np
import pytest

from archgauge import clustering
from archgauge.clustering import CollapsedClustersWarning, FuzzyClusters, fit_clusters, load_clusters, save_clusters
from archgauge.errors import ConfigError, FormatError, PredictorError

SETTINGS = {
    "n_clusters": 4,
    "fuzzifier": 1.8,
    "pca_dims": 3,
    "tolerance": 1e-9,
    "max_iterations": 5_000,
    "engine": "torch",
}


def blobs(rng: np.random.Generator, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Four groups in five dimensions, and MACs that go with the group."""
    group = rng.integers(4, size=n)
    centres = np.array([[4, 0, 0, 0, 0], [-4, 0, 1, 0, 0], [0, 4, 0, 1, 0], [0, -4, 0, 0, 1]])
    return centres[group] + rng.normal(size=(n, 5)), (1 + group + rng.random(n)) * 1e8


def fitted(rng_seed: int = 0, **changes) -> FuzzyClusters:
    embedding, macs = blobs(np.random.default_rng(7))
    return fit_clusters(embedding, macs, rng=np.random.default_rng(rng_seed), **SETTINGS | changes)


def eq2(data: np.ndarray, centroids: np.ndarray, fuzzifier: float) -> np.ndarray:
    """Equation 2 as printed, (C, N)."""
    squared = np.array([[((point - centroid) ** 2).sum() for point in data] for centroid in centroids])
    return np.array([1 / ((row / squared) ** (1 / (fuzzifier - 1))).sum(axis=0) for row in squared])


@pytest.mark.parametrize("fuzzifier", [1.3, 2.0, 2.5])
def test_engines_agree(fuzzifier):
    embedding, macs = blobs(np.random.default_rng(7))
    ours, theirs = (fitted(fuzzifier=fuzzifier, engine=engine) for engine in ("torch", "scikit-fuzzy"))
    assert ours.converged
    assert ours.iterations == theirs.iterations
    np.testing.assert_allclose(ours.centroids, theirs.centroids, rtol=0, atol=1e-9)
    ours_at, theirs_at = ours.memberships(embedding, macs), theirs.memberships(embedding, macs)
    np.testing.assert_allclose(ours_at, theirs_at, rtol=0, atol=1e-9)


def test_result_is_a_fixed_point_of_the_printed_equations():
    embedding, macs = blobs(np.random.default_rng(7))
    clusters = fitted()
    data = clusters.projection(embedding, macs)
    membership = eq2(data, clusters.centroids, clusters.fuzzifier)
    np.testing.assert_allclose(clusters.memberships(embedding, macs).T, membership, rtol=0, atol=1e-11)
    weights = membership**clusters.fuzzifier
    np.testing.assert_allclose(weights @ data / weights.sum(axis=1)[:, None], clusters.centroids, rtol=0, atol=1e-7)


def test_stops_on_the_largest_change_not_the_norm():
    """With 400 x 4 memberships the Frobenius norm is larger: stopping on it would take more updates."""
    embedding, macs = blobs(np.random.default_rng(7))
    clusters = fitted(tolerance=1e-4)
    data = clusters.projection(embedding, macs)
    membership = clustering.initial_memberships(data, 4, 1.8, np.random.default_rng(0))
    iterations, largest = 0, np.inf
    while largest > 1e-4:
        weights = membership**1.8
        updated = eq2(data, weights @ data / weights.sum(axis=1)[:, None], 1.8)
        largest, membership = np.abs(updated - membership).max(), updated
        iterations += 1
    assert clusters.iterations == iterations


def test_finds_the_groups():
    embedding, macs = blobs(np.random.default_rng(7))
    clusters = fitted()
    hard = clusters.memberships(embedding, macs).argmax(axis=1)
    group = (macs // 1e8).astype(int) - 1
    assert all(np.bincount(hard[group == g]).max() > 0.9 * (group == g).sum() for g in range(4))
    assert clusters.diagnosis.distinct_centroids == 4
    assert 0 < clusters.diagnosis.membership_entropy < 0.7


def test_memberships_of_one_graph_alone_are_those_in_company():
    embedding, macs = blobs(np.random.default_rng(9), 50)
    clusters = fitted()
    together = clusters.memberships(embedding, macs)
    assert together.shape == (50, 4)
    np.testing.assert_allclose(together.sum(axis=1), 1, atol=1e-12)
    alone = np.vstack([clusters.memberships(embedding[[i]], macs[[i]]) for i in range(50)])
    np.testing.assert_allclose(alone, together, rtol=0, atol=1e-12)


def test_graph_on_a_centroid_belongs_to_it_alone_or_in_equal_shares():
    centroids = np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 4.0]])
    at = clustering._memberships_at(np.array([[0.0, 0.0], [3.0, 4.0]]), centroids, 4.0)
    np.testing.assert_allclose(at.T, [[1, 0, 0], [0, 0.5, 0.5]], atol=1e-12)


@pytest.mark.parametrize("gap", [1e-4, 1e-7, 1e-10])
def test_distance_keeps_its_digits_next_to_a_centroid(gap):
    """|x|^2 - 2xv + |v|^2 alone would lose them all, and m = 4 would turn that into a visible membership."""
    data, centroids = np.array([[100.0 + gap, 50.0]]), np.array([[100.0, 50.0], [101.0, 50.0]])
    exact = 1 / (1 + (((data[0, 0] - 100) / (101 - data[0, 0])) ** 2) ** (1 / 3))
    assert clustering._memberships_at(data, centroids, 4.0)[0, 0] == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize("fuzzifier", [1.0001, 1.01, 50.0])
def test_extreme_fuzzifiers_stay_finite(fuzzifier):
    data = np.random.default_rng(0).normal(size=(30, 3)) * 1e3
    membership = clustering._memberships_at(data, data[:4], fuzzifier)
    assert np.isfinite(membership).all()
    np.testing.assert_allclose(membership.sum(axis=0), 1, atol=1e-12)


def test_spread_eigenvalue_of_known_clouds():
    rng = np.random.default_rng(0)
    assert clustering.spread_eigenvalue(np.outer(np.arange(9.0), [3, 4])) == pytest.approx(8 / 9)  # one is the mean
    assert clustering.spread_eigenvalue(rng.normal(size=(200_000, 4))) == pytest.approx(1 / 4, abs=0.01)


@pytest.mark.parametrize(("share", "distinct"), [(0.9, 2), (1.1, 1)])
def test_bound_separates_collapse_from_none(share, distinct):
    """Isotropic data has lambda = 1/F, so the bound is F / (F - 2): 1.5 in six dimensions."""
    rng = np.random.default_rng(3)
    data = rng.normal(size=(3_000, 6))
    bound = clustering._bound(clustering.spread_eigenvalue(data))
    assert bound == pytest.approx(1.5, abs=0.1)
    start = rng.random((2, 3_000))
    updates = clustering._torch_updates(data, start / start.sum(axis=0), share * bound)
    centroids, membership, _, _ = clustering._iterate(updates, start, 1e-9, 3_000)
    assert clustering.diagnose(data, centroids, membership).distinct_centroids == distinct


def test_total_collapse_warns_with_the_bound_and_a_remedy_that_works():
    rng = np.random.default_rng(0)
    embedding, macs = rng.normal(size=(2_000, 12)), rng.random(2_000)
    settings = SETTINGS | {"fuzzifier": 4.0, "pca_dims": 13}
    with pytest.warns(CollapsedClustersWarning, match=r"left 1 distinct centroids of 4: .*fuzzifier below") as caught:
        clusters = fit_clusters(embedding, macs, rng=rng, **settings)
    assert clusters.diagnosis.membership_entropy == pytest.approx(1, abs=1e-6)
    dims = int(re.search(r"at most (\d+) principal", str(caught[0].message))[1])
    data = clusters.projection(embedding, macs)
    assert clustering._bound(clustering.spread_eigenvalue(data[:, :dims])) > 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_clusters(embedding, macs, rng=rng, **settings | {"pca_dims": dims, "n_clusters": 2})


def test_partial_collapse_warns_too():
    with pytest.warns(CollapsedClustersWarning, match=r"of 12: .*smaller fuzzifier or at most \d+ cl"):
        fitted(n_clusters=12, fuzzifier=4.0)


def test_projection_standardises_and_rotates_only():
    embedding, macs = blobs(np.random.default_rng(7))
    projection = clustering.fit_projection(embedding, macs, 6)
    joined = np.column_stack([embedding, (macs - macs.mean()) / macs.std()])
    data = projection(embedding, macs)
    np.testing.assert_allclose(np.linalg.norm(data, axis=1), np.linalg.norm(joined - joined.mean(axis=0), axis=1))
    assert (np.diff(data.var(axis=0)) <= 0).all()
    np.testing.assert_allclose(np.cov(data.T), np.diag(data.var(axis=0, ddof=1)), atol=1e-9)


def test_equal_macs_leave_a_column_of_zeros():
    embedding, _ = blobs(np.random.default_rng(7))
    macs = np.full(len(embedding), 5e8)
    data = clustering.fit_projection(embedding, macs, 6)(embedding, macs)
    np.testing.assert_allclose(data[:, -1], 0, atol=1e-9)
    assert np.isfinite(data).all()


def test_more_clusters_than_distinct_points_still_starts():
    data = np.repeat(np.eye(2), 5, axis=0)
    start = clustering.initial_memberships(data, 4, 2.0, np.random.default_rng(0))
    np.testing.assert_allclose(start.sum(axis=0), 1)


def test_same_generator_same_numbers():
    np.testing.assert_array_equal(fitted().centroids, fitted().centroids)
    assert not np.array_equal(fitted().centroids, fitted(rng_seed=1).centroids)


def test_unfinished_iteration_says_so():
    clusters = fitted(max_iterations=3)
    assert (clusters.iterations, clusters.converged) == (3, False)


def test_single_cluster_is_the_mean():
    clusters = fitted(n_clusters=1)
    np.testing.assert_allclose(clusters.centroids, 0, atol=1e-12)
    assert clusters.diagnosis.membership_entropy == 0


def test_saved_clusters_come_back(tmp_path):
    embedding, macs = blobs(np.random.default_rng(9), 50)
    clusters = fitted()
    save_clusters(tmp_path / "clusters.npz", clusters)
    loaded = load_clusters(tmp_path / "clusters.npz")
    assert loaded.diagnosis == clusters.diagnosis
    assert (loaded.fuzzifier, loaded.iterations, loaded.converged) == (1.8, clusters.iterations, True)
    np.testing.assert_array_equal(loaded.memberships(embedding, macs), clusters.memberships(embedding, macs))


@pytest.mark.parametrize("damage", ["missing", "truncated", "foreign", "pickle"])
def test_damaged_file_is_named(tmp_path, damage):
    path = tmp_path / "clusters.npz"
    save_clusters(path, fitted())
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-200])
    elif damage == "foreign":
        np.savez(path, centroids=np.eye(2))
    else:
        np.savez(path, centroids=np.array([{}], dtype=object))
    with pytest.raises(FormatError, match=r"fuzzy clusters at .*clusters\.npz"):
        load_clusters(path)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("n_clusters", 0, "1 to the number of graphs, 400"),
        ("n_clusters", 401, "1 to the number of graphs, 400"),
        ("fuzzifier", 1.0, "above 1"),
        ("fuzzifier", float("nan"), "above 1"),
        ("pca_dims", 7, "1 to 6"),
        ("tolerance", -1e-9, "at least 0"),
        ("max_iterations", 0, "at least 1"),
        ("engine", "skfuzzy", "torch or scikit-fuzzy"),
    ],
)
def test_bad_setting_is_named(key, value, expected):
    with pytest.raises(ConfigError, match=f"fuzzy c-means at {key}: expected .*{expected}"):
        fitted(**{key: value})


@pytest.mark.parametrize("column", ["embedding", "macs"])
def test_data_that_is_not_finite_is_named(column):
    embedding, macs = blobs(np.random.default_rng(7))
    clusters = fitted()
    {"embedding": embedding, "macs": macs}[column][3] = np.nan
    with pytest.raises(PredictorError, match=rf"{column}, row 3"):
        fit_clusters(embedding, macs, rng=np.random.default_rng(0), **SETTINGS)
    with pytest.raises(PredictorError, match=rf"{column}, row 3"):
        clusters.memberships(embedding, macs)
