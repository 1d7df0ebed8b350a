"""One shard: an immutable HDF5 file with the embeddings of some clips and the list of rejected recordings.

The file image is built in memory and written as plain bytes, so HDF5 never writes to a full disk. A reader opens the
same bytes that it has checksummed. FORMAT.md describes the content.
"""

import io
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5s

from featstore.clip import MAX_TEXT_BYTES, key_of
from featstore.disk.guard import check_image, version_of
from featstore.errors import RequestError, StoreError
from featstore.table import COLUMNS, ClipTable, decode, encode

FORMAT = "featstore-shard"
VERSION = 2
"""Highest version that this program reads. A shard without any column of OPTIONAL is written as version 1."""

VERSIONS = tuple(map(str, range(1, VERSION + 1)))
MAX_SHARD_BYTES = 1 << 29
DTYPES = ("float32", "float16")

FACTS: Mapping[str, str] = {
    "size_bytes": "i8",
    "mtime_ns": "i8",
    "content_hash": "S",
    "sample_rate_hz": "i4",
    "n_samples": "i8",
    "channels": "i2",
    "outcome": "S",
    "level_dbfs": "f4",
    "peak": "f4",
    "clipped": "f4",
    "dc_offset": "f4",
    "dropouts": "f4",
    "dropout_s": "f4",
    "zero_run_s": "f4",
    "bandwidth_hz": "f4",
}
"""Facts about each recording in addition to its Clip: column -> type ("S" is fixed-width UTF-8)."""

OPTIONAL = frozenset(name for name, kind in FACTS.items() if kind == "f4")
"""Facts that a shard may lack: how its recordings were made, see `featstore.audio.measure`. NaN where unknown."""

REJECTED: Mapping[str, str] = {
    "path": "S",
    "variant": "S",
    "reason": "S",
    "size_bytes": "i8",
    "mtime_ns": "i8",
    "content_hash": "S",
}

_TEXT_ATTRIBUTES = ("format", "embedder", "config", "fingerprint", "views", "channel", "length", "libraries", "created")
_ATTRIBUTES = frozenset([*_TEXT_ATTRIBUTES, "version", "sample_rate_hz"])
_GROUPS = {"": {"embedding"}, "clip": {*COLUMNS, *FACTS} - OPTIONAL, "rejected": set(REJECTED)}


