"""The `detect` command: the table of its commands. Heavy libraries load inside the command that needs them."""

from pathlib import Path

import click

from featstore.console import Commands
from featstore.spec import nearest

COMMANDS = {
    "run": "ensemble.commands.run:run",
    "select": "ensemble.commands.select:select",
    "report": "ensemble.commands.run:report",
    "review": "ensemble.commands.review:review",
    "evaluate": "ensemble.commands.run:evaluate",
    "compare": "ensemble.commands.compare:compare",
    "submission": "ensemble.commands.submission:submission",
    "fit": "ensemble.commands.fit:fit",
    "score": "ensemble.commands.score:score",
    "neighbours": "ensemble.commands.neighbours:neighbours",
    "mark": "ensemble.commands.marks:mark",
    "marks": "ensemble.commands.marks:marks",
    "watch": "ensemble.commands.watch:watch",
    "stream": "ensemble.commands.watch:stream",
    "archive": "ensemble.commands.archive:archive",
    "detectors": "ensemble.commands.catalogue:detectors",
    "recipes": "ensemble.commands.catalogue:recipes",
}


class WithDefault(Commands):
    """`detect STORE ...` is short for `detect run STORE ...`."""

    noun = "detect command"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert `run` where the first word is an option, a path, or nothing like a command."""
        names = self.list_commands(ctx)
        first = args[0] if args else "--help"
        if first not in names and Path(first).is_file():
            raise click.UsageError(
                f"{first} is a file, and a store is a folder. To score a recording: detect score MODEL {first}; to see "
                f"what is like it: detect neighbours STORE {first}",
                ctx,
            )
        is_store = first.startswith("-") or Path(first).exists() or not nearest(first, names)
        if is_store and first not in {*names, "-h", "--help", "--version"}:
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a first word that is none may also be a store that is not there."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            raise click.UsageError(f"{error.message.rstrip('.')} And no store {args[0]!r} exists here.", ctx) from error


@click.group(cls=WithDefault, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="featstore")
def main() -> None:
    """Score the recordings of a feature store, fuse the scores, decide, and say why.

    \b
    detect STORE                            score it with the ensemble chosen by generated anomalies
    detect STORE -d knn -e twfr@r0.9        one detector on one view
    detect select STORE -o recipe.toml      choose an ensemble by generated anomalies
    detect STORE --recipe results/recipe.toml   run a recorded recipe again
    detect report STORE --data DATA         one HTML file: charts, spectrograms, players
    detect review STORE --data DATA         a page in the browser: listen, decide, mark
    detect mark STORE CLIP fault            records what a person heard; the next run uses it
    detect neighbours STORE FILE            the recordings most similar to a file
    detect archive STORE ARCHIVE            the most anomalous clips of an archive of any size
    detect fit STORE -o plant.model         a fitted model, which scores new recordings without STORE
    detect score plant.model FILE           scores and decisions of new recordings
    detect watch plant.model FOLDER         scores every new recording of a folder once
    detect stream plant.model -             scores windows of an endless stream
    detect evaluate results/scores.csv STORE    official metrics of any system's scores
    detect compare STORE --recipe A.toml --recipe B.toml    which of several systems is better, with tests
    detect submission results/dcase STORE   a DCASE submission against the rules of its year

    Exit codes: 0 all well, 1 error, 2 usage, 3 finished but some recordings were rejected or have no
    score, 4 store locked or damaged, 5 out of disk or memory, 6 a clip was reported (--fail-on-anomaly),
    130 interrupted.
    """


if __name__ == "__main__":
    main()
