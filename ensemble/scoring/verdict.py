"""What a fitted model says about a recording, or about a window of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from typing import Any

from ensemble.deviation.region import Region


@dataclass(frozen=True)
class Verdict:
    """Score and decision of one clip, with the evidence.

    start_s, end_s: the part of the recording that was scored, in seconds. score, percentile, p_value, threshold: as in
    scores.csv. target_probability: None where domains are not predicted. nearest: key of the most similar training
    clip; empty without any. members: percentile by each member. where: the regions that deviate most, strongest first.
    """

    machine: str
    section: str
    start_s: float
    end_s: float
    score: float
    percentile: float
    p_value: float
    threshold: float
    anomaly: bool
    target_probability: float | None
    nearest: str
    nearest_distance: float
    members: Mapping[str, float]
    where: tuple[Region, ...] = ()

    @property
    def sentence(self) -> str:
        """Where it deviates, in words; empty where that is unknown."""
        return "; ".join(map(str, self.where))

    def as_json(self) -> dict[str, Any]:
        """Values by name, as JSON keeps them; None for what is unknown."""
        values = {name: None if _is_nan(value) else value for name, value in vars(self).items()}
        return {
            **values,
            "members": dict(self.members),
            "where": [region.as_json() for region in self.where],
            "sentence": self.sentence,
        }


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and isnan(value)
