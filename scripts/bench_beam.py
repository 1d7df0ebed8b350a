"""Plain k-NN beside LDN, cluster exits, bands and VarMin: time, and official score on noisy flights.

    python scripts/bench_beam.py DATA_MAKER --work DIR [--snr-db -10 -5] [--views mean p10 rdp4 gem3] [--rounds 3]

DATA_MAKER is the script that renders the flights: it is run as `python DATA_MAKER OUT --snr-db N`. DIR keeps the
recordings and the stores for another run. Prints two Markdown tables, a row per detector. The first has the official
score in percent on each view of `logmel`, with the 95 % interval of a bootstrap in brackets; labels of test clips serve
these scores only. The second has times relative to plain k-NN on banks of random rows: a fit with honest reference
scores, and the scoring of as many rows as are in the bank. The detectors take turns in each round, and a ratio is that
of their fastest rounds.
"""

import argparse
import contextlib
import io
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from bench_detectors import official_score, text

from detectors import create
from ensemble.recipe import Member, Recipe
from featstore.cli import main as featstore
from featstore.store import FeatureStore

DETECTORS = (
    "knn",
    "ldn",
    "ldn:K=16",
    "ldn:K=16,exit=1.5",
    "knn:varmin=4",
    "knn:bands=8",
    "knn:bands=8,varmin=4",
    "knn:standardize=true",
    "knn:bands=8,varmin=4,standardize=true",
    "mahalanobis:standardize=true",
)
BANKS = ((100, 128), (1000, 128), (1000, 6144))
"""Rows and dimensions: a section of the flights, one of DCASE, and one of eight joined bands of 768 values."""

EMBEDDING = "logmel"


def main() -> None:
    """Render and build what is missing, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("maker", type=Path, metavar="DATA_MAKER")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--snr-db", type=float, nargs="*", default=[-10.0, -5.0])
    parser.add_argument("--views", nargs="*", default=["mean", "p10", "rdp4", "gem3"])
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    shown = [Path(word).name if word == str(args.maker) else word for word in sys.argv[1:]]
    print(f"    python scripts/bench_beam.py {shlex.join(shown)}\n")
    stores = {snr: built(args.maker, args.work, snr, args.views) for snr in args.snr_db}
    print_scores(stores, args.views)
    print_times(args.rounds)


def built(maker: Path, work: Path, snr_db: float, views: list[str]) -> FeatureStore:
    """Store of the flights at an SNR."""
    data, store = work / f"flights{snr_db:g}", work / f"{'_'.join(views)}{snr_db:g}.store"
    if not data.exists():
        subprocess.run(
            [sys.executable, str(maker), str(data), "--snr-db", f"{snr_db:g}"], check=True, stdout=subprocess.DEVNULL
        )
    if not store.exists():
        spec = f"logmel:stats={';'.join(views)}"
        with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(SystemExit):
            featstore(["build", str(data), str(store), "--as", EMBEDDING, "-e", spec])
    return FeatureStore.open(store)


def print_scores(stores: dict[float, FeatureStore], views: list[str]) -> None:
    """Print a row per detector, a column per SNR and view."""
    columns = [(snr, view) for snr in stores for view in views]
    print("| detector | " + " | ".join(f"{view}, {snr:g} dB" for snr, view in columns) + " |")
    print("|---|" + "---|" * len(columns))
    for spec in DETECTORS:
        cells = [official_score(stores[snr], Recipe((Member(EMBEDDING, spec, view),))) for snr, view in columns]
        print(f"| {spec} | " + " | ".join(map(text, cells)) + " |", flush=True)


def print_times(rounds: int) -> None:
    """Print a row per detector, and fit and scoring for each bank, relative to the first detector."""
    print("\n| detector | " + " | ".join(f"fit {n} x {d} | score {n} x {d}" for n, d in BANKS) + " |")
    print("|---|" + "---|" * (2 * len(BANKS)))
    ratios: dict[str, list[str]] = {spec: [] for spec in DETECTORS}
    for n, d in BANKS:
        slow = n * d > 10**6
        specs = [spec for spec in DETECTORS if not (slow and spec.endswith("standardize=true"))]
        times = fastest(specs, n, d, rounds)
        for spec in DETECTORS:
            both = times.get(spec)
            base = times[DETECTORS[0]]
            ratios[spec] += (
                ["", ""] if both is None else [f"{mine / of_knn:.2f}" for mine, of_knn in zip(both, base, strict=True)]
            )
    for spec, cells in ratios.items():
        print(f"| {spec} | " + " | ".join(cells) + " |")


def fastest(specs: list[str], n: int, d: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Seconds of the fastest fit and scoring of each detector, which take turns; the first round warms up."""
    rng = np.random.default_rng(0)
    X, queries = (rng.normal(size=(n, d)).astype(np.float32) + 1 for _ in range(2))
    best = dict.fromkeys(specs, (np.inf, np.inf))
    for turn in range(rounds + 1):
        for spec in specs:
            start = time.perf_counter()
            detector = create(spec).fit(X)
            fitted = time.perf_counter()
            detector.anomaly_score(queries)
            both = fitted - start, time.perf_counter() - fitted
            if turn:
                best[spec] = min(best[spec][0], both[0]), min(best[spec][1], both[1])
    return best


if __name__ == "__main__":
    main()
