"""`featstore build`: options to a plan, progress, a report. A composition root, as cli.py is."""

import json
import re
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from embedders import EMBEDDERS
from embedders.commands.models import offline_option
from featstore.building.memory import keep_freed_memory
from featstore.console import EXIT_REJECTED, Meter, check_engine, ray_options, table
from featstore.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from featstore.audio import AudioPolicy
    from featstore.build import BuildOptions, BuildReport, Progress, Request
    from featstore.building.plan import Plan
    from featstore.building.units import Workers
    from featstore.building.work import Render
    from featstore.clip import Clip
    from featstore.layouts.recognise import Listing
    from featstore.store import EmbeddingInfo

PATH = click.Path(path_type=Path)
EXISTING = click.Path(exists=True, path_type=Path)
SHOWN_REJECTIONS = 20


_PLANNED = [
    click.option(
        "-e",
        "--embedder",
        "specs",
        multiple=True,
        required=True,
        help=f"NAME[:key=value,...] or NAME=CHECKPOINT, as often as wanted; NAME is {', '.join(EMBEDDERS)}.",
    ),
    click.option("--as", "rename", help="Name of the embedding in the store (with a single -e)."),
    click.option(
        "--layout", default="auto", show_default=True, help="auto, dcase2020 to dcase2026, mimii, folder, manifest."
    ),
    click.option("--ground-truth", type=EXISTING, help="Official ground-truth CSV(s) for evaluation clips."),
    click.option("--machine", "machines", multiple=True, help="Only these machines."),
    click.option(
        "--with-anomalies",
        is_flag=False,
        flag_value="6",
        metavar="[N[:KIND,...][@DB,...]]",
        help="Also embed N (default 6) or more generated anomalies of every training clip.",
    ),
    click.option(
        "--recorded-anomalies", type=EXISTING, help="Folder of recorded anomalies to mix in, with captions.csv."
    ),
    click.option("--channel", default="0", show_default=True, help="0, 1, ... or mean; never down-mixed silently."),
    click.option("--length", default="native", show_default=True, help="native, crop:S, pad:S or tile:S (seconds)."),
    click.option("--max-seconds", default=600.0, show_default=True, help="Longer native recordings are rejected."),
    click.option("--unit-clips", default=512, show_default=True, type=click.IntRange(1), help="Clips per shard."),
    click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda."),
    click.option("--dtype", type=click.Choice(["float32", "float16"]), default="float32", show_default=True),
    offline_option,
    click.option("--rehash", is_flag=True, help="Notice changed recordings by content, not by size and time."),
    click.option("--retry-rejected", is_flag=True, help="Read recordings again that were rejected before."),
    click.option("--prune", is_flag=True, help="Drop rows whose recording has gone from DATA."),
]


def planned_options(command: "Callable[..., None]") -> "Callable[..., None]":
    """The options of `build` that say what is embedded, and as what."""
    for option in reversed(_PLANNED):
        command = option(command)
    return command


@click.command()
@click.argument("data", type=EXISTING)
@click.argument("store", type=PATH)
@planned_options
@click.option("--workers", type=click.IntRange(0), help="Processes; default one per core, 0 = none.")
@click.option("--batch", type=click.IntRange(1), help="Clips per embedder call [default: 4, on a GPU 64].")
@click.option("--rank", metavar="I", help="Make the I-th share of a plan (from 0), or auto as the launcher says.")
@click.option("--world", metavar="N", help="How many shares there are, or auto.")
@click.option("--claim", is_flag=True, help="Make units of a plan one by one, whatever no other worker has.")
@ray_options
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
def build(context: click.Context, /, data: Path, store: Path, **options: Any) -> None:
    """Embed the recordings of DATA into STORE; run it again to resume or to add what is new.

    \b
    featstore build DATA STORE -e logmel -e twfr             log-mel statistics: fast, nothing to fetch
    featstore build DATA STORE -e beats=BEATs_iter3.pt       a pretrained encoder (see featstore models)
    featstore build DATA STORE -e stgram=stgram.safetensors  what `featstore train` made

    With --rank and --world, or --claim, it is one of many workers that share what `featstore plan` has planned.
    """
    if options["claim"] or options["rank"] or options["world"]:
        from featstore.commands.shares import work

        if options["engine"] != "local":
            raise click.UsageError(f"--engine {options['engine']} shares a build by itself; it goes without --claim")
        return work(context, data, store, options)
    from featstore.build import build, plan_build

    with _engine(options) as workers:
        root, clips = listed(data, store, options)
        requests, settings = requests_of(options), replace(build_options(options, root), workers=workers)
        if options["dry_run"]:
            return _print_plan(store, *plan_build(root, clips, store, requests, settings), options["as_json"])
        keep_freed_memory()  # where this process embeds
        meter = Meter()
        report = build(root, clips, store, requests, settings, report=show(meter))
        meter.close()
    _print_report(store, report, options["as_json"])
    raise SystemExit(EXIT_REJECTED if report.rejected else 0)


