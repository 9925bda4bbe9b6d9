"""Count the live graphs that families share."""

from pathlib import Path

import numpy as np

from archgauge import job
from archgauge.evaluation.datasheets import overlap_page
from archgauge.evaluation.pages import as_page
from archgauge.files import whole_file
from archgauge.schemas import GRAPHS, read_table


def main(*, graphs: list[Path], page: Path, markdown: Path, families: list[str]) -> None:
    hashes = {
        family: np.array(read_table(path, GRAPHS, ["live_hash"])["live_hash"].to_pylist())
        for family, path in zip(families, graphs, strict=True)
    }
    text = overlap_page(hashes)
    for path, content in ((markdown, text), (page, as_page(text, "Overlap"))):
        with whole_file(path) as temporary:
            temporary.write_text(content)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
