"""Judge the predictions of held-out families, and print them as one table."""

from pathlib import Path

import pyarrow as pa

from archgauge import job
from archgauge.evaluation.held_out import held_out_table, judged
from archgauge.evaluation.labels import counted, labelled
from archgauge.evaluation.table_files import write_files
from archgauge.schemas import ARCHITECTURES, LABELS, METRICS, PREDICTIONS, read_table, write_table


def main(
    *,
    predictions: list[Path],
    labels: list[Path],
    architectures: list[Path],
    metrics: Path,
    page: Path,
    markdown: Path,
    comma_separated: Path,
    latex: Path,
    settings: dict,
) -> None:
    """`settings` comes from `archgauge.held_out_config.held_out_table_settings`."""
    tables = []
    for one, *paths in zip(settings["families"], predictions, labels, architectures, strict=True):
        known = read_table(paths[1], LABELS)
        arch_id = read_table(paths[2], ARCHITECTURES, ["arch_id"])["arch_id"].to_numpy()
        names = {"all": arch_id[labelled(known, one["label"], arch_id)]}
        if one["only"] is not None:
            chosen = set(counted(one["family"], one["only"]).to_pylist())
            names[one["only"]] = names["all"][[name in chosen for name in names["all"]]]
        keys = {"experiment": settings["name"], "family": one["family"], "label": one["label"]}
        tables.append(judged(read_table(paths[0], PREDICTIONS), known, names, keys))
    found = pa.concat_tables(tables).unify_dictionaries()
    write_table(metrics, found, METRICS)
    write_files(
        held_out_table(found, settings),
        page=page,
        markdown=markdown,
        comma_separated=comma_separated,
        latex=latex,
    )


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
