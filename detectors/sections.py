"""One detector per (machine, section): fit it on the section's training clips, score the section's test clips."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from detectors import create
from detectors.base import Detector
from featstore.errors import DataError
from featstore.table import ClipTable


@dataclass(frozen=True, eq=False)
class SectionScores:
    """`scores` (m,) of the rows of the test table, `reference` (n,) of the training table; higher is more anomalous.

    Sections without test clips are fitted too, for their reference scores.
    """

    scores: np.ndarray
    reference: np.ndarray


@dataclass(frozen=True, eq=False)
class Section:
    """Positions of a section's clips in the training and the test table, and labels of its training clips.

    `group` is for `by=group`; `block` are the clips that take no part in each other's reference scores, see
    `detectors.base.Fitted`.
    """

    name: str
    train: np.ndarray
    test: np.ndarray
    domain: np.ndarray
    group: np.ndarray
    block: np.ndarray | None = None

    def fitted(self, detector: Detector, train_X: np.ndarray) -> Detector:
        """The detector, fitted to the section's training clips; DataError names a section where that is impossible."""
        try:
            blocks = {} if self.block is None else {"block": self.block}  # a detector of one's own may not take it
            return detector.fit(train_X, domain=self.domain, group=self.group, **blocks)
        except ValueError as error:
            raise DataError(f"{self.name}: {error}") from error

    def scored(self, detector: Detector, train_X: np.ndarray, test_X: np.ndarray) -> SectionScores:
        """Scores of the section's clips by a detector; DataError names a section where it cannot be fitted."""
        fitted = self.fitted(detector, train_X)
        try:
            return SectionScores(fitted.anomaly_score(test_X), fitted.reference_scores_)
        except ValueError as error:
            raise DataError(f"{self.name}: {error}") from error


def sections_of(
    train: ClipTable,
    test: ClipTable,
    *,
    pool_sections: bool = False,
    group_by: str | None = None,
    block: np.ndarray | None = None,
) -> list[Section]:
    """The sections of two tables; `pool_sections` makes one of every machine.

    `group_by` is the attribute whose values are the groups of `by=group`; "attributes" is the combination of all
    attributes, unless one of them has that name. `block` (n,) is each training clip's block. DataError names
    the machine and section that has test clips but fewer than two training clips.
    """
    domain, group = train.column("domain"), _groups(train, group_by)
    train_part, test_part = _parts(train, pool_sections), _parts(test, pool_sections)
    sections = []
    for part in sorted(set(train_part) | set(test_part)):
        in_train, in_test = (
            np.flatnonzero([of_clip == part for of_clip in parts]) for parts in (train_part, test_part)
        )
        if len(in_test) and len(in_train) < 2:
            raise DataError(_too_few(part, len(in_train), len(in_test)))
        blocks = None if block is None else block[in_train]
        sections.append(Section(_name(part), in_train, in_test, domain[in_train], group[in_train], blocks))
    return sections


def score_sections(
    detector: str | Callable[[], Detector],
    train_X: np.ndarray,
    train: ClipTable,
    test_X: np.ndarray,
    test: ClipTable,
    *,
    pool_sections: bool = False,
    group_by: str | None = None,
) -> SectionScores:
    """Scores of test clips, and reference scores of training clips, by a new detector per section.

    `detector` is a line of text (`NAME:key=value,...`) or a function that makes a detector; the other options are those
    of `sections_of`. DataError for a section with too few training clips, or whose detector cannot be fitted.
    """
    make = partial(create, detector) if isinstance(detector, str) else detector
    _check_rows(train_X, train, "training")
    _check_rows(test_X, test, "test")
    scores, reference = np.full(len(test), np.nan), np.full(len(train), np.nan)
    for section in sections_of(train, test, pool_sections=pool_sections, group_by=group_by):
        of_section = section.scored(make(), train_X[section.train], test_X[section.test])
        scores[section.test], reference[section.train] = of_section.scores, of_section.reference
    return SectionScores(scores, reference)


ALL_ATTRIBUTES = "attributes"

Part = tuple[str, str]
"""Machine and section; the section is empty where sections are pooled."""


def _parts(clips: ClipTable, pool_sections: bool) -> list[Part]:
    machines, sections = clips.column("machine").tolist(), clips.column("section").tolist()
    return [(machine, "" if pool_sections else section) for machine, section in zip(machines, sections, strict=True)]


def _groups(clips: ClipTable, group_by: str | None) -> np.ndarray:
    """Value of the attribute `group_by` for every clip, empty where a clip has none."""
    if group_by is None:
        return np.full(len(clips), "")
    known = sorted({name for clip in clips for name in clip.attributes})
    chosen = known if group_by == ALL_ATTRIBUTES and group_by not in known else [group_by]
    values = [_values(clip.attributes, chosen) for clip in clips]
    if values and not any(values):
        raise DataError(_no_groups(group_by, known))
    return np.array(values, dtype=np.str_)


def _values(attributes: Mapping[str, str], chosen: list[str]) -> str:
    """Values of the chosen attributes as one text, empty where a clip has none of them."""
    return ",".join(f"{name}={attributes[name]}" for name in chosen if attributes.get(name))


def _no_groups(group_by: str, known: list[str]) -> str:
    if not known:
        return (
            f"no training clip has attributes to group by, expected {group_by!r}; use a detector without groups, or "
            "leave out group_by"
        )
    choice = f"choose one, or {ALL_ATTRIBUTES!r} for the combination of all"
    return f"no training clip has the attribute {group_by!r}; known: {', '.join(known)}; {choice}"


def _check_rows(X: np.ndarray, clips: ClipTable, what: str) -> None:
    if X.ndim != 2:
        raise DataError(f"{what} embeddings have shape {X.shape}, expected (clips, dimensions); choose one view first")
    if len(X) != len(clips):
        raise DataError(f"{len(X)} {what} embeddings for {len(clips)} {what} clips; every clip needs one row")


def _name(part: Part) -> str:
    machine, section = part
    return f"machine {machine} section {section}" if section else f"machine {machine}"


def _too_few(part: Part, n_train: int, n_test: int) -> str:
    pool = "use --pool-sections to pool it with the machine's other sections, or " if part[1] else ""
    return (
        f"{_name(part)}: {n_train} training clips for {n_test} test clips, expected at least 2; "
        f"{pool}add normal recordings"
    )
