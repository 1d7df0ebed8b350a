"""What the commands show while they work."""

import errno
import io
import sys
import threading
import time
import warnings
import weakref

import click
import pytest
from click.testing import CliRunner

from featstore.console import Command, Commands, Meter, echo, echo_data, not_lost, table
from featstore.errors import DataError, OptionError
from featstore.terminal.shown import Block, block


def test_a_meter_counts_one_thing_after_another(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Meter("members") as meter:
        candidates, members = meter.count("candidates"), meter.count("members")
        for done in (0, 50, 100):
            candidates(done, 100)
            now[0] += 10
        meter.say("chosen: \x1b[2J")
        members(0, 4)
        now[0] += 2
        members(4, 4)
    lines = capsys.readouterr().err.splitlines()
    assert lines[1].startswith("50/100 candidates (50%) 5 candidates/s ETA 0:10")
    assert lines[3] == "chosen: \\x1b[2J"
    assert lines[5].startswith("4/4 members (100%) 2 members/s"), "the time of the candidates does not count"


def test_a_line_is_printed_below_the_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    meter = Meter()
    meter.live = True
    with meter:
        meter.count("candidates")(1, 2)
        meter.say("chosen: ten")
        meter.count("members")(2, 2)
    lines = capsys.readouterr().err.splitlines()
    assert "chosen: ten" in lines
    at = lines.index("chosen: ten")
    assert "1/2 candidates" in "".join(lines[:at])
    assert "2/2 members" in "".join(lines[at:])


HOSTILE = "a\x1b[2J\nforged\u202e\x9b.wav"
SHOWN = r"a\x1b[2J\nforged\u202e\x9b.wav"


def test_a_bar_and_its_plain_lines_show_names_as_escapes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for live in (True, False):
        meter = Meter()
        meter.live = live
        with meter:
            meter.update(1, 1, f", {HOSTILE}")
        text = capsys.readouterr().err
        assert SHOWN in text
        assert "\x9b" not in text
        assert "\u202e" not in text


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("width", [None, 60])
def test_tables_show_names_as_escapes(terminal: bool, width: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    shown = table(["clip", f"of {HOSTILE}"], [[HOSTILE, 1]], width=width)
    assert isinstance(shown, Block)
    assert not set("\x1b\x9b\u202e") & set(shown.replace("\x1b[1m", "").replace("\x1b[0m", ""))
    assert SHOWN in shown


def test_a_line_is_one_line_and_a_block_stays(capsys: pytest.CaptureFixture[str]) -> None:
    echo(HOSTILE)
    echo(block("a", HOSTILE), err=True)
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == (f"{SHOWN}\n", f"a\n{SHOWN}\n")


def test_what_a_terminal_cannot_encode_is_shown_as_an_escape(
    capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    echo("Lüfter…")
    sys.stdout.flush()
    assert sys.stdout.buffer.getvalue() == b"L\\xfcfter\\u2026\n"  # type: ignore[attr-defined]


def test_data_reach_a_program_byte_for_byte_and_a_terminal_as_escapes(
    capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    echo_data("a\x1b,\udcff")
    assert capsysbinary.readouterr().out == b"a\x1b,\xff\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    echo_data("a\x1b,\udcff")
    assert capsysbinary.readouterr().out == b"a\\x1b,\\udcff\n"


@click.group(cls=Commands)
def program() -> None: ...


@program.command(cls=Command)
@click.argument("how")
def run(how: str) -> None:
    if how == "warns":
        warnings.warn(HOSTILE, RuntimeWarning, stacklevel=1)
    if how == "fails":
        raise DataError(HOSTILE)
    if how == "options":
        raise OptionError(HOSTILE)
    if how == "system":
        raise OSError(errno.EIO, HOSTILE, HOSTILE)


@pytest.mark.parametrize(
    ("how", "code", "text"),
    [
        ("fails", 1, f"error: {SHOWN}\n"),
        ("options", 2, f"Error: {SHOWN}\n"),
        ("system", 1, f"error: {SHOWN}: {SHOWN}\n"),
        ("warns", 0, f"warning: RuntimeWarning: {SHOWN}\n"),
    ],
)
@pytest.mark.filterwarnings("default")
def test_errors_and_warnings_are_one_line(how: str, code: int, text: str) -> None:
    result = CliRunner().invoke(program, ["run", how])
    assert result.exit_code == code
    assert result.stderr.endswith(text)
    assert not set("\x1b\x9b\u202e") & set(result.stderr)


def test_the_traceback_of_an_unexpected_error_holds_no_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.excepthook", None)
    CliRunner().invoke(program, ["run", "well"])
    try:
        raise KeyError(HOSTILE) from ValueError("\x1b[2J")
    except KeyError as error:
        sys.excepthook(type(error), error, error.__traceback__)
    text = capsys.readouterr().err
    assert "Traceback (most recent call last):\n" in text
    assert r"ValueError: \x1b[2J" in text
    assert not set("\x1b\x9b\u202e") & set(text)


def test_an_interruption_in_a_callback_of_a_weak_reference_is_not_lost() -> None:
    class Thing:
        pass

    def callback(reference: object) -> None:
        raise KeyboardInterrupt

    def lose() -> None:
        thing = Thing()
        reference = weakref.ref(thing, callback)
        del thing
        assert reference() is None

    def work() -> None:
        with not_lost():
            lose()
            assert threading.Event().wait(60), "nothing came"

    with pytest.raises(KeyboardInterrupt):
        work()


def test_other_errors_there_are_shown_as_python_shows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setattr("sys.unraisablehook", lambda unraisable: seen.append(unraisable.exc_type))

    class Thing:
        def __del__(self) -> None:
            raise ValueError

    with not_lost():
        Thing()
    assert seen == [ValueError]


def test_what_an_earlier_run_has_done_does_not_count_for_the_rate(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Meter() as meter:
        meter.update(900, 1000)
        now[0] += 20
        meter.update(940, 1000)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "900/1,000 clips (90%) 0 clips/s ETA ?"
    assert second == "940/1,000 clips (94%) 2 clips/s ETA 0:30"
