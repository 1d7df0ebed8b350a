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
    echo,
    echo_json,
    engine_options,
    note,
    table,
    workers_option,
)
from featstore.terminal.shown import counted

if TYPE_CHECKING:
    from featstore.build import BuildReport
    from featstore.building.moved import Gone
    from featstore.building.plan import Plan
    from featstore.building.request import BuildRequest
    from featstore.distributed.shares import Share, ShareReport
    from featstore.store import EmbeddingInfo

SHOWN_REJECTIONS = 20


@click.command(cls=Command)
@click.argument("data", type=EXISTING)
@click.argument("store", type=PATH)
@planned_options
@workers_option
@click.option("--batch", type=click.IntRange(1), help="Clips per embedder call [default: 4, on a GPU 64].")
@click.option("--rank", metavar="I", help="Embed the I-th share of a plan (from 0), or auto: as the launcher states.")
@click.option("--world", metavar="N", help="How many shares there are, or auto.")
@click.option("--claim", is_flag=True, help="Embed units of a plan that no other worker has claimed, one by one.")
@engine_options
@click.option(
    "--actors", type=click.IntRange(1), help="Number of Ray workers [default: one per processor or GPU of the cluster]."
)
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

    With --rank and --world, or --claim, this process is one of several workers of a build by `featstore plan`.
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
    _print_report(request, report, as_json)
    if report.plan.units:
        from featstore.acquisition.notes import build_notes

        for text in build_notes(request.data, request.store):
            note(f"note: {text}")
    raise SystemExit(EXIT_REJECTED if report.rejected or report.unmade else 0)


def _print_share(store: Path, share: "Share", finished: "ShareReport", as_json: bool) -> None:
    """What one worker finished. Its rejections end `commit` with 3: launchers take anything but 0 for a failed job."""
    if as_json:
        rejected = [{"path": item.path, "reason": item.reason} for item in finished.rejected]
        echo_json({"units": finished.units, "clips": finished.clips, "rejected": rejected})
        return
    who = "claimed" if share.claim else f"rank {share.rank} of {share.world}"
    rest = ", the rest was finished by others" if finished.gone else ""
    done = f"{counted(finished.units, 'unit')}, {counted(finished.clips, 'clip')}, {len(finished.rejected):,} rejected"
    echo(f"{store}: {who}: {done}{rest}")
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
    echo(f"{counted(plan.clips, 'clip')} to read in {counted(len(plan.units), 'unit')}{of_them}")
    echo(f"{needed:,} bytes needed, {free:,} free; nothing was written")


def _ratio(recordings: int, anomalies: int) -> str:
    """What the generated anomalies cost: how many come on the recordings to read."""
    each = f", {anomalies / recordings:.1f} per recording" if recordings else ""
    generated = counted(anomalies, "generated anomaly", "generated anomalies")
    return f": {counted(recordings, 'recording')} and {generated}{each}"


def _print_report(request: "BuildRequest", report: "BuildReport", as_json: bool) -> None:
    """Rows on stdout; rejected recordings with their reasons on stderr (all of them: `featstore info --rejected`)."""
    store, gone = request.store, {name: len(keys) for name, keys in report.gone.keys.items() if keys}
    if as_json:
        rejected = [{"path": item.path, "reason": item.reason} for item in report.rejected]
        outcomes = {outcome: len(names) for outcome, names in report.outcomes.items()}
        audio_s = round(report.audio_s, 3)
        numbers = {
            "outcomes": outcomes,
            "gone": gone,
            "moved": report.gone.moved,
            "unmade": len(report.unmade),
            "audio_s": audio_s,
        }
        echo_json({"rows": report.rows, "rejected": rejected, **numbers})
        return
    for name, rows in report.rows.items():
        echo(f"{store}: {name} holds {counted(rows, 'row')} ({_counts(report, name)})")
    for text in [*_gone_notes(report.gone, request), *outcome_notes(report.outcomes)]:
        note(f"note: {text}")
    listed = f"`featstore info {quote(str(store))} --rejected`"
    if report.rejected:
        shown = [[item.path, item.reason] for item in report.rejected[:SHOWN_REJECTIONS]]
        echo(table(["rejected", "reason"], shown), err=True)
        echo(f"{len(report.rejected):,} rejected; {listed} lists them all", err=True)
    if report.standing:
        again = f"{listed} lists them, --retry-rejected reads them again"
        echo(f"{report.standing:,} rejected earlier and unchanged since; {again}", err=True)
    for text in report.unmade.notes():
        note(text)


def _gone_notes(gone: "Gone", request: "BuildRequest") -> list[str]:
    """What became of the rows of recordings that are no longer in the folder; with --machine the others are unknown."""
    notes = []
    if gone.moved:
        was, of = ("was", "its old path") if gone.moved == 1 else ("were", "their old paths")
        notes.append(f"{counted(gone.moved, 'recording')} {was} moved or renamed: the rows of {of} are dropped")
    counts = {name: len(keys) for name, keys in gone.keys.items() if keys}
    if counts and not request.machines:
        rows = " and ".join(f"{counted(count, 'row')} of {name}" for name, count in counts.items())
        are = "is" if [*counts.values()] == [1] else "are"
        train = "trains" if gone.training == 1 else "train"
        still = f"; {gone.training:,} of these recordings still {train} the detectors" if gone.training else ""
        command = f"featstore build {quote(str(request.data))} {quote(str(request.store))} --prune"
        notes.append(f"{rows} {are} of recordings that are no longer in the folder{still}; remove them with {command}")
    return notes


def _counts(report: "BuildReport", name: str) -> str:
    """How the rows of an embedding add up."""
    new, changed, kept = report.plan.new[name], report.plan.changed[name], report.plan.kept[name]
    lost = report.lost.get(name, 0)
    others = report.rows[name] - (new + changed + kept - lost)
    counts = f"{new:,} new, {changed:,} changed, {kept:,} kept"
    counts += f", less {lost:,} rejected" if lost else ""
    return counts + (f", and {others:,} of other recordings" if others else "")
