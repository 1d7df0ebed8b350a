"""Approximate indexes on disk: an index file and a JSON record, which is checked before faiss reads the index.

The record holds the SHA-256 and size of the index file and everything that determines the index: the content of the
bank, kind, faiss factory text, seed and version of faiss. It detects damaged or swapped files. It does not show who
wrote them, so protect the folder as you protect the store.
"""

import hashlib
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from detectors.approximate.copies import Copies
from detectors.approximate.index import ApproximateIndex, IndexSpec, prepare
from detectors.approximate.kinds import TRAINING_VERSION
from detectors.approximate.recall import Estimate
from detectors.search.faiss_backend import load as load_faiss
from detectors.search.neighbours import Bank
from featstore.disk.files import explained, read_regular, write_new
from featstore.errors import StoreError

RECORD_BYTES = 2**16
ROW_BYTES = 2048
"""Most bytes that an index may need for a row beside its vector; a longer file is refused."""


def load_or_build(
    path: Path, bank: Bank, kind: str, *, seed: int = 0, threads: int = 1
) -> tuple[ApproximateIndex, str]:
    """Load the index at `path`, or build and save it; the text says why it was built, and is empty otherwise.

    An index that is damaged, or belongs to another bank, kind, seed or version of faiss, is replaced. ResourceError or
    StoreError if it cannot be written.
    """
    try:
        return load(path, bank, kind, seed=seed, threads=threads), ""
    except FileNotFoundError:
        note = f"{path.name}: built"
    except StoreError as error:
        note = f"{error}; rebuilt"
    index = ApproximateIndex.build(bank, kind, seed=seed, threads=threads)
    save(index, path)
    return index, note


def save(index: ApproximateIndex, path: Path) -> None:
    """Write the index and its record, each as a whole; an index without a matching record is not loaded."""
    data = _serialize(index.index)
    with explained(str(path), len(data), path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_new(path, data)
    _write_record(path, _origin(index.bank, index.spec) | _digest(data))


def load(path: Path, bank: Bank, kind: str, *, seed: int = 0, threads: int = 1) -> ApproximateIndex:
    """Load the index at `path`; FileNotFoundError if there is none, StoreError if it is damaged or another one."""
    record = read_record(path)
    copies, spec = prepare(bank, kind, seed)
    for name, expected in _origin(bank, spec).items():
        if record.get(name) != expected:
            raise StoreError(f"{path} was made with {name} {record.get(name)!r}, expected {expected!r}")
    data = read_regular(path, 4 * bank.rows.size + ROW_BYTES * (len(bank.rows) + 1024))
    if {name: record.get(name) for name in ("bytes", "sha256")} != _digest(data):
        raise StoreError(f"{path} is damaged: its size or SHA-256 differs from its record")
    return ApproximateIndex(bank, copies, spec, _deserialize(path, data, spec, copies), threads)


def save_estimate(path: Path, estimate: Estimate) -> None:
    """Write the latest estimate of an index into its record."""
    _write_record(path, read_record(path) | {"estimate": asdict(estimate)})


def read_record(path: Path) -> dict[str, Any]:
    """Read the record of the index at `path`; FileNotFoundError if there is none, StoreError if it is damaged."""
    record_path = _record_path(path)
    try:
        record = json.loads(read_regular(record_path, RECORD_BYTES))
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{record_path} is damaged: {error}") from error
    if not isinstance(record, dict):
        raise StoreError(f"{record_path} is damaged: expected a JSON object, got {type(record).__name__}")
    return record


def _write_record(path: Path, record: dict[str, Any]) -> None:
    record_path = _record_path(path)
    with explained(str(record_path), RECORD_BYTES, path.parent):
        write_new(record_path, json.dumps(record, indent=1).encode())


def _record_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _origin(bank: Bank, spec: IndexSpec) -> dict[str, Any]:
    """Everything that determines an index, as part of its record."""
    rows = np.ascontiguousarray(bank.rows)
    content = hashlib.sha256(f"{rows.dtype.str} {rows.shape} ".encode())
    content.update(rows.data)
    versions = {"training": TRAINING_VERSION, "faiss": str(load_faiss().__version__)}
    return {**asdict(spec), **versions, "bank": content.hexdigest()}


def _digest(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _serialize(index: Any) -> bytes:
    """Bytes of the index as faiss writes it; empty for a bank of zero rows, which has no index."""
    buffer = io.BytesIO()
    if index is not None:
        faiss = load_faiss()
        faiss.write_index(index, faiss.PyCallbackIOWriter(buffer.write))
    return buffer.getvalue()


def _deserialize(path: Path, data: bytes, spec: IndexSpec, copies: Copies) -> Any:
    """Read an index with faiss; StoreError unless it is of the type and size that its spec gives."""
    if not (data or len(copies.start)):
        return None
    faiss = load_faiss()
    like = faiss.index_factory(spec.width, spec.factory, faiss.METRIC_L2)
    try:
        index = faiss.read_index(faiss.PyCallbackIOReader(io.BytesIO(data).read))
    except RuntimeError as error:
        raise StoreError(f"{path} cannot be read by faiss {faiss.__version__}: {error}") from error
    expected = (like.d, len(copies.start), like.metric_type, getattr(like, "nlist", 0))
    actual = (index.d, index.ntotal, index.metric_type, getattr(index, "nlist", 0))
    if not isinstance(index, type(like)) or actual != expected:
        raise StoreError(f"{path} holds {type(index).__name__} {actual}, expected {type(like).__name__} {expected}")
    return index
