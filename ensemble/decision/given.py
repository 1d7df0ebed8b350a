"""Thresholds by hand: the words of `--threshold`, the file that it takes, and the thresholds of a recipe.

    --threshold 0.99                 every section
    --threshold fan/00=0.97          one section, as machine/section; `all` is the section of a whole machine
                                     (--pool-sections)
    --threshold limits.toml          both, in a file:

        default = 0.99
        [thresholds]
        "fan/00" = 0.97

The numbers are on the scale of the column `score` of scores.csv.
"""

import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ensemble.decision.thresholds import THRESHOLDS
from featstore.disk.files import read_regular
from featstore.errors import DataError, OptionError, StoreError, reason_of
from featstore.spec import did_you_mean, nearest

NAMED = 12
"""Most sections that are named in a message."""

EVERY = "default"
"""Key of the threshold of all sections that have none of their own; keys of sections contain a slash."""

PAGE_FILE = "thresholds.toml"
"""File of the thresholds that were set in the page, in a folder of results."""

MAX_BYTES = 1 << 24
"""Larger files are refused; a line for each of 100,000 sections fits."""

ByHand = tuple[tuple[str, float], ...]
"""Pairs of `machine/section` (or EVERY) and threshold, sorted, each key once."""


class Choice(NamedTuple):
    """What the words of `--threshold` ask for: a rule, None where none is named, and thresholds by hand."""

    rule: str | None
    values: ByHand


def key_of(machine: str, section: str) -> str:
    """The key of a section."""
    return f"{machine}/{section}"


def given_value(values: Mapping[str, float], machine: str, section: str) -> float | None:
    """The threshold by hand of a section; None where it has none."""
    return values.get(key_of(machine, section), values.get(EVERY))


def choice_of(words: Sequence[str]) -> Choice:
    """Read the words of `--threshold`.

    OptionError for a word that is neither rule, number, pair nor file, for two rules, and for a key that is given
    twice. DataError names the file and the key that do not fit.
    """
    rules = [word for word in words if word in THRESHOLDS]
    if len(set(rules)) > 1:
        raise OptionError(f"--threshold names two rules, {rules[0]} and {rules[1]}; name one")
    values: dict[str, float] = {}
    for word in words:
        if word in THRESHOLDS:
            continue
        for key, value in _values(word):
            if values.setdefault(key, value) != value:
                what = "all sections" if key == EVERY else key
                raise OptionError(f"--threshold gives {what} two thresholds, {values[key]:g} and {value:g}; give one")
    return Choice(rules[0] if rules else None, tuple(sorted(values.items())))


def _values(word: str) -> ByHand:
    number = _number(word)
    if number is not None:
        return ((EVERY, number),)
    with suppress(OSError, ValueError):  # a name that is too long, or holds a null byte
        if Path(word).is_file():
            return read_thresholds(Path(word))
    key, _, text = word.rpartition("=")
    number = _number(text)
    if number is None or "/" not in key:
        near = nearest(word, THRESHOLDS)
        raise OptionError(
            f"--threshold {word!r}: expected {' or '.join(THRESHOLDS)}, a finite number, machine/section=number, or a "
            f"TOML file{f'; did you mean {near}?' if near else ''}"
        )
    return ((key, number),)


def _number(text: str) -> float | None:
    """The finite number that a text is; None for another text."""
    with suppress(ValueError):
        if math.isfinite(float(text)):
            return float(text)
    return None


def read_thresholds(path: Path) -> ByHand:
    """Thresholds by hand of a file; DataError names the file, and the key that does not fit."""
    try:
        content = read_regular(path, MAX_BYTES)
        raw = tomllib.loads(content.decode("utf-8"))
        sections = raw.pop("thresholds", {})
        other = next((key for key in raw if key != EVERY), None)
        if other is not None:
            raise DataError(f"unknown key {other!r}; expected {EVERY} = NUMBER, and a table [thresholds]")
        if raw and isinstance(sections, dict):
            sections = {**sections, **raw}
        values = checked(sections)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except StoreError as error:  # names the file
        raise DataError(f"{error}; expected a TOML file of thresholds") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a readable file of thresholds: {reason_of(error)}") from error
    if not values:
        raise DataError(f"{path}: no thresholds; expected {EVERY} = NUMBER, or a table [thresholds]")
    return values


def unused_notes(out: Path, used: ByHand) -> list[str]:
    """A note where thresholds that were set in the page lie in `out` and are none of those that a run used."""
    path = out / PAGE_FILE
    if not path.is_file():
        return []
    with suppress(DataError):
        if set(read_thresholds(path)) <= set(used):
            return []
    return [f"{path} holds thresholds set in the page; this run does not use them; --threshold {path} does"]


def checked(table: object) -> ByHand:
    """The thresholds of a table of TOML; DataError names the key whose value is no finite number."""
    if not isinstance(table, dict):
        raise DataError(f"thresholds = {str(table)[:80]}, expected a table [thresholds]")
    values = {}
    for key, value in table.items():
        if type(value) not in (int, float) or not _is_finite(value):
            raise DataError(f"thresholds: {key!r} = {_shown(value)}, expected a finite number")
        if "/" not in key and key not in ("", EVERY):
            raise DataError(f"thresholds: {key!r} names no section; expected machine/section, or {EVERY}")
        values[key or EVERY] = float(value)
    return tuple(sorted(values.items()))


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float holds
        return False


def _shown(value: object) -> str:
    try:
        return str(value)[:80]
    except ValueError:  # an integer of too many digits
        return "a huge number"


def refuse_unknown(values: ByHand, sections: Iterable[tuple[str, str]], where: str) -> None:
    """DataError for a threshold of a section that is none of `sections`, with the nearest one."""
    known = [key_of(*section) for section in sections]
    for key, _ in values:
        if key != EVERY and key not in known:
            named = f"; it has {', '.join(known)}" if len(known) <= NAMED else ""
            raise DataError(f"{where}: the threshold of {key!r} names no section{named}{did_you_mean(key, known)}")
