"""A detection: runs a recipe on a store and decides every test clip, with the evidence for the decision.

Training clips are the normal and the unlabelled clips of the training split. Supplemental and silent recordings never
enter a bank. Where the store has no test clips, the training clips are ranked among themselves by their honest scores.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from detectors import create
from detectors.search.neighbours import nearest
from ensemble.day_effect import day_notes
from ensemble.decision.blocks import apart, blocked
from ensemble.decision.calibrate import PlacedScores, calibrate, calibrate_reference
from ensemble.decision.conformal import Decisions, decisions
from ensemble.decision.fuse import FUSIONS, Fused, combine, fusion
from ensemble.decision.given import refuse_unknown
from ensemble.decision.thresholds import THRESHOLDS
from ensemble.domains.correct import Domains, corrected, decided_as, predicted_domains, scale_of
from ensemble.external import verified
from ensemble.inputs import Inputs, evidence_of, machine_section
from ensemble.members import member_scores, placed
from ensemble.recipe import PREDICTED, Recipe
from featstore.errors import DataError, RequestError
from featstore.spec import did_you_mean, unknown
from featstore.store import FeatureStore
from featstore.table import ClipTable


@dataclass(frozen=True, eq=False)
class Detection:
    """Every scored clip with its fused score, decision and evidence; arrays are (m,).

    member_percentiles: (members, m). nearest, nearest_distance: key of the closest training clip of the section and
    its cosine distance in the embedding of `evidence_of`. reference: honest fused scores (n,) of the training clips
    `train`; blocks: the number of each one's block (see `ensemble.groups`), None without a group. domains: predicted
    domains, None where the recipe does not ask for them or there are no two domains.
    """

    recipe: Recipe
    clips: ClipTable
    score: np.ndarray
    decided: Decisions
    member_percentiles: np.ndarray
    nearest: list[str]
    nearest_distance: np.ndarray
    train: ClipTable
    reference: np.ndarray
    domains: Domains | None
    remarks: tuple[str, ...]
    blocks: np.ndarray | None = None

    @property
    def self_ranked(self) -> bool:
        """Whether the scored clips are the training clips."""
        return self.decided.self_ranked

    @property
    def percentile(self) -> np.ndarray:
        """Position of each score among the reference scores of its bank, in (0, 1)."""
        return self.decided.percentile

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know: about the clips (`remarks`) and about the decisions."""
        return (*self.remarks, *self.decided.notes)

    @property
    def decision(self) -> np.ndarray:
        """Whether each clip is reported."""
        return self.decided.reported


def resolve(store: FeatureStore, recipe: Recipe) -> Recipe:
    """The recipe with every member's fingerprint filled in.

    StoreError for an embedding or view that the store lacks, or an embedding with another fingerprint than the
    recipe's. DataError for an unknown detector, fusion or threshold rule, a threshold of an unknown section, or a score
    file that has changed.
    """
    members = []
    for kind, rule, known in (("fusion", recipe.fusion, FUSIONS), ("threshold", recipe.threshold, THRESHOLDS)):
        if rule not in known:
            raise DataError(unknown(kind, rule, sorted(known)))
    if recipe.thresholds:
        columns = machine_section(store.clips(evidence_of(store, recipe).embedding), recipe.pool_sections)
        sections = set(zip(*(column.tolist() for column in columns), strict=True))
        refuse_unknown(recipe.thresholds, sorted(sections), str(store.path))
    for member in recipe.members:
        if member.file:
            members.append(verified(store, member))
            continue
        info = store.info(member.embedding)
        try:
            create(member.detector)
        except ValueError as error:
            raise DataError(str(error)) from error
        if member.view and member.view not in info.views:
            views = ", ".join(info.views) or "none"
            hint = did_you_mean(member.view, info.views)
            raise RequestError(
                f"{store.path}: {member.embedding} has no view {member.view!r}; its views: {views}{hint}"
            )
        if member.fingerprint not in ("", info.fingerprint):
            raise RequestError(
                f"{store.path}: the recipe was made with another {member.embedding} (fingerprint "
                f"{member.fingerprint[:12]}, here {info.fingerprint[:12]}); build that embedding, or delete the "
                "recipe's fingerprint line to use this one"
            )
        members.append(replace(member, fingerprint=info.fingerprint))
    return replace(recipe, members=tuple(members))


