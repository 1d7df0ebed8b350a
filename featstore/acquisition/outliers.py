"""Recordings that were made differently from those that they are compared with, and recordings under two names.

The bank of a clip is that of a detector: the normal training clips of its machine and section without silent ones;
where there is no training clip, all its clips. A clip differs in a kind (see `kinds`) if the other clips of its bank
that are like it are fewer than three and less than a tenth of the bank. So three clips of a second domain are enough to
make it known, and a single faulty clip does not excuse others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from featstore.acquisition.kinds import BANDWIDTH, KINDS, SAMPLE_RATE, Kind, seconds_text
from featstore.acquisition.recordings import Recordings
from featstore.audio.outcomes import LONGER

ENOUGH, SHARE = 3, 0.1
"""Clips of the bank, or share of it, that make a value usual."""

LEAST_BANK = 3
"""A smaller bank says nothing about what is usual."""

SAID = {
    "silent": "silence",
    "copy of training": "a copy among the training clips",
    "copies in training": "a copy among the training clips",
    "copies in test": "a copy among the test clips",
    LONGER: "a length that its header does not state",
}
"""Findings besides those of `kinds`, and how a note says it."""

SILENT, ACROSS, IN_TRAINING, IN_TEST, _ = SAID


@dataclass(frozen=True)
class Finding:
    """Clips of one machine and section that differ in one way.

    rows: their numbers. values: of each, for people; for a copy the name of the other clip. span: from the lowest to
    the highest value. bank: usual values of the bank. trained: whether the section has training clips and others, so
    that the bank is called the training clips. said: of `kinds`.
    """

    machine: str
    section: str
    what: str
    rows: tuple[int, ...]
    values: tuple[str, ...]
    trained: bool
    said: str
    span: str = ""
    bank: str = ""


@dataclass(frozen=True)
class Section:
    """The clips of a machine and section, and its bank, as row numbers; trained: see `Finding`."""

    machine: str
    section: str
    rows: np.ndarray
    bank: np.ndarray
    trained: bool


def sections_of(recordings: Recordings) -> list[Section]:
    """Every machine and section in order; supplemental clips belong to none, because nothing is compared with them."""
    clips = recordings.clips
    compared, train = ~clips.where(split="supplemental"), clips.where(split="train")
    usable = train & ~clips.where(label="anomaly")
    pairs = sorted(set(recordings.sections))
    number = {pair: i for i, pair in enumerate(pairs)}
    of_clip = np.array([number[pair] for pair in recordings.sections], dtype=np.intp)
    found = []
    for i, (machine, section) in enumerate(pairs):
        own = compared & (of_clip == i)
        has_train = bool((own & train).any())
        bank = own & (usable if has_train else True) & ~recordings.silent
        trained = has_train and bool((own & ~train).any())
        if own.any():
            found.append(Section(machine, section, np.flatnonzero(own), np.flatnonzero(bank), trained))
    return found


def findings_of(
    recordings: Recordings, sections: Sequence[Section] | None = None, *, copies: bool = True
) -> list[Finding]:
    """Everything that would mislead a detector, section by section.

    sections: those of `sections_of`, also with fewer rows. copies: also recordings under two names.
    """
    measured = [_Measured(kind, recordings) for kind in KINDS]
    pairs = list(_copies(recordings)) if copies else []
    findings = []
    for section in sections_of(recordings) if sections is None else sections:
        silent = section.rows[recordings.silent[section.rows]]
        if len(silent):
            channel = f"channel {recordings.policy.channel}"
            findings.append(_finding(section, SILENT, silent, [channel] * len(silent), span=channel, said=SAID[SILENT]))
        longer = section.rows[recordings.facts["outcome"][section.rows] == LONGER.encode()]
        if len(longer):
            texts = [seconds_text(value) for value in recordings.seconds[longer].tolist()]
            findings.append(_finding(section, LONGER, longer, texts, said=SAID[LONGER]))
        findings += _differing(measured, section)
        findings += _copies_in(recordings, section, pairs)
    return findings


def kinds_of(recordings: Recordings) -> dict[int, tuple[str, ...]]:
    """In which ways the clips differ that differ in any, by their row: names of `kinds`, or silence."""
    kinds: dict[int, tuple[str, ...]] = {}
    for finding in findings_of(recordings, copies=False):
        for row in finding.rows:
            kinds[row] = (*kinds.get(row, ()), SAID.get(finding.what, finding.what))
    return kinds


class _Measured:
    """The values of all clips in one kind, and what is like each."""

    def __init__(self, kind: Kind, recordings: Recordings) -> None:
        self.kind, self.values = kind, kind.values(recordings)
        self.low, self.high = kind.alike(recordings, self.values)

    def outliers(self, section: Section) -> np.ndarray:
        """Rows of a section whose values are not usual in its bank."""
        bank = np.sort(self.values[section.bank])
        bank = bank[np.isfinite(bank)]
        values = self.values[section.rows]
        rows: np.ndarray = section.rows[np.isfinite(values) & (values >= self.kind.least)]
        if len(bank) < LEAST_BANK:
            return rows[:0]
        of_bank = np.isin(rows, section.bank)
        like = np.searchsorted(bank, self.high[rows], "right") - np.searchsorted(bank, self.low[rows], "left") - of_bank
        few: np.ndarray = rows[like < np.minimum(ENOUGH, SHARE * (len(bank) - of_bank))]
        return few


def _differing(measured: Sequence[_Measured], section: Section) -> Iterator[Finding]:
    other_rate = np.zeros(0, dtype=np.intp)
    for of_kind in measured:
        kind, values, rows = of_kind.kind, of_kind.values, of_kind.outliers(section)
        if kind.name == SAMPLE_RATE:
            other_rate = rows
        elif kind.name == BANDWIDTH:  # that of another sample rate is another one, too
            rows = rows[~np.isin(rows, other_rate)]
        if len(rows):
            usual = values[section.bank[~np.isin(section.bank, rows)]]
            shown = [kind.text(value) for value in values[rows].tolist()]
            span = range_text(kind, values[rows], (0, 1))
            bank = range_text(kind, usual)
            yield _finding(section, kind.name, rows, shown, span=span, bank=bank, said=kind.said)


def range_text(kind: Kind, values: np.ndarray, quantiles: tuple[float, float] = (0.05, 0.95)) -> str:
    """Most values of a bank, for people: one value, or from one quantile to another."""
    known = values[np.isfinite(values)]
    if not len(known):
        return "none"
    low, high = (kind.text(value) for value in np.quantile(known, quantiles, method="nearest").tolist())
    if low == high:
        return low
    unit = high.rpartition(" ")[2]
    return f"{low.removesuffix(f' {unit}')} to {high}"


def _copies(recordings: Recordings) -> Iterator[tuple[str, int, int]]:
    """What a copy is, its row, and the row of the first clip with the same sound; silent clips are no copies."""
    split = recordings.clips.column("split").tolist()
    groups: dict[str, dict[str, list[int]]] = {}
    for row, content in enumerate(recordings.content):
        if content and not recordings.silent[row]:
            groups.setdefault(content, {}).setdefault(split[row], []).append(row)
    for group in groups.values():
        train, test = group.get("train", []), group.get("test", [])
        yield from ((ACROSS, row, train[0]) for row in test if train)
        yield from ((IN_TRAINING, row, train[0]) for row in train[1:])
        yield from ((IN_TEST, row, test[0]) for row in test[1:] if not train)


def _copies_in(recordings: Recordings, section: Section, copies: list[tuple[str, int, int]]) -> Iterator[Finding]:
    own = set(section.rows.tolist())
    for what in (ACROSS, IN_TRAINING, IN_TEST):
        pairs = [(row, other) for kind, row, other in copies if kind == what and row in own]
        if pairs:
            names = [recordings.clips[other].key for _, other in pairs]
            yield _finding(section, what, np.array([row for row, _ in pairs]), names, said=SAID[what])


def _finding(section: Section, what: str, rows: np.ndarray, values: Sequence[str], **texts: str) -> Finding:
    """texts: span, bank and said; empty ones may be left out."""
    place = (section.machine, section.section, what)
    return Finding(*place, tuple(rows.tolist()), tuple(values), section.trained, **texts)
