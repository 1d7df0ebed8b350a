"""Nominal and real false-alarm rates by domain: with one bank per section, and by the domain a clip sounds like.

    python scripts/bench_false_alarms.py STORE [STORE ...] [--recipe STORE FILE] [--mimii FOLDER]

STORE: stores of labelled folders, made by `featstore build`; FILE: a recipe to run on that store, as `detect STORE
--ensemble` leaves it in its results. FOLDER: fan.npz, pump.npz, slider.npz as scripts/bench_mimii_features.py takes
them; they have no domains. Thresholds come from honest scores of the training clips alone; no domain of a test clip is
used. Prints one Markdown row per data set, recipe, domain and rate. Promised: the mean false-alarm rate of the
thresholds on clips like the training clips; a dash where detect says that it is not guaranteed. Real: the share of
normal clips reported, with its 95 % interval (as if clips were independent; those of a section share one threshold).
Found: the share of anomalies reported. Spread, none: the tail model of domains with few training clips.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from bench_mimii_features import write_arrays

from ensemble.decision.drift import drift
from ensemble.decision.false_alarms import exact_interval
from ensemble.defaults import default_recipe
from ensemble.recipe import DOMAINS, PREDICTED, TAILS, Recipe, read_recipe
from ensemble.run import Detection, detect, redecided
from featstore.store import FeatureStore

RATES = (0.01, 0.05, 0.1)
COLUMNS = ("promised %", "real %", "found %")


def main() -> None:
    """Score every store once per recipe, decide at every rate, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", type=Path, nargs="*")
    parser.add_argument("--recipe", type=Path, nargs=2, action="append", default=[], metavar=("STORE", "FILE"))
    parser.add_argument("--mimii", type=Path, metavar="FOLDER")
    args = parser.parse_args()
    columns = [f"{how}{what}" for how in ("", "predicted, spread: ", "predicted, none: ") for what in COLUMNS]
    print(f"| data | system | domain | training / normal clips | nominal % | {' | '.join(columns)} |")
    print(f"|{'---|' * (5 + len(columns))}")
    for path in args.stores:
        store = FeatureStore.open(path)
        given = [read_recipe(recipe) for at, recipe in args.recipe if at == path]
        report(path.stem, store, [*recipes(store), *((recipe.name, recipe) for recipe in given)])
    if args.mimii:
        with tempfile.TemporaryDirectory() as temporary:
            store = mimii_store(args.mimii, Path(temporary))
            report("MIMII features", store, recipes(store))


def mimii_store(folder: Path, out: Path) -> FeatureStore:
    """The features as a store."""
    write_arrays(folder, out)
    command = [sys.executable, "-m", "featstore.cli", "import", str(out / "store"), str(out / "features.npy")]
    subprocess.run([*command, "--as", "mimii", "--manifest", str(out / "features.csv")], check=True, stdout=sys.stderr)
    return FeatureStore.open(out / "store")


def recipes(store: FeatureStore) -> Iterator[tuple[str, Recipe]]:
    """The default ensemble, and one of its members alone."""
    yield "default ensemble", default_recipe(store)
    member = next(member for member in default_recipe(store).members if member.detector.startswith("mahalanobis"))
    yield member.name, Recipe((member,), name="single")


def report(name: str, store: FeatureStore, named: Iterable[tuple[str, Recipe]]) -> None:
    """Print the rows of one store."""
    for recipe_name, recipe in named:
        pooled, predicted = (detect(store, replace(recipe, domains=domains)) for domains in (DOMAINS[0], PREDICTED))
        warned = [check for check in drift(pooled.score, pooled.decided) if check.warning]
        banks = len(pooled.decided.banks)
        print(f"{name}, {recipe_name}: drift warnings in {len(warned)} of {banks} sections", file=sys.stderr)
        for domain in sorted(set(pooled.clips.column("domain").tolist())):
            for rate in RATES:
                by_rate = replace(recipe, false_alarm_rate=rate)
                cells = [cell(redecided(pooled, by_rate), domain)]
                if predicted.domains:
                    cells += [cell(redecided(predicted, replace(by_rate, tail=tail)), domain) for tail in TAILS]
                clips = f"{int(pooled.train.where(domain=domain).sum())} / {len(rows(pooled, domain, 'normal'))}"
                print(f"| {' | '.join([name, recipe_name, domain, clips, f'{100 * rate:g}', *cells])} |", flush=True)


def rows(detection: Detection, domain: str, label: str) -> np.ndarray:
    """Scored clips of one domain and label."""
    return np.flatnonzero(detection.clips.where(domain=domain, label=label))


def cell(detection: Detection, domain: str) -> str:
    """Promised rate, real rate with interval, and share of anomalies reported, in percent."""
    normal = rows(detection, domain, "normal")
    promised = np.full(len(detection.clips), np.nan)
    for bank, threshold in zip(detection.decided.banks, detection.decided.thresholds, strict=True):
        promised[bank.rows] = threshold.expected if threshold and not bank.shifted else np.nan
    reported = detection.decision[normal]
    hits = detection.decision[rows(detection, domain, "anomaly")]
    low, high = exact_interval(int(reported.sum()), len(reported))
    real = f"{100 * reported.mean():.1f} [{100 * low:.1f}, {100 * high:.1f}]"
    held = promised[normal]
    return f"{'-' if np.isnan(held).any() else f'{100 * held.mean():.1f}'} | {real} | {100 * hits.mean():.0f}"


if __name__ == "__main__":
    main()
