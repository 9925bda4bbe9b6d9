"""The command line: what is not a rule of the workflow."""

import json
from pathlib import Path

import click

from archgauge.errors import ArchgaugeError

RESULTS = Path("results")
MAIN_TABLE = RESULTS / "tables" / "nb201_few_labels.md"
BUNDLE = RESULTS / "bundle" / "archgauge.bundle"


@click.group()
def main() -> None:
    """Judge neural architectures before anyone trains them."""


@main.command()
def where() -> None:
    """Show the main table, and say where all results are."""
    if MAIN_TABLE.is_file():
        click.echo(f"\n{MAIN_TABLE.read_text()}")
    for title, pattern in (("Tables", "tables/*.md"), ("Figures", "figures/*.svg"), ("Report", "report.html")):
        paths = sorted(RESULTS.glob(pattern))
        click.echo(f"{title}: {' '.join(map(str, paths)) or 'none yet'}")
    if BUNDLE.is_file():
        click.echo(f"Rank your own models ({BUNDLE}): archgauge rank file.py:Model --input 1,3,224,224")
    click.echo("MLflow: .venv/bin/mlflow server --backend-store-uri sqlite:///results/mlflow.db")
    click.echo("        then open http://127.0.0.1:5000/#/experiments/1/runs")


@main.command()
@click.argument("models", nargs=-1, metavar="MODEL...")
@click.option("--input", "shape", metavar="SHAPE", help="Shape of the input, batch axis first: 1,3,224,224.")
@click.option("--bundle", type=click.Path(path_type=Path), default=BUNDLE, show_default=True, help="What ranks.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the table.")
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write an HTML page, too."
)
@click.option("--card", is_flag=True, help="Print the bundle's model card.")
@click.pass_context
def rank(
    context: click.Context,
    models: tuple[str, ...],
    shape: str | None,
    bundle: Path,
    as_json: bool,
    html: Path | None,
    card: bool,
) -> None:
    """Rank models by the accuracy that they are predicted to reach, before anyone trains them.

    MODEL is file.onnx, or file.py:Model or package.module:Model, a callable that returns a torch.nn.Module. The shape
    of its own input may follow an @, as in a.py:Model@1,3,299,299. Several inputs are divided by ";", and a type stands
    before a colon, "int64:1,77". A Python reference runs that code, as importing it would.

    The exit code is 0 when every model has a rank, 1 when one has none (the others are ranked all the same), and 2 when
    the call or the bundle is wrong.
    """
    # The other commands should not wait for torch.
    from archgauge.files import whole_file
    from archgauge.ranking.bundle import Bundle
    from archgauge.ranking.card import card_text
    from archgauge.ranking.references import load_all

    if not models and not card:
        raise click.UsageError("Name at least one model, or ask for the --card.")
    if html is not None and not html.absolute().parent.is_dir():  # said before the work, and never made in silence
        raise click.UsageError(f"--html {html}: there is no folder {html.parent}. Make it, or name another.")
    try:
        gauge = Bundle.load(bundle)
    except ArchgaugeError as error:
        raise click.UsageError(str(error)) from error
    if card:
        click.echo(json.dumps(gauge.card, indent=2, ensure_ascii=False) if as_json else card_text(gauge.card))
    if not models:
        return
    ranking = gauge.rank_graphs(*load_all(models, shape))
    if html is not None:
        with whole_file(html) as temporary:
            temporary.write_text(ranking.html(), encoding="utf-8")
    click.echo(json.dumps(ranking.document(), indent=2, ensure_ascii=False) if as_json else str(ranking))
    context.exit(1 if ranking.failed else 0)


if __name__ == "__main__":
    main()
