"""Draw the fuzzy memberships of one family."""

from pathlib import Path

from archgauge import job
from archgauge.evaluation.figures import membership_heat_map
from archgauge.predictors.inputs import read_matrix
from archgauge.schemas import MEMBERSHIPS


def main(*, memberships: Path, figure: Path, settings: dict) -> None:
    title = f"Memberships of {settings['family']} in the clusters {settings['clustering']}"
    membership_heat_map(figure, read_matrix(memberships, MEMBERSHIPS, "membership"), title=title)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
