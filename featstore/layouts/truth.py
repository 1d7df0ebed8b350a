"""Official ground truth of evaluation clips: what they are, published after each challenge.

Read from a file or a folder (the evaluator's repository, say):

    ground_truth_<machine>_section_03[_source|_target]_test.csv   rows name,0|1 (folder ..._domain: 0 source, 1 target)
                                                                  or name,labelled name[,labelled name with attributes]
    <machine>/attributes_03.csv                                   header with file_name and file_name_with_attributes
    eval_data_list*.csv                                           a line with the machine, then name,labelled name[,0|1]

Only label and domain of test clips are set, for metrics alone: nothing that trains, chooses or thresholds may see them.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, cast

from featstore.clip import Clip, Domain, Label
from featstore.errors import DataError
from featstore.layouts.dcase_names import parse_any_name
from featstore.layouts.tree import stem

_PER_SECTION = re.compile(r"ground_truth_(?P<machine>.+)_(?:section_[0-9]+|id_[0-9]+)(?:_(?:source|target))?_test\.csv")
_ATTRIBUTES = re.compile(r"attributes_[0-9]+\.csv")
_LIST = re.compile(r"eval_data_list.*\.csv")
_BITS = {"label": ("normal", "anomaly"), "domain": ("source", "target")}
_LABELLED_COLUMN = "file_name_with_attributes"


class _Fact(NamedTuple):
    """One row of a truth file; "" where it is silent."""

    machine: str
    name: str
    label: str
    domain: str
    where: str


@dataclass
class _Truth:
    label: str = ""
    domain: str = ""
    where: str = ""

    def add(self, fact: _Fact) -> None:
        for kind in ("label", "domain"):
            old, new = getattr(self, kind), getattr(fact, kind)
            if old and new and old != new:
                raise DataError(f"{fact.where}: {fact.machine} {fact.name} is {new}, but {old} at {self.where}")
            setattr(self, kind, old or new)
        self.where = self.where or fact.where


def apply_truth(clips: Sequence[Clip], source: Path) -> tuple[list[Clip], list[str]]:
    """The clips with label and domain of test clips filled in from `source`, and notes.

    Joined by name within machine and section. DataError names the first clip of a section that its truth does not
    cover, the first name in it that no clip has, and any contradiction. Machines and sections that are not among the
    clips are passed over with a note.
    """
    truths = _read(source)
    rows = {i: (clip.machine, stem(clip.path)) for i, clip in enumerate(clips) if clip.split == "test"}
    sections = {(clip.machine, clip.section) for clip in clips if clip.split == "test"}
    covered = {(machine, _section(name)) for machine, name in truths} & sections
    _refuse_surplus(truths, set(rows.values()), sections)
    done, used = list(clips), set[tuple[str, str]]()
    for i, key in rows.items():
        clip = clips[i]
        if key in truths:
            if key in used:
                raise DataError(f"{clip.path!r}: two test clips of {clip.machine} {clip.section} have this name")
            used.add(key)
            done[i] = _told(clip, truths[key])
        elif (clip.machine, clip.section) in covered and clip.label == "unknown":
            raise DataError(f"{source}: no truth for {clip.path!r}, though it covers {clip.machine} {clip.section}")
    return done, _notes(source, len(used), sections - covered, truths, sections)


def _told(clip: Clip, truth: _Truth) -> Clip:
    for kind in ("label", "domain"):
        known, told = getattr(clip, kind), getattr(truth, kind)
        if told and known not in ("unknown", told):
            raise DataError(f"{truth.where}: {clip.path!r} is {told}, but its name or folder says {known}")
    return replace(clip, label=cast(Label, truth.label or clip.label), domain=cast(Domain, truth.domain or clip.domain))


def _section(name: str) -> str:
    parsed = parse_any_name(name)
    return parsed.section if parsed else ""


def _refuse_surplus(
    truths: dict[tuple[str, str], _Truth], names: set[tuple[str, str]], sections: set[tuple[str, str]]
) -> None:
    for (machine, name), truth in truths.items():
        if (machine, _section(name)) in sections and (machine, name) not in names:
            raise DataError(f"{truth.where}: {name} is not among the test clips of {machine}; is the data complete?")


def _notes(
    source: Path,
    n: int,
    without: set[tuple[str, str]],
    truths: dict[tuple[str, str], _Truth],
    sections: set[tuple[str, str]],
) -> list[str]:
    if not n:
        raise DataError(f"{source}: none of its {len(truths):,} names belongs to a machine and section of the data")
    notes = [f"ground truth of {n:,} test clips from {source}; it reaches metrics only"]
    elsewhere = {(machine, _section(name)) for machine, name in truths} - sections
    for what, found in (
        ("sections without ground truth", without),
        ("sections of the truth are not in the data", elsewhere),
    ):
        if found:
            notes.append(f"{len(found):,} {what}, first {' '.join(min(found))}")
    return notes


def _read(source: Path) -> dict[tuple[str, str], _Truth]:
    truths: dict[tuple[str, str], _Truth] = {}
    for path in _files(source):
        for fact in _facts(path):
            truths.setdefault((fact.machine, fact.name), _Truth()).add(fact)
    if not truths:
        raise DataError(
            f"{source}: no ground truth; looked for ground_truth_<machine>_section_<NN>_test.csv, "
            f"attributes_<NN>.csv with {_LABELLED_COLUMN}, and eval_data_list*.csv"
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
        raise DataError(f"{path}: {error}") from error
    if rows and rows[0][1][0].strip() == "file_name":
        return _facts_with_header(path, rows)
    return _facts_in_rows(path, rows)


def _facts_with_header(path: Path, rows: list[tuple[int, list[str]]]) -> Iterator[_Fact]:
    header = rows[0][1]
    if _LABELLED_COLUMN not in header:
        return  # the attributes table of a data set: no truth in it
    column = header.index(_LABELLED_COLUMN)
    for number, row in rows[1:]:
        where = f"{path}, row {number}"
        if len(row) != len(header):
            raise DataError(f"{where}: {len(row)} cells, the header has {len(header)}")
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
                f"{where}: expected name,0|1 or name,labelled name in a file called ground_truth_<machine>_section_<NN>"
                f"_test.csv, or below a line with the machine; got {','.join(row)!r}"
            )
        else:
            yield _labelled(where, machine, stem(cells[0]), cells[1:], bit)


def _labelled(where: str, machine: str, name: str, cells: list[str], bit: str) -> _Fact:
    """What the cells after the name say: 0 or 1, or a name that states label and domain."""
    found = _Truth(where=where)
    for cell in cells:
        told = {"label": "", "domain": ""}
        parsed = parse_any_name(stem(cell))
        if cell in ("0", "1"):
            told[bit] = _BITS[bit][int(cell)]
        elif parsed is not None and (parsed.label or parsed.domain):
            told = {"label": parsed.label, "domain": parsed.domain}
        else:
            raise DataError(f"{where}: expected 0, 1 or a labelled name, got {cell!r}")
        found.add(_Fact(machine, name, told["label"], told["domain"], where))
    if parse_any_name(name) is None:
        raise DataError(f"{where}: {name!r} is not the name of an evaluation clip")
    return _Fact(machine, name, found.label, found.domain, where)
