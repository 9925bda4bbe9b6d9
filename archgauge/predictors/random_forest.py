"""Baseline: a random forest on hand-made graph features, MACs and parameters."""

from typing import ClassVar, Self

import numpy as np
from sklearn.ensemble import RandomForestRegressor

from archgauge.predictors._cell_features import graph_columns, operations_of
from archgauge.predictors._label_ranks import LabelRanks
from archgauge.predictors.population import Population, column, training_labels


class Predictor:
    """Random forest regression of label ranks.

    Args:
        trees: number of trees.
        column_share: columns tried at a split; a third is Breiman's choice for regression.
        threads: threads that grow trees; the forest does not depend on it.
        seed: of the bootstrap and the columns.

    Attributes:
        model_: the fitted forest.
        operations_: the operations of the training cells.
        ranks_: the map from ranks back to percent.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"cells", "macs", "params"})
    predicts_percent: ClassVar[bool] = True

    def __init__(self, *, trees: int = 300, column_share: float = 1 / 3, threads: int = 1, seed: int):
        self.trees, self.column_share, self.threads, self.seed = trees, column_share, threads, seed

    def fit(self, population: Population, accuracy_pct: np.ndarray) -> Self:
        """Fit on n labelled cells, labels (n,) in percent.

        Raises:
            PredictorError: without cells, with fewer than 2 labels, or with one that is not finite.
        """
        cells = column(population, "cells", "random_forest")
        labels = training_labels(population, accuracy_pct, "random_forest", at_least=2)
        self.ranks_ = LabelRanks.fit(labels)
        self.operations_ = operations_of(cells)
        self.model_ = RandomForestRegressor(
            self.trees, max_features=self.column_share, n_jobs=self.threads, random_state=self.seed
        )
        self.model_.fit(
            graph_columns(cells, population.macs, population.params, self.operations_), self.ranks_.to_rank(labels)
        )
        return self

    def predict(self, population: Population) -> np.ndarray:
        """Predict percent accuracy: (N,) float64."""
        cells = column(population, "cells", "random_forest")
        return self.ranks_.to_accuracy(
            self.model_.predict(graph_columns(cells, population.macs, population.params, self.operations_))
        )
