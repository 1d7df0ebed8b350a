"""Training of any network with any loss: deterministic by seed, resumable, evaluated on held-out normal clips.

The state is saved beside the checkpoint (`CHECKPOINT.resume`, safetensors and JSON) about once a minute, also within an
epoch; the same command resumes from it and ends with the same weights. The loss of held-out normal training clips
selects the epoch and decides when to stop; test clips are never read.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from embedders import create
from embedders.build_limit import BuildLimit, TooLargeError
from embedders.networks.checkpoint import Trained, save
from embedders.networks.limits import LONGEST_S
from embedders.networks.objectives.classify import Classify
from embedders.networks.trained import make_model, plain
from embedders.training.data import Waves, common_seconds, hold_out, training_clips
from embedders.training.labels import with_clusters
from embedders.training.loop import Loop, TrainProgress
from embedders.training.plan import Plan, make_plan
from embedders.training.pseudo_labels import clustering_of
from embedders.training.settings import Setup
from embedders.training.state import key_of
from featstore.clip import Clip, recording_of
from featstore.errors import DataError

Report = Callable[[TrainProgress], None]


@dataclass(frozen=True)
class Job:
    """A training ready to run. network: its config. held: mask of held-out clips (n,). key: digest of all settings."""

    setup: Setup
    network: Any
    plans: tuple[Plan, ...]
    held: np.ndarray
    key: str


def train(
    root: Path,
    clips: Sequence[Clip],
    setup: Setup,
    path: Path,
    *,
    device: str = "cpu",
    threads: int = 2,
    report: Report = lambda progress: None,
) -> Trained:
    """Train on the normal training clips among `clips` (paths below `root`), write the checkpoint to `path`.

    Networks that learn faults are also trained on the confirmed ones, see `confirmed`.

    DataError if recordings cannot be used or the state beside `path` is of another training; ValueError for wrong
    settings.
    """
    objective = setup.kind.objective_type
    chosen = training_clips(clips, faults=bool(objective.labels))
    job = settle(root, chosen, setup, threads, device)
    resume = path.with_name(path.name + ".resume")
    samples = _samples(job.network.seconds, job.network.sample_rate_hz, job.network.min_samples)
    paths = [root / clip.path for clip in chosen]
    waves = Waves(paths, job.network.sample_rate_hz, samples, setup.channel, threads)
    try:
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, benchmark=False):
            tensors, facts = _run(job, waves, resume, device, report)
    finally:
        waves.close()
    facts |= {"clips": int((~job.held).sum()), "held_out": int(job.held.sum()), "train": plain(setup.train)}
    if setup.pretrain is not None:
        facts["pretrain"] = plain(setup.pretrain.train) | {"loss": dict(job.plans[0].loss)}
    last = job.plans[-1]
    classes = last.labels.classes if objective.keeps_classes else ()
    loss = last.loss if issubclass(objective, Classify) else {}
    trained = Trained(setup.kind.name, plain(job.network), tensors, classes, loss, facts)
    save(path, trained)
    resume.unlink(missing_ok=True)
    return trained


def settle(root: Path, clips: Sequence[Clip], setup: Setup, threads: int, device: str = "cpu") -> Job:
    """Decide all that precedes the first step: network config, pseudo-labels, plans of the stages, held-out clips."""
    network = dict(setup.network)
    network.setdefault("seconds", min(max(common_seconds(root, clips), 0.1), LONGEST_S))
    config = setup.kind.config_type(**network)
    spec = next((stage.train.clustered for stage in setup.stages if stage.train.clustered), "")
    if spec:

        def read(paths: Sequence[Path], rate_hz: int, least: int) -> Waves:
            return Waves(paths, rate_hz, _samples(config.seconds, rate_hz, least), setup.channel, threads)

        clustering = clustering_of(setup.train.clusters)
        clips = with_clusters(root, clips, create(spec, device), clustering, seed=setup.train.seed, read=read)
    plans = tuple(make_plan(setup.kind, config, stage, clips) for stage in setup.stages)
    held = hold_out(
        plans[-1].labels.label,
        setup.train.holdout,
        np.random.default_rng(setup.train.seed),
        recordings=[recording_of(clip.path) for clip in clips],
        every_class=bool(setup.kind.objective_type.labels),  # few confirmed faults
    )
    facts = [[plain(plan.config), plan.loss, plan.labels.classes, plan.labels.label.tolist()] for plan in plans]
    text = json.dumps([setup.kind.name, plain(config), [clip.path for clip in clips], facts], sort_keys=True)
    return Job(setup, config, plans, held, hashlib.sha256(text.encode()).hexdigest())


def _samples(seconds: float, rate_hz: int, least: int) -> int:
    """Length of training crops in samples."""
    return max(round(seconds * rate_hz), least)


def _run(
    job: Job, waves: Waves, resume: Path, device: str, report: Report
) -> tuple[Mapping[str, Tensor], dict[str, Any]]:
    """Run every stage from the interrupted one on; returns weights to save and the history of losses."""
    loops = [make_loop(job, plan, waves, device) for plan in job.plans]
    keys = [f"{job.key}.{i}" for i in range(len(loops))]
    tensors: Mapping[str, Tensor] = {}
    facts: dict[str, Any] = {}
    done = 0
    for i, (loop, key) in enumerate(zip(loops, keys, strict=True)):
        if key_of(resume) not in keys[i + 1 :]:
            if i and key_of(resume) != key:
                loop.state.start_from(tensors, facts["history"])
                loop.state.save(resume, key)
            total = sum(stage.total for stage in loops)
            tensors, facts = loop.run(resume, key, partial(_report_all, report, done, total))
        done += loop.total
    return tensors, facts


def _report_all(report: Report, done: int, total: int, progress: TrainProgress) -> None:
    """Report the progress of a stage as that of all stages."""
    report(replace(progress, done=done + progress.done, total=total))


def make_loop(job: Job, plan: Plan, waves: Waves, device: str) -> Loop:
    """Loop of a stage with fresh weights; ValueError if imprint is set and the loss has no centres."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.config.seed)
        model = _fresh(job, plan)
    if plan.config.imprint and not hasattr(model.loss, "centres"):
        raise ValueError(
            f"imprint={plan.config.imprint}: loss {plan.config.loss} has no class centres; use arcface, noisy_arcmix, "
            "clp_scf, adacos, scadacos or adaproj"
        )
    return Loop(plan, model.to(device), waves, job.held)


def _fresh(job: Job, plan: Plan) -> Any:
    """Network and objective with fresh weights; DataError where they are too large."""
    try:
        with BuildLimit():
            return make_model(job.setup.kind, job.network, plan.labels.classes, plan.loss)
    except TooLargeError as error:
        raise DataError(f"{job.setup.kind.name}: {error}") from error
