"""Offline model selection: which members, fused how, from generated anomalies only, and whether to trust the choice.

The fixed default stays unless a way of choosing beats it on recordings and transforms that the way has not seen, by
more than the bootstrap's uncertainty. No test clip takes part, labelled or not.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from detectors import detector_spec, parse_detector
from detectors.metrics.auc import percentile_interval
from ensemble.decision.fuse import combine
from ensemble.defaults import default_recipe
from ensemble.recipe import Member, Recipe
from ensemble.selection.cache import ScoreCache
from ensemble.selection.choose import WAYS, Evidence, Problem, bootstrap_weights, nested_figures, positions, twins
from ensemble.selection.indicators import agreement, domain_gap, stability
from ensemble.selection.informative import RULES, candidate_figure
from ensemble.selection.perturb_design import PerturbDesign
from ensemble.selection.quality import Judge, by_pair, official
from ensemble.selection.ranker import ranker_scores
from ensemble.selection.score_candidates import Scored, score_candidates
from ensemble.selection.validation import FOLDS, Validation, plan_validation
from featstore.errors import DataError
from featstore.store import FeatureStore

SATURATED = 0.98
CLEAR, RELIABLE = 1.25, 0.5
"""Candidates count as different from this spread, in spreads by chance, or this rank correlation between halves."""

SURE = 0.05
"""Share of the resamples in which a choice that replaces the default may fail to lead it: one side, one question."""

MARGIN = 0.02
"""Nested figures of ways that differ by less do not tell which is better on real anomalies (see docs/selection.md)."""

DEFAULT, ALL_MEAN, MIN_Z, RANKER = "fixed default", "rank mean of all", "minimum of z-scores", "learned ranker"


@dataclass(frozen=True)
class Options:
    """rule: how pairs weigh, see informative.RULES. replicates: of the bootstrap. workers: processes, None = cores.

    ranker: judge a learned fusion beside the others, see ranker.py. perturbed: anomalies are made in embedding space,
    for stores without audio.
    """

    rule: str = "agreement"
    ranker: bool = False
    folds: int = FOLDS
    replicates: int = 300
    seed: int = 0
    workers: int | None = None
    perturbed: PerturbDesign | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot run."""
        if self.rule not in RULES:
            raise DataError(f"unknown rule {self.rule!r}; choose from {', '.join(RULES)}")


@dataclass(frozen=True)
class Candidate:
    """A candidate with its figure (weighted mean rank in [0, 1]), official score, and the second voice."""

    member: Member
    figure: float
    score: float
    domain_gap: float
    agreement: float
    instability: float


@dataclass(frozen=True)
class Standing:
    """Nested official score of a system, and its lead over another with the middle 95 % of its replicates.

    p: share of the replicates in which it does not lead, the observed clips counted as one of them.
    """

    name: str
    score: float
    lead: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Selection:
    """The recipe, why it is that, and everything it was weighed by; candidates and pairs with the best first.

    standings: nested, leads over the fixed default. reliability: rank correlation of the candidates' figures between
    two halves of the recordings. per_machine: lead of choosing for each machine by itself over choosing once, None
    where there is one machine or the default stays.
    """

    recipe: Recipe
    chosen: str
    reason: str
    candidates: tuple[Candidate, ...]
    pairs: tuple[tuple[str, float], ...]
    standings: tuple[Standing, ...]
    per_machine: Standing | None
    reliability: float
    clips: Mapping[str, int]
    failed: Mapping[str, str]
    warnings: tuple[str, ...]
    computed: int


