"""Copies: a clip that a training clip of its section repeats, by content or by an embedding that differs in rounding.

A copy of a training clip is at distance 0 of it. So a fault that was also put among the training clips is not found,
and a training clip that is in the bank twice makes the reference scores look better than they are.

- Exact copies have the same content hash and, for windows, the same part of the recording. A bank holds each content
  once.
- Near-copies are the same sound in another file, such as a WAV with another header or a lossless FLAC. Their rows
  differ by rounding only: in no value by more than `TOLERANCE` of the largest value of the row. Two recordings of a
  machine differ by noise, which is some thousand times more. Copies after lossy encoding, resampling or a change of
  level are not found.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from featstore.clip import Window, window_of
from featstore.table import ClipTable
from featstore.terminal.shown import counted

TOLERANCE = {"float32": 2.0**-17, "float16": 2.0**-10}
"""Largest difference of two rows by rounding, as a share of their largest value, by the dtype of an embedding.

float32 rounds to 2**-24; sums over some thousand samples in another order differ by up to 2**-17, 128 times as much.
float16 is rounded to 2**-11 when it is stored, so two values next to each other differ by at most 2**-10.
"""

SHOWN = 3

Sound = str | tuple[str, Window | None]
"""Content of a recording and the part of it, or the key of a clip whose content is unknown."""


def sounds_of(clips: ClipTable, contents: Sequence[str]) -> list[Sound]:
    """What tells whether two clips are the same sound, wherever their files lie."""
    keys = clips.keys()
    return [(content, window_of(key)) if content else key for key, content in zip(keys, contents, strict=True)]


@dataclass(frozen=True)
class Copies:
    """Copies of training clips: key -> key of the training clip, both of the same section.

    exact, near: scored clips. repeated: training clips that repeat another one. near_repeated: the same by rounding.
    opposed: clips labelled anomaly with the content of a normal training clip, of any section.
    """

    exact: Mapping[str, str] = field(default_factory=dict)
    near: Mapping[str, str] = field(default_factory=dict)
    repeated: Mapping[str, str] = field(default_factory=dict)
    near_repeated: Mapping[str, str] = field(default_factory=dict)
    opposed: Mapping[str, str] = field(default_factory=dict)

    @property
    def scored(self) -> dict[str, str]:
        """The training clip that each scored copy repeats."""
        return {**self.near, **self.exact}

    @property
    def of_training(self) -> dict[str, str]:
        """The training clip that each repeated training clip repeats."""
        return {**self.near_repeated, **self.repeated}

    def notes(self, *, left_out: bool) -> list[str]:
        """One note for each kind; left_out: whether repeated training clips were left out of the banks."""
        once = "one of each is used" if left_out else "a clip is not compared with its copy"
        low = "their reference scores are too low, so leave one of each out of the data" if left_out else once
        kinds = [
            (self.exact, "scored clip", "the same content as a training clip, so scored as normal"),
            (
                self.near,
                "scored clip",
                "the same embedding as a training clip apart from rounding, so scored as normal",
            ),
            (self.repeated, "training clip", f"the same content as another training clip of the section; {once}"),
            (self.near_repeated, "training clip", f"the same embedding as another apart from rounding; {low}"),
        ]
        opposed = [_opposed_note(self.opposed)] if self.opposed else []
        return [
            *opposed,
            *(
                f"{counted(len(pairs), noun)} {'has' if len(pairs) == 1 else 'have'} {text}: {named(pairs)}"
                for pairs, noun, text in kinds
                if pairs
            ),
        ]


def _opposed_note(pairs: Mapping[str, str]) -> str:
    """That recordings are under two labels, one of which is wrong."""
    first = ", ".join(f"{fault} and {twin}" for fault, twin in sorted(pairs.items())[:SHOWN])
    rest = len(pairs) - SHOWN
    more = f" and {counted(rest, 'more pair')}" if rest > 0 else ""
    one = len(pairs) == 1
    return (
        f"{first}{more} are the same recording{'' if one else ' in each pair'}, once as anomaly and once as normal "
        f"training clip: correct the wrong one{'' if one else ' of each'} and build with --prune"
    )


def named(pairs: Mapping[str, str]) -> str:
    """The first copies with their twins."""
    first = [f"{copy} = {twin}" for copy, twin in sorted(pairs.items())[:SHOWN]]
    rest = len(pairs) - SHOWN
    return ", ".join(first) + (f" and {rest:,} more" if rest > 0 else "")


def twins(sounds: Mapping[str, Sound], others: Mapping[str, Sound]) -> dict[str, str]:
    """The first of the other clips, by key, that is the same sound as a clip."""
    first = {sound: key for key, sound in sorted(others.items(), reverse=True)}
    return {key: first[sound] for key, sound in sounds.items() if sound in first}


def repeated_rows(
    rows: Iterable[int], banks: Sequence[tuple[str, str]], sounds: Mapping[int, Sound]
) -> tuple[dict[tuple[tuple[str, str], Sound], int], dict[int, int]]:
    """The first of the rows with each sound of a bank, and the other rows, each with that one."""
    first: dict[tuple[tuple[str, str], Sound], int] = {}
    repeated = {}
    for row in rows:
        earlier = first.setdefault((banks[row], sounds[row]), row)
        if earlier != row:
            repeated[row] = earlier
    return first, repeated


def equal_but_for_rounding(X: np.ndarray, Y: np.ndarray, tolerance: float) -> np.ndarray:
    """Whether (n,) rows of X and Y (n, ..., d) differ by rounding only, in every view; False for rows of zeros."""
    X, Y = np.asarray(X, dtype=np.float64), np.asarray(Y, dtype=np.float64)
    if not len(X):
        return np.zeros(0, dtype=bool)
    largest = np.maximum(np.abs(X).max(axis=-1), np.abs(Y).max(axis=-1))
    alike = (np.abs(X - Y).max(axis=-1) <= tolerance * largest).reshape(len(X), -1)
    sound = (largest > 0).reshape(len(X), -1)
    equal: np.ndarray = alike.all(axis=1) & sound.any(axis=1)
    return equal
