"""Exports embeddings of a store (npz, Parquet, CSV, Hugging Face) and imports embeddings of other programs."""

import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from featstore.disk.files import explained, replacing
from featstore.disk.parts import parts
from featstore.disk.shard import EmbeddingInfo, ShardData
from featstore.errors import DataError, RequestError
from featstore.exchange.arrow import TIMES, schema_of, tables
from featstore.exchange.dataset import write_dataset
from featstore.exchange.described import check_rows, read_clips, with_description
from featstore.exchange.kinds.content import Content, Source, checked_matrix
from featstore.exchange.kinds.own import NOTE, note_of, rows_sha256
from featstore.exchange.kinds.table import files_in, read_content
from featstore.reader import FeatureStore
from featstore.store import StoreWriter
from featstore.table import COLUMNS, ClipTable

BLOCK_ROWS = 8192


def export(store: FeatureStore, embedding: str, out: str | Path, to: str = "npz") -> int:
    """Write one embedding with the columns of its clips to `out` and return the number of rows.

    `to` is npz (arrays `embedding`, `views`, `channel` and one per column, no pickle), parquet (`embedding` as a list
    of fixed size; its shape, channel and the names of views in the metadata), csv (columns e0, e1, ...; float32
    digits that read back exactly) or hf (a new folder, see `exchange.dataset`). The columns are those of a clip, and
    start_s and end_s of its window (NaN or empty for a whole recording). Each file holds the note that `import_files`
    reads the embedding back with (`kinds.own`).
    After an error `out` is unchanged. Rows are streamed in blocks.
    """
    if to not in FORMATS:
        raise DataError(f"unknown export format {to!r}; choose from {', '.join(FORMATS)}")
    rows = store.rows(embedding)
    path, needed = Path(out), rows * int(np.prod(store.info(embedding).shape)) * 4
    if to == HF:
        with explained(str(path), 2 * needed, path.parent):
            write_dataset(store, embedding, path)
        return rows
    with explained(str(path), needed, path.parent), replacing(path) as part, part.open("xb") as file:
        _WRITERS[to](store, embedding, file)
    return rows


