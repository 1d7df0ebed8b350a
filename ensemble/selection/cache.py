"""Scores of candidates on disk, one file each, named after everything they follow from.

A file is named by the SHA-256 of the protocol, the clips with their folds, the embedding's fingerprint and shards, the
view and the detector, so that an interrupted or repeated selection reads what it already has, and nothing stale fits.
"""

import hashlib
import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ensemble.recipe import Member
from featstore.errors import ResourceError
from featstore.store import FeatureStore

_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


def content_of(store: FeatureStore, embedding: str) -> str:
    """Hash over the embedding's fingerprint and the content and dropped rows of its shards."""
    shards = [[entry.sha256, sorted(entry.dropped)] for entry in store.entries(embedding)]
    return _hash([store.info(embedding).fingerprint, shards])


def candidate_key(member: Member, content: str, protocol: str) -> str:
    """Name of the candidate's file; `content` as `content_of`, `protocol` as `Validation.digest`."""
    return _hash([protocol, content, member.embedding, member.view, member.detector])


def _hash(values: list[object]) -> str:
    return hashlib.sha256(json.dumps(values, ensure_ascii=True).encode()).hexdigest()


@dataclass(frozen=True)
class ScoreCache:
    """A folder of score files; a file that cannot be read is as good as none."""

    folder: Path

    def get(self, key: str) -> np.ndarray | None:
        """Scores (n,) of a key, or None."""
        try:
            with self._path(key).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                scores = np.asarray(file["scores"], dtype=np.float64)
        except _DAMAGED:
            return None
        return scores if scores.ndim == 1 and np.isfinite(scores).all() else None

    def put(self, key: str, scores: np.ndarray) -> None:
        """Keep the scores; the file appears whole or not at all."""
        temporary = self._path(f"{key}.{os.getpid()}.part")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                np.savez(file, scores=scores)
            temporary.replace(self._path(key))
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise ResourceError(f"cannot keep scores in {self.folder}: {error}; see --cache") from error

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.npz"
