"""Checkpoints of trained embedders: one safetensors file with all metadata, checked on loading.

The metadata is one JSON text: name, config, classes, loss, training facts, library versions, and a fingerprint over
weights and config. Pickles are never opened.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from embedders import fingerprint
from embedders.pretrained.weight_files import Checkpoint as Weights
from featstore.disk.files import replacing
from featstore.errors import DataError, reason_of

FORMAT = 1
KEY = "featstore.trained"
NOTES = {"format": int, "name": str, "config": dict, "classes": list, "loss": dict, "facts": dict, "fingerprint": str}
"""Keys of the metadata and their types."""

MOST_CLASSES = 10_000
LONGEST = 1_000
"""Characters of the name of a class."""


@dataclass(frozen=True)
class Trained:
    """Result of a training.

    config: of the network. classes: labels `machine|section|...` in the order of the outputs. loss: name and
    parameters. facts: how it was trained, for display only; not part of the fingerprint.
    """

    name: str
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    classes: tuple[str, ...] = ()
    loss: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """The sha256 over weights, config, classes and loss."""
        config = {"config": dict(self.config), "classes": list(self.classes), "loss": dict(self.loss)}
        return fingerprint(self.name, config, Weights(self.tensors).sha256().encode())


def save(path: Path, trained: Trained) -> None:
    """Write a checkpoint, completely or not at all."""
    notes = {
        "format": FORMAT,
        "name": trained.name,
        "config": dict(trained.config),
        "classes": list(trained.classes),
        "loss": dict(trained.loss),
        "facts": dict(trained.facts),
        "versions": {package: version(package) for package in ("torch", "numpy", "featstore")},
        "fingerprint": trained.fingerprint,
    }
    write(path, trained.tensors, {KEY: json.dumps(notes, sort_keys=True)})


def load(path: Path, name: str) -> Trained:
    """Read a checkpoint of the embedder `name`; DataError if it is damaged or does not fit."""
    tensors, metadata = read(path)
    try:
        notes = json.loads(metadata[KEY])
        for key, kind in NOTES.items():
            if type(notes[key]) is not kind:
                raise ValueError(f"{key}: expected {kind.__name__}, got {type(notes[key]).__name__}")
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise DataError(
            f"{path}: not a checkpoint of `featstore train` (metadata missing or damaged: {error}); train again"
        ) from error
    classes = notes["classes"]
    if notes["format"] != FORMAT:
        raise DataError(f"{path}: checkpoint format {notes['format']}, this version reads {FORMAT}; train again")
    if notes["name"] != name:
        other = notes["name"]
        raise DataError(f"{path}: holds a network of {other}, not of {name}; write {other}={path}")
    if len(classes) > MOST_CLASSES or not all(isinstance(label, str) and len(label) <= LONGEST for label in classes):
        raise DataError(
            f"{path}: expected at most {MOST_CLASSES:,} classes of at most {LONGEST:,} characters; train again"
        )
    trained = Trained(name, notes["config"], tensors, tuple(classes), notes["loss"], notes["facts"])
    if trained.fingerprint != notes["fingerprint"]:
        raise DataError(f"{path}: weights or config do not match its fingerprint; the file is damaged, train again")
    wrong = next((key for key, value in tensors.items() if not value.isfinite().all()), None)
    if wrong is not None:
        raise DataError(f"{path}: {wrong} has values that are not finite; train again, with a lower learning_rate")
    return trained


def write(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors and texts as safetensors, completely or not at all."""
    # Copies, because safetensors refuses tensors that share memory.
    copies = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    try:
        with replacing(path) as part:
            save_file(copies, part, metadata)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: cannot be written ({reason_of(error)})") from error


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and texts of a safetensors file; no code in it can run."""
    try:
        if path.exists() and not path.is_file():  # to open a pipe would wait for ever
            raise DataError(f"{path}: not a regular file; make a checkpoint with `featstore train`")
        with safe_open(path, framework="pt") as file:
            keys = list(file.keys())
            return {key: file.get_tensor(key) for key in keys}, dict(file.metadata() or {})
    except FileNotFoundError:
        raise DataError(f"{path}: no such checkpoint; make one with `featstore train`") from None
    except (OSError, SafetensorError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(
            f"{path}: not a readable safetensors file ({reason}); pickles are never opened, train again"
        ) from error


def fill(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load tensors into a module; DataError names the first key that is missing, unknown or has another shape."""
    expected = module.state_dict()
    for key, value in expected.items():
        if key not in tensors:
            raise DataError(f"{path}: {key} {tuple(value.shape)} is missing; the file is of another network or loss")
        if tensors[key].shape != value.shape or tensors[key].dtype != value.dtype:
            got = f"{tuple(tensors[key].shape)} {tensors[key].dtype}"
            raise DataError(f"{path}: {key} is {got}, expected {tuple(value.shape)} {value.dtype}")
    unknown = sorted(set(tensors) - set(expected))
    if unknown:
        raise DataError(f"{path}: unknown key {unknown[0]}; the file is of another network or loss")
    module.load_state_dict(dict(tensors))
