"""The Clip record: one recording, or one generated variant of it, with its metadata."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, NamedTuple, get_args

from featstore.errors import DataError

Split = Literal["train", "test", "supplemental"]
Domain = Literal["source", "target", "unknown"]
Label = Literal["normal", "anomaly", "unknown"]

SPLITS: tuple[str, ...] = get_args(Split)
DOMAINS: tuple[str, ...] = get_args(Domain)
LABELS: tuple[str, ...] = get_args(Label)

MAX_TEXT_BYTES = 1 << 16
"""Most bytes of a text of a clip, and of its attributes together, in a store."""

VARIANT_MARK = "::"
"""Separates path and variant in a key; layouts reject paths that contain it."""


_WINDOW = re.compile(r"(.+)#t=([0-9]+(?:\.[0-9]{1,6})?),([0-9]+(?:\.[0-9]{1,6})?)", re.DOTALL)
"""A path with a window, in the form of a W3C media fragment: `line1/a.wav#t=5,15`."""


_TIMES = "#t="
"""Looked for first, because it is a tenth of the time where most paths are those of whole recordings."""


class Window(NamedTuple):
    """A part of a recording, from `start_s` up to `end_s`, in seconds from its beginning."""

    start_s: float
    end_s: float


def window_path(recording: str, start_s: float, end_s: float) -> str:
    """The path of a window of a recording; times are rounded to microseconds."""
    return f"{recording}#t={seconds_text(start_s)},{seconds_text(end_s)}"


def window_of(path: str) -> Window | None:
    """The window that a path names; None for a path that names a whole recording."""
    match = _WINDOW.fullmatch(path) if _TIMES in path else None
    return Window(float(match[2]), float(match[3])) if match else None


def recording_of(path: str) -> str:
    """The path of the recording, without the window."""
    match = _WINDOW.fullmatch(path) if _TIMES in path else None
    return match[1] if match else path


def seconds_text(value: float) -> str:
    """Seconds in the fewest digits, rounded to microseconds: 10, 2.5."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


class Windows(NamedTuple):
    """Windows that recordings are cut into: their length and the distance of their starts, in seconds."""

    window_s: float
    hop_s: float

    @property
    def length(self) -> str:
        """The text of AudioPolicy.length."""
        return f"window:{seconds_text(self.window_s)},{seconds_text(self.hop_s)}"

    @property
    def option(self) -> str:
        """The options of `featstore build`."""
        return f"--window {seconds_text(self.window_s)} --hop {seconds_text(self.hop_s)}"

    @property
    def is_valid(self) -> bool:
        """Whether every sample is in some window, and a second has a limited number of them."""
        return SHORTEST_HOP_S <= self.hop_s <= self.window_s < 1e6


SHORTEST_HOP_S = 0.01
_WINDOWS = re.compile(r"window:([0-9.]{1,14}),([0-9.]{1,14})", re.ASCII)


def windows_in(length: str) -> Windows | None:
    """The windows that a text of AudioPolicy.length describes; None where it describes none."""
    match = _WINDOWS.fullmatch(length)
    try:
        windows = Windows(float(match[1]), float(match[2])) if match else None
    except ValueError:
        return None
    return windows if windows and windows.is_valid and windows.length == length else None


def place_of(path: str) -> tuple[str, float]:
    """Recording and start in seconds of a path; paths sorted by it follow each other as in the recording."""
    window = window_of(path)
    return recording_of(path), window.start_s if window else 0.0


def key_of(path: str, variant: str) -> str:
    """The key of a recording, or of one of its generated variants."""
    return f"{path}{VARIANT_MARK}{variant}" if variant else path


def checked_path(path: str) -> str:
    """`path` of a file itself; DataError where it contains VARIANT_MARK or ends like a window."""
    if VARIANT_MARK in path:
        raise DataError(f"{path!r}: {VARIANT_MARK!r} marks generated variants; rename the file or folder")
    if window_of(path):
        raise DataError(f"{path!r}: a path that ends in #t=START,END names a window of a recording; rename the file")
    return path


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording, or a window of it.

    path: relative to the data root, with forward slashes; that of a window ends in `#t=START,END`. section: text
    ("00", "id_02"), because datasets number their sections differently. variant: empty for the recording itself,
    otherwise name, severity and seed of a generated anomaly.
    """

    path: str
    machine: str
    section: str
    split: Split
    domain: Domain = "unknown"
    label: Label = "unknown"
    attributes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    variant: str = ""

    @property
    def key(self) -> str:
        """Path and variant; the same in every build, unique in one embedding of a store."""
        return key_of(self.path, self.variant)

    @property
    def recording(self) -> str:
        """Path of the recording: that of a window without its times."""
        return recording_of(self.path)

    @property
    def window(self) -> Window | None:
        """The part of the recording; None for all of it."""
        return window_of(self.path)

    @property
    def place(self) -> tuple[str, float]:
        """Recording and start in seconds; clips sorted by it follow each other as in the recording."""
        return place_of(self.path)


def attributes_text(clip: Clip) -> str:
    """The attributes of a clip as stored."""
    return json.dumps(dict(clip.attributes), sort_keys=True, ensure_ascii=False)


def path_tail(key: str, machine: str = "") -> str:
    """The end of a clip's key for a table on the terminal: three parts, or more so that it names the machine."""
    parts = key.split("/")
    named = len(parts) - parts.index(machine) if machine in parts else 0
    return "/".join(parts[-max(3, named) :])
