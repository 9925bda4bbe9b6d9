"""Draw the architectures of a family that zero-cost proxies are computed of."""

from pathlib import Path

from archgauge import job
from archgauge.proxies.sampling import drawn, with_all
from archgauge.schemas import ARCHITECTURES, PROXIES, read_table, write_table


def main(*, architectures: Path, published: list[Path], sample: Path, settings: dict) -> None:
    """`settings`: of `archgauge.proxy_config.sample_settings`; `published` holds one PROXIES table or none."""
    columns = ["arch_id", "proxy"]
    known = with_all(read_table(published[0], PROXIES, columns), settings["proxies"]) if published else None
    table = drawn(read_table(architectures, ARCHITECTURES), settings["sample"], settings["seed"], known)
    write_table(sample, table, ARCHITECTURES)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
