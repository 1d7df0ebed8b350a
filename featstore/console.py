"""What both commands share at the terminal: one-line errors with exit codes, progress, plain tables.

Everything for a terminal is printed by `echo` and escaped there, because names may hold anything (terminal/shown.py).
"""

import _thread
import errno
import os
import shutil
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NoReturn, Self

import click

from featstore import registry
from featstore.errors import AsdError, OptionError, ResourceError
from featstore.spec import nearest
from featstore.terminal.shown import Block, block, json_text, one_line, printable
from featstore.terminal.terminated import EXIT_TERMINATED, Terminated, terminable

PATH = click.Path(path_type=Path)
EXISTING = click.Path(exists=True, path_type=Path)
OUT_FILE = click.Path(dir_okay=False, path_type=Path)
OUT_FOLDER = click.Path(file_okay=False, path_type=Path)
"""Where results go: refused at once where it is a folder, or a file."""

Decorator = Callable[[Callable[..., None]], Callable[..., None]]

EXIT_REJECTED = 3
EXIT_ANOMALY = 6
"""Of `--fail-on-anomaly`: a clip was reported."""

FOLDED = 40
"""Characters above which a column of a table may be broken into lines on a terminal."""

REFRESH_S = 0.2
LINE_S = 10.0
AGAIN_S = 0.05


def echo(text: str, *, err: bool = False) -> None:
    """Print to stdout or stderr: a Block as it is, any other text as one line in which nothing can be a command."""
    shown = text if isinstance(text, Block) else printable(text)
    stream = sys.stderr if err else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    click.echo(shown.encode(encoding, "backslashreplace").decode(encoding), err=err)


def echo_json(value: object) -> None:
    """Print a value to stdout as one line of JSON in ASCII."""
    click.echo(json_text(value))


def echo_data(line: str) -> None:
    """Print a line of data to stdout: to a program byte for byte, to a terminal as `echo` does."""
    if sys.stdout.isatty():
        echo(line)
    else:
        click.echo(line.encode("utf-8", "surrogateescape"))


def note(text: str) -> None:
    """Print a line to stderr."""
    echo(text, err=True)


def fail(message: str, code: int, details: Sequence[str] = ()) -> NoReturn:
    """Print one line to stderr, with details below it, and leave with `code`."""
    echo(block(f"error: {message}", *details), err=True)
    raise SystemExit(code)


