"""Write the data sheet of a family, and draw its histograms."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from archgauge import job
from archgauge.evaluation.datasheets import datasheet, leakage
from archgauge.evaluation.figures import histograms
from archgauge.evaluation.pages import as_page
from archgauge.files import whole_file
from archgauge.schemas import GRAPHS, LABELS, SPLITS, read_table

COLUMNS = ["arch_id", "kind", "edge_source", "macs", "params", "params_outside", "live_hash"]


def main(
    *,
    graphs: Path,
    labels: list[Path],
    splits: list[Path],
    page: Path,
    sheet: Path,
    figure: Path,
    family: str,
    settings: dict,
) -> None:
    """`settings` comes from `archgauge.config.datasheet_settings`; `labels` is one table, or none."""
    module = import_module(f"archgauge.families.{family}")
    table = read_table(graphs, GRAPHS, COLUMNS)
    known = read_table(labels[0], LABELS) if labels else None
    arch_ids, hashes = np.array(table["arch_id"].to_pylist()), np.array(table["live_hash"].to_pylist())
    leaks = {
        name: leakage(read_table(path, SPLITS), arch_ids, hashes, sizes)
        for path, (name, sizes) in zip(splits, settings["sizes"].items(), strict=True)
    }
    sources = {
        name: list(module.REMOTES[name].sources) if name in module.REMOTES else [] for name in module.LABEL_SOURCES
    }
    told = {"sample": settings["sample"], "sources": sources, "figure": f"../figures/{figure.name}"}
    if hasattr(module, "groups"):
        told["groups"] = len(set(module.groups(arch_ids, hashes)))
    label, accuracy = shown_label(known)
    panels = {
        label: accuracy,
        "multiply-adds (10⁶)": table["macs"].to_numpy() / 1e6,
        "parameters (10⁶)": table["params"].to_numpy() / 1e6,
    }
    title = module.DATASHEET["title"]
    histograms(figure, {title: panels}, title=f"{title}: accuracy and cost")
    text = datasheet(family, module.DATASHEET, table, known, leaks, told)
    for path, content in ((sheet, text), (page, as_page(text, title, sheet.parent))):
        with whole_file(path) as temporary:
            temporary.write_text(content)


def shown_label(labels: pa.Table | None) -> tuple[str, np.ndarray | None]:
    """The accuracy that most architectures have; of equals the first in the table."""
    if labels is None:
        return "accuracy (%)", None
    percent = labels.filter(pc.equal(labels["unit"], "percent"))
    if not len(percent):
        return "accuracy (%)", None
    counts = percent["label"].value_counts()
    name = counts.field("values")[int(np.argmax(counts.field("counts").to_numpy()))].as_py()
    return f"{name} (%)", percent.filter(pc.equal(percent["label"], name))["value"].to_numpy()


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
