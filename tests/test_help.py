"""Every option of every command says what it is for."""

from collections.abc import Iterator

import click
import pytest

from ensemble.cli import main as detect
from featstore.cli import main as featstore


def commands(group: click.Group, name: str) -> Iterator[tuple[str, click.Command]]:
    """Every command below a group, with its whole name."""
    context = click.Context(group)
    for child in group.list_commands(context):
        command = group.get_command(context, child)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{name} {child}")
        else:
            yield f"{name} {child}", command


ALL = dict([*commands(featstore, "featstore"), *commands(detect, "detect")])


@pytest.mark.parametrize("name", ALL)
def test_every_command_and_option_has_help(name: str) -> None:
    command = ALL[name]
    assert command.help
    silent = [p.opts[0] for p in command.params if isinstance(p, click.Option) and not p.help and not p.hidden]
    assert silent == []


def test_the_number_of_processes_means_the_same_everywhere() -> None:
    options = {
        name: option
        for name, command in ALL.items()
        for option in command.params
        if "--workers" in option.opts and isinstance(option, click.Option)
    }
    assert {"featstore build", "featstore simulate", "detect run", "detect select", "detect score"} <= set(options)
    assert {(option.help, repr(option.type)) for option in options.values()} == {
        ("Processes; 0: none, all in this one.  [default: one per core where that is faster]", "<IntRange x>=0>")
    }
