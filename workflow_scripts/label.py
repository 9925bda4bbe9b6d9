"""Write a family's labels, from wherever they have been published."""

from importlib import import_module
from pathlib import Path

from archgauge import job
from archgauge.schemas import LABELS, write_table


def main(*, labels: Path, family: str, source: str, path: str | None) -> None:
    readers = import_module(f"archgauge.families.{family}").LABEL_SOURCES
    write_table(labels, readers[source](None if path is None else Path(path)), LABELS)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
