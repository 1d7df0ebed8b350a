"""Selection of an ensemble by generated anomalies: its members, their fusion, and whether to trust the choice.

Strategies are judged on recordings and transforms that they did not use. One of which the fixed default is half may
replace the default unless it is clearly behind, any other one only if it leads by more than the uncertainty of the
bootstrap. Test clips are not used, labelled or not, except those that a person confirmed.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from detectors import detector_spec, parse_detector
from ensemble.checks.subtracted import left_out, used_views
from ensemble.decision.fuse import combine, fusion
from ensemble.defaults import default_recipe
from ensemble.domains.posterior import Posterior
from ensemble.inputs import width_of
from ensemble.recipe import PREDICTED, Member, Recipe
from ensemble.selection.candidates import with_anomalies
from ensemble.selection.choose import (
    STRATEGIES,
    Evidence,
    Problem,
    bootstrap_weights,
    duplicates,
    nested_scores,
    positions,
    strategies,
)
from ensemble.selection.faults import clip_counts, with_confirmed
from ensemble.selection.indicators import agreement, domain_gap, stability
from ensemble.selection.informative import RULES, mean_rank
from ensemble.selection.quality import by_pair, official_score
from ensemble.selection.racing import RACE_FROM, Raced, race
from ensemble.selection.ranker import ranker_scores
from ensemble.selection.scoring.cache import ScoreCache
from ensemble.selection.scoring.domains import corrected_positions, validation_posterior, with_labelled
from ensemble.selection.scoring.perturb_design import PerturbDesign
from ensemble.selection.scoring.score_candidates import Scored, score_candidates
from ensemble.selection.scoring.validation import FOLDS, Validation, plan_validation
from ensemble.selection.standings import DEFAULT, Standing, by_machine, chosen_by, standings
from featstore.errors import DataError
from featstore.spec import unknown
from featstore.store import FeatureStore
from featstore.terminal.shown import counted

SATURATED = 0.98
"""Median score above which the generated anomalies are too easy."""

CLEAR, RELIABLE = 1.25, 0.5
"""Candidates differ if their spread is this multiple of the spread by chance, or halves rank them as alike as this."""

LEAST_SHARE = 0.02
"""Members with a smaller share of the default's weight are left out of its half: they cost time and change little."""

ALL_MEAN, MIN_Z, RANKER = "rank mean of all", "minimum of z-scores", "learned ranker"


@dataclass(frozen=True)
class Options:
    """rule: how pairs are weighted, see informative.RULES. replicates: of the bootstrap.

    workers: processes, None for one per core. ranker: also evaluate a learned fusion, see ranker.py. perturbed: make
    the anomalies in embedding space, for stores without audio. race: drop candidates early, see racing.py; not with a
    group, whose first fold may be a single block. group: what is in one fold as a whole, see `ensemble.groups`; the
    recipe keeps it. domains: "predicted" judges candidates without the offset between domains, "pooled" as they are.
    strategy: one of choose.STRATEGIES to take, whatever the others reach; empty for the one that is best. machines:
    those whose clips are used; all where none is named.
    """

    rule: str = "agreement"
    ranker: bool = False
    folds: int = FOLDS
    replicates: int = 300
    seed: int = 0
    workers: int | None = None
    perturbed: PerturbDesign | None = None
    race: bool = True
    group: str = ""
    domains: str = PREDICTED
    strategy: str = ""
    machines: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse an unknown rule or strategy."""
        if self.rule not in RULES:
            raise DataError(unknown("rule", self.rule, RULES))
        if self.strategy and self.strategy not in STRATEGIES:
            raise DataError(unknown("strategy", self.strategy, STRATEGIES))


@dataclass(frozen=True)
class Candidate:
    """A candidate with its weighted mean rank in [0, 1] (1 is best), official score and label-free indicators."""

    member: Member
    rank: float
    score: float
    domain_gap: float
    agreement: float
    instability: float


@dataclass(frozen=True)
class Selection:
    """The chosen recipe with the reason, and everything that was compared; candidates and pairs with the best first.

    standings: nested scores, leads over the fixed default. reliability: rank correlation of the candidates between two
    halves of the recordings. per_machine: lead of choosing for each machine separately, None where there is one machine
    or the default is kept. raced_out: number of candidates that a race left out, None where none was run. warnings
    doubt the choice; notes say which candidates it does not compare.
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
    raced_out: int | None = None
    notes: tuple[str, ...] = ()


