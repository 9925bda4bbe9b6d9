"""Write a family's labels, from wherever they have been published."""

from importlib import import_module
from pathlib import Path

from archgauge import job
from archgauge.files import published_file
from archgauge.schemas import LABELS, write_table


def main(*, published: list[Path], labels: Path, family: str, source: str) -> None:
    """`published` is one file or folder, the sign of a finished download, or none where the source finds it itself."""
    module = import_module(f"archgauge.families.{family}")
    write_table(labels, module.LABEL_SOURCES[source](published_file(published)), LABELS)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
