"""Time of the default ensemble and of one member of each kind, beside the same jobs written plainly and beside PyOD.

    python scripts/bench_ensemble.py [--store STORE] [--banks 10000 100000] [--only TEXT] [--rounds 3] [--limit 600]

Data: a simulated plant of --clips recordings, six machines, embedded by logmel and twfr (--store takes a store that is
there already), and imported banks of random rows of 128 dimensions with 2,000 test rows. Rows of a bank lie in five
clusters. Their columns are correlated: the deviations along random axes decay as (1 + i)^-0.5. WORK keeps the data.

Jobs: `detect run STORE --ensemble` as a process of its own, and the scores of one detector on one view in this process.
Competitors are those of plain_detectors.py: scikit-learn and numpy with the same honest scores, and PyOD, where
installed, with its own training scores, which take one fit instead of eleven. PyOD has no LDN and no Mahalanobis
distance by Ledoit and Wolf. In every round all take turns; a ratio is the median over the rounds of theirs / ours.
Below 50,000 rows BLAS has one thread for all of them, otherwise its default.

agreement: largest relative difference of a score between ours and plain, of test and training rows. For `gmm` and the
ensemble, which depend on the start of EM, it is the least rank correlation within a section, of test rows and, for
`gmm`, of training rows; their fits in folds start elsewhere.

A bank of 50,000 rows or more is first tried with a tenth of its rows. A form that would take more than --limit seconds
is not run: `~` marks its time as estimated and the agreement as that on the tenth. The time is that of the tenth, times
its growth from a hundredth to the tenth, at most 10 (gmm, mahalanobis) or 100 times; so it is rather too small than too
large. The estimate of the plain ensemble is the sum over its members.
"""

import argparse
import csv
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from plain_detectors import PLAIN, Rows, by_section, plain_scores, pyod_models, pyod_scores, threads
from scipy.stats import spearmanr

from detectors.sections import score_sections
from ensemble.decision.calibrate import PlacedScores
from ensemble.defaults import DETECTORS, default_recipe
from ensemble.inputs import Inputs
from ensemble.recipe import Recipe
from featstore.store import FeatureStore

DIM, CLUSTERS, TEST_ROWS = 128, 5, 2000
LARGE = 50_000
"""Banks of this size are tried with a tenth of their rows first."""

MEMBERS = {kind: f"{kind}:standardize=true" for kind in PLAIN} | {text.partition(":")[0]: text for text in DETECTORS}
LINEAR = ("gmm", "mahalanobis")
"""Kinds whose time grows with the number of rows, and not with its square."""

HEADER = ("data", "job", "ours s", "plain s", "plain / ours", "PyOD s", "PyOD / ours", "agreement")
ENSEMBLE, OURS, PLAINLY, PYOD = "ensemble", "ours", "plain", "PyOD"

Scores = tuple[PlacedScores, PlacedScores]
"""Of test clips and of training clips."""

Run = Callable[[], Scores]


@dataclass(frozen=True)
class Job:
    """A row of the table: the forms that are run, and the seconds that the others would take.

    checked: forms that are compared, `runs` itself or the same on a tenth of the rows; empty where nothing is compared.
    """

    data: str
    name: str
    runs: Mapping[str, Run]
    estimates: Mapping[str, float]
    checked: Mapping[str, Run]


def ours(detector: str, rows: Rows) -> Scores:
    """Scores by this project."""
    result = score_sections(detector, rows.train_X, rows.train, rows.test_X, rows.test)
    test, train = (
        PlacedScores(scores, clips.column("machine"), clips.column("section"))
        for scores, clips in ((result.scores, rows.test), (result.reference, rows.train))
    )
    return test, train


def forms(kind: str, rows: Rows) -> dict[str, Run]:
    """The member of that kind by everyone who has it."""
    runs: dict[str, Run] = {
        OURS: partial(ours, MEMBERS[kind], rows),
        PLAINLY: partial(by_section, partial(plain_scores, kind), rows),
    }
    models = pyod_models()
    if kind in models:
        runs[PYOD] = partial(by_section, lambda train, test, domain: pyod_scores(models[kind](), train, test), rows)
    return runs


def timed(run: Run, rows: int) -> tuple[float, Scores]:
    """Seconds and scores of a run."""
    with threads(rows):
        start = time.perf_counter()
        scores = run()
        return time.perf_counter() - start, scores


