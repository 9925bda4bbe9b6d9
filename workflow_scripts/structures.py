"""Write the path statistics of a family's live graphs."""

from pathlib import Path

from archgauge import job
from archgauge.graphs.paths import write_structures


def main(*, graphs: Path, kinds: Path, structures: Path) -> None:
    write_structures(graphs, kinds, structures)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
