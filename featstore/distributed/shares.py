"""A build shared by any number of workers on any number of machines: plan it, embed a share of it, commit.

The plan lies in the store; a worker reads it, checks that its embedders are the plan's, and leaves finished units
beside it (pending.py) without ever taking the store's lock. Which units are its own is settled by its rank, or by
claiming them one by one (lease.py).
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from featstore.build import BuildOptions, Request, begin, infos_of, job_of, refuse_duplicates
from featstore.building.plan import FileState
from featstore.building.units import Progress, UnitRun, UnitWork, units_of
from featstore.clip import Clip
from featstore.disk.shard import EmbeddingInfo
from featstore.distributed.gather import take_over
from featstore.distributed.lease import LIMIT_S, Leases
from featstore.distributed.pending import add, finished, is_finished
from featstore.distributed.plan_writer import sweep, write_plan
from featstore.distributed.planfile import PlanFile, PlanGone, plan_for, plans_of
from featstore.errors import DataError, RequestError
from featstore.reader import mixed
from featstore.store import Rejection, StoreWriter

FIRST_POLL_S, POLL_S = 0.05, 1.0
"""How long a worker that finds nothing free waits before it looks again: at first, and at most."""


@dataclass(frozen=True)
class Share:
    """Which units a worker makes: every `world`-th from `rank` on, or with `claim` whatever is free.

    limit_s: how long a claim outlives a worker that shows no sign of life.
    """

    rank: int = 0
    world: int = 1
    claim: bool = False
    limit_s: float = LIMIT_S

    def __post_init__(self) -> None:
        """Refuse a rank outside the world."""
        if not 0 <= self.rank < self.world:
            raise RequestError(f"rank {self.rank} of {self.world}: ranks run from 0 to {self.world - 1}")


@dataclass(frozen=True)
class ShareReport:
    """What a worker did: units and clips made, recordings rejected, and whether its plan left the store meanwhile."""

    units: int
    clips: int
    rejected: tuple[Rejection, ...]
    audio_s: float
    gone: bool


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

    Labels are refreshed and rows pruned at once, as a build does before it embeds. The same plan made again is left
    to its workers; another one for some of these embeddings is taken over: what its workers finished is published.
    Raises what `build` raises before it embeds.
    """
    refuse_duplicates(clips)
    names = [request.name for request in requests]
    with StoreWriter(path) as writer:
        sweep(path)
        plan, infos = begin(writer, root, clips, requests, options)
        facts = {"root": str(root.resolve()), "listed": len(clips), "asked": dict(asked)}
        others = [one.id for one in plans_of(path) if {info.name for info in one.infos} & set(names)]
        written = plan.units and write_plan(path, units_of(plan, clips), infos, options.audio, others=others, **facts)
        if others and not written:
            take_over(writer, names)
            plan, infos = begin(writer, root, clips, requests, options)
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
    """Make a share of the units planned for `requests` in the store at `path`, whose recordings lie here at `root`.

    Raises RequestError when there is no such plan or the embedders are not the plan's, DataError when the recordings
    are not here, ResourceError when the disk is full; units finished before stay.
    """
    infos = infos_of(requests, options)
    plan = plan_for(path, [info.name for info in infos])
    check_same(plan, infos, options)
    run = UnitRun(infos, _clips(plan, share), strict=options.strict, report=report)
    made: list[int] = []
    under_way: set[int] = set()

    def finish(unit: UnitWork, shards: list[Any]) -> None:
        add(plan, unit, shards)
        made.append(unit.number)
        under_way.discard(unit.number)

    gone = False
    with Leases(plan.folder, limit_s=share.limit_s) if share.claim else nullcontext() as leases:
        units = claimed(plan, leases, under_way) if leases else ranked(plan, share)
        try:
            run.execute(_ready(units, root, options), job_of(root, requests, options), options.workers, finish)
        except PlanGone:
            gone = True
    if gone:
        _refuse_replaced(plan)
    return ShareReport(len(made), run.done, tuple(run.rejected.values()), run.audio_s, gone)


