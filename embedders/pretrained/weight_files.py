"""Files of pretrained weights: read without running code, sha256 of their content, conversion to another format.

Pickles are read with `weights_only=True` only. If a folder has both formats, safetensors is read.
"""

import hashlib
import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from featstore.disk.files import replacing
from featstore.errors import DataError

SHOWN = 3  # tensors listed in an error
NOTE = "featstore."  # prefix of our keys in the metadata of a safetensors file

SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
"""Suffixes of weight files, preferred first."""

NOT_WEIGHTS = {"training_args.bin", "optimizer.pt", "scheduler.pt", "optimizer.bin"}


def weight_files(path: Path) -> list[Path]:
    """Weight files at a path: the file itself, or those of the preferred suffix in a folder (several if sharded)."""
    if path.is_file():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.name not in NOT_WEIGHTS)
    by_suffix = [[file for file in files if file.suffix == suffix] for suffix in SUFFIXES]
    return next((group for group in by_suffix if group), [])


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, and other plain values of the file (`cfg`, `label_dict`)."""

    tensors: Mapping[str, Tensor]
    extra: Mapping[str, Any] = field(default_factory=dict)

    def sha256(self) -> str:
        """Hex digest of names, types, shapes and values of all tensors; it does not depend on the file format."""
        digest = hashlib.sha256()
        for name in sorted(self.tensors):
            tensor = self.tensors[name].detach().cpu().contiguous()
            digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()


def read_checkpoint(path: Path) -> Checkpoint:
    """Read one weight file; DataError if it is damaged, has no tensors, or has other objects than plain values."""
    reader = _read_safetensors if path.suffix == ".safetensors" else _read_pickle
    checkpoint = reader(path)
    others = sorted(name for name, value in checkpoint.tensors.items() if not isinstance(value, Tensor))
    if others or not checkpoint.tensors:
        values = f"other values for {', '.join(others[:5])}" if others else "no tensor"
        raise DataError(f"{path}: expected tensors by name, got {values}; fetch the file again")
    return checkpoint


def read_all(path: Path) -> Checkpoint:
    """Read every weight file at a path as one checkpoint."""
    files = weight_files(path)
    if not files:
        raise DataError(f"{path}: no weight file there (expected a name ending in {', '.join(SUFFIXES)})")
    parts = [read_checkpoint(file) for file in files]
    merged = {name: tensor for part in parts for name, tensor in part.tensors.items()}
    if len(merged) < sum(len(part.tensors) for part in parts):
        names = ", ".join(file.name for file in files)
        raise DataError(f"{path}: the same tensors are in several of {names}; leave one model, or name the file")
    return Checkpoint(merged, {key: value for part in parts for key, value in part.extra.items()})


def refuse_misfits(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, within: str, shapes: str) -> None:
    """ValueError names the first tensors that are missing, unknown or of another shape than expected.

    within: where the tensors are. shapes: what states the expected shapes.
    """
    problems = {
        "missing": sorted(expected.keys() - tensors.keys()),
        "unknown": sorted(map(str, tensors.keys() - expected.keys())),
        f"of another shape than in {shapes}:": [
            f"{name} {tuple(tensors[name].shape)} instead of {tuple(expected[name].shape)}"
            for name in sorted(tensors.keys() & expected.keys())
            if tensors[name].shape != expected[name].shape
        ],
    }
    texts = [
        f"{problem} {', '.join(names[:SHOWN])}" + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
        for problem, names in problems.items()
        if names
    ]
    if texts:
        raise ValueError(f"tensors of {within}: {'; '.join(texts)}")


def refuse_other_files(path: Path) -> None:
    """DataError for empty files, web pages and other files that torch would try to read as a very old checkpoint."""
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if not start.startswith((b"PK", b"\x80")):  # a zip archive, a pickle
        problem = f"begins with {start.decode('latin-1')!r}, so it is not a checkpoint" if start else "is empty"
        raise DataError(f"{path}: {problem}; fetch it again (a broken link may give a web page instead)")


def _read_pickle(path: Path) -> Checkpoint:
    refuse_other_files(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path}: contains other objects than tensors and plain values, or is damaged; use the official file, or "
            "one in safetensors"
        ) from error
    except (OSError, RuntimeError, EOFError, KeyError, ValueError) as error:
        raise DataError(f"{path}: damaged or incomplete ({first_line(error)}); fetch it again") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a dict of tensors, got {type(content).__name__}; use another file")
    if isinstance(content.get("model"), dict):
        return Checkpoint(content["model"], {key: value for key, value in content.items() if key != "model"})
    return Checkpoint(content)


def _read_safetensors(path: Path) -> Checkpoint:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            notes = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: not safetensors, or incomplete ({first_line(error)}); fetch it again") from error
    try:
        ours = {key.removeprefix(NOTE): text for key, text in notes.items() if key.startswith(NOTE)}
        return Checkpoint(tensors, {key: dict(json.loads(text)) for key, text in ours.items()})
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: its metadata is damaged ({error}); convert it again") from error


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write tensors and plain dicts in the format of the suffix, completely or not at all."""
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path}: expected a name that ends in {', '.join(SUFFIXES)}")
    try:
        with replacing(path) as part:
            _write(part, checkpoint, safe=path.suffix == ".safetensors")
    except Exception as error:  # for a full disk or a missing folder both writers raise errors of their own
        raise DataError(f"{path}: cannot be written ({first_line(error)})") from error


def _write(path: Path, checkpoint: Checkpoint, *, safe: bool) -> None:
    if safe:
        from safetensors.torch import save_file

        # Lists of pairs, because keys of label_dict are numbers; copies, because safetensors refuses shared memory.
        notes = {NOTE + key: json.dumps(list(value.items())) for key, value in checkpoint.extra.items()}
        copies = {name: tensor.clone().contiguous() for name, tensor in checkpoint.tensors.items()}
        save_file(copies, path, {"format": "pt", **notes})
    else:
        tensors = dict(checkpoint.tensors)
        with path.open("xb") as file:  # given a path, torch would write the temporary name into the file
            torch.save({**checkpoint.extra, "model": tensors} if checkpoint.extra else tensors, file)


def first_line(error: Exception) -> str:
    """First line of an error's text, or its type."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