@dataclass(frozen=True)
class EmbeddingInfo:
    """Description of an embedding, equal for all its rows.

    shape: of one row, (d,) or (views, d). fingerprint: identifies config and weights; rows with different fingerprints
    never share a name. channel, length: the AudioPolicy used for reading.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    fingerprint: str
    config: Mapping[str, object] = field(default_factory=dict)
    views: tuple[str, ...] = ()
    sample_rate_hz: int = 0
    channel: str = ""
    length: str = ""


@dataclass(frozen=True)
class Rejection:
    """A recording that could not be embedded, with the reason; from its facts a later build sees whether it changed."""

    path: str
    reason: str
    size_bytes: int
    mtime_ns: int
    content_hash: str = ""
    variant: str = ""

    @property
    def key(self) -> str:
        """Key of the rejected clip."""
        return key_of(self.path, self.variant)


@dataclass(frozen=True)
class ShardData:
    """Content of one shard: `matrix` (n, *info.shape), `facts` with columns of FACTS (missing: 0, empty or NaN)."""

    info: EmbeddingInfo
    clips: ClipTable
    matrix: np.ndarray
    facts: Mapping[str, np.ndarray] = field(default_factory=dict)
    rejected: Sequence[Rejection] = ()

    def keys(self) -> list[str]:
        """Keys of the rows, then of the rejected recordings."""
        return self.clips.keys() + [rejection.key for rejection in self.rejected]


def build_image(data: ShardData, *, created: str = "") -> bytes:
    """The bytes of the HDF5 file that holds `data`; with `created`, equal data give equal bytes.

    Raises RequestError with the key of a row that is not finite, StoreError when the data do not match `data.info`.
    """
    columns = {"clip": _clip_columns(data), "rejected": _rejected_columns(data.rejected)}
    total = data.matrix.size * np.dtype(data.info.dtype).itemsize
    total += sum(column.nbytes for group in columns.values() for column in group.values())
    if total > MAX_SHARD_BYTES - (1 << 20):
        raise StoreError(f"a shard of {total} bytes is too large (limit {MAX_SHARD_BYTES}); commit fewer rows at once")
    matrix = _checked_matrix(data)
    # The core driver keeps the file in memory, so no HDF5 call can fail on a full disk. Its name is not stored; two
    # threads need different ones.
    with h5py.File(secrets.token_hex(8), "w", driver="core", backing_store=False, block_size=1 << 22) as file:
        version = VERSION if OPTIONAL & columns["clip"].keys() else 1
        for name, value in _attributes(data.info, created, version).items():
            file.attrs.create(name, value)
        file.create_dataset("embedding", data=matrix)
        for group, arrays in columns.items():
            for name, array in arrays.items():
                file.create_dataset(f"{group}/{name}", data=array)
        file.flush()
        return bytes(file.id.get_file_image())


def _attributes(info: EmbeddingInfo, created: str, version: int) -> dict[str, Any]:
    libraries = {"h5py": h5py.__version__, "hdf5": h5py.version.hdf5_version, "numpy": np.__version__}
    try:
        config = _json(dict(info.config))
    except (TypeError, ValueError) as error:
        raise StoreError(f"the config of {info.name!r} cannot be written as JSON: {error}") from error
    texts = {
        "format": FORMAT,
        "embedder": info.name,
        "config": config,
        "fingerprint": info.fingerprint,
        "views": _json(list(info.views)),
        "channel": info.channel,
        "length": info.length,
        "libraries": _json(libraries),
        "created": created or datetime.now(UTC).isoformat(timespec="seconds"),
    }
    encoded: dict[str, Any] = {name: encode([text])[0] for name, text in texts.items()}
    for name, value in encoded.items():
        if len(value) > MAX_TEXT_BYTES - 1024:  # HDF5 keeps an attribute in one 64 KiB message
            raise StoreError(f"{name} of {info.name!r} has {len(value)} bytes, the limit is {MAX_TEXT_BYTES - 1024}")
        encoded[name] = np.array(value, dtype=f"S{max(len(value), 1)}")
    return encoded | {"version": np.int64(version), "sample_rate_hz": np.int64(info.sample_rate_hz)}


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)


def _checked_matrix(data: ShardData) -> np.ndarray:
    info, n = data.info, len(data.clips)
    if data.matrix.shape != (n, *info.shape):
        raise StoreError(f"{info.name!r}: the matrix has shape {data.matrix.shape}, expected {(n, *info.shape)}")
    with np.errstate(over="ignore"):  # an overflow to float16 is reported below, with the key
        matrix = np.ascontiguousarray(data.matrix, dtype=info.dtype)
    finite = finite_rows(matrix)
    if not finite.all():
        row = int(np.argmin(finite))
        raise RequestError(
            f"{info.name!r}: the embedding of {data.clips[row].key!r} is not finite as {info.dtype}; "
            "reject this recording, or store float32"
        )
    return matrix


def finite_rows(matrix: np.ndarray) -> np.ndarray:
    """Boolean mask of the rows (first axis) without NaN and infinity."""
    mask: np.ndarray = np.isfinite(matrix).all(axis=tuple(range(1, matrix.ndim)))
    return mask


def _clip_columns(data: ShardData) -> dict[str, np.ndarray]:
    n = len(data.clips)
    unknown = set(data.facts) - set(FACTS)
    if unknown:
        raise StoreError(f"unknown fact {min(unknown)!r}; choose from {', '.join(FACTS)}")
    columns = {name: data.clips.columns[name] for name in COLUMNS}
    for name, kind in FACTS.items():
        if name in OPTIONAL and np.isnan(data.facts.get(name, np.nan)).all():
            continue  # unknown for all rows
        values = data.facts.get(name, np.zeros(n, dtype=kind))
        if values.dtype.kind == "U":
            values = encode(values.tolist())
        columns[name] = values.astype(kind) if kind != "S" else values
    return {name: _checked_column(name, column, n) for name, column in columns.items()}


def _rejected_columns(rejected: Sequence[Rejection]) -> dict[str, np.ndarray]:
    columns = {}
    for name, kind in REJECTED.items():
        values = [getattr(rejection, name) for rejection in rejected]
        columns[name] = encode(values) if kind == "S" else np.array(values, dtype=kind)
    return {name: _checked_column(name, column, len(rejected)) for name, column in columns.items()}


def _checked_column(name: str, column: np.ndarray, n: int) -> np.ndarray:
    if column.shape != (n,):
        raise StoreError(f"column {name!r} has shape {column.shape}, expected {(n,)}")
    if column.dtype.itemsize > MAX_TEXT_BYTES:
        raise StoreError(f"column {name!r} has a text of {column.dtype.itemsize} bytes, the limit is {MAX_TEXT_BYTES}")
    return column.astype("S1") if column.dtype.itemsize == 0 else column


class Shard:
    """An opened and checked shard; each method reads its values from the file image."""

    def __init__(
        self, datasets: Mapping[str, h5d.DatasetID], attributes: Mapping[str, bytes | int], label: str
    ) -> None:
        self._datasets = datasets
        self._label = label
        self.n_rows, self.n_rejected = (int(datasets[name].shape[0]) for name in ("embedding", "rejected/path"))
        self.info = _info(datasets["embedding"], attributes)

    def clips(self) -> ClipTable:
        """The clip of every row."""
        return ClipTable({name: self._read(f"clip/{name}") for name in COLUMNS})

    def facts(self) -> dict[str, np.ndarray]:
        """The columns of FACTS; NaN for those that the shard lacks."""
        lacking = {name: np.full(self.n_rows, np.nan, FACTS[name]) for name in OPTIONAL}
        return {
            name: self._read(f"clip/{name}") if f"clip/{name}" in self._datasets else lacking[name] for name in FACTS
        }

    def content_hashes(self) -> np.ndarray:
        """The column content_hash only."""
        return self._read("clip/content_hash")

    def rejected(self) -> list[Rejection]:
        """The rejected recordings, in order."""
        columns = {name: self._read(f"rejected/{name}") for name in REJECTED}
        values = [decode(columns[name]) if kind == "S" else columns[name].tolist() for name, kind in REJECTED.items()]
        return [Rejection(**dict(zip(REJECTED, row, strict=True))) for row in zip(*values, strict=True)]

    def matrix(self) -> np.ndarray:
        """All rows as stored, (n, *shape)."""
        return self._read("embedding")

    def fill(self, out: np.ndarray) -> None:
        """Read all rows into `out`, contiguous float32 (n, *shape); rows stored as float32 are not copied twice."""
        if self.info.dtype == "float32":
            self._read_into("embedding", out)
        else:
            out[...] = self.matrix()

    def _read(self, name: str) -> np.ndarray:
        dataset = self._datasets[name]
        values = np.empty(dataset.shape, dtype=dataset.dtype)
        self._read_into(name, values)
        return values

    def _read_into(self, name: str, out: np.ndarray) -> None:
        with _as_store_error(self._label):
            if out.size:
                self._datasets[name].read(h5s.ALL, h5s.ALL, out)


class NewerShard(StoreError):
    """Raised for a shard of a newer program: it is not damaged, and this program cannot read it."""


@contextmanager
def open_image(image: bytes, label: str) -> Iterator[Shard]:
    """The shard in `image`; StoreError with `label` unless it follows FORMAT.md exactly."""
    with _as_store_error(label):
        # A memory file over the same bytes opens 200 times faster than a copied HDF5 file image.
        file = h5py.File(io.BytesIO(image), "r")
    with file:
        with _as_store_error(label):
            version = version_of(file.id)
            if version > VERSION:
                raise NewerShard(
                    f"{label} was written by a newer program: it is a shard of version {version}, this program reads "
                    f"up to version {VERSION}; use a newer program"
                )
            datasets, attributes = check_image(file.id, len(image), _GROUPS, _ATTRIBUTES, {"clip": OPTIONAL})
            _check_shapes(datasets)
            shard = Shard(datasets, attributes, label)
        yield shard


@contextmanager
def _as_store_error(label: str) -> Iterator[None]:
    # HDF5 reports damage as OSError, RuntimeError, KeyError, ValueError or TypeError, depending on the layer.
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        raise StoreError(f"{label} is not a valid shard: {error}") from error


def _check_shapes(datasets: Mapping[str, h5d.DatasetID]) -> None:
    kinds = {f"clip/{name}": kind for name, kind in {**dict.fromkeys(COLUMNS, "S"), **FACTS}.items()}
    kinds |= {f"rejected/{name}": kind for name, kind in REJECTED.items()}
    rows = {"clip": datasets["embedding"].shape[0], "rejected": datasets["rejected/path"].shape[0]}
    for name, kind in kinds.items():
        if name not in datasets:
            continue  # an optional fact
        dtype, shape, expected = datasets[name].dtype, datasets[name].shape, (rows[name.partition("/")[0]],)
        if shape != expected or not (dtype.kind == "S" if kind == "S" else dtype == kind):
            raise ValueError(f"{name} is {dtype} of shape {shape}, expected {kind} of shape {expected}")
    if datasets["embedding"].dtype.name not in DTYPES:
        raise ValueError(f"/embedding is {datasets['embedding'].dtype}, expected one of {', '.join(DTYPES)}")


def _info(embedding: h5d.DatasetID, attributes: Mapping[str, bytes | int]) -> EmbeddingInfo:
    texts = {
        name: value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
        for name, value in attributes.items()
    }
    if texts["format"] != FORMAT or texts["version"] not in VERSIONS:
        raise ValueError(
            f"it is {texts['format']!r} version {texts['version']}; this program reads {FORMAT!r} version "
            f"{' and '.join(VERSIONS)}"
        )
    return EmbeddingInfo(
        name=texts["embedder"],
        shape=tuple(int(extent) for extent in embedding.shape[1:]),
        dtype=embedding.dtype.name,
        fingerprint=texts["fingerprint"],
        config=json.loads(texts["config"]),
        views=tuple(json.loads(texts["views"])),
        sample_rate_hz=int(texts["sample_rate_hz"]),
        channel=texts["channel"],
        length=texts["length"],
    )
