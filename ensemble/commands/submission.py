"""`detect submission`: a DCASE submission against the rules of its year."""

from pathlib import Path

import click

from ensemble.commands.options import year_option
from featstore.console import EXISTING, Command, echo, echo_json


@click.command(cls=Command)
@click.argument("folder", type=EXISTING)
@click.argument("store", type=EXISTING)
@year_option
@click.option("--zip", "pack", is_flag=True, help="Pack again what follows the rules, with edited files and a report.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def submission(folder: Path, store: Path, year: int | None, pack: bool, as_json: bool) -> None:
    """Check a DCASE submission of the test clips of STORE against the rules of its year; exit code 1 for a problem.

    FOLDER: OUT/dcase of `detect run --format dcase` with all systems of a team, or the folder of one system.
    """
    from ensemble.submission.check_package import check_package, findings_text, pack_again

    findings = check_package(folder, store, year, packing=pack)
    if as_json:
        echo_json({name: {"problems": found.problems, "notes": found.notes} for name, found in findings.items()})
    else:
        echo(findings_text(findings))
    if any(found.problems for found in findings.values()):
        raise SystemExit(1)
    if pack:
        echo(f"wrote {', '.join(map(str, pack_again(folder)))}", err=True)
