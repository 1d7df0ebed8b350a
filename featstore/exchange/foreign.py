"""Embeddings of other programs: .npy and .npz arrays, exports of this program, and extract files of ASDKit.

Pickled objects are refused, and an array that states more bytes than its file has. Other kinds of files are not read:
the message says how to save an array of them.
"""

import json
import math
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from featstore.audio.near_far.mixes import mixes_of
from featstore.clip import SPLITS, Clip, Split
from featstore.errors import DataError, reason_of
from featstore.layouts.dcase_names import parse_section_name
from featstore.layouts.listed import check_texts
from featstore.layouts.manifest import read_manifest
from featstore.layouts.tree import Tree
from featstore.table import COLUMNS, ClipTable, encode

Arrays = Mapping[str, np.ndarray]

MAX_PARQUET_BYTES = 1 << 36
"""Numbers of a Parquet file are compressed, so their size does not follow from that of the file."""

PICKLE = "a pickle, which can run code and is never loaded here"
OTHERS = {
    ".csv": "a table of text; np.loadtxt reads its numbers",
    ".h5": "an HDF5 file of any structure; h5py reads its data sets",
    ".hdf5": "an HDF5 file of any structure; h5py reads its data sets",
    ".pt": f"{PICKLE}; torch.load(..., weights_only=True) reads its tensors",
    ".pth": f"{PICKLE}; torch.load(..., weights_only=True) reads its tensors",
    ".pkl": f"{PICKLE}; the program that wrote it can save an array",
    ".safetensors": "a file of named tensors; safetensors.numpy.load_file reads them",
    ".mat": "a MATLAB file; scipy.io.loadmat reads it",
}
"""Kinds of files that hold embeddings and are not read: what each is, and what reads it."""


class Described(NamedTuple):
    """Embeddings (n, d) or (n, views, d), the clip of each row, and names of views and channel where the file has them.

    channel: as of `AudioPolicy`; "" where the file states none.
    """

    matrix: np.ndarray
    clips: ClipTable
    views: tuple[str, ...] = ()
    channel: str = ""


def read_clips(manifest: Path) -> ClipTable:
    """Rows of a CSV or Parquet manifest as clips; its columns are those of the manifest layout."""
    clips = read_manifest(Tree(manifest.parent, listed_in=manifest)).clips
    check_texts(clips)
    return ClipTable.from_clips(clips)


def read_array(path: Path, key: str | None = None) -> np.ndarray:
    """The embeddings (n, d) or (n, views, d) in a .npy file, or in an .npz file under `key`.

    `key` may be omitted where the .npz has one array only. A .npy file is memory-mapped.
    """
    if path.suffix == ".npy":
        try:
            return checked_matrix(np.lib.format.open_memmap(path, mode="r"), str(path))
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{path}: {_reason(error)}") from error
    refuse_other_kinds(path)
    arrays = read_npz(path)
    if key is None and len(arrays) != 1:
        raise DataError(f"{path}: arrays {', '.join(arrays) or '(none)'}; name the one with the embeddings (--key)")
    return _pick(arrays, key or next(iter(arrays)), path)


def refuse_other_kinds(path: Path) -> None:
    """Raise DataError for a file that is neither .npy nor .npz, with what to do."""
    kind = OTHERS.get(path.suffix.lower())
    if kind or path.suffix not in (".npz", ".parquet"):
        raise DataError(
            f"{path}: expected .npy, .npz or an export of this program, this is {kind or 'another file'}; save the "
            "embeddings with np.save(path, array), one row per clip, and import that with --manifest"
        )


