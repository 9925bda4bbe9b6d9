"""A ranking of models: records, and what they look like as text, JSON and HTML."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from archgauge.ranking.page import page, table
from archgauge.ranking.text import text


@dataclass(frozen=True)
class Known:
    """A known network beside a ranked one.

    Attributes:
        arch_id: its name.
        family: the family of models that it belongs to.
        accuracy_pct: the label, as measured.
        distance: among the predictor's features; unrelated networks are some sqrt(2) apart.
    """

    arch_id: str
    family: str
    accuracy_pct: float
    distance: float


@dataclass(frozen=True)
class Ranked:
    """One model.

    Attributes:
        name: the reader's own.
        rank: by predicted accuracy among the models that are like the known networks; 1 is the best, and equal ones
            share the best of their ranks. None where the model is unlike them.
        rank_best, rank_worst: what the intervals allow; None where there is no rank.
        accuracy_pct: predicted.
        low_pct, high_pct: the ends of its interval, which no measurement backs where the model has no rank.
        macs, params: multiply-adds of one sample, trainable parameters of the forward path.
        nearest: the nearest known networks, one of each architecture, the nearest first.
        same_as: known networks with the same live graph.
        unlike: why the model is unlike the known networks, one sentence each; empty where it is not.
    """

    name: str
    rank: int | None
    rank_best: int | None
    rank_worst: int | None
    accuracy_pct: float
    low_pct: float
    high_pct: float
    macs: int
    params: int
    nearest: tuple[Known, ...]
    same_as: tuple[Known, ...]
    unlike: tuple[str, ...]


@dataclass(frozen=True)
class Ranking:
    """A ranking of models; it prints as a table.

    Attributes:
        ranked: those like the known networks, the best first; then the others, the best predicted first.
        failed: why a model has no rank, by its name.
        label: what is predicted, by the name of the label that was learnt.
        level: of the intervals, in (0, 1).
        known: number of networks that the predictor was fitted on.
    """

    ranked: tuple[Ranked, ...]
    failed: Mapping[str, str]
    label: str
    level: float
    known: int

    def __str__(self) -> str:
        return text(self)

    def _repr_html_(self) -> str:
        return table(self)

    def document(self) -> dict[str, Any]:
        """As JSON: label, level, known, ranked (the attributes of `Ranked`) and failed."""
        ranked = [asdict(row) | {"out_of_distribution": bool(row.unlike)} for row in self.ranked]
        failed = dict(self.failed)
        return {"label": self.label, "level": self.level, "known": self.known, "ranked": ranked, "failed": failed}

    def html(self) -> str:
        """One page that needs nothing else."""
        return page(self)
