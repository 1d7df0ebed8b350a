"""The manifest: a numbered, checksummed list of live shards and rows. The highest valid one defines the store."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from featstore.disk.files import read_regular
from featstore.disk.sealed import count, matching, typed, unseal
from featstore.disk.shard import DTYPES, MAX_SHARD_BYTES, EmbeddingInfo
from featstore.errors import StoreError

FORMAT = "featstore-manifest"
VERSION = 1
MAX_MANIFEST_BYTES = 1 << 26
MAX_NUMBER = 10**18 - 1
"""Highest number of a manifest."""

SHARD_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,120}\.h5")
EMBEDDING_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@=,:~-]{0,99}")
_MANIFEST_NAME = re.compile(r"([0-9]{8}|[1-9][0-9]{8,17})\.json")
SHA256 = re.compile(r"[0-9a-f]{64}")
_FIELDS = {"format", "version", "number", "created", "parent", "shards", "embeddings", "checksum"}


@dataclass(frozen=True)
class ShardEntry:
    """One shard file: its numbers of rows and rejections, and the indexes of the superseded ones.

    dropped: superseded rows. cleared: superseded rejections.
    """

    file: str
    embedding: str
    rows: int
    rejected: int
    bytes: int
    sha256: str
    dropped: tuple[int, ...] = ()
    cleared: tuple[int, ...] = ()

    @property
    def live_rows(self) -> int:
        """Number of live rows."""
        return self.rows - len(self.dropped)

    @property
    def live_rejected(self) -> int:
        """Number of live rejections."""
        return self.rejected - len(self.cleared)

    def without(self, rows: set[int], rejections: set[int]) -> "ShardEntry":
        """The same file with more superseded rows and rejections."""
        dropped, cleared = rows.union(self.dropped), rejections.union(self.cleared)
        return replace(self, dropped=tuple(sorted(dropped)), cleared=tuple(sorted(cleared)))


@dataclass(frozen=True)
class Manifest:
    """One state of the store; number 0 is a store without any commit."""

    number: int = 0
    created: str = ""
    parent: str = ""
    checksum: str = ""
    shards: tuple[ShardEntry, ...] = ()
    embeddings: Mapping[str, EmbeddingInfo] = field(default_factory=dict)


def live_mask(total: int, superseded: tuple[int, ...]) -> np.ndarray:
    """Boolean mask of length `total`, False at the indexes `superseded`."""
    mask = np.ones(total, dtype=bool)
    mask[list(superseded)] = False
    return mask


def name_of(number: int) -> str:
    """File name of the manifest with a number: eight digits, or more where it needs them."""
    return f"{number:08d}.json"


def numbered(root: Path) -> dict[int, Path]:
    """Manifest files by number, highest first; empty when there is no manifest directory."""
    directory = root / "manifest"
    files = {}
    try:
        for path in directory.iterdir():
            match = _MANIFEST_NAME.fullmatch(path.name)
            if match:
                files[int(match[1])] = path
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise StoreError(f"cannot list {directory}: {error.strerror}") from error
    return dict(sorted(files.items(), reverse=True))


def load(path: Path) -> Manifest:
    """The manifest in one file; StoreError when it is damaged, invalid or of another version."""
    text = read_regular(path, MAX_MANIFEST_BYTES)
    try:
        raw = unseal(text)
    except ValueError as error:
        raise StoreError(f"{path} is damaged: {error}") from error
    if raw.get("format") != FORMAT or raw.get("version") != VERSION:
        raise UnknownVersion(
            f"{path} is {raw.get('format')!r} version {raw.get('version')!r}; "
            f"this program reads {FORMAT!r} version {VERSION}; use a newer program"
        )
    try:
        manifest = _parse(raw)
        if path.name != name_of(manifest.number) or not manifest.number:
            raise ValueError(f"its content has number {manifest.number}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} is not a valid manifest: {error}") from error
    return manifest


class UnknownVersion(StoreError):
    """Raised for a manifest of a newer program: skipping it would show old content as the newest."""


def without_name(info: EmbeddingInfo) -> dict[str, Any]:
    """The fields of a description as written in JSON, where the name is the key."""
    return {key: value for key, value in asdict(info).items() if key != "name"}


def _parse(raw: dict[str, Any]) -> Manifest:
    if set(raw) != _FIELDS:
        raise ValueError(f"its fields are {sorted(raw)}, expected {sorted(_FIELDS)}")
    embeddings = {name: parse_info(name, value) for name, value in raw["embeddings"].items()}
    shards = tuple(_parse_entry(value) for value in raw["shards"])
    if len({entry.file for entry in shards}) != len(shards):
        raise ValueError("a shard is listed twice")
    for entry in shards:
        if entry.embedding not in embeddings:
            raise ValueError(f"shard {entry.file} belongs to the unknown embedding {entry.embedding!r}")
    texts = [typed(raw, name, str) for name in ("created", "parent", "checksum")]
    return Manifest(count(raw, "number"), texts[0], texts[1], texts[2], shards, embeddings)


def _parse_entry(raw: dict[str, Any]) -> ShardEntry:
    if set(raw) != set(ShardEntry.__dataclass_fields__):
        raise ValueError(f"a shard has the fields {sorted(raw)}, expected {sorted(ShardEntry.__dataclass_fields__)}")
    rows, rejected, size = (count(raw, name) for name in ("rows", "rejected", "bytes"))
    if size > MAX_SHARD_BYTES or max(rows, rejected) > size:
        raise ValueError(
            f"a shard of {size} bytes (limit {MAX_SHARD_BYTES}) cannot hold {rows} rows and {rejected} rejections"
        )
    return ShardEntry(
        file=matching(raw, "file", SHARD_NAME),
        embedding=matching(raw, "embedding", EMBEDDING_NAME),
        rows=rows,
        rejected=rejected,
        bytes=size,
        sha256=matching(raw, "sha256", SHA256),
        dropped=_indexes(raw, "dropped", rows),
        cleared=_indexes(raw, "cleared", rejected),
    )


def parse_info(name: str, raw: dict[str, Any]) -> EmbeddingInfo:
    """Inverse of `without_name`; raises ValueError, KeyError or TypeError when a field is invalid."""
    info = EmbeddingInfo(name=name, **{**raw, "shape": tuple(raw["shape"]), "views": tuple(raw["views"])})
    check_info(info)
    return info


def check_info(info: EmbeddingInfo) -> None:
    """Raise ValueError unless every field has its type and range."""
    if not EMBEDDING_NAME.fullmatch(info.name):
        raise ValueError(f"embedding name {info.name!r}: use letters, digits and ._+@=,:~- (at most 100)")
    listed = isinstance(info.shape, tuple | list) and isinstance(info.views, tuple | list)  # of code of others too
    if not listed:
        raise ValueError(
            f"{info.name!r} has shape {info.shape!r:.80} and views {info.views!r:.80}, expected a tuple of each"
        )
    if not info.shape or any(type(extent) is not int or not 0 < extent < MAX_SHARD_BYTES for extent in info.shape):
        raise ValueError(f"{info.name!r} has shape {info.shape}, expected positive integers")
    if info.dtype not in DTYPES:
        raise ValueError(f"{info.name!r} has dtype {info.dtype!r}; choose from {', '.join(DTYPES)}")
    if any(type(text) is not str for text in (info.fingerprint, info.channel, info.length, *info.views)):
        raise ValueError(f"{info.name!r}: fingerprint, channel, length and views must be text")
    if type(info.sample_rate_hz) is not int or info.sample_rate_hz < 0 or not isinstance(info.config, Mapping):
        raise ValueError(
            f"{info.name!r} has sample rate {info.sample_rate_hz!r} and config {info.config!r:.80}, "
            "expected an integer of at least 0 and a mapping"
        )
    if info.views and len(info.views) != info.shape[0]:
        raise ValueError(f"{info.name!r} names {len(info.views)} views, its rows have shape {info.shape}")


def _indexes(raw: Mapping[str, Any], name: str, limit: int) -> tuple[int, ...]:
    values: list[int] = typed(raw, name, list)
    if any(type(value) is not int for value in values):
        raise ValueError(f"{name} must hold integers only")
    increasing = all(a < b for a, b in pairwise(values))
    if not increasing or (values and not 0 <= values[0] <= values[-1] < limit):
        raise ValueError(f"{name} must be an increasing list of indexes below {limit}")
    return tuple(values)
