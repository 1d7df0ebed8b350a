"""The strongest rectangles of a clip in seconds and Hz."""

import numpy as np

from ensemble.deviation.region import Region
from ensemble.deviation.scan import boxes
from ensemble.deviation.statistics import NormalSound
from featstore.mel import MEL_SCALES


def regions(
    S: np.ndarray,
    normal: NormalSound,
    hop_s: float,
    frequencies: np.ndarray,
    *,
    most: int = 2,
    start_s: float = 0.0,
) -> list[Region]:
    """Up to `most` regions of a log-mel S (frames, mels), the strongest first; none where nothing stands out.

    frequencies: edges of the bands in Hz, (mels + 1,). start_s: time of the centre of the first frame, for windows of a
    recording. DataError where S has another shape than the statistics.
    """
    last = max(len(S) - 1, 1)

    def second(frame: int) -> float:
        """The time halfway between a frame and the one before it, inside the clip."""
        return start_s + hop_s * min(max(frame - 0.5, 0), last)

    return [
        Region(
            second(box.frames[0]),
            second(box.frames[1]) if box.frames[1] < len(S) else start_s + hop_s * last,
            float(frequencies[box.bands[0]]),
            float(frequencies[box.bands[1]]),
            box.excess_db,
            box.z if box.excess_db >= 0 else -box.z,
        )
        for box in boxes(S, normal, most)
    ]


def band_edges(mels: int, low_hz: float, high_hz: float, scale: str) -> np.ndarray:
    """Edges (mels + 1,) in Hz of mel bands whose overlapping filters span low_hz to high_hz.

    A filter spans two steps of the mel scale; the band is the step around its centre.
    """
    to_mel, to_hz = MEL_SCALES[scale]
    low, high = to_mel(np.array([low_hz, high_hz]))
    return np.asarray(to_hz(low + (np.arange(mels + 1) + 0.5) * (high - low) / (mels + 1)))
