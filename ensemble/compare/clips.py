"""The recordings that all systems of a comparison are measured on, with the scores of each system."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from detectors.metrics.labels import Labels
from detectors.metrics.scores import ScoreTable
from ensemble.evaluation.measured import Measured
from ensemble.output import labelled
from ensemble.windows.recordings import Recordings
from featstore.errors import DataError
from featstore.table import ClipTable
from featstore.terminal.shown import counted


@dataclass(frozen=True, eq=False)
class Given:
    """Scores of a system; of_windows: by clip of the store, else by whole recording."""

    table: ScoreTable
    of_windows: bool = True


@dataclass(frozen=True, eq=False)
class Common:
    """Labels of the recordings that every system scores, the systems' scores of these, and notes on the others."""

    labels: Labels
    tables: Mapping[str, ScoreTable]
    notes: tuple[str, ...]


def common_clips(tests: Measured, given: Mapping[str, Given]) -> Common:
    """The measurable recordings with a score by every system; a section that loses a class is left out.

    DataError where nothing is left.
    """
    recordings = tests.recordings
    wanted = _mask(recordings.clips, tests.clips)
    without = {name: wanted & _unscored(recordings, scores) for name, scores in given.items()}
    kept = wanted & ~np.any(list(without.values()), axis=0)
    clips, lost = labelled(recordings.clips[kept], tests.rule)
    notes = _notes(without, int(wanted.sum()), int(kept.sum()))
    if not len(clips):
        raise DataError(f"no section is left to compare: {'; '.join([*notes, *lost])}")
    notes += [f"left out: {reason}" for reason in lost]
    labels = Labels.of(clips)
    return Common(
        labels, {name: _scores(recordings, name, each, labels.keys) for name, each in given.items()}, (*notes,)
    )


def _mask(clips: ClipTable, wanted: ClipTable) -> np.ndarray:
    keys = set(wanted.keys())
    return np.array([key in keys for key in ClipTable.keys(clips)], dtype=bool)


def _unscored(recordings: Recordings, scores: Given) -> np.ndarray:
    """Mask of the recordings that a system gives no score, or not one to every window."""
    scored = set(scores.table.keys)
    clips = recordings.windows if scores.of_windows else recordings.clips
    lacking = np.array([key not in scored for key in ClipTable.keys(clips)], dtype=bool)
    return recordings.any(lacking) if scores.of_windows else lacking


def _notes(without: Mapping[str, np.ndarray], total: int, kept: int) -> list[str]:
    lacking = {name: int(mask.sum()) for name, mask in without.items() if mask.any()}
    if not lacking:
        return []
    first = ", ".join(f"{name} lacks {count:,}" for name, count in list(lacking.items())[:3])
    more = f" and {counted(len(lacking) - 3, 'more system')}" if len(lacking) > 3 else ""
    return [f"all systems are compared on the {kept:,} of {counted(total, 'test clip')} that all score: {first}{more}"]


def _scores(recordings: Recordings, name: str, scores: Given, keys: tuple[str, ...]) -> ScoreTable:
    table = recordings.table(scores.table, keys) if scores.of_windows else scores.table
    return ScoreTable(name, keys, table.aligned(keys))
