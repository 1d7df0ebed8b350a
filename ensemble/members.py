"""Scores of a recipe's members: every view and section is a task, and the tasks run on all cores."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from detectors import create
from detectors.sections import Section, SectionScores, sections_of
from detectors.shared import sharing
from ensemble.checks.flat import is_flat
from ensemble.decision.calibrate import PlacedScores
from ensemble.external import scores_of
from ensemble.inputs import Inputs, machine_section, one_view, width_of
from ensemble.parallel.pool import Task, processes_for, run_tasks
from ensemble.parallel.rows import SharedRows
from ensemble.recipe import Member, Recipe
from featstore.table import ClipTable

MANY_CLIPS = 50_000
"""With fewer clips the matrices are so small that threads cost more than they save (on a busy host 50 times more)."""


def member_scores(
    inputs: Inputs, recipe: Recipe, *, workers: int | None, progress: Callable[[int, int], None]
) -> list[tuple[PlacedScores, PlacedScores]]:
    """Scores of the scored clips, and honest scores of the training clips, by every member, in order.

    `workers` is the number of processes, None for as many as save time. DataError for a clip that a score file lacks,
    before anything is computed, and for a section where a detector cannot be fitted.
    """
    roles, members = inputs.roles, recipe.members
    train, scored = inputs.clips[roles.train], inputs.clips[roles.scored]
    scores, honest = (np.full((len(members), len(clips)), np.nan) for clips in (scored, train))
    flat = np.zeros(honest.shape, dtype=bool)
    files = [i for i, member in enumerate(members) if member.file]
    for i in files:
        scores[i] = scores_of(members[i], scored.keys(), "test clips")
        honest[i] = scores_of(members[i], train.keys(), "training clips")
    progress(len(files), len(members))
    plan = Plan.of(inputs, recipe, workers)
    units, done = max((len(members) - len(files)) * len(plan.sections), 1), 0
    threads = 1 if len(inputs.clips) < MANY_CLIPS else None
    for task, results in run_tasks(plan.batches(inputs, score_view), plan.processes, threads=threads):
        section, numbers = task.label
        for i, result in zip(numbers, results[0], strict=True):
            scores[i, section.test], honest[i, section.train] = result.scores, result.reference
            flat[i, section.train] = results[1]
        done += len(numbers)
        progress(len(files) + done * (len(members) - len(files)) // units, len(members))
    if roles.self_ranked:
        scores = honest
    of_train = [
        placed(train, row, recipe.pool_sections, inputs.blocks, of_member)
        for row, of_member in zip(honest, flat, strict=True)
    ]
    return [(placed(scored, row, recipe.pool_sections), of_row) for row, of_row in zip(scores, of_train, strict=True)]


def placed(
    clips: ClipTable,
    scores: np.ndarray,
    pool_sections: bool,
    blocks: np.ndarray | None = None,
    flat: np.ndarray | None = None,
) -> PlacedScores:
    """Scores with their sections, without domains: the domain of a real test clip is unknown."""
    flat = flat if flat is not None and flat.any() else None
    return PlacedScores(scores, *machine_section(clips, pool_sections), block=blocks, flat=flat)


@dataclass(frozen=True, eq=False)
class Plan:
    """What is to be computed: by embedding and view the members' numbers, in every section."""

    members: Sequence[Member]
    sources: dict[str, dict[str, list[int]]]
    sections: list[Section]
    processes: int

    @classmethod
    def of(cls, inputs: Inputs, recipe: Recipe, workers: int | None) -> "Plan":
        """Plan of the members that are no score files; the embedding that is needed again afterwards comes last."""
        roles = inputs.roles
        train, scored = inputs.clips[roles.train], inputs.clips[roles.scored]
        sections = sections_of(
            train,
            scored[:0] if roles.self_ranked else scored,
            pool_sections=recipe.pool_sections,
            group_by=recipe.group_by or None,
            block=inputs.blocks,
        )
        sources: dict[str, dict[str, list[int]]] = {}
        for i, member in enumerate(recipe.members):
            if not member.file:
                sources.setdefault(member.embedding, {}).setdefault(member.view, []).append(i)
        if inputs.base in sources:
            sources[inputs.base] = sources.pop(inputs.base)
        values = sum(width_of(inputs.info(member.embedding), member) for member in recipe.members if not member.file)
        values *= len(inputs.clips)
        tasks = len(recipe.members) * len(sections)
        return cls(recipe.members, sources, sections, processes_for(tasks, values, workers))

    def batches(self, inputs: Inputs, work: Callable[..., Any]) -> Iterator[list[Task]]:
        """The tasks of every embedding; a view's members share a task unless processes would be idle.

        work: what a task calls with the rows, the view, the section and the lines of text of the detectors.
        """
        views = sum(len(views) for views in self.sources.values())
        parts = -(-2 * self.processes // max(views * len(self.sections), 1)) if self.processes > 1 else 1
        for name, of_view in self.sources.items():
            rows = inputs.shared(name)
            yield [
                self._task(work, rows, inputs, numbers[part::parts], section)
                for numbers in of_view.values()
                for section in self.sections
                for part in range(min(parts, len(numbers)))
            ]

    def _task(
        self, work: Callable[..., Any], rows: SharedRows, inputs: Inputs, numbers: list[int], section: Section
    ) -> Task:
        view = inputs.view(self.members[numbers[0]])
        train, test = inputs.roles.train[section.train], inputs.roles.scored[section.test]
        detectors = tuple(self.members[i].detector for i in numbers)
        arguments = (rows, view, replace(section, train=train, test=test), detectors)
        return Task(work, arguments, len(numbers) * len(train), (section, numbers))


def score_view(
    rows: SharedRows, view: int | None, section: Section, detectors: Sequence[str]
) -> tuple[list[SectionScores], bool]:
    """Scores of a section's clips, given by their positions in `rows`, by several detectors on one view.

    Also whether the rows of the training clips are flat, see `checks.flat`.
    """
    X = one_view(rows.array, view)
    train_X, test_X = X[section.train], X[section.test]
    made = [create(detector) for detector in detectors]
    with sharing(made):
        return [section.scored(detector, train_X, test_X) for detector in made], is_flat(train_X)
