"""What a detection says about recordings whose windows it scored."""

from typing import NamedTuple

import numpy as np

from ensemble.inputs import evidence_of
from ensemble.run import Detection
from ensemble.windows.events import Event, events_of, recording_lengths
from ensemble.windows.recordings import MAXIMUM, Recordings, recordings_of
from featstore.store import FeatureStore


class Findings(NamedTuple):
    """The scored recordings, their events, and the lengths (m,) of the clips' recordings in seconds, None if not read.

    Without windows, the recordings are the clips, and there are no events.
    """

    recordings: Recordings
    events: tuple[Event, ...] = ()
    seconds: np.ndarray | None = None


def findings_of(detection: Detection, rule: str = MAXIMUM, store: FeatureStore | None = None) -> Findings:
    """The findings by a rule for the score of a recording; `store`: where lengths of whole recordings are read.

    Recordings with a clip that chose the ensemble have no label.
    """
    recipe = detection.recipe
    chosen_by = {*recipe.confirmed_faults, *recipe.confirmed_normal}
    recordings = recordings_of(detection.clips, rule, unlabelled=chosen_by)
    if not recordings.divided:
        return Findings(recordings)
    seconds = recording_lengths(store, evidence_of(store, recipe).embedding, detection.clips) if store else None
    return Findings(recordings, tuple(events_of(detection, seconds)), seconds)
