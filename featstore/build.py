"""Build a feature store: worker processes read and embed unit after unit, finished units are committed.

A unit is committed whole or not at all, in order, and a committed unit is never computed again. So a build that was
killed and started again, or repeated after the folder has grown, ends with the same rows. The rows of old paths of
moved recordings are dropped after the last unit.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from featstore.building.failing import with_rows
from featstore.building.moved import Gone, settle_gone
from featstore.building.plan import Plan
from featstore.building.prepare import BuildOptions, Request, check_unique, job_of, plan_build, prepare
from featstore.building.rejections import Unmade, of_recordings
from featstore.building.state import BuildState, read_state, write_state
from featstore.building.units import Progress, UnitRun, units_of
from featstore.building.work import Embedder
from featstore.clip import Clip
from featstore.distributed.gather import close_plans
from featstore.store import Rejection, StoreWriter

__all__ = ["BuildOptions", "BuildReport", "Embedder", "Progress", "Request", "build", "plan_build"]


@dataclass(frozen=True)
class BuildReport:
    """Result of a build: its plan, the rows per embedding afterwards, and the recordings rejected this time.

    rejected: each recording, or window of one, once. unmade: generated anomalies that were not made this time. lost:
    number of clips per embedding that were rejected this time. standing: number of listed recordings rejected by an
    earlier build and not tried again. gone: rows of recordings that are no longer in the folder. outcomes: recordings
    read this time by their outcome, as "silent" or "length unknown".
    """

    plan: Plan
    rows: dict[str, int]
    rejected: tuple[Rejection, ...]
    standing: int
    gone: Gone
    audio_s: float
    unmade: Unmade = field(default_factory=Unmade)
    outcomes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)


def build(
    root: Path,
    clips: Sequence[Clip],
    path: Path,
    requests: Sequence[Request],
    options: BuildOptions,
    *,
    report: Callable[[Progress], None] = lambda progress: None,
) -> BuildReport:
    """Embed the new and changed recordings among `clips` (paths below `root`) into the store at `path`.

    Raises StoreError when the store is locked or the name taken, ResourceError when disk or memory is full, and with
    `strict` DataError at the first rejected recording. Committed rows stay in every case.
    """
    check_unique(clips)
    with StoreWriter(path) as writer:
        close_plans(writer, [request.name for request in requests])
        before = read_state(path)
        plan, infos = prepare(writer, root, clips, requests, options)
        run = UnitRun(infos, plan.clips, held=with_rows(writer.store), strict=options.strict, report=report)
        if plan.units:
            job = job_of(root, requests, options)
            run.execute(units_of(plan, clips), job, options.workers, lambda _, shards: writer.commit(shards))
        write_state(path, BuildState(str(root.resolve()), len(clips), finished=True))
        same_root = before is not None and Path(before.root) == root.resolve()
        gone = settle_gone(writer, root, clips, {} if options.prune else plan.gone, same_root=same_root)
        known = writer.store.embeddings
        rows = {info.name: writer.store.rows(info.name) if info.name in known else 0 for info in infos}
        of_name = {name: {item.key: item for item in writer.store.rejected(name)} for name in rows if name in known}
    listed = {clip.path for clip in clips}
    stored = {item.path for items in of_name.values() for item in of_recordings(items.values())} & listed
    rejected = of_recordings(run.rejected.values())
    unmade = Unmade.among(run.rejected.values(), stored)
    standing = len(stored - {item.path for item in rejected})
    outcomes = {outcome: list(names) for outcome, names in run.outcomes.items()}
    lost = {name: len(keys.keys() & run.rejected.keys()) for name, keys in of_name.items()}
    return BuildReport(plan, rows, tuple(rejected), standing, gone, run.audio_s, unmade, outcomes, lost)
