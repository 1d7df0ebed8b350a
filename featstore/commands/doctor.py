"""`featstore doctor`: what this installation and machine offer, and what they lack for which command."""

from pathlib import Path

import click

from featstore.console import PATH, Command, echo, echo_json


@click.command(cls=Command)
@click.argument("place", metavar="[STORE|FOLDER]", type=PATH, required=False)
@click.option("--no-gpu", is_flag=True, help="Do not look for GPUs: loading torch takes longest.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(place: Path | None, no_gpu: bool, as_json: bool) -> None:
    """Print versions, cores, memory, GPU, formats of recordings and disks, and what is missing for which command.

    With STORE, or a FOLDER for one, also whether its disk has space and its file system the locks and links that a
    store needs. The exit code is 1 where something that every installation needs is broken, otherwise 0.
    """
    from featstore.doctor.examine import examine
    from featstore.doctor.screen import screen

    examined = examine(place, gpu=not no_gpu)
    if as_json:
        echo_json(examined.as_json())
    else:
        echo(screen(examined))
    if examined.broken:
        raise SystemExit(1)
