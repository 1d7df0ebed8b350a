"""Content hashes of recordings, by which a build sees that one has changed."""

from io import FileIO
from pathlib import Path

import xxhash

from featstore.audio.once import once


def content_hash(path: Path) -> str:
    """XXH3-128 of a file's bytes, in hex; detects changed recordings, thirty times faster than SHA-256."""
    with path.open("rb", buffering=0) as file:
        return _hash_blocks(file)


def hash_once(file: FileIO) -> str:
    """The content hash of an open file, from its start; remembered, see `once`."""
    return once(file, "hash", lambda: _hash_blocks(file))


def _hash_blocks(file: FileIO) -> str:
    digest = xxhash.xxh3_128()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()
