"""The state of a training, and its file beside the checkpoint (`CHECKPOINT.resume`)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from embedders.networks.checkpoint import read, write
from embedders.networks.objectives.objective import Objective
from featstore.errors import DataError

STATE = "featstore.training"

MODELS = ("model", "ema")  # prefixes of their tensors in the file


@dataclass
class State:
    """All values that change while training."""

    model: Objective
    optimizer: torch.optim.Optimizer
    average: AveragedModel | None
    random: torch.Generator
    best: dict[str, Tensor] = field(default_factory=dict)
    position: dict[str, Any] = field(default_factory=lambda: {"epoch": 0, "step": 0, "sum": 0.0, "history": []})

    def models(self) -> list[Any]:
        """The trained model, then its moving average if there is one."""
        return [self.model] if self.average is None else [self.model, self.average.module]

    def evaluated(self) -> Any:
        """The model whose weights are evaluated and saved."""
        return self.models()[-1]

    def start_from(self, tensors: Mapping[str, Tensor], history: list[dict[str, float]]) -> None:
        """Start from the tensors of an earlier stage that fit by name and shape; record its history."""
        own = self.model.state_dict()
        fitting = {k: v for k, v in tensors.items() if k in own and own[k].shape == v.shape}
        for model in self.models():
            model.load_state_dict(fitting, strict=False)
        self.position["pretraining"] = history

    def save(self, path: Path, key: str) -> None:
        """Write the state, completely or not at all."""
        tensors: dict[str, Tensor] = {}
        for name, model in zip(MODELS, self.models(), strict=False):
            tensors |= {f"{name}.{k}": v for k, v in model.state_dict().items()}
        tensors |= {f"best.{k}": v for k, v in self.best.items()}
        for i, values in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{k}": v for k, v in values.items()}
        tensors["random"] = self.random.get_state()
        write(path, tensors, {STATE: json.dumps({"key": key, **self.position})})

    def restore(self, path: Path, key: str) -> None:
        """Load a saved state; DataError if it is of another training."""
        tensors, metadata = read(path)
        notes = json.loads(metadata.get(STATE, "{}"))
        if notes.pop("key", None) != key:
            raise DataError(
                f"{path}: is the state of a training with other settings or recordings; delete it to start again, "
                "or repeat the former command to resume"
            )
        for name, model in zip(MODELS, self.models(), strict=False):
            model.load_state_dict(_with_prefix(tensors, f"{name}."))
        self.best = _with_prefix(tensors, "best.")
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _with_prefix(tensors, "optimizer.").items():
            i, _, part = name.partition(".")
            moments.setdefault(int(i), {})[part] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.random.set_state(tensors["random"])
        self.position = notes


def key_of(path: Path) -> str:
    """Key of a saved state; "" if there is none."""
    if not path.exists():
        return ""
    return str(json.loads(read(path)[1].get(STATE, "{}")).get("key", ""))


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Tensors whose names start with `prefix`, without it."""
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
