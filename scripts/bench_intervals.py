"""Coverage and width of 95 % intervals of the official metrics, by simulation, for several methods.

    python scripts/bench_intervals.py [--trials N] [--resampled N] [--replicates N] [--sizes N ...]

Every trial draws a test set from a population with known metrics: normal clips and anomalies of the source and of the
target domain, as many of each as `clips` says. Target clips score 0.5 higher. Populations: five families (two normal
distributions; the same with scores rounded to 0.5; Student's t with 2 degrees of freedom; exponential; and anomalies of
which some sound normal) times AUC over both domains of 0.5, 0.7, 0.9, 0.98 and 0.995. The true metrics are those of
20,000 quantiles per stratum. Coverage is the share of trials whose interval holds the true metric: its mean over the
populations, and the lowest of them; width is the mean in points.

Methods: *percentile*, *BCa* and *studentised* (on the logit, AUC only) resample clips within section, domain and label;
*logit* is DeLong's variance (for pAUC the jackknife) on the logit; *shares* is the method of the project. Those that
resample have fewer trials (--resampled). The last tables are for the official score of seven sections, for differences
of two systems on the same clips, and for the time of a plant of 50 sections.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from statistics import NormalDist

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import t as student

from detectors.metrics.auc import percentile_interval, resamples
from detectors.metrics.influence import Influence, influences
from detectors.metrics.intervals import compare, intervals
from detectors.metrics.labels import Labels
from detectors.metrics.official import evaluate, rule_of, strata
from detectors.metrics.replicates import replicates_of
from detectors.metrics.scores import ScoreTable

YEAR = 2023
LEVELS = (0.5, 0.7, 0.9, 0.98, 0.995)
SHIFT = 0.5  # of the scores of target clips
QUANTILES = 20_000
Z = NormalDist().inv_cdf(0.975)
METRICS = ("auc", "auc_target", "pauc", "score")
Limits = dict[str, tuple[float, float]]


def missed(u: np.ndarray, share: float) -> np.ndarray:
    """Scores of anomalies: a share of them like normal clips, the others 4 higher."""
    inside = np.where(u < share, u / max(share, 1e-12), (u - share) / max(1 - share, 1e-12))
    return ndtri(np.clip(inside, 1e-12, 1 - 1e-12)) + np.where(u < share, 0, 4)


@dataclass(frozen=True)
class Family:
    """Scores of normal clips and of anomalies by their quantile; `easier` parameters of anomalies are larger."""

    normal: Callable[[np.ndarray], np.ndarray]
    anomaly: Callable[[np.ndarray, float], np.ndarray]
    step: float = 0.0

    def scores(self, u: np.ndarray, is_anomaly: np.ndarray, is_target: np.ndarray, parameter: float) -> np.ndarray:
        """Scores of clips at the quantiles `u` of their stratum."""
        scores = np.where(is_anomaly, self.anomaly(u, parameter), self.normal(u)) + SHIFT * is_target
        return np.round(scores / self.step) * self.step if self.step else scores


def moved(u: np.ndarray, by: float, quantile: Callable[[np.ndarray], np.ndarray], scale: float = 1.0) -> np.ndarray:
    """Scores of anomalies: those of normal clips, wider and higher."""
    return scale * quantile(u) + by


def heavy(u: np.ndarray) -> np.ndarray:
    """Quantiles of Student's t with two degrees of freedom."""
    return np.asarray(student.ppf(u, 2))


def exponential(u: np.ndarray) -> np.ndarray:
    """Quantiles of the exponential distribution."""
    return -np.log1p(-u)


FAMILIES = {
    "binormal": Family(ndtri, partial(moved, quantile=ndtri)),
    "ties": Family(ndtri, partial(moved, quantile=ndtri), step=0.5),
    "heavy": Family(heavy, partial(moved, quantile=heavy)),
    "skewed": Family(exponential, partial(moved, quantile=exponential, scale=2.0)),
    "missed": Family(ndtri, lambda u, found: missed(u, 1 - found)),
}


