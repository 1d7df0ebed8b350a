"""`detect review`: the page in the browser, on this machine alone."""

from pathlib import Path

import click

from ensemble.commands.marks import login
from featstore.console import EXISTING, Command, echo, note

PORT = click.IntRange(0, 65535)
FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command(cls=Command)
@click.argument("store", type=EXISTING)
@click.option(
    "--results",
    type=FOLDER,
    default="results",
    show_default=True,
    help="Folder of the results to show; if it does not exist, the ensemble of STORE is run first and writes it.",
)
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of recordings, for sound and pictures [default: that of the last build].",
)
@click.option("--port", type=PORT, default=0, help="Port on 127.0.0.1 [default: a free one].")
@click.option("--who", default=login, show_default="login name", help="Name of the person who marks clips in the page.")
def review(store: Path, results: Path, data: Path | None, port: int, who: str) -> None:
    """Show the results of STORE as a page in the browser: listen, decide, mark.

    Prints the address of the page, which holds a random token, and serves it to this machine alone until Ctrl-C. Marks
    are those of `detect mark`. Nothing is sent to another machine.
    """
    from ensemble.review.server.serve import bound, check_installed, serve

    check_installed()
    from ensemble.review.opening import open_session, run_ensemble

    def ready(address: str) -> None:
        note("Open this address in a browser on this machine; Ctrl-C ends the page.")
        echo(address)

    with bound(port) as listener:
        session = open_session(store, results, data=data, who=who, run=run_ensemble, say=note)
        for text in session.notes:
            note(f"note: {text}")
        serve(session, listener, ready=ready)
