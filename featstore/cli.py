"""The `featstore` command: the table of its commands. Heavy libraries load inside the command that needs them."""

import click

from featstore.console import Commands

COMMANDS = {
    "simulate": "featstore.commands.data:simulate",
    "download": "featstore.commands.data:download",
    "scan": "featstore.commands.data:scan",
    "check": "featstore.commands.check:check",
    "build": "featstore.commands.build:build",
    "plan": "featstore.commands.shares:plan",
    "commit": "featstore.commands.shares:commit",
    "info": "featstore.commands.upkeep:info",
    "verify": "featstore.commands.upkeep:verify",
    "repair": "featstore.commands.upkeep:repair",
    "compact": "featstore.commands.upkeep:compact",
    "drop": "featstore.commands.upkeep:drop",
    "export": "featstore.commands.exchange:export",
    "import": "featstore.commands.exchange:import_",
    "doctor": "featstore.commands.doctor:doctor",
    "train": "embedders.commands.train:train",
    "models": "embedders.commands.models:models",
}


class Featstore(Commands):
    """The commands that write a store resume."""

    noun = "featstore command"
    after_interrupt = "; finished work is kept, run the same command again to resume"


@click.group(cls=Featstore, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="featstore")
def main() -> None:
    """Turn recordings into embeddings once, and keep them in a feature store.

    \b
    featstore simulate plant                       a simulated plant to try things on
    featstore build plant store -e logmel -e twfr  embed every recording, resume, grow
    featstore info store                           what is in it
    detect store                                   score it

    Exit codes: 0 all well, 1 error, 2 usage, 3 finished but some recordings were rejected or differ from
    their section (check), 4 store locked or damaged, 5 out of disk or memory, 130 interrupted.
    """


if __name__ == "__main__":
    main()
