"""A detection: runs a recipe on a store and decides every test clip, with the evidence for the decision.

Training clips are the normal and the unlabelled clips of the training split. Supplemental and silent recordings never
enter a bank. Where the store has no test clips, the training clips are ranked among themselves by their honest scores.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from detectors import create
from detectors.search.neighbours import nearest
from ensemble.checks.copies import Copies
from ensemble.checks.flat import flat_warnings
from ensemble.checks.near import near_twins, with_near_copies
from ensemble.checks.unscored import Unscored
from ensemble.day_effect import day_notes
from ensemble.decision.blocks import apart, blocked
from ensemble.decision.calibrate import PlacedScores
from ensemble.decision.conformal import Decisions
from ensemble.decision.fuse import FUSIONS, Fused
from ensemble.decision.given import refuse_unknown
from ensemble.decision.thresholds import THRESHOLDS
from ensemble.domains.correct import Domains, predicted_domains
from ensemble.external import verified
from ensemble.fitting.decide import Sides, decide
from ensemble.fitting.evidence import Evidence
from ensemble.fitting.few_clips import few_clips_notes
from ensemble.fitting.reference import Reference
from ensemble.inputs import Inputs, evidence_of, machine_section, section_texts
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
    `train`; blocks: the number of each one's block (see `ensemble.inputs`), None without any. domains: predicted
    domains, None where the recipe does not ask for them or there are no two domains. recorded: how clips were recorded
    differently from their bank, by key; differing: notes on that, and on sections without scores.
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
    warnings: tuple[str, ...] = ()
    copies: Copies = field(default_factory=Copies)
    unscored: tuple[Unscored, ...] = ()
    recorded: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    differing: tuple[str, ...] = ()

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
        """What the user should know, most important first: what was `found`, `remarks`, and about the decisions."""
        return (*self.found, *self.remarks, *self.decided.notes)

    @property
    def found(self) -> tuple[str, ...]:
        """Notes on sections without scores, on clips that were recorded differently, and on copies."""
        return (*self.differing, *self.copies.notes(left_out=not self.self_ranked))

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
    if roles.self_ranked and (near := near_twins(inputs, recipe.pool_sections)):
        inputs.keep_apart(near, recipe)
    scored, train = inputs.clips[roles.scored], inputs.clips[roles.train]
    members = member_scores(inputs, recipe, workers=workers, progress=progress)
    combined = combined_members(inputs, recipe, members)
    fused, domains = combined.fused, combined.domains
    sides = Sides(scored, train, domains.scored if domains else None, inputs.blocks, roles.self_ranked)
    keys, distances = _evidence(inputs, recipe)
    copies = with_near_copies(inputs, keys)
    return Detection(
        recipe=recipe,
        clips=scored,
        score=fused.scores,
        decided=decide(recipe, fused, sides),
        member_percentiles=combined.percentiles,
        nearest=keys,
        nearest_distance=distances,
        train=train,
        reference=fused.reference,
        domains=domains,
        remarks=(
            *inputs.notes,
            *(domains.notes if domains else ()),
            *day_notes(inputs, recipe),
            *few_clips_notes(recipe, train),
        ),
        blocks=inputs.blocks,
        warnings=combined.warnings,
        copies=copies,
        unscored=inputs.unscored,
        recorded=inputs.recorded(),
        differing=(*roles.left_out, *inputs.acquisition_notes()),
    )


@dataclass(frozen=True, eq=False)
class Combined:
    """Fused scores, each member's percentiles (members, m) of the scored clips, predicted domains, and warnings."""

    fused: Fused
    percentiles: np.ndarray
    domains: Domains | None
    warnings: tuple[str, ...]


def combined_members(inputs: Inputs, recipe: Recipe, members: Sequence[tuple[PlacedScores, PlacedScores]]) -> Combined:
    """The scores of a recipe from those of its members (scored clips, training clips), in the order of the recipe.

    DataError where no member's rows tell anything in a section.
    """
    roles = inputs.roles
    train, honest = inputs.clips[roles.train], [scores[1] for scores in members]
    warnings = _flat_warnings(recipe, honest, train)
    domains = predicted_domains(inputs, recipe) if recipe.domains == PREDICTED else None
    reference = Reference.of(recipe, honest, train, domains.train if domains else None)
    if roles.self_ranked:
        return Combined(Fused(reference.scores, reference.scores), reference.positions, domains, warnings)
    scored, probability = inputs.clips[roles.scored], domains.scored if domains else None
    return Combined(*reference.fuse([scores[0] for scores in members], scored, probability), domains, warnings)


def _flat_warnings(recipe: Recipe, honest: Sequence[PlacedScores], train: ClipTable) -> tuple[str, ...]:
    """Warnings on members whose rows tell nothing; DataError where there are no others."""
    none = np.zeros(len(train), dtype=bool)
    flat = np.array([none if member.flat is None else member.flat for member in honest])
    sources = [member.name if member.file else member.source for member in recipe.members]
    return flat_warnings(sources, flat, section_texts(train, recipe.pool_sections))


def _evidence(inputs: Inputs, recipe: Recipe) -> tuple[list[str], np.ndarray]:
    """Key and cosine distance of the closest training clip of each scored clip's section.

    A training clip is not compared with itself, or with its block.
    """
    X, roles = inputs.matrix(inputs.evidence), inputs.roles
    train, scored = inputs.clips[roles.train], inputs.clips[roles.scored]
    if not roles.self_ranked:
        search = Evidence.of(X[roles.train], train, pool_sections=recipe.pool_sections)
        return search.nearest(X[roles.scored], scored)
    train_keys = train.keys()
    keys, distances = [""] * len(scored), np.full(len(scored), np.nan)
    for _, rows in placed(train, np.zeros(len(train)), recipe.pool_sections).groups():
        if len(rows) < 2:
            continue
        pairs: Iterable[tuple[np.ndarray, np.ndarray]] = [(rows, rows)]
        exclude: np.ndarray | None = np.arange(len(rows))
        if blocked(inputs.blocks, rows):
            pairs, exclude = apart(inputs.blocks, rows, rows, rows), None
        for own, others in pairs:
            distance, index = nearest(X[roles.train[own]], X[roles.train[others]], 1, exclude=exclude)
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
    probability = detection.domains.scored if detection.domains else None
    sides = Sides(detection.clips, detection.train, probability, detection.blocks, detection.self_ranked)
    return replace(detection, recipe=recipe, decided=decide(recipe, fused, sides))
