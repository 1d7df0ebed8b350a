"""What `detect compare` does: run the systems on one store, measure and test them, write the results."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from detectors.metrics.official import evaluate
from ensemble.compare.clips import Common, Given, common_clips
from ensemble.compare.comparison import Comparison, compared
from ensemble.compare.files import write_comparison
from ensemble.compare.request import CompareRequest
from ensemble.compare.scored import score_recipes
from ensemble.compare.seeds import Spread, seeds_note, with_seeds
from ensemble.compare.systems import System, baseline_of, named_systems, refuse_repeated
from ensemble.evaluation.measured import Measured, scorable_clips
from ensemble.marks.apply import with_all_marks
from ensemble.output import writable
from ensemble.request import Say, Screen
from featstore.store import FeatureStore

TEST_SET = (
    "the metrics use the labels of the test clips: to choose a system by this table is to choose on the test set, and "
    "its score is then too high; `detect select` chooses without these labels"
)


def compare_to(request: CompareRequest, screen: Screen) -> tuple[Comparison, list[Path]]:
    """Run and compare the systems of the request; returns the comparison and the files written."""
    store = FeatureStore.open(request.store)
    writable(request.out)
    screen = replace(screen, say=_once(screen.say))
    systems = named_systems(store, request, screen)
    baseline = baseline_of(systems, request.baseline)
    recipes = {system.name: system.recipe for system in systems if system.recipe}
    tests = _tests(store, request, systems)
    reseeded = {name: with_seeds(name, recipe, request.seeds) for name, recipe in recipes.items()}
    variants = {name: recipe for of_system in reseeded.values() for name, recipe in of_system.items()}
    refuse_repeated([*(system.name for system in systems), *variants])
    files = _read(store, request, systems, tests)
    every = {**recipes, **variants}
    scored = score_recipes(store, every, machines=request.machines, workers=request.workers, progress=screen.detecting)
    common = common_clips(tests, {**files, **{name: Given(table) for name, table in scored.tables.items()}})
    named = {system.name: common.tables[system.name] for system in systems}
    comparison = compared(named, common.labels, tests.rule, baseline=baseline, replicates=request.replicates)
    spreads = {name: _spread(common, tests.rule, [name, *of]) for name, of in reseeded.items() if of}
    members = {system.name: system.members for system in systems}
    rows = [replace(row, members=members[row.name], spread=spreads.get(row.name)) for row in comparison.rows]
    left_out = [f"left out of the metrics: {reason}" for reason in tests.left_out]
    notes = [*common.notes, *left_out, *scored.notes, *comparison.notes]
    notes += [seeds_note(list(recipes.values()))] if request.seeds > 1 else []
    notes = [*dict.fromkeys(notes), TEST_SET]
    comparison = replace(comparison, rows=tuple(rows), seeds=request.seeds, notes=tuple(notes))
    return comparison, write_comparison(request.out, comparison)


def _once(say: Say) -> Say:
    """The same, without lines that were said before: several systems often give the same note."""
    said: set[str] = set()

    def say_new(line: str) -> None:
        if line not in said:
            said.add(line)
            say(line)

    return say_new


def _tests(store: FeatureStore, request: CompareRequest, systems: Sequence[System]) -> Measured:
    files = [system.file for system in systems if system.file]
    return Measured.of(
        store,
        scorable_clips(store, request.ground_truth, files, request.year, request.machines),
        year=request.year,
        marked=None if request.no_marks else with_all_marks(store, lambda note: None),
        recipes=[system.recipe for system in systems if system.recipe],
        recording_score=request.recording_score,
        machines=request.machines,
    )


def _read(store: FeatureStore, request: CompareRequest, systems: Sequence[System], tests: Measured) -> dict[str, Given]:
    """Scores of the score files and submission folders, without those of clips that are no test clips."""
    every = {*tests.every.keys(), *tests.every.recordings()}
    tables = [store.clips(name) for name in store.embeddings]
    others = {key for clips in tables for key in (*clips.keys(), *clips.recordings())} - every
    return {
        system.name: Given(*tests.read(system.file, store, request.year, others)) for system in systems if system.file
    }


def _spread(common: Common, year: int, names: Sequence[str]) -> Spread:
    """Official scores of a system with several seeds."""
    return Spread(tuple(evaluate(common.tables[name], common.labels, year).score for name in names))
