"""Join predictions with the true accuracies: the only place where they meet."""

from importlib import import_module
from pathlib import Path

import pyarrow as pa

from archgauge import job
from archgauge.evaluation.labels import label_values
from archgauge.evaluation.results import Truth, metric_rows
from archgauge.evaluation.splits import cells_without_none
from archgauge.predictors.inputs import check_same_rows
from archgauge.schemas import ARCHITECTURES, GRAPHS, LABELS, METRICS, PREDICTIONS, SPLITS, read_table, write_table


def main(
    *,
    predictions: list[Path],
    splits: Path,
    labels: Path,
    architectures: Path,
    graphs: Path,
    metrics: Path,
    settings: dict,
) -> None:
    family, label = settings["family"], settings["label"]
    table = read_table(architectures, ARCHITECTURES, ["arch_id", "spec"])
    arch_id = table["arch_id"].to_numpy()
    hashes = read_table(graphs, GRAPHS, ["arch_id", "live_hash"])
    check_same_rows(hashes, graphs, arch_id, architectures)
    cell = getattr(import_module(f"archgauge.families.{family}"), "cell", None)
    truth = Truth(
        family=family,
        label=label,
        arch_id=arch_id,
        accuracy_pct=label_values(read_table(labels, LABELS), label, arch_id),
        live_hash=hashes["live_hash"].to_numpy(),
        without_none=cells_without_none([cell(spec) for spec in table["spec"].to_pylist()]) if cell else None,
    )
    rows = metric_rows(
        pa.concat_tables([read_table(path, PREDICTIONS) for path in predictions]).unify_dictionaries(),
        read_table(splits, SPLITS) if settings["learnt_from_family"] else None,
        truth,
        experiment=settings["experiment"],
        metrics=settings["metrics"],
        predicts_percent=settings["in_percent"],
        backend=settings["backend"],
    )
    write_table(metrics, rows, METRICS)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
