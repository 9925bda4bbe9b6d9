"""Write the compositions of a family's live graphs."""

from pathlib import Path

from archgauge import job
from archgauge.graphs.composition import write_compositions


def main(*, graphs: Path, kinds: Path, compositions: Path) -> None:
    write_compositions(graphs, kinds, compositions)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
