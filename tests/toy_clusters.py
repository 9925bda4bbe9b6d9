"""A fit of fuzzy clusters that tests of tables show."""

from functools import cache

import numpy as np

from archgauge.clustering import FuzzyClusters, fit_clusters


@cache
def toy_fit() -> FuzzyClusters:
    """Three clusters of forty points each, far apart."""
    rng = np.random.default_rng(0)
    data = np.concatenate([rng.normal(size=(40, 3)) + 20 * centre for centre in np.eye(3)])
    settings = {"n_clusters": 3, "fuzzifier": 2.0, "pca_dims": 3, "tolerance": 1e-9, "max_iterations": 500}
    return fit_clusters(data, np.ones(120), **settings, engine="torch", rng=rng)
