"""Write a family's architectures: a sample, the whole space, or those that the published labels are of."""

from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from archgauge import job
from archgauge.errors import ConfigError
from archgauge.files import published_file
from archgauge.schemas import ARCHITECTURES, write_table
from archgauge.schemas import architectures as rows_of


def main(
    *, published: list[Path], architectures: Path, family: str, source: str | None, sample: int | str | None, seed: int
) -> None:
    """`sample` is a number, None for the whole space, or "labelled". For the last `published` holds the labels, and
    after them the files that they name.
    """
    module = import_module(f"archgauge.families.{family}")
    if sample == "labelled":
        table = labelled(module, source, published)
    elif sample is None:
        table = whole(module)
    else:
        specs = module.sample(sample, np.random.default_rng(seed))
        table = rows_of(family, [module.arch_id(spec) for spec in specs], specs)
    write_table(architectures, table, ARCHITECTURES)


def whole(module: ModuleType) -> pa.Table:
    """All architectures of a family that can be listed."""
    if not hasattr(module, "enumerate_specs"):
        raise ConfigError(
            "the sample of a family",
            where=f"families.{module.FAMILY}.sample",
            expected="a number or labelled, because the space is too large to list",
            got="null, the whole space",
            remedy="Say how many architectures to draw.",
        )
    return module.enumerate_specs()


def labelled(module: ModuleType, source: str, published: list[Path]) -> pa.Table:
    """The architectures that a source has labels of. Its values are not looked at."""
    path = published_file(published)
    if hasattr(module, "labelled_specs"):
        specs = module.labelled_specs(path)
        return rows_of(module.FAMILY, [module.arch_id(spec) for spec in specs], specs)
    arch_ids = pc.unique(module.LABEL_SOURCES[source](path)["arch_id"])
    if hasattr(module, "enumerate_specs"):
        table = module.enumerate_specs()
        return table.filter(pc.is_in(table["arch_id"], arch_ids))
    ids = arch_ids.to_pylist()
    return rows_of(module.FAMILY, ids, [arch_id.removeprefix(f"{module.FAMILY}/") for arch_id in ids])


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
