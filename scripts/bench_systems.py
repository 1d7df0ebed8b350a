"""Train and score published systems on one labelled folder, and print one Markdown table.

    python scripts/bench_systems.py DATA --work DIR [--only NAME ...] [--epochs N] [--set KEY=VALUE ...]

Recipes are those of `detect recipes`, by name or file. They run by their own commands, which are printed to stderr.
Normal training clips train, held-out normal clips select the epoch, and labels of test clips are used for the metrics
only. DIR holds checkpoints and stores: a finished training with the same settings is not repeated, an interrupted one
is resumed. `--epochs` and `--set` replace settings of every trained recipe, such as batch=16 for few clips. `--backend`
scores every trained embedding by another detector too. The last rows are embeddings without training.
`loss` is that of the first and the last epoch, `held out` the same of the held-out clips. `ids` is the share of
training clips, and of normal test clips, whose machine and section is predicted correctly: by the network if the recipe
stores its posteriors, otherwise by a logistic regression on the embedding. It shows whether a classifier can learn
anything from these data. Data without domains, as of 2020, are scored by the mean of AUC and pAUC. Seconds are those of
the clock on a GPU; on a CPU they are processor time of all threads, which other programs disturb less.
"""

import argparse
import contextlib
import hashlib
import json
import shlex
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from embedders import create
from embedders.networks.objectives.names import section_names
from embedders.networks.trained import TrainedEmbedder
from ensemble.defaults import single_recipe, split_source
from ensemble.output import PLAIN_RULE, labelled, measure, score_table, year_of
from ensemble.run import detect
from ensemble.systems.catalogue import find_system, names
from ensemble.systems.lines import commands
from ensemble.systems.system import System
from featstore.building.memory import keep_freed_memory
from featstore.building.work import channels_of
from featstore.cli import main as featstore
from featstore.layouts.recognise import find_clips
from featstore.store import FeatureStore
from featstore.table import ClipTable

UNTRAINED = ("logmel", "twfr")
UNTRAINED_DETECTOR = "mahalanobis:standardize=true"
METRICS = {"AUC_s": "auc_source", "AUC_t": "auc_target", "pAUC": "pauc"}
PLAIN_METRICS = {"AUC": "auc", "pAUC": "pauc"}  # of data without domains
FACTS = ("kept epoch", "loss", "held out", "ids", "parameters", "s/epoch", "clips/s")
HEADER = ("system", "h-mean", *METRICS, *FACTS)
PLAIN_HEADER = ("system", "mean", *PLAIN_METRICS, *FACTS)
TIMED_CLIPS, TIMED_S = 8, 2.0


@dataclass(frozen=True)
class Work:
    """Folders and device of a run, and settings that replace those of the recipes."""

    data: Path
    folder: Path
    device: str
    threads: int
    settings: tuple[str, ...]
    epochs: int

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
        """Settings that replace those of a system."""
        stages = ("epochs", "pretrain.epochs") if self.epochs else ()
        known = [f"{key}={self.epochs}" for key in stages if key in system.settings]
        return (*known, *self.settings) if system.trained else ()


def run(words: list[str]) -> None:
    """Run a command of featstore; print it and its output to stderr."""
    print(f"$ {shlex.join(words)}", file=sys.stderr, flush=True)
    with contextlib.redirect_stdout(sys.stderr):
        try:
            featstore(words[1:])
        except SystemExit as done:
            if done.code:
                raise SystemExit(f"failed: {shlex.join(words)}") from None


