"""Fusions, threshold rules, domains, blocks and choices for scripts/bench_honesty.py, and the drift check."""

from collections.abc import Callable, Sequence

import numpy as np
from honesty_cases import Rows

from detectors import create
from detectors.base import folds
from detectors.metrics.quantile import quantile_value
from ensemble.decision.calibrate import PlacedScores
from ensemble.decision.conformal import decisions
from ensemble.decision.drift import drift
from ensemble.decision.fuse import FUSIONS, Fused, fuse
from ensemble.decision.thresholds import threshold
from ensemble.defaults import DETECTORS
from ensemble.domains.clips import Clips
from ensemble.domains.fitted import FittedPosterior
from ensemble.fitting.decide import Sides, decide
from ensemble.fitting.reference import Reference
from ensemble.recipe import Member, Recipe
from featstore.clip import Clip
from featstore.table import ClipTable

Rates = dict[str, list[float]]
CANDIDATES = (*DETECTORS, "ldn:standardize=true", "knn:k=4", "mahalanobis:pca=8,standardize=true", "ldn:K=4")
CHOSEN = 3


def members(specs: Sequence[str], train: Rows, *new: np.ndarray) -> list[list[PlacedScores]]:
    """Honest scores of the training clips, and scores of each set of new clips, by every detector."""
    fitted = [create(spec).fit(train.X, domain=train.domain, group=train.group) for spec in specs]
    return [
        [placed(detector.reference_scores_) for detector in fitted],
        *([placed(detector.anomaly_score(X)) for detector in fitted] for X in new),
    ]


def placed(scores: np.ndarray) -> PlacedScores:
    """Scores of one section."""
    return PlacedScores(scores, np.full(len(scores), "fan"), np.full(len(scores), "00"))


def shares(rates: Sequence[float], scores: np.ndarray, honest: np.ndarray, method: str = "quantile") -> list[float]:
    """Share of scores above the threshold of every rate."""
    return [float((scores > threshold(honest, rate=rate, method=method).value).mean()) for rate in rates]


def fusions(rates: Sequence[float], train: Rows, new: Rows, rng: np.random.Generator) -> Rates:
    """The default detectors by every fusion."""
    honest, scores = members(tuple(DETECTORS), train, new.X)
    found = {}
    for rule, fusion in FUSIONS.items():
        fused = fuse(rule, scores, honest, list(DETECTORS.values()) if fusion.weighted else None)
        found[f"fusion {rule}"] = shares(rates, fused.scores, fused.reference)
    return found


def thresholds(rates: Sequence[float], train: Rows, new: Rows, rng: np.random.Generator) -> Rates:
    """Both rules on distances to the nearest clip, and on scores that do not depend on the training clips."""
    honest, scores = members(("knn", "mahalanobis"), train, new.X)
    found = {
        f"threshold gamma, {name}": shares(rates, scores[i].scores, honest[i].scores, "gamma")
        for i, name in enumerate(("knn", "mahalanobis"))
    }
    fixed = [np.square(rows.X).sum(axis=1) for rows in (new, train)]
    return {"threshold quantile, fixed scores": shares(rates, fixed[0], fixed[1]), **found}


def discoveries(rates: Sequence[float], train: Rows, new: Rows, rng: np.random.Generator) -> Rates:
    """Share of normal clips among those reported, with a tenth of far anomalies among the new clips."""
    test = new.X.copy()
    test[:10] += 20 * rng.normal(size=test[:10].shape)
    honest, scores = members(("knn",), train, test)
    found = []
    for rate in rates:
        reported = decisions(scores[0], honest[0], rate=0.1, fdr=rate).reported
        found.append(float(reported[10:].sum() / max(1, reported.sum())))
    return {"false discoveries, knn": found}


def domains(rates: Sequence[float], train: Rows, new: Rows, rng: np.random.Generator) -> Rates:
    """Two members, decided by pooled, known and predicted domains, each with both tails; rates by domain."""
    specs = ("knn:standardize=true", "mahalanobis:standardize=true")
    honest, scores = members(specs, train, new.X)
    sides = [_clips(train, "train"), _clips(new, "test")]
    posterior = _posterior(train)
    predicted = posterior.probability([new.X], *(sides[1].column(name) for name in ("machine", "section")))
    found: Rates = {}
    for how in ("pooled", "known", "predicted"):
        for tail in ("spread", "none") if how != "pooled" else ("spread",):
            decided = []
            for rate in rates:
                recipe = Recipe(tuple(Member("e", spec) for spec in specs), fusion="fisher", domains=how, tail=tail)
                recipe = Recipe(**{**vars(recipe), "false_alarm_rate": rate})
                by = how == "predicted"
                reference = Reference.of(recipe, honest, sides[0], posterior.held_out if by else None)
                fused = reference.fuse(scores, sides[1], predicted if by else None)[0]
                both = Sides(sides[1], sides[0], predicted if by else None, None, self_ranked=False)
                decided.append(decide(recipe, Fused(fused.scores, reference.scores), both).reported)
            for domain in ("source", "target", "all"):
                here = new.domain == domain if domain != "all" else np.ones(len(new.X), dtype=bool)
                name = f"domains {how}{f', {tail}' if how != 'pooled' else ''}: {domain}"
                found[name] = [float(one[here].mean()) if here.any() else np.nan for one in decided]
    return found


