"""`featstore build`: embed recordings into a store, alone, on Ray, or as one worker of a plan."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from featstore.audio.outcomes import outcome_notes
from featstore.commands.options import flags, planned_options, progress_of
from featstore.console import (
    EXISTING,
    EXIT_REJECTED,
    PATH,
    Command,
    Meter,
    counted,
    echo,
    echo_json,
    engine_options,
    note,
    table,
)

if TYPE_CHECKING:
    from featstore.build import BuildReport
    from featstore.building.plan import Plan
    from featstore.distributed.shares import Share, ShareReport
    from featstore.store import EmbeddingInfo

SHOWN_REJECTIONS = 20


@click.command(cls=Command)
@click.argument("data", type=EXISTING)
@click.argument("store", type=PATH)
@planned_options
@click.option("--workers", type=click.IntRange(0), help="Processes; default one per core, 0 = none.")
@click.option("--batch", type=click.IntRange(1), help="Clips per embedder call [default: 4, on a GPU 64].")
@click.option("--rank", metavar="I", help="Embed the I-th share of a plan (from 0), or auto: as the launcher states.")
@click.option("--world", metavar="N", help="How many shares there are, or auto.")
@click.option(
    "--claim", is_flag=True, help="Embed units of a plan one by one, each unless another worker has claimed it."
)
@engine_options
@click.option("--actors", type=click.IntRange(1), help="Ray workers [default: as the cluster has processors or GPUs].")
@click.option(
    "--gpus-per-actor",
    type=click.FloatRange(0, min_open=True),
    help="GPUs of each Ray worker, 0.5 for two on one [default: 1].",
)
@click.option("--strict", is_flag=True, help="Stop at the first recording that is rejected.")
@click.option("--dry-run", is_flag=True, help="Print the plan, the bytes needed and free; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON on stdout.")
@click.pass_context
def build(context: click.Context, /, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Embed the recordings of DATA into STORE; run it again to resume or to add what is new.

    \b
    featstore build DATA STORE                               log-mel statistics and generated anomalies for `detect`
    featstore build DATA STORE -e logmel -e twfr             the same without anomalies
    featstore build DATA STORE -e beats=BEATs_iter3.pt       a pretrained encoder (see featstore models)
    featstore build DATA STORE -e stgram=stgram.safetensors  what `featstore train` made

    With --rank and --world, or --claim, it is one of many workers that share what `featstore plan` has planned.
    """
    from featstore.building.request import BuildRequest
    from featstore.run import plan_only, run, work

    request = BuildRequest(**options)
    say = note
    if request.is_share:
        if dry_run:
            raise click.UsageError("--dry-run is for the plan; give it without --rank and --claim")
        with Meter() as meter:
            share, finished = work(request, flags(context), report=progress_of(meter))
        _print_share(request.store, share, finished, as_json)
        return
    if dry_run:
        _print_plan(request.store, *plan_only(request, say=say), as_json)
        return
    with Meter() as meter:
        report = run(request, say=say, report=progress_of(meter))
    _print_report(request.store, report, as_json)
    if report.plan.units:
        from featstore.acquisition.notes import build_notes

        for text in build_notes(request.data, request.store):
            note(f"note: {text}")
    raise SystemExit(EXIT_REJECTED if report.rejected else 0)


def _print_share(store: Path, share: "Share", finished: "ShareReport", as_json: bool) -> None:
    """What one worker finished. Its rejections end `commit` with 3: launchers take anything but 0 for a failed job."""
    if as_json:
        rejected = [{"path": item.path, "reason": item.reason} for item in finished.rejected]
        echo_json({"units": finished.units, "clips": finished.clips, "rejected": rejected})
        return
    who = "claimed" if share.claim else f"rank {share.rank} of {share.world}"
    rest = ", the rest was finished by others" if finished.gone else ""
    echo(f"{store}: {who}: {finished.units} units, {finished.clips:,} clips, {len(finished.rejected)} rejected{rest}")
    for text in outcome_notes(finished.outcomes):
        note(f"note: {text}")
    for item in finished.rejected[:SHOWN_REJECTIONS]:
        echo(f"rejected: {item.path}: {item.reason}", err=True)


def _print_plan(store: Path, plan: "Plan", infos: "list[EmbeddingInfo]", as_json: bool) -> None:
    """What a build would do, on stdout."""
    from featstore.disk.files import free_bytes

    needed, free = plan.bytes_needed(infos), free_bytes(store)
    header = ["embedding", "new", "changed", "kept", "relabelled", "gone"]
    rows = [
        [name, plan.new[name], plan.changed[name], plan.kept[name], len(plan.relabelled[name]), len(plan.gone[name])]
        for name in (info.name for info in infos)
    ]
    if as_json:
        counts = [dict(zip(header, row, strict=True)) for row in rows]
        numbers = {"units": len(plan.units), "clips": plan.clips, "anomalies": plan.anomalies}
        echo_json({**numbers, "bytes_needed": needed, "bytes_free": free, "embeddings": counts})
        return
    echo(table(header, rows))
    of_them = _ratio(plan.clips - plan.anomalies, plan.anomalies) if plan.anomalies else ""
    echo(f"{plan.clips:,} clips to read in {len(plan.units)} units{of_them}")
    echo(f"{needed:,} bytes needed, {free:,} free; nothing was written")


def _ratio(recordings: int, anomalies: int) -> str:
    """What the generated anomalies cost: how many come on the recordings to read."""
    each = f", {anomalies / recordings:.1f} per recording" if recordings else ""
    return f": {recordings:,} recordings and {anomalies:,} generated anomalies{each}"


def _print_report(store: Path, report: "BuildReport", as_json: bool) -> None:
    """Rows on stdout; rejected recordings with their reasons on stderr (all of them: `featstore info --rejected`)."""
    gone = {name: len(keys) for name, keys in report.gone.items() if keys}
    if as_json:
        rejected = [{"path": item.path, "reason": item.reason} for item in report.rejected]
        outcomes = {outcome: len(names) for outcome, names in report.outcomes.items()}
        audio_s = round(report.audio_s, 3)
        echo_json({"rows": report.rows, "rejected": rejected, "outcomes": outcomes, "gone": gone, "audio_s": audio_s})
        return
    for name, rows in report.rows.items():
        echo(f"{store}: {name} holds {counted(rows, 'row')} ({_counts(report, name)})")
    for name, count in gone.items():
        echo(
            f"note: {count:,} rows of {name} belong to recordings that are gone from the folder (--prune drops them)",
            err=True,
        )
    for text in outcome_notes(report.outcomes):
        note(f"note: {text}")
    listed = f"`featstore info {quote(str(store))} --rejected`"
    if report.rejected:
        shown = [[item.path, item.reason] for item in report.rejected[:SHOWN_REJECTIONS]]
        echo(table(["rejected", "reason"], shown), err=True)
        echo(f"{len(report.rejected)} rejected; {listed} lists them all", err=True)
    if report.standing:
        again = f"{listed} lists them, --retry-rejected reads them again"
        echo(f"{report.standing} rejected earlier and unchanged since; {again}", err=True)


def _counts(report: "BuildReport", name: str) -> str:
    """How the rows of an embedding add up."""
    new, changed, kept = report.plan.new[name], report.plan.changed[name], report.plan.kept[name]
    lost = report.lost.get(name, 0)
    others = report.rows[name] - (new + changed + kept - lost)
    counts = f"{new:,} new, {changed:,} changed, {kept:,} kept"
    counts += f", less {lost:,} rejected" if lost else ""
    return counts + (f", and {others:,} of other recordings" if others else "")
