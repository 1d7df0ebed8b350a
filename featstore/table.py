"""ClipTable: many clips as numpy columns, compact for millions of rows and filtered by one expression."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from featstore.clip import Clip, attributes_text, key_of, recording_of, window_of
from featstore.terminal.shown import SHOWN_NAMES, counted_names

if TYPE_CHECKING:
    import pandas
    import pyarrow

COLUMNS = ("path", "machine", "section", "split", "domain", "label", "attributes", "variant")


def encode(values: Iterable[str]) -> np.ndarray:
    """Text as fixed-width UTF-8 bytes; surrogateescape keeps file names that are not valid UTF-8."""
    encoded = [value.encode("utf-8", "surrogateescape") for value in values]
    return np.array(encoded, dtype=f"S{max(map(len, encoded), default=1) or 1}")


def decode(values: np.ndarray) -> list[str]:
    """Inverse of `encode`."""
    return [value.decode("utf-8", "surrogateescape") for value in values.tolist()]


@dataclass(frozen=True)
class ClipTable:
    """Columns of UTF-8 bytes, one row per clip; `columns` has all names of COLUMNS, with equal lengths."""

    columns: Mapping[str, np.ndarray]

    @classmethod
    def from_clips(cls, clips: Sequence[Clip]) -> "ClipTable":
        """Table with one row per clip, in the same order."""
        columns = {name: encode(getattr(clip, name) for clip in clips) for name in COLUMNS if name != "attributes"}
        texts = map(attributes_text, clips)
        return cls({name: columns[name] if name != "attributes" else encode(texts) for name in COLUMNS})

    @classmethod
    def concatenate(cls, tables: Sequence["ClipTable"]) -> "ClipTable":
        """All rows of `tables`, in order."""
        if not tables:
            return cls.from_clips([])
        return cls({name: np.concatenate([table.columns[name] for table in tables]) for name in COLUMNS})

    def __len__(self) -> int:
        return len(self.columns["path"])

    def __repr__(self) -> str:
        keys = [clip.key for clip in self[:SHOWN_NAMES]]
        names = [counted_names(decode(np.unique(self.columns[n])), n) for n in ("machine", "section", "split")]
        return f"<ClipTable: {', '.join([counted_names(keys, 'clip', len(self)), *names])}>"

    def __iter__(self) -> Iterator[Clip]:
        return (self[i] for i in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Clip: ...
    @overload
    def __getitem__(self, index: np.ndarray | slice) -> "ClipTable": ...
    def __getitem__(self, index: Any) -> "Clip | ClipTable":
        """A Clip for an integer; a table for a mask, index array or slice."""
        if not isinstance(index, (int, np.integer)):
            return ClipTable({name: self.columns[name][index] for name in COLUMNS})
        row = {name: bytes(self.columns[name][index]).decode("utf-8", "surrogateescape") for name in COLUMNS}
        attributes = json.loads(row.pop("attributes"))
        return Clip(**row, attributes=attributes)  # type: ignore[arg-type]

    def column(self, name: str) -> np.ndarray:
        """One column as an array of str."""
        values, inverse = np.unique(self.columns[name], return_inverse=True)
        return np.array(decode(values) or [""], dtype=np.str_)[inverse] if len(self) else np.array([], dtype=np.str_)

    def keys(self) -> list[str]:
        """Key of every row, in order."""
        return list(map(key_of, decode(self.columns["path"]), decode(self.columns["variant"])))

    def recordings(self) -> list[str]:
        """Path of every row's recording, in order: that of a window without its times."""
        return list(map(recording_of, decode(self.columns["path"])))

    def windows(self) -> np.ndarray:
        """Start and end of every row's window in seconds, float64 (n, 2); NaN for a whole recording."""
        windows = map(window_of, decode(self.columns["path"]))
        return np.array([window or (np.nan, np.nan) for window in windows]).reshape(-1, 2)

    def to_pandas(self) -> "pandas.DataFrame":
        """The table as `as_columns` describes it; DataError where pandas is not installed."""
        from featstore.exchange.frames import to_pandas

        return to_pandas(self.as_columns())

    def to_arrow(self) -> "pyarrow.Table":
        """The table as `as_columns` describes it; DataError where pyarrow is not installed."""
        from featstore.exchange.frames import to_arrow

        return to_arrow(self.as_columns())

    def as_columns(self) -> dict[str, Any]:
        """Columns for other programs: lists of text, and float64 arrays for times.

        `clip` is the key, as in scores.csv. `path` is the file of the recording; start_s and end_s are the seconds of a
        window, NaN for a whole recording. machine, section, split, domain, label and variant are as stored. Every
        attribute is a column attr_NAME, None for clips without it.
        """
        texts = {name: self.column(name).tolist() for name in COLUMNS if name != "attributes"}
        texts["path"] = self.recordings()
        start_s, end_s = np.ascontiguousarray(self.windows().T)
        return {"clip": self.keys(), **texts, "start_s": start_s, "end_s": end_s, **self._attributes()}

    def _attributes(self) -> dict[str, list[str | None]]:
        values, inverse = np.unique(self.columns["attributes"], return_inverse=True)
        parsed = [json.loads(text) for text in decode(values)]
        rows = inverse.tolist()
        columns = {name: [attributes.get(name) for attributes in parsed] for name in sorted(set().union(*parsed))}
        return {f"attr_{name}": [cells[row] for row in rows] for name, cells in columns.items()}

    def where(self, **equal: str) -> np.ndarray:
        """Boolean mask of the rows with the given column values, e.g. `where(machine="fan", split="train")`."""
        mask = np.ones(len(self), dtype=bool)
        for name, value in equal.items():
            mask &= self.columns[name] == value.encode("utf-8", "surrogateescape")
        return mask

    def sections(self) -> list[tuple[str, str]]:
        """Sorted list of the (machine, section) pairs."""
        return sorted(set(zip(self.column("machine").tolist(), self.column("section").tolist(), strict=True)))
