"""Create the MLflow database before jobs send to it: several processes at once could not."""

from pathlib import Path

from archgauge import job
from archgauge.files import whole_file
from archgauge.tracking import create_database, tracking_uri


def main(*, ready: Path) -> None:
    uri = tracking_uri("results")
    create_database(uri)
    with whole_file(ready) as temporary:
        temporary.write_text(f"{uri}\n")


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
