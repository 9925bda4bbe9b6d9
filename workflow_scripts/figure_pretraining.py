"""Draw the losses of pretrained encoders."""

from pathlib import Path

import pyarrow.compute as pc

from archgauge import job
from archgauge.evaluation.figures import pretraining_loss
from archgauge.schemas import LOSSES, read_table


def main(*, losses: list[Path], figure: Path) -> None:
    tables = [read_table(path, LOSSES) for path in losses]
    curves = {
        table["encoder"][0].as_py(): tuple(
            table.filter(pc.equal(table["metric"], "contrastive"))[column].to_numpy() for column in ("step", "value")
        )
        for table in tables
    }
    pretraining_loss(figure, curves, title="Contrastive loss (Eq. 1), mean over each epoch")


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
