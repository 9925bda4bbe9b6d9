"""Make the bundle that `archgauge rank` ranks anyone's models with, and its model card."""

from importlib import import_module
from pathlib import Path

from archgauge import job
from archgauge.evaluation.pages import as_page
from archgauge.files import whole_file
from archgauge.ranking.card import card_text
from archgauge.ranking.fitting import make_bundle
from archgauge.schemas import LABELS, read_table


def main(
    *, graphs: Path, kinds: Path, labels: Path, bundle: Path, page: Path, card: Path, family: str, settings: dict
) -> None:
    """`settings` are those of `bundle` in the configuration, but for the family."""
    module = import_module(f"archgauge.families.{family}")
    made = make_bundle(graphs, kinds, read_table(labels, LABELS), module, settings)
    made.save(bundle)
    text = card_text(made.card)
    for path, content in ((card, text), (page, as_page(text, "Model card"))):
        with whole_file(path) as temporary:
            temporary.write_text(content)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
