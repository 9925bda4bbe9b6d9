"""Which columns a shared correction may name, asked of the configuration and again by the predictor."""

from collections.abc import Sequence

from archgauge.errors import ArchgaugeError
from archgauge.graphs.composition import COMPOSITION_AND_DEPTHS


def check_columns(
    error: type[ArchgaugeError], where: str, *, costs: Sequence[str] = (), without: Sequence[str] = ()
) -> None:
    """Check keywords of `archgauge.predictors.shared_gp.Predictor`.

    Args:
        error: what is raised.
        where: the settings' place, for the message.

    Raises:
        error: when a cost is no column, or a prefix begins none.
    """
    unknown = [name for name in costs if name not in COMPOSITION_AND_DEPTHS]
    unknown += [prefix for prefix in without if not any(name.startswith(prefix) for name in COMPOSITION_AND_DEPTHS)]
    if unknown:
        raise error(
            "the columns that a predictor names",
            where=where,
            expected=f"names of COMPOSITION_AND_DEPTHS, or their beginnings: {', '.join(COMPOSITION_AND_DEPTHS)}",
            got=unknown[0],
            remedy="Correct the name in config.yaml.",
        )