@contextmanager
def _engine(options: dict[str, Any]) -> "Iterator[Workers]":
    """What computes a build; for Ray the device is chosen by what the cluster has."""
    check_engine(options, "actors", "gpus_per_actor")
    if options["engine"] == "ray" and options["workers"] is not None:
        raise click.UsageError("--workers are processes of this machine; on Ray give --actors")
    if options["engine"] == "local" or options["dry_run"]:
        yield options["workers"]
        return
    from featstore.distributed.ray_build import ray_engine
    from featstore.distributed.ray_cluster import cluster, has_gpus

    with cluster(options["address"]):
        if options["device"] == "auto":
            options["device"] = "cuda" if has_gpus() else "cpu"
        yield ray_engine(options["actors"], options["gpus_per_actor"] or 1, options["unit_clips"])


def listed(data: Path, store: Path, options: dict[str, Any]) -> "tuple[Path, list[Clip]]":
    """Folder of the recordings and what is to be embedded of them; says on stderr what DATA was taken for."""
    from featstore.building.state import other_root
    from featstore.layouts.recognise import find_clips, summary

    listing = find_clips(data, options["layout"], ground_truth=options["ground_truth"])
    clips = _only([*listing.clips, *_anomalies(listing, options)], options["machines"])
    click.echo(f"{data}: layout {listing.layout}, {len(clips):,} clips\n{summary(clips)}", err=True)
    for note in [*listing.notes, *other_root(store, listing.root)]:
        click.echo(f"note: {note}", err=True)
    return listing.root, clips


def show(meter: Meter) -> "Callable[[Progress], None]":
    """What prints the progress of a build."""

    def update(progress: "Progress") -> None:
        extra = f", {progress.rejected} rejected" if progress.rejected else ""
        meter.update(progress.done, progress.total, extra, audio_s=progress.audio_s)

    return update


def _only(clips: "list[Clip]", machines: tuple[str, ...]) -> "list[Clip]":
    known = sorted({clip.machine for clip in clips})
    for machine in machines:
        if machine not in known:
            raise DataError(f"--machine {machine}: not in the data; it has {', '.join(known)}")
    return [clip for clip in clips if clip.machine in machines] if machines else clips


def _anomalies(listing: "Listing", options: dict[str, Any]) -> "list[Clip]":
    """Generated anomalies of the training clips, where they were asked for."""
    folder = options["recorded_anomalies"]
    if not options["with_anomalies"]:
        if folder:
            raise click.UsageError("--recorded-anomalies needs --with-anomalies N")
        return []
    from featstore.anomalies.recorded import donors_by_machine
    from featstore.anomalies.variants import VariantDesign, variants_of

    machines = {clip.machine for clip in listing.clips}
    recorded = donors_by_machine(folder, listing.root, sorted(machines)) if folder else None
    return variants_of(listing.clips, VariantDesign.parse(options["with_anomalies"]), recorded=recorded)


def requests_of(options: dict[str, Any]) -> "list[Request]":
    """Embedders by name; on a machine with an accelerator they run there."""
    import embedders
    from featstore.build import Request

    if options["rename"] and len(options["specs"]) > 1:
        raise click.UsageError("--as names one embedding; give a single -e with it")
    device = _device(options)
    for spec in options["specs"]:
        if options["specs"].count(spec) > 1:
            raise click.UsageError(f"-e {spec} is given twice")
        try:
            embedders.parse_embedder(spec)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
    return [
        Request(options["rename"] or _name_of(spec), partial(embedders.create, spec, device))
        for spec in options["specs"]
    ]


