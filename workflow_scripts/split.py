"""Write an experiment's splits: the one place where it is decided who learns from what."""

from importlib import import_module
from pathlib import Path

import numpy as np

from archgauge import job
from archgauge.evaluation.labels import counted, label_values, labelled, rows_of
from archgauge.evaluation.splits import few_label_split, source_split
from archgauge.schemas import ARCHITECTURES, GRAPHS, LABELS, SPLITS, read_table, write_table


def main(*, architectures: Path, labels: Path, graphs: list[Path], splits: Path, settings: dict) -> None:
    """`graphs` is one table where the family has groups that no split may separate, or none."""
    label, minimum_label, table = settings["label"], settings["minimum_label"], read_table(labels, LABELS)
    arch_ids = read_table(architectures, ARCHITECTURES, ["arch_id"])["arch_id"].to_numpy()
    arch_ids = arch_ids[labelled(table, label, arch_ids)]
    if settings["only"] is not None:
        arch_ids = arch_ids[
            np.isin(arch_ids, counted(settings["family"], settings["only"]).to_numpy(zero_copy_only=False))
        ]
    if minimum_label is not None:
        arch_ids = arch_ids[label_values(table, label, arch_ids) >= minimum_label]
    groups = groups_of(settings["family"], graphs[0], arch_ids) if graphs else None
    rng, count = np.random.default_rng(settings["seed"]), settings["splits"]
    made = source_split(arch_ids, rng) if count is None else few_label_split(arch_ids, count, rng, groups)
    write_table(splits, made, SPLITS)


def groups_of(family: str, graphs: Path, arch_ids: np.ndarray) -> np.ndarray:
    """The group of each architecture; groups are made over the whole family, also through members that are left out."""
    table = read_table(graphs, GRAPHS, ["arch_id", "live_hash"])
    groups = import_module(f"archgauge.families.{family}").groups(
        table["arch_id"].to_pylist(), table["live_hash"].to_pylist()
    )
    return np.array(groups, dtype=object)[rows_of(arch_ids, table["arch_id"], "the architectures of a split")]


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
