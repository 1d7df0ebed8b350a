"""Runs of published systems on one data set, for bench_systems.py: training, embedding and metrics.

Nothing is repeated: checkpoints, stores and chosen recipes are named by the commands that make them.
"""

import contextlib
import hashlib
import json
import shlex
import sys
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from systems_measured import PARTS
from systems_small import small_settings

from detectors.metrics.intervals import Interval
from detectors.metrics.labels import Labels
from detectors.metrics.official import Evaluation, evaluate, rule_of
from detectors.metrics.scores import ScoreTable, read_scores
from ensemble.defaults import single_recipe
from ensemble.output import SCORES_FILE, labelled, measure, score_table, year_of
from ensemble.run import detect
from ensemble.systems.lines import command_lines, source
from ensemble.systems.system import System
from featstore.cli import main as featstore
from featstore.layouts.recognise import Listing, find_clips
from featstore.store import FeatureStore
from featstore.table import ClipTable


@dataclass(frozen=True)
class Dataset:
    """A labelled folder by name. year: rule of its score, 0 for the rule that its clips allow. truth: its labels."""

    name: str
    folder: Path
    year: int = 0
    truth: Path | None = None

    @cached_property
    def listing(self) -> Listing:
        """The clips of the folder."""
        return find_clips(self.folder, ground_truth=self.truth)

    @cached_property
    def rule(self) -> int:
        """The year, or the one that the clips allow."""
        return self.year or year_of(ClipTable.from_clips(self.listing.clips))

    @cached_property
    def n_train(self) -> int:
        """Number of normal training clips."""
        return sum(clip.split == "train" and clip.label != "anomaly" for clip in self.listing.clips)

    @property
    def machines(self) -> tuple[str, ...]:
        """All machines, sorted."""
        return tuple(sorted({clip.machine for clip in self.listing.clips}))


@dataclass(frozen=True)
class Work:
    """Data, folder and device of a run, and settings that replace those of the recipes."""

    data: Dataset
    folder: Path
    device: str = "cpu"
    threads: int = 0
    settings: tuple[str, ...] = ()
    epochs: int = 0
    small: bool = False
    seed: int = 0

    def store(self, name: str) -> Path:
        """Store of an embedding; one each, so that several benchmarks can run in one folder at the same time."""
        return self.folder / f"{name}.store"

    def opened(self, embedding: str) -> FeatureStore:
        """Open the store of an embedding, given as NAME or NAME@VIEW."""
        return FeatureStore.open(self.store(embedding.partition("@")[0]))

    def clock(self) -> float:
        """Clock in seconds, for differences."""
        return time.process_time() if self.device == "cpu" else time.monotonic()

    def changed(self, system: System) -> tuple[str, ...]:
        """Settings that replace those of a system: of --small, --epochs, the seed and --set; the last one counts."""
        if not system.trained:
            return ()
        small = small_settings(system, self.data.n_train) if self.small else []
        stages = ("epochs", "pretrain.epochs") if self.epochs else ()
        known = [f"{key}={self.epochs}" for key in stages if key in system.settings]
        seed = [f"seed={self.seed}"] if self.seed else []
        return (*small, *known, *seed, *self.settings)


@dataclass(frozen=True)
class Metrics:
    """Official metrics of one run; score: with its 95 % interval. pooled: those of 2020, one AUC per machine type."""

    evaluation: Evaluation
    score: Interval
    pooled: Evaluation | None

    def part(self, name: str) -> float:
        """Mean of a part of the official score, such as "pauc" (both of 2021), in percent."""
        scored = rule_of(self.evaluation.year).scored
        fitting = [metric for metric in scored if metric == name] or [m for m in scored if m.startswith(f"{name}_")]
        return 100 * self.evaluation.mean(*fitting)

    def parts(self) -> dict[str, float]:
        """Every part of the official score."""
        scored = rule_of(self.evaluation.year).scored
        return {name: self.part(name) for name in PARTS if name == "pauc" or name in scored}


def run(words: list[str]) -> None:
    """Run a command of featstore or detect; print it and its output to stderr."""
    from ensemble.cli import main as detect_main

    print(f"$ {shlex.join(words)}", file=sys.stderr, flush=True)
    with contextlib.redirect_stdout(sys.stderr):
        try:
            {"featstore": featstore, "detect": detect_main}[words[0]](words[1:])
        except SystemExit as done:
            if done.code:
                raise SystemExit(f"failed: {shlex.join(words)}") from None


