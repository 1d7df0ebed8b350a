"""The charts of a section show what decided its clips."""

from dataclasses import replace

import numpy as np

from ensemble.report.sections import MIXED, section_charts
from ensemble.run import Detection


def test_a_panel_has_the_threshold_of_every_clip(detection: Detection) -> None:
    """One source clip of section 00 sounds like the target domain, and is decided by its threshold."""
    rows = np.flatnonzero(detection.clips.where(section="00", domain="source"))
    threshold = np.full(24, 0.8)
    plain = replace(detection, decided=replace(detection.decided, threshold=threshold))
    text = section_charts(plain, None)
    assert text.count('class="threshold"/>') == 4
    assert MIXED not in text
    mixed = replace(plain, decided=replace(plain.decided, threshold=np.where(np.arange(24) == rows[2], 0.9, threshold)))
    text = section_charts(mixed, None)
    assert text.count('class="threshold"/>') == 5
    assert text.count(MIXED) == 1


def test_one_clip_is_one_clip(detection: Detection) -> None:
    """Of the anomalies of section 00, all but one are of unknown label."""
    anomaly = np.flatnonzero(detection.clips.where(section="00", label="anomaly", domain="target"))
    clips = [replace(clip, label="unknown") if i in anomaly[1:] else clip for i, clip in enumerate(detection.clips)]
    text = section_charts(replace(detection, clips=type(detection.clips).from_clips(clips)), None)
    assert "1 anomaly, 2 scored clips" in text
    assert "1 anomalies" not in text