@dataclass(frozen=True)
class Design:
    """Test clips of sections with `clips` of each domain and label."""

    labels: Labels
    is_target: np.ndarray

    @classmethod
    def of(cls, clips: int, sections: int) -> "Design":
        """The design with these numbers; every section is a machine of its own."""
        section, target, anomaly, _ = (axis.ravel() for axis in np.indices((sections, 2, 2, clips), dtype=np.intp))
        machine = np.array([f"m{number:02d}" for number in section])
        domain = np.where(target == 1, "target", "source")
        keys = tuple(map(str, range(len(section))))
        return cls(Labels(keys, machine, np.full(len(keys), "00"), domain, anomaly == 1), target == 1)

    def table(self, family: str, parameter: float, u: np.ndarray) -> ScoreTable:
        """Scores of the clips at quantiles."""
        labels = self.labels
        return ScoreTable("x", labels.keys, FAMILIES[family].scores(u, labels.is_anomaly, self.is_target, parameter))


@cache
def parameter_of(family: str, level: float) -> float:
    """Parameter of the anomalies for which the AUC of a section is `level`, by bisection."""
    low, high = (0.0, 1.0) if family == "missed" else (-15.0, 80.0)
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if population(family, middle, 300)["auc"] < level else (low, middle)
    return high


@cache
def population(family: str, parameter: float, n: int = QUANTILES) -> dict[str, float]:
    """Metrics of a section with the `n` middle quantiles of each stratum, and the official score."""
    design = Design.of(n, 1)
    table = design.table(family, parameter, np.tile((np.arange(n) + 0.5) / n, 4))
    evaluation = evaluate(table, design.labels, YEAR)
    return {**evaluation.rows[0].values, "score": evaluation.score}


def every_replicate(tables: list[ScoreTable], labels: Labels, n: int, rng: np.random.Generator) -> np.ndarray:
    """Bootstrap (systems, n, metrics): the metrics of every section and, last, the official score."""
    drawn = replicates_of(tables, labels, YEAR, n, rng)
    return np.concatenate([drawn.metrics.reshape(len(tables), n, -1), drawn.score[..., None]], axis=-1)


def columns(replicates: np.ndarray) -> dict[str, np.ndarray]:
    """Replicates (n,) of METRICS: those of the first section, and the official score."""
    names = list(rule_of(YEAR).metrics)
    return {name: replicates[:, -1 if name == "score" else names.index(name)] for name in METRICS}


def own(table: ScoreTable, labels: Labels) -> dict[str, Influence]:
    """Influences on METRICS: those of the first section, and the official score."""
    of = influences(table, labels, YEAR)
    return {**of.sections["m00", "00"], "score": of.score}


def shares(table: ScoreTable, labels: Labels) -> Limits:
    """The method of the project."""
    found = intervals(table, labels, YEAR)
    every = {**found.sections["m00", "00"], "score": found.score}
    return {name: (every[name].low, every[name].high) for name in METRICS}


def logit(table: ScoreTable, labels: Labels) -> Limits:
    """DeLong's variance and its like on the logit."""
    limits = {}
    for name, influence in own(table, labels).items():
        share = influence.share
        unit = 1 - share.lowest
        area = (share.value - share.lowest) / unit
        if 0 < area < 1:
            half = Z * share.variance**0.5 / unit / (area * (1 - area))
            low, high = (1 / (1 + np.exp(-np.log(area / (1 - area)) - sign * half)) for sign in (-1, 1))
        else:
            low = high = area
        limits[name] = (share.lowest + unit * low, share.lowest + unit * high)
    return limits


def resampled(table: ScoreTable, labels: Labels, n: int, rng: np.random.Generator) -> dict[str, Limits]:
    """Limits of the methods that resample."""
    every, of = columns(every_replicate([table], labels, n, rng)[0]), own(table, labels)
    bca = {}
    for name, values in every.items():
        value, effect = of[name].share.value, of[name].by_clip
        below = (np.sum(values < value - 1e-12) + np.sum(np.abs(values - value) <= 1e-12) / 2) / n
        start = ndtri(np.clip(below, 0.5 / n, 1 - 0.5 / n))
        skew = np.sum(effect**3) / (6 * max(np.sum(effect**2), 1e-30) ** 1.5)
        levels = ndtr(start + (start + np.array([-Z, Z])) / (1 - skew * (start + np.array([-Z, Z]))))
        bca[name] = tuple(np.quantile(values, levels).tolist())
    percentile = {name: percentile_interval(values) for name, values in every.items()}
    return {"percentile": percentile, "BCa": bca, "studentised": {"auc": studentised(table, labels, n, rng)}}


