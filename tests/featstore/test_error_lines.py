"""Errors with several lines: each line is printed as one, whatever the names in it hold."""

import pickle

import click
from click.testing import CliRunner

from featstore.console import Commands
from featstore.errors import DataError

ERROR = DataError("nothing was imported:", details=["a\nb.csv, line 1: odd", "line 2: \x1b[31mred"])


def test_text_and_lines_have_the_same_words() -> None:
    assert str(ERROR) == "nothing was imported:\na\nb.csv, line 1: odd\nline 2: \x1b[31mred"
    assert ERROR.lines == ("nothing was imported:", "a\nb.csv, line 1: odd", "line 2: \x1b[31mred")
    assert DataError("one").lines == ("one",)
    assert DataError().lines == ("",)


def test_details_survive_the_way_from_a_worker_process() -> None:
    assert pickle.loads(pickle.dumps(ERROR)).lines == ERROR.lines


def test_every_line_is_shown_as_a_line() -> None:
    @click.command()
    def fails() -> None:
        raise ERROR

    group = Commands(commands={"fails": fails})
    result = CliRunner().invoke(group, ["fails"])
    assert result.exit_code == 1
    assert result.stderr == "error: nothing was imported:\na\\nb.csv, line 1: odd\nline 2: \\x1b[31mred\n"