def blocks(rates: Sequence[float], train: Rows, new: Rows, rng: np.random.Generator) -> Rates:
    """New clips of new days, with single clips and with whole days left out."""
    kept = np.isin(train.group, new.group, invert=True)
    found = {}
    for spec in DAYS:
        for name, block in (("clips", None), ("days", train.group[kept])):
            detector = create(spec).fit(train.X[kept], block=block)
            scores = detector.anomaly_score(new.X)
            values = [float((scores > quantile_value(detector.reference_scores_, rate)).mean()) for rate in rates]
            found[f"{name} left out, {spec}"] = values
    return found


def choice(rates: Sequence[float], train: Rows, new: Rows, rng: np.random.Generator) -> Rates:
    """The detectors that separate generated anomalies best from the training clips, fused; as `select` chooses."""
    anomalies = train.X + 1.5 * train.X.std(axis=0) * rng.normal(size=train.X.shape)
    honest, generated, scores = members(CANDIDATES, train, anomalies, new.X)
    pairs = zip(generated, honest, strict=True)
    auc = [(faults.scores[:, None] > own.scores).mean() for faults, own in pairs]
    best = np.argsort(auc)[-CHOSEN:]
    fused = fuse("fisher", [scores[i] for i in best], [honest[i] for i in best])
    return {f"best {CHOSEN} of {len(CANDIDATES)} chosen": shares(rates, fused.scores, fused.reference)}


Rule = Callable[[Sequence[float], Rows, Rows, np.random.Generator], Rates]
ANY = ("gaussian", "heavy", "clusters", "domains")
DAYS = ("knn", "mahalanobis", "lof:k=4")
PROMISES = {
    "threshold quantile, fixed scores": "exact",
    **{f"threshold gamma, {name}": "model" for name in ("knn", "mahalanobis")},
    **{f"domains pooled: {domain}": "none" for domain in ("source", "target")},
    **{f"domains {how}, spread: {domain}": "model" for how in ("known", "predicted") for domain in ("target", "all")},
    **{f"clips left out, {spec}": "none" for spec in DAYS},
}
"""Promises of rows that differ from that of their rule."""

RULES: dict[str, tuple[str, tuple[str, ...], Rule]] = {
    "threshold": ("exact", ANY, thresholds),
    "fusion": ("left out", ANY, fusions),
    "choice": ("left out", ANY, choice),
    "discoveries": ("discoveries", ANY, discoveries),
    "domains": ("left out", ("domains",), domains),
    "blocks": ("left out", ("days",), blocks),
}


def drift_rates(repetitions: int, shape: tuple[int, int, float]) -> list[str]:
    """Share of false warnings for windows of recordings: recordings and windows per side, variance of recordings."""
    recordings, count, likeness = shape
    rng = np.random.default_rng(0)
    number = np.repeat(np.arange(recordings), count)
    wrong = np.zeros(2)
    for _ in range(repetitions):
        draws = [
            np.sqrt(likeness) * rng.normal(size=recordings)[number]
            + np.sqrt(1 - likeness) * rng.normal(size=len(number))
            for _ in range(2)
        ]
        machine, section = np.full(len(number), "fan"), np.full(len(number), "00")
        for i, block in enumerate((number, np.arange(len(number)))):
            reference = PlacedScores(draws[0], machine, section, block=block)
            decided = decisions(PlacedScores(draws[1], machine, section), reference, rate=0.1)
            checks = drift(draws[1], decided, recording=block, anomalies_at_most=0.0)
            wrong[i] += any(check.direction for check in checks)
    shown = wrong / repetitions
    cells = [f"{100 * p:.1f} ± {100 * np.sqrt(p * (1 - p) / repetitions):.1f}" for p in shown]
    return [str(recordings), str(count), f"{likeness:g}", *cells]


def _clips(rows: Rows, split: str) -> ClipTable:
    names = rows.domain.tolist()
    return ClipTable.from_clips([Clip(f"{split}/{i}.wav", "fan", "00", split, names[i]) for i in range(len(names))])


def _posterior(train: Rows) -> FittedPosterior:
    fold = np.empty(len(train.X), dtype=np.intp)
    for number, held_out in enumerate(folds(train.X, train.domain, train.group)):
        fold[held_out] = number % 5
    target = train.domain == "target"
    names = [np.full(len(fold), text) for text in ("fan", "00")]
    return FittedPosterior.fit([train.X], Clips(*names, target, np.ones(len(fold), dtype=bool), fold))
