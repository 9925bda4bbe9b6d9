"""Compute zero-cost proxies of a sample of architectures."""

from pathlib import Path

import pyarrow as pa

from archgauge import job
from archgauge.proxies.runner import Recipe, compute, failures
from archgauge.schemas import ARCHITECTURES, PROXIES, read_table, write_table


def main(
    *, sample: Path, graphs: Path, kinds: Path, images: list[Path], proxies: Path, settings: dict, threads: int
) -> None:
    """`settings`: of `archgauge.proxy_config.proxy_settings`; `images` holds CIFAR-10's folder, where it is read."""
    arch_ids = read_table(sample, ARCHITECTURES, ["arch_id"])["arch_id"].to_pylist()
    fragments = proxies.parent / "fragments" / proxies.stem
    parts = []
    for batch in settings["batch_sizes"]:
        recipe = Recipe(tuple(settings["proxies"]), settings["seed"], batch, images[0] if images else None)
        parts.append(compute(graphs, kinds, arch_ids, recipe, fragments, threads))
    table = pa.concat_tables(parts).unify_dictionaries()
    print("Without a finite value:", ", ".join(f"{proxy} {count}" for proxy, count in failures(table).items()))
    write_table(proxies, table, PROXIES)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
