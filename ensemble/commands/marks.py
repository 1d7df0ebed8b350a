"""`detect mark` and `detect marks`: what a person heard."""

import getpass
import os
from pathlib import Path

import click

from featstore.console import EXISTING, PATH, Command, echo, echo_json, table
from featstore.terminal.shown import counted, printable

WORDS = ("normal", "fault", "ignore", "none")
SHOWN = ("clip", "mark", "start", "end", "who", "when", "note")
FOLLOWS = {
    "normal": "from the next run on, it is in the bank of its section and is not scored",
    "fault": "from the next run on, it is in no bank and in no metric; selections use it as a fault",
    "ignore": "from the next run on, it is in no bank and is not scored",
    "none": "its earlier marks no longer count",
}


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in a container
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else ""


@click.command(cls=Command)
@click.argument("store", type=EXISTING)
@click.argument("clip")
@click.argument("word", metavar="|".join(WORDS), type=click.Choice(WORDS))
@click.option("--start", "start_s", type=click.FloatRange(0), metavar="S", help="Start of the marked part, in seconds.")
@click.option(
    "--end", "end_s", type=click.FloatRange(0, min_open=True), metavar="S", help="End of the marked part, in seconds."
)
@click.option("--who", default=_login, show_default="login name", help="Who heard it.")
@click.option("--note", default="", help="Free text that is kept with the mark.")
def mark(store: Path, clip: str, word: str, **options: object) -> None:
    """Mark CLIP of STORE: what a person heard in it. The last mark of a clip counts; `none` removes it.

    CLIP: a path as in scores.csv, one that ends alike, or a unique file name. A mark of a recording holds for all its
    windows.
    """
    from ensemble.marks.file import Mark
    from ensemble.marks.listing import add_mark
    from featstore.errors import OptionError

    try:
        wanted = Mark(clip=clip, mark=word, **options)  # type: ignore[arg-type]
    except ValueError as error:
        raise OptionError(str(error)) from error
    written = add_mark(store, wanted)
    for text in written.notes:
        echo(f"note: {text}", err=True)
    name = printable(written.mark.clip)
    what = name if written.clips == 1 else f"{written.clips} windows of {name}"
    echo(f"{what}: {word}; {FOLLOWS[word]}", err=True)


@click.command(cls=Command)
@click.argument("store", type=EXISTING)
@click.option("--csv", "csv_file", type=PATH, help="CSV file to write, which `detect select --faults` takes.")
@click.option("--json", "as_json", is_flag=True, help="Marked clips and every mark as JSON on stdout.")
def marks(store: Path, csv_file: Path | None, as_json: bool) -> None:
    """List the marked clips of STORE, each with the mark that counts."""
    from ensemble.marks import listing

    marked = listing.opened(store)
    lost = [f"{counted(marked.lost, 'mark')} without a recording in {store}"] if marked.lost else []
    for note in (*marked.marks.notes, *lost):
        echo(f"note: {note}", err=True)
    if csv_file:
        listing.write_csv(marked, csv_file)
        echo(f"wrote {counted(len(marked.marked), 'marked clip')} to {csv_file}", err=True)
    if as_json:
        echo_json(listing.as_json(marked))
    elif not csv_file:
        rows = [["" if cell is None else str(cell) for cell in row] for row in listing.rows_of(marked)]
        echo(table(SHOWN, rows) if rows else "no marked clips; `detect mark STORE CLIP fault` marks one")
