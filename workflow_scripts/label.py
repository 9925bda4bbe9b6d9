"""Write a family's labels, from wherever they have been published."""

from importlib import import_module
from pathlib import Path

from archgauge import job
from archgauge.schemas import LABELS, write_table


def main(*, published: list[Path], labels: Path, family: str, source: str) -> None:
    """`published` is one file or folder, or none where the source finds it itself."""
    readers = import_module(f"archgauge.families.{family}").LABEL_SOURCES
    write_table(labels, readers[source](published[0] if published else None), LABELS)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
