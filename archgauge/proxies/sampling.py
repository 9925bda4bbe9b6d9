"""Which architectures of a family are scored, and the scores that are published of them."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from archgauge.errors import TableError
from archgauge.schemas import PROXIES


def drawn(architectures: pa.Table, n: int, seed: int, known: pa.Array | pa.ChunkedArray | None = None) -> pa.Table:
    """`n` rows of ARCHITECTURES in their order, each set equally likely.

    Args:
        known: the `arch_id`s to draw from; all when None.

    Raises:
        TableError: when there are fewer than `n`.
    """
    rows = architectures if known is None else architectures.filter(pc.is_in(architectures["arch_id"], known))
    if len(rows) < n:
        raise TableError(
            "the architectures to score",
            where="proxies, sample",
            expected=f"at least {n}",
            got=f"{len(rows)}{'' if known is None else ' with published columns'}, of {len(architectures)}",
            remedy="Ask for a smaller sample, or give the family a larger one.",
        )
    return rows.take(np.sort(np.random.default_rng(seed).choice(len(rows), n, replace=False)))


def with_all(published: pa.Table, proxies: Sequence[str]) -> pa.ChunkedArray:
    """The `arch_id`s in a PROXIES table that have all those of `proxies` that the table has at all."""
    table = published.filter(pc.is_in(published["proxy"], pa.array(proxies)))
    counts = table.group_by("arch_id").aggregate([("proxy", "count")])
    return counts["arch_id"].filter(pc.equal(counts["proxy_count"], len(table["proxy"].unique())))


def as_proxies(published: pa.Table) -> pa.Table:
    """(arch_id, proxy, value) as PROXIES without seed, batch and nodes; a null has failed."""
    failed = pc.is_null(published["value"])
    table = published.append_column("failed", failed).append_column("images", pa.array(["published"] * len(published)))
    for field in PROXIES:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table.select(PROXIES.names).cast(PROXIES).unify_dictionaries()