def estimates(kind: str, rows: Rows) -> dict[str, float]:
    """Seconds that each form would take, from a tenth of the rows; nothing for banks that are not large."""
    if len(rows.train) < LARGE:
        return {}
    most = 10 if kind in LINEAR else 100
    tenth = rows.tenth()
    seconds = {}
    for (form, run), less in zip(forms(kind, tenth).items(), forms(kind, tenth.tenth()).values(), strict=True):
        timed(less, len(rows.train))  # loads the libraries
        before, now = (timed(part, len(rows.train))[0] for part in (less, run))
        seconds[form] = now * min(now / before, most)
    return seconds


def member_job(data: str, kind: str, rows: Rows, limit: float) -> Job:
    """The scores of one detector."""
    runs = forms(kind, rows)
    for run in runs.values() if len(rows.train) < LARGE else ():
        timed(run, len(rows.train))  # loads the libraries; with large banks, the estimates do
    slow = {form: seconds for form, seconds in estimates(kind, rows).items() if seconds > limit}
    checked = forms(kind, rows.tenth()) if {OURS, PLAINLY} & set(slow) else runs
    return Job(data, kind, {form: run for form, run in runs.items() if form not in slow}, slow, checked)


def ensemble_job(data: str, store: Path, rows: Rows, limit: float) -> Job:
    """The whole command, and the same as a plain script."""
    kinds = [member.detector.partition(":")[0] for member in default_recipe(FeatureStore.open(store)).members]
    seconds = sum(kinds.count(kind) * estimates(kind, rows).get(PLAINLY, 0.0) for kind in set(kinds))
    script = Path(__file__).with_name("plain_detectors.py")
    runs = {
        OURS: partial(of_command, [sys.executable, "-m", "ensemble.cli", "run", str(store), "--ensemble", "--out"]),
        PLAINLY: partial(of_command, [sys.executable, str(script), str(store)]),
    }
    name = f"ensemble ({len(kinds)} members)"
    if seconds > limit:
        return Job(data, name, {OURS: runs[OURS]}, {PLAINLY: seconds}, {})
    return Job(data, name, runs, {}, runs)


