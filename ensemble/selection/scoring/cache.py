"""Cache of candidate scores on disk, one file per candidate.

The file name is the SHA-256 of everything that the scores depend on: the protocol, the clips with their folds, the
fingerprint and shards of the embedding, the view and the detector. So an interrupted or repeated selection reads the
scores that it already has, and never outdated ones.
"""

import hashlib
import inspect
import io
import json
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detectors import parse_detector
from ensemble.recipe import Member
from featstore import registry
from featstore.disk.files import write_new
from featstore.errors import ResourceError
from featstore.store import FeatureStore

_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


def content_of(store: FeatureStore, embedding: str) -> str:
    """Hash of the embedding's fingerprint and of the content and dropped rows of its shards."""
    shards = [[entry.sha256, sorted(entry.dropped)] for entry in store.entries(embedding)]
    return _hash([store.info(embedding).fingerprint, shards])


def candidate_key(member: Member, content: str, protocol: str) -> str:
    """Name of the candidate's file, from `content_of` its embedding and `Validation.digest` as protocol."""
    return _hash([protocol, content, member.embedding, member.view, member.detector, _code_of(member)])


def _code_of(member: Member) -> str:
    """Hash of the module of a detector that is not ours, which may change under the same name; empty for ours."""
    if member.file:
        return ""
    cls = registry.find("detector", parse_detector(member.detector)[0])
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
    """A folder of score files; an unreadable file counts as missing."""

    folder: Path

    def get(self, key: str) -> np.ndarray | None:
        """Scores (n,) of a key, NaN where a clip has none yet; None where they are missing or damaged."""
        try:
            with self._path(key).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                scores = np.asarray(arrays["scores"], dtype=np.float64)
        except _DAMAGED:
            return None
        return scores if scores.ndim == 1 and not np.isinf(scores).any() else None

    def put(self, key: str, scores: np.ndarray) -> None:
        """Write the scores, whole or not at all; ResourceError where the folder cannot be written."""
        image = io.BytesIO()
        np.savez(image, scores=scores)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_new(self._path(key), image.getvalue())
        except OSError as error:
            raise ResourceError(
                f"cannot write scores to {self.folder}: {error}; free space or choose another folder with --cache"
            ) from error

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.npz"
