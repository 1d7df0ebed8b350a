"""A region of time and frequency that deviates from normal, and the sentence that names it."""

from dataclasses import dataclass
from typing import Any

SHORT_S = 0.5
"""Shorter regions have their times in hundredths of a second."""


@dataclass(frozen=True)
class Region:
    """A rectangle of a spectrogram: seconds from the start of the recording, Hz, and its level above normal in dB.

    excess_db: mean over the rectangle; negative where the clip is quieter than normal. z: the mean deviation in spreads
    of normal clips.
    """

    start_s: float
    end_s: float
    low_hz: float
    high_hz: float
    excess_db: float
    z: float

    def __str__(self) -> str:
        """The sentence: `3.2 to 4.1 s, 2 to 4 kHz, 9 dB above normal`."""
        side = "above" if self.excess_db >= 0 else "below"
        digits = 1 if self.end_s - self.start_s >= SHORT_S else 2
        time = f"{self.start_s:.{digits}f} to {self.end_s:.{digits}f} s"
        level = f"{abs(self.excess_db):.0f}"
        level = "less than 1" if level == "0" else level
        return f"{time}, {band_text(self.low_hz, self.high_hz)}, {level} dB {side} normal"

    def as_json(self) -> dict[str, Any]:
        """Rounded values by name."""
        digits = {"start_s": 3, "end_s": 3, "low_hz": 1, "high_hz": 1, "excess_db": 2, "z": 2}
        return {name: round(float(getattr(self, name)), places) for name, places in digits.items()}


def band_text(low_hz: float, high_hz: float) -> str:
    """Two frequencies with a common unit, or each with its own: `50 to 400 Hz`, `800 Hz to 1.2 kHz`, `2 to 4 kHz`."""
    low, high = (_frequency(hz) for hz in (low_hz, high_hz))
    number, unit = low.split()
    return f"{number if high.endswith(f' {unit}') else low} to {high}"


def _frequency(hz: float) -> str:
    return f"{hz / 1000:.2g} kHz" if hz >= 995 else f"{hz:.0f} Hz"
