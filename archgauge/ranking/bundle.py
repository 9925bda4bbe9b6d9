"""What ranks anyone's models: a predictor, the networks that it was fitted on, and its model card, in one file.

from archgauge.ranking.bundle import Bundle
bundle = Bundle.load("results/bundle/archgauge.bundle")
print(bundle.rank({"mine": model}, torch.zeros(1, 3, 224, 224)))
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from archgauge.errors import ArchgaugeError, BundleError
from archgauge.graphs.graph import Graphs
from archgauge.ranking.bundle_file import broken, read_bundle_file, write_bundle_file
from archgauge.ranking.card import card_text
from archgauge.ranking.conformal import rank_intervals
from archgauge.ranking.description import FACTS, NAMES, Description, describe
from archgauge.ranking.familiarity import Limits, reasons
from archgauge.ranking.gauge import Gauge
from archgauge.ranking.results import Known, Ranked, Ranking

if TYPE_CHECKING:  # whoever brings graphs need not wait for torch
    from torch import Tensor, nn

NEAREST = 3


@dataclass(frozen=True, eq=False)
class Networks:
    """The n networks that a bundle knows.

    Attributes:
        arch_id: (n,) names.
        group: (n,) networks of one group are one architecture with several labels.
        family: (n,) the family of models that each belongs to.
        live_hash: (n,) canonical hash of the live graph.
        accuracy_pct: (n,) the label, as measured.
        features: (n, F), columns `archgauge.ranking.description.NAMES`.
    """

    arch_id: np.ndarray
    group: np.ndarray
    family: np.ndarray
    live_hash: np.ndarray
    accuracy_pct: np.ndarray
    features: np.ndarray

    def __len__(self) -> int:
        return len(self.arch_id)


_TEXTS = ("arch_id", "group", "family", "live_hash")


@dataclass(frozen=True, eq=False)
class Bundle:
    """A predictor with everything that it needs.

    Attributes:
        networks: what it was fitted on.
        gauge: the fitted predictor.
        limits: up to where networks count as like the known ones.
        card: the model card: `label`, `level` and what `archgauge.ranking.fitting` measured.
    """

    networks: Networks
    gauge: Gauge
    limits: Limits
    card: Mapping[str, Any]

    def save(self, path: str | Path) -> None:
        """Write the bundle; equal bundles are equal files."""
        documents = {
            "card": self.card,
            "limits": self.limits.document(),
            "networks": {name: getattr(self.networks, name).tolist() for name in _TEXTS},
            "features": list(NAMES),
        }
        arrays = {"features": self.networks.features, "accuracy_pct": self.networks.accuracy_pct}
        write_bundle_file(path, documents, arrays | self.gauge.state())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a bundle. Nothing of it is run: it holds text and numbers alone.

        Raises:
            BundleError: when the file is missing, damaged, cut off, of another version, or no bundle at all.
        """
        path = Path(path)
        documents, arrays = read_bundle_file(path)
        try:
            if documents["features"] != list(NAMES):
                raise BundleError(
                    "the features of a predictor bundle",
                    where=path,
                    expected=f"the {len(NAMES)} of this version",
                    got=f"{len(documents['features'])}, some of other names",
                    remedy="Use the version of Archgauge that made it, or make it again with this one.",
                )
            texts = {name: np.array([str(text) for text in documents["networks"][name]]) for name in _TEXTS}
            networks = Networks(**texts, accuracy_pct=arrays["accuracy_pct"], features=arrays["features"])
            card, limits = documents["card"], Limits.of_document(documents["limits"])
            _check(networks, arrays, card)
            card_text(card)  # so that a card that cannot be printed is no whole bundle
            bundle = cls(networks, Gauge.restored(arrays, networks.features), limits, card)
            with np.errstate(over="raise", invalid="raise"):
                if not np.isfinite(bundle.gauge.predict(networks.features[:1], card["level"])).all():
                    raise ValueError("a predictor that gives no numbers")
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, np.linalg.LinAlgError) as error:
            raise broken(path, error) from error
        return bundle

    def rank(self, models: "Mapping[str, nn.Module | Graphs]", *inputs: "Tensor") -> Ranking:
        """Rank models by their predicted accuracy, the best first; those unlike the known networks stand apart.

        Args:
            models: by names of your own; a computation graph may stand for a model.
            inputs: what every model is called with, batch axis first. Their values do not matter.

        Returns:
            The ranking, which prints as a table. A model that cannot be traced is in its `failed`.
        """
        graphs: dict[str, Graphs] = {}
        failed: dict[str, str] = {}
        for name, model in models.items():
            try:
                graphs[name] = model if isinstance(model, Graphs) else _traced(model, *inputs)
            except ArchgaugeError as error:
                failed[name] = str(error)
        return self.rank_graphs(graphs, failed)

    def rank_graphs(self, graphs: Mapping[str, Graphs], failed: Mapping[str, str] | None = None) -> Ranking:
        """Rank computation graphs by name; `failed` says of other models why they have none."""
        described = {name: describe(graph) for name, graph in graphs.items()}
        rows = self._ranked(described) if described else ()
        return Ranking(rows, dict(failed or {}), self.card["label"], self.card["level"], len(self.networks))

    def _ranked(self, described: Mapping[str, Description]) -> tuple[Ranked, ...]:
        # One at a time: what a network gets must not depend on its company, not even in the last bit.
        predicted = [self.gauge.predict(one.features, self.card["level"]) for one in described.values()]
        accuracy, low, high = np.concatenate([np.array(one) for one in predicted], axis=1)
        distances = [self.distances(one) for one in described.values()]
        unlike = [
            self.unlike(one, float(distance.min())) for one, distance in zip(described.values(), distances, strict=True)
        ]
        # A guess about a network of an unknown kind must not push measured ones down: it has no rank among them.
        like = np.flatnonzero([not reasons for reasons in unlike])
        ranks = dict(zip(like.tolist(), _ranks(accuracy[like], low[like], high[like]), strict=True))
        rows = []
        for at, (name, one) in enumerate(described.items()):
            rank, best, worst = ranks.get(at, (None, None, None))
            rows.append(
                Ranked(
                    name=name,
                    rank=rank,
                    rank_best=best,
                    rank_worst=worst,
                    accuracy_pct=float(accuracy[at]),
                    low_pct=float(low[at]),
                    high_pct=float(high[at]),
                    macs=int(one.fact("macs")[0]),
                    params=int(one.fact("params")[0]),
                    nearest=self._nearest(distances[at]),
                    same_as=tuple(
                        self._known(row) for row in np.flatnonzero(self.networks.live_hash == one.live_hash[0])
                    ),
                    unlike=unlike[at],
                )
            )
        return tuple(sorted(rows, key=lambda row: (bool(row.unlike), -row.accuracy_pct, row.name)))

    def unlike(self, described: Description, distance: float) -> tuple[str, ...]:
        """Why one network, at a distance from its nearest known one, is unlike the known ones."""
        facts = dict(zip(FACTS, described.facts[0].tolist(), strict=True))
        return tuple(reasons(facts, self.gauge.unseen(described.features), distance, self.limits))

    def unlike_each(self, described: Description) -> Iterator[tuple[str, ...]]:
        """Why each of N networks is unlike the known ones."""
        for row in range(len(described.facts)):
            one = described.rows(np.array([row]))
            yield self.unlike(one, float(self.distances(one).min()))

    def distances(self, described: Description) -> np.ndarray:
        """(n,) from one network to the known ones, among the features that the predictor reads."""
        here, there = self.gauge.place(described.features), self.gauge.place(self.networks.features)
        return np.sqrt(((there - here) ** 2).sum(axis=1))

    def _nearest(self, distance: np.ndarray) -> tuple[Known, ...]:
        """The nearest known networks, one of each group."""
        order = np.argsort(distance, kind="stable")
        first = np.sort(np.unique(self.networks.group[order], return_index=True)[1])[:NEAREST]
        return tuple(self._known(row, float(distance[row])) for row in order[first])

    def _known(self, row: int | np.integer, distance: float = 0.0) -> Known:
        accuracy = float(self.networks.accuracy_pct[row])
        return Known(str(self.networks.arch_id[row]), str(self.networks.family[row]), accuracy, distance)


