"""What `detect evaluate` does: official metrics of anybody's scores of a store's test clips."""

from pathlib import Path
from typing import Any

import numpy as np

from detectors.metrics.scores import ScoreTable, read_scores
from ensemble.checks.unscored import rejected_keys
from ensemble.evaluation.without_copies import known_copies, without, without_copies
from ensemble.inputs import with_confirmed_labels
from ensemble.marks.apply import keys_marked, with_all_marks, with_marks
from ensemble.marks.file import FAULT
from ensemble.output import (
    labelled,
    measure,
    metrics_json,
    metrics_text,
    origin,
    read_any_scores,
    test_clips,
    year_of,
)
from ensemble.recipe import read_recipe
from ensemble.submission.clips import package_year
from ensemble.submission.package import evaluated
from ensemble.windows.recordings import MAXIMUM, Recordings, recordings_of
from featstore.clip import window_of
from featstore.errors import DataError
from featstore.store import FeatureStore
from featstore.table import ClipTable
from featstore.terminal.shown import block, counted


def evaluate_scores(
    scores: Path,
    path: Path,
    *,
    ground_truth: Path | None,
    year: int | None,
    recipe: Path | None = None,
    recording_score: str = MAXIMUM,
    no_marks: bool = False,
) -> tuple[dict[str, Any], str, list[str]]:
    """Official metrics of anybody's scores of a store's test clips: as JSON, as text, and why clips were left out.

    recipe: the one that made the scores; test clips with confirmed labels that it was chosen by are left out. So are
    marked clips, by the marks that the recipe was made with, or by all of the store. recording_score: the rule for
    recordings whose windows are scored; scores of whole recordings are read as they are.
    """
    store, made_by = FeatureStore.open(path), read_recipe(recipe) if recipe else None
    every = tests = test_clips(store, ground_truth)
    if scores.is_dir():
        every = tests = evaluated(scores, every, year or package_year(every))
    if not no_marks:
        store = with_marks(store, made_by.marks) if made_by else with_all_marks(store, lambda note: None)
        tests = _unmarked(tests, store)
    tests, chose = with_confirmed_labels(tests, made_by) if made_by else (tests, 0)
    chosen_by = {*made_by.confirmed_faults, *made_by.confirmed_normal} if made_by else set()
    recordings = recordings_of(tests, recording_score, unlabelled=chosen_by)
    rule = year or year_of(recordings.clips)
    clips, lacking = labelled(recordings.clips, rule)
    if not len(clips):
        raise DataError(f"{path}: {_nothing_to_measure(recordings.clips, lacking)}")
    of_windows = recordings.divided and not scores.is_dir() and any(map(window_of, read_scores(scores).keys))
    known = every if of_windows else recordings_of(every, recording_score).clips
    rejected = rejected_keys(store, sorted(store.embeddings))
    table = read_any_scores(scores, known, year or package_year(every), rejected)
    clips, unscored = _scored(clips, table, recordings)
    measured = measure(recordings.table(table, clips.keys()) if of_windows else table, clips, rule)
    copies = known_copies(store, scores, pool_sections=bool(made_by and made_by.pool_sections))
    apart = without_copies(
        copies, lambda keys: recordings.table(table, keys) if of_windows else table, recordings, clips, rule
    )
    lacking = [*unscored, *lacking]
    if len(tests) < len(every):
        lacking = [f"{counted(len(every) - len(tests), 'marked clip')}; --no-marks counts them", *lacking]
    if chose:
        lacking = [f"{counted(chose, 'clip')} that chose this ensemble", *lacking]
    metrics = metrics_json(*measured) | ({"recordings": len(recordings.clips)} if of_windows else {}) | dict(apart.json)
    text = block(metrics_text(*measured), *(origin(recordings, clips) if of_windows else ()))
    return metrics, block(*apart.around(text)), lacking


def _nothing_to_measure(clips: ClipTable, lacking: list[str]) -> str:
    """Why no section can be measured, and what to do."""
    known = clips[~clips.where(label="unknown")]
    for label, folder, noun in (("normal", "normal", "normal"), ("anomaly", "abnormal", "anomalous")):
        if len(known) and not known.where(label=label).any():
            machine = min(known.column("machine").tolist())
            return f"no {noun} test recordings, so no AUC; put some in {machine}/test/{folder} and build again"
    missing = lacking[0] if lacking else "no test clip has a label"
    cure = "--ground-truth takes the evaluator's folder, with ground_truth_data and ground_truth_domain"
    return f"{missing}; {cure}"


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


def _unmarked(tests: ClipTable, store: FeatureStore) -> ClipTable:
    """The test clips that are still test clips with the marks of `store`, without those marked as faults."""
    still, keys = set(test_clips(store, None).keys()) - set(keys_marked(store, FAULT)), tests.keys()
    return tests[np.array([key in still for key in keys], dtype=bool)]
