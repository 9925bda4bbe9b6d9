"""Write a family's architectures."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pyarrow as pa

from archgauge import job
from archgauge.schemas import ARCHITECTURES, write_table


def main(*, architectures: Path, family: str, sample: int | None, seed: int) -> None:
    module = import_module(f"archgauge.families.{family}")
    if sample is None:
        table = module.enumerate_specs()
    else:
        specs = module.sample(sample, np.random.default_rng(seed))
        columns = {"arch_id": [module.arch_id(spec) for spec in specs], "family": [family] * sample, "spec": specs}
        table = pa.table(columns).cast(ARCHITECTURES)
    write_table(architectures, table, ARCHITECTURES)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