def trained(work: Work, system: System, output: str) -> tuple[System, Path]:
    """Train unless a checkpoint exists, and embed; returns the system, named by its settings, and the checkpoint."""
    changed = work.changed(system)
    of_channel = {"channel": system.channel} if system.channel else {}
    settings = {**system.network, **system.settings, **of_channel, **dict(item.split("=", 1) for item in changed)}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    checkpoint = work.folder / f"{system.embedder}-{digest}.safetensors"
    system = replace(system, name=f"{system.embedder}-{digest}-{output}", output=output)
    places = {"data": str(work.data), "store": str(work.store(system.name)), "checkpoint": str(checkpoint)}
    *training, building, _ = commands(system, **places, settings=changed)
    if training and not checkpoint.exists():
        resumed = checkpoint.with_name(checkpoint.name + ".resume").exists()
        start = work.clock()
        run([*training[0], "--device", work.device, "--threads", str(work.threads)])
        if not resumed:  # the time before the interruption is unknown
            checkpoint.with_suffix(".json").write_text(json.dumps(work.clock() - start))
    run([*building, "--device", work.device, "--workers", "0"])
    return system, checkpoint


def rows_of(work: Work, name: str, backends: list[str]) -> list[tuple[str, ...]]:
    """Rows of a recipe: by its own detector, and for trained embeddings by those of --backend."""
    system = find_system(name)
    own, checkpoint = trained(work, system, system.output)
    facts = (training_facts if own.trained else other_facts)(work, own, checkpoint)
    rows = [(name, *metrics(work, source(own), own.detector, own.group_by), *facts)]
    for backend in backends if own.trained else ():
        embedded, _ = trained(work, system, "embedding")
        rows.append((f"{name}, {backend}", *metrics(work, source(embedded), backend), *[""] * len(facts)))
    return rows


def source(system: System) -> str:
    """Embedding of a system as NAME or NAME@VIEW."""
    return f"{system.name}@{system.view}" if system.view else system.name


def metrics(work: Work, embedding: str, detector: str, group_by: str = "") -> tuple[str, ...]:
    """Official score with its interval, and the means of its parts, in percent (METRICS or PLAIN_METRICS)."""
    store = work.opened(embedding)
    detection = detect(store, replace(single_recipe(store, detector, embedding), group_by=group_by))
    clips, _ = labelled(detection.clips)
    year = year_of(clips)
    evaluation, intervals = measure(score_table(detection), clips, year)
    score = intervals.score
    parts = [f"{100 * evaluation.mean(metric):.1f}" for metric in metrics_of(year).values()]
    return f"{100 * score.value:.1f} [{100 * score.low:.0f}, {100 * score.high:.0f}]", *parts


def metrics_of(year: int) -> dict[str, str]:
    """Column -> metric of a year's rule."""
    return PLAIN_METRICS if year == PLAIN_RULE else METRICS


def header_of(data: Path) -> tuple[str, ...]:
    """Header of the table: data without domains have one AUC."""
    year = year_of(ClipTable.from_clips(find_clips(data).clips))
    return PLAIN_HEADER if year == PLAIN_RULE else HEADER


def other_facts(work: Work, system: System, checkpoint: Path) -> tuple[str, ...]:
    """FACTS of a system without training."""
    return "", "", "", linear_ids(work, source(system)), "0", "", speed(work, system, checkpoint)


def training_facts(work: Work, system: System, checkpoint: Path) -> tuple[str, ...]:
    """FACTS of a trained system; parameters are those of the network alone."""
    embedder = create(f"{system.embedder}:checkpoint={checkpoint}", work.device)
    assert isinstance(embedder, TrainedEmbedder)
    history = embedder.trained.facts["history"]
    kept = embedder.trained.facts["kept"]
    losses = [f"{history[0][key]:.3g} to {history[-1][key]:.3g}" for key in ("loss", "held_out")]
    numbers = sum(parameter.numel() for parameter in embedder.model.network.parameters())
    n_epochs = len(history) + len(embedder.trained.facts.get("pretraining", []))
    timing = checkpoint.with_suffix(".json")
    per_epoch = f"{json.loads(timing.read_text()) / n_epochs:.1f}" if timing.exists() else ""
    ids = posterior_ids(work, system, embedder) if system.output == "posterior" else linear_ids(work, source(system))
    return f"{kept} of {len(history)}", *losses, ids, f"{numbers:,}", per_epoch, speed(work, system, checkpoint)