def read_described(path: Path, key: str | None = None) -> Described:
    """Embeddings and clips of a file that describes its own rows: a featstore export, or an ASDKit extract (.npz)."""
    if path.suffix != ".npy":
        refuse_other_kinds(path)
    if path.suffix == ".parquet":
        return _read_parquet(path)
    if path.suffix != ".npz":
        raise DataError(
            f"{path}: no description of its rows; give --manifest with a CSV or Parquet file of one line per row "
            "(column path, optionally machine, section, split, domain, label), or give an .npz export"
        )
    arrays = read_npz(path)
    for kind, (needed, clips_of, default) in _DESCRIBED.items():
        if needed <= set(arrays):
            matrix = _pick(arrays, key or default, path)
            lengths = {name: len(arrays[name]) for name in needed}
            if set(lengths.values()) != {len(matrix)}:
                raise DataError(f"{path}: {len(matrix)} embeddings, but {kind} columns of other lengths: {lengths}")
            stated = arrays.get("channel", np.empty(0))
            channel = str(stated) if stated.dtype.kind == "U" and stated.ndim == 0 else ""
            return Described(matrix, clips_of(arrays, path), _views(arrays, matrix), _channel(channel))
    raise DataError(
        f"{path}: no description of its rows (arrays: {', '.join(arrays) or 'none'}); "
        "give a manifest with one row per row of the array (--manifest)"
    )


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Every array of an .npz file by name; DataError for pickled arrays and for impossible sizes."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {
                member.filename.removesuffix(".npy"): _read_member(archive, member) for member in archive.infolist()
            }
    except zipfile.BadZipFile as error:
        raise DataError(f"{path}: no .npz file, or a damaged one; write one with numpy.savez ({error})") from error
    except (OSError, ValueError, EOFError, NotImplementedError) as error:
        raise DataError(f"{path}: {_reason(error)}") from error


def checked_matrix(matrix: np.ndarray, where: str) -> np.ndarray:
    """`matrix` itself; DataError unless it holds numbers (n, d) or (n, views, d)."""
    if matrix.dtype.kind not in "fiu" or matrix.ndim not in (2, 3) or 0 in matrix.shape:
        got = f"{matrix.dtype} of shape {matrix.shape}"
        raise DataError(f"{where}: expected numbers of shape (n, d) or (n, views, d), got {got}")
    return matrix


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
        n_bytes = member.file_size - file.tell()
    stated = math.prod(shape) * dtype.itemsize
    if stated != n_bytes and not dtype.hasobject:
        raise ValueError(f"{member.filename} states {stated} bytes and has {n_bytes}")
    with archive.open(member) as file:
        array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
        return array


def _reason(error: Exception) -> str:
    """What is wrong with an array file, and for pickled objects what to do."""
    if "Object arrays" in str(error) or "Python objects" in str(error):
        return (
            "pickled Python objects, which can run code, are never loaded; save plain arrays instead: "
            "np.savez(path, embed=np.asarray(embed, dtype='float32'), path=np.asarray(path, dtype=str))"
        )
    return reason_of(error)


def _pick(arrays: Arrays, key: str, path: Path) -> np.ndarray:
    if key not in arrays:
        raise DataError(f"{path}: no array {key!r}; choose from {', '.join(arrays)}")
    return checked_matrix(arrays[key], f"{path}: {key}")


def _views(arrays: Arrays, matrix: np.ndarray) -> tuple[str, ...]:
    """The names of views in an export; none where they do not fit the rows."""
    names = arrays.get("views", np.empty(0))
    fits = names.dtype.kind == "U" and names.ndim == 1 and matrix.ndim == 3 and len(names) == matrix.shape[1]
    return tuple(names.tolist()) if fits else ()


def _channel(text: str) -> str:
    """The channel that an export states; "" for a text of another program."""
    try:
        return mixes_of(text).text if text else ""
    except DataError:
        return ""


