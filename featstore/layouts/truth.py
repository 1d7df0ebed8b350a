"""Official ground truth of evaluation clips: their labels and domains, published after each challenge.

Read from a file or from a folder, for instance the official evaluator's repository:

    ground_truth_<machine>_section_03[_source|_target]_test.csv   rows name,0|1 (folder ..._domain: 0 source, 1 target)
                                                                  or name,labelled name[,labelled name with attributes]
    <machine>/attributes_03.csv                                   header with file_name and file_name_with_attributes
    eval_data_list*.csv                                           a line with the machine, then name,labelled name[,0|1]

Only label and domain of test clips are set. They are for metrics only: nothing that trains, chooses or thresholds may
read them.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, cast

from featstore.clip import Clip, Domain, Label
from featstore.errors import DataError, reason_of
from featstore.layouts.dcase_names import parse_any_name
from featstore.layouts.tree import stem

_PER_SECTION = re.compile(r"ground_truth_(?P<machine>.+)_(?:section_[0-9]+|id_[0-9]+)(?:_(?:source|target))?_test\.csv")
_ATTRIBUTES = re.compile(r"attributes_[0-9]+\.csv")
_LIST = re.compile(r"eval_data_list.*\.csv")
_BITS = {"label": ("normal", "anomaly"), "domain": ("source", "target")}
_LABELLED_COLUMN = "file_name_with_attributes"


class _Fact(NamedTuple):
    """One row of a truth file; "" where it states nothing."""

    machine: str
    name: str
    label: str
    domain: str
    where: str


@dataclass
class _Truth:
    """Label and domain of one clip from all rows about it; where: file and row of the first."""

    label: str = ""
    domain: str = ""
    where: str = ""

    def add(self, fact: _Fact) -> None:
        for kind in ("label", "domain"):
            old, new = getattr(self, kind), getattr(fact, kind)
            if old and new and old != new:
                raise DataError(
                    f"{fact.where}: {fact.machine} {fact.name} is {new}, but {old} at {self.where}; correct one row"
                )
            setattr(self, kind, old or new)
        self.where = self.where or fact.where


def apply_truth(clips: Sequence[Clip], source: Path) -> tuple[list[Clip], list[str]]:
    """The clips with label and domain of test clips filled in from `source`, and notes.

    Joined by name within machine and section. DataError for a clip without truth in a section that has truth, for a
    name in the truth that no clip of the section has, and for a contradiction. Truth of machines and sections that the
    clips do not have is skipped with a note.
    """
    truths = _read(source)
    names = {i: (clip.machine, stem(clip.path)) for i, clip in enumerate(clips) if clip.split == "test"}
    sections = {(clip.machine, clip.section) for clip in clips if clip.split == "test"}
    covered = {(machine, _section(name)) for machine, name in truths} & sections
    _refuse_surplus(truths, set(names.values()), sections)
    labelled, used = list(clips), set[tuple[str, str]]()
    for i, name in names.items():
        clip = clips[i]
        if name in truths:
            if name in used:
                raise DataError(
                    f"{clip.path!r}: two test clips of {clip.machine} {clip.section} have this name; remove one"
                )
            used.add(name)
            labelled[i] = _with_truth(clip, truths[name])
        elif (clip.machine, clip.section) in covered and clip.label == "unknown":
            raise DataError(
                f"{source}: no truth for {clip.path!r}, but for other clips of {clip.machine} {clip.section}; "
                "complete the truth or remove the clip"
            )
    return labelled, _notes(source, len(used), sections - covered, truths, sections)


def _with_truth(clip: Clip, truth: _Truth) -> Clip:
    for kind in ("label", "domain"):
        stated, true = getattr(clip, kind), getattr(truth, kind)
        if true and stated not in ("unknown", true):
            raise DataError(f"{truth.where}: {clip.path!r} is {true}, but its name or folder says {stated}")
    return replace(clip, label=cast(Label, truth.label or clip.label), domain=cast(Domain, truth.domain or clip.domain))


def _section(name: str) -> str:
    parsed = parse_any_name(name)
    return parsed.section if parsed else ""


def _refuse_surplus(
    truths: dict[tuple[str, str], _Truth], names: set[tuple[str, str]], sections: set[tuple[str, str]]
) -> None:
    for (machine, name), truth in truths.items():
        if (machine, _section(name)) in sections and (machine, name) not in names:
            raise DataError(
                f"{truth.where}: {name} is not among the test clips of {machine}; check that the data are complete"
            )


def _notes(
    source: Path,
    n_clips: int,
    without_truth: set[tuple[str, str]],
    truths: dict[tuple[str, str], _Truth],
    sections: set[tuple[str, str]],
) -> list[str]:
    if not n_clips:
        raise DataError(
            f"{source}: none of its {len(truths):,} names belongs to a machine and section of the data; "
            "give the ground truth of this data set"
        )
    notes = [f"ground truth of {n_clips:,} test clips from {source}; it reaches metrics only"]
    without_clips = {(machine, _section(name)) for machine, name in truths} - sections
    for what, pairs in (
        ("sections without ground truth", without_truth),
        ("sections of the truth are not in the data", without_clips),
    ):
        if pairs:
            notes.append(f"{len(pairs):,} {what}, first {' '.join(min(pairs))}")
    return notes


def _read(source: Path) -> dict[tuple[str, str], _Truth]:
    truths: dict[tuple[str, str], _Truth] = {}
    for path in _files(source):
        for fact in _facts(path):
            truths.setdefault((fact.machine, fact.name), _Truth()).add(fact)
    if not truths:
        raise DataError(
            f"{source}: no ground truth; expected ground_truth_<machine>_section_<NN>_test.csv, "
            f"attributes_<NN>.csv with {_LABELLED_COLUMN}, or eval_data_list*.csv"
        )
    return truths


def _files(source: Path) -> list[Path]:
    if not source.exists():
        raise DataError(f"{source}: no such file or folder")
    if source.is_file():
        return [source]
    return sorted(
        path
        for path in source.rglob("*.csv")
        if any(pattern.fullmatch(path.name) for pattern in (_PER_SECTION, _ATTRIBUTES, _LIST))
    )


def _facts(path: Path) -> Iterator[_Fact]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [(number, row) for number, row in enumerate(csv.reader(file), start=1) if row]
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {reason_of(error)}") from error
    if rows and rows[0][1][0].strip() == "file_name":
        return _facts_with_header(path, rows)
    return _facts_in_rows(path, rows)


def _facts_with_header(path: Path, rows: list[tuple[int, list[str]]]) -> Iterator[_Fact]:
    header = rows[0][1]
    if _LABELLED_COLUMN not in header:
        return  # the attributes table of a data set contains no truth
    column = header.index(_LABELLED_COLUMN)
    for number, row in rows[1:]:
        where = f"{path}, row {number}"
        if len(row) != len(header):
            raise DataError(f"{where}: {len(row)} cells, but the header has {len(header)}")
        folder = row[0].split("/")[0] if "/" in row[0] else path.parent.name
        yield _labelled(where, folder, stem(row[0]), [row[column]], "label")


def _facts_in_rows(path: Path, rows: list[tuple[int, list[str]]]) -> Iterator[_Fact]:
    match = _PER_SECTION.fullmatch(path.name)
    machine = match["machine"] if match else ""
    bit = "domain" if path.parent.name.endswith("domain") else "label"
    for number, row in rows:
        where = f"{path}, row {number}"
        cells = [cell.strip() for cell in row if cell.strip()]
        if len(cells) == 1 and not match:
            machine = cells[0]
        elif len(cells) < 2 or not machine:
            raise DataError(
                f"{where}: expected name,0|1 or name,labelled name in a file ground_truth_<machine>_section_<NN>"
                f"_test.csv, or below a line with the machine; got {','.join(row)!r}"
            )
        else:
            yield _labelled(where, machine, stem(cells[0]), cells[1:], bit)


def _labelled(where: str, machine: str, name: str, cells: list[str], bit: str) -> _Fact:
    """Label and domain from the cells after the name: 0 or 1 (of kind `bit`), or a name that states them."""
    truth = _Truth(where=where)
    for cell in cells:
        stated = {"label": "", "domain": ""}
        parsed = parse_any_name(stem(cell))
        if cell in ("0", "1"):
            stated[bit] = _BITS[bit][int(cell)]
        elif parsed is not None and (parsed.label or parsed.domain):
            stated = {"label": parsed.label, "domain": parsed.domain}
        else:
            raise DataError(f"{where}: expected 0, 1 or a labelled name, got {cell!r}")
        truth.add(_Fact(machine, name, stated["label"], stated["domain"], where))
    if parse_any_name(name) is None:
        raise DataError(f"{where}: {name!r} is not the name of an evaluation clip")
    return _Fact(machine, name, truth.label, truth.domain, where)
