"""Two views of a graph, two Gaussian processes: its path statistics and its embedding."""

from typing import ClassVar

from archgauge.predictors._view_gps import ViewGps


class Predictor(ViewGps):
    """On `Population.structure` and on `Population.embedding`."""

    needs: ClassVar[frozenset[str]] = frozenset({"structure", "embedding"})
    predicts_percent: ClassVar[bool] = True
