"""Baseline: gradient-boosted trees (XGBoost) on hand-made graph features, MACs and parameters."""

from typing import ClassVar, Self

import numpy as np
import xgboost

from archgauge.predictors._cell_features import graph_columns, operations_of
from archgauge.predictors._label_ranks import LabelRanks
from archgauge.predictors.population import Population, column, training_labels


class Predictor:
    """Boosted regression trees on label ranks.

    Args:
        rounds, learning_rate, depth, row_share, column_share: chosen on NB101 labels (single test run, random splits
            of 50 and 156), never on NB201's.
        threads: threads that grow trees.
        seed: of the sampled rows and columns.

    Attributes:
        model_: the fitted trees.
        operations_: the operations of the training cells.
        ranks_: the map from ranks back to percent.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"cells", "macs", "params"})
    predicts_percent: ClassVar[bool] = True

    def __init__(
        self,
        *,
        rounds: int = 300,
        learning_rate: float = 0.05,
        depth: int = 2,
        row_share: float = 0.7,
        column_share: float = 0.3,
        threads: int = 1,
        seed: int,
    ):
        self.rounds, self.learning_rate, self.depth = rounds, learning_rate, depth
        self.row_share, self.column_share = row_share, column_share
        self.threads, self.seed = threads, seed

    def fit(self, population: Population, accuracy_pct: np.ndarray) -> Self:
        """Fit on n labelled cells, labels (n,) in percent.

        Raises:
            PredictorError: without cells, with fewer than 2 labels, or with one that is not finite.
        """
        cells = column(population, "cells", "gradient_boosting")
        labels = training_labels(population, accuracy_pct, "gradient_boosting", at_least=2)
        self.ranks_ = LabelRanks.fit(labels)
        self.operations_ = operations_of(cells)
        self.model_ = xgboost.XGBRegressor(
            n_estimators=self.rounds,
            learning_rate=self.learning_rate,
            max_depth=self.depth,
            subsample=self.row_share,
            colsample_bytree=self.column_share,
            n_jobs=self.threads,
            random_state=self.seed,
        )
        self.model_.fit(
            graph_columns(cells, population.macs, population.params, self.operations_), self.ranks_.to_rank(labels)
        )
        return self

    def predict(self, population: Population) -> np.ndarray:
        """Predict percent accuracy: (N,) float64."""
        cells = column(population, "cells", "gradient_boosting")
        ranks = self.model_.predict(graph_columns(cells, population.macs, population.params, self.operations_)).astype(
            np.float64
        )
        return self.ranks_.to_accuracy(ranks)
