"""Real false-alarm rates on clips that are exchangeable with the training clips, for every detector, option and rule.

    python scripts/bench_honesty.py [--splits 200] [--only PATTERN] [--processes 2]

Every split draws n training clips and NEW new normal clips of one distribution (honesty_cases.py; the kinds take
turns). The table has a row per case and a column per n and number of dimensions: the share of new clips reported at
10 %, in percent, with its standard error over the splits; the last column is the highest of the six at 5 %. `!` marks
what is more than three standard errors above its nominal rate.

What each rule promises:

- exact: at most floor((n + 1) rate) / (n + 1) in expectation, 9.5, 9.8 and 9.9 % for 10 % (scores that are fixed before
  the training clips are drawn).
- left out: the same but for what changes when one clip (or a fold) joins the training clips.
- model: about the rate if the rule's own assumption holds (gamma: scores follow a gamma distribution; spread: both
  domains scatter alike around their level).
- discoveries: the mean share of normal clips among those reported, at most the rate.
- none: what the row shows is that a promise cannot hold: a pooled reference for one domain, single clips left out
  where clips of a day hang together.
- drift: the chance of any warning, at most 1 %; a section of its own below the table.
"""

import argparse
import re
from collections.abc import Iterable
from functools import partial
from multiprocessing import Pool

import numpy as np
from honesty_cases import ROWS, Rows
from honesty_rules import PROMISES, RULES, drift_rates
from threadpoolctl import threadpool_limits

from detectors import create
from detectors.metrics.quantile import quantile_value

NEW = 100
RATES = (0.1, 0.05)
SETTINGS = ((20, 8), (20, 100), (60, 8), (60, 100), (120, 8), (120, 100))
ANY = ("gaussian", "heavy", "clusters", "domains")

DETECTORS = {
    ANY: (
        "knn",
        "knn:k=4",
        "knn:standardize=true",
        "knn:pca=8,standardize=true",
        "knn:pca=20,standardize=true",
        "knn:bands=4",
        "mahalanobis",
        "mahalanobis:covariance=oas",
        "mahalanobis:standardize=true",
        "mahalanobis:pca=8",
        "mahalanobis:pca=8,standardize=true",
        "mahalanobis:pca=20,standardize=true",
        "mahalanobis:pca=4,covariance=empirical",
        "mahalanobis:centre=geometric_median",
        "mahalanobis:trim=0.05",
        "gmm",
        "gmm:standardize=true",
        "gmm:n_components=4,covariance_type=diag,reg_covar=0.01,standardize=true",
        "gmm:covariance_type=tied",
        "gmm:score=mixture,reg_covar=0.1",
        "gmm:unit_length=true",
        "gmm:pca=8",
        "ldn",
        "ldn:standardize=true",
        "ldn:K=4",
        "ldn:form=difference",
        "ldn:pca=20,standardize=true",
        "lof",
        "lof:k=4,standardize=true",
        "lof:pca=8",
    ),
    ("domains",): (
        "knn:bank=two_bank,k=3",
        "knn:source_clusters=8",
        "knn:smote=0.2",
        "knn:memmixup=20",
        "mahalanobis:by=domain",
        "mahalanobis:by=domain,standardize=true",
        "gmm:start=domain",
        "gmm:smote=0.2",
    ),
    ("clusters",): ("mahalanobis:by=group", "gmm:start=group"),
    ("residuals",): ("residual", "residual:score=mean"),
    ("logits",): ("posterior", "posterior:score=odds"),
}


def of_detector(spec: str, train: Rows, new: Rows, rng: np.random.Generator) -> dict[str, list[float]]:
    """Share of new clips above the threshold of each rate."""
    detector = create(spec).fit(train.X, domain=train.domain, group=train.group)
    scores, honest = detector.anomaly_score(new.X), detector.reference_scores_
    return {spec: [float((scores > quantile_value(honest, rate)).mean()) for rate in RATES]}


def cases() -> Iterable[tuple[str, str, tuple[str, ...], partial[dict[str, list[float]]]]]:
    """Name, promise, kinds of rows, and what gives the rates of a split."""
    for kinds, specs in DETECTORS.items():
        for spec in specs:
            yield spec, "left out", kinds, partial(of_detector, spec)
    for name, (promise, kinds, rule) in RULES.items():
        yield name, promise, kinds, partial(rule, RATES)


def measured(job: tuple[int, tuple[int, int], int]) -> dict[str, np.ndarray]:
    """Rates (splits, rates) of one case in one setting, by name of the row."""
    number, (n, d), splits = job
    _, _, kinds, rates = list(cases())[number]
    found: dict[str, list[list[float]]] = {}
    with threadpool_limits(1):
        for split in range(splits):
            rng = np.random.default_rng([split, n, d])
            rows = ROWS[kinds[split % len(kinds)]](rng, n + NEW, d)
            order = np.arange(n + NEW)
            try:
                of_split = rates(rows.part(order[:n]), rows.part(order[n:]), rng)
            except ValueError:  # an empirical covariance of fewer clips than dimensions
                continue
            for name, values in of_split.items():
                found.setdefault(name, []).append(values)
    return {name: np.array(values) for name, values in found.items()}


def cell(rates: np.ndarray | None, nominal: float) -> str:
    """Mean and standard error in percent, marked where the mean is too high."""
    if rates is None or len(rates) < 2:
        return "-"
    rates = rates[np.isfinite(rates)]
    mean, error = rates.mean(), rates.std(ddof=1) / np.sqrt(len(rates))
    return f"{100 * mean:.1f} ± {100 * error:.1f}{' !' if mean > nominal + 3 * error + 1e-12 else ''}"


def highest(settings: list[np.ndarray | None]) -> np.ndarray | None:
    """The rates of the setting whose mean is highest above 5 %, in standard errors."""
    usable = [rates[:, 1] for rates in settings if rates is not None and len(rates) > 1]
    usable = [rates[np.isfinite(rates)] for rates in usable]
    return max(usable, key=lambda rates: (rates.mean() - RATES[1]) / (rates.std() + 1e-9), default=None)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--only", default="", metavar="PATTERN", help="Cases whose name has the regular expression.")
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    chosen = [(i, name, promise) for i, (name, promise, _, _) in enumerate(cases()) if re.search(args.only, name)]
    print(f"| case | promise | {' | '.join(f'n={n}, d={d}' for n, d in SETTINGS)} | highest at 5 % |")
    print("|---|---|" + "---|" * (len(SETTINGS) + 1))
    jobs = [(number, setting, args.splits) for number, _, _ in chosen for setting in SETTINGS]
    with Pool(args.processes) as pool:
        results = pool.imap(measured, jobs)
        for _, _, promise in chosen:
            settings = [next(results) for _ in SETTINGS]
            for name in dict.fromkeys(name for setting in settings for name in setting):
                of_row = [setting.get(name) for setting in settings]
                cells = [cell(None if rates is None else rates[:, 0], RATES[0]) for rates in of_row]
                cells = [name, PROMISES.get(name, promise), *cells, cell(highest(of_row), RATES[1])]
                print(f"| {' | '.join(cells)} |", flush=True)
        if re.search(args.only, "drift"):
            print(
                "\n| drift: recordings | windows each | likeness | by recordings: warnings % | by windows: warnings % |"
            )
            print("|---|---|---|---|---|")
            for row in pool.imap(partial(drift_rates, 5 * args.splits), ((20, 10, 0.9), (20, 10, 0.0), (60, 30, 0.9))):
                print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
