"""Approximate indexes on disk: an index file with a JSON record beside it, checked before faiss reads a byte.

The record names the SHA-256 and size of the index file, and all that the index follows from: the bank's content, kind,
faiss factory text, seed and version of faiss. It shows that nothing was damaged or mixed up, not who wrote it: keep the
folder as safe as the store.
"""

import hashlib
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from detectors.approximate.copies import Copies
from detectors.approximate.index import ApproximateIndex, Recipe, prepared
from detectors.approximate.kinds import TRAINING
from detectors.approximate.recall import Estimate
from detectors.search.faiss_backend import load as load_faiss
from detectors.search.neighbours import Bank
from featstore.disk.files import explained, read_regular, write_new
from featstore.errors import StoreError

RECORD_BYTES = 2**16
ROW_BYTES = 2048
"""What an index may need for a row beyond its vector; a longer file is none of ours."""


def cached(path: Path, bank: Bank, kind: str, *, seed: int = 0, threads: int = 1) -> tuple[ApproximateIndex, str]:
    """The index at `path`, or a new one that is put there; and a note why it had to be built, else "".

    Replaces an index that is damaged or of another bank, kind, seed or faiss. Raises ResourceError or StoreError where
    it cannot be written.
    """
    try:
        return load(path, bank, kind, seed=seed, threads=threads), ""
    except FileNotFoundError:
        note = f"{path.name}: built"
    except StoreError as error:
        note = f"{error}; built anew"
    index = ApproximateIndex.build(bank, kind, seed=seed, threads=threads)
    save(index, path)
    return index, note


def save(index: ApproximateIndex, path: Path) -> None:
    """Write the index and its record; each appears whole or not at all, and neither counts without the other."""
    data = _serialized(index.index)
    with explained(str(path), len(data), path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_new(path, data)
    _write_record(path, _origin(index.bank, index.recipe) | _digest(data))


def load(path: Path, bank: Bank, kind: str, *, seed: int = 0, threads: int = 1) -> ApproximateIndex:
    """The index at `path`; FileNotFoundError without one, StoreError that says why it is not the one asked for."""
    record = read_record(path)
    copies, recipe = prepared(bank, kind, seed)
    for name, expected in _origin(bank, recipe).items():
        if record.get(name) != expected:
            raise StoreError(f"{path} was made with {name} {record.get(name)!r}, expected {expected!r}")
    data = read_regular(path, bank.directions.nbytes + ROW_BYTES * (len(bank.rows) + 1024))
    if {name: record.get(name) for name in ("bytes", "sha256")} != _digest(data):
        raise StoreError(f"{path} is damaged: its size or SHA-256 is not that of its record")
    return ApproximateIndex(bank, copies, recipe, _deserialized(path, data, recipe, copies), threads)


def keep_estimate(path: Path, estimate: Estimate) -> None:
    """Put what an index was last measured to be worth into its record."""
    _write_record(path, read_record(path) | {"estimate": asdict(estimate)})


def read_record(path: Path) -> dict[str, Any]:
    """The record of the index at `path`; FileNotFoundError without one, StoreError where it is none."""
    beside = _beside(path)
    try:
        record = json.loads(read_regular(beside, RECORD_BYTES))
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{beside} is damaged: {error}") from error
    if not isinstance(record, dict):
        raise StoreError(f"{beside} is damaged: expected a JSON object")
    return record


def _write_record(path: Path, record: dict[str, Any]) -> None:
    beside = _beside(path)
    with explained(str(beside), RECORD_BYTES, path.parent):
        write_new(beside, json.dumps(record, indent=1).encode())


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _origin(bank: Bank, recipe: Recipe) -> dict[str, Any]:
    """All that an index follows from."""
    rows = np.ascontiguousarray(bank.rows)
    content = hashlib.sha256(f"{rows.dtype.str} {rows.shape} ".encode())
    content.update(rows.data)
    made = {"training": TRAINING, "faiss": str(load_faiss().__version__)}
    return {**asdict(recipe), **made, "bank": content.hexdigest()}


def _digest(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _serialized(index: Any) -> bytes:
    """The index as faiss writes it; nothing for a bank without a direction."""
    buffer = io.BytesIO()
    if index is not None:
        faiss = load_faiss()
        faiss.write_index(index, faiss.PyCallbackIOWriter(buffer.write))
    return buffer.getvalue()


def _deserialized(path: Path, data: bytes, recipe: Recipe, copies: Copies) -> Any:
    """What faiss reads, once it is known to be an index like the one its recipe makes."""
    if not (data or len(copies.start)):
        return None
    faiss = load_faiss()
    like = faiss.index_factory(recipe.width, recipe.factory, faiss.METRIC_L2)
    try:
        index = faiss.read_index(faiss.PyCallbackIOReader(io.BytesIO(data).read))
    except RuntimeError as error:
        raise StoreError(f"{path} cannot be read by faiss {faiss.__version__}: {error}") from error
    expected = (like.d, len(copies.start), like.metric_type, getattr(like, "nlist", 0))
    found = (index.d, index.ntotal, index.metric_type, getattr(index, "nlist", 0))
    if not isinstance(index, type(like)) or found != expected:
        raise StoreError(f"{path} holds {type(index).__name__} {found}, expected {type(like).__name__} {expected}")
    return index
