"""What a table of systems says beside the metrics, for bench_systems.py: losses, sizes, speeds, predicted sections."""

import json
from pathlib import Path
from typing import TypedDict

import numpy as np
from systems_runs import Work

from embedders import create
from embedders.networks.objectives.names import section_names
from embedders.networks.trained import TrainedEmbedder
from ensemble.checks.named import split_source
from ensemble.systems.lines import command_lines, source
from ensemble.systems.system import System
from featstore.building.work import channels_of
from featstore.store import FeatureStore

TIMED_CLIPS, TIMED_S = 8, 2.0


class Facts(TypedDict, total=False):
    """Facts of a `systems_measured.Measured`, by the names there."""

    kept: int
    epochs: int
    loss_first: float
    loss_last: float
    held_out_first: float
    held_out_last: float
    ids_train: float
    ids_test: float
    parameters: int
    seconds_per_epoch: float
    clips_per_s: float


def facts_of(work: Work, system: System, checkpoint: Path) -> Facts:
    """Facts of a stored system."""
    if system.trained:
        return training_facts(work, system, checkpoint)
    spec = command_lines(system)[0][5]
    return {**linear_ids(work, source(system)), "parameters": 0, "clips_per_s": speed(work, spec)}


def training_facts(work: Work, system: System, checkpoint: Path) -> Facts:
    """Facts of a trained system; parameters are those of the network alone."""
    embedder = create(f"{system.embedder}:checkpoint={checkpoint}", work.device)
    assert isinstance(embedder, TrainedEmbedder)
    history = embedder.trained.facts["history"]
    facts: Facts = {
        "kept": embedder.trained.facts["kept"],
        "epochs": len(history),
        "loss_first": history[0]["loss"],
        "loss_last": history[-1]["loss"],
        "held_out_first": history[0]["held_out"],
        "held_out_last": history[-1]["held_out"],
        "parameters": sum(parameter.numel() for parameter in embedder.model.network.parameters()),
    }
    timing = checkpoint.with_suffix(".json")
    if timing.exists():
        n_epochs = len(history) + len(embedder.trained.facts.get("pretraining", []))
        facts["seconds_per_epoch"] = json.loads(timing.read_text()) / n_epochs
    by_column = system.output == "posterior" or system.detector.startswith("posterior:")
    ids = posterior_ids(work, system, embedder) if by_column else linear_ids(work, source(system))
    output = "" if system.output == "embedding" else f",output={system.output}"
    spec = f"{system.embedder}:checkpoint={checkpoint}{output}"
    return {**facts, **ids, "clips_per_s": speed(work, spec)}


def posterior_ids(work: Work, system: System, embedder: TrainedEmbedder) -> Facts:
    """Share of training clips, and of normal test clips, whose section has the largest column."""
    store = work.opened(system.name)
    sections = np.array(section_names(embedder.trained.classes))
    clips = store.clips(system.name)
    correct = sections[store.matrix(system.name).argmax(axis=1)] == ids_of(store, system.name)
    train, normal = clips.where(split="train"), clips.where(split="test", label="normal")
    return _shares(correct[train].mean(), correct[normal].mean())


def linear_ids(work: Work, embedding: str) -> Facts:
    """The same by a logistic regression on a view, fitted on the training clips; empty where there is one section."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    store = work.opened(embedding)
    name, view = split_source(store, embedding)
    clips, X = store.clips(name), store.matrix(name).astype(np.float64)
    X = X[:, store.info(name).views.index(view)] if view else X.reshape(len(X), -1)
    ids = ids_of(store, name)
    train = clips.where(split="train", variant="")
    normal = clips.where(split="test", label="normal", variant="")
    if len(set(ids[train])) < 2:
        return {}
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=10_000)).fit(X[train], ids[train])
    return _shares(classifier.score(X[train], ids[train]), classifier.score(X[normal], ids[normal]))


def _shares(train: float, test: float) -> Facts:
    return {"ids_train": 100 * float(train), "ids_test": 100 * float(test)}


def ids_of(store: FeatureStore, name: str) -> np.ndarray:
    """Machine and section of every clip as one text."""
    clips = store.clips(name)
    ids: np.ndarray = np.char.add(
        np.char.add(clips.column("machine").astype(str), "|"), clips.column("section").astype(str)
    )
    return ids


def speed(work: Work, spec: str) -> float:
    """Clips of 10 s embedded per second, after a first call."""
    embedder = create(spec, work.device)
    channels = (channels_of(embedder),) if channels_of(embedder) > 1 else ()
    shape = (TIMED_CLIPS, *channels, 10 * embedder.sample_rate_hz)
    waves = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    embedder.embed(waves)
    start, n = work.clock(), 0
    while work.clock() - start < TIMED_S or not n:
        embedder.embed(waves)
        n += TIMED_CLIPS
    return n / max(work.clock() - start, 1e-9)
