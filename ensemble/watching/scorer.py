"""What the watch needs of a fitted model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from ensemble.scoring.verdict import Verdict


class Scorer(Protocol):
    """Scores recordings and waves.

    sections: known pairs of machine and section. seconds: length of the clips or windows of training. hop_s: from the
    start of one window to that of the next.
    """

    @property
    def sections(self) -> Sequence[tuple[str, str]]: ...  # noqa: D102

    @property
    def seconds(self) -> float: ...  # noqa: D102

    @property
    def hop_s(self) -> float: ...  # noqa: D102

    def section_of(self, path: str, machine: str = "", section: str = "") -> tuple[str, str]:
        """Machine and section of a recording, by its path below the data root; DataError where it is unclear."""

    def score_file(self, path: Path, *, machine: str, section: str) -> list[Verdict]:
        """One verdict per clip or window; raises featstore.errors.RejectedAudio with the reason."""

    def drift(self, verdicts: Sequence[Verdict]) -> tuple[str, ...]:
        """Warnings where verdicts show that recordings are no longer like those of training."""

    def score(self, wave: np.ndarray, rate_hz: int, *, machine: str, section: str) -> list[Verdict]:
        """Verdicts of a wave, float32 (time,); times count from its start."""
