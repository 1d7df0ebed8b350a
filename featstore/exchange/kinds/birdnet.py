"""Text files of BirdNET-Analyzer: *.birdnet.embeddings.txt, one recording or one window a file.

Versions 1.x write one file per recording, a line per window: `start<TAB>end<TAB>number,number,...`. The first versions
2 write one file per window, `NAME_START_END.birdnet.embeddings.txt`, with the numbers alone. Later ones write a CSV
file, which is a table like any other.
"""

import re
from pathlib import Path

import numpy as np

from featstore.clip import window_path
from featstore.errors import DataError
from featstore.exchange.kinds.columns import clips_of
from featstore.exchange.kinds.content import Content, Source, checked_matrix, or_error
from featstore.layouts.tree import is_audio

END = ".birdnet.embeddings.txt"
MAX_BYTES = 1 << 30
_SECONDS = r"([0-9]+(?:\.[0-9]+)?)"
_LINE = re.compile(rf"{_SECONDS}\t{_SECONDS}\t([^\t]+)")
_WINDOW = re.compile(rf"(.+)_{_SECONDS}_{_SECONDS}", re.DOTALL)


def read_birdnet(source: Source) -> Content:
    """Windows of one recording, which is looked for below the root under the name of the file with any suffix."""
    name = source.path.name
    if not name.endswith(END):
        raise DataError(
            f"{source.path}: of text files only *{END} are read; a table of numbers needs a header and the suffix .csv"
        )
    stem, times, numbers = name.removesuffix(END), [], []
    lines = _lines(source.path)
    window = _WINDOW.fullmatch(stem)
    if window and len(lines) == 1 and "\t" not in lines[0]:
        stem, lines = window[1], [f"{window[2]}\t{window[3]}\t{lines[0]}"]
    for number, line in enumerate(lines, start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise DataError(
                f"{source.path}, line {number}: expected start<TAB>end<TAB>number,number,... (times in "
                f"seconds), got {line!r:.80}"
            )
        times.append((match[1], match[2]))
        numbers.append(_numbers(source.path, number, match[3]))
    lengths = sorted({len(row) for row in numbers})
    if len(lengths) > 1:
        raise DataError(f"{source.path}: vectors of different lengths, {lengths[0]} and {lengths[-1]}")
    matrix = checked_matrix(np.array(numbers, dtype=np.float32).reshape(len(lines), -1), str(source.path))
    path = _recording(source, stem)
    paths = [window_path(path, float(start), float(end)) for start, end in times]
    return Content(matrix, or_error(lambda: clips_of(source, {"path": paths}, len(paths))))


def _lines(path: Path) -> list[str]:
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"{path}: more than {MAX_BYTES:,} bytes; expected the windows of one recording")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    if not lines:
        raise DataError(f"{path}: the file is empty; run birdnet_analyzer.embeddings again")
    return lines


def _numbers(path: Path, number: int, text: str) -> list[float]:
    try:
        return list(map(float, text.split(",")))
    except ValueError as error:
        raise DataError(f"{path}, line {number}: {error}") from error


def _recording(source: Source, stem: str) -> str:
    """The path of the recording below the root; without suffix where there is none, or several."""
    above = source.root if source.path.is_relative_to(source.root) else source.base
    parent = source.path.parent.relative_to(above)
    folder = source.root / parent
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    found = [name for name in names if is_audio(name) and name.rpartition(".")[0] == stem]
    return (parent / (found[0] if len(found) == 1 else stem)).as_posix()
