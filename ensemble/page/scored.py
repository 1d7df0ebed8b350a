"""The results of a run as a page shows them, from a detection or from the file that a run keeps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from ensemble.decision.by_hand import drift_again, rate_again
from ensemble.decision.conformal import Decisions
from ensemble.decision.drift import Drift
from ensemble.decision.false_alarms import false_alarm_rates
from ensemble.decision.given import EVERY, key_of, refuse_unknown
from ensemble.decision.thresholds import given_threshold
from ensemble.fitting.decide import bounded
from ensemble.page.excess import excess
from ensemble.recipe import recipe_text
from ensemble.run import Detection
from ensemble.windows.blocks import any_windows
from ensemble.windows.events import spans_of
from featstore.clip import recording_of
from featstore.errors import DataError
from featstore.table import ClipTable, decode

DEFAULT = ("", EVERY)
"""Stands for every section without a threshold by hand of its own."""


@dataclass(frozen=True)
class Limit:
    """The threshold of the clips that share a bank, and how far its false-alarm rate can be trusted.

    domain: "" where clips of any domain share it. value: None where no clip can be reported. requested: the rate asked
    for, None for a threshold by hand and for a false-discovery rate. expected, low, high: the rate to expect with these
    `references` training clips and its 95 % interval, which counts them as `worth` independent ones. shifted: the rate
    is approximate, see `ensemble.decision.banks`.
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
    worth: float
    shifted: bool


@dataclass(frozen=True, eq=False)
class Scored:
    """What a run found. Arrays are (m,), one row per scored clip, in the order of the detection; never changed.

    title: name of the store. recipe: its TOML text. member_percentiles: (members, m). nearest: key of the most similar
    training clip, "" without any. where: row of a clip -> where it deviates, in words. seconds: start and end (m, 2) of
    every clip in its recording; NaN as an end where the length is unknown. times: when the recording of each clip
    began, in seconds since 1970, NaN where unknown; time_source: where times come from, "name" or "file", "" for none.
    train, reference (n,): training clips and their honest scores. bounded: scores are fused positions in (0, 1).
    target: probability (m,) of the target domain, None where it is not predicted. drifts, rates: rows of `Drift` and
    `FalseAlarms` as JSON has them, each drift with its `warning`. metrics: content of metrics.json. limit_of (m,): the
    number of each clip's limit, None where unknown; banks: the reference scores that each limit follows from, empty
    where unknown. copied (m,): copies of training clips, None for none; they prove no rate. store: checksum of the rows
    of the store, see `ensemble.page.kept.rows_digest`. original: the results before thresholds by hand, None where
    these are the original ones.
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
    limit_of: np.ndarray | None = None
    banks: tuple[np.ndarray, ...] = ()
    copied: np.ndarray | None = None
    store: str = ""
    original: "Scored | None" = field(default=None, repr=False)

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
    def divided(self) -> bool:
        """Whether any clip is a window of a recording."""
        return any_windows(self.clips)

    @cached_property
    def keys(self) -> list[str]:
        """Key of every scored clip."""
        return self.clips.keys()

    @cached_property
    def recordings(self) -> list[str]:
        """Path of every scored clip's recording."""
        return [recording_of(path) for path in decode(self.clips.columns["path"])]

    @cached_property
    def machine(self) -> list[str]:
        """Machine of every scored clip."""
        return _decoded(self.clips.columns["machine"])

    @cached_property
    def section(self) -> list[str]:
        """Section of every scored clip."""
        return _decoded(self.clips.columns["section"])

    def rows_of(self, machine: str, section: str) -> np.ndarray:
        """Rows of the scored clips of a section."""
        return np.flatnonzero(self.clips.where(machine=machine, section=section))

    def reference_rows(self, machine: str, section: str) -> np.ndarray:
        """Rows of the training clips that a section's clips are compared with."""
        here = self.train.where(machine=machine)
        if not self.pool_sections:
            here &= self.train.where(section=section)
        return np.flatnonzero(here)

    def rows_of_limit(self, number: int) -> np.ndarray:
        """Rows of the scored clips that the limit of this number decides."""
        if self.limit_of is not None:
            return np.flatnonzero(self.limit_of == number)
        limit = self.limits[number]
        names = {"machine": limit.machine, "section": "" if self.pool_sections else limit.section}
        return np.flatnonzero(self.clips.where(**{name: text for name, text in names.items() if text}))

    def with_thresholds(self, values: Mapping[tuple[str, str], float]) -> "Scored":
        """The same scores, decided by thresholds by hand for the limits of these machines and sections.

        A section that is left out has the threshold of the run again. The key of pooled sections is that of their limit
        (machine, `all`); DEFAULT stands for all sections. Expected rates follow from the reference scores, real rates
        and drifts from the new decisions. DataError for an unknown section, and for a threshold that is not finite, or
        that every score, or none, of a fused ensemble exceeds.
        """
        run = self.original or self
        _refuse(run, values)
        by_hand = {
            number: float(value)
            for number, limit in enumerate(run.limits)
            if (value := values.get((limit.machine, limit.section), values.get(DEFAULT))) is not None
        }
        if not by_hand:
            return run
        threshold, limits = run.threshold.copy(), list(run.limits)
        for number, value in by_hand.items():
            threshold[run.rows_of_limit(number)] = value
            limits[number] = _limit_by_hand(run, number, value)
        return _decided_again(run, threshold, tuple(limits), by_hand)


