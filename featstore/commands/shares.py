"""`featstore plan`, the workers of `featstore build`, and `featstore commit`. A composition root, as cli.py is."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from featstore.commands.build import EXISTING, PATH, build_options, listed, planned_options, requests_of, show
from featstore.console import EXIT_REJECTED, Meter
from featstore.errors import RequestError

if TYPE_CHECKING:
    from featstore.distributed.gather import Gathered
    from featstore.distributed.planfile import PlanFile

SHOWN = 20
"""Rejections of a worker that are listed."""

SETTLED = (
    "layout",
    "ground_truth",
    "machines",
    "with_anomalies",
    "recorded_anomalies",
    "unit_clips",
    "rehash",
    "retry_rejected",
    "prune",
)
"""Options that the plan has settled; a worker may repeat them, not change them."""


@click.command()
@click.argument("data", type=EXISTING)
@click.argument("store", type=PATH)
@planned_options
@click.option("--json", "as_json", is_flag=True, help="The plan as JSON on stdout.")
def plan(data: Path, store: Path, **options: Any) -> None:
    """Write the units of a build into STORE, for workers to share.

    Then run `featstore build DATA STORE -e NAME` with --rank I --world N or --claim on any number of machines, and
    `featstore commit STORE`.
    """
    from featstore.distributed.shares import plan_shares

    root, clips = listed(data, store, options)
    asked = {name: _plain(options[name]) for name in SETTLED}
    made = plan_shares(root, clips, store, requests_of(options), build_options(options, root), asked=asked)
    if options["as_json"]:
        units, count, name = (len(made), made.clips, made.id) if made else (0, 0, "")
        click.echo(json.dumps({"plan": name, "units": units, "clips": count}))
    elif made:
        click.echo(f"{store}: plan {made.id}, {made.clips:,} clips to read in {len(made)} units")
    else:
        click.echo(f"{store}: nothing to embed, everything is there")


def work(context: click.Context, data: Path, store: Path, options: dict[str, Any]) -> None:
    """One worker: the share of the planned units that `build` was given.

    Rejections are said, and end `commit` with 3: launchers take anything but 0 for the failure of a whole job.
    """
    from featstore.distributed.launchers import place
    from featstore.distributed.planfile import plan_for
    from featstore.distributed.shares import Share, work_share

    if options["claim"] and (options["rank"] or options["world"]):
        raise click.UsageError("--claim takes whatever is free; it goes without --rank and --world")
    if options["dry_run"]:
        raise click.UsageError("--dry-run is for the plan; give it without --rank and --claim")
    rank, world = (0, 1) if options["claim"] else place(options["rank"] or "auto", options["world"], os.environ)
    share = Share(rank, world, claim=options["claim"])
    requests = requests_of(options)
    options |= _settled(context, plan_for(store, [request.name for request in requests]))
    root = data if data.is_dir() else data.parent
    meter = Meter()
    done = work_share(root, store, requests, build_options(options, root), share, report=show(meter))
    meter.close()
    if options["as_json"]:
        rejected = [{"path": item.path, "reason": item.reason} for item in done.rejected]
        click.echo(json.dumps({"units": done.units, "clips": done.clips, "rejected": rejected}))
        return
    who = "claimed" if share.claim else f"rank {rank} of {world}"
    left = ", the rest was finished by others" if done.gone else ""
    click.echo(f"{store}: {who}: {done.units} units, {done.clips:,} clips, {len(done.rejected)} rejected{left}")
    for item in done.rejected[:SHOWN]:
        click.echo(f"rejected: {item.path}: {item.reason}", err=True)


def _settled(context: click.Context, made: "PlanFile") -> dict[str, Any]:
    """The options of the plan; RequestError where this command line says otherwise."""
    for name in SETTLED:
        here, there = _plain(context.params[name]), made.asked.get(name)
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE and here != there:
            flag = next(one.opts[0] for one in context.command.params if one.name == name)
            raise RequestError(
                f"{flag} is {here!r} here and {there!r} in plan {made.id}; leave it to the plan, or plan again"
            )
    return {name: made.asked.get(name) for name in SETTLED}


def _plain(value: Any) -> Any:
    """An option as JSON keeps it."""
    return list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value


@click.command()
@click.argument("store", type=EXISTING)
@click.option("--json", "as_json", is_flag=True)
def commit(store: Path, as_json: bool) -> None:
    """Publish what the workers of `featstore plan` have finished in STORE; again at any time.

    Exit code 1 while units are missing, which it names; 3 when recordings were rejected.
    """
    from featstore.distributed.gather import commit

    gathered, opened = commit(store)
    if as_json:
        rows = {name: opened.rows(name) for name in opened.embeddings}
        click.echo(json.dumps({"rows": rows, "plans": [_facts(one) for one in gathered]}))
    else:
        for one in gathered:
            click.echo(f"{store}: plan {one.plan.id}: {one.published + one.before} of {len(one.plan)} units published")
            for info in one.plan.infos if one.complete else ():
                click.echo(f"{store}: {info.name} holds {opened.rows(info.name):,} rows")
        if not gathered:
            click.echo(f"{store}: nothing is pending")
    for one in gathered:
        for number, reason in one.refused.items():
            click.echo(f"refused: unit {number}: {reason}", err=True)
    missing = [one for one in gathered if not one.complete]
    for one in missing:
        click.echo(
            f"error: {len(one.missing)} units of plan {one.plan.id} are missing: {ranges(one.missing)}; run workers "
            "and commit again, or let featstore build make them",
            err=True,
        )
    rejected = sum(one.rejected for one in gathered)
    if rejected:
        listed = f"`featstore info {quote(str(store))} --rejected`"
        click.echo(f"{rejected:,} recordings were rejected; {listed} lists them", err=True)
    raise SystemExit(1 if missing else EXIT_REJECTED if rejected else 0)


def _facts(one: "Gathered") -> dict[str, Any]:
    return {
        "plan": one.plan.id,
        "units": len(one.plan),
        "published": one.published + one.before,
        "missing": list(one.missing),
        "refused": {str(number): reason for number, reason in one.refused.items()},
        "rejected": one.rejected,
    }


def ranges(numbers: Sequence[int], most: int = 20) -> str:
    """Increasing numbers for people: 0, 2-5, 9."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    shown = [str(a) if a == b else f"{a}-{b}" for a, b in runs[:most]]
    return ", ".join(shown + ["..."] * (len(runs) > most))
