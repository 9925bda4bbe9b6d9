"""Draw what the strategies of a search have found after each query."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from archgauge import job
from archgauge.evaluation.figures import search_curves
from archgauge.schemas import METRICS, read_table


def main(*, metrics: Path, figure: Path, settings: dict) -> None:
    """`settings` comes from `archgauge.search_config.search_report_settings`."""
    rows = read_table(metrics, METRICS)
    curves = {title: _regrets(rows, name) for name, title in settings["titles"].items()}
    search_curves(figure, curves, title=settings["title"])


def _regrets(rows: pa.Table, strategy: str) -> np.ndarray:
    """(R, Q) regret of R runs after each of Q queries."""
    mine = rows.filter((pc.field("predictor") == strategy) & (pc.field("metric") == "regret"))
    mine = mine.sort_by([("seed", "ascending"), ("n_train", "ascending")])
    return mine["value"].to_numpy().reshape(pc.count_distinct(mine["seed"]).as_py(), -1)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