def _decoded(column: np.ndarray) -> list[str]:
    """The texts of a column that has few different ones."""
    values: list[bytes] = column.tolist()
    text = {value: value.decode("utf-8", "surrogateescape") for value in set(values)}
    return [text[value] for value in values]


def _refuse(run: Scored, values: Mapping[tuple[str, str], float]) -> None:
    known = [(limit.machine, limit.section) for limit in run.limits]
    named = tuple((key_of(*key), value) for key, value in values.items() if key != DEFAULT)
    refuse_unknown(named, dict.fromkeys(known), run.title)
    for (machine, section), value in values.items():
        where = "all sections" if (machine, section) == DEFAULT else f"{machine} section {section}"
        if not np.isfinite(value):
            raise DataError(f"{where}: threshold {value}, expected a finite number")
        if run.bounded and not 0 < value < 1:
            raise DataError(
                f"{where}: threshold {value:g}: scores of a fused ensemble are between 0 and 1, so "
                f"{'no' if value >= 1 else 'every'} clip would be reported; give a number between 0 and 1"
            )


def _limit_by_hand(run: Scored, number: int, value: float) -> Limit:
    limit = run.limits[number]
    bank = run.banks[number] if run.banks else run.reference[run.reference_rows(limit.machine, limit.section)]
    if not len(bank):
        return replace(limit, value=value, requested=None)
    given = given_threshold(value, bank, limit.worth)
    return replace(limit, value=value, requested=None, expected=given.expected, low=given.low, high=given.high)


def _decided_again(
    run: Scored, threshold: np.ndarray, limits: tuple[Limit, ...], by_hand: Mapping[int, float]
) -> Scored:
    """The results with other thresholds, and with the rates, drifts and warnings that follow from them."""
    reported = np.asarray(run.score > threshold)
    changed = np.zeros(len(reported), dtype=bool)
    number_of = {}
    for number in by_hand:
        changed[run.rows_of_limit(number)] = True
        number_of[limits[number].machine, limits[number].section, limits[number].domain] = number
    drifts = []
    for row in run.drifts:
        number_of_bank = number_of.get((row["machine"], row["section"], row["domain"]))
        if number_of_bank is not None:
            rows = run.rows_of_limit(number_of_bank)
            rows = rows if run.copied is None else rows[~run.copied[rows]]
            row = drift_again(row, reported[rows], limits[number_of_bank].expected)
        drifts.append(row)
    before = {row["warning"] for row in run.drifts}
    kept = (text for text in run.warnings if text not in before)
    return replace(
        run,
        threshold=threshold,
        limits=limits,
        drifts=tuple(drifts),
        rates=tuple(rate_again(row, run.clips, reported, changed, run.copied) for row in run.rates),
        warnings=(*kept, *(row["warning"] for row in drifts if row["warning"])),
        original=run,
    )


def copied_of(detection: Detection) -> np.ndarray | None:
    """Which scored clips (m,) are copies of training clips; None where none is."""
    copies = detection.copies.scored
    return np.array([key in copies for key in ClipTable.keys(detection.clips)], dtype=bool) if copies else None


def limits_of(decided: Decisions) -> tuple[Limit, ...]:
    """The threshold of every bank, in the order of the banks."""
    return tuple(
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
            worth=bank.independent,
            shifted=bank.shifted,
        )
        for bank, limit in zip(decided.banks, decided.thresholds, strict=True)
    )


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
    notes: Sequence[str] | None = None,
    warnings: Sequence[str] | None = None,
    store: str = "",
) -> Scored:
    """The results of a detection. seconds: lengths (m,) of recordings, see `Findings`; the others as in `Scored`.

    notes, warnings: by default those of the detection.
    """
    decided, recipe = detection.decided, detection.recipe
    limit_of = np.zeros(len(detection.clips), dtype=np.int32)
    for number, bank in enumerate(decided.banks):
        limit_of[bank.rows] = number
    copied = copied_of(detection)
    rates = false_alarm_rates(detection.clips, decided, copied)
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
        limits=limits_of(decided),
        bounded=bounded(recipe),
        nominal=decided.nominal,
        self_ranked=detection.self_ranked,
        pool_sections=recipe.pool_sections,
        target=detection.domains.scored if detection.domains else None,
        where=dict(where or {}),
        warnings=detection.warnings if warnings is None else tuple(warnings),
        notes=detection.notes if notes is None else tuple(notes),
        drifts=tuple({**vars(shift), "warning": shift.warning} for shift in drifts),
        rates=tuple({**vars(rate), "rate": rate.rate} for rate in rates),
        metrics=metrics or {},
        limit_of=limit_of,
        banks=tuple(bank.reference for bank in decided.banks),
        copied=copied,
        store=store,
    )
