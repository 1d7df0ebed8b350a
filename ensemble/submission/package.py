"""Submission packages of DCASE Task 2, 2020 to 2026: the official file names, folders and line format.

    OUT/task2/<label>/anomaly_score_<machine>_section_<NN>_test.csv     name,score per test clip, no header
    OUT/task2/<label>/decision_result_<machine>_section_<NN>_test.csv   name,0|1
    OUT/task2/<label>/<label>.meta.yaml

2020 has machine ids instead of sections and no decisions; 2021 has one file per domain. The score files read back to
the same figures, clip by clip.
"""

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from detectors.metrics.scores import ScoreTable, read_scores, write_scores
from featstore.clip import Clip
from featstore.errors import DataError
from featstore.table import ClipTable

LABEL = re.compile(r"[^\W_][\w-]*_[\w-]*[^\W_]_task2_[1-4]")


@dataclass(frozen=True)
class FileRule:
    """The tail of a year's file names, with {machine}, {section} and {domain}; whether decisions are handed in."""

    tail: str
    decisions: bool = True


_SINCE_2022 = FileRule("{machine}_section_{section}_test.csv")
FILES: dict[int, FileRule] = {
    2020: FileRule("{machine}_id_{section}.csv", decisions=False),
    2021: FileRule("{machine}_section_{section}_{domain}_test.csv"),
    **dict.fromkeys(range(2022, 2027), _SINCE_2022),
}


def file_rule(year: int) -> FileRule:
    """The year's rule; an unknown year lists the known ones."""
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
    label: str = "Lastname_Institute_task2_1",
) -> Path:
    """Write the score and decision files of all test clips and return their folder, OUT/task2/LABEL.

    `scores` and `clips` must name the same test clips by key; `decisions` (bool, in the order of `clips`) are needed
    from 2021 on. Nothing is written unless everything can be. DataError names the first clip that is missing, surplus,
    not a plain test recording, of unknown domain (2021), or shares its file name with another of its section.
    """
    if not LABEL.fullmatch(label):
        raise DataError(f"submission label {label!r}: expected Lastname_Institute_task2_N with N from 1 to 4")
    rule = file_rule(year)
    if decisions is None and rule.decisions:
        raise DataError(f"a submission of {year} needs decisions besides scores")
    if decisions is not None and (decisions.dtype != bool or decisions.shape != (len(clips),)):
        raise DataError(f"decisions must be {len(clips)} booleans, got {decisions.dtype} of shape {decisions.shape}")
    try:
        ordered = scores.exactly(clips.keys())
    except ValueError as error:
        raise DataError(str(error)) from None
    files = _files(clips, rule)
    folder = out / "task2" / label
    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder} is not empty; an earlier submission would mix in; remove it or choose another label")
    folder.mkdir(parents=True, exist_ok=True)
    for tail, rows in files.items():
        names = tuple(sorted(rows))
        order = [rows[name] for name in names]
        write_scores(folder / f"anomaly_score_{tail}", ScoreTable(tail, names, ordered[order]), header=False)
        if decisions is not None and rule.decisions:
            lines = "".join(f"{name},{int(decisions[rows[name]])}\n" for name in names)
            (folder / f"decision_result_{tail}").write_bytes(lines.encode("utf-8", "surrogateescape"))
    return folder


def _files(clips: ClipTable, rule: FileRule) -> dict[str, dict[str, int]]:
    """Rows of `clips` by file-name tail and by bare recording name."""
    files: dict[str, dict[str, int]] = {}
    for row, clip in enumerate(clips):
        name = PurePosixPath(clip.path).name
        same_file = files.setdefault(_tail(clip, rule), {})
        if name in same_file:
            raise DataError(f"two test clips of {clip.machine} section {clip.section} are called {name!r}")
        same_file[name] = row
    if not files:
        raise DataError("a submission needs test clips; none were given")
    return files


def _tail(clip: Clip, rule: FileRule) -> str:
    if clip.split != "test" or clip.variant:
        raise DataError(f"{clip.key!r} is not a plain test recording ({clip.split}); only those are handed in")
    if "{domain}" in rule.tail and clip.domain == "unknown":
        raise DataError(f"{clip.key!r}: its domain is unknown, but this year's files are split by domain")
    number = re.sub(r"^(section|id)_", "", clip.section)
    return rule.tail.format(machine=clip.machine, section=number, domain=clip.domain)


def read_submission(folder: Path, clips: ClipTable, *, year: int) -> ScoreTable:
    """Scores of a submission folder by the keys of `clips`; missing, surplus or repeated names are DataErrors."""
    files = _files(clips, file_rule(year))
    keys = clips.keys()
    scores = np.empty(len(clips))
    for tail, rows in files.items():
        path = folder / f"anomaly_score_{tail}"
        try:
            scores[list(rows.values())] = read_scores(path).exactly(list(rows))
        except ValueError as error:
            raise DataError(f"{path}: {error}") from None
    surplus = {path.name for path in folder.glob("anomaly_score_*.csv")} - {f"anomaly_score_{tail}" for tail in files}
    if surplus:
        raise DataError(f"{folder / min(surplus)}: no test clips of that machine and section are known")
    return ScoreTable(folder.name, tuple(keys), scores)


def zip_submission(folder: Path) -> Path:
    """Pack OUT/task2/LABEL as OUT/LABEL.zip with the official inner paths; equal files give equal bytes."""
    root = folder.parent.parent
    target = root / f"{folder.name}.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in _sorted_files(folder):
            entry = zipfile.ZipInfo(path.relative_to(root).as_posix())  # dated 1980, whatever the clock says
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    return target


def _sorted_files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())
