"""Files of pretrained weights: where they are found, how they are read without running anything, and their sha256.

A name is looked for as a local path, then in the models folder, then in the hub's cache, and last on the hub itself,
which is never asked when HF_HUB_OFFLINE (or `--offline`) is set. Pickles are read with `weights_only=True` and nothing
else; safetensors comes first where both are there.
"""

import hashlib
import json
import os
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from featstore.errors import DataError

NOTE = "featstore."  # marks what `write_checkpoint` puts into the metadata of a safetensors file

SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
"""Kinds of weight files, the preferred first."""

NOT_WEIGHTS = {"training_args.bin", "optimizer.pt", "scheduler.pt", "optimizer.bin"}
TRUE = {"1", "on", "yes", "true"}


def models_folder() -> Path:
    """Where checkpoints are kept for every project: FEATSTORE_MODELS, else ~/.cache/featstore/models."""
    return Path(os.environ.get("FEATSTORE_MODELS") or Path.home() / ".cache" / "featstore" / "models")


def offline() -> bool:
    """Whether the hub must not be asked (HF_HUB_OFFLINE)."""
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in TRUE


def resolve(checkpoint: str, *, name: str, advice: str) -> Path:
    """File or folder of a checkpoint by path, name in the models folder or hub id.

    name: the embedder's. advice: where its weights can be had. DataError names every place that was looked at.
    """
    if not checkpoint:
        raise DataError(f"{name} needs weights: write {name}=PATH. {advice}")
    for path in (Path(checkpoint).expanduser(), models_folder() / checkpoint):
        if path.exists():
            return path
    looked = f"no file {checkpoint}, nothing at {models_folder() / checkpoint}"
    if not is_hub_id(checkpoint):
        raise DataError(f"{name}: {looked}. {advice}")
    cached = _from_hub_cache(checkpoint)
    if cached is not None:
        return cached
    if offline():
        raise DataError(
            f"{name}: {looked}, and {checkpoint} is not in the hub's cache; offline, so the hub was not asked. "
            f"On a machine with internet: featstore models pull {checkpoint}; then copy the folder it names to "
            f"{models_folder() / checkpoint}"
        )
    try:
        return pull(checkpoint)
    except DataError as error:
        raise DataError(f"{name}: {looked}. {error}. {advice}") from error


def is_hub_id(name: str) -> bool:
    """Whether a name has the form owner/model, and is not that of a file."""
    return re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name) is not None and not name.endswith(SUFFIXES)


def pull(repo: str) -> Path:
    """Fetch config and weights of a hub repository into the hub's cache: safetensors alone where there are any."""
    from huggingface_hub import HfApi, snapshot_download

    try:
        names = [file.rfilename for file in HfApi().model_info(repo).siblings or []]
        suffix = next((s for s in SUFFIXES if any(n.endswith(s) and "/" not in n for n in names)), None)
        wanted = ["*.json", f"*{suffix}"] if suffix else []
        folder = Path(snapshot_download(repo, allow_patterns=wanted, ignore_patterns=["*/*"])) if suffix else None
    except Exception as error:  # the hub's library lets the errors of its HTTP client through, and has changed clients
        raise DataError(
            f"{repo}: not fetched from the hub ({_first_line(error)}). Check the name and the connection, or copy the "
            f"model's folder to {models_folder() / repo}"
        ) from error
    if folder is None:
        raise DataError(f"{repo}: the repository holds no weights ({', '.join(SUFFIXES)})")
    return folder


def _from_hub_cache(repo: str) -> Path | None:
    """The cached snapshot of a repository, if weights are in it; asks nobody."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repo, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    return folder if weight_files(folder) else None


def hub_cache() -> list[tuple[str, int]]:
    """Models in the hub's cache: id and bytes."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = scan_cache_dir().repos
    except CacheNotFound:
        return []
    return sorted((repo.repo_id, repo.size_on_disk) for repo in repos if repo.repo_type == "model")


def models_in(folder: Path) -> dict[str, int]:
    """What can follow NAME= of a folder's content, files and folders of models, each with its bytes."""
    found = sorted(file for file in folder.rglob("*") if file.suffix in SUFFIXES and file.name not in NOT_WEIGHTS)
    paths = dict.fromkeys(file.parent if (file.parent / "config.json").is_file() else file for file in found)
    sizes = {path: sum(file.stat().st_size for file in weight_files(path)) for path in paths if path.exists()}
    return {str(path.relative_to(folder)): n_bytes for path, n_bytes in sizes.items()}


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
        raise DataError(f"{path}: damaged or cut short ({_first_line(error)}); fetch it again") from error
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
        raise DataError(f"{path}: no safetensors, or cut short ({_first_line(error)}); fetch it again") from error
    try:
        ours = {key.removeprefix(NOTE): text for key, text in notes.items() if key.startswith(NOTE)}
        return Checkpoint(tensors, {key: dict(json.loads(text)) for key, text in ours.items()})
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: its metadata is damaged ({error}); convert it again") from error


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write tensors and plain dicts beside them, in the format of the suffix; the file appears whole or not at all."""
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path}: expected a name that ends in {', '.join(SUFFIXES)}")
    part = path.with_name(path.name + ".part")
    try:
        _write(part, checkpoint, safe=path.suffix == ".safetensors")
        part.replace(path)
    except Exception as error:  # both writers have kinds of errors of their own for a full disk or an absent folder
        part.unlink(missing_ok=True)
        raise DataError(f"{path}: cannot be written ({_first_line(error)})") from error


def _write(path: Path, checkpoint: Checkpoint, *, safe: bool) -> None:
    if safe:
        from safetensors.torch import save_file

        # Pairs, since the keys of label_dict are numbers. Copies, since shared tensors cannot be saved.
        notes = {NOTE + key: json.dumps(list(value.items())) for key, value in checkpoint.extra.items()}
        copies = {name: tensor.clone().contiguous() for name, tensor in checkpoint.tensors.items()}
        save_file(copies, path, {"format": "pt", **notes})
    else:
        tensors = dict(checkpoint.tensors)
        torch.save({**checkpoint.extra, "model": tensors} if checkpoint.extra else tensors, path)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
