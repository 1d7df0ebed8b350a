"""Files of pretrained weights: read without running anything, their sha256 whatever the format, written in another one.

Pickles are read with `weights_only=True` and nothing else; safetensors comes first where both are there.
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

NOTE = "featstore."  # marks what `write_checkpoint` puts into the metadata of a safetensors file

SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
"""Kinds of weight files, the preferred first."""

NOT_WEIGHTS = {"training_args.bin", "optimizer.pt", "scheduler.pt", "optimizer.bin"}


def weight_files(path: Path) -> list[Path]:
    """Weight files at a path: itself, or those of the preferred kind in a folder (several where it is sharded)."""
    if path.is_file():
        return [path]
    found = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.name not in NOT_WEIGHTS)
    kinds = [[file for file in found if file.suffix == suffix] for suffix in SUFFIXES]
    return next((files for files in kinds if files), [])


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, and what else was saved beside them (`cfg`, `label_dict`): plain values only."""

    tensors: Mapping[str, Tensor]
    extra: Mapping[str, Any] = field(default_factory=dict)

    def sha256(self) -> str:
        """Hex digest over names, types, shapes and values of all tensors: the same however the file was written."""
        digest = hashlib.sha256()
        for name in sorted(self.tensors):
            tensor = self.tensors[name].detach().cpu().contiguous()
            digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()


def read_checkpoint(path: Path) -> Checkpoint:
    """Read one weight file; DataError if it is damaged, holds no tensors, or holds anything but plain values."""
    reader = _read_safetensors if path.suffix == ".safetensors" else _read_pickle
    checkpoint = reader(path)
    wrong = sorted(name for name, value in checkpoint.tensors.items() if not isinstance(value, Tensor))
    if wrong or not checkpoint.tensors:
        raise DataError(f"{path}: expected tensors by name, got {', '.join(wrong[:5]) or 'nothing'}")
    return checkpoint


def read_all(path: Path) -> Checkpoint:
    """Read every weight file at a path as one checkpoint."""
    files = weight_files(path)
    if not files:
        raise DataError(f"{path}: holds no weights ({', '.join(SUFFIXES)})")
    parts = [read_checkpoint(file) for file in files]
    merged = {name: tensor for part in parts for name, tensor in part.tensors.items()}
    if len(merged) < sum(len(part.tensors) for part in parts):
        names = ", ".join(file.name for file in files)
        raise DataError(f"{path}: {names} hold the same tensors twice; leave one model in the folder, or name the file")
    return Checkpoint(merged, {key: value for part in parts for key, value in part.extra.items()})


def _refuse_other_files(path: Path) -> None:
    """DataError where what torch would read as a very old checkpoint is a web page, or nothing."""
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if not start.startswith((b"PK", b"\x80")):  # a zip archive, a pickle
        what = f"begins with {start.decode('latin-1')!r}, as no checkpoint does" if start else "is empty"
        raise DataError(f"{path}: {what}; fetch it again, and see whether a web page came instead")


def _read_pickle(path: Path) -> Checkpoint:
    _refuse_other_files(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path}: holds more than tensors and plain values, or is damaged, so it was not read; "
            "take the official file, or one in safetensors"
        ) from error
    except (OSError, RuntimeError, EOFError, KeyError, ValueError) as error:
        raise DataError(f"{path}: damaged or cut short ({first_line(error)}); fetch it again") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a dict, got {type(content).__name__}")
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
        raise DataError(f"{path}: no safetensors, or cut short ({first_line(error)}); fetch it again") from error
    try:
        ours = {key.removeprefix(NOTE): text for key, text in notes.items() if key.startswith(NOTE)}
        return Checkpoint(tensors, {key: dict(json.loads(text)) for key, text in ours.items()})
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: its metadata is damaged ({error}); convert it again") from error


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write tensors and plain dicts beside them, in the format of the suffix; the file appears whole or not at all."""
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path}: expected a name that ends in {', '.join(SUFFIXES)}")
    try:
        with replacing(path) as part:
            _write(part, checkpoint, safe=path.suffix == ".safetensors")
    except Exception as error:  # both writers have kinds of errors of their own for a full disk or an absent folder
        raise DataError(f"{path}: cannot be written ({first_line(error)})") from error


def _write(path: Path, checkpoint: Checkpoint, *, safe: bool) -> None:
    if safe:
        from safetensors.torch import save_file

        # Pairs, since the keys of label_dict are numbers. Copies, since shared tensors cannot be saved.
        notes = {NOTE + key: json.dumps(list(value.items())) for key, value in checkpoint.extra.items()}
        copies = {name: tensor.clone().contiguous() for name, tensor in checkpoint.tensors.items()}
        save_file(copies, path, {"format": "pt", **notes})
    else:
        tensors = dict(checkpoint.tensors)
        with path.open("xb") as file:  # given a path, torch would write the temporary name into the file
            torch.save({**checkpoint.extra, "model": tensors} if checkpoint.extra else tensors, file)


def first_line(error: Exception) -> str:
    """What an error says, short enough for a message."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
