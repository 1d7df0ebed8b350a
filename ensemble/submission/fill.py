"""Test clips without a score in a submission: each gets the highest score of its section, and the decision 1.

A recording that cannot be read may be broken by the fault itself, so it must not count as normal.
"""

from collections.abc import Sequence

import numpy as np

from detectors.metrics.scores import ScoreTable
from ensemble.checks.unscored import Unscored
from featstore.clip import Clip, recording_of
from featstore.errors import IncompleteError
from featstore.table import ClipTable


def filled(
    clips: ClipTable, scores: ScoreTable, decision: np.ndarray, unscored: Sequence[Unscored]
) -> tuple[ClipTable, ScoreTable, np.ndarray]:
    """Clips, scores and decisions with the recordings of `unscored`; in a section without scores the highest of all.

    IncompleteError for a recording whose machine or section is unknown.
    """
    known, missing = set(clips.keys()), dict[str, Unscored]()
    for clip in unscored:
        if recording_of(clip.path) not in known:
            missing.setdefault(recording_of(clip.path), clip)
    if not missing:
        return clips, scores, decision
    added, values = [], []
    for path, clip in missing.items():
        place = clip.place
        if not place.machine or not place.section:
            raise IncompleteError(
                f"{path} ({clip.reason}): its machine and section are unknown, so no file of a submission can name it; "
                "repair the recording and build again"
            )
        added.append(Clip(path, place.machine, place.section, "test", place.domain))  # type: ignore[arg-type]
        here = scores.scores[clips.where(machine=place.machine, section=place.section)]
        values.append((here if len(here) else scores.scores).max())
    every = ScoreTable(scores.name, (*scores.keys, *missing), np.concatenate([scores.scores, values]))
    table = ClipTable.concatenate([clips, ClipTable.from_clips(added)])
    return table, every, np.concatenate([decision, np.ones(len(added), dtype=bool)])
