"""Exports of this program: the note that describes the embedding in each, and how one is read back without loss.

The note is a JSON text: the array `featstore` of an .npz, metadata of a Parquet file, the column `featstore` in the
first row of a CSV file, the file featstore.json of a folder of Hugging Face. It holds a checksum of the rows, so that
the fingerprint of an embedder is kept only for the numbers that this embedder made.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from featstore.audio.near_far.mixes import mixes_of
from featstore.clip import recording_of
from featstore.disk.arrays import CHOICES
from featstore.disk.manifest import parse_info
from featstore.errors import DataError
from featstore.exchange.kinds.content import Content, Source, Stated, or_error
from featstore.exchange.kinds.named import Named, pick
from featstore.layouts.listed import relative_path
from featstore.reader import FeatureStore
from featstore.table import COLUMNS, ClipTable, encode

NOTE = "featstore"
"""Name of the note: of an array, of a key of metadata, of a column."""

NPZ_ARRAYS = {*COLUMNS, "embedding"}
"""The arrays that identify an export as .npz."""

NOTE_FILE = f"{NOTE}.json"
MAX_NOTE_BYTES = 1 << 20

FORMAT = "featstore-export"
VERSION = 1
BLOCK_ROWS = 8192


def note_of(store: FeatureStore, name: str) -> str:
    """The note of an embedding; reads all its rows for their checksum."""
    fields = asdict(store.info(name))
    rows = rows_sha256(store.blocks(name, BLOCK_ROWS))
    return json.dumps({"format": FORMAT, "version": VERSION, "rows_sha256": rows, "info": fields}, sort_keys=True)


def rows_sha256(blocks: Iterable[tuple[ClipTable, np.ndarray]]) -> str:
    """Checksum (hex) over clips and float32 numbers of rows, which are the same in blocks of any size."""
    numbers, texts = hashlib.sha256(), hashlib.sha256()
    for clips, matrix in blocks:
        numbers.update(np.ascontiguousarray(matrix, dtype="<f4").data)
        columns = (clips.columns[name].tolist() for name in COLUMNS)
        cells = (text for row in zip(*columns, strict=True) for text in row)
        texts.update(b"".join(len(text).to_bytes(4, "little") + text for text in cells))
    return hashlib.sha256(numbers.digest() + texts.digest()).hexdigest()


def note_beside(folder: Path) -> str:
    """The note in a folder of Hugging Face, which is the file NOTE_FILE; "" where there is none."""
    path = folder / NOTE_FILE
    if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_NOTE_BYTES:
        return ""
    return path.read_text(encoding="utf-8", errors="replace")


def npz_content(source: Source, arrays: Mapping[str, Named]) -> Content:
    """Embeddings and clips of an export as .npz."""
    matrix = pick(source, arrays, source.key or "embedding")
    small = {name: array.read() for name, array in arrays.items() if name in (NOTE, "channel", "views") and array.kind}
    texts = {name: str(array) for name, array in small.items() if array.dtype.kind == "U" and array.ndim == 0}
    views = small.get("views", np.empty(0))
    named = tuple(views.tolist()) if views.dtype.kind == "U" and views.ndim == 1 else ()
    clips = or_error(lambda: clips_of_export(source.path, {name: _texts(source, arrays, name) for name in COLUMNS}))
    return export_content(source, matrix, clips, texts.get(NOTE, ""), (named, texts.get("channel", "")))


def _texts(source: Source, arrays: Mapping[str, Named], name: str) -> list[str]:
    array = arrays[name]
    if array.kind != "U" or len(array.shape) != 1:
        raise DataError(f"{source.path}: {name} is of type {array.kind!r} and shape {array.shape}, expected text")
    return list(map(str, array.read().tolist()))


def export_content(
    source: Source, matrix: np.ndarray, clips: ClipTable | DataError, note: str, older: tuple[Sequence[str], str]
) -> Content:
    """Content of an export whose arrays are read. older: views and channel as exports without a note state them."""
    if isinstance(clips, ClipTable) and len(clips) != len(matrix):
        clips = DataError(f"{source.path}: {len(matrix)} embeddings, but featstore columns of {len(clips)} rows")
    stated = _stated(note)
    views, channel = (stated.info.views, stated.info.channel) if stated else older
    fits = matrix.ndim == 3 and len(views) == matrix.shape[1]
    shaped = tuple(map(str, views)) if fits else ()
    if stated is None:
        notes = (f"{source.path}: its note on the embedding is damaged and not used",) if note else ()
        return Content(matrix, clips, shaped, _channel(channel), notes=notes)
    if (
        isinstance(clips, DataError)
        or matrix.shape[1:] != stated.info.shape
        or rows_sha256([(clips, matrix)]) != stated.rows_sha256
    ):
        edited = f"{source.path}: not the rows that {stated.info.name} was exported with; its fingerprint is not kept"
        return Content(matrix, clips, shaped, _channel(channel), notes=(edited,))
    kept = f"{source.path}: {stated.info.name} as it was exported; fingerprint {stated.info.fingerprint[:16]}"
    return Content(matrix.astype(stated.info.dtype), clips, stated=stated, notes=(kept,))


def shaped(matrix: np.ndarray, note: str) -> np.ndarray:
    """A matrix (n, d) in the shape that a note states; the matrix itself where they do not fit."""
    stated = _stated(note)
    fits = stated is not None and np.prod(stated.info.shape, dtype=object) == matrix.shape[1]
    return matrix.reshape(len(matrix), *stated.info.shape) if stated and fits else matrix


def _stated(note: str) -> Stated | None:
    """What a note states; None for a damaged one."""
    try:
        fields: dict[str, Any] = json.loads(note)
        if (fields["format"], fields["version"]) != (FORMAT, VERSION):
            return None
        info = dict(fields["info"])
        return Stated(parse_info(info.pop("name"), info), str(fields["rows_sha256"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _channel(text: str) -> str:
    """The channel that an export states; "" for a text of another program."""
    try:
        return mixes_of(text).text if text else ""
    except DataError:
        return ""


def clips_of_export(path: Path, columns: Mapping[str, Sequence[str]]) -> ClipTable:
    """Columns of texts, one of each of COLUMNS, as clips; DataError where a value is none that a store holds."""
    lengths = {name: len(columns[name]) for name in COLUMNS}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{path}: columns of different lengths: {lengths}")
    for name, choices in CHOICES.items():
        other = sorted(set(columns[name]) - set(choices))
        if other:
            raise DataError(f"{path}, column {name}: expected {', '.join(choices)}; got {other[0]!r:.80}")
    for text in set(columns["attributes"]):
        _check_attributes(path, text)
    for recording in {recording_of(text) for text in columns["path"]}:
        relative_path(f"{path}, column path", recording)
    return ClipTable({name: encode(columns[name]) for name in COLUMNS})


def _check_attributes(path: Path, text: str) -> None:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict) or not all(isinstance(value, str) for value in parsed.values()):
        raise DataError(f'{path}, column attributes: expected a JSON object like {{"vel": "6"}}, got {text!r:.80}')
