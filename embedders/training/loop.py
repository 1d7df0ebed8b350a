"""The training loop of one stage: epochs, held-out loss after each; all randomness depends on the seed alone."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from embedders.networks.objectives.classify import Classify
from embedders.networks.objectives.names import Features
from embedders.networks.objectives.objective import Objective
from embedders.training.augment_plan import Augmenter
from embedders.training.data import Waves, balanced
from embedders.training.plan import Plan
from embedders.training.pseudo_labels import imprint
from embedders.training.rates import parameter_groups, turns, warmup_factor
from embedders.training.state import State
from featstore.errors import DataError

SAVE_S = 60.0  # seconds between saved states: writing that of a large network takes a second
NORM_BATCHES = 16  # to recompute batch-norm statistics: enough for means and variances, few of an epoch


@dataclass(frozen=True)
class TrainProgress:
    """Steps done and in all, current epoch, its mean loss so far, and the last held-out loss (NaN before the first)."""

    done: int
    total: int
    epoch: int
    loss: float
    held_out: float


class Loop:
    """Training of one model; `run` returns the weights of the best epoch."""

    def __init__(self, plan: Plan, model: Objective, waves: Waves, held: np.ndarray) -> None:
        config = plan.config
        self.config, self.plan, self.waves = config, plan, waves
        self.report: Callable[[TrainProgress], None] = lambda progress: None
        self.labels, self.n_classes = plan.labels.label, len(plan.labels.classes)
        self.train_rows, self.held_rows = np.flatnonzero(~held), np.flatnonzero(held)
        self.device = next(model.parameters()).device
        optimizer = torch.optim.AdamW(
            parameter_groups(model),
            lr=config.learning_rate,
            betas=(config.beta1, 0.999),
            weight_decay=config.weight_decay,
        )
        average = averaged(model, config.ema) if config.ema else None
        self.state = State(model, optimizer, average, torch.Generator().manual_seed(config.seed))
        self.augment = Augmenter(plan.augmentations, self.state.random, plan.keep)
        self.steps = max(1, len(self.train_rows) // config.batch)  # per epoch; an incomplete batch is left out
        self.saved = time.monotonic()

    @property
    def total(self) -> int:
        """Number of steps of all epochs."""
        return self.config.epochs * self.steps

    def run(
        self, resume: Path, key: str, report: Callable[[TrainProgress], None]
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights of the best epoch, and facts (its number, all losses); resumes from the state in `resume`, if any."""
        self.report = report
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            return self._run(resume, key)

    def _run(self, resume: Path, key: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        def save_if_due() -> None:
            if time.monotonic() - self.saved > SAVE_S:
                self.state.save(resume, key)
                self.saved = time.monotonic()

        if resume.exists():
            self.state.restore(resume, key)
        position = self.state.position
        while position["epoch"] < self.config.epochs and not self._stale():
            self._epoch(save_if_due)
            held_out = self._held_out()
            history = position["history"]
            losses = [epoch["held_out"] for epoch in history[self.config.imprint :]]
            least = min(filter(math.isfinite, losses), default=math.inf)
            complete = position["epoch"] >= self.config.imprint
            if complete and math.isfinite(held_out) and held_out <= least:
                # At a tie the later epoch: with few held-out clips a loss of pairs may always be 0.
                self.state.best = {
                    name: value.detach().cpu().clone() for name, value in self.state.evaluated().state_dict().items()
                }
                position["kept"] = position["epoch"] + 1
            history.append({"loss": position["sum"] / self.steps, "held_out": held_out})
            position.update(epoch=position["epoch"] + 1, step=0, sum=0.0)
            save_if_due()
        if not self.state.best:
            raise DataError("the held-out loss was NaN or infinite in every epoch; reduce learning_rate")
        return self.state.best, {key: position[key] for key in ("pretraining", "history", "kept") if key in position}

    def _stale(self) -> bool:
        """Whether the last `patience` epochs brought no better held-out loss."""
        losses = [epoch["held_out"] for epoch in self.state.position["history"][self.config.imprint :]]
        since_best = np.argmin(np.nan_to_num(losses[::-1], nan=np.inf)) if losses else 0
        return bool(self.config.patience) and int(since_best) >= self.config.patience

    def _epoch(self, save_state: Callable[[], None]) -> None:
        position, seed = self.state.position, (self.config.seed, self.state.position["epoch"])
        if position["step"] == 0:
            self._begin_epoch()
        rows = self._order(seed)[position["step"] :]
        self.state.model.train()
        for wave, batch in zip(self.waves.batches(rows, seed), rows, strict=True):
            position["sum"] += self.step(torch.from_numpy(wave), batch)
            position["step"] += 1
            self._show()
            save_state()

    def _begin_epoch(self) -> None:
        """Imprint centres and update the statistics of the loss, where the training needs it."""
        if self.state.position["epoch"] == self.config.imprint > 0:
            self._imprint()
        if getattr(getattr(self.state.model, "loss", None), "epochwise", False):
            update: Callable[[Tensor], None] = self.state.model.loss.update  # type: ignore[assignment, union-attr]
            update(self._vectors(self.train_rows, "network"))

    def _order(self, seed: tuple[int, int]) -> list[np.ndarray]:
        """Clips of every batch of an epoch; before `imprint` epochs without the classes to be imprinted.

        Classes of an objective's own are equally frequent: confirmed faults are few.
        """
        rows = self.train_rows
        if seed[1] < self.config.imprint:
            rows = rows[~self.plan.late[rows]]
        rng = np.random.default_rng(seed)
        order = balanced(rows, self.labels[rows], rng) if self.state.model.labels else rows[rng.permutation(len(rows))]
        return np.array_split(order[: self.steps * self.config.batch], min(self.steps, max(1, len(order) // 2)))

    def step(self, waves: Tensor, batch: np.ndarray) -> float:
        """Train on the waves (batch, time) of these clips; returns the loss, of several turns the last."""
        optimizer, model = self.state.optimizer, self.state.model
        position = self.state.position
        done = position["epoch"] * self.steps + position["step"]
        for group in optimizer.param_groups:
            rate = self.config.learning_rate * group["share"] * warmup_factor(model, done)
            group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * done / self.total))
        # Seeded per step, because dropout uses torch's own generator and the training may have been interrupted.
        torch.manual_seed(int(np.random.SeedSequence((self.config.seed, done)).generate_state(1)[0]))
        inputs = self._inputs(waves.to(self.device), batch, self.augment)
        for objective, parameters in turns(model):
            with self._autocast():
                loss = objective(*inputs)
            if not torch.isfinite(loss):
                raise DataError(f"the loss became {float(loss)} in epoch {position['epoch'] + 1}; reduce learning_rate")
            optimizer.zero_grad(set_to_none=True)  # parameters without a gradient are not updated
            loss.backward(inputs=parameters)  # type: ignore[no-untyped-call]
            optimizer.step()
        if self.state.average is not None:
            self.state.average.update_parameters(model)
        return float(loss.detach())

    def _inputs(self, waves: Tensor, batch: np.ndarray, augment: Augmenter) -> tuple[Any, ...]:
        """Arguments of the objective for a batch, after all augmentations."""
        first, target, extra = self._targets(batch)
        others = torch.cat([target[:, :0], *extra.values()], dim=1)  # mixing applies to all kinds of labels
        waves, target, others = augment.waves(waves, target, others)
        features, mixed = augment.features(self._front(waves), torch.cat([target, others], dim=1))
        widths = [target.shape[1], *(part.shape[1] for part in extra.values())]
        target, *parts = torch.split(mixed, widths, dim=1)
        features, pseudo = augment.spectrograms(features, target)
        copies = len(target) // len(first)
        first, view_of = first.repeat(copies), torch.arange(len(first), device=self.device).repeat(copies)
        if not isinstance(self.state.model, Classify):
            return features, target, first
        extra = dict(zip(extra, parts, strict=True)) | {"view_of": view_of}
        return features, target, first, extra, partial(augment.branches, target=pseudo)

    def _targets(self, batch: np.ndarray) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Class, one-hot class and other labels of these clips."""
        first = torch.from_numpy(self.labels[batch]).to(self.device)
        extra = {name: torch.from_numpy(rows[batch]).to(self.device) for name, rows in self.plan.labels.extra.items()}
        return first, F.one_hot(first, self.n_classes).float(), extra

    def _autocast(self) -> torch.autocast:
        """bfloat16 on devices that support it; losses turn it off themselves."""
        supported = self.device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.autocast(self.device.type, torch.bfloat16, enabled=supported)

    def _front(self, waves: Tensor) -> Features:
        features: Features = self.state.model.network.front(waves)  # type: ignore[operator]
        return features

    @torch.no_grad()
    def _held_out(self) -> float:
        """Mean loss of the held-out clips, cropped at their start; random numbers are the same in every epoch."""
        self._update_norms()
        model, augment = self.state.evaluated().eval(), self._fixed()
        total = 0.0
        for waves, batch in self._whole(self.held_rows):
            total += len(batch) * float(model.objective(*self._inputs(waves, batch, augment)))
        return total / len(self.held_rows)

    def _fixed(self) -> Augmenter:
        """The augmentations that define the task, and torch's own generator, both at a fixed state."""
        torch.manual_seed(self.config.seed)
        rng = torch.Generator().manual_seed(self.config.seed)
        return Augmenter(tuple(a for a in self.plan.augmentations if a.task), rng, self.plan.keep)

    @torch.no_grad()
    def _update_norms(self) -> None:
        """Recompute batch-norm statistics as averages over training batches: with few steps, running ones lag."""
        model = self.state.evaluated().eval()
        norms = [module for module in model.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
        if not norms:
            return
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # cumulative average
            norm.train()  # norms only, so that adaptive scales do not change
        shuffled = np.random.default_rng(self.config.seed).permutation(self.train_rows)
        rows = np.array_split(shuffled[: self.steps * self.config.batch], self.steps)[:NORM_BATCHES]
        augment = self._fixed()
        for wave, batch in zip(self.waves.batches(rows, None), rows, strict=True):
            model.objective(*self._inputs(torch.from_numpy(wave).to(self.device), batch, augment))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum

    @torch.no_grad()
    def _imprint(self) -> None:
        """Set the centres of the classes left out so far to the mean direction of their embeddings."""
        rows = self.train_rows[self.plan.late[self.train_rows]]
        vectors = self._vectors(rows, "embedding").double().cpu().numpy()
        for model in self.state.models():
            centres: Tensor = model.loss.centres
            imprinted = imprint(centres.double().cpu().numpy(), vectors, self.labels[rows])
            centres.copy_(torch.from_numpy(imprinted))

    @torch.no_grad()
    def _vectors(self, rows: np.ndarray, output: str) -> Tensor:
        """Vectors of clips by the current weights: (n, dim)."""
        model = self.state.model.eval()
        return torch.cat([model.vectors(self._front(waves), output) for waves, _ in self._whole(rows)])

    def _whole(self, rows: np.ndarray) -> Iterator[tuple[Tensor, np.ndarray]]:
        """Batches of waves, cropped at their start and not augmented, with their clips."""
        parts = np.array_split(rows, -(-len(rows) // self.config.batch))
        for wave, batch in zip(self.waves.batches(parts, None), parts, strict=True):
            yield torch.from_numpy(wave).to(self.device), batch

    def _show(self) -> None:
        position = self.state.position
        history = position["history"]
        self.report(
            TrainProgress(
                position["epoch"] * self.steps + position["step"],
                self.total,
                position["epoch"] + 1,
                position["sum"] / position["step"],
                history[-1]["held_out"] if history else math.nan,
            )
        )


def averaged(model: torch.nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average of a model's weights, starting at the current ones; buffers are copied."""
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]
    average.n_averaged += 1  # without this the first update would copy instead of average
    return average.eval().requires_grad_(False)
