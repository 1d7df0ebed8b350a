"""Scores of every candidate on the clips of a validation, computed by single-threaded processes and cached.

A process takes one view at a time and runs all its detectors. For matrices of this size, two single-threaded processes
are faster than one with two threads.
"""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ensemble.external import scores_of
from ensemble.recipe import Member
from ensemble.selection.cache import ScoreCache, candidate_key, content_of
from ensemble.selection.validation import Validation, held_out_scores, with_changes
from featstore.building.cores import cores
from featstore.building.work import ENVIRONMENT, follow_parent
from featstore.errors import DataError, ResourceError
from featstore.store import FeatureStore


@dataclass(frozen=True)
class Job:
    """What a process needs to score one view; missing: (detector, cache key) of the scores that the cache lacks."""

    store: Path
    source: Member
    validation: Validation
    missing: tuple[tuple[str, str], ...]
    cache: ScoreCache


@dataclass
class Scored:
    """Scores (candidates, n) in the order of `members`.

    computed: how many the cache lacked. failed: the reason by name of every candidate without scores.
    """

    members: list[Member]
    scores: np.ndarray
    computed: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def score_candidates(
    store: FeatureStore,
    members: Sequence[Member],
    validation: Validation,
    cache: ScoreCache,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Scored:
    """Compute the scores that the cache lacks, then read all; DataError where no candidate could be scored."""
    contents = {name: content_of(store, name) for name in {member.embedding for member in members if not member.file}}
    keys = [
        candidate_key(member, contents.get(member.embedding, member.fingerprint), validation.digest)
        for member in members
    ]
    jobs: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for member, key in zip(members, keys, strict=True):
        if member.file:
            cache.put(key, scores_of(member, validation.keys, "training clips and generated anomalies"))
        elif cache.get(key) is None:
            jobs.setdefault((member.embedding, member.view), []).append((member.detector, key))
    todo = [
        Job(store.path, Member(embedding, "", view), validation, tuple(missing), cache)
        for (embedding, view), missing in jobs.items()
    ]
    n_missing = sum(len(job.missing) for job in todo)
    failed = _run(todo, workers, lambda done: progress(len(members) - n_missing + done, len(members)))
    cached = [(member, cache.get(key)) for member, key in zip(members, keys, strict=True) if key not in failed]
    scored = [(member, scores) for member, scores in cached if scores is not None]
    reasons = {member.name: failed[key] for member, key in zip(members, keys, strict=True) if key in failed}
    if not scored:
        raise DataError(f"no candidate could be scored; the first: {': '.join(next(iter(reasons.items())))}")
    scores = np.array([scores for _, scores in scored])
    return Scored([member for member, _ in scored], scores, n_missing - len(failed), reasons)


def _run(jobs: list[Job], workers: int | None, progress: Callable[[int], None]) -> dict[str, str]:
    """Run all jobs; returns the reason of every candidate that failed, by cache key."""
    processes = min(workers if workers is not None else cores(), len(jobs))
    failed: dict[str, str] = {}
    done = 0
    if processes < 2:
        for job in jobs:
            failed |= run_job(job)
            progress(done := done + len(job.missing))
        return failed
    saved = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)  # a spawned process reads its thread counts before it loads a library
    others = set(multiprocessing.active_children())
    try:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, mp_context=context, initializer=follow_parent) as pool:
            waiting = {pool.submit(run_job, job): len(job.missing) for job in jobs}
            try:
                while waiting:
                    for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                        failed |= future.result()
                        progress(done := done + waiting.pop(future))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in set(multiprocessing.active_children()) - others:  # scores so far are in the cache
                    process.terminate()
                raise
    except BrokenProcessPool as error:
        raise ResourceError("a scoring process died, probably out of memory; try fewer --workers") from error
    finally:
        for name, value in saved.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
    return failed


def run_job(job: Job) -> dict[str, str]:
    """Score one view with every missing detector and cache the scores; returns the reasons of failures by cache key."""
    from threadpoolctl import threadpool_limits

    X = rows_of(FeatureStore.open(job.store), job.source, job.validation)
    failed = {}
    with threadpool_limits(1):
        for detector, key in job.missing:
            try:
                job.cache.put(key, held_out_scores(detector, X, job.validation))
            except ValueError as error:
                failed[key] = str(error)
    return failed


def rows_of(store: FeatureStore, source: Member, validation: Validation) -> np.ndarray:
    """Embeddings (n, d) of the validation's clips, found by key or perturbed from those; one view, or all joined."""
    place = {key: i for i, key in enumerate(store.clips(source.embedding).keys())}
    stored = validation.keys[: validation.stored]
    absent = [key for key in stored if key not in place]
    if absent:
        raise DataError(
            f"{store.path}: {len(absent)} clips have no row in {source.embedding}, first {absent[0]!r}; run featstore "
            f"build --with-anomalies with -e {source.embedding} too, or leave {source.embedding} out"
        )
    rows = np.array([place[key] for key in stored])
    where = np.zeros(len(place), dtype=bool)
    where[rows] = True
    matrix = store.matrix(source.embedding, where)[np.argsort(np.argsort(rows))]
    if source.view:
        matrix = matrix[:, store.info(source.embedding).views.index(source.view)]
    return with_changes(np.ascontiguousarray(matrix.reshape(len(rows), -1)), validation)
