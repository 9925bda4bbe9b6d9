"""How the settings of an evolution have to fit together, asked of the configuration and again by each search."""

from archgauge.errors import ArchgaugeError


def check_settings(
    error: type[ArchgaugeError],
    where: str,
    queries: int,
    *,
    drawn: int,
    labelled: int,
    initial: int,
    parents: int,
    children: int,
    batch: int,
) -> None:
    """Check the keywords of `archgauge.search.evolution.search`, but for `refit`.

    Args:
        error: what is raised.
        where: the settings' place, for the message.
        queries: the budget.

    Raises:
        error: when they do not fit together.
    """
    served = 0 <= labelled <= drawn and 1 <= initial <= drawn <= min(labelled + initial, queries)
    if not (served and parents >= 1 and 1 <= batch <= children):
        raise error(
            "the settings of an evolution",
            where=where,
            expected="0 <= labelled <= drawn, 1 <= initial <= drawn <= labelled + initial, "
            f"drawn <= {queries} queries, 1 <= parents and 1 <= batch <= children",
            got=f"drawn={drawn}, labelled={labelled}, initial={initial}, parents={parents}, batch={batch}, "
            f"children={children}",
            remedy="Correct the search's settings in config.yaml.",
        )
