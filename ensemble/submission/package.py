"""Submission packages of DCASE Task 2, 2020 to 2026, with the official file names, folders and line format.

    OUT/task2/<label>/anomaly_score_<machine>_section_<NN>_test.csv     name,score per test clip, no header
    OUT/task2/<label>/decision_result_<machine>_section_<NN>_test.csv   name,0|1
    OUT/task2/<label>/<label>.meta.yaml                                 see meta.py

2020 has machine ids instead of sections, and no decisions. 2021 has one file per domain. Scores are written with every
digit, so that reading them gives the same numbers.
"""

import csv
import io
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from detectors.metrics.scores import ScoreTable, read_scores
from ensemble.submission.clips import section_number, submitted
from featstore.clip import Clip
from featstore.disk.files import write_new
from featstore.errors import DataError
from featstore.table import ClipTable

LABEL = re.compile(r"(?P<team>[A-Za-z0-9][\w-]*_[\w-]*[A-Za-z0-9]_task2)_(?P<index>[1-4])", re.ASCII)
DEFAULT_LABEL = "Lastname_Institute_task2_1"
TASK = "task2"
SCORE, DECISION = "anomaly_score_", "decision_result_"
LONGEST_LABEL = 100
"""Characters; a file name with the label must fit every file system."""


def label_problem(label: str) -> str:
    """What is wrong with the label of a system; empty where nothing is."""
    if LABEL.fullmatch(label) and len(label) <= LONGEST_LABEL:
        return ""
    return (
        f"submission label {label!r}: expected Lastname_Institute_task2_N with N from 1 to 4, in letters without "
        f"accents, digits and hyphens, at most {LONGEST_LABEL} characters"
    )


@dataclass(frozen=True)
class FileRule:
    """End of a year's file names, with {machine}, {section} and {domain}; `decisions`: whether they are submitted."""

    tail: str
    decisions: bool = True


_SINCE_2022 = FileRule("{machine}_section_{section}_test.csv")
FILES: dict[int, FileRule] = {
    2020: FileRule("{machine}_id_{section}.csv", decisions=False),
    2021: FileRule("{machine}_section_{section}_{domain}_test.csv"),
    **dict.fromkeys(range(2022, 2027), _SINCE_2022),
}


def file_rule(year: int) -> FileRule:
    """The rule of a year; DataError lists the known years."""
    if year not in FILES:
        raise DataError(f"no submission format for {year}; choose from {', '.join(map(str, sorted(FILES)))}")
    return FILES[year]


def write_submission(
    out: Path,
    clips: ClipTable,
    scores: ScoreTable,
    decisions: np.ndarray | None,
    *,
    year: int,
    label: str = DEFAULT_LABEL,
) -> Path:
    """Write the score and decision files of all test clips and return their folder, OUT/task2/LABEL.

    `scores` and `clips` must have the same keys; `decisions` (bool, in the order of `clips`) are needed from 2021 on.
    Nothing is written where a check fails: DataError names the first clip that has no score, is unknown, is not a plain
    test recording, has an unknown domain (2021), or has the file name of another clip of its section.
    """
    if problem := label_problem(label):
        raise DataError(problem)
    rule = file_rule(year)
    if decisions is None and rule.decisions:
        raise DataError(f"a submission of {year} needs decisions as well as scores")
    if decisions is not None and (decisions.dtype != bool or decisions.shape != (len(clips),)):
        raise DataError(f"decisions must be {len(clips)} booleans, got {decisions.dtype} of shape {decisions.shape}")
    try:
        ordered = scores.exactly(clips.keys())
    except ValueError as error:
        raise DataError(str(error)) from None
    _refuse_names(clips)
    files = files_of(clips, rule)
    folder = out / TASK / label
    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder} is not empty; two submissions would mix: remove it or choose another label")
    folder.mkdir(parents=True, exist_ok=True)
    for tail, rows in files.items():
        names = sorted(rows)
        order = [rows[name] for name in names]
        _write_lines(folder / f"{SCORE}{tail}", names, [repr(score) for score in ordered[order].tolist()])
        if decisions is not None and rule.decisions:
            _write_lines(folder / f"{DECISION}{tail}", names, [str(int(value)) for value in decisions[order]])
    return folder


