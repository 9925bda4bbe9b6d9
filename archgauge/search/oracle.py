"""What a strategy may ask: the accuracy of one architecture at a time, until its budget is spent."""

import numpy as np

from archgauge.errors import ArchgaugeError


class SearchError(ArchgaugeError):
    """A budget does not fit the space, or a strategy does not keep to its budget."""


class Oracle:
    """Answers queries about N architectures, and remembers them.

    A strategy sees accuracies through `query` alone. Each distinct architecture counts once against the budget; asking
    for it again is free.

    Args:
        accuracy_pct: (N,) the label that a query returns, in percent.
        budget: how many distinct architectures may be asked for.

    Raises:
        SearchError: when there are fewer architectures than queries.
    """

    def __init__(self, accuracy_pct: np.ndarray, budget: int):
        if not 0 < budget <= len(accuracy_pct):
            raise SearchError(
                "the budget of a search",
                where="queries",
                expected=f"1 to {len(accuracy_pct)}, as many as the space has architectures",
                got=budget,
                remedy="Ask for fewer queries, or search a larger space.",
            )
        self._accuracy_pct = accuracy_pct
        self._budget = budget
        self._answers: dict[int, float] = {}

    @property
    def left(self) -> int:
        """How many architectures may still be asked for."""
        return self._budget - len(self._answers)

    def query(self, row: int) -> float:
        """Return the accuracy in percent of the architecture in a row of the space.

        Raises:
            SearchError: when the budget is spent.
        """
        row = int(row)
        if row not in self._answers:
            if not self.left:
                raise SearchError(
                    "the queries of a search",
                    where=f"row {row}",
                    expected=f"no more than {self._budget}",
                    got="one more",
                    remedy="Lower the settings that say how many labels a strategy starts with, or raise the budget.",
                )
            self._answers[row] = float(self._accuracy_pct[row])
        return self._answers[row]

    def known(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows asked for, in that order, and their accuracies in percent: (Q,) int64, (Q,) float64."""
        return np.array(list(self._answers), dtype=np.int64), np.array(list(self._answers.values()), dtype=np.float64)
