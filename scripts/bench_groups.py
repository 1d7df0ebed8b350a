"""Real false-alarm rates on new days, with single clips and with whole days left out (`--group day`).

    python scripts/bench_groups.py [--machines N] [--days N ...] [--spread S ...]

Synthetic embeddings: a clip is a normal vector plus an offset that all clips of its day share. Every machine has 300
training clips of a few days, and test clips of 20 days that it was not trained on: 20 normal clips a day, and as many
anomalies, which lie 4 standard deviations away in a direction of their own. S: standard deviation of the offsets, in
those of a clip around its day; 0 is the control, in which days do not matter. Prints one Markdown row per number of
days, spread, detector and rate: the share of normal clips reported (real) and of anomalies (found), in percent, as
means over the machines; in brackets the largest real rate of a machine.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from ensemble.defaults import default_recipe, single_recipe
from ensemble.recipe import Recipe
from ensemble.run import detect, redecided
from featstore.clip import Clip
from featstore.exchange.embeddings import import_matrix
from featstore.store import FeatureStore
from featstore.table import ClipTable

DETECTORS = ("knn", "ldn", "lof", "mahalanobis", "gmm")
RATES = (0.01, 0.05, 0.1)
DIMENSIONS, CLIPS, TEST_DAYS, PER_TEST_DAY, FAULT = 16, 300, 20, 20, 4.0


def main() -> None:
    """Simulate, run every detector twice, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machines", type=int, default=20)
    parser.add_argument("--days", type=int, nargs="*", default=[2, 3, 5, 10, 30])
    parser.add_argument("--spread", type=float, nargs="*", default=[1.0, 0.5, 0.0])
    args = parser.parse_args()
    print(
        "| training days | spread | detector | nominal % | clips out: real % | found % | days out: real % | found % |"
    )
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        for spread in args.spread:
            for days in args.days:
                store = simulated(Path(temporary) / f"{days}-{spread}", args.machines, days, spread)
                for name, recipe in recipes(store):
                    for row in rates(store, recipe):
                        print(f"| {days} | {spread:g} | {name} | {' | '.join(row)} |", flush=True)


def recipes(store: FeatureStore) -> Iterator[tuple[str, Recipe]]:
    """Every detector alone, and the default ensemble."""
    for detector in DETECTORS:
        yield detector, single_recipe(store, detector, "e")
    yield "default ensemble", default_recipe(store)


def simulated(path: Path, machines: int, days: int, spread: float) -> FeatureStore:
    """A store of machines whose clips share an offset by day."""
    rng = np.random.default_rng([days, int(100 * spread)])
    clips, rows = [], []
    for machine in range(machines):
        for day in range(days + TEST_DAYS):
            train = day < days
            offset = spread * rng.normal(size=DIMENSIONS)
            count = len(range(day, CLIPS, days)) if train else 2 * PER_TEST_DAY
            X = 10 + offset + rng.normal(size=(count, DIMENSIONS))
            for i in range(count):
                anomaly = not train and i % 2 == 1
                if anomaly:
                    direction = rng.normal(size=DIMENSIONS)
                    X[i] += FAULT * direction / np.linalg.norm(direction)
                split, label = ("train" if train else "test"), ("anomaly" if anomaly else "normal")
                file = f"m{machine:02d}/{split}/{date(2024, 1, 1) + timedelta(day)}_{i:03d}.wav"
                clips.append(Clip(file, f"m{machine:02d}", "00", split, "source", label))  # type: ignore[arg-type]
            rows.append(X)
    import_matrix(path, "e", np.concatenate(rows).astype(np.float32), ClipTable.from_clips(clips))
    return FeatureStore.open(path)


def rates(store: FeatureStore, recipe: Recipe) -> Iterator[list[str]]:
    """Nominal rate, and real and found shares of both ways, by rate."""
    runs = [detect(store, replace(recipe, group=group)) for group in ("", "day")]
    for note in runs[0].notes[:1]:
        print(note, file=sys.stderr)
    for rate in RATES:
        cells = [f"{100 * rate:g}"]
        for run in runs:
            decided = redecided(run, replace(run.recipe, false_alarm_rate=rate)).decision
            anomaly = run.clips.where(label="anomaly")
            machine = run.clips.column("machine")
            worst = max(decided[~anomaly & (machine == name)].mean() for name in np.unique(machine))
            cells += [
                f"{100 * decided[~anomaly].mean():.1f} [{100 * worst:.0f}]",
                f"{100 * decided[anomaly].mean():.0f}",
            ]
        yield cells


if __name__ == "__main__":
    main()
