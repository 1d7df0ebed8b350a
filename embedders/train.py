"""One training loop for every network and loss: deterministic by seed, resumable, judged on held-out normal clips.

The state of a training lies beside its checkpoint (`CHECKPOINT.resume`, safetensors and JSON) and is written at the end
of every epoch and about once a minute; the same command goes on from there and ends with the same weights. Which epoch
is kept, and when to stop, is decided by the loss of normal training clips that were held out; no test clip is read.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from embedders.checkpoint import Trained, save
from embedders.train_loop import Loop, TrainProgress
from embedders.train_settings import Setup
from embedders.trained import Classify, make_model, plain
from embedders.training_data import Waves, class_labels, common_seconds, hold_out, training_clips
from featstore.clip import Clip


def train(
    root: Path,
    clips: Sequence[Clip],
    setup: Setup,
    path: Path,
    *,
    device: str = "cpu",
    threads: int = 2,
    report: Callable[[TrainProgress], None] = lambda progress: None,
) -> Trained:
    """Train on the normal training clips among `clips` (paths below `root`), write the checkpoint to `path`.

    DataError where recordings cannot be used, or the state beside `path` is of another training; ValueError for
    settings that mean nothing.
    """
    chosen = training_clips(clips)
    network = dict(setup.network)
    network.setdefault("seconds", common_seconds(root, chosen))
    setup = replace(setup, network=network)
    config = setup.kind.config_type(**network)
    classes, labels = class_labels(chosen, setup.train.labels)
    held = hold_out(labels, setup.train.holdout, np.random.default_rng(setup.train.seed))
    samples = max(round(config.seconds * config.sample_rate_hz), config.min_samples)
    waves = Waves([root / clip.path for clip in chosen], config.sample_rate_hz, samples, setup.train.channel, threads)
    loss = {"name": setup.train.loss, "params": dict(setup.loss)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(setup.train.seed)
        model = make_model(setup.kind, config, classes, loss)
    loop = Loop(setup.train, model.to(device), waves, labels, held=held, report=report)
    key = _key(setup, config, chosen, labels)
    try:
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, benchmark=False):
            tensors, facts = loop.run(path.with_name(path.name + ".resume"), key)
    finally:
        waves.close()
    is_classifier = setup.kind.objective_type is Classify
    facts |= {"clips": int((~held).sum()), "held_out": int(held.sum()), "train": plain(setup.train)}
    trained = Trained(
        setup.kind.name, plain(config), tensors, classes if is_classifier else (), loss if is_classifier else {}, facts
    )
    save(path, trained)
    path.with_name(path.name + ".resume").unlink(missing_ok=True)
    return trained


def _key(setup: Setup, config: Any, clips: Sequence[Clip], labels: np.ndarray) -> str:
    """Equal exactly if two trainings are the same."""
    facts = [setup.kind.name, plain(config), plain(setup.train), dict(setup.loss), [clip.path for clip in clips]]
    return hashlib.sha256(json.dumps([*facts, labels.tolist()], sort_keys=True).encode()).hexdigest()
