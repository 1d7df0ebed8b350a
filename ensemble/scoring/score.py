"""Score many recordings with a model: other processes read and embed them, this process scores them in groups."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from ensemble.scoring.model import Model
from ensemble.scoring.verdict import Verdict
from featstore.building.cores import cores
from featstore.building.pool import Pool
from featstore.building.units import SMALL_BUILD
from featstore.building.work import Result, Task
from featstore.clip import Clip

TASK_CLIPS = 16
GROUP_TASKS = 8
"""Tasks whose clips are scored together: a call of the detectors costs about as much as ten clips."""


@dataclass(frozen=True)
class Outcome:
    """A scored clip, or the reason why it was rejected. unusual: the outcome of reading it, as in `Recording`."""

    clip: Clip
    verdict: Verdict | None = None
    reason: str = ""
    unusual: str = ""


def score_clips(
    model: Model,
    root: Path,
    clips: Sequence[Clip],
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[Outcome]:
    """An outcome per clip, in order; memory does not grow with their number.

    Paths of clips are below `root`. workers: number of processes, None for one per core where that saves time. A clip
    of an unknown section is rejected, as is a training clip of the model: it would be compared with itself.
    """
    if workers is None:
        workers = 0 if len(clips) < SMALL_BUILD else cores()
    job = model.job(root)
    if workers and job.embeds:
        _ = model.worker  # raises errors of an embedder here, because a process cannot report them
    pool = Pool(replace(job, embeds=job.embeds or workers == 0), workers)
    done = 0
    try:
        for group, results in _embedded(pool, model, clips):
            yield from _outcomes(model, root, group, results)
            done += len(group)
            progress(done, len(clips))
    finally:
        pool.close()


def _embedded(pool: Pool, model: Model, clips: Sequence[Clip]) -> Iterator[tuple[list[Clip], list[list[Result]]]]:
    """Groups of clips with one result per embedding, a few tasks ahead."""
    wanted = tuple(range(len(model.lines)))
    parts = iter([list(clips[i : i + TASK_CLIPS]) for i in range(0, len(clips), TASK_CLIPS)])
    waiting = deque((part, pool.submit(_task(part, wanted))) for part in islice(parts, GROUP_TASKS))
    while waiting:
        group: list[Clip] = []
        results: list[list[Result]] = []
        for _ in range(min(len(waiting), GROUP_TASKS // 2)):
            part, pending = waiting.popleft()
            results += [list(of_clip) for of_clip in zip(*pool.result(pending), strict=True)]
            group += part
            waiting.extend((more, pool.submit(_task(more, wanted))) for more in islice(parts, 1))
        yield group, results


def _task(clips: Sequence[Clip], wanted: tuple[int, ...]) -> Task:
    return Task(tuple(clip.path for clip in clips), wanted)


def _outcomes(
    model: Model, root: Path, clips: Sequence[Clip], results: Sequence[Sequence[Result]]
) -> Iterator[Outcome]:
    reasons = [model.refusal(of_clip) for of_clip in results]
    usable = [i for i, reason in enumerate(reasons) if not reason]
    by_place: dict[int, Verdict] = {}
    if usable:
        of_usable = [clips[i] for i in usable]
        verdicts = model.verdicts(of_usable, [results[i] for i in usable])
        by_place = dict(zip(usable, model.located_files(root, of_usable, verdicts), strict=True))
    for i, clip in enumerate(clips):
        recording = results[i][0].recording
        yield Outcome(clip, by_place.get(i), reasons[i], recording.outcome if recording else "")