def of_command(command: list[str]) -> Scores:
    """Scores that a command writes to the path which is its last argument: a file, or scores.csv in a folder."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        subprocess.run([*command, str(out)], check=True, capture_output=True)
        with (out / "scores.csv" if out.is_dir() else out).open(newline="") as file:
            lines = sorted(csv.DictReader(file), key=lambda line: line["clip"])
    machine, section, score = (np.array([line[name] for line in lines]) for name in ("machine", "section", "score"))
    nothing = np.empty(0)
    return PlacedScores(score.astype(np.float64), machine, section), PlacedScores(nothing, nothing, nothing)


def agreement(name: str, first: Scores, second: Scores) -> str:
    """How well two forms agree, in words."""
    pairs = list(zip(first, second, strict=True))
    if name in PLAIN and name != "gmm":
        a, b = (np.concatenate([pair[i].scores for pair in pairs]) for i in (0, 1))
        return f"{(np.abs(a - b) / np.maximum(np.abs(a), np.abs(b))).max():.0e} relative"
    least = [
        min(spearmanr(a.scores[rows], b.scores[rows]).statistic for _, rows in a.groups())
        for a, b in pairs
        if len(a.scores)
    ]
    return f"rank correlation {', '.join(f'{value:.3f}' for value in least)}"


def line(job: Job, rows: int, rounds: int) -> str:
    """A row of the table."""
    seconds: dict[str, list[float]] = {form: [value] * rounds for form, value in job.estimates.items()}
    scores: dict[str, Scores] = {}
    for _ in range(rounds):
        for form, run in job.runs.items():
            taken, scores[form] = timed(run, rows)
            seconds.setdefault(form, []).append(taken)
    cells = [job.data, job.name, time_cell(job, seconds, OURS)]
    for form in (PLAINLY, PYOD):
        cells += [time_cell(job, seconds, form), ratio_cell(job, seconds, form)]
    if job.checked and not {OURS, PLAINLY} & set(job.estimates):
        agrees = agreement(job.name, scores[OURS], scores[PLAINLY])
    elif job.checked:
        pair = (timed(job.checked[form], rows)[1] for form in (OURS, PLAINLY))
        agrees = f"~ {agreement(job.name, *pair)}"
    else:
        agrees = "not compared"
    return f"| {' | '.join([*cells, agrees])} |"


def time_cell(job: Job, seconds: Mapping[str, list[float]], form: str) -> str:
    """Median of the seconds, empty for a form that there is not."""
    mark = "~ " if form in job.estimates else ""
    return f"{mark}{statistics.median(seconds[form]):.3g}" if form in seconds else ""


def ratio_cell(job: Job, seconds: Mapping[str, list[float]], form: str) -> str:
    """Median over the rounds of theirs / ours."""
    if form not in seconds:
        return ""
    ratio = statistics.median(theirs / own for theirs, own in zip(seconds[form], seconds[OURS], strict=True))
    return f"{'~ ' if {form, OURS} & set(job.estimates) else ''}{ratio:.2f}"


def plant(work: Path, clips: int) -> Path:
    """The store of a simulated plant, made where it is not there yet."""
    data, store = work / f"plant_{clips}", work / f"plant_{clips}_store"
    featstore("simulate", str(data), "--clips", str(clips))
    featstore("build", str(data), str(store), "-e", "logmel", "-e", "twfr")
    return store


def bank(work: Path, n: int) -> Path:
    """The store of an imported bank of n random rows, made where it is not there yet."""
    store, tests = work / f"bank_{n}_store", min(n // 5, TEST_ROWS)
    rng = np.random.default_rng(n)
    centres = rng.normal(size=(CLUSTERS, DIM))[rng.integers(CLUSTERS, size=n + tests)]
    axes = np.linalg.qr(rng.normal(size=(DIM, DIM)))[0]
    offsets = rng.normal(size=(n + tests, DIM)) * (1 + np.arange(DIM)) ** -0.5 @ axes
    np.save(work / f"bank_{n}.npy", (0.3 * centres + offsets).astype(np.float32))
    lines = [(f"{i:06d}.wav", "bank", "00", "train" if i < n else "test") for i in range(n + tests)]
    with (work / f"bank_{n}.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "machine", "section", "split"), *lines])
    described = ("--as", "rows", "--manifest", str(work / f"bank_{n}.csv"))
    featstore("import", str(store), str(work / f"bank_{n}.npy"), *described)
    return store


def featstore(*words: str) -> None:
    """Run a command of `featstore`, whose progress goes to stderr."""
    subprocess.run([sys.executable, "-m", "featstore.cli", *words], check=True, stdout=subprocess.DEVNULL)


def options() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("bench-ensemble"), help="folder of the data")
    parser.add_argument("--store", type=Path, help="of a plant, instead of a new one")
    parser.add_argument("--clips", type=int, default=8400, help="of a new plant; 0: none")
    parser.add_argument("--banks", type=int, nargs="*", default=[10_000, 100_000], help="rows")
    parser.add_argument("--only", default="", help="rows of the table with this text: `plant`, `gmm`, `10,000 | lof`")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=600, help="seconds of one run")
    return parser.parse_args()


def main() -> None:
    """Measure and print the table, row by row."""
    args = options()
    args.work.mkdir(parents=True, exist_ok=True)
    data: dict[str, Callable[[], Path]] = {}
    if args.store or args.clips:
        data["plant"] = lambda: args.store or plant(args.work, args.clips)
    data |= {f"bank of {n:,}": partial(bank, args.work, n) for n in args.banks}
    print("$ python", *sys.argv)
    print(f"\n| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}")
    for name, make in data.items():
        kinds = [kind for kind in (ENSEMBLE, *PLAIN) if args.only in f"{name} | {kind}"]
        store = make() if kinds else Path()
        for kind in kinds:
            rows = first_view(store)
            job = (
                ensemble_job(name, store, rows, args.limit)
                if kind == ENSEMBLE
                else member_job(name, kind, rows, args.limit)
            )
            print(line(job, len(rows.train), args.rounds), flush=True)


def first_view(path: Path) -> Rows:
    """Rows of the view that the first member of the default ensemble reads."""
    store = FeatureStore.open(path)
    member = default_recipe(store).members[0]
    return Rows.of(Inputs(store, Recipe((member,)), ()), member)


if __name__ == "__main__":
    main()
