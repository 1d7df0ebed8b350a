"""Cache of candidate scores on disk, one file per candidate.

The file name is the SHA-256 of everything that the scores depend on: the protocol, the clips with their folds, the
fingerprint and shards of the embedding, the view and the detector. So an interrupted or repeated selection reads the
scores that it already has, and never outdated ones.
"""

import hashlib
import inspect
import io
import json
import os
import struct
import sys
import zipfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from detectors import parse_detector
from detectors.libraries.classes import version_of
from ensemble.recipe import Member
from featstore import registry
from featstore.disk.files import read_regular, write_new
from featstore.errors import ResourceError, StoreError, reason_of
from featstore.store import FeatureStore

SUFFIX = ".npz"
MAX_BYTES = 1 << 30
"""Most bytes of a file of scores, for 100 million clips."""

_DAMAGED = (StoreError, OSError, ValueError, KeyError, EOFError, struct.error, RuntimeError, zipfile.BadZipFile)


def content_of(store: FeatureStore, embedding: str) -> str:
    """Hash of the embedding's fingerprint and of the content and dropped rows of its shards."""
    shards = [[entry.sha256, sorted(entry.dropped)] for entry in store.entries(embedding)]
    return _hash([store.info(embedding).fingerprint, shards])


def candidate_key(member: Member, content: str, protocol: str) -> str:
    """Name of the candidate's file, from `content_of` its embedding and `Validation.digest` as protocol."""
    return _hash([protocol, content, member.embedding, member.view, member.detector, _code_of(member)])


def _code_of(member: Member) -> str:
    """What may change under the same name of a detector that is not ours: its library's version, or its module's hash.

    Empty for ours.
    """
    if member.file:
        return ""
    name = parse_detector(member.detector)[0]
    if registry.in_library("detector", name):
        return version_of(name)
    cls = registry.find("detector", name)
    if cls.__module__.split(".")[0] == "detectors":
        return ""
    try:
        return hashlib.sha256(inspect.getsource(sys.modules[cls.__module__]).encode()).hexdigest()
    except (OSError, TypeError):  # no source, as of a compiled module
        return ""


def _hash(values: list[object]) -> str:
    return hashlib.sha256(json.dumps(values, ensure_ascii=True).encode()).hexdigest()


@dataclass(frozen=True)
class ScoreCache:
    """A folder of score files; an unreadable file counts as missing. used: keys that were read or written."""

    folder: Path
    used: set[str] = field(default_factory=set, repr=False, compare=False)

    def get(self, key: str) -> np.ndarray | None:
        """Scores (n,) of a key, NaN where a clip has none yet; None where they are missing or damaged."""
        try:
            scores = _read(read_regular(self._path(key), MAX_BYTES))
        except _DAMAGED:
            return None
        if scores.ndim != 1 or np.isinf(scores).any():
            return None
        self.used.add(key)
        return scores

    def put(self, key: str, scores: np.ndarray) -> None:
        """Write the scores, whole or not at all; ResourceError where the folder cannot be written."""
        image = io.BytesIO()
        np.savez(image, scores=scores)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_new(self._path(key), image.getvalue())
        except OSError as error:
            raise ResourceError(
                f"cannot write scores to {self.folder}: {reason_of(error)}; free space or choose another folder with "
                "--cache"
            ) from error
        self.used.add(key)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{SUFFIX}"


def _read(image: bytes) -> np.ndarray:
    """The scores in a file; one that would be larger in memory than on disk is refused, since it may be forged."""
    with zipfile.ZipFile(io.BytesIO(image)) as archive:
        entry = archive.getinfo("scores.npy")
        if entry.compress_type != zipfile.ZIP_STORED:
            raise ValueError("the scores are compressed")
        content = io.BytesIO(archive.read(entry))
    if np.lib.format.read_magic(content) != (1, 0):
        raise ValueError("another format of numpy")
    shape, _, kind = np.lib.format.read_array_header_1_0(content)
    if kind != np.float64:
        raise ValueError(f"values of {kind} are not the scores of a candidate")
    return np.frombuffer(content.read(), dtype=np.float64).reshape(shape).copy()


@dataclass(frozen=True)
class SpareCache(ScoreCache):
    """A cache that holds in memory what its folder cannot.

    It marks the files that it reads as used just now, so that `kept` spares them. It follows no link, since the store
    that holds the folder may come from elsewhere.
    """

    memory: dict[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    def get(self, key: str) -> np.ndarray | None:
        """Scores (n,) of a key, from memory or from the folder; None where there are none."""
        if key in self.memory or self._linked():
            return self.memory.get(key)
        scores = super().get(key)
        if scores is not None:
            with suppress(OSError):
                os.utime(self._path(key))
        return scores

    def put(self, key: str, scores: np.ndarray) -> None:
        """Write the scores, or hold them in memory where the folder cannot be written."""
        if not self._linked():
            with suppress(ResourceError):
                return super().put(key, scores)
        self.memory[key] = scores.copy()
        return None

    def _linked(self) -> bool:
        return self.folder.is_symlink() or self.folder.parent.is_symlink()
