"""What both commands share at the terminal: one-line errors with exit codes, progress, plain tables."""

import difflib
import errno
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Any, NoReturn

import click

from featstore.errors import AsdError, ResourceError

EXIT_REJECTED = 3
REFRESH_S = 0.2
LINE_S = 10.0


def fail(message: str, code: int) -> NoReturn:
    """Print one line to stderr and leave with `code`."""
    click.echo(f"error: {message}", err=True)
    raise SystemExit(code)


class Commands(click.Group):
    """A group that reports expected errors as one line and unknown commands with the nearest name."""

    after_interrupt = ""
    """What to tell of a command that was interrupted."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; see featstore.errors for the exit codes."""
        os.environ.setdefault("GOMP_SPINCOUNT", "0")  # idle OpenMP threads must not spin against busy ones
        try:
            return super().invoke(ctx)
        except AsdError as error:
            fail(str(error), error.exit_code)
        except OSError as error:
            if error.errno == errno.EPIPE:  # `| head` has seen enough; click ends quietly
                raise
            code = ResourceError.exit_code if error.errno in {errno.ENOSPC, errno.EDQUOT} else AsdError.exit_code
            fail(f"{error.filename or 'writing'}: {error.strerror or error}", code)
        except MemoryError:
            fail("out of memory; try fewer --workers or a smaller part of the data", ResourceError.exit_code)
        except KeyboardInterrupt:
            fail(f"interrupted{self.after_interrupt}", 130)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which was probably meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            if not near or "Did you mean" in error.message:
                raise
            raise click.UsageError(f"{error.message.rstrip('.')}. Did you mean {near[0]!r}?", ctx) from error


def ray_options(command: Callable[..., None]) -> Callable[..., None]:
    """--engine and --address, for the commands that can work on a cluster."""
    address = click.option(
        "--address",
        metavar="auto|HOST:PORT|ray://HOST:PORT",
        help="The Ray cluster [default: $RAY_ADDRESS, or one of this machine alone].",
    )
    engine = click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True)
    return engine(address(command))


def check_engine(options: Mapping[str, Any], *names: str) -> None:
    """UsageError where options of a cluster are given without one; `names` are those beside --address."""
    for name in ("address", *names):
        if options["engine"] == "local" and options[name] is not None:
            raise click.UsageError(f"--{name.replace('_', '-')} needs --engine ray")


class Meter:
    """Progress on stderr: one refreshed line on a terminal, a plain line every ten seconds elsewhere."""

    def __init__(self, noun: str = "clips") -> None:
        self.noun = noun
        self.started = time.monotonic()
        self.shown = 0.0
        self.live = sys.stderr.isatty()

    def update(self, done: int, total: int, extra: str = "", *, audio_s: float = 0.0) -> None:
        """Show `done` of `total`, the rate since the start and the time left."""
        now = time.monotonic()
        if now - self.shown < (REFRESH_S if self.live else LINE_S) and done < total:
            return
        self.shown = now
        elapsed = max(now - self.started, 1e-9)
        rate = done / elapsed
        left = f"ETA {clock((total - done) / rate)}" if done else "ETA ?"
        hours = f", {audio_s / 3600 / elapsed:.2f} audio-h/s" if audio_s else ""
        share = 100 * done // max(total, 1)
        line = f"{done:,}/{total:,} {self.noun} ({share}%) {rate:,.0f} {self.noun}/s{hours} {left}{extra}"
        click.echo(f"\r{line:<79}" if self.live else line, err=True, nl=not self.live)

    def close(self) -> None:
        """End the refreshed line."""
        if self.live and self.shown:
            click.echo(err=True)


def clock(seconds: float) -> str:
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
) -> str:
    """Columns aligned with two blanks between; numbers to the right.

    Numbers are in the columns after the first `text_columns`, by default in all that hold no text. A header cell may
    have several lines. width: lines have at most so many characters; one blank stands between columns, no rule below
    the header, and the first column is cut to fit.
    """
    titles = list(zip_longest(*(title.split("\n")[::-1] for title in header), fillvalue=""))[::-1]
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*titles, *cells, strict=True)]
    right = [not any(isinstance(row[i], str) for row in rows) for i in range(len(header))]
    if text_columns is not None:
        right = [i >= text_columns for i in range(len(header))]
    gap, rule = "  ", ["  ".join("-" * w for w in widths)]
    if width is not None:
        gap, rule = " ", []
        widths[0] = min(widths[0], max(len(header[0]), width - sum(widths[1:]) - len(widths) + 1))
        cells = [[one_line(row[0], widths[0]), *row[1:]] for row in cells]

    def line(row: Sequence[str]) -> str:
        parts = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)]
        return gap.join(parts).rstrip()

    return "\n".join([*map(line, titles), *rule, *map(line, cells)])


def one_line(text: str, width: int) -> str:
    """Text that stays on one line of any terminal: control characters as escapes, cut to `width` characters."""
    safe = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    return safe if len(safe) <= width else safe[: width - 1] + "…"