def _name_of(spec: str) -> str:
    """Name in the store of an embedder's line of text: without the path of its weights, in letters a store allows."""
    head, mark, rest = re.match(r"([^:=]*)([:=]?)(.*)", spec, re.DOTALL).groups()  # type: ignore[union-attr]
    kept = [item for item in rest.split(",") if not item.startswith("checkpoint=")] if mark == ":" else []
    return re.sub(r"[^\w.+@=,:~-]", "+", ":".join([head, ",".join(kept)] if kept else [head]))


def _device(options: dict[str, Any]) -> str:
    """The device asked for; auto takes cuda where torch sees one, which on Ray is for the workers to see."""
    if options["device"] == "cpu" or (options.get("engine") == "ray" and options["device"] != "auto"):
        return str(options["device"])
    import torch

    if torch.cuda.is_available():
        return "cuda" if options["device"] == "auto" else str(options["device"])
    if options["device"] == "auto":
        return "cpu"
    raise click.UsageError(f"--device {options['device']}: torch sees no CUDA device here; use cpu")


def build_options(options: dict[str, Any], root: Path) -> "BuildOptions":
    """The options as the library takes them."""
    from featstore.audio import AudioPolicy
    from featstore.build import BuildOptions
    from featstore.building.plan import PlanOptions

    on_cpu = _device(options) == "cpu"
    audio = AudioPolicy(options["channel"], options["length"], options["max_seconds"])
    return BuildOptions(
        audio=audio,
        plan=PlanOptions(options["unit_clips"], options["rehash"], options["retry_rejected"]),
        workers=options.get("workers"),
        embed_in_workers=on_cpu,
        batch=options.get("batch") or (4 if on_cpu else 64),
        dtype=options["dtype"],
        strict=options.get("strict", False),
        prune=options["prune"],
        render=_renderer(root, audio) if options["with_anomalies"] else None,
    )


def _renderer(root: Path, audio: "AudioPolicy") -> "Render":
    from featstore.anomalies.variants import Renderer

    return Renderer(root, audio)


def _print_plan(store: Path, plan: "Plan", infos: "list[EmbeddingInfo]", as_json: bool) -> None:
    """What a build would do, on stdout."""
    from featstore.building.plan import free_bytes

    needed, free = plan.bytes_needed(infos), free_bytes(store)
    rows = [
        [
            i.name,
            plan.new[i.name],
            plan.changed[i.name],
            plan.kept[i.name],
            len(plan.relabelled[i.name]),
            len(plan.gone[i.name]),
        ]
        for i in infos
    ]
    header = ["embedding", "new", "changed", "kept", "relabelled", "gone"]
    if as_json:
        counts = [dict(zip(header, row, strict=True)) for row in rows]
        click.echo(
            json.dumps(
                {
                    "units": len(plan.units),
                    "clips": plan.clips,
                    "bytes_needed": needed,
                    "bytes_free": free,
                    "embeddings": counts,
                }
            )
        )
        return
    click.echo(table(header, rows))
    click.echo(f"{plan.clips:,} clips to read in {len(plan.units)} units")
    click.echo(f"{needed:,} bytes needed, {free:,} free; nothing was written")


def _print_report(store: Path, report: "BuildReport", as_json: bool) -> None:
    """Rows on stdout; rejected recordings with their reasons on stderr (all of them: `featstore info --rejected`)."""
    gone = {name: len(keys) for name, keys in report.gone.items() if keys}
    if as_json:
        rejected = [{"path": item.path, "reason": item.reason} for item in report.rejected]
        click.echo(
            json.dumps({"rows": report.rows, "rejected": rejected, "gone": gone, "audio_s": round(report.audio_s, 3)})
        )
        return
    for name, rows in report.rows.items():
        new, changed, kept = report.plan.new[name], report.plan.changed[name], report.plan.kept[name]
        click.echo(f"{store}: {name} holds {rows:,} rows ({new:,} new, {changed:,} changed, {kept:,} kept)")
    for name, count in gone.items():
        click.echo(
            f"note: {count:,} rows of {name} belong to recordings that are gone from the folder (--prune drops them)",
            err=True,
        )
    listed = f"`featstore info {quote(str(store))} --rejected`"
    if report.rejected:
        shown = [[item.path, item.reason] for item in report.rejected[:SHOWN_REJECTIONS]]
        click.echo(table(["rejected", "reason"], shown), err=True)
        click.echo(f"{len(report.rejected)} rejected; {listed} lists them all", err=True)
    if report.standing:
        again = f"{listed} lists them, --retry-rejected reads them again"
        click.echo(f"{report.standing} rejected earlier and unchanged since; {again}", err=True)
