"""The attributes_00.csv tables in the machine folders of DCASE 2022 and later, joined to clips by the file's stem.

The header is `file_name,d1p,d1v,d2p,d2v,...`; file_name is a bare stem for some machines and machine/split/stem.wav for
others. A table adds attributes that a clip's name leaves out; it never replaces one that the name states.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from featstore.errors import DataError
from featstore.layouts.csv_text import csv_rows
from featstore.layouts.dcase_names import NO_ATTRIBUTE, number_repeats
from featstore.layouts.tree import Tree, stem
from featstore.terminal.shown import counted

_FILE = re.compile(r"(?:(?P<home>.*)/)?attributes_[0-9]+\.csv", re.DOTALL)
_KEY_COLUMN = re.compile(r"d([0-9]+)p")


@dataclass
class Attributes:
    """Every attributes table below a root (machine folder -> stem -> attributes), and counts of the joined clips."""

    tables: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    joined: int = 0
    hidden: int = 0
    differing: list[str] = field(default_factory=list)

    def join(self, path: str, home: str, stated: dict[str, str], *, hidden: bool) -> dict[str, str]:
        """`stated` plus the attributes in the table of machine folder `home`; {} where the table must stay `hidden`.

        hidden: the name of the clip says noAttribute.
        """
        row = self.tables.get(home, {}).get(stem(path), {})
        if not row:
            return dict(stated)
        if hidden:
            self.hidden += 1
            return {}
        self.joined += 1
        if any(stated.get(key, value) != value for key, value in row.items()):
            self.differing.append(path)
        return {**row, **stated}

    def notes(self) -> list[str]:
        """How many clips got attributes from tables, and which did not and why."""
        notes = list(self.problems)
        if self.joined:
            notes.append(f"read the attributes of {counted(self.joined, 'clip')}")
        if self.differing:
            notes.append(
                f"the names of {counted(len(self.differing), 'clip')} disagree with their attributes table; the name "
                f"is used; first {self.differing[0]!r}"
            )
        if self.hidden:
            notes.append(f"attributes of {counted(self.hidden, 'clip')} are not used: their names say {NO_ATTRIBUTE}")
        return notes


def read_attributes_beside(tree: Tree) -> Attributes:
    """Every attributes table below the root; a table that cannot be read becomes a note."""
    attributes = Attributes()
    for path in tree.other:
        match = _FILE.fullmatch(path)
        if match is None:
            continue
        try:
            rows = read_attributes(tree.root / path)
        except DataError as error:
            attributes.problems.append(f"attributes table not used: {error}")
            continue
        attributes.tables.setdefault(match["home"] or "", {}).update(rows)
    return attributes


def read_attributes(path: Path) -> dict[str, dict[str, str]]:
    """Stem -> attributes of one table; empty cells and noAttribute are left out."""
    rows = [cells for _, cells in csv_rows(path)]
    if rows[0][0].strip() != "file_name":
        raise DataError(f"{path}: expected a header file_name,d1p,d1v,..., got {','.join(rows[0])!r}")
    columns = _pair_columns([name.strip() for name in rows[0]])
    return {stem(row[0].strip()): _pairs(row, columns) for row in rows[1:] if row and row[0].strip()}


def _pair_columns(header: list[str]) -> list[tuple[int, int]]:
    keys = [(i, match[1]) for i, name in enumerate(header) if (match := _KEY_COLUMN.fullmatch(name))]
    return [(i, header.index(f"d{n}v")) for i, n in keys if f"d{n}v" in header]


def _pairs(row: list[str], columns: list[tuple[int, int]]) -> dict[str, str]:
    cells = [(row[i].strip(), row[j].strip()) for i, j in columns if j < len(row)]
    return number_repeats((key, value) for key, value in cells if key and key != NO_ATTRIBUTE)
