"""A Gaussian process on the embeddings of an encoder, pretrained or not."""

from typing import ClassVar

from archgauge.predictors._view_gps import ViewGps


class Predictor(ViewGps):
    """On `Population.embedding`."""

    needs: ClassVar[frozenset[str]] = frozenset({"embedding"})
    predicts_percent: ClassVar[bool] = True
