"""The command line: what is not a rule of the workflow."""

from pathlib import Path

import click

RESULTS = Path("results")
MAIN_TABLE = RESULTS / "tables" / "nb201_few_labels.md"


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
    click.echo("MLflow: .venv/bin/mlflow server --backend-store-uri sqlite:///results/mlflow.db")
    click.echo("        then open http://127.0.0.1:5000/#/experiments/1/runs")


if __name__ == "__main__":
    main()