def studentised(table: ScoreTable, labels: Labels, n: int, rng: np.random.Generator) -> tuple[float, float]:
    """Bootstrap of (logit - logit of the data) / its standard error by DeLong, for the AUC of the first section."""
    rows = next(iter(labels.sections()))[2]
    score, is_anomaly, code = (
        table.scores[rows],
        labels.is_anomaly[rows],
        strata(labels.domain[rows], labels.is_anomaly[rows]),
    )
    counts = np.concatenate([np.ones((1, len(rows))), *resamples(code, n, rng)])
    normal, anomaly = counts[:, ~is_anomaly], counts[:, is_anomaly]
    gap = score[is_anomaly] - score[~is_anomaly][:, None]
    above = (np.sign(gap) + 1) / 2
    by_anomaly, by_normal = normal @ above / normal.shape[1], anomaly @ above.T / anomaly.shape[1]
    area = np.mean(anomaly * by_anomaly, axis=1)
    variance = sum(
        np.sum(weight * (placed - area[:, None]) ** 2, axis=1) / weight.shape[1] / (weight.shape[1] - 1)
        for weight, placed in ((anomaly, by_anomaly), (normal, by_normal))
    )
    usable = (area > 0) & (area < 1) & (variance > 0)
    if not usable[0] or usable.sum() < 20:
        return area[0], area[0]
    logits, error = np.log(area[usable] / (1 - area[usable])), np.sqrt(variance[usable]) / (area * (1 - area))[usable]
    low, high = logits[0] - error[0] * np.quantile((logits[1:] - logits[0]) / error[1:], [0.975, 0.025])
    return 1 / (1 + np.exp(-low)), 1 / (1 + np.exp(-high))


class Tally:
    """Coverage and width by (table row, metric), over populations."""

    def __init__(self) -> None:
        self.hits: dict[tuple[str, str, str], list[tuple[bool, float]]] = {}

    def add(self, row: str, population_name: str, truth: dict[str, float], limits: Limits) -> None:
        """Count a trial."""
        for name, (low, high) in limits.items():
            if name in truth:
                hit = low - 1e-12 <= truth[name] <= high + 1e-12
                self.hits.setdefault((row, name, population_name), []).append((hit, high - low))

    def cells(self, row: str, metrics: tuple[str, ...]) -> list[str]:
        """Per metric: mean coverage, the lowest of a population, and the mean width in points."""
        cells = []
        for metric in metrics:
            means = [
                np.mean(trials, axis=0) for (of, name, _), trials in self.hits.items() if (of, name) == (row, metric)
            ]
            if means:
                coverage, width = np.transpose(means)
                cells.append(f"{coverage.mean():.3f} ({coverage.min():.2f}), {100 * width.mean():.0f}")
            else:
                cells.append("")
        return cells


def populations() -> Iterator[tuple[str, float]]:
    """Family and level of every population."""
    return ((family, level) for family in FAMILIES for level in LEVELS if (family, level) != ("missed", 0.5))


