"""Turn a family's architectures into computation graphs."""

from functools import partial
from importlib import import_module
from pathlib import Path

from archgauge import job
from archgauge.graphs.tables import convert


def main(*, architectures: Path, graphs: Path, kinds: Path, family: str, options: dict, threads: int) -> None:
    to_graph = partial(import_module(f"archgauge.families.{family}").to_graph, **options)
    convert(architectures, to_graph, graphs, kinds, threads)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
