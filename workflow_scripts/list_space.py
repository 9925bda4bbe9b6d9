"""Write all architectures that a family can list."""

from importlib import import_module
from pathlib import Path

from archgauge import job
from archgauge.schemas import ARCHITECTURES, write_table


def main(*, architectures: Path, family: str) -> None:
    write_table(architectures, import_module(f"archgauge.families.{family}").enumerate_specs(), ARCHITECTURES)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
