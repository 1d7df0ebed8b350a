"""`detect mark` and `detect marks`: what a person heard."""

import getpass
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from featstore.console import EXISTING, PATH, Command, echo, echo_json, table
from featstore.terminal.shown import counted, printable

WORDS = ("normal", "fault", "ignore", "none")
SHOWN = ("clip", "mark", "start", "end", "who", "when", "note")


def login() -> str:
    """The name of the user who runs the command; empty where the system knows none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in a container
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else ""


if TYPE_CHECKING:
    Parameter = click.ParamType[str]
else:
    Parameter = click.ParamType


class Word(Parameter):
    """A mark, or a word that people use for one; see `ensemble.marks.words`."""

    name = "mark"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The mark that a word stands for."""
        from ensemble.marks.words import EXPECTED, mark_of

        return mark_of(value) or self.fail(f"{value!r} is no mark; expected {EXPECTED}", param, ctx)


@click.command(cls=Command)
@click.argument("store", type=EXISTING)
@click.argument("clip")
@click.argument("word", metavar="|".join(WORDS), type=Word())
@click.option("--start", "start_s", type=click.FloatRange(0), metavar="S", help="Start of the marked part, in seconds.")
@click.option(
    "--end", "end_s", type=click.FloatRange(0, min_open=True), metavar="S", help="End of the marked part, in seconds."
)
@click.option("--who", default=login, show_default="login name", help="Name of the person who heard it.")
@click.option("--note", default="", help="Free text that is kept with the mark.")
def mark(store: Path, clip: str, word: str, **options: object) -> None:
    """Mark CLIP of STORE: what a person heard in it. The last mark of a clip counts; `none` removes it.

    CLIP: a path as in scores.csv, the end of such a path, or a unique file name. A mark of a recording holds for all
    its windows.
    """
    from ensemble.marks.file import Mark
    from ensemble.marks.listing import add_mark
    from ensemble.marks.words import FOLLOWS
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
@click.argument("files", nargs=-1, type=EXISTING)
@click.option("--csv", "csv_file", type=PATH, help="CSV file to write, which `detect select --faults` takes.")
@click.option("--labels", "folder", type=PATH, help="Folder for label files of Audacity, one for each recording.")
@click.option("--json", "as_json", is_flag=True, help="Marked clips and every mark as JSON on stdout.")
@click.option(
    "--import",
    "importing",
    is_flag=True,
    help="Mark the clips of FILES: CSV as of --csv, label files of Audacity named like their recordings, zip files and "
    "folders of them. If any line is invalid, nothing is written.",
)
@click.option("--who", default=login, show_default="login name", help="--import: who made the label files.")
def marks(  # noqa: PLR0917 - one parameter per option
    store: Path,
    files: tuple[Path, ...],
    csv_file: Path | None,
    folder: Path | None,
    as_json: bool,
    importing: bool,
    who: str,
) -> None:
    """List the marked clips of STORE, each with the mark that counts."""
    from ensemble.marks import listing

    _import(store, files, importing=importing, who=who)
    marked = listing.opened(store)
    lost = [f"{counted(marked.lost, 'mark')} without a recording in {store}"] if marked.lost else []
    for note in (*marked.marks.notes, *lost):
        echo(f"note: {note}", err=True)
    if csv_file:
        listing.write_csv(marked, csv_file)
        echo(f"wrote {counted(len(marked.marked), 'marked clip')} to {csv_file}", err=True)
    if folder:
        from ensemble.marks.exchange import write_labels

        echo(f"wrote {counted(write_labels(marked, folder), 'label file')} below {folder}", err=True)
    if as_json:
        echo_json(listing.as_json(marked))
    elif not (csv_file or folder or files):
        rows = [["" if cell is None else str(cell) for cell in row] for row in listing.rows_of(marked)]
        echo(table(SHOWN, rows) if rows else "no marked clips; `detect mark STORE CLIP fault` marks one")


def _import(store: Path, files: tuple[Path, ...], *, importing: bool, who: str) -> None:
    from ensemble.marks.exchange import import_marks, sources
    from featstore.errors import OptionError

    if bool(files) != importing:
        raise OptionError("--import needs files, and files need --import: detect marks STORE --import FILE...")
    if files:
        echo(import_marks(store, sources(files), who).text, err=True)
