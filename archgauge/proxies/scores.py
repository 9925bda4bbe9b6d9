"""Scores of architectures out of a PROXIES table."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from archgauge.errors import TableError


def scores_of(table: pa.Table, arch_ids: Sequence[str] | np.ndarray, batch: int | None = None) -> dict[str, np.ndarray]:
    """The scores of some architectures in a PROXIES table.

    Args:
        batch: of which batch size; None where the table does not tell them apart.

    Raises:
        TableError: when the table has several scores of an architecture and a proxy.
    """
    if batch is not None:
        table = table.filter(pc.equal(table["batch"], batch))
    place = pc.index_in(table["arch_id"], value_set=pa.array(arch_ids, pa.string()))
    table = table.append_column("place", place).filter(pc.is_valid(place))
    found = {}
    for proxy in table["proxy"].unique().to_pylist():
        mine = table.filter(pc.equal(table["proxy"], proxy))
        rows = mine["place"].to_numpy()
        if len(np.unique(rows)) < len(rows):
            raise TableError(
                "the scores of a proxy",
                where=f"PROXIES ({proxy})",
                expected="one for each architecture",
                got=f"{len(rows)} of {len(np.unique(rows))} architectures",
                remedy="Name one batch size.",
            )
        found[proxy] = np.full(len(arch_ids), np.nan)
        found[proxy][rows] = mine["value"].to_numpy()
    return found


def ranked_last(scores: np.ndarray) -> np.ndarray:
    """(N,) scores with every NaN replaced by one value below all others."""
    least = np.nanmin(scores, initial=np.inf)
    return (
        np.where(np.isnan(scores), np.nextafter(least, -np.inf), scores)
        if np.isfinite(least)
        else np.zeros_like(scores)
    )