def digest_of(system: System, changed: tuple[str, ...]) -> str:
    """Hash of what makes the checkpoint, or the embedding of a system without training."""
    first = command_lines(replace(system, name=""), settings=changed)[0]
    return hashlib.sha256(json.dumps(first).encode()).hexdigest()[:8]


def trained(work: Work, system: System, output: str) -> tuple[System, Path]:
    """Train unless a checkpoint exists, and embed; returns the system, named by its settings, and the checkpoint."""
    if system.translator:
        raise SystemExit(f"{system.name}: needs a file of confirmed faults; see `detect recipes {system.name}`")
    changed = work.changed(system)
    digest = digest_of(system, changed)
    checkpoint = work.folder / f"{system.embedder}-{digest}.safetensors"
    system = replace(system, name=f"{system.embedder}-{digest}-{output}", output=output)
    places = {"data": str(work.data.folder), "store": str(work.store(system.name)), "checkpoint": str(checkpoint)}
    training, building = (command_lines(system, **places, settings=changed)[i] for i in (0, int(system.trained)))
    if system.trained and not checkpoint.exists():
        resumed = checkpoint.with_name(checkpoint.name + ".resume").exists()
        start = work.clock()
        run([*training, "--device", work.device, "--threads", str(work.threads)])
        if not resumed:  # the time before the interruption is unknown
            checkpoint.with_suffix(".json").write_text(json.dumps(work.clock() - start))
    build(work, building)
    return system, checkpoint


def build(work: Work, words: list[str]) -> None:
    """Run a command of `featstore build`, with the labels of the data set."""
    truth = ["--ground-truth", str(work.data.truth)] if work.data.truth else []
    run([*words, *truth, "--device", work.device, "--workers", "0"])


def metrics(work: Work, system: System) -> Metrics:
    """Metrics of a stored system by its own detector, or by the one that generated anomalies choose."""
    if system.select:
        return measured(work, chosen_scores(work, system), work.opened(system.name).clips(system.name))
    return detector_metrics(work, source(system), system.detector, system.group_by)


def detector_metrics(work: Work, embedding: str, detector: str, group_by: str = "") -> Metrics:
    """Metrics of a stored embedding, NAME or NAME@VIEW, by one detector."""
    store = work.opened(embedding)
    detection = detect(store, replace(single_recipe(store, detector, embedding), group_by=group_by))
    return measured(work, score_table(detection), detection.clips)


def chosen_scores(work: Work, system: System) -> ScoreTable:
    """Scores of all machines, each by the detector that was chosen for it."""
    store, tables = work.store(system.name), []
    lines = command_lines(system, data=str(work.data.folder), store=str(store), machines=work.data.machines)
    choosing = lines[1 + system.trained :]
    for machine, select, scoring in zip(work.data.machines, choosing[::2], choosing[1::2], strict=True):
        if not Path(select[select.index("-o") + 1]).exists():
            run([*select, "--workers", "0"])
        out = work.folder / f"{system.name}.{machine}.out"
        run([*scoring, "-o", str(out)])
        tables.append(read_scores(out / SCORES_FILE))
    keys = tuple(key for table in tables for key in table.keys)
    return ScoreTable(system.name, keys, np.concatenate([table.scores for table in tables]))


def measured(work: Work, scores: ScoreTable, clips: ClipTable) -> Metrics:
    """Official metrics by the rule of the data set; where this is 2020, also with the ids of a machine type pooled."""
    known, reasons = labelled(clips[clips.where(split="test", variant="")], work.data.rule)
    if not len(known):
        raise SystemExit(f"{work.data.name}: no section can be measured: {'; '.join(reasons) or 'no labels'}")
    evaluation, intervals = measure(scores, known, work.data.rule)
    pooled = None
    if work.data.rule == 2020:
        labels = Labels.of(known)
        table = ScoreTable(scores.name, labels.keys, scores.aligned(labels.keys))
        pooled = evaluate(table, labels.pooled(), work.data.rule)
    return Metrics(evaluation, intervals.score, pooled)
