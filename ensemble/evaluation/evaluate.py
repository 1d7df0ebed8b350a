"""What `detect evaluate` does: official metrics of anybody's scores of a store's test clips."""

from pathlib import Path
from typing import Any, NamedTuple

from detectors.metrics.scores import ScoreTable
from ensemble.evaluation.measured import Measured, scorable_clips
from ensemble.evaluation.without_copies import known_copies, without, without_copies
from ensemble.marks.apply import with_all_marks, with_marks
from ensemble.output import measure, metrics_json, metrics_text, origin
from ensemble.recipe import read_recipe
from ensemble.windows.recordings import MAXIMUM, Recordings
from featstore.store import FeatureStore
from featstore.table import ClipTable
from featstore.terminal.shown import block, counted


class Evaluated(NamedTuple):
    """Official metrics as JSON and as text, why clips were left out of them, and how many recordings have no score."""

    metrics: dict[str, Any]
    text: str
    lacking: list[str]
    unscored: int


def evaluate_scores(
    scores: Path,
    path: Path,
    *,
    ground_truth: Path | None,
    year: int | None,
    recipe: Path | None = None,
    recording_score: str = MAXIMUM,
    no_marks: bool = False,
) -> Evaluated:
    """Official metrics of anybody's scores of a store's test clips.

    recipe: the one that made the scores; test clips with confirmed labels that it was chosen by are left out. So are
    marked clips, by the marks that the recipe was made with, or by all of the store. recording_score: the rule for
    recordings whose windows are scored; scores of whole recordings are read as they are.
    """
    store, made_by = FeatureStore.open(path), read_recipe(recipe) if recipe else None
    marked = None
    if not no_marks:
        marked = with_marks(store, made_by.marks) if made_by else with_all_marks(store, lambda note: None)
    tests = Measured.of(
        store,
        scorable_clips(store, ground_truth, [scores], year, machines=()),
        year=year,
        marked=marked,
        recipes=[made_by] if made_by else [],
        recording_score=recording_score,
    )
    recordings, rule, clips = tests.recordings, tests.rule, tests.clips
    table, of_windows = tests.read(scores, marked or store, year)
    clips, unscored = _scored(clips, table, recordings)
    measured = measure(recordings.table(table, clips.keys()) if of_windows else table, clips, rule)
    copies = known_copies(marked or store, scores, pool_sections=bool(made_by and made_by.pool_sections))
    apart = without_copies(
        copies, lambda keys: recordings.table(table, keys) if of_windows else table, recordings, clips, rule
    )
    metrics = metrics_json(*measured) | ({"recordings": len(recordings.clips)} if of_windows else {}) | dict(apart.json)
    text = block(metrics_text(*measured), *(origin(recordings, clips) if of_windows else ()))
    left_out = [*tests.left_out, *unscored]
    return Evaluated(metrics, block(*apart.around(text)), left_out, len(table.unscored))


def _scored(clips: ClipTable, table: ScoreTable, recordings: Recordings) -> tuple[ClipTable, list[str]]:
    """The clips but for those that the scores name as having none, and notes on the clips that are left out."""
    named, notes = set(table.unscored), []
    lacking = set(recordings.windows.keys()) & named
    if lacking:
        clips = without(clips, recordings.clips[recordings.holding(lacking)])
        notes.append(f"{counted(len(lacking), 'clip')} without a score, as the file says")
    if named - lacking:
        others = counted(len(named - lacking), "recording")
        notes.append(f"{others} that the store rejected: the metrics are of the clips of the store")
    return clips, notes
