"""Positions of clips among the held-out normal clips, with and without blocks."""

from dataclasses import replace

import numpy as np
from selection_store import recordings, variants

from ensemble.decision.calibrate import position, position_of_reference
from ensemble.selection.choose import positions
from ensemble.selection.scoring.validation import plan_validation
from featstore.table import ClipTable, encode


def test_clips_are_placed_among_the_normal_clips_of_other_blocks(rng: np.random.Generator) -> None:
    recorded = [replace(clip, attributes={"day": clip.path[-5]}) for clip in recordings()]
    clips = [*recorded, *(replace(clip, attributes={"day": clip.path[-5]}) for clip in variants(recorded))]
    facts = {"content_hash": encode(f"hash of {clip.path}" for clip in clips), "outcome": encode("" for _ in clips)}
    plain, by_day = (plan_validation(ClipTable.from_clips(clips), facts, group=group) for group in ("", "day"))
    scores = rng.normal(size=(2, len(plain)))
    without, placed = positions(scores, plain), positions(scores, by_day)
    days = np.array([key.partition(".wav")[0][-1] for key in plain.keys])
    for section in (0, 1):
        here = plain.section == section
        normal = here & plain.normal
        np.testing.assert_array_equal(without[1, normal], position_of_reference(scores[1, normal]))
        for day in "0123456789":
            own, others = here & (days == day), scores[1, normal & (days != day)]
            np.testing.assert_array_equal(placed[1, own], position(scores[1, own], others))
