"""Write the zero-cost proxies that are published of a family."""

from importlib import import_module
from pathlib import Path

from archgauge import job
from archgauge.proxies.sampling import as_proxies
from archgauge.schemas import PROXIES, write_table


def main(*, collected: list[Path], proxies: Path, family: str) -> None:
    """`collected` holds the collected table, or nothing: then the table has no rows."""
    module = import_module(f"archgauge.families.{family}")
    tables = [as_proxies(module.published_proxies(path)) for path in collected]
    write_table(proxies, tables or PROXIES.empty_table(), PROXIES)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
