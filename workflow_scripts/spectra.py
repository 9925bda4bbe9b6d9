"""Write the smallest Laplacian eigenvalues of a family's live graphs."""

from pathlib import Path

from archgauge import job
from archgauge.graphs.spectrum import write_spectra


def main(*, graphs: Path, kinds: Path, spectra: Path, eigenvalues: int, threads: int) -> None:
    write_spectra(graphs, kinds, spectra, eigenvalues, threads)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