@contextmanager
def not_lost() -> Iterator[None]:
    """While the block runs, Ctrl-C is not lost in a callback of a weak reference or a finaliser.

    Python only prints what is raised there; the interruption is raised again a moment later.
    """
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            again = threading.Timer(AGAIN_S, _interrupt)
            again.daemon = True
            again.start()
        else:
            before(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def _interrupt() -> None:
    """Ctrl-C once more; a real signal, where there is one, also ends a wait of the main thread."""
    main = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        signal.pthread_kill(main, signal.SIGINT)
    else:
        _thread.interrupt_main()


class Command(click.Command):
    """A command whose library raises OptionError for options that do not go together."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an OptionError is shown with its usage, exit code 2."""
        try:
            return super().invoke(ctx)
        except OptionError as error:
            raise click.UsageError(printable(str(error)), ctx) from error


class Commands(click.Group):
    """A group that loads its commands by name, reports expected errors as one line, and suggests the nearest name."""

    noun = ""
    """Kind of its commands in the registry; empty for a group that holds its own."""

    after_interrupt = ""
    """What to tell of a command that was interrupted."""

    def main(self, *arguments: Any, **extra: Any) -> Any:
        """Run the program."""
        sys.excepthook = _show_failure
        return super().main(*arguments, **extra)

    def make_context(self, *arguments: Any, **extra: Any) -> click.Context:
        """Parse the arguments; what an error repeats of them is escaped."""
        try:
            return super().make_context(*arguments, **extra)
        except click.ClickException as error:
            error.message = printable(error.message)  # type: ignore[misc]
            raise

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; see featstore.errors for the exit codes."""
        os.environ.setdefault("GOMP_SPINCOUNT", "0")  # idle OpenMP threads must not spin against busy ones
        try:
            with terminable(), warnings.catch_warnings(), not_lost():
                warnings.showwarning = _show_warning  # type: ignore[assignment]
                return super().invoke(ctx)
        except click.ClickException as error:
            error.message = printable(error.message)  # type: ignore[misc]
            raise
        except AsdError as error:
            fail(error.lines[0], error.exit_code, error.details)
        except OSError as error:
            if error.errno == errno.EPIPE:  # `| head` has seen enough; click ends quietly
                raise
            code = ResourceError.exit_code if error.errno in {errno.ENOSPC, errno.EDQUOT} else AsdError.exit_code
            fail(f"{error.filename or 'writing'}: {error.strerror or error}", code)
        except MemoryError:
            fail("out of memory; try fewer --workers or a smaller part of the data", ResourceError.exit_code)
        except Terminated:
            fail(f"stopped by SIGTERM{self.after_interrupt}", EXIT_TERMINATED)
        except KeyboardInterrupt:
            fail(f"interrupted{self.after_interrupt}", 130)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the project's own commands in the order of their table, then those of installed packages."""
        return registry.names(self.noun) if self.noun else super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, loaded; for a package's command that does not load, one that says so."""
        if not self.noun or not registry.is_known(self.noun, cmd_name):
            return super().get_command(ctx, cmd_name)
        try:
            command: click.Command = registry.find(self.noun, cmd_name)
        except AsdError as error:
            return _broken(cmd_name, error)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which was probably meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = nearest(args[0], self.list_commands(ctx))
            if not near or "Did you mean" in error.message:
                raise
            raise click.UsageError(f"{error.message.rstrip('.')}. Did you mean {near!r}?", ctx) from error


def _show_warning(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
    """A warning of a library, as one line."""
    note(f"warning: {category.__name__}: {message}")


def _show_failure(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """The traceback of an error that nothing expected, line by line."""
    lines = "".join(traceback.format_exception(kind, error, trace)).rstrip().split("\n")
    echo(block(*lines), err=True)


def _broken(name: str, error: AsdError) -> click.Command:
    def callback(arguments: tuple[str, ...]) -> None:
        raise error

    argument = click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)
    return click.Command(name, callback=callback, params=[argument], short_help=f"does not load: {error}")


def together(*options: Decorator) -> Decorator:
    """Several options as one decorator, shown by --help in this order."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


engine_options = together(
    click.option(
        "--engine",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        help="Processes of this machine, or actors of a Ray cluster.",
    ),
    click.option(
        "--address",
        metavar="auto|HOST:PORT|ray://HOST:PORT",
        help="The Ray cluster [default: $RAY_ADDRESS, or one of this machine alone].",
    ),
)
"""For the commands that can run on a cluster."""

workers_option = click.option(
    "--workers",
    type=click.IntRange(0),
    help="Processes; 0: none, all in this one.  [default: one per core where that is faster]",
)
"""How many processes share the work; None by default. The same for every command that has it."""


class Meter:
    """Progress on stderr: a bar on a terminal, a plain line every ten seconds elsewhere; use it in a `with` block."""

    def __init__(self, noun: str = "clips") -> None:
        self.noun = noun
        self.started = time.monotonic()
        self.first: int | None = None
        self.shown = 0.0
        self.live = sys.stderr.isatty()
        self._bar: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: int, total: int, extra: str = "", *, audio_s: float = 0.0) -> None:
        """Show `done` of `total`, the rate since the start and the time left.

        What was done before the first call, by an earlier run, does not count for the rate.
        """
        now = time.monotonic()
        self.first = done if self.first is None else self.first
        if now - self.shown < (REFRESH_S if self.live else LINE_S) and done < total:
            return
        self.shown = now
        elapsed = max(now - self.started, 1e-9)
        rate = (done - self.first) / elapsed
        left = f"ETA {duration((total - done) / rate)}" if rate > 0 else "ETA ?"
        hours = f", {audio_s / 3600 / elapsed:.2f} audio-h/s" if audio_s else ""
        share = 100 * done // max(total, 1)
        line = f"{done:,}/{total:,} {self.noun} ({share}%) {rate:,.0f} {self.noun}/s{hours} {left}{extra}"
        if self.live:
            self._draw(done, total, printable(line))
        else:
            note(line)

    def count(self, noun: str) -> Callable[[int, int], None]:
        """An `update` that counts `noun`; the clock starts anew where something else was counted before."""

        def update(done: int, total: int) -> None:
            if self.noun != noun:
                self.noun, self.started, self.shown, self.first = noun, time.monotonic(), 0.0, None
            self.update(done, total)

        return update

    def say(self, line: str) -> None:
        """Print a line to stderr, below the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        note(line)

    def _draw(self, done: int, total: int, line: str) -> None:
        """Refresh the bar; the cursor stays visible, so that a killed command leaves the terminal as it was."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        if self._bar is None:
            columns = (BarColumn(bar_width=20), TextColumn("{task.description}", markup=False))
            self._bar = Progress(*columns, console=Console(stderr=True, highlight=False), auto_refresh=False)
            self._bar.add_task(line, total=total)
            self._bar.start()
            self._bar.console.show_cursor(True)
        self._bar.update(0, completed=done, total=max(total, 1), description=line, refresh=True)


def duration(seconds: float) -> str:
    """Seconds as h:mm:ss or m:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def size(n_bytes: float) -> str:
    """Bytes for people: 1.2 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(n_bytes) < 1000:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    text_columns: int | None = None,
    width: int | None = None,
) -> Block:
    """Columns aligned with two blanks between; numbers to the right.

    Numbers are in the columns after the first `text_columns`, by default in all that hold no text. A header cell may
    have several lines. width: lines have at most so many characters; one blank stands between columns, no rule below
    the header, and the first column is cut to fit.
    """
    titles = list(zip_longest(*(list(map(printable, title.split("\n")))[::-1] for title in header), fillvalue=""))[::-1]
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*titles, *cells, strict=True)]
    right = [not any(isinstance(row[i], str) for row in rows) for i in range(len(header))]
    if text_columns is not None:
        right = [i >= text_columns for i in range(len(header))]
    if width is None and sys.stdout.isatty():
        folds = [w > FOLDED for w in widths]
        if any(folds) or sum(widths) + 2 * len(widths) <= shutil.get_terminal_size().columns:
            return Block(_drawn(["\n".join(line).strip() for line in zip(*titles, strict=True)], cells, right, folds))
    gap, rule = "  ", ["  ".join("-" * w for w in widths)]
    if width is not None:
        gap, rule = " ", []
        widths[0] = min(widths[0], max(len(header[0]), width - sum(widths[1:]) - len(widths) + 1))
        cells = [[one_line(row[0], widths[0]), *row[1:]] for row in cells]

    def line(row: Sequence[str]) -> str:
        parts = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)]
        return gap.join(parts).rstrip()

    return Block("\n".join([*map(line, titles), *rule, *map(line, cells)]))


def _drawn(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool], folds: Sequence[bool]) -> str:
    """The table for a terminal; cells of the columns that may fold are broken to fit its width."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for title, is_number, folded in zip(header, right, folds, strict=True):
        justify: Literal["left", "right"] = "right" if is_number else "left"
        drawn.add_column(Text(title), justify=justify, overflow="fold", no_wrap=not folded)
    for row in rows:
        drawn.add_row(*map(Text, row))
    console = Console(highlight=False)
    with console.capture() as capture:
        console.print(drawn)
    return capture.get().strip("\n")