def _read_parquet(path: Path) -> Described:
    """An export of this program; DataError for any other Parquet file."""
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise DataError(f"{path}: Parquet needs pyarrow; install featstore[parquet], or give an .npz export") from error
    try:
        file = ParquetFile(path)
        shape, views, width = _exported(file)
        if file.metadata.num_rows * width * 4 > MAX_PARQUET_BYTES:
            raise ValueError(f"more than {MAX_PARQUET_BYTES:,} bytes of embeddings")
        table = file.read(columns=[*COLUMNS, "embedding"])
        numbers = table["embedding"].combine_chunks().flatten().to_numpy()
        matrix = checked_matrix(numbers.reshape(-1, *shape), str(path))
        clips = ClipTable({name: encode(table[name].to_pylist()) for name in COLUMNS})
        channel = _channel((file.schema_arrow.metadata or {}).get(b"channel", b"").decode("utf-8", "replace"))
    except (OSError, pyarrow.ArrowException, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: not an export of this program ({reason_of(error)}); a table of clips is given as --manifest, "
            "beside an .npy or .npz with the embeddings"
        ) from error
    return Described(matrix, clips, views, channel)


def _exported(file: Any) -> tuple[tuple[int, ...], tuple[str, ...], int]:
    """Shape and views of the rows of an export, and how many numbers a row has; ValueError for other files."""
    import pyarrow

    schema = file.schema_arrow
    stated = schema.metadata or {}
    if not {*COLUMNS, "embedding"} <= set(schema.names) or b"shape" not in stated:
        raise ValueError("it lacks the columns or the shape of one")
    shape, views = (json.loads(stated.get(name, b"[]")) for name in (b"shape", b"views"))
    kind = schema.field("embedding").type
    counts = isinstance(shape, list) and all(type(n) is int and 0 < n < 1 << 31 for n in shape)
    if not counts or not pyarrow.types.is_fixed_size_list(kind) or kind.list_size != math.prod(shape):
        raise ValueError(f"its embedding is {kind}, its shape {shape!r:.80}")
    fits = isinstance(views, list) and all(isinstance(name, str) for name in views) and len(shape) == 2
    return tuple(shape), tuple(views) if fits and len(views) == shape[0] else (), kind.list_size


def _own_clips(arrays: Arrays, path: Path) -> ClipTable:
    return ClipTable({name: encode(_texts(arrays, name, path)) for name in COLUMNS})


def _asdkit_clips(arrays: Arrays, path: Path) -> ClipTable:
    """Clips of an ASDKit extract: paths end in machine/split/name.wav, section and flags are integers."""
    section, is_normal, is_target = (_integers(arrays, name, path) for name in ("section", "is_normal", "is_target"))
    clips = []
    for row, text in enumerate(_texts(arrays, "path", path)):
        parts = text.replace("\\", "/").split("/")[-3:]
        if len(parts) < 3 or parts[1] not in SPLITS:
            raise DataError(f"{path}: expected a path that ends in machine/split/name in row {row}, got {text!r}")
        name = parse_section_name(parts[2].rpartition(".")[0])
        clips.append(
            Clip(
                path="/".join(parts),
                machine=parts[0],
                section=f"{section[row]:02d}",
                split=cast(Split, parts[1]),
                domain="target" if is_target[row] else "source",
                label="normal" if is_normal[row] else "anomaly",
                attributes=name.attributes if name else {},
            )
        )
    return ClipTable.from_clips(clips)


def _texts(arrays: Arrays, name: str, path: Path) -> list[str]:
    values = arrays[name].reshape(-1)
    if values.dtype.kind != "U":
        raise DataError(f"{path}: {name} is {values.dtype}, expected text")
    return [str(value) for value in values.tolist()]


def _integers(arrays: Arrays, name: str, path: Path) -> list[int]:
    values = arrays[name].reshape(-1)
    if values.dtype.kind not in "iub":
        raise DataError(f"{path}: {name} is {values.dtype}, expected integers")
    return [int(value) for value in values.tolist()]


_DESCRIBED: Mapping[str, tuple[set[str], Callable[[Arrays, Path], ClipTable], str]] = {
    "featstore": ({*COLUMNS}, _own_clips, "embedding"),
    "ASDKit": ({"path", "section", "is_normal", "is_target"}, _asdkit_clips, "embed"),
}
"""Kind of self-describing .npz -> the arrays that identify it, the function for its clips, its usual embedding."""
