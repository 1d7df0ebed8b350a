"""`featstore plan` and `commit`: a build cut into units for many workers, and what they finished published."""

from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from featstore.commands.options import planned_options
from featstore.console import EXISTING, EXIT_REJECTED, PATH, Command, echo, echo_json, note
from featstore.terminal.shown import counted

if TYPE_CHECKING:
    from featstore.distributed.gather import Gathered


@click.command(cls=Command)
@click.argument("data", type=EXISTING)
@click.argument("store", type=PATH)
@planned_options
@click.option("--json", "as_json", is_flag=True, help="The plan as JSON on stdout.")
def plan(as_json: bool, **options: Any) -> None:
    """Divide a build into units and write these to STORE, for several workers to share.

    Then run `featstore build DATA STORE -e NAME` with --rank I --world N or --claim on any number of machines, and
    `featstore commit STORE`.
    """
    from featstore.building.request import BuildRequest
    from featstore.run import plan_units

    request = BuildRequest(**options)
    planned = plan_units(request, say=note)
    if as_json:
        units, count, name = (len(planned), planned.clips, planned.id) if planned else (0, 0, "")
        echo_json({"plan": name, "units": units, "clips": count})
    elif planned:
        work = f"{counted(planned.clips, 'clip')} to read in {counted(len(planned), 'unit')}"
        echo(f"{request.store}: plan {planned.id}, {work}")
    else:
        echo(f"{request.store}: nothing to embed, the store is complete")


@click.command(cls=Command)
@click.argument("store", type=EXISTING)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def commit(store: Path, as_json: bool) -> None:
    """Publish the units of `featstore plan` that workers have finished in STORE; may be repeated at any time.

    The exit code is 1 while units are missing (they are named), and 3 if recordings were rejected.
    """
    from featstore.distributed.gather import commit

    gathered, opened = commit(store)
    if as_json:
        rows = {name: opened.rows(name) for name in opened.embeddings}
        echo_json({"rows": rows, "plans": [_facts(part) for part in gathered]})
    else:
        for part in gathered:
            published = part.published + part.before
            echo(f"{store}: plan {part.plan.id}: {published} of {counted(len(part.plan), 'unit')} published")
            for info in part.plan.infos if part.complete else ():
                echo(f"{store}: {info.name} holds {counted(opened.rows(info.name), 'row')}")
        if not gathered:
            echo(f"{store}: nothing is pending")
    for part in gathered:
        for number, reason in part.refused.items():
            echo(f"refused: unit {number}: {reason}", err=True)
    incomplete = [part for part in gathered if not part.complete]
    for part in incomplete:
        are, missing = "is" if len(part.missing) == 1 else "are", counted(len(part.missing), "unit")
        echo(
            f"error: {missing} of plan {part.plan.id} {are} missing: {ranges(part.missing)}; "
            "run workers and commit again, or let featstore build make them",
            err=True,
        )
    rejected = sum(part.rejected for part in gathered)
    if rejected:
        listed = f"`featstore info {quote(str(store))} --rejected`"
        were = counted(rejected, "recording was", "recordings were")
        echo(f"{were} rejected; {listed} lists {'it' if rejected == 1 else 'them'}", err=True)
    raise SystemExit(1 if incomplete else EXIT_REJECTED if rejected else 0)


def _facts(part: "Gathered") -> dict[str, Any]:
    return {
        "plan": part.plan.id,
        "units": len(part.plan),
        "published": part.published + part.before,
        "missing": list(part.missing),
        "refused": {str(number): reason for number, reason in part.refused.items()},
        "rejected": part.rejected,
    }


def ranges(numbers: Sequence[int], most: int = 20) -> str:
    """Increasing numbers for people: 0, 2-5, 9."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    shown = [str(first) if first == last else f"{first}-{last}" for first, last in runs[:most]]
    return ", ".join(shown + ["..."] * (len(runs) > most))
