"""Weights of views for the default ensemble, from training clips alone: no label, no anomaly, no detector.

Detectors that learn how the dimensions of normal sound go together notice a change that breaks this pattern. They
notice small changes where the other dimensions predict a dimension well. If they explain a share R^2 of its variance, a
change by one standard deviation has the squared Mahalanobis length 1 / (1 - R^2), the variance inflation factor. Views
that keep a few extreme frames (maximum, minimum, a ranked mean of small r) vary by chance, so nothing predicts them.

1. The inflation of a view is the geometric mean of these factors over its dimensions and over the sections.
2. Embeddings with views that rank the training clips alike (`SAME`) are one family; their views can be compared. The
   weight of a view falls with its inflation relative to the best of its family (`SHARPNESS`).
3. A family counts in proportion to the inflation of its best view. The dimensions of noise do not predict each other,
   and the factor is 1.
4. Of copies (`COPY`), which rank the training clips equally, the first stays. Views that rank them alike share a
   vote (`CROWD`).
5. A view with less than `LEAST` of the largest weight in its family is left out: it costs as much time as any other.

Inflation compares views of the same sound only. Where the store has several mixes of the channels of a recording (near,
near minus far), noise that both microphones hear is the most regular sound, so the far one would win. There, steps 1 to
5 weigh the views of each mix among themselves, and all mixes count alike. A microphone that another mix subtracts does
not count on its own: it is there to hear the noise. A subtraction counts only where it removes noise, which is measured
(`ensemble.checks.subtracted`). Mixes that are copies, as where nothing can be subtracted, count once.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from detectors.covariance import Moments, Precision, ledoit_wolf
from featstore.audio.near_far.mixes import far_alone, mix_of_view
from featstore.store import FeatureStore

SHARPNESS = 5
"""Power of a view's share of the best inflation in its family; docs/selection.md compares 3 to 6."""

LEAST = 0.1
"""Smallest weight of a view that stays, as a share of the largest in its family."""

COPY = 0.99
"""Rank correlation above which two views are copies. (A mean is also a ranked mean.)"""

CROWD = 30
"""Power of the rank correlation by which views share a vote: .99 counts as .74 of a copy, .95 as .21, .8 as none."""

SAME = 0.9
"""Rank correlation of two views that makes their embeddings one family."""

MIN_CLIPS = 8
"""Training clips that a section needs to be used here."""

MOST_CLIPS, MOST_SECTIONS, MOST_DIMENSIONS = 300, 20, 256
"""What is used of a section, of a store and of a view; evenly spaced, so that the same store gives the same weights."""