def select(
    store: FeatureStore,
    candidates: Sequence[Member],
    cache: ScoreCache,
    options: Options | None = None,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Selection:
    """Score the candidates, judge every way of choosing among them, and choose.

    DataError where the store has no generated anomalies, or no candidate could be scored.
    """
    options = options or Options()
    candidates, notes = _judgeable(store, candidates, options)
    base = candidates[0].embedding
    validation = plan_validation(store.clips(base), store.facts(base), folds=options.folds, perturbed=options.perturbed)
    embeddings = tuple(dict.fromkeys(member.embedding for member in candidates if member.embedding))
    default = _canonical(default_recipe(store, embeddings), store)
    wanted = list({member.name: member for member in [*candidates, *default.members]}.values())
    scored = score_candidates(store, wanted, validation, cache, workers=options.workers, progress=progress)
    found = decide(scored, validation, default, [member.name for member in candidates], options)
    return replace(found, warnings=(*notes, *found.warnings))


def _judgeable(
    store: FeatureStore, candidates: Sequence[Member], options: Options
) -> tuple[Sequence[Member], tuple[str, ...]]:
    """The candidates whose embeddings hold generated anomalies, if any do, and what is left out."""
    foreign = next((member.file for member in candidates if member.file), "")
    if options.perturbed and foreign:
        raise DataError(
            f"{foreign}: no other system has scored perturbed embeddings; leave it out, or choose by sounds"
        )
    names = dict.fromkeys(member.embedding for member in candidates if member.embedding)
    lacking = [] if options.perturbed else [name for name in names if store.clips(name).where(variant="").all()]
    if len(lacking) in (0, len(names)):
        return candidates, ()
    kept = [member for member in candidates if member.embedding not in lacking]
    how = "featstore build --with-anomalies, with its -e as before, makes them"
    return kept, tuple(f"{name} holds no generated anomalies and is left out; {how}" for name in lacking)


def _canonical(recipe: Recipe, store: FeatureStore) -> Recipe:
    """The recipe with detectors as the candidates spell them, and fingerprints."""
    members = [
        replace(
            member,
            detector=detector_spec(*parse_detector(member.detector)),
            fingerprint=store.info(member.embedding).fingerprint,
        )
        for member in recipe.members
    ]
    return replace(recipe, members=tuple(members))


def decide(
    scored: Scored, validation: Validation, default: Recipe, candidates: Sequence[str], options: Options
) -> Selection:
    """Choose from scores; `candidates` names the members that may be chosen, the others are the default's."""
    names = [member.name for member in scored.members]
    allowed, in_default = np.isin(names, list(candidates)), np.isin(names, [one.name for one in default.members])
    if not allowed.any() or not in_default.any():
        raise DataError(f"no candidate, or no member of the default, could be scored: {dict(scored.failed)}")
    placed = positions(scored.scores, validation)
    repeated = np.flatnonzero(allowed)[twins(placed[allowed])]
    allowed[repeated] = False
    problem = Problem(validation, placed[allowed], options.rule)
    members = [member for member, taken in zip(scored.members, allowed, strict=True) if taken]
    fixed = {
        DEFAULT: combine(default.fusion, placed[in_default]),
        ALL_MEAN: combine("mean", placed[allowed]),
        MIN_Z: combine("min_zscore", positions(scored.scores[allowed], validation, "zscore")),
    }
    listed, reliability, warnings = _candidates(problem, members, scored.scores[allowed])
    recipe, chosen = default, DEFAULT
    reason = "no pair of transform and severity says anything about the candidates: the fixed default stays"
    standings: tuple[Standing, ...] = ()
    per_machine = None
    if problem.pair_weights.any():
        replicates = _nested(problem, fixed, options)
        standings = _standings(replicates, DEFAULT)
        chosen, reason = _chosen(replicates, warnings)
        if chosen != DEFAULT:
            recipe = _recipe(problem, chosen, members)
            per_machine = _per_machine(problem, chosen, replicates[chosen], options)
    pairs = zip([pair.name for pair in validation.pairs], problem.pair_weights.tolist(), strict=True)
    return Selection(
        recipe=recipe,
        chosen=chosen,
        reason=reason,
        candidates=listed,
        pairs=tuple(sorted(pairs, key=lambda pair: -pair[1])),
        standings=standings,
        per_machine=per_machine,
        reliability=reliability,
        clips={"normal": int(validation.normal.sum()), "generated": int((~validation.normal).sum())},
        failed=scored.failed,
        warnings=(*validation.notes, *_repeats(len(repeated)), *warnings),
        computed=scored.computed,
    )


def _repeats(count: int) -> tuple[str, ...]:
    told = "candidates that place every clip where another one does, left out, or they would vote twice"
    return (f"{told}: {count}",) if count else ()


def _candidates(
    problem: Problem, members: Sequence[Member], scores: np.ndarray
) -> tuple[tuple[Candidate, ...], float, list[str]]:
    """Every candidate with its figures, the best first; the ranking's reliability; warnings."""
    validation, weights = problem.validation, problem.pair_weights
    used = weights if weights.any() else np.ones(len(weights))
    first, second, score = (official(figures, used) for figures in problem.figures)
    figure = candidate_figure(by_pair(problem.figures[2]), used)
    normal = validation.normal
    gap = domain_gap(scores[:, normal], validation.section[normal], validation.domain[normal])
    change, reliability = stability(problem.figures, used)
    columns = (figure, score, gap, agreement(problem.placed), change)
    rows = zip(members, *(column.tolist() for column in columns), strict=True)
    listed = sorted((Candidate(*row) for row in rows), key=lambda one: -one.figure)
    warnings = []
    if np.median(score) > SATURATED:
        warnings.append(f"the median candidate reaches {np.median(score):.3f}: the generated anomalies are too easy")
    chance = (first - second).std() / 2  # what candidates that are all alike would spread by
    if len(score) > 1 and score.std() < CLEAR * chance and reliability < RELIABLE:
        warnings.append(
            f"candidates spread by {score.std():.3f}, of which chance makes {chance:.3f}, and halves of the recordings "
            f"rank them alike by {reliability:.2f} only: too little to go by"
        )
    return tuple(listed), reliability, warnings


def _nested(problem: Problem, fixed: Mapping[str, np.ndarray], options: Options) -> dict[str, np.ndarray]:
    """Official score (1 + replicates,) of every way and every fixed system, the same resamples for all."""
    weights = bootstrap_weights(problem, options.replicates, np.random.default_rng(options.seed))

    def of_way(name: str) -> np.ndarray:
        way = WAYS[name]
        return nested_figures(problem, lambda evidence: way.fused(problem, way.choose(problem, evidence)), weights)

    found = {name: of_way(name) for name in WAYS}
    if options.ranker:
        found[RANKER] = nested_figures(problem, partial(ranker_scores, problem, seed=options.seed), weights)
    return found | {name: nested_figures(problem, partial(_same, scores), weights) for name, scores in fixed.items()}


def _same(scores: np.ndarray, evidence: Evidence) -> np.ndarray:
    """Scores that do not depend on any evidence."""
    return scores


def _standing(name: str, values: np.ndarray, other: np.ndarray) -> Standing:
    difference = values - other
    p = (1 + np.count_nonzero(difference[1:] <= 0)) / len(difference)
    return Standing(name, float(values[0]), float(difference[0]), *percentile_interval(difference[1:]), p)


def _standings(replicates: Mapping[str, np.ndarray], reference: str) -> tuple[Standing, ...]:
    found = [_standing(name, values, replicates[reference]) for name, values in replicates.items()]
    return tuple(sorted(found, key=lambda one: -one.score))


def _chosen(replicates: Mapping[str, np.ndarray], warnings: Sequence[str]) -> tuple[str, str]:
    """Name of the way to take, or of the default, and the reason in words.

    Of the ways that cannot be told from the best, the first that is surely ahead of the default.
    """
    top = max(WAYS, key=lambda name: replicates[name][0])
    behind = [_standing(name, replicates[name], replicates[top]) for name in WAYS]
    alike = [one.name for one in behind if one.high >= 0 or one.lead >= -MARGIN]
    leads = [_standing(name, replicates[name], replicates[DEFAULT]) for name in alike]
    lead = next((one for one in leads if one.p <= SURE), leads[0])
    points = f"{100 * lead.lead:+.1f} points [{100 * lead.low:+.1f}, {100 * lead.high:+.1f}]"
    against = f"{lead.name} leads the {DEFAULT} by {points}, and in all but {100 * lead.p:.1f} % of the resamples"
    if warnings:
        return DEFAULT, f"{against}, but {warnings[0]}: the {DEFAULT} stays"
    if lead.p > SURE:
        return DEFAULT, f"{against}, which is within its uncertainty: the {DEFAULT} stays"
    among = (
        f"of {len(alike)} ways within {100 * MARGIN:g} points or chance of the best, the first by fixed preference"
        if len(alike) > 1
        else "the best way"
    )
    return lead.name, f"{against} on recordings and transforms it has not seen ({among})"


def _recipe(problem: Problem, chosen: str, members: Sequence[Member]) -> Recipe:
    way = WAYS[chosen]
    weights = way.choose(problem, problem.evidence())
    taken = np.argsort(-weights, kind="stable")[: np.count_nonzero(weights)]
    weighted = tuple(replace(members[i], weight=float(weights[i])) for i in taken)
    return Recipe(weighted, name="selected", fusion=f"weighted_{way.fusion}")


def _per_machine(problem: Problem, chosen: str, once: np.ndarray, options: Options) -> Standing | None:
    """Lead of the same way choosing for every machine by itself; None with a single machine."""
    validation, way = problem.validation, WAYS[chosen]
    machines = np.array([machine for machine, _ in validation.sections])
    if len(set(machines.tolist())) < 2:
        return None

    def fused(evidence: Evidence) -> np.ndarray:
        scores = np.empty(len(validation))
        for machine in np.unique(machines):
            of_section = machines == machine
            of_clip = of_section[validation.section]
            keep = of_clip if evidence.judge.keep is None else of_clip & evidence.judge.keep
            figures = np.where(of_section[:, None, None], evidence.figures, np.nan)
            own = Evidence(Judge(validation, keep), figures, evidence.pair_weights)
            scores[of_clip] = way.fused(problem, way.choose(problem, own))[of_clip]
        return scores

    weights = bootstrap_weights(problem, options.replicates, np.random.default_rng(options.seed))
    return _standing("chosen per machine", nested_figures(problem, fused, weights), once)