def show(header: list[str], rows: list[list[str]]) -> None:
    """Print a Markdown table."""
    print(f"\n| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def coverage(args: argparse.Namespace, sections: int, rng: np.random.Generator) -> None:
    """The tables of single metrics and of the official score."""
    rows = []
    metrics = METRICS if sections == 1 else ("score",)
    for clips in args.sizes:
        design, tally = Design.of(clips, sections), Tally()
        for family, level in populations():
            parameter = parameter_of(family, level)
            truth = {name: population(family, parameter)[name] for name in metrics}
            for trial in range(args.trials // sections):
                table = design.table(family, parameter, rng.random(len(design.labels.keys)))
                for name, method in (("shares", shares), ("logit", logit)):
                    tally.add(name, f"{family} {level}", truth, method(table, design.labels))
                if trial < args.resampled // sections:
                    for name, limits in resampled(table, design.labels, args.replicates, rng).items():
                        tally.add(name, f"{family} {level}", truth, limits)
        for method in ("percentile", "BCa", "studentised", "logit", "shares"):
            rows.append([f"{clips}", method, *tally.cells(method, metrics)])
        show([f"clips, {sections} sections", "method", *metrics], rows[-5:])


PAIRS = ((0.7, 0.7), (0.9, 0.9), (0.98, 0.98), (0.9, 0.8), (0.98, 0.95), (0.995, 0.98))


def differences(args: argparse.Namespace, rng: np.random.Generator) -> None:
    """The tables of differences of two systems, whose quantiles correlate as those of two correlated normal scores."""
    for sections, clips in ((1, 3), (1, 5), (1, 13), (1, 50), (7, 13)):
        design, tally = Design.of(clips, sections), Tally()
        for family in FAMILIES:
            for pair, correlation in ((pair, correlation) for pair in PAIRS for correlation in (0.5, 0.95)):
                first, second = (parameter_of(family, level) for level in pair)
                metrics, others = population(family, first), population(family, second)
                row = f"{'equal' if len(set(pair)) == 1 else 'different'}, correlation {correlation}"
                truth = {name: metrics[name] - others[name] for name in METRICS}
                for trial in range(max(1, args.trials // sections // 4)):
                    z = rng.normal(size=(2, len(design.labels.keys)))
                    z[1] = correlation * z[0] + (1 - correlation**2) ** 0.5 * z[1]
                    table, other = (
                        design.table(family, parameter, ndtr(score))
                        for parameter, score in zip((first, second), z, strict=True)
                    )
                    found = compare(table, other, design.labels, YEAR)
                    every = {**found.sections["m00", "00"], "score": found.score}
                    limits = {name: (every[name].low, every[name].high) for name in METRICS}
                    tally.add(f"{row}: shares", f"{family} {pair}", truth, limits)
                    if trial < max(1, args.resampled // sections // 4):
                        replicates = every_replicate([table, other], design.labels, args.replicates, rng)
                        lead = columns(replicates[0] - replicates[1])
                        limits = {name: percentile_interval(values) for name, values in lead.items()}
                        tally.add(f"{row}: percentile", f"{family} {pair}", truth, limits)
        names = sorted({row for row, _, _ in tally.hits})
        header = [f"differences, {clips} clips, sections: {sections}", *METRICS]
        show(header, [[name, *tally.cells(name, METRICS)] for name in names])


def cost(rng: np.random.Generator) -> None:
    """Seconds of the intervals of 50 sections, and those of the bootstrap with 1000 replicates, in turns."""
    rows = []
    for clips in (25, 100):
        design = Design.of(clips, 50)
        table = design.table("binormal", 1.0, rng.random(len(design.labels.keys)))
        seconds: dict[str, list[float]] = {"bootstrap": [], "shares": []}
        for _ in range(3):
            for name, run in (
                ("bootstrap", partial(every_replicate, [table], design.labels, 1000, rng)),
                ("shares", partial(intervals, table, design.labels, YEAR)),
            ):
                start = time.process_time()
                run()
                seconds[name].append(time.process_time() - start)
        bootstrap, own_seconds = min(seconds["bootstrap"]), min(seconds["shares"])
        rows.append([f"{clips}", f"{bootstrap:.2f}", f"{own_seconds:.2f}", f"{own_seconds / bootstrap:.3f}"])
    show(["clips, 50 sections", "bootstrap, s", "shares, s", "ratio"], rows)


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200, help="per population (a seventh with 7 sections)")
    parser.add_argument("--resampled", type=int, default=30, help="trials of the methods that resample")
    parser.add_argument("--replicates", type=int, default=200)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 2, 3, 5, 10, 13, 25, 50, 100], metavar="N")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    print("Every cell: mean coverage (the lowest of a population), mean width in points")
    cost(rng)
    coverage(args, 1, rng)
    coverage(args, 7, rng)
    differences(args, rng)


if __name__ == "__main__":
    main()