CONSTANT = 1e-6
"""Spread of a constant dimension, as a share of its largest value."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """Inflation (views,) of every view, and the rank correlation (views, views) of what they place far from normal."""

    inflation: np.ndarray
    agreement: np.ndarray


def view_weights(
    store: FeatureStore,
    sources: Sequence[tuple[str, str]],
    *,
    veto: bool | np.ndarray = True,
    without: Collection[str] = (),
) -> np.ndarray:
    """Weight (views,) of every (embedding, view), the largest 1; 0 leaves a view out. Without `veto`, all stay.

    veto: one value, or one for every view (views,): a view with False stays, the others are left out as without it.
    without: mixes that `veto` leaves out too, see `ensemble.checks.subtracted`.
    All weights are 1 where no section has MIN_CLIPS training clips in all embeddings, or a view is unknown.
    """
    names = list(dict.fromkeys(name for name, _ in sources))
    unknown = any(view and view not in store.info(name).views for name, view in sources)
    sections = [] if unknown or len(sources) < 2 else sampled(store, names)
    mixes = [mix_of_view(store.info(name).channel, view) for name, view in sources]
    if not sections:
        vetoed = _of_each(veto, len(mixes))
        return np.where(vetoed & _of_unused(mixes, vetoed, without), 0.0, 1.0)
    logs, ranks = np.empty((len(sources), len(sections))), np.empty((len(sources), sum(map(len, sections))))
    with threadpool_limits(1):  # the matrices are small
        for name in names:
            rows = rows_of(store, name, np.concatenate(sections))
            for i, (_, view) in enumerate(sources):
                if sources[i][0] == name:
                    X = rows[:, store.info(name).views.index(view)] if view else rows.reshape(len(rows), -1)
                    logs[i], ranks[i] = _of_sections(X, [len(section) for section in sections])
    bounds = np.cumsum([len(section) for section in sections])[:-1]
    correlation = np.mean([_correlation(part) for part in np.split(ranks, bounds, axis=1)], axis=0)
    evidence = Evidence(np.exp(logs.mean(axis=1)), correlation)
    return weigh_mixes(evidence, [name for name, _ in sources], mixes, veto=veto, without=without)


def weigh_mixes(
    evidence: Evidence,
    embeddings: Sequence[str],
    mixes: Sequence[str],
    *,
    veto: bool | np.ndarray = True,
    without: Collection[str] = (),
) -> np.ndarray:
    """`weigh` for the views of every mix, each with the same sum of weights.

    `veto` also leaves out far channels and the mixes `without`.
    """
    if len(set(mixes)) == 1:
        return weigh(evidence, embeddings, veto=veto)
    weights, of_mix, vetoed = np.zeros(len(mixes)), np.array(mixes), _of_each(veto, len(mixes))
    unused = _of_unused(mixes, vetoed, without)
    first = ~unused
    first[~unused] = _firsts(evidence.agreement[np.ix_(~unused, ~unused)])
    for mix in dict.fromkeys(mixes):
        own = np.flatnonzero(of_mix == mix)
        if not first[own].any():
            own = own[~vetoed[own]]
        if not len(own):
            continue
        part = Evidence(evidence.inflation[own], evidence.agreement[np.ix_(own, own)])
        weights[own] = weigh(part, [embeddings[i] for i in own.tolist()], veto=vetoed[own])
        weights[own] /= weights[own].sum()
    scaled: np.ndarray = weights / weights.max()
    return scaled


def weigh(evidence: Evidence, embeddings: Sequence[str], *, veto: bool | np.ndarray = True) -> np.ndarray:
    """Weights (views,) from the evidence and the embedding of every view; steps 2 to 5 of the module.

    `veto` leaves out copies and views of little weight; an array (views,) says it for every view.
    """
    agreement, vetoed = evidence.agreement, _of_each(veto, len(embeddings))
    family = families(agreement, embeddings)
    best = _largest(evidence.inflation, family)
    kept = _firsts(agreement) | ~vetoed
    copies = (np.clip(agreement, 0, 1) ** CROWD)[:, kept].sum(axis=1)
    weights = kept * (evidence.inflation / best) ** SHARPNESS * best / np.maximum(copies, 1)
    weights[vetoed & (weights < LEAST * _largest(weights, family))] = 0
    scaled: np.ndarray = weights / weights.max()
    return scaled


def _of_each(veto: bool | np.ndarray, n: int) -> np.ndarray:
    """Whether each of n views may be left out."""
    return np.broadcast_to(np.asarray(veto, dtype=bool), n)


def _of_unused(mixes: Sequence[str], vetoed: np.ndarray, without: Collection[str]) -> np.ndarray:
    """Mask (views,) of those whose mix the veto leaves out: a far channel among the `vetoed` ones, or in `without`."""
    far = far_alone(mix for mix, may_leave in zip(mixes, vetoed.tolist(), strict=True) if may_leave)
    unused: np.ndarray = np.isin(mixes, [*far, *without])
    return unused


def _largest(values: np.ndarray, family: np.ndarray) -> np.ndarray:
    """Largest value (views,) in the family of every view."""
    return np.array([values[family == own].max() for own in family])


def _firsts(agreement: np.ndarray) -> np.ndarray:
    """Mask (views,) of those that are no copy of an earlier one in the mask."""
    first = np.ones(len(agreement), dtype=bool)
    for i in range(1, len(first)):
        first[i] = not (agreement[i, :i][first[:i]] > COPY).any()
    return first


def families(agreement: np.ndarray, embeddings: Sequence[str]) -> np.ndarray:
    """Number of the family (views,) of every view; embeddings are joined by any two of their views that agree."""
    family = np.unique(list(embeddings), return_inverse=True)[1].reshape(-1)
    for i, j in np.argwhere(agreement > SAME):
        family[family == family[i]] = family[j]
    return family


def inflation(X: np.ndarray) -> tuple[float, np.ndarray]:
    """Log of the geometric mean of the inflation factors, and squared Mahalanobis distances (n,), of rows X (n, d).

    The covariance is that of the standardised dimensions that vary, shrunk by Ledoit and Wolf (2004).
    """
    X = np.asarray(X, dtype=np.float64)
    deviation = X.std(axis=0)
    varies = deviation > CONSTANT * np.abs(X).max(axis=0)
    if not varies.any():
        return 0.0, np.zeros(len(X))
    Z = (X[:, varies] - X[:, varies].mean(axis=0)) / deviation[varies]
    covariance = ledoit_wolf(Moments.of(Z))
    precision = Precision.regularised(covariance)
    diagonal = np.square(np.linalg.inv(precision.cholesky)).sum(axis=0)  # of the inverse of the covariance
    factors = np.maximum(diagonal * np.diag(covariance), 1.0)
    return float(np.log(factors).mean()), precision.squared_distance(Z)


def sampled(store: FeatureStore, names: Sequence[str]) -> list[np.ndarray]:
    """Paths (as stored) of training clips that all embeddings have, evenly spaced, one array per section."""
    clips = store.clips(names[0])
    usable = clips.where(split="train", variant="") & ~clips.where(label="anomaly")
    usable &= store.facts(names[0])["outcome"] != b"silent"
    for name in names[1:]:
        usable &= np.isin(clips.columns["path"], store.clips(name).columns["path"])
    clips = clips[usable]
    paths = [
        clips[clips.where(machine=machine, section=section)].columns["path"] for machine, section in clips.sections()
    ]
    enough = [section for section in paths if len(section) >= MIN_CLIPS]
    return [
        section[_evenly(len(section), MOST_CLIPS)]
        for section in (enough[i] for i in _evenly(len(enough), MOST_SECTIONS))
    ]


def _evenly(n: int, most: int) -> np.ndarray:
    """At most `most` positions among n."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int))


def rows_of(store: FeatureStore, name: str, paths: np.ndarray) -> np.ndarray:
    """Rows of an embedding in the order of `paths`."""
    clips = store.clips(name)
    mask = clips.where(variant="") & np.isin(clips.columns["path"], paths)
    at = np.argsort(clips.columns["path"][mask])
    return store.matrix(name, mask)[at[np.searchsorted(clips.columns["path"][mask], paths, sorter=at)]]


def _of_sections(X: np.ndarray, sizes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Log inflation of every section, and the rank of every clip in its section."""
    X = X[:, _evenly(X.shape[1], MOST_DIMENSIONS)]
    parts = [inflation(part) for part in np.split(X, np.cumsum(sizes)[:-1])]
    ranks = np.concatenate([np.argsort(np.argsort(distance, kind="stable")) for _, distance in parts])
    return np.array([log for log, _ in parts]), ranks


def _correlation(ranks: np.ndarray) -> np.ndarray:
    """Correlation of every two views' ranks (views, n)."""
    correlation: np.ndarray = np.corrcoef(ranks)
    return correlation
