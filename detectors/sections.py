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
    """Higher is more anomalous. `scores` (m,) in the rows of the test table, `reference` (n,) of the training table.

    Sections that no test clip belongs to are fitted too: their reference scores are part of the answer.
    """

    scores: np.ndarray
    reference: np.ndarray


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
    """Scores of test clips, and honest reference scores of training clips, by a fresh detector per section.

    `detector` is its line of text or a function that makes one. `pool_sections` fits one detector per machine.
    `group_by` names the attribute whose values are the groups of `by=group`; "attributes" takes the combination of all,
    unless one has that name. DataError where a section has test clips but fewer than two training clips, or a detector
    cannot be fitted; it names machine and section.
    """
    make = partial(create, detector) if isinstance(detector, str) else detector
    _same_rows(train_X, train, "training")
    _same_rows(test_X, test, "test")
    domain, group = train.column("domain"), _groups(train, group_by)
    train_part, test_part = _parts(train, pool_sections), _parts(test, pool_sections)
    scores, reference = np.full(len(test), np.nan), np.full(len(train), np.nan)
    for part in sorted(set(train_part) | set(test_part)):
        of_train, of_test = (np.flatnonzero([one == part for one in parts]) for parts in (train_part, test_part))
        if len(of_test) and len(of_train) < 2:
            raise DataError(_too_few(part, len(of_train), len(of_test)))
        fitted = _fitted(make(), part, train_X[of_train], domain[of_train], group[of_train])
        reference[of_train] = fitted.reference_scores_
        scores[of_test] = fitted.anomaly_score(test_X[of_test])
    return SectionScores(scores, reference)


ALL_ATTRIBUTES = "attributes"

Part = tuple[str, str]
"""Machine and section; the section is empty where sections are pooled."""


def _parts(clips: ClipTable, pool_sections: bool) -> list[Part]:
    machines, sections = clips.column("machine").tolist(), clips.column("section").tolist()
    return [(machine, "" if pool_sections else section) for machine, section in zip(machines, sections, strict=True)]


def _groups(clips: ClipTable, group_by: str | None) -> np.ndarray:
    """Value of the attribute for every clip, empty where a clip has none."""
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
        return f"no training clip has attributes to group by; take a detector without groups, not group_by={group_by}"
    cure = f"choose one, or {ALL_ATTRIBUTES!r} for the combination of all"
    return f"no training clip has the attribute {group_by!r}; known: {', '.join(known)}; {cure}"


def _same_rows(X: np.ndarray, clips: ClipTable, what: str) -> None:
    if X.ndim != 2:
        raise DataError(f"{what} embeddings have shape {X.shape}, expected (clips, dimensions); choose one view first")
    if len(X) != len(clips):
        raise DataError(f"{len(X)} {what} embeddings for {len(clips)} {what} clips; every clip needs one row")


def _name(part: Part) -> str:
    machine, section = part
    return f"machine {machine} section {section}" if section else f"machine {machine}"


def _too_few(part: Part, n_train: int, n_test: int) -> str:
    cure = "use --pool-sections to score it by the machine's other sections, or " if part[1] else ""
    return (
        f"{_name(part)}: {n_train} training clips for {n_test} test clips, expected at least 2; "
        f"{cure}add normal recordings"
    )


def _fitted(detector: Detector, part: Part, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> Detector:
    try:
        return detector.fit(X, domain=domain, group=group)
    except ValueError as error:
        raise DataError(f"{_name(part)}: {error}") from error
