"""Checkpoints of trained embedders: one safetensors file that says what it is, and is refused where it does not fit.

Its metadata is one JSON text: name, config, classes, loss, training facts, library versions, and a fingerprint over
weights and config that is checked on loading. Pickles are never opened.
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
from featstore.errors import DataError

FORMAT = 1
KEY = "featstore.trained"


@dataclass(frozen=True)
class Trained:
    """What a training leaves behind.

    config: the network's. classes: label of every class, `machine|section|...`, in the order of the outputs. loss: name
    and parameters. facts: how it was trained, for people; no part of the fingerprint.
    """

    name: str
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    classes: tuple[str, ...] = ()
    loss: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """The sha256 over weights and all that changes what they compute."""
        config = {"config": dict(self.config), "classes": list(self.classes), "loss": dict(self.loss)}
        return fingerprint(self.name, config, Weights(self.tensors).sha256().encode())


def save(path: Path, trained: Trained) -> None:
    """Write a checkpoint; it appears whole or not at all."""
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
    """Read a checkpoint of the embedder `name`; DataError says what is damaged or does not fit."""
    tensors, metadata = read(path)
    try:
        notes = json.loads(metadata[KEY])
        found = Trained(notes["name"], notes["config"], tensors, tuple(notes["classes"]), notes["loss"], notes["facts"])
        written, stated = notes["format"], notes["fingerprint"]
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path}: not a checkpoint of `featstore train` (no or damaged metadata: {error})") from error
    if written != FORMAT:
        raise DataError(f"{path}: checkpoint format {written}, this version reads {FORMAT}")
    if found.name != name:
        raise DataError(f"{path}: holds a {found.name}, not a {name}; write {found.name}={path}")
    if found.fingerprint != stated:
        raise DataError(f"{path}: weights or config do not match its fingerprint; the file is damaged, train again")
    return found


def write(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors and texts as safetensors, whole or not at all."""
    # Copies, since shared tensors cannot be saved.
    copies = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    try:
        with replacing(path) as part:
            save_file(copies, part, metadata)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: cannot be written ({error})") from error


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and texts of a safetensors file; nothing in it can run."""
    try:
        with safe_open(path, framework="pt") as file:
            keys = list(file.keys())
            return {key: file.get_tensor(key) for key in keys}, dict(file.metadata() or {})
    except FileNotFoundError:
        raise DataError(f"{path}: no such checkpoint; make one with `featstore train`") from None
    except (OSError, SafetensorError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path}: not a readable safetensors file ({reason}); pickles are never opened") from error


def fill(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load tensors into a module, strictly: DataError names the first key that is missing, unknown or misshapen."""
    expected = module.state_dict()
    for key, value in expected.items():
        if key not in tensors:
            raise DataError(f"{path}: lacks {key} {tuple(value.shape)}; it belongs to another network or loss")
        if tensors[key].shape != value.shape or tensors[key].dtype != value.dtype:
            found = f"{tuple(tensors[key].shape)} {tensors[key].dtype}"
            raise DataError(f"{path}: {key} is {found}, expected {tuple(value.shape)} {value.dtype}")
    unknown = sorted(set(tensors) - set(expected))
    if unknown:
        raise DataError(f"{path}: unknown key {unknown[0]}; it belongs to another network or loss")
    module.load_state_dict(dict(tensors))
