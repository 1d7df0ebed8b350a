"""Rows of CSV files as people's programs write them: encodings, delimiters, Excel's first line."""

import csv
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from featstore.errors import DataError

MAX_BYTES = 1 << 30
"""Larger files are refused; a manifest of ten million recordings fits."""

_BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
WINDOWS = "cp1252"


def csv_rows(
    path: Path, *, max_bytes: int = MAX_BYTES, is_raw: Callable[[list[list[str]]], bool] = lambda rows: True
) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every row that has any that is not empty; `;;` is how Excel writes an empty one.

    UTF-8 and UTF-16 are read; bytes that are neither stay as they are (surrogates) where `is_raw` says so of the rows,
    else they are read as Windows-1252. The delimiter is the comma, or semicolon or tab where the first line has no
    comma. DataError for a file that cannot be read, or has no row.
    """
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    if len(content) > max_bytes:
        raise DataError(f"{path}: more than {max_bytes:,} bytes; expected a CSV file")
    yield from content_rows(content, str(path), is_raw=is_raw)


def content_rows(
    content: bytes, name: str, *, is_raw: Callable[[list[list[str]]], bool] = lambda rows: True
) -> list[tuple[int, list[str]]]:
    """The rows of the content of a file called `name`, see `csv_rows`."""
    try:
        text, is_valid = _text(content)
        rows = _rows(text)
        if not is_valid and not is_raw([cells for _, cells in rows]):
            rows = _rows(content.decode(WINDOWS, "surrogateescape"))
    except (ValueError, csv.Error) as error:
        raise DataError(f"{name}: not a CSV file: {error}") from error
    if not rows:
        raise DataError(f"{name}: the file is empty; expected a CSV file")
    return rows


def decoded(content: bytes) -> str:
    """The text of a file in UTF-8 or UTF-16; bytes that are neither stay as surrogates."""
    return _text(content)[0]


def _text(content: bytes) -> tuple[str, bool]:
    """The text, and whether it is valid in its encoding."""
    for bom, encoding in _BOMS:
        if content.startswith(bom):
            return content[len(bom) :].decode(encoding, "surrogateescape"), True
    try:
        return content.decode("utf-8"), True
    except UnicodeDecodeError:
        return content.decode("utf-8", "surrogateescape"), False


def _rows(text: str) -> list[tuple[int, list[str]]]:
    first, _, rest = text.partition("\n")
    delimiter, is_hint = delimiter_of(first)
    reader = csv.reader(io.StringIO(rest if is_hint else text, newline=""), strict=True, delimiter=delimiter)
    return [(reader.line_num + is_hint, cells) for cells in reader if any(map(str.strip, cells))]


def delimiter_of(first: str) -> tuple[str, bool]:
    """The delimiter that a first line shows, and whether this line is no row: `sep=;` is Excel's hint to itself."""
    first = first.rstrip("\r\n")
    if first.lower().startswith("sep=") and len(first) == len("sep=;"):
        return first[-1], True
    outside = re.sub(r'"[^"]*"', "", first)
    return next((mark for mark in ",;\t" if mark in outside), ","), False


def encoding_of(head: bytes) -> str:
    """The codec for a file that begins with these bytes: UTF-8, or UTF-16 where it says so."""
    return "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
