"""What is wrong with the lines of a score or decision file of a submission."""

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from featstore.disk.files import read_regular
from featstore.errors import StoreError, reason_of
from featstore.terminal.shown import counted

MAX_BYTES = 1 << 26
"""Larger files are refused; a file of a million clips fits."""

BOM = "\ufeff"


def score_problems(path: Path, names: Sequence[str]) -> list[str]:
    """What is wrong with a file of scores for the recordings `names`."""
    return _problems(path, names, "a finite number", _is_finite)


def decision_problems(path: Path, names: Sequence[str]) -> list[str]:
    """What is wrong with a file of decisions for the recordings `names`."""
    return _problems(path, names, "0 or 1", lambda text: text in ("0", "1"))


def _is_finite(text: str) -> bool:
    try:
        return text == text.strip() and "_" not in text and math.isfinite(float(text))
    except ValueError:
        return False


def _problems(path: Path, names: Sequence[str], value: str, is_value: Callable[[str], bool]) -> list[str]:
    try:
        text = read_regular(path, MAX_BYTES).decode("utf-8", "surrogateescape")
        rows = [row for row in csv.reader(io.StringIO(text.removeprefix(BOM), newline=""), strict=True) if row]
    except (StoreError, OSError, csv.Error) as error:
        return [f"cannot be read: {reason_of(error)}"]
    problems = ["begins with a byte order mark; save it as UTF-8 without one"] if text.startswith(BOM) else []
    if rows and len(rows[0]) > 1 and rows[0][0] not in names and not any(map(is_value, rows[0][1:])):
        problems.append(f"line 1 is a header, {','.join(rows[0])!r:.100}; the files of the challenge have none")
        rows = rows[1:]
    wrong = [row for row in rows if len(row) != 2]
    if wrong:
        problems.append(f"{_lines(len(wrong))} not of the form name,value; first {','.join(wrong[0])!r:.100}")
    values = [row for row in rows if len(row) == 2]
    bad = [row for row in values if not is_value(row[1])]
    if bad:
        problems.append(f"{_lines(len(bad))} without {value}; first {','.join(bad[0])!r:.100}")
    return [*problems, *_clip_problems([row[0] for row in values], names)]


def _lines(number: int) -> str:
    return counted(number, "line")


def _clip_problems(found: Sequence[str], names: Sequence[str]) -> list[str]:
    """Clips that are named twice, missing, or unknown; names that differ in their zeros only are told apart."""
    repeated = sorted(name for name, times in Counter(found).items() if times > 1)
    missing, unknown = sorted(set(names) - set(found)), sorted(set(found) - set(names))
    problems = [f"{_clips(repeated)} on several lines; first {repeated[0]!r:.100}"] if repeated else []
    by_value = {_without_zeros(name): name for name in missing}
    padded = {name: by_value[_without_zeros(name)] for name in unknown if _without_zeros(name) in by_value}
    if padded:
        wrong, right = next(iter(padded.items()))
        problems.append(f"{_clips(list(padded))} with another number of digits; first {wrong!r:.100} for {right!r}")
        missing = sorted(set(missing) - set(padded.values()))
        unknown = sorted(set(unknown) - padded.keys())
    if missing:
        problems.append(f"{_clips(missing)} missing; first {missing[0]!r}")
    if unknown:
        problems.append(f"{_clips(unknown)} not in the data; first {unknown[0]!r:.100}")
    return problems


def _clips(names: Sequence[str]) -> str:
    return counted(len(names), "clip")


def _without_zeros(name: str) -> str:
    """A name with all its numbers without leading zeros."""
    return re.sub(r"(?<![0-9])0+(?=[0-9])", "", name)
