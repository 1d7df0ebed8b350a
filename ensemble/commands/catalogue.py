"""`detect detectors` and `detect recipes`: what there is to run."""

import click

from featstore import registry
from featstore.console import Command, echo, table
from featstore.errors import DataError
from featstore.spec import LIBRARIES

PUBLISHED = (
    ("knn:varmin=4", "VarMin: clips in sparse regions count less", "Matsumoto et al., DCASE workshop 2025"),
    ("knn:bands=8,varmin=4", "BEAM: VarMin in every frequency band", "arXiv 2603.13749, 2026"),
    ("knn:bank=two_bank,memmixup=990", "MemMixup: targets moved a little to each source", "GenRepASD"),
    ("ldn", "distances relative to the local density", "Wilkinghoff et al. 2025"),
    ("ldn:K=16,exit=1.5", "local density up to the exit of the cluster", "arXiv 2602.18777, 2026"),
    ("lof", "local outlier factor", "Breunig et al. 2000"),
)
"""Detectors of one paper: line of text, method and paper."""


@click.command(cls=Command)
def detectors() -> None:
    """List the detectors with their parameters and defaults, published ones, and those of scikit-learn and PyOD."""
    from detectors import parameters

    names = registry.names("detector")
    rows = [[name, ", ".join(f"{key}={value}" for key, value in parameters(name).items())] for name in names]
    echo(table(["detector", "parameters"], rows))
    echo("")
    echo(table(["published", "method", "paper"], PUBLISHED))
    for head in LIBRARIES:
        echo("")
        echo(_of_library(head))


def _of_library(head: str) -> str:
    """How the detectors of a library are named, and which there are."""
    from detectors.libraries.classes import detector_names

    line = f"{head}:CLASS[,key=value,...]"
    try:
        return f"{line}  {', '.join(detector_names(head))}"
    except DataError as error:
        return f"{line}  {error}"


@click.command(cls=Command)
@click.argument("name", required=False)
def recipes(name: str | None) -> None:
    """List published systems, or show how to train and run the recipe NAME (or that of a file)."""
    from ensemble.systems.catalogue import find_system, system_text, systems_rows

    rows = [] if name else systems_rows()
    header = ["recipe", "year", "embedder", "loss", "detector", "system"]
    echo(system_text(find_system(name)) if name else table(header, rows))
