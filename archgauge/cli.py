"""The command line: what is not a rule of the workflow."""

from pathlib import Path

import click


@click.group()
def main() -> None:
    """Judge neural architectures before anyone trains them."""


@main.command()
def where() -> None:
    """Print where the workflow's results are."""
    results = Path("results")
    for title, pattern in (("Tables", "tables/*.md"), ("Figures", "figures/*.svg")):
        click.echo(f"{title}:")
        for path in sorted(results.glob(pattern)):
            click.echo(f"  {path}")
    click.echo("Report:      make report, then open results/report.html")
    click.echo(
        "MLflow runs: .venv/bin/mlflow server --backend-store-uri sqlite:///results/mlflow.db, then http://127.0.0.1:5000"
    )


if __name__ == "__main__":
    main()
