"""Fit a recipe to the training clips of a store."""

from collections.abc import Callable, Sequence

import numpy as np

from detectors import create
from detectors.base import Detector
from detectors.sections import Section
from detectors.shared import sharing
from ensemble.checks.flat import flat_warnings
from ensemble.checks.near import with_near_copies
from ensemble.domains.correct import FittedDomains
from ensemble.fitting.few_clips import few_clips_notes
from ensemble.fitting.fitted import Bank, Fitted
from ensemble.inputs import Inputs, TrainingInputs, banks_of, one_view, section_texts
from ensemble.members import MANY_CLIPS, Plan
from ensemble.parallel.pool import run_tasks
from ensemble.parallel.rows import SharedRows
from ensemble.recipe import PREDICTED, Recipe
from ensemble.run import resolve
from featstore.errors import DataError
from featstore.store import FeatureStore


def fit(
    store: FeatureStore,
    recipe: Recipe,
    *,
    machines: Sequence[str] = (),
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Fitted, tuple[str, ...]]:
    """The fitted recipe and notes for the user, for the named machines or for all.

    Test clips of the store are not read. Raises what `ensemble.run.detect` raises, and DataError for a recipe with
    score files or a false-discovery rate, which need all test clips at once.
    """
    recipe = resolve(store, recipe)
    refuse_together(recipe)
    inputs = TrainingInputs(store, recipe, machines)
    return fit_inputs(inputs, recipe, workers=workers, progress=progress)


def fit_inputs(
    inputs: Inputs,
    recipe: Recipe,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Fitted, tuple[str, ...]]:
    """The recipe, resolved, fitted to the training clips of inputs; notes as of `fit`."""
    train = inputs.roles.train
    honest, detectors = _fitted_members(inputs, recipe, workers, progress)
    domains = FittedDomains.fit(inputs, recipe) if recipe.domains == PREDICTED else None
    names = dict.fromkeys([*(member.embedding for member in recipe.members), inputs.base])
    fitted = Fitted(
        recipe=recipe,
        embeddings={name: inputs.info(name) for name in names},
        train=inputs.clips[train],
        blocks=inputs.blocks,
        contents=inputs.contents(train),
        rows={name: inputs.shared(name).array[train] for name in names},
        honest=honest,
        detectors=detectors,
        domains=domains,
        evidence=inputs.evidence,
    )
    section = section_texts(fitted.train, recipe.pool_sections)
    warnings = flat_warnings([member.source for member in recipe.members], fitted.flat, section)
    fitted.thresholds()  # raises DataError for a recipe that cannot decide
    copies = with_near_copies(inputs, []).notes(left_out=True)
    few = few_clips_notes(recipe, fitted.train)
    return fitted, (*warnings, *copies, *inputs.notes, *(domains.notes if domains else ()), *few)


def refuse_together(recipe: Recipe) -> None:
    """DataError for a recipe that cannot score one clip by itself."""
    file = next((member.name for member in recipe.members if member.file), "")
    if file:
        raise DataError(f"{file}: a score file cannot score new clips; leave it out of the recipe of a model")
    if recipe.fdr:
        raise DataError(
            f"fdr = {recipe.fdr}: a false-discovery rate decides all test clips together; a model decides each clip by "
            "a false-alarm rate (--fpr)"
        )


def _fitted_members(
    inputs: Inputs, recipe: Recipe, workers: int | None, progress: Callable[[int, int], None]
) -> tuple[np.ndarray, dict[Bank, list[Detector]]]:
    """Honest scores (members, n) and the detectors of every bank, in the order of the members."""
    plan = Plan.of(inputs, recipe, workers)
    train = inputs.clips[inputs.roles.train]
    banks = banks_of(train, recipe.pool_sections)
    honest = np.full((len(recipe.members), len(train)), np.nan)
    by_member: dict[Bank, dict[int, Detector]] = {}
    done, units = 0, len(recipe.members) * len(plan.sections)
    threads = 1 if len(inputs.clips) < MANY_CLIPS else None
    for task, fitted in run_tasks(plan.batches(inputs, fit_view), plan.processes, threads=threads):
        section, numbers = task.label
        bank = banks[section.train[0]]
        for i, detector in zip(numbers, fitted, strict=True):
            honest[i, section.train] = detector.reference_scores_
            by_member.setdefault(bank, {})[i] = detector
        done += len(numbers)
        progress(done, units)
    return honest, {bank: [own[i] for i in range(len(own))] for bank, own in sorted(by_member.items())}


def fit_view(rows: SharedRows, view: int | None, section: Section, detectors: Sequence[str]) -> list[Detector]:
    """Several detectors fitted to a section's training clips in one view."""
    X = one_view(rows.array, view)[section.train]
    unfitted = [create(detector) for detector in detectors]
    with sharing(unfitted):
        return [section.fitted(detector, X) for detector in unfitted]