def _ranks(accuracy: np.ndarray, low: np.ndarray, high: np.ndarray) -> list[tuple[int, int, int]]:
    """Rank, and the best and the worst that the intervals allow, of each of (M,) predictions."""
    rank = 1 + (accuracy[None, :] > accuracy[:, None]).sum(axis=1)
    best, worst = rank_intervals(low, high)
    return list(zip(rank.tolist(), best.tolist(), worst.tolist(), strict=True))


def _traced(model: "nn.Module", *inputs: "Tensor") -> Graphs:
    from archgauge.graphs.trace import trace

    return trace(model, *inputs)


def _check(networks: Networks, arrays: Mapping[str, np.ndarray], card: Any) -> None:
    """Refuse sizes that do not fit one another, which numpy might repeat or cut to fit."""
    n, (n_features,) = len(networks), networks.features.shape[1:]
    fold, columns = arrays["fold"], arrays["columns"]
    twins = [name for name in arrays if name.startswith("twin") and name.endswith(".weights")]
    sizes = {len(getattr(networks, name)) for name in (*_TEXTS, "accuracy_pct", "features")} | {len(fold)}
    fitting = (
        sizes == {n} and arrays["score"].shape == (n,) and n_features == len(NAMES)
        and columns.ndim == fold.ndim == 1 and columns.min() >= 0 and columns.max() < n_features
        and set(fold.tolist()) == set(range(len(twins)))
        and isinstance(card["label"], str) and 0 < card["level"] < 1
    )  # fmt: skip
    for k, name in enumerate(["model", *(f"twin{k}" for k in range(len(twins)))]):
        rows = n if name == "model" else int((fold != k - 1).sum())
        shapes = {"standard": (3, len(columns)), "target": (2,), "logs": (3,), "weights": (rows,)}
        fitting = fitting and all(arrays[f"{name}.{part}"].shape == shape for part, shape in shapes.items())
    if not fitting:
        raise ValueError("arrays whose sizes do not fit one another")
