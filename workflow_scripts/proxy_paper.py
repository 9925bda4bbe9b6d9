"""Print how zero-cost proxies rank the families of a paper, beside its Table 1."""

from pathlib import Path

from archgauge import job
from archgauge.evaluation.proxy_inputs import (
    accuracy_labels,
    correlations,
    members,
    published_correlations,
    sample_scores,
)
from archgauge.evaluation.proxy_tables import gennape_table, sources, transferable_table
from archgauge.evaluation.table_files import write_files
from archgauge.schemas import METRICS, read_table


def main(
    *,
    proxies: list[Path],
    graphs: list[Path],
    labels: list[Path],
    whole: list[Path],
    published: list[Path],
    metrics: list[Path],
    page: Path,
    markdown: Path,
    comma_separated: Path,
    latex: Path,
    paper: str,
    settings: dict,
) -> None:
    """`settings` comes from `archgauge.proxy_config.paper_settings`.

    The lists have a file for each family that has a set of proxies (`whole` and `published`: published columns), in the
    order of the settings; `metrics` one for each experiment.
    """
    sets, columns = zip(proxies, graphs, labels, strict=True), zip(whole, published, strict=True)
    found = []
    for family, one in settings["families"].items():
        parts = {}
        if one["set"] is not None:
            scores, networks, accuracies = next(sets)
            known, only = accuracy_labels(accuracies, one["set"]), members(family, one["only"])
            batch = one["set"]["batch_sizes"][0]
            parts["computed here"] = correlations(*sample_scores(scores, networks, batch), known, only)
            if one["published"]:
                everything, theirs = next(columns)
                parts["published columns"] = published_correlations(theirs, everything, known, only)
        found += sources(family, one, parts)
    if paper == "gennape_table1":
        table = gennape_table(settings["title"], found)
    else:
        experiments = (path.stem for path in metrics)
        runs = {name: read_table(path, METRICS) for name, path in zip(experiments, metrics, strict=True)}
        table = transferable_table(settings["title"], found, settings["learnt"], runs)
    write_files(table, page=page, markdown=markdown, comma_separated=comma_separated, latex=latex)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