def posterior_ids(work: Work, system: System, embedder: TrainedEmbedder) -> str:
    """Share of training clips, and of normal test clips, whose section has the largest posterior (%)."""
    store = work.opened(system.name)
    sections = np.array(section_names(embedder.trained.classes))
    clips = store.clips(system.name)
    correct = sections[store.matrix(system.name).argmax(axis=1)] == ids_of(store, system.name)
    train, normal = clips.where(split="train"), clips.where(split="test", label="normal")
    return ids_text(correct[train].mean(), correct[normal].mean())


def linear_ids(work: Work, embedding: str) -> str:
    """The same by a logistic regression on a view, fitted on the training clips."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    store = work.opened(embedding)
    name, view = split_source(store, embedding)
    clips, X = store.clips(name), store.matrix(name).astype(np.float64)
    X = X[:, store.info(name).views.index(view)] if view else X.reshape(len(X), -1)
    ids = ids_of(store, name)
    train, normal = clips.where(split="train"), clips.where(split="test", label="normal")
    if len(set(ids[train])) < 2:
        return ""
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=10_000)).fit(X[train], ids[train])
    return ids_text(classifier.score(X[train], ids[train]), classifier.score(X[normal], ids[normal]))


def ids_text(train: float, test: float) -> str:
    """Two shares as percentages."""
    return f"{100 * train:.0f}, {100 * test:.0f}"


def ids_of(store: FeatureStore, name: str) -> np.ndarray:
    """Machine and section of every clip as one text."""
    clips = store.clips(name)
    return np.char.add(np.char.add(clips.column("machine").astype(str), "|"), clips.column("section").astype(str))


def speed(work: Work, system: System, checkpoint: Path) -> str:
    """Clips of 10 s embedded per second, after a first call."""
    spec = commands(system, checkpoint=str(checkpoint))[-2][5]
    embedder = create(spec, work.device)
    channels = (channels_of(embedder),) if channels_of(embedder) > 1 else ()
    shape = (TIMED_CLIPS, *channels, 10 * embedder.sample_rate_hz)
    waves = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    embedder.embed(waves)
    start, n = work.clock(), 0
    while work.clock() - start < TIMED_S:
        embedder.embed(waves)
        n += TIMED_CLIPS
    return f"{n / (work.clock() - start):.0f}"


def untrained(work: Work) -> list[tuple[str, ...]]:
    """Rows of all views of the untrained embeddings by one detector, best first."""
    views = []
    for name in UNTRAINED:
        run(["featstore", "build", str(work.data), str(work.store(name)), "--workers", "0", "-e", name])
        views += [f"{name}@{view}" for view in work.opened(name).info(name).views]
    rows = [
        (
            f"{view}, {UNTRAINED_DETECTOR}",
            *metrics(work, view, UNTRAINED_DETECTOR),
            *("", "", "", linear_ids(work, view), "0", "", ""),
        )
        for view in views
    ]
    return sorted(rows, key=lambda row: -float(row[1].split()[0]))


def main() -> None:
    """Run the recipes one after another; print the rows of each when it is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True, metavar="DIR")
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--epochs", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    parser.add_argument("--backend", action="append", default=[], metavar="DETECTOR")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    keep_freed_memory()  # as in a training, so that speeds do not depend on whether one ran before
    args.work.mkdir(parents=True, exist_ok=True)
    work = Work(args.data, args.work, args.device, args.threads, tuple(args.settings), args.epochs)
    header = header_of(args.data)
    print(f"| {' | '.join(header)} |\n|{'---|' * len(header)}", flush=True)
    for name in args.only or names():
        try:
            show(rows_of(work, name, args.backend))
        except SystemExit as failed:  # for example missing weights of an encoder; continue with other recipes
            print(failed, file=sys.stderr)
            show([(name, "not run", *[""] * (len(header) - 2))])
    show(untrained(work))


def show(rows: list[tuple[str, ...]]) -> None:
    """Print lines of the table."""
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
