"""Scores of whole recordings from those of their windows, for the official metrics and recordings.csv."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from detectors.metrics.scores import ScoreTable
from ensemble.windows.blocks import any_windows
from featstore.errors import DataError, OptionError
from featstore.table import COLUMNS, ClipTable, encode

MAXIMUM = "max"

_QUANTILE = re.compile(r"q(0?\.\d{1,6})")


def quantile_of(rule: str) -> float:
    """The quantile of a rule for a recording's score: 1 for `max`, 0.9 for `q0.9`; OptionError for another text."""
    if rule == MAXIMUM:
        return 1.0
    match = _QUANTILE.fullmatch(rule)
    if not match or not float(match[1]):
        raise OptionError(f"--recording-score {rule!r}: expected {MAXIMUM}, or a quantile below 1 such as q0.9")
    return float(match[1])


def rule_text(rule: str) -> str:
    """A rule in words."""
    return "maximum" if rule == MAXIMUM else f"{quantile_of(rule):g} quantile"


@dataclass(frozen=True, eq=False)
class Recordings:
    """The recordings that clips are windows of: `clips` has one row for each of them, and `rows` its rows of `windows`.

    A recording is an anomaly if any of its windows is, normal if all are, and else unknown. Its domain is that of its
    windows, unknown where they differ. Clips that are whole recordings are recordings of one window each. Without any
    windows, `clips` and `windows` are the same table.
    """

    clips: ClipTable
    windows: ClipTable
    rows: tuple[np.ndarray, ...]
    rule: str = MAXIMUM

    @property
    def divided(self) -> bool:
        """Whether any clip is a window."""
        return self.clips is not self.windows

    @property
    def names(self) -> list[tuple[str, str, str]]:
        """Machine, section and path of every recording."""
        columns = (self.clips.column("machine").tolist(), self.clips.column("section").tolist(), self.clips.keys())
        return list(zip(*columns, strict=True))

    def scores(self, scores: np.ndarray) -> np.ndarray:
        """Score (r,) of every recording by the rule, from the scores (n,) of the windows."""
        if not self.divided:
            return scores
        quantile = quantile_of(self.rule)
        return np.array([np.quantile(scores[rows], quantile) for rows in self.rows], dtype=np.float64)

    def any(self, mask: np.ndarray) -> np.ndarray:
        """Whether (r,) any window of each recording is in the mask (n,)."""
        return np.array([mask[rows].any() for rows in self.rows], dtype=bool) if self.divided else mask

    def holding(self, keys: Collection[str]) -> np.ndarray:
        """Whether (r,) each recording has a clip with one of the keys."""
        return self.any(np.array([key in keys for key in ClipTable.keys(self.windows)], dtype=bool))

    def table(self, scores: ScoreTable, keys: Sequence[str]) -> ScoreTable:
        """Scores of the recordings named by `keys`, from those of their windows; DataError where a window has none."""
        if not self.divided:
            return scores
        chosen = [self.rows[i] for i in self._places(keys)]
        windows = self.windows[np.concatenate([np.zeros(0, dtype=np.intp), *chosen])]
        ends = np.cumsum([len(rows) for rows in chosen], dtype=np.intp)
        try:
            parts = np.split(scores.aligned(windows.keys()), ends)[:-1]
        except ValueError as error:
            raise DataError(str(error)) from error
        quantile = quantile_of(self.rule)
        return ScoreTable(scores.name, tuple(keys), np.array([np.quantile(part, quantile) for part in parts]))

    def labelled(self, clips: ClipTable) -> ClipTable:
        """The windows with the labels and domains of `clips`, these recordings in order, where theirs are unknown."""
        if not self.divided:
            return clips
        own = dict(self.windows.columns)
        at = np.empty(len(self.windows), dtype=np.intp)
        for i, rows in enumerate(self.rows):
            at[rows] = i
        for name in ("label", "domain"):
            own[name] = np.where(own[name] == b"unknown", clips.columns[name][at], own[name])
        return ClipTable(own)

    def _places(self, keys: Sequence[str]) -> list[int]:
        place_of = {key: i for i, key in enumerate(self.clips.keys())}
        return [place_of[key] for key in keys]


def recordings_of(clips: ClipTable, rule: str = MAXIMUM, *, unlabelled: Collection[str] = ()) -> Recordings:
    """The recordings of clips, sorted; a recording with a clip whose key is among `unlabelled` has no label.

    DataError where windows of one recording are of several machines or sections, OptionError for an unknown rule.
    """
    quantile_of(rule)
    if not any_windows(clips):
        return Recordings(clips, clips, tuple(np.arange(len(clips))[:, None]), rule)
    paths, start = np.array(clips.recordings(), dtype=object), np.nan_to_num(clips.windows()[:, 0])
    names, number = np.unique(paths, return_inverse=True)
    order = np.lexsort([start, number])
    rows = tuple(np.split(order, np.flatnonzero(np.diff(number[order])) + 1))
    label, domain = clips.column("label"), clips.column("domain")
    section_of: dict[int, tuple[str, str]] = {}
    sections = zip(clips.column("machine").tolist(), clips.column("section").tolist(), strict=True)
    for at, section in zip(number.tolist(), sections, strict=True):
        if section_of.setdefault(at, section) != section:
            raise DataError(f"{names[at]!r}: its windows are of several sections; a recording has one of a machine")
    hidden = {path for path, key in zip(paths.tolist(), clips.keys(), strict=True) if key in unlabelled}
    first = clips[np.array([at[0] for at in rows], dtype=np.intp)]
    columns = {
        **first.columns,
        "path": encode(names.tolist()),
        "label": encode(
            "unknown" if name in hidden else _label(label[at]) for name, at in zip(names.tolist(), rows, strict=True)
        ),
        "domain": encode(str(domain[at[0]]) if len(set(domain[at].tolist())) == 1 else "unknown" for at in rows),
    }
    return Recordings(ClipTable({name: columns[name] for name in COLUMNS}), clips, rows, rule)


def _label(labels: np.ndarray) -> str:
    """Label of a recording from those of its windows."""
    if (labels == "anomaly").any():
        return "anomaly"
    return "normal" if (labels == "normal").all() else "unknown"
