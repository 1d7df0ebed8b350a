"""The result of a fitted model for a recording, or for a window of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

from ensemble.deviation.region import Region
from ensemble.run import Detection
from featstore.clip import Window


@dataclass(frozen=True)
class Verdict:
    """Score and decision of one clip, with the evidence.

    start_s, end_s: the part of the recording that was scored, in seconds. score, percentile, p_value, threshold: as in
    scores.csv. target_probability: None where domains are not predicted. nearest: key of the most similar training
    clip; empty without any. members: percentile by each member. where: the regions that deviate most, strongest first.
    bands: the mel bands that make up half of the distance by Mahalanobis members, in words; both for anomalies only.
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
    bands: str = ""

    @property
    def sentence(self) -> str:
        """Where it deviates, in words; empty where that is unknown."""
        return "; ".join(map(str, self.where))

    def as_json(self) -> dict[str, Any]:
        """Values by name, as JSON has them; None for what is unknown."""
        values = {name: None if _is_nan(value) else value for name, value in vars(self).items()}
        return {
            **values,
            "members": dict(self.members),
            "where": [region.as_json() for region in self.where],
            "sentence": self.sentence,
        }


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and isnan(value)


def verdicts_of(detection: Detection, spans: Sequence[Window]) -> list[Verdict]:
    """One verdict per clip of a detection; spans: the part of its recording that each clip is."""
    members, decided = [member.name for member in detection.recipe.members], detection.decided
    probability = detection.domains.scored.tolist() if detection.domains else [None] * len(spans)
    return [
        Verdict(
            machine=clip.machine,
            section=clip.section,
            start_s=spans[i].start_s,
            end_s=spans[i].end_s,
            score=float(detection.score[i]),
            percentile=float(detection.percentile[i]),
            p_value=float(decided.p_value[i]),
            threshold=float(decided.threshold[i]),
            anomaly=bool(detection.decision[i]),
            target_probability=None if probability[i] != probability[i] else probability[i],  # NaN where unknown
            nearest=detection.nearest[i],
            nearest_distance=float(detection.nearest_distance[i]),
            members=dict(zip(members, detection.member_percentiles[:, i].tolist(), strict=True)),
        )
        for i, clip in enumerate(detection.clips)
    ]