def select(
    store: FeatureStore,
    candidates: Sequence[Member],
    cache: ScoreCache,
    options: Options | None = None,
    *,
    faults: Mapping[str, bool] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Selection:
    """Score the candidates, evaluate every strategy, and choose.

    faults: whether a recording is a fault, by its key, as a person confirmed it. With them all candidates are scored
    whole. DataError where the store has neither generated anomalies nor enough faults, or no candidate could be scored.
    """
    options = options or Options()
    faults = faults or {}
    candidates, notes = with_anomalies(store, candidates, perturbed=options.perturbed is not None)
    base = candidates[0].embedding
    validation = plan_validation(
        store.clips(base),
        store.facts(base),
        folds=options.folds,
        perturbed=options.perturbed,
        group=options.group,
        faults=faults,
        machines=options.machines,
    )
    default = canonical(default_recipe(store, _sources(store, candidates)), store)
    of_default = [replace(member, weight=1.0) for member in default.members]  # the weights belong to the fusion
    to_score = list({member.name: member for member in [*candidates, *of_default]}.values())
    score = partial(score_candidates, store, validation=validation, cache=cache, workers=options.workers)
    raced = Raced(to_score)
    widths = [width_of(store.info(member.embedding), member) for member in to_score if not member.file]
    racing = options.race and validation.block is None and not faults and len(validation) * sum(widths) >= RACE_FROM
    if racing:
        always = [member.name for member in default.members]
        raced = race(
            score, to_score, validation, always=always, rule=options.rule, seed=options.seed, progress=progress
        )
    lost = len(to_score) - len(raced.kept)
    scored = score(raced.kept, progress=lambda done, total: progress(lost + done, lost + total))
    embeddings = list(dict.fromkeys(member.embedding for member in candidates if member.embedding))
    domains = validation_posterior(store, embeddings, validation) if options.domains == PREDICTED else None
    if faults:
        validation, scored, part = with_confirmed(store, base, validation, scored, cache, faults, options.workers)
        domains = with_labelled(store, embeddings, domains, part) if domains else None
    names = [member.name for member in candidates]
    selection = decide(scored, validation, default, names, options, raced.dropped, domains)
    recipe = replace(
        selection.recipe,
        group=options.group,
        confirmed_faults=tuple(sorted(key for key, fault in faults.items() if fault)),
        confirmed_normal=tuple(sorted(key for key, fault in faults.items() if not fault)),
    )
    warnings, notes = (*notes, *selection.warnings), (*raced.notes, *selection.notes)
    return replace(selection, recipe=recipe, warnings=warnings, notes=notes, raced_out=lost if racing else None)


def _sources(store: FeatureStore, candidates: Sequence[Member]) -> tuple[str, ...]:
    """What the candidates read, for a default of the same: embeddings, or views where others are left out.

    Views of a mix that is left out, which only a name makes candidates, follow their embedding.
    """
    views: dict[str, dict[str, None]] = {}
    for member in candidates:
        if member.embedding:
            views.setdefault(member.embedding, {})[member.view] = None
    without = left_out(store, list(views))
    used = {name: set(used_views(store.info(name), without)) for name in views}
    whole = {name for name, of_name in views.items() if "" in of_name or used[name] <= set(of_name)}
    return tuple(
        source
        for name, of_name in views.items()
        for source in (
            [name, *(f"{name}@{view}" for view in of_name if view and view not in used[name])]
            if name in whole
            else [f"{name}@{view}" for view in of_name]
        )
    )


def canonical(recipe: Recipe, store: FeatureStore) -> Recipe:
    """The recipe with detectors in canonical spelling, as candidates have them, and with fingerprints."""
    members = [
        replace(
            member,
            detector=detector_spec(*parse_detector(member.detector)),
            fingerprint=store.info(member.embedding).fingerprint,
        )
        for member in recipe.members
    ]
    return replace(recipe, members=tuple(members))


def decide(  # noqa: PLR0917 - the last is for one caller
    scored: Scored,
    validation: Validation,
    default: Recipe,
    candidates: Sequence[str],
    options: Options,
    dropped: tuple[np.ndarray, ...] = (),
    domains: Posterior | None = None,
) -> Selection:
    """Choose from scores; `candidates` names the members that may be chosen, the others belong to the default.

    `dropped` are the metrics of candidates that lost the race. With `domains`, candidates are judged, and the recipe
    runs, without the offset between domains.
    """
    names = [member.name for member in scored.members]
    allowed = np.isin(names, list(candidates))
    if not allowed.any() or not np.isin(names, [member.name for member in default.members]).any():
        raise DataError(f"no candidate, or no member of the default, could be scored: {dict(scored.failed)}")
    placed = positions(scored.scores, validation)
    repeated = np.flatnonzero(allowed)[duplicates(placed[allowed])]
    allowed[repeated] = False
    if domains is not None:
        placed = corrected_positions(placed, domains)
        default = replace(default, domains=PREDICTED)
    of_default = _fused_by(default, placed, names)
    half = replace(default, members=_main_members(default, names))
    problem = Problem(validation, placed[allowed], options.rule, dropped, _fused_by(half, placed, names))
    members = [scored.members[i] for i in np.flatnonzero(allowed)]
    fixed = {DEFAULT: of_default, **_plain_fusions(placed[allowed], scored.scores[allowed], validation)}
    listed, reliability, warnings = _candidates(problem, members, scored.scores[allowed])
    recipe, chosen = default, DEFAULT
    reason = f"no anomaly type and strength separates the candidates: the {DEFAULT} is kept"
    rows: tuple[Standing, ...] = ()
    per_machine = None
    if problem.pair_weights.any():
        replicates = _nested(problem, fixed, options)
        rows = standings(replicates, DEFAULT)
        chosen, reason = chosen_by(replicates, strategies(validation), warnings)
        if options.strategy:
            chosen, reason = options.strategy, f"named by --strategy; without it: {reason}"
        if chosen != DEFAULT:
            recipe = _recipe(problem, chosen, members, half)
            per_machine = by_machine(problem, chosen, replicates[chosen], options.replicates, options.seed)
    return Selection(
        recipe=recipe,
        chosen=chosen,
        reason=reason,
        candidates=listed,
        pairs=_weighted_pairs(problem),
        standings=rows,
        per_machine=per_machine,
        reliability=reliability,
        clips=clip_counts(validation),
        failed=scored.failed,
        warnings=(*validation.notes, *_one_type_note(problem), *warnings),
        computed=scored.computed,
        notes=_duplicates_note(len(repeated)),
    )


def _plain_fusions(placed: np.ndarray, scores: np.ndarray, validation: Validation) -> dict[str, np.ndarray]:
    """Fused scores (n,) of all candidates by rules that choose nothing; placed, scores (candidates, n)."""
    z = positions(scores, validation, "zscore")
    return {ALL_MEAN: combine("mean", placed), MIN_Z: combine("min_zscore", z)}


def _weighted_pairs(problem: Problem) -> tuple[tuple[str, float], ...]:
    """Name and weight of every pair, the largest weight first."""
    pairs = zip([pair.name for pair in problem.validation.pairs], problem.pair_weights.tolist(), strict=True)
    return tuple(sorted(pairs, key=lambda pair: -pair[1]))


def _main_members(recipe: Recipe, scored: Collection[str]) -> tuple[Member, ...]:
    """The scored members that have at least LEAST_SHARE of the weight; those with the largest weight always stay."""
    members = [member for member in recipe.members if member.name in scored]
    weights = [member.weight for member in members]
    least = min(LEAST_SHARE * sum(weights), max(weights))
    return tuple(member for member in members if member.weight >= least)


def _fused_by(recipe: Recipe, placed: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Fused positions (n,) of the members of a recipe among the named rows of `placed`."""
    members = [member for member in recipe.members if member.name in names]
    weights = [member.weight for member in members] if fusion(recipe.fusion).weighted else None
    return combine(recipe.fusion, placed[[names.index(member.name) for member in members]], weights)


def _one_type_note(problem: Problem) -> tuple[str, ...]:
    """A note where no anomaly type can be hidden from a choice."""
    types = {pair.transform for pair in problem.validation.pairs}
    text = f"all generated anomalies are of one type ({min(types)}), so choices are judged on the type that chose them"
    return (text,) if len(types) == 1 else ()


def _duplicates_note(count: int) -> tuple[str, ...]:
    return (f"{counted(count, 'candidate')} left out: same order of clips as another",) if count else ()


def _candidates(
    problem: Problem, members: Sequence[Member], scores: np.ndarray
) -> tuple[tuple[Candidate, ...], float, list[str]]:
    """Every candidate with its metrics, the best first; the reliability of the ranking; warnings."""
    validation, weights = problem.validation, problem.pair_weights
    used = weights if weights.any() else np.ones(len(weights))
    score = official_score(problem.metrics[2], used)
    first, second, of_all = (official_score(metrics, used) for metrics in problem.all_metrics)
    rank = mean_rank(by_pair(problem.all_metrics[2]), used)[: len(scores)]
    normal = validation.normal
    gap = domain_gap(scores[:, normal], validation.section[normal], validation.domain[normal])
    change, reliability = stability(problem.all_metrics, used)
    change = change[: len(score)]
    columns = (rank, score, gap, agreement(problem.placed), change)
    rows = zip(members, *(column.tolist() for column in columns), strict=True)
    candidates = sorted((Candidate(*row) for row in rows), key=lambda candidate: -candidate.rank)
    warnings = []
    if np.median(of_all) > SATURATED:
        warnings.append(f"the median candidate reaches {np.median(of_all):.3f}: the generated anomalies are too easy")
    chance = (first - second).std() / 2  # the standard deviation of candidates that are all equally good
    alike = len(of_all) > 1 and of_all.std() < CLEAR * chance and reliability < RELIABLE
    if alike and weights[~problem.confirmed].any():  # real faults alone are judged by the lead over the default
        warnings.append(
            f"the candidates' scores have a standard deviation of {of_all.std():.3f}, where chance alone gives "
            f"{chance:.3f}, and the rank correlation between two halves of the recordings is {reliability:.2f}: too "
            "little to choose by"
        )
    return tuple(candidates), reliability, warnings


def _nested(problem: Problem, fixed: Mapping[str, np.ndarray], options: Options) -> dict[str, np.ndarray]:
    """Official score (1 + replicates,) of every strategy and of the `fixed` scores, by the same resamples."""
    weights = bootstrap_weights(problem, options.replicates, np.random.default_rng(options.seed))

    offered = strategies(problem.validation)

    def of_strategy(name: str) -> np.ndarray:
        strategy = offered[name]
        return nested_scores(
            problem, lambda evidence: strategy.fused(problem, strategy.choose(problem, evidence)), weights
        )

    nested = {name: of_strategy(name) for name in offered}
    if options.ranker:
        nested[RANKER] = nested_scores(problem, partial(ranker_scores, problem, seed=options.seed), weights)
    return nested | {name: nested_scores(problem, partial(_fixed, scores), weights) for name, scores in fixed.items()}


def _fixed(scores: np.ndarray, evidence: Evidence) -> np.ndarray:
    """Scores that do not depend on the evidence."""
    return scores


def _recipe(problem: Problem, chosen: str, members: Sequence[Member], default: Recipe) -> Recipe:
    """The recipe of a strategy; where the default is half of it, a weight is a share of both halves."""
    strategy = strategies(problem.validation)[chosen]
    weights = strategy.choose(problem, problem.evidence())
    taken = np.argsort(-weights, kind="stable")[: np.count_nonzero(weights)]
    weighted = [replace(members[i], weight=float(weights[i])) for i in taken]
    if strategy.with_default:
        weighted = _joined(weighted, default.members)
    return Recipe(tuple(weighted), name="selected", fusion=f"weighted_{strategy.fusion}", domains=default.domains)


def _joined(*halves: Sequence[Member]) -> list[Member]:
    """All members of the halves, of equal total weight; one of both has the sum of its weights."""
    joined: dict[str, Member] = {}
    for half in halves:
        total = sum(member.weight for member in half)
        for member in half:
            weight = member.weight / total
            known = joined.get(member.name)
            joined[member.name] = replace(member, weight=weight + (known.weight if known else 0.0))
    return list(joined.values())
