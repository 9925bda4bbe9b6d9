"""Join the traces of a search with the true accuracies: the only place where they meet."""

from pathlib import Path

import pyarrow as pa

from archgauge import job
from archgauge.evaluation.labels import label_values
from archgauge.evaluation.results import Truth, search_rows
from archgauge.schemas import ARCHITECTURES, LABELS, METRICS, TRACES, read_table, write_table


def main(*, traces: list[Path], labels: Path, architectures: Path, metrics: Path, settings: dict) -> None:
    """`settings` comes from `archgauge.search_config.judge_settings`."""
    arch_id = read_table(architectures, ARCHITECTURES, ["arch_id"])["arch_id"].to_numpy()
    measured = read_table(labels, LABELS)
    truth = Truth(
        family=settings["family"],
        label=settings["label"],
        arch_id=arch_id,
        accuracy_pct=label_values(measured, settings["label"], arch_id),
    )
    rows = search_rows(
        pa.concat_tables([read_table(path, TRACES) for path in traces]).unify_dictionaries(),
        truth,
        label_values(measured, settings["searched_label"], arch_id),
        experiment=settings["search"],
        backend=settings["backend"],
    )
    write_table(metrics, rows, METRICS)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
