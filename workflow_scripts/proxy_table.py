"""Print what a set of zero-cost proxies agrees with: published columns, accuracies, and itself at other batch sizes."""

from pathlib import Path

from archgauge import job
from archgauge.evaluation.labels import label_values
from archgauge.evaluation.proxy_inputs import accuracy_labels, published_costs, sample_scores
from archgauge.evaluation.proxy_tables import set_table
from archgauge.evaluation.table_files import write_files
from archgauge.proxies.scores import scores_of
from archgauge.schemas import PROXIES, read_table


def main(
    *,
    graphs: Path,
    kinds: Path,
    proxies: Path,
    published: list[Path],
    collected: list[Path],
    labels: Path,
    page: Path,
    markdown: Path,
    comma_separated: Path,
    latex: Path,
    settings: dict,
) -> None:
    """`settings` comes from `archgauge.proxy_config.comparison_settings`; published tables are there or not."""
    scores = {batch: sample_scores(proxies, graphs, batch) for batch in settings["batch_sizes"]}
    arch_ids = scores[settings["batch_sizes"][0]][0]
    accuracy = label_values(accuracy_labels(labels, settings), settings["label"], arch_ids)
    theirs, equal = {}, {}
    if published:
        counts, equal = published_costs(settings["family"], collected[0], graphs, kinds)
        theirs = {**scores_of(read_table(published[0], PROXIES), arch_ids), **counts}
    (images,) = read_table(proxies, PROXIES, ["images"])["images"].unique().to_pylist()
    ours = {batch: found for batch, (_, found) in scores.items()}
    table = set_table(settings, images, ours, accuracy, theirs, equal)
    write_files(table, page=page, markdown=markdown, comma_separated=comma_separated, latex=latex)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
