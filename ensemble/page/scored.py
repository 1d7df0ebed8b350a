"""The results of a run as a page shows them, from a detection or from the file that a run keeps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ensemble.decision.drift import Drift
from ensemble.decision.false_alarms import false_alarm_rates
from ensemble.fitting.decide import bounded
from ensemble.page.excess import excess
from ensemble.recipe import recipe_text
from ensemble.run import Detection
from ensemble.windows.events import spans_of
from featstore.table import ClipTable


@dataclass(frozen=True)
class Limit:
    """The threshold of the clips that share a bank, and how far its false-alarm rate can be trusted.

    domain: "" where clips of any domain share it. value: None where no clip can be reported. requested: the rate asked
    for, None for a threshold by hand and for a false-discovery rate. expected, low, high: the rate to expect with these
    `references` training clips and its 95 % interval. shifted: the rate is approximate, see `ensemble.decision.banks`.
    """

    machine: str
    section: str
    domain: str
    value: float | None
    requested: float | None
    expected: float
    low: float
    high: float
    references: int
    shifted: bool


@dataclass(frozen=True, eq=False)
class Scored:
    """What a run found. Arrays are (m,), one row per scored clip, in the order of the detection; never changed.

    title: name of the store. recipe: its TOML text. member_percentiles: (members, m). nearest: key of the most similar
    training clip, "" without any. where: row of a clip -> where it deviates, in words. seconds: start and end (m, 2) of
    every clip in its recording; NaN as an end where the length is unknown. times: when the recording of each clip
    began, in seconds since 1970, NaN where unknown; time_source: where times come from, "name" or "file", "" for none.
    train, reference (n,): training clips and their honest scores. bounded: scores are fused positions in (0, 1).
    target: probability (m,) of the target domain, None where it is not predicted. drifts, rates: rows of
    `Drift` and `FalseAlarms` as JSON has them, each drift with its `warning`. metrics: content of metrics.json.
    """

    title: str
    recipe: str
    members: tuple[str, ...]
    clips: ClipTable
    score: np.ndarray
    percentile: np.ndarray
    p_value: np.ndarray
    threshold: np.ndarray
    member_percentiles: np.ndarray
    nearest: Sequence[str]
    nearest_distance: np.ndarray
    seconds: np.ndarray
    times: np.ndarray
    time_source: str
    train: ClipTable
    reference: np.ndarray
    limits: tuple[Limit, ...]
    bounded: bool
    nominal: float | None
    self_ranked: bool
    pool_sections: bool
    target: np.ndarray | None = None
    where: Mapping[int, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    drifts: tuple[Mapping[str, Any], ...] = ()
    rates: tuple[Mapping[str, Any], ...] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def decision(self) -> np.ndarray:
        """Whether each clip is reported: its score is above its threshold."""
        return np.asarray(self.score > self.threshold)

    @cached_property
    def excess(self) -> np.ndarray:
        """How many times its threshold each clip reaches, see `ensemble.page.excess`; above 1 where it is reported."""
        return excess(self.score, self.threshold, None if self.bounded else self.middle)

    @cached_property
    def middle(self) -> np.ndarray:
        """The median (m,) of the reference scores that each clip is compared with; 0 where there are none."""
        middle = np.zeros(len(self.clips))
        for machine, section in self.sections:
            training = self.reference_rows(machine, section)
            if len(training):
                middle[self.rows_of(machine, section)] = np.median(self.reference[training])
        return middle

    @cached_property
    def sections(self) -> list[tuple[str, str]]:
        """Machine and section of the scored clips, sorted."""
        return sorted(self.clips.sections())

    @cached_property
    def keys(self) -> list[str]:
        """Key of every scored clip."""
        return self.clips.keys()

    def rows_of(self, machine: str, section: str) -> np.ndarray:
        """Rows of the scored clips of a section."""
        return np.flatnonzero(self.clips.where(machine=machine, section=section))

    def reference_rows(self, machine: str, section: str) -> np.ndarray:
        """Rows of the training clips that a section's clips are compared with."""
        here = self.train.where(machine=machine)
        if not self.pool_sections:
            here &= self.train.where(section=section)
        return np.flatnonzero(here)


def scored_of(  # noqa: PLR0913 - each is a part of the results
    detection: Detection,
    *,
    title: str,
    seconds: np.ndarray | None = None,
    times: np.ndarray | None = None,
    time_source: str = "",
    where: Mapping[int, str] | None = None,
    drifts: Sequence[Drift] = (),
    metrics: Mapping[str, Any] | None = None,
) -> Scored:
    """The results of a detection. seconds: lengths (m,) of recordings, see `Findings`; the others as in `Scored`."""
    decided, recipe = detection.decided, detection.recipe
    pairs = zip(decided.banks, decided.thresholds, strict=True)
    limits = [
        Limit(
            machine=bank.machine,
            section=bank.section,
            domain=bank.domain,
            value=limit.value if limit else None,
            requested=None if limit is None or limit.requested != limit.requested else limit.requested,
            expected=limit.expected if limit else 0.0,
            low=limit.low if limit else 0.0,
            high=limit.high if limit else 0.0,
            references=len(bank.reference),
            shifted=bank.shifted,
        )
        for bank, limit in pairs
    ]
    rates = false_alarm_rates(detection.clips, decided)
    return Scored(
        title=title,
        recipe=recipe_text(recipe),
        members=tuple(member.name for member in recipe.members),
        clips=detection.clips,
        score=detection.score,
        percentile=decided.percentile,
        p_value=decided.p_value,
        threshold=decided.threshold,
        member_percentiles=detection.member_percentiles,
        nearest=detection.nearest,
        nearest_distance=detection.nearest_distance,
        seconds=spans_of(detection.clips, seconds),
        times=np.full(len(detection.clips), np.nan) if times is None else times,
        time_source=time_source,
        train=detection.train,
        reference=detection.reference,
        limits=tuple(limits),
        bounded=bounded(recipe),
        nominal=decided.nominal,
        self_ranked=detection.self_ranked,
        pool_sections=recipe.pool_sections,
        target=detection.domains.scored if detection.domains else None,
        where=dict(where or {}),
        warnings=detection.warnings,
        notes=detection.notes,
        drifts=tuple({**vars(shift), "warning": shift.warning} for shift in drifts),
        rates=tuple({**vars(rate), "rate": rate.rate} for rate in rates),
        metrics=metrics or {},
    )
