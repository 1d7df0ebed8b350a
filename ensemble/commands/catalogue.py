"""`detect detectors` and `detect recipes`: what there is to run."""

import click

from featstore import registry
from featstore.console import Command, echo, table


@click.command(cls=Command)
def detectors() -> None:
    """List the detectors with their parameters and defaults."""
    from detectors import parameters

    names = registry.names("detector")
    rows = [[name, ", ".join(f"{key}={value}" for key, value in parameters(name).items())] for name in names]
    echo(table(["detector", "parameters"], rows))


@click.command(cls=Command)
@click.argument("name", required=False)
def recipes(name: str | None) -> None:
    """List published systems, or show how to train and run the recipe NAME (or that of a file)."""
    from ensemble.systems.catalogue import find_system, system_text, systems_rows

    rows = [] if name else systems_rows()
    header = ["recipe", "year", "embedder", "loss", "detector", "system"]
    echo(system_text(find_system(name)) if name else table(header, rows))
