"""What `featstore build` and `featstore plan` do with a request, on this machine, on Ray, or as one of many workers."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from featstore import registry
from featstore.anomalies import translated
from featstore.anomalies.budget import CLIP_S, auto_variants
from featstore.anomalies.described import chains_by_machine, faults_of, notes_of
from featstore.anomalies.fault_words import read_words
from featstore.anomalies.recorded import donors_by_machine
from featstore.anomalies.variants import Renderer, VariantDesign, variants_of
from featstore.audio.lengths import typical_seconds
from featstore.build import BuildOptions, BuildReport, Progress, Request, build, plan_build
from featstore.building.default import Chosen, chosen, windows_held
from featstore.building.memory import keep_freed_memory
from featstore.building.plan import Plan, PlanOptions
from featstore.building.request import AUTO_ANOMALIES, NO_ANOMALIES, BuildRequest, name_in_store
from featstore.building.state import other_root
from featstore.building.units import Workers
from featstore.clip import Clip
from featstore.distributed.launchers import place
from featstore.distributed.planfile import PlanFile, plan_for, plans_of
from featstore.distributed.shares import Share, ShareReport, plan_shares, work_share
from featstore.errors import DataError
from featstore.layouts.recognise import find_clips, summary
from featstore.layouts.windows import windows_of
from featstore.spec import did_you_mean
from featstore.store import EmbeddingInfo, FeatureStore
from featstore.terminal.shown import counted

Say = Callable[[str], None]
"""Shows a line to the user."""

BATCH, DEVICE_BATCH = 4, 64
"""Clips per call of an embedder, on a processor and on an accelerator."""


def run(request: BuildRequest, *, say: Say, report: Callable[[Progress], None]) -> BuildReport:
    """Embed what is new or changed, on this machine or on Ray; raises what `build` raises."""
    with _engine(request) as (workers, device):
        request = with_windows(request, say)
        root, clips = listed(request, say)
        options = replace(build_options(request, root, device), workers=workers)
        keep_freed_memory()  # where this process embeds
        requests = embeddings(request, device, say)
        return build(root, clips, request.store, requests, options, report=report)


def plan_only(request: BuildRequest, *, say: Say) -> tuple[Plan, list[EmbeddingInfo]]:
    """What `run` would do; nothing is written."""
    request = with_windows(request, say)
    root, clips = listed(request, say)
    on_cluster = request.engine == "ray" and request.device != "auto"  # the device is one of the cluster's, not of here
    device = request.device if on_cluster else registry.device(request.device)
    requests, options = embeddings(request, device, say), build_options(request, root, device)
    return plan_build(root, clips, request.store, requests, options)


def plan_units(request: BuildRequest, *, say: Say) -> PlanFile | None:
    """Write the units of a build into the store for workers to share; None when there is nothing to embed."""
    request = with_windows(request, say)
    root, clips = listed(request, say)
    device = registry.device(request.device)
    options = build_options(request, root, device)
    return plan_shares(root, clips, request.store, embeddings(request, device, say), options, asked=request.settled)


def work(
    request: BuildRequest, flags: Mapping[str, str], *, report: Callable[[Progress], None]
) -> tuple[Share, ShareReport]:
    """One worker: embed the share of the planned units that `request` names; flags as in `settled_by`."""
    rank, world = (0, 1) if request.claim else place(request.rank or "auto", request.world, os.environ)
    share = Share(rank, world, claim=request.claim)
    device = registry.device(request.device)
    requests = embeddings(request, device)
    plan = plan_for(request.store, [item.name for item in requests])
    request = request.settled_by(plan.id, plan.asked, flags)
    if plan.audio.windows and not {"window", "hop", "length"} & set(flags):
        request = request.with_windows(plan.audio.windows)
    root = request.data if request.data.is_dir() else request.data.parent
    return share, work_share(root, request.store, requests, build_options(request, root, device), share, report=report)


def listed(request: BuildRequest, say: Say) -> tuple[Path, list[Clip]]:
    """Folder of the recordings and the clips to embed; prints the detected layout."""
    listing = find_clips(request.data, request.layout, ground_truth=request.ground_truth)
    listing = replace(listing, clips=windows_of(listing.root, listing.clips, request.audio))
    notes = [*listing.notes, *listing.test_notes, *_window_notes(request, listing.clips)]
    stored = _stored_variants(request.store)
    recorded = _only(listing.clips, request.machines)
    kept = {clip.machine for clip in recorded}
    anomalies = [c for c in _anomalies(request, listing.clips, listing.root, stored, say) if c.machine in kept]
    clips = [*recorded, *anomalies]
    say(f"{request.data}: layout {listing.layout}, {counted(len(clips), 'clip')}")
    say(summary(clips))
    costs = _costs(request, len(clips) - len(anomalies), anomalies, stored)
    for note in [*notes, *costs, *other_root(request.store, listing.root)]:
        say(f"note: {note}")
    return listing.root, clips


def _window_notes(request: BuildRequest, clips: Sequence[Clip]) -> list[str]:
    """What became of the recordings of a build with --window."""
    if request.windows is None:
        return []
    cut = [clip.recording for clip in clips if clip.window]
    whole = len(clips) - len(cut)
    short = counted(whole, "recording is", "recordings are")
    rest = f"; {short} not longer than one, or unreadable, and stay{'s' * (whole == 1)} whole" if whole else ""
    return [f"{counted(len(cut), 'window')} of {counted(len(set(cut)), 'recording')} ({request.windows.option}){rest}"]


def _only(clips: list[Clip], machines: tuple[str, ...]) -> list[Clip]:
    known = sorted({clip.machine for clip in clips})
    for machine in machines:
        if machine not in known:
            raise DataError(
                f"--machine {machine}: not in the data; it has {', '.join(known)}{did_you_mean(machine, known)}"
            )
    return [clip for clip in clips if clip.machine in machines] if machines else clips


def _anomalies(request: BuildRequest, clips: list[Clip], root: Path, stored: Sequence[Clip], say: Say) -> list[Clip]:
    """Generated anomalies of the training clips of all machines, as --anomalies says."""
    if request.design == NO_ANOMALIES:
        return []
    machines = sorted({clip.machine for clip in clips})
    outside = _outside(request, root, machines, say)
    if request.design == AUTO_ANOMALIES:
        seconds = typical_seconds(root, [clip.path for clip in clips], request.audio) or CLIP_S
        return auto_variants(clips, clip_s=seconds, stored=stored, outside=outside)
    return variants_of(clips, VariantDesign.parse(request.design), outside=outside)


def _outside(request: BuildRequest, root: Path, machines: Sequence[str], say: Say) -> dict[str, dict[str, list[str]]]:
    """Donors that are no clips of the data: recorded anomalies, faults in words, and faults that a network learnt."""
    outside = {}
    if request.recorded_anomalies:
        outside["recorded"] = donors_by_machine(request.recorded_anomalies, root, machines)
    if request.described_faults:
        reader = registry.fault_reader(request.fault_reader) if request.fault_reader else read_words
        faults = faults_of(request.described_faults, machines, reader)
        for note in notes_of(faults):
            say(f"note: {note}")
        outside["described"] = chains_by_machine(faults)
    if request.translated_faults:
        outside["translated"] = translated.donors_by_machine(request.translated_faults, root, machines)
    return outside


def _stored_variants(path: Path) -> list[Clip]:
    """The generated anomalies that some embedding of the store holds."""
    if not (path / "manifest").is_dir():
        return []
    store = FeatureStore.open(path)
    tables = [store.clips(name) for name in store.embeddings]
    return list({clip.key: clip for table in tables for clip in table[table.columns["variant"] != b""]}.values())


def _costs(request: BuildRequest, recordings: int, anomalies: Sequence[Clip], stored: Sequence[Clip]) -> list[str]:
    """A note on how many anomalies are generated, where --anomalies auto decides it."""
    if request.design == NO_ANOMALIES and request.anomalies and stored:
        return [
            f"{request.store} keeps its {counted(len(stored), 'generated anomaly', 'generated anomalies')}; "
            "no others are added"
        ]
    if request.design != AUTO_ANOMALIES:
        return []
    if not anomalies:
        return ["no anomalies will be generated: there are no normal training recordings"]
    known = {clip.key for clip in stored}
    new = sum(clip.key not in known for clip in anomalies)
    held = f", {len(anomalies) - new:,} are in the store already" if new < len(anomalies) else ""
    of = counted(recordings, "clip" if request.windows else "recording")
    text = f"{counted(new, 'anomaly', 'anomalies')} will be generated from {of} (auto){held}"
    return [f"{text}; --anomalies none leaves them out"] if new else []


def embeddings(request: BuildRequest, device: str, say: Say = lambda line: None) -> list[Request]:
    """The embedders by their names in the store, and how each is made on `device`."""
    create = registry.creator("embedder")
    specs = [(request.rename or name_in_store(spec), spec) for spec in request.specs]
    if not specs:
        without = _without_specs(request)
        specs = list(without.specs.items())
        for note in without.notes:
            say(f"note: {note}")
    return [Request(name, registry.factory(create, spec, device)) for name, spec in specs]


def _without_specs(request: BuildRequest) -> Chosen:
    """The embedders of a request without -e: those of the only plan for a worker, otherwise those of the store."""
    plans = plans_of(request.store) if request.is_share else []
    if len(plans) == 1:
        return chosen(request.store, {info.name: info for info in plans[0].infos})
    return chosen(request.store, _held(request.store))


def _held(store: Path) -> Mapping[str, EmbeddingInfo]:
    """The embeddings of a store that may not exist."""
    return FeatureStore.open(store).embeddings if (store / "manifest").is_dir() else {}


def with_windows(request: BuildRequest, say: Say) -> BuildRequest:
    """The request with the windows of the store, where it names neither an embedder nor a part of the recordings."""
    windows = windows_held(_held(request.store))
    if windows is None or request.windows or request.length:
        return request
    if request.specs:
        say(f"note: {request.store} holds windows of recordings; {windows.option} embeds the same ones")
        return request
    say(f"note: {request.store} holds windows of recordings; the build continues with {windows.option}")
    return request.with_windows(windows)


def build_options(request: BuildRequest, root: Path, device: str) -> BuildOptions:
    """The options as `build` takes them."""
    on_cpu = device == "cpu"
    return BuildOptions(
        audio=request.audio,
        plan=PlanOptions(request.unit_clips, request.rehash, request.retry_rejected),
        workers=request.workers,
        embed_in_workers=on_cpu,
        batch=request.batch or (BATCH if on_cpu else DEVICE_BATCH),
        dtype=request.dtype,
        strict=request.strict,
        prune=request.prune,
        render=Renderer(root, request.audio),
    )


@contextmanager
def _engine(request: BuildRequest) -> Iterator[tuple[Workers, str]]:
    """What computes the units, and the device of the embedders; on Ray the device follows from the cluster."""
    if request.engine == "local":
        yield request.workers, registry.device(request.device)
        return
    from featstore.distributed.ray_build import ray_engine
    from featstore.distributed.ray_cluster import cluster, has_gpus

    with cluster(request.address):
        device = ("cuda" if has_gpus() else "cpu") if request.device == "auto" else request.device
        yield ray_engine(request.actors, request.gpus_per_actor or 1, request.unit_clips), device
