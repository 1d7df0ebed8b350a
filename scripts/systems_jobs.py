"""What bench_systems.py runs on a data set: recipes, embedders and untrained embeddings, each with every detector."""

import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from systems_facts import Facts, facts_of, linear_ids, speed
from systems_measured import Measured, parts_of
from systems_runs import Work, build, detector_metrics, metrics, trained
from systems_years import Runs

from ensemble.systems.catalogue import find_system
from ensemble.systems.lines import source
from featstore.errors import AsdError

UNTRAINED = ("logmel", "twfr")
UNTRAINED_DETECTOR = "mahalanobis:standardize=true"
POOLED_VIEW = "mean"


@dataclass(frozen=True)
class Result:
    """A system on one data set: its runs by every detector, its own first, and its facts."""

    system: str
    runs: dict[str, Runs]
    facts: Facts = field(default_factory=Facts)
    recipe: bool = False

    def label(self, detector: str) -> str:
        """Name of a row: that of the recipe for its own detector, elsewhere with the detector."""
        own = self.recipe and detector == next(iter(self.runs))
        return self.system if own else f"{self.system}, {detector}"


Job = Callable[[Work], Result]


def recipe_job(name: str, backends: Sequence[str], seeds: int, *, facts: bool) -> Job:
    """Run a recipe by its own detector, and if it is trained, with every seed and by every backend."""

    def job(work: Work) -> Result:
        system = find_system(name)
        works = [replace(work, seed=seed) for seed in range(seeds if system.trained else 1)]
        own = [(one, *trained(one, system, system.output)) for one in works]
        runs = {system.detector: Runs([metrics(one, stored) for one, stored, _ in own])}
        for backend in backends if system.trained else ():
            stored = [(one, source(trained(one, system, "embedding")[0])) for one in works]
            label = backend if backend not in runs else f"{backend} on embedding"
            runs[label] = Runs([detector_metrics(one, embedding, backend) for one, embedding in stored])
        return Result(name, runs, facts_of(*own[0]) if facts else Facts(), recipe=True)

    return job


def embedder_job(spec: str, detector: str, *, facts: bool) -> Job:
    """Embed by SPEC or SPEC@VIEW, and score by a detector; without a view, by the mean over time where there is one."""

    def job(work: Work) -> Result:
        embedder, _, view = spec.partition("@")
        name = f"{embedder.partition(':')[0].partition('=')[0]}-{hashlib.sha256(embedder.encode()).hexdigest()[:8]}"
        words = ["featstore", "build", str(work.data.folder), str(work.store(name)), "-e", embedder, "--as", name]
        build(work, words)
        if not view and POOLED_VIEW in work.opened(name).info(name).views:
            view = POOLED_VIEW
        embedding = f"{name}@{view}" if view else name
        runs = {detector: Runs([detector_metrics(work, embedding, detector)])}
        known: Facts = {**linear_ids(work, embedding), "parameters": 0} if facts else {}
        system = f"{embedder}@{view}" if view else embedder
        return Result(system, runs, {**known, "clips_per_s": speed(work, embedder)} if facts else known)

    return job


def untrained(work: Work) -> list[Result]:
    """All views of the untrained embeddings by one detector, best first."""
    results = []
    for name in UNTRAINED:
        build(work, ["featstore", "build", str(work.data.folder), str(work.store(name)), "-e", name])
        for view in work.opened(name).info(name).views:
            embedding = f"{name}@{view}"
            runs = {UNTRAINED_DETECTOR: Runs([detector_metrics(work, embedding, UNTRAINED_DETECTOR)])}
            results.append(Result(embedding, runs, {**linear_ids(work, embedding), "parameters": 0}))
    return sorted(results, key=lambda result: -result.runs[UNTRAINED_DETECTOR].scores[0])


def measured_rows(result: Result, work: Work, command: str) -> list[Measured]:
    """Rows of a result; the facts are in the first."""
    rows: list[Measured] = []
    for detector, runs in result.runs.items():
        first = runs.metrics[0].score
        row = Measured(
            dataset=work.data.name,
            system=result.system,
            detector=detector,
            rule=work.data.rule,
            score=sum(runs.scores) / len(runs.scores),
            spread=runs.spread,
            seeds=len(runs.scores),
            low=100 * first.low,
            high=100 * first.high,
            command=command,
        )
        more: dict[str, Any] = {name: runs.average(name) for name in parts_of(work.data.rule)}
        rows.append(replace(row, **more, **({} if rows else result.facts)))
    return rows


def attempt(job: Job, work: Work) -> Result | None:
    """Result of a job, or None where it fails, for example for want of an encoder's weights; the reason to stderr."""
    try:
        return job(work)
    except (SystemExit, AsdError, ValueError) as failed:
        print(failed, file=sys.stderr)
        return None
