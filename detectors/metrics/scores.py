"""ScoreTable: one score per clip, looked up by key and never by row order, and its CSV files."""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from featstore.disk.files import write_new
from featstore.errors import DataError
from featstore.exchange.frames import to_arrow, to_pandas
from featstore.layouts.csv_text import csv_rows
from featstore.table import ClipTable
from featstore.terminal.shown import counted_names

if TYPE_CHECKING:
    import pandas
    import pyarrow

HEADER = ("clip", "score")

COLUMNS = {"clip": "clip", "path": "clip", "score": "score"}
"""Columns of a score file, in any case, with their names of HEADER."""

NOT_SCORED = "not_scored"
"""Column of the reason why a clip has no score; the score of such a row is empty."""


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Finite scores of clips with unique keys; higher is more anomalous.

    `name` is the origin of the scores (a detector, a file) and part of every error message. unscored: clips of which
    it says that they have no score.
    """

    name: str
    keys: tuple[str, ...]
    scores: np.ndarray
    unscored: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        scores = np.array(self.scores, dtype=np.float64)
        scores.flags.writeable = False
        object.__setattr__(self, "keys", tuple(self.keys))
        object.__setattr__(self, "scores", scores)
        if scores.shape != (len(self.keys),):
            raise ValueError(f"{self.name}: {len(self.keys)} keys need as many scores, got shape {scores.shape}")
        if len(self._rows) != len(self.keys):
            raise ValueError(f"{self.name}: two scores for {_first_repeat(self.keys)!r}; keys must be unique")
        if not np.isfinite(scores).all():
            row = int(np.flatnonzero(~np.isfinite(scores))[0])
            raise ValueError(f"{self.name}: the score of {self.keys[row]!r} is {scores[row]}; scores must be finite")

    def __len__(self) -> int:
        return len(self.keys)

    def __repr__(self) -> str:
        scores = f", scores {self.scores.min():.4g} to {self.scores.max():.4g}" if len(self) else ""
        without = f", {len(self.unscored):,} without a score" if self.unscored else ""
        return f"<ScoreTable {self.name!r}: {counted_names(self.keys, 'clip')}{scores}{without}>"

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {key: row for row, key in enumerate(self.keys)}

    def aligned(self, keys: Sequence[str]) -> np.ndarray:
        """Scores (len(keys),) in the order of `keys`; ValueError names the first key without a score."""
        try:
            return self.scores[np.array([self._rows[key] for key in keys], dtype=np.intp)]
        except KeyError as error:
            missing = sum(key not in self._rows for key in keys)
            raise ValueError(
                f"{self.name}: no score for {error.args[0]!r} ({missing} of {len(keys)} clips have none)"
            ) from None

    def exactly(self, keys: Sequence[str]) -> np.ndarray:
        """As `aligned`; ValueError also names the first score for a clip outside `keys`, or a repeated key."""
        scores = self.aligned(keys)
        surplus = sorted(self._rows.keys() - set(keys))
        if surplus:
            raise ValueError(f"{self.name}: {len(surplus)} scores belong to no expected clip, first {surplus[0]!r}")
        if len(set(keys)) != len(keys):
            raise ValueError(f"{self.name}: the clip {_first_repeat(keys)!r} is expected twice; keys must be unique")
        return scores

    def to_pandas(self, clips: ClipTable | None = None, *, labels: bool = False) -> "pandas.DataFrame":
        """The table as `as_columns` describes it; DataError where pandas is not installed."""
        return to_pandas(self.as_columns(clips, labels=labels))

    def to_arrow(self, clips: ClipTable | None = None, *, labels: bool = False) -> "pyarrow.Table":
        """The table as `as_columns` describes it; DataError where pyarrow is not installed."""
        return to_arrow(self.as_columns(clips, labels=labels))

    def as_columns(self, clips: ClipTable | None = None, *, labels: bool = False) -> dict[str, Any]:
        """Columns `clip` and `score` in the order of the table, and those of the same clips in `clips`.

        The columns of clips are those of `ClipTable.as_columns`; `label` is one of them only with `labels`. ValueError
        names the first key that `clips` lacks.
        """
        columns: dict[str, Any] = {"clip": list(self.keys), "score": self.scores}
        if clips is None:
            if labels:
                raise ValueError("labels are those of clips; give the clips too")
            return columns
        rows = {key: row for row, key in enumerate(clips.keys())}
        missing = [key for key in self.keys if key not in rows]
        if missing:
            raise ValueError(
                f"{self.name}: {len(missing)} of {len(self)} clips are not in `clips`, first {missing[0]!r}"
            )
        of_clips = clips[np.array([rows[key] for key in self.keys], dtype=np.intp)].as_columns()
        return columns | {name: of_clips[name] for name in of_clips if name != "clip" and (labels or name != "label")}


def _first_repeat(keys: Iterable[str]) -> str:
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            return key
        seen.add(key)
    return ""


def read_scores(path: Path, *, name: str | None = None, count: int | None = None) -> ScoreTable:
    """Read a score file; `count` is the number of scores it must have.

    Accepts the official form (`name,score` per line, no header) and any table whose header has the columns `clip` (or
    `path`) and `score`, in the encodings and with the delimiters of `featstore.layouts.csv_text`. A row with an empty
    score and a reason in the column `not_scored` has none. DataError names file and line of an invalid number, NaN,
    infinity, empty name or repeated clip.
    """
    lines: dict[str, int] = {}
    scores: list[float] = []
    unscored: list[str] = []
    for line, key, text, reason in _rows(path):
        if not key:
            raise DataError(f"{path}, line {line}: the clip has no name; expected `clip,score`")
        if key in lines:
            raise DataError(f"{path}, line {line}: {key!r} already has a score on line {lines[key]}; remove one")
        if reason and not text:
            unscored.append(key)
            continue
        lines[key] = line
        scores.append(_number(text, f"{path}, line {line}"))
    if not lines:
        raise DataError(f"{path}: no scores in the file; expected lines of `clip,score`")
    if count is not None and len(lines) != count:
        raise DataError(f"{path}: expected {count} scores, found {len(lines)}")
    return ScoreTable(name or path.stem, tuple(lines), np.array(scores), tuple(unscored))


def _rows(path: Path) -> Iterator[tuple[int, str, str, str]]:
    """Line number, clip name, text of the score, and reason for none, of every row of the file."""
    rows = csv_rows(path)
    line, first = next(rows)
    header = [COLUMNS.get(cell.strip().lower(), cell) for cell in first]
    name_at, score_at, width = 0, 1, 2
    reason_at: int | None = None
    if set(HEADER) <= set(header):
        name_at, score_at, width = header.index(HEADER[0]), header.index(HEADER[1]), len(header)
        reason_at = header.index(NOT_SCORED) if NOT_SCORED in header else None
    elif len(first) != width or not _is_number(first[1]):
        found = ", ".join(first)
        raise DataError(f"{path}, line {line}: no columns clip and score, or clip and number; found {found:.200}")
    else:
        rows = chain([(line, first)], rows)
    for line, row in rows:
        if len(row) != width:
            raise DataError(f"{path}, line {line}: expected {width} columns, found {len(row)}")
        yield line, row[name_at], row[score_at], "" if reason_at is None else row[reason_at]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise DataError(f"{where}: {text!r} is not a number; expected `clip,score`") from None
    if not math.isfinite(value):
        raise DataError(f"{where}: the score is {text.strip()}; scores must be finite numbers")
    return value


def write_scores(path: Path, table: ScoreTable, *, header: bool = True) -> None:
    """Write the scores in table order, with all digits that reading them back exactly needs; lines end in LF.

    The file is replaced as a whole: an interrupted write leaves the old one. DataError for a clip name that is empty or
    contains a line break, because score files are read line by line.
    """
    for key in table.keys:
        if not key or "\r" in key or "\n" in key:
            raise DataError(f"{path}: the clip name {key!r} cannot stand on a line of a score file; rename the clip")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(HEADER)
    writer.writerows(zip(table.keys, map(repr, table.scores.tolist()), strict=True))
    write_new(path, text.getvalue().encode("utf-8", "surrogateescape"))