def check_same(plan: PlanFile, infos: Sequence[EmbeddingInfo], options: BuildOptions) -> None:
    """RequestError unless a worker would make exactly what was planned."""
    for ours, planned in zip(infos, plan.infos, strict=True):
        for field, (here, there) in mixed(ours, planned).items():
            raise RequestError(
                f"{plan.store}: {ours.name!r} was planned with {field} {there!r}, this worker has {here!r}; start it "
                "with the embedder, weights and options of the plan, or make the plan again"
            )
    if options.audio != plan.audio:
        raise RequestError(f"{plan.store}: planned with {plan.audio}, this worker has {options.audio}; use the same")


def ranked(plan: PlanFile, share: Share) -> Iterator[UnitWork]:
    """Every `world`-th unit from `rank` on that is not finished yet."""
    known = finished(plan)
    for number in range(share.rank, len(plan), share.world):
        if number not in known:
            yield plan.unit(number)


def claimed(plan: PlanFile, leases: Leases, under_way: set[int]) -> Iterator[UnitWork | None]:
    """Units that are free, or whose owner has died, until all are finished; None: none before mine are finished.

    under_way: takes in every unit that is given out; who finishes it takes it out.
    """
    wait = FIRST_POLL_S
    while True:
        known, held = finished(plan), leases.held()
        left = [number for number in range(len(plan)) if number not in known]
        if not left:
            return
        found = False
        for number in left:
            if number in under_way or not leases.claim(number, held.get(number)):
                continue
            if not is_finished(plan, number):  # by an owner that has left since
                found = True
                under_way.add(number)
                yield plan.unit(number)
        if found:
            wait = FIRST_POLL_S
        elif under_way:
            yield None
        else:
            time.sleep(wait)
            wait = min(2 * wait, POLL_S)


def _ready(units: Iterator[UnitWork | None], root: Path, options: BuildOptions) -> Iterator[UnitWork | None]:
    """The units with their files' states here; DataError at one whose recordings are not those of the plan."""
    for unit in units:
        if unit is not None:
            if options.render is None and any(clip.variant for clip in unit.clips):
                raise RequestError(f"unit {unit.number} holds generated variants; give BuildOptions.render")
            unit = replace(unit, states=_states_here(unit, root))
        yield unit


def _states_here(unit: UnitWork, root: Path) -> tuple[FileState, ...]:
    """States of the unit's files as this machine sees them: they go into its rows, so that a later build can tell.

    DataError where none of them is here, or one has another size than planned.
    """
    here = [FileState.of(root / clip.path) for clip in unit.clips]
    found = list(zip(unit.clips, unit.states, here, strict=True))
    seen = [clip.path for clip, planned, _ in found if planned.size_bytes >= 0]
    cure = "give the folder that was planned as it is mounted on this machine, or plan again if recordings have changed"
    if seen and not any(state.size_bytes >= 0 for state in here):
        raise DataError(
            f"{root}: none of the {len(seen)} recordings of unit {unit.number} is here, first {seen[0]}; {cure}"
        )
    for clip, planned, state in found:
        if min(planned.size_bytes, state.size_bytes) >= 0 and planned.size_bytes != state.size_bytes:
            raise DataError(
                f"{root / clip.path} has {state.size_bytes:,} bytes, planned were {planned.size_bytes:,}: another "
                f"recording; {cure}"
            )
    return tuple(state if state.size_bytes >= 0 else planned for _, planned, state in found)


def _clips(plan: PlanFile, share: Share) -> int:
    known = finished(plan)
    step = 1 if share.claim else share.world
    return sum(plan.lines[i].clips for i in range(share.rank, len(plan), step) if i not in known)


def _refuse_replaced(plan: PlanFile) -> None:
    """Tell a worker whose plan was finished (nothing is left for it) from one whose plan was replaced."""
    for other in plans_of(plan.store):
        if {info.name for info in other.infos} & {info.name for info in plan.infos}:
            raise RequestError(f"{plan.store} was planned anew meanwhile; start this worker again")
