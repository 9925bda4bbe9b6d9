"""A Gaussian process on the path statistics of live graphs."""

from typing import ClassVar

from archgauge.predictors._view_gps import ViewGps


class Predictor(ViewGps):
    """On `Population.structure`."""

    needs: ClassVar[frozenset[str]] = frozenset({"structure"})
    predicts_percent: ClassVar[bool] = True
