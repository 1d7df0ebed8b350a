"""A build shared by many workers on many machines: write a plan, compute a share of its units, commit.

The plan is in the store. A worker reads it, checks that its embedders match the plan, and adds finished units to the
plan's folder (pending.py) without taking the store's lock. It selects its units by rank, or claims them one by one
(lease.py).
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from featstore.audio.policy import length_option
from featstore.building.failing import with_rows
from featstore.building.plan import FileState, states_of
from featstore.building.prepare import BuildOptions, Request, check_unique, infos_of, job_of, prepare
from featstore.building.rejections import of_recordings
from featstore.building.units import Progress, UnitRun, UnitWork, units_of
from featstore.clip import Clip
from featstore.disk.shard import EmbeddingInfo
from featstore.distributed.gather import close_plans
from featstore.distributed.lease import LIMIT_S, Leases
from featstore.distributed.pending import add, finished, is_finished
from featstore.distributed.plan_writer import remove_leftovers, write_plan
from featstore.distributed.planfile import PlanFile, PlanGone, plan_for, plans_of
from featstore.errors import DataError, RequestError
from featstore.reader import differing_fields
from featstore.store import FeatureStore, Rejection, StoreWriter

FIRST_POLL_S, POLL_S = 0.05, 1.0
"""First and longest pause of a worker before it looks for a free unit again."""


@dataclass(frozen=True)
class Share:
    """Which units a worker computes: every `world`-th from `rank` on, or with `claim` every free unit.

    limit_s: time without a heartbeat after which the claim of a worker ends.
    """

    rank: int = 0
    world: int = 1
    claim: bool = False
    limit_s: float = LIMIT_S

    def __post_init__(self) -> None:
        """Raise RequestError for a rank outside the world size."""
        if not 0 <= self.rank < self.world:
            raise RequestError(f"rank {self.rank} of {self.world}: expected a rank from 0 to {self.world - 1}")


@dataclass(frozen=True)
class ShareReport:
    """Result of a worker: units and clips computed, recordings rejected.

    gone: whether the plan was completed by others before this worker finished.
    """

    units: int
    clips: int
    rejected: tuple[Rejection, ...]
    audio_s: float
    gone: bool
    outcomes: Mapping[str, Sequence[str]]


def plan_shares(
    root: Path,
    clips: Sequence[Clip],
    path: Path,
    requests: Sequence[Request],
    options: BuildOptions,
    *,
    asked: Mapping[str, Any],
) -> PlanFile | None:
    """Write the plan of a build into the store at `path`; None when there is nothing to embed.

    Labels are updated and rows pruned at once, as in a build. An existing equal plan stays unchanged. Another plan for
    some of these embeddings is removed after its finished units are published. Raises the errors that `build` raises
    before it embeds.
    """
    check_unique(clips)
    names = [request.name for request in requests]
    with StoreWriter(path) as writer:
        remove_leftovers(path)
        plan, infos = prepare(writer, root, clips, requests, options)
        facts = {"root": str(root.resolve()), "listed": len(clips), "asked": dict(asked)}
        others = [other.id for other in plans_of(path) if {info.name for info in other.infos} & set(names)]
        written = plan.units and write_plan(path, units_of(plan, clips), infos, options.audio, others=others, **facts)
        if others and not written:
            close_plans(writer, names)
            plan, infos = prepare(writer, root, clips, requests, options)
            written = plan.units and write_plan(path, units_of(plan, clips), infos, options.audio, others=(), **facts)
        return written or None


def work_share(
    root: Path,
    path: Path,
    requests: Sequence[Request],
    options: BuildOptions,
    share: Share,
    *,
    report: Callable[[Progress], None] = lambda progress: None,
) -> ShareReport:
    """Compute a share of the units planned for `requests` in the store at `path`, from the recordings at `root`.

    Raises RequestError when there is no such plan or the embedders differ from the plan, DataError when the recordings
    are missing, ResourceError when the disk is full. Finished units stay in every case.
    """
    infos = infos_of(requests, options)
    plan = plan_for(path, [info.name for info in infos])
    check_same(plan, infos, options)
    held = with_rows(FeatureStore.open(path))
    run = UnitRun(infos, _clips(plan, share), held=held, strict=options.strict, report=report)
    done: list[int] = []
    running: set[int] = set()

    def finish(unit: UnitWork, shards: list[Any]) -> None:
        add(plan, unit, shards)
        done.append(unit.number)
        running.discard(unit.number)

    gone = False
    with Leases(plan.folder, limit_s=share.limit_s) if share.claim else nullcontext() as leases:
        units = claimed(plan, leases, running) if leases else ranked(plan, share)
        try:
            run.execute(_ready(units, root, options), job_of(root, requests, options), options.workers, finish)
        except PlanGone:
            gone = True
    if gone:
        _check_not_replaced(plan)
    outcomes = {outcome: list(names) for outcome, names in run.outcomes.items()}
    return ShareReport(len(done), run.done, tuple(of_recordings(run.rejected.values())), run.audio_s, gone, outcomes)


def check_same(plan: PlanFile, infos: Sequence[EmbeddingInfo], options: BuildOptions) -> None:
    """Raise RequestError unless the embeddings and audio options of a worker are those of the plan."""
    for own, planned in zip(infos, plan.infos, strict=True):
        for field, (value, expected) in differing_fields(own, planned).items():
            cure = "use the embedder, weights and options of the plan"
            if field == "length":
                cure = f"give {length_option(str(expected))}"
            raise RequestError(
                f"{plan.store}: {own.name!r} was planned with {field} {expected!r}, this worker has {value!r}; {cure}, "
                "or plan again"
            )
    if options.audio != plan.audio:
        raise RequestError(
            f"{plan.store}: planned with {plan.audio}, this worker has {options.audio}; use the options of the plan"
        )


def ranked(plan: PlanFile, share: Share) -> Iterator[UnitWork]:
    """Every `world`-th unit from `rank` on, without the finished ones."""
    known = finished(plan)
    for number in range(share.rank, len(plan), share.world):
        if number not in known:
            yield plan.unit(number)


def claimed(plan: PlanFile, leases: Leases, running: set[int]) -> Iterator[UnitWork | None]:
    """Units that are free or whose owner is dead, until all units are finished.

    Yields None when no unit is free but this worker still has running ones. running: numbers of this worker's running
    units; the iterator adds them, the caller removes the finished ones.
    """
    wait = FIRST_POLL_S
    while True:
        known, held = finished(plan), leases.held()
        unfinished = [number for number in range(len(plan)) if number not in known]
        if not unfinished:
            return
        claimed_any = False
        for number in unfinished:
            if number in running or not leases.claim(number, held.get(number)):
                continue
            if not is_finished(plan, number):  # its owner may have finished it in the meantime
                claimed_any = True
                running.add(number)
                yield plan.unit(number)
        if claimed_any:
            wait = FIRST_POLL_S
        elif running:
            yield None
        else:
            time.sleep(wait)
            wait = min(2 * wait, POLL_S)


def _ready(units: Iterator[UnitWork | None], root: Path, options: BuildOptions) -> Iterator[UnitWork | None]:
    """The units with the states of their files on this machine; DataError when recordings differ from the plan."""
    for unit in units:
        if unit is not None:
            if options.render is None and any(clip.variant for clip in unit.clips):
                raise RequestError(f"unit {unit.number} contains generated variants; set BuildOptions.render")
            unit = replace(unit, states=_states_here(unit, root))
        yield unit


def _states_here(unit: UnitWork, root: Path) -> tuple[FileState, ...]:
    """States of the unit's files on this machine; stored with its rows, so that later builds find changed recordings.

    Raises DataError when all files are missing, or when a size differs from the plan.
    """
    files = list(zip(unit.clips, unit.states, states_of(root, unit.clips), strict=True))
    expected = list(dict.fromkeys(clip.recording for clip, planned, _ in files if planned.size_bytes >= 0))
    cure = "use the planned folder as it is mounted on this machine, or plan again if recordings have changed"
    if expected and not any(state.size_bytes >= 0 for _, _, state in files):
        raise DataError(
            f"{root}: all {len(expected)} recordings of unit {unit.number} are missing, first {expected[0]}; {cure}"
        )
    for clip, planned, state in files:
        if min(planned.size_bytes, state.size_bytes) >= 0 and planned.size_bytes != state.size_bytes:
            raise DataError(
                f"{root / clip.recording} has {state.size_bytes:,} bytes, the plan has {planned.size_bytes:,}; {cure}"
            )
    return tuple(state if state.size_bytes >= 0 else planned for _, planned, state in files)


def _clips(plan: PlanFile, share: Share) -> int:
    """Number of clips in the unfinished units of a share."""
    known = finished(plan)
    step = 1 if share.claim else share.world
    return sum(plan.lines[i].clips for i in range(share.rank, len(plan), step) if i not in known)


def _check_not_replaced(plan: PlanFile) -> None:
    """Raise RequestError when the removed plan was replaced by another one, rather than completed."""
    for other in plans_of(plan.store):
        if {info.name for info in other.infos} & {info.name for info in plan.infos}:
            raise RequestError(f"{plan.store} was planned again during the run; start this worker again")
