"""Epochs of steps over one model, judged on held-out normal clips; everything it draws depends on the seed alone."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from embedders.augment import mixup
from embedders.train_settings import TrainConfig
from embedders.train_state import State
from embedders.trained import Classify, Features, Reconstruct
from embedders.training_data import Waves
from featstore.errors import DataError

SAVE_S = 60.0
SETTLE_BATCHES = 16  # enough for means and variances, and little beside an epoch


@dataclass(frozen=True)
class TrainProgress:
    """Steps done of all, the epoch, and the running and last held-out loss."""

    done: int
    total: int
    epoch: int
    loss: float
    held_out: float


class Loop:
    """Epochs of steps over one model; `run` returns the weights to keep."""

    def __init__(
        self,
        config: TrainConfig,
        model: Classify | Reconstruct,
        waves: Waves,
        labels: np.ndarray,
        *,
        held: np.ndarray,
        report: Callable[[TrainProgress], None],
    ) -> None:
        self.config, self.waves, self.labels, self.report = config, waves, labels, report
        self.train_rows, self.held_rows = np.flatnonzero(~held), np.flatnonzero(held)
        self.n_classes = int(labels.max()) + 1
        self.device = next(model.parameters()).device
        optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
        ema = copy.deepcopy(model).eval().requires_grad_(False) if config.ema else None
        self.state = State(model, optimizer, ema, torch.Generator().manual_seed(config.seed))
        self.steps = max(1, len(self.train_rows) // config.batch)  # of one epoch; the rest waits for the next
        self.saved = time.monotonic()

    def run(self, resume: Path, key: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights of the best epoch, and the history of losses."""
        if resume.exists():
            self.state.restore(resume, key)
        position = self.state.position
        while position["epoch"] < self.config.epochs and not self._stale():
            self._epoch(lambda: self.state.save(resume, key))
            held_out = self._held_out()
            history = position["history"]
            least = min((one["held_out"] for one in history if math.isfinite(one["held_out"])), default=math.inf)
            if math.isfinite(held_out) and held_out <= least:  # of equals the last: few clips may hold no pairs at all
                self.state.best = {
                    name: value.detach().cpu().clone() for name, value in self.state.judged().state_dict().items()
                }
            history.append({"loss": position["sum"] / self.steps, "held_out": held_out})
            position.update(epoch=position["epoch"] + 1, step=0, sum=0.0)
            self.state.save(resume, key)
        if not self.state.best:
            raise DataError("every held-out loss was NaN or infinite; lower learning_rate")
        return self.state.best, {"history": position["history"]}

    def _stale(self) -> bool:
        losses = [entry["held_out"] for entry in self.state.position["history"]]
        since_best = np.argmin(np.nan_to_num(losses[::-1], nan=np.inf)) if losses else 0
        return bool(self.config.patience) and int(since_best) >= self.config.patience

    def _epoch(self, save_state: Callable[[], None]) -> None:
        position, seed = self.state.position, (self.config.seed, self.state.position["epoch"])
        order = self.train_rows[np.random.default_rng(seed).permutation(len(self.train_rows))]
        rows = np.array_split(order[: self.steps * self.config.batch], self.steps)[position["step"] :]
        if position["step"] == 0 and getattr(getattr(self.state.model, "loss", None), "epochwise", False):
            self._update_loss()
        self.state.model.train()
        for wave, batch in zip(self.waves.batches(rows, seed), rows, strict=True):
            position["sum"] += self._step(torch.from_numpy(wave), torch.from_numpy(self.labels[batch]))
            position["step"] += 1
            self._show()
            if time.monotonic() - self.saved > SAVE_S:
                save_state()
                self.saved = time.monotonic()

    def _step(self, waves: Tensor, first: Tensor) -> float:
        optimizer, model = self.state.optimizer, self.state.model
        position = self.state.position
        done = position["epoch"] * self.steps + position["step"]
        for group in optimizer.param_groups:
            share = done / (self.config.epochs * self.steps)
            group["lr"] = self.config.learning_rate * 0.5 * (1 + math.cos(math.pi * share))
        target = F.one_hot(first, self.n_classes).float()
        features, target = self._mixed(waves.to(self.device), target.to(self.device))
        with self._autocast():
            loss = model.objective(features, target, first.to(self.device))
        if not torch.isfinite(loss):
            raise DataError(f"the loss became {float(loss)} in epoch {position['epoch'] + 1}; lower learning_rate")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if self.state.ema is not None:
            _average(self.state.ema, model, self.config.ema)
        return float(loss.detach())

    def _autocast(self) -> torch.autocast:
        """Half the bytes where the device computes faster so; losses leave it by themselves."""
        fast = self.device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.autocast(self.device.type, torch.bfloat16, enabled=fast)

    def _mixed(self, waves: Tensor, target: Tensor) -> tuple[Features, Tensor]:
        """Features and labels, mixed with those of other clips of the batch as often as the config says."""
        random = self.state.random
        mix = partial(mixup, p=self.config.mixup, alpha=self.config.mixup_alpha, per_batch=True)
        if not self.config.mix_features:
            waves, target = mix(waves, target, rng=random)
            return self._front(waves), target
        start = random.get_state()  # the same clips and shares for every feature
        features, labels = [], target
        for x in self._front(waves):
            random.set_state(start)
            mixed, labels = mix(x, target, rng=random)
            features.append(mixed)
        return tuple(features), labels

    def _front(self, waves: Tensor) -> Features:
        features: Features = self.state.model.network.front(waves)  # type: ignore[operator]
        return features

    @torch.no_grad()
    def _held_out(self) -> float:
        """Mean loss of the held-out clips, unmixed and from their start on."""
        self._settle()
        model = self.state.judged().eval()
        rows = np.array_split(self.held_rows, -(-len(self.held_rows) // self.config.batch))
        total = 0.0
        for wave, batch in zip(self.waves.batches(rows, None), rows, strict=True):
            first = torch.from_numpy(self.labels[batch]).to(self.device)
            features = self._front(torch.from_numpy(wave).to(self.device))
            total += len(batch) * float(model.objective(features, F.one_hot(first, self.n_classes).float(), first))
        return total / len(self.held_rows)

    @torch.no_grad()
    def _settle(self) -> None:
        """Statistics of batch norms anew, averaged over training batches: running ones lag behind on few clips."""
        model = self.state.judged()
        norms = [module for module in model.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain average
        model.train()
        shuffled = np.random.default_rng(self.config.seed).permutation(self.train_rows)
        rows = np.array_split(shuffled[: self.steps * self.config.batch], self.steps)[:SETTLE_BATCHES]
        for wave in self.waves.batches(rows, None):
            model.network(*self._front(torch.from_numpy(wave).to(self.device)))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum

    @torch.no_grad()
    def _update_loss(self) -> None:
        """Show the loss the embeddings of all training clips."""
        model = self.state.model.eval()
        rows = np.array_split(self.train_rows, -(-len(self.train_rows) // self.config.batch))
        parts = []
        for wave in self.waves.batches(rows, None):
            parts.append(model.vectors(self._front(torch.from_numpy(wave).to(self.device)), "network"))
        update: Callable[[Tensor], None] = model.loss.update  # type: ignore[assignment, union-attr]
        update(torch.cat(parts))

    def _show(self) -> None:
        position = self.state.position
        history = position["history"]
        self.report(
            TrainProgress(
                position["epoch"] * self.steps + position["step"],
                self.config.epochs * self.steps,
                position["epoch"] + 1,
                position["sum"] / position["step"],
                history[-1]["held_out"] if history else math.nan,
            )
        )


@torch.no_grad()
def _average(ema: torch.nn.Module, model: torch.nn.Module, decay: float) -> None:
    """Move averaged weights towards the model's; counters and statistics of normalisation are copied."""
    for mean, value in zip(ema.parameters(), model.parameters(), strict=True):
        mean.lerp_(value, 1 - decay)
    for kept, found in zip(ema.buffers(), model.buffers(), strict=True):
        kept.copy_(found)