def _refuse_names(clips: ClipTable) -> None:
    """DataError for a section whose file the official scripts would not find."""
    for machine, section in clips.sections():
        if not _NUMBER.fullmatch(section):
            raise DataError(
                f"machine {machine} section {section!r}: the official scripts read files of sections with two digits, "
                "such as section_00. A spreadsheet may have made 0 of 00: write the section as text in the manifest, "
                "and build again"
            )


_NUMBER = re.compile(r"(?:section_|id_)?[0-9]{2}", re.ASCII)


def _write_lines(path: Path, names: Sequence[str], values: Sequence[str]) -> None:
    """Write one `name,value` per line, whole or not at all."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(zip(names, values, strict=True))
    write_new(path, text.getvalue().encode("utf-8", "surrogateescape"))


def files_of(clips: ClipTable, rule: FileRule) -> dict[str, dict[str, int]]:
    """Rows of `clips`, by the end of the file name and then by recording name; DataError where a clip fits no file."""
    files: dict[str, dict[str, int]] = {}
    for row, clip in enumerate(clips):
        name = PurePosixPath(clip.path).name
        same_file = files.setdefault(_tail(clip, rule), {})
        if name in same_file:
            raise DataError(f"two test clips of {clip.machine} section {clip.section} are called {name!r}")
        if "\r" in name or "\n" in name:
            raise DataError(f"{clip.key!r}: a name with a line break does not fit on a line of a score file; rename it")
        same_file[name] = row
    if not files:
        raise DataError("a submission needs test clips; none were given")
    return files


def _tail(clip: Clip, rule: FileRule) -> str:
    if clip.split != "test" or clip.variant:
        raise DataError(f"{clip.key!r} is not a plain test recording ({clip.split}); only those are submitted")
    if "{domain}" in rule.tail and clip.domain == "unknown":
        raise DataError(f"{clip.key!r}: its domain is unknown, but this year's files are split by domain")
    return rule.tail.format(machine=clip.machine, section=section_number(clip.section), domain=clip.domain)


def read_submission(folder: Path, clips: ClipTable, *, year: int, rejected: Collection[str] = ()) -> ScoreTable:
    """Scores of a submission folder by the keys of `clips`; DataError for a missing, unknown or repeated name.

    rejected: paths of recordings that are no clips; their scores are left out, and named by `unscored` of the table.
    """
    files = files_of(clips, file_rule(year))
    _refuse_no_system(folder, [f"{SCORE}{tail}" for tail in files])
    keys, names = clips.keys(), {PurePosixPath(path).name for path in rejected}
    scores = np.empty(len(clips))
    unscored: list[str] = []
    for tail, rows in files.items():
        path = folder / f"{SCORE}{tail}"
        table = read_scores(path)
        surplus = {key for key in table.keys if key in names and key not in rows}
        kept = [i for i, key in enumerate(table.keys) if key not in surplus]
        try:
            own = ScoreTable(table.name, tuple(table.keys[i] for i in kept), table.scores[kept])
            scores[list(rows.values())] = own.exactly(list(rows))
        except ValueError as error:
            raise DataError(f"{path}: {error}") from None
        unscored += sorted(surplus)
    unknown = {path.name for path in folder.glob(f"{SCORE}*.csv")} - {f"{SCORE}{tail}" for tail in files}
    for name in sorted(unknown):  # a section of which every recording was rejected
        if names.issuperset(read_scores(folder / name).keys):
            unscored += read_scores(folder / name).keys
            unknown.remove(name)
    if unknown:
        raise DataError(
            f"{folder / min(unknown)}: no test clips of that machine and section are known; remove the file"
        )
    return ScoreTable(folder.name, tuple(keys), scores, tuple(unscored))


def _refuse_no_system(folder: Path, expected: Sequence[str]) -> None:
    """DataError for a folder without any score file."""
    if any(folder.glob(f"{SCORE}*.csv")):
        return
    inside = sorted(path.parent for path in folder.glob(f"{TASK}/*/{SCORE}*.csv"))
    cure = f"give {inside[0]}" if inside else f"expected the folder of one system, with files such as {expected[0]}"
    raise DataError(f"{folder}: no files of scores in this folder; {cure}")


def evaluated(folder: Path, clips: ClipTable, year: int) -> ClipTable:
    """The clips that a submission is about: those of the evaluation data, or all where it has files of others too."""
    own = set(submitted(clips).keys())
    others = {_tail(clip, file_rule(year)) for clip in clips if clip.key not in own}
    return clips if any((folder / f"{SCORE}{tail}").exists() for tail in others) else submitted(clips)