def import_files(
    store: str | Path,
    arrays: Sequence[Path],
    name: str,
    *,
    manifest: Path | None = None,
    key: str | None = None,
    root: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> int:
    """Store the embeddings of `arrays`, files or folders, as `name` and return the number of rows.

    Kinds of files: `featstore.exchange.kinds.table`. Without `manifest` (CSV or Parquet) they describe their own rows.
    With it, a file without paths has one row per row of the manifest; one with paths takes the description of its
    recordings from there. key: see `Source`. root: folder that paths are relative to, by default that of the file. say:
    gets a line about every choice that was made. DataError says what does not fit.
    """
    pairs = files_in(tuple(arrays))
    contents = {file: read_content(Source(file, key, root or folder, folder)) for file, folder in pairs}
    for line in (line for content in contents.values() for line in content.notes):
        say(line)
    _check_alike(contents)
    clips, matrices = _clips(contents, manifest), [content.matrix for content in contents.values()]
    matrix = matrices[0] if len(matrices) == 1 else np.concatenate(matrices)
    first = next(iter(contents.values()))
    if first.stated:
        return _store(store, replace(first.stated.info, name=name), clips, matrix)
    info = _new_info(name, matrix, clips, views=first.views, channel=first.channel)
    return _store(store, info, clips, matrix)


def _clips(contents: Mapping[Path, Content], manifest: Path | None) -> ClipTable:
    """The clip of every row of all files."""
    if manifest is None:
        return ClipTable.concatenate([_own_clips(content) for content in contents.values()])
    described = read_clips(manifest)
    if any(isinstance(content.clips, ClipTable) for content in contents.values()):
        tables = ClipTable.concatenate([_own_clips(content) for content in contents.values()])
        return with_description(tables, described, f"{', '.join(map(str, contents))}, described in {manifest}")
    if len(contents) > 1:
        raise DataError(f"{manifest} describes one array, got {len(contents)}; import each under its own name")
    file, content = next(iter(contents.items()))
    if len(described) != len(content.matrix):
        raise DataError(
            f"{file}: {len(content.matrix)} rows of embeddings for {len(described)} clips of {manifest}; each row "
            "needs its clip"
        )
    return described


def _own_clips(content: Content) -> ClipTable:
    if isinstance(content.clips, DataError):
        raise content.clips
    return content.clips


def _check_alike(contents: Mapping[Path, Content]) -> None:
    """DataError where the files are not of one embedding."""
    kinds = {str(file): (content.matrix.shape[1:], *_stated(content)) for file, content in contents.items()}
    if len(set(kinds.values())) > 1:
        raise DataError(
            f"embeddings of different shapes, views, channels or embedders: {kinds}; import them under different names"
        )


def _stated(content: Content) -> tuple[Any, ...]:
    """What the files of one embedding have in common."""
    return (content.views, content.channel, content.stated.info.fingerprint if content.stated else "")


def import_matrix(
    store: str | Path | StoreWriter,
    name: str,
    matrix: np.ndarray,
    clips: ClipTable,
    config: Mapping[str, object] | None = None,
    *,
    views: tuple[str, ...] = (),
    channel: str = "",
) -> int:
    """Store `matrix` (n, d) or (n, views, d), one row per clip, as embedding `name`; returns the number of rows.

    channel: what the embedder heard, as of `AudioPolicy`; "" where it is unknown. Of several (`0,1,0-1`), the views are
    named MIX/VIEW.

    float16 stays float16; every other type becomes float32. The same import again adds what a repair has removed, or
    changes nothing; RequestError for other rows under an existing name. All rows are published in one manifest.
    """
    matrix = checked_matrix(matrix, name)
    if len(matrix) != len(clips):
        raise DataError(f"{name}: {len(matrix)} rows of embeddings for {len(clips)} clips; each row needs its clip")
    return _store(store, _new_info(name, matrix, clips, config, views=views, channel=channel), clips, matrix)


def _new_info(
    name: str,
    matrix: np.ndarray,
    clips: ClipTable,
    config: Mapping[str, object] | None = None,
    *,
    views: tuple[str, ...] = (),
    channel: str = "",
) -> EmbeddingInfo:
    """The description of an embedding of an unknown embedder: its rows identify it."""
    return EmbeddingInfo(
        views=views,
        name=name,
        shape=matrix.shape[1:],
        dtype="float16" if matrix.dtype == np.float16 else "float32",
        fingerprint=_fingerprint(name, matrix, clips),
        config={"imported": True, **(config or {})},
        channel=channel,
    )


def _store(store: str | Path | StoreWriter, info: EmbeddingInfo, clips: ClipTable, matrix: np.ndarray) -> int:
    check_rows(info.name, clips, matrix)
    if isinstance(store, StoreWriter):
        return _import(store, info, clips, matrix)
    with StoreWriter(store) as writer:
        return _import(writer, info, clips, matrix)


def _import(writer: StoreWriter, info: EmbeddingInfo, clips: ClipTable, matrix: np.ndarray) -> int:
    name = info.name
    held = writer.store.embeddings.get(name)
    if held is not None and held.fingerprint != info.fingerprint:
        if writer.store.rows(name) or writer.store.rejected(name):
            raise RequestError(
                f"{writer.path} already has other rows as {name!r}; import under another name (--as NAME), "
                "or remove those rows with featstore drop"
            )
        writer.drop(name)  # a repair has removed all rows
    elif held is not None and _holds(writer.store, name, clips, matrix):
        return len(matrix)
    writer.commit(parts(ShardData(info, clips, matrix)))
    return len(matrix)


def _holds(store: FeatureStore, name: str, clips: ClipTable, matrix: np.ndarray) -> bool:
    """Whether an embedding has exactly these rows: an embedder that is known may have made others."""
    if store.rows(name) != len(matrix):
        return False
    return rows_sha256(store.blocks(name, BLOCK_ROWS)) == rows_sha256([(clips, matrix)])


def _fingerprint(name: str, matrix: np.ndarray, clips: ClipTable) -> str:
    digest = hashlib.sha256(f"{name}\0{matrix.dtype.str}\0{matrix.shape}".encode())
    for start in range(0, len(matrix), BLOCK_ROWS):
        digest.update(np.ascontiguousarray(matrix[start : start + BLOCK_ROWS]).data)
    for column in COLUMNS:
        for text in clips.columns[column].tolist():
            digest.update(len(text).to_bytes(4, "little") + text)
    return digest.hexdigest()


def _write_npz(store: FeatureStore, name: str, file: IO[bytes]) -> None:
    info = store.info(name)
    header = {"descr": "<f4", "fortran_order": False, "shape": (store.rows(name), *info.shape)}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        with archive.open("embedding.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array_header_1_0(member, header)
            for _, block in store.blocks(name, BLOCK_ROWS):
                member.write(block.astype("<f4", copy=False).data)
        clips = store.clips(name)
        with archive.open("views.npy", "w") as member:
            np.lib.format.write_array(member, np.array(info.views, dtype=str), allow_pickle=False)
        with archive.open("channel.npy", "w") as member:
            np.lib.format.write_array(member, np.array(info.channel, dtype=str), allow_pickle=False)
        with archive.open(f"{NOTE}.npy", "w") as member:
            np.lib.format.write_array(member, np.array(note_of(store, name)), allow_pickle=False)
        for column in COLUMNS:
            with archive.open(f"{column}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, clips.column(column), allow_pickle=False)
        for column, times in zip(TIMES, clips.windows().T, strict=True):
            with archive.open(f"{column}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, times, allow_pickle=False)


def _write_parquet(store: FeatureStore, name: str, file: IO[bytes]) -> None:
    try:
        from pyarrow.parquet import ParquetWriter
    except ImportError as error:
        raise DataError("Parquet needs pyarrow; install featstore[parquet], or export npz or csv") from error
    info = store.info(name)
    metadata = {
        "embedding": name,
        "shape": json.dumps(list(info.shape)),
        "views": json.dumps(list(info.views)),
        "channel": info.channel,
        "fingerprint": info.fingerprint,
        NOTE: note_of(store, name),
    }
    schema = schema_of((int(np.prod(info.shape)),), metadata)
    with ParquetWriter(file, schema) as writer:
        for table in tables(store, name, schema, BLOCK_ROWS):
            writer.write_table(table)


def _write_csv(store: FeatureStore, name: str, file: IO[bytes]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
    writer = csv.writer(text)
    writer.writerow([*COLUMNS, *TIMES, NOTE, *(f"e{i}" for i in range(int(np.prod(store.info(name).shape))))])
    note = note_of(store, name)
    for clips, block in store.blocks(name, BLOCK_ROWS):
        columns: list[Any] = [clips.column(column).tolist() for column in COLUMNS]
        columns += [["" if np.isnan(time) else f"{time:.15g}" for time in times] for times in clips.windows().T]
        columns += [[note, *[""] * (len(block) - 1)]]
        note = ""  # stands in the first row
        digits = block.reshape(len(block), -1).astype("U32").tolist()  # the fewest digits that read back exactly
        writer.writerows([*row, *numbers] for *row, numbers in zip(*columns, digits, strict=True))
    text.flush()
    text.detach()


_WRITERS: Mapping[str, Callable[[FeatureStore, str, IO[bytes]], None]] = {
    "npz": _write_npz,
    "parquet": _write_parquet,
    "csv": _write_csv,
}
HF = "hf"
FORMATS = (*_WRITERS, HF)
"""Formats of an export: files of one of the first three, or a folder."""