def detect(
    store: FeatureStore,
    recipe: Recipe,
    *,
    machines: Sequence[str] = (),
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Detection:
    """Score, fuse and decide, for the named machines or for all, in `workers` processes (None: as many as save time).

    StoreError or DataError where an embedding, a machine, a clip or the training clips of a section are missing.
    """
    recipe = resolve(store, recipe)
    inputs = Inputs(store, recipe, machines)
    roles = inputs.roles
    scored, train = inputs.clips[roles.scored], inputs.clips[roles.train]
    members = member_scores(inputs, recipe, workers=workers, progress=progress)
    test, reference = [scores[0] for scores in members], [scores[1] for scores in members]
    fused, percentiles = _fuse(recipe, test, reference, roles.self_ranked)
    domains = predicted_domains(inputs, recipe) if recipe.domains == PREDICTED else None
    if domains:
        fused = corrected(fused, domains, scale_of(fused.reference, fused=bounded(recipe)), train, scored)
    sides = Sides(scored, train, domains, inputs.blocks, roles.self_ranked)
    keys, distances = _evidence(inputs, recipe)
    return Detection(
        recipe=recipe,
        clips=scored,
        score=fused.scores,
        decided=_decide(recipe, fused, sides),
        member_percentiles=percentiles,
        nearest=keys,
        nearest_distance=distances,
        train=train,
        reference=fused.reference,
        domains=domains,
        remarks=(*inputs.notes, *(domains.notes if domains else ()), *day_notes(inputs, recipe)),
        blocks=inputs.blocks,
    )


def _fuse(
    recipe: Recipe, test: list[PlacedScores], reference: list[PlacedScores], self_ranked: bool
) -> tuple[Fused, np.ndarray]:
    """Fused scores, and each member's percentiles of the scored clips; a single member keeps its raw scores."""
    of_training = [calibrate_reference(member) for member in reference]
    percentiles = of_training if self_ranked else [calibrate(*pair) for pair in zip(test, reference, strict=True)]
    if len(recipe.members) == 1:
        return Fused(test[0].scores, reference[0].scores), np.array(percentiles)
    rule = fusion(recipe.fusion)
    weights = [member.weight for member in recipe.members] if rule.weighted else None
    if rule.calibration == "ecdf":
        placed = percentiles
    else:
        of_training = [calibrate_reference(member, method=rule.calibration) for member in reference]
        pairs = zip(test, reference, strict=True)
        placed = of_training if self_ranked else [calibrate(*pair, method=rule.calibration) for pair in pairs]
    scores, honest = (combine(recipe.fusion, np.array(rows), weights) for rows in (placed, of_training))
    return Fused(scores, honest), np.array(percentiles)


def _evidence(inputs: Inputs, recipe: Recipe) -> tuple[list[str], np.ndarray]:
    """Key and cosine distance of the closest training clip of each scored clip's section.

    A training clip is not compared with itself, or with its block.
    """
    X, roles = inputs.matrix(inputs.evidence), inputs.roles
    train, scored = inputs.clips[roles.train], inputs.clips[roles.scored]
    bank = placed(train, np.zeros(len(train)), recipe.pool_sections)
    queries = placed(scored, np.zeros(len(scored)), recipe.pool_sections)
    train_keys = train.keys()
    keys, distances = [""] * len(scored), np.full(len(scored), np.nan)
    for group, rows in queries.groups():
        of_section = bank.rows_of(group)
        if roles.self_ranked and len(of_section) < 2:
            continue
        pairs: Iterable[tuple[np.ndarray, np.ndarray]] = [(rows, of_section)]
        exclude = np.arange(len(rows)) if roles.self_ranked else None
        if roles.self_ranked and blocked(inputs.blocks, rows):
            pairs, exclude = apart(inputs.blocks, rows, rows, rows), None
        for own, others in pairs:
            distance, index = nearest(X[roles.scored[own]], X[roles.train[others]], 1, exclude=exclude)
            distances[own] = distance[:, 0]
            for row, i in zip(own, others[index[:, 0]], strict=True):
                keys[row] = train_keys[i]
    return keys, distances


def redecided(detection: Detection, recipe: Recipe) -> Detection:
    """The same scores decided again by the rates, threshold rule and tail of `recipe`; its members are ignored.

    So are its domains where scores were corrected by predicted ones, or would have to be.
    """
    fused = Fused(detection.score, detection.reference)
    recipe = replace(recipe, members=detection.recipe.members, fusion=detection.recipe.fusion)
    if PREDICTED in (recipe.domains, detection.recipe.domains):
        recipe = replace(recipe, domains=detection.recipe.domains)
    sides = Sides(detection.clips, detection.train, detection.domains, detection.blocks, detection.self_ranked)
    decided = _decide(recipe, fused, sides)
    return replace(detection, recipe=recipe, decided=decided)


def bounded(recipe: Recipe) -> bool:
    """Whether the recipe's scores are fused positions in (0, 1), not raw scores or z-scores."""
    return len(recipe.members) > 1 and fusion(recipe.fusion).calibration == "ecdf"


class Sides(NamedTuple):
    """What decisions need to know of the clips: those scored, those of training, their domains and blocks."""

    scored: ClipTable
    train: ClipTable
    domains: Domains | None
    blocks: np.ndarray | None
    self_ranked: bool


def _decide(recipe: Recipe, fused: Fused, sides: Sides) -> Decisions:
    """Decisions on fused scores, by predicted domains, or by labelled ones where the recipe says these are known."""
    domains = sides.domains
    reference = placed(sides.train, fused.reference, recipe.pool_sections, sides.blocks)
    test = placed(sides.scored, fused.scores, recipe.pool_sections)
    if recipe.domains == "known" or domains:
        reference = replace(reference, domain=sides.train.column("domain"))
        test = replace(test, domain=decided_as(domains.scored) if domains else sides.scored.column("domain"))
    try:
        return decisions(
            reference if sides.self_ranked else test,
            reference,
            rate=recipe.false_alarm_rate,
            method=recipe.threshold,
            fdr=recipe.fdr,
            scale=scale_of(fused.reference, fused=bounded(recipe)),
            tail=recipe.tail,
            given=recipe.thresholds,
        )
    except ValueError as error:
        raise DataError(str(error)) from error
