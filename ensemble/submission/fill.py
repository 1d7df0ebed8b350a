"""Test clips without a score in a submission: each gets the highest score of its section, and the decision 1.

A recording that cannot be read may be broken by the fault itself, so it must not count as normal.
"""

from collections.abc import Sequence

import numpy as np

from detectors.metrics.scores import ScoreTable
from ensemble.checks.unscored import Unscored, belonging, rejected_clips
from ensemble.output import test_clips
from ensemble.submission.clips import is_evaluation
from ensemble.windows.recordings import recordings_of
from featstore.clip import Clip, recording_of
from featstore.errors import IncompleteError
from featstore.store import FeatureStore
from featstore.table import ClipTable


def filled(
    clips: ClipTable, scores: ScoreTable, decision: np.ndarray, unscored: Sequence[Unscored]
) -> tuple[ClipTable, ScoreTable, np.ndarray]:
    """Clips, scores and decisions with the recordings of `unscored`; in a section without scores the highest of all.

    IncompleteError for a recording whose machine or section is unknown.
    """
    missing = missing_clips(clips, unscored)
    if not missing:
        return clips, scores, decision
    values = []
    for clip in missing:
        here = scores.scores[clips.where(machine=clip.machine, section=clip.section)]
        values.append((here if len(here) else scores.scores).max())
    every = ScoreTable(scores.name, (*scores.keys, *(clip.path for clip in missing)), np.append(scores.scores, values))
    table = ClipTable.concatenate([clips, ClipTable.from_clips(missing)])
    return table, every, np.append(decision, np.ones(len(missing), dtype=bool))


def missing_clips(clips: ClipTable, unscored: Sequence[Unscored]) -> list[Clip]:
    """The recordings of `unscored` that the clips lack; IncompleteError where machine or section is unknown."""
    known, missing = set(clips.keys()), dict[str, Clip]()
    for item in unscored:
        path, place = recording_of(item.path), item.place
        if path in known or path in missing:
            continue
        if not place.machine or not place.section:
            raise IncompleteError(
                f"{path} ({item.reason}): its machine and section are unknown, so no file of a submission can name it; "
                "repair the recording and build again"
            )
        missing[path] = Clip(path, place.machine, place.section, "test", place.domain)  # type: ignore[arg-type]
    return list(missing.values())


def in_submission(unscored: Sequence[Unscored], clips: ClipTable) -> list[Unscored]:
    """The clips without a score that belong in the submission of the test clips `clips`."""
    paths = [*clips.recordings(), *(item.path for item in unscored)]
    staged = any(map(is_evaluation, paths))
    return [item for item in unscored if is_evaluation(item.path) or not staged]


def expected_clips(store: FeatureStore) -> ClipTable:
    """All test recordings of a store, and those of the evaluation data that it rejected.

    IncompleteError for a rejected recording whose machine or section is unknown.
    """
    clips = recordings_of(test_clips(store, None)).clips
    rejected = belonging(rejected_clips(store, sorted(store.embeddings), None), "test")
    missing = missing_clips(clips, in_submission(rejected, clips))
    return ClipTable.concatenate([clips, ClipTable.from_clips(missing)])
