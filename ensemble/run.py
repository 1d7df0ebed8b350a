"""A store and a recipe to a decision on every test clip, with its evidence.

Training clips are the normal and unlabelled clips of the training split; supplemental and silent recordings never enter
a bank. Where the store has no test clips, the training clips are ranked among themselves, each by its honest score.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from detectors import parse_detector
from detectors.search.neighbours import nearest
from detectors.sections import score_sections
from ensemble.decision.calibrate import PlacedScores, calibrate, calibrate_reference
from ensemble.decision.conformal import Decisions, Scale, decisions, from_surprise, surprise
from ensemble.decision.fuse import FUSIONS, Fused, combine, fusion
from ensemble.decision.thresholds import THRESHOLDS
from ensemble.external import scores_of, verified
from ensemble.recipe import Member, Recipe
from featstore.building.state import unfinished
from featstore.errors import DataError, RequestError, StoreError
from featstore.store import FeatureStore
from featstore.table import ClipTable

MANY_CLIPS = 50_000
"""Below this the matrices are so small that threads cost more than they save, on a busy host fifty times more."""


@dataclass(frozen=True)
class Roles:
    """Which rows of an embedding train and which are scored; `self_ranked` when the two are the same clips."""

    train: np.ndarray
    scored: np.ndarray
    self_ranked: bool


@dataclass(frozen=True, eq=False)
class Detection:
    """Every scored clip with its fused score, decision and evidence; arrays are (m,).

    member_percentiles: (members, m). nearest: key of the closest normal training clip of its section, by cosine in the
    embedding of `evidence_of`, and that distance. reference: honest fused scores (n,) of the training clips
    `train`.
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
    self_ranked: bool
    remarks: tuple[str, ...]

    @property
    def percentile(self) -> np.ndarray:
        """Position of each score among the reference scores it is compared with, in (0, 1)."""
        return self.decided.percentile

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about the clips (`remarks`) and about the decisions."""
        return (*self.remarks, *self.decided.notes)

    @property
    def decision(self) -> np.ndarray:
        """Whether each clip is reported."""
        return self.decided.reported


def resolve(store: FeatureStore, recipe: Recipe) -> Recipe:
    """The recipe with every member's fingerprint filled in.

    Raises StoreError for an embedding or view the store lacks, or one made by another embedder than the recipe's, and
    DataError for a detector, fusion or threshold rule there is not, or another system's scores that have changed.
    """
    members = []
    for rule, known in ((recipe.fusion, sorted(FUSIONS)), (recipe.threshold, sorted(THRESHOLDS))):
        if rule not in known:
            raise DataError(f"the recipe asks for {rule!r}, which is none of {', '.join(known)}")
    for member in recipe.members:
        if member.file:
            members.append(verified(store, member))
            continue
        info = store.info(member.embedding)
        try:
            parse_detector(member.detector)
        except ValueError as error:
            raise DataError(str(error)) from error
        if member.view and member.view not in info.views:
            views = ", ".join(info.views) or "none"
            raise RequestError(f"{store.path}: {member.embedding} has no view {member.view!r}; its views: {views}")
        if member.fingerprint not in ("", info.fingerprint):
            raise RequestError(
                f"{store.path}: the recipe was made with another {member.embedding} (fingerprint "
                f"{member.fingerprint[:12]}, here {info.fingerprint[:12]}); build that one, or remove the line"
            )
        members.append(replace(member, fingerprint=info.fingerprint))
    return replace(recipe, members=tuple(members))


def evidence_of(store: FeatureStore, recipe: Recipe) -> Member:
    """The member whose embedding lists the clips and finds the nearest normal ones.

    It is the first that has an embedding; where all are scores of other systems, the store's first with all its views.
    """
    names = sorted(store.embeddings)
    if not names:
        raise StoreError(f"{store.path}: no embeddings; fill it with `featstore build`")
    return next((member for member in recipe.members if not member.file), Member(names[0], ""))


def detect(
    store: FeatureStore,
    recipe: Recipe,
    *,
    machines: Sequence[str] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Detection:
    """Score, fuse and decide, for the named machines or for all.

    Raises StoreError or DataError when an embedding, a machine, a clip or a section's training clips are missing.
    """
    recipe = resolve(store, recipe)
    inputs = _Inputs(store, recipe, machines)
    scored = inputs.clips[inputs.roles.scored]
    given = {member.name: _given(inputs, member, recipe) for member in recipe.members if member.file}
    test, reference = [], []
    with threadpool_limits(1 if len(inputs.clips) < MANY_CLIPS else None):
        for i, member in enumerate(recipe.members):
            progress(i, len(recipe.members))
            one = given[member.name] if member.file else _score_member(inputs, member, recipe)
            test.append(one[0])
            reference.append(one[1])
    progress(len(recipe.members), len(recipe.members))
    fused, percentiles = _fuse(recipe, test, reference, inputs.roles.self_ranked)
    decided = _decide(recipe, scored, inputs.clips[inputs.roles.train], fused, inputs.roles.self_ranked)
    keys, distances = _evidence(inputs, recipe)
    return Detection(
        recipe=recipe,
        clips=scored,
        score=fused.scores,
        decided=decided,
        member_percentiles=percentiles,
        nearest=keys,
        nearest_distance=distances,
        train=inputs.clips[inputs.roles.train],
        reference=fused.reference,
        self_ranked=inputs.roles.self_ranked,
        remarks=inputs.notes,
    )


class _Inputs:
    """Rows of every embedding, recordings only, in the clip order of the first one."""

    def __init__(self, store: FeatureStore, recipe: Recipe, machines: Sequence[str]) -> None:
        self.store = store
        self.evidence = evidence_of(store, recipe)
        self.base = base = self.evidence.embedding
        listed = store.clips(base)
        _refuse_unknown(machines, listed, store)
        wanted = np.isin(listed.column("machine"), machines) if machines else np.ones(len(listed), dtype=bool)
        recordings = np.flatnonzero(listed.where(variant="") & wanted)  # generated anomalies serve selection only
        self.clips = listed[recordings]
        silent = store.facts(base)["outcome"][recordings] == b"silent"
        columns = _machine_section(self.clips, recipe.pool_sections)
        banks = list(zip(*(column.tolist() for column in columns), strict=True))
        self.roles, notes = _roles(self.clips, banks, silent, f"{store.path}: {base}")
        self.notes = (*store.warnings, *filter(None, [unfinished(store.path)]), *notes)
        self._order: dict[str, np.ndarray] = {base: recordings}
        self._matrix: tuple[str, np.ndarray] = ("", np.empty(0))

    def matrix(self, member: Member) -> np.ndarray:
        """Rows (n, d) of a member's view, all views joined where it names none."""
        if self._matrix[0] != member.embedding:  # one embedding at a time is held
            rows = self.store.matrix(member.embedding)[self._rows(member.embedding)]
            self._matrix = (member.embedding, rows)
        rows = self._matrix[1]
        if not member.view:
            return rows.reshape(len(rows), -1)
        return np.ascontiguousarray(rows[:, self.store.info(member.embedding).views.index(member.view)])

    def _rows(self, name: str) -> np.ndarray:
        """Position in embedding `name` of every clip."""
        if name not in self._order:
            place = {key: i for i, key in enumerate(self.store.clips(name).keys())}
            keys = self.clips.keys()
            missing = [key for key in keys if key not in place]
            if missing:
                raise DataError(
                    f"{self.store.path}: {len(missing)} clips of {self.base} have no row in {name}, first "
                    f"{missing[0]!r}; run featstore build with -e {name} too, or leave {name} out"
                )
            self._order[name] = np.array([place[key] for key in keys])
        return self._order[name]


def _roles(
    clips: ClipTable, banks: list[tuple[str, str]], silent: np.ndarray, where: str
) -> tuple[Roles, tuple[str, ...]]:
    """Rows that train and rows that are scored, and what the user should know about them."""
    usable = clips.where(split="train") & ~clips.where(label="anomaly")
    train = np.flatnonzero(usable & ~silent)
    notes = []
    if (usable & silent).any():
        notes.append(f"{int((usable & silent).sum())} silent training recordings were left out of the banks")
    known_faults = int((clips.where(split="train") & clips.where(label="anomaly")).sum())
    if known_faults:
        notes.append(f"{known_faults} training recordings labelled anomaly were left out of the banks")
    if not len(train):
        raise DataError(f"{where}: no training clips among its {len(clips)} clips; add normal recordings to the data")
    scored = np.flatnonzero(clips.where(split="test"))
    _refuse_bankless(banks, train, scored)
    train, lonely = _without_lonely(banks, train, scored)
    notes += [
        f"{machine} section {section}: a single clip has nothing to compare it with" for machine, section in lonely
    ]
    if len(scored):
        return Roles(train, scored, self_ranked=False), tuple(notes)
    if not len(train):
        raise DataError(f"{where}: no section has two clips to compare; --pool-sections compares whole machines")
    notes.append("no test clips: the training clips are ranked among themselves, each by its leave-one-out score")
    return Roles(train, train, self_ranked=True), tuple(notes)


def _refuse_unknown(machines: Sequence[str], clips: ClipTable, store: FeatureStore) -> None:
    known = sorted(set(clips.column("machine").tolist()))
    for machine in machines:
        if machine not in known:
            raise DataError(f"{store.path}: no machine {machine!r}; it has {', '.join(known)}")


def _refuse_bankless(banks: list[tuple[str, str]], train: np.ndarray, scored: np.ndarray) -> None:
    """DataError naming every bank that test clips ask for and that has fewer than two training clips."""
    count, asked = Counter(banks[i] for i in train), Counter(banks[i] for i in scored)
    lacking = sorted(bank for bank in asked if count[bank] < 2)
    if lacking:
        told = [f"{m} section {s} ({asked[m, s]} test clips, {count[m, s]} training clips)" for m, s in lacking]
        raise DataError(
            f"sections without the two normal training clips that a bank needs: {'; '.join(told)}. Add recordings; or "
            "--pool-sections where the machine has other sections; or name the other machines with --machine"
        )


def _without_lonely(
    banks: list[tuple[str, str]], train: np.ndarray, scored: np.ndarray
) -> tuple[np.ndarray, list[tuple[str, str]]]:
    """Training rows without those that are alone in their bank while no test clip asks for it, and these banks."""
    count, asked = Counter(banks[i] for i in train), {banks[i] for i in scored}
    lonely = sorted(bank for bank, n in count.items() if n == 1 and bank not in asked)
    return np.array([i for i in train if banks[i] not in lonely], dtype=np.intp), lonely


def _score_member(inputs: _Inputs, member: Member, recipe: Recipe) -> tuple[PlacedScores, PlacedScores]:
    """Test and reference scores of one member."""
    X, roles = inputs.matrix(member), inputs.roles
    train, scored = inputs.clips[roles.train], inputs.clips[roles.scored]
    asked = scored[:0] if roles.self_ranked else scored
    result = score_sections(
        member.detector,
        X[roles.train],
        train,
        X[roles.scored[: len(asked)]],
        asked,
        pool_sections=recipe.pool_sections,
        group_by=recipe.group_by or None,
    )
    scores = result.reference if roles.self_ranked else result.scores
    return _placed(scored, scores, recipe.pool_sections), _placed(train, result.reference, recipe.pool_sections)


def _given(inputs: _Inputs, member: Member, recipe: Recipe) -> tuple[PlacedScores, PlacedScores]:
    """Test and reference scores of another system; read before anything is computed, as clips may be missing."""
    train, scored = inputs.clips[inputs.roles.train], inputs.clips[inputs.roles.scored]
    scores, honest = scores_of(member, scored.keys(), "test clips"), scores_of(member, train.keys(), "training clips")
    return _placed(scored, scores, recipe.pool_sections), _placed(train, honest, recipe.pool_sections)


def _machine_section(clips: ClipTable, pool_sections: bool) -> tuple[np.ndarray, np.ndarray]:
    machine = clips.column("machine")
    return machine, np.full(len(clips), "all") if pool_sections else clips.column("section")


def _placed(clips: ClipTable, scores: np.ndarray, pool_sections: bool) -> PlacedScores:
    """Scores with their sections; never with their domain, which a real test clip does not tell."""
    return PlacedScores(scores, *_machine_section(clips, pool_sections))


def _fuse(
    recipe: Recipe, test: list[PlacedScores], reference: list[PlacedScores], self_ranked: bool
) -> tuple[Fused, np.ndarray]:
    """Fused scores, and each member's percentiles of the scored clips; a single member keeps its raw scores."""
    honest = [calibrate_reference(member) for member in reference]
    percentiles = honest if self_ranked else [calibrate(*pair) for pair in zip(test, reference, strict=True)]
    if len(recipe.members) == 1:
        return Fused(test[0].scores, reference[0].scores), np.array(percentiles)
    rule = fusion(recipe.fusion)
    weights = [member.weight for member in recipe.members] if rule.weighted else None
    if rule.calibration == "ecdf":
        inside, placed = honest, percentiles
    else:
        inside = [calibrate_reference(member, method=rule.calibration) for member in reference]
        pairs = zip(test, reference, strict=True)
        placed = inside if self_ranked else [calibrate(*pair, method=rule.calibration) for pair in pairs]
    fused = Fused(combine(recipe.fusion, np.array(placed), weights), combine(recipe.fusion, np.array(inside), weights))
    return fused, np.array(percentiles)


def _evidence(inputs: _Inputs, recipe: Recipe) -> tuple[list[str], np.ndarray]:
    """Key of, and cosine distance to, the closest training clip of each scored clip's section (never itself)."""
    X, roles = inputs.matrix(inputs.evidence), inputs.roles
    train, scored = inputs.clips[roles.train], inputs.clips[roles.scored]
    bank = _placed(train, np.zeros(len(train)), recipe.pool_sections)
    asked = _placed(scored, np.zeros(len(scored)), recipe.pool_sections)
    train_keys = train.keys()
    keys, distances = [""] * len(scored), np.full(len(scored), np.nan)
    for group, rows in asked.groups():
        among = bank.rows_of(group)
        own = np.arange(len(rows)) if roles.self_ranked else None
        if own is not None and len(among) < 2:
            continue
        distance, index = nearest(X[roles.scored[rows]], X[roles.train[among]], 1, exclude=own)
        distances[rows] = distance[:, 0]
        for row, i in zip(rows, among[index[:, 0]], strict=True):
            keys[row] = train_keys[i]
    return keys, distances


def redecided(detection: Detection, recipe: Recipe) -> Detection:
    """The same scores under other rates, thresholds or domains; members and fusion stay those of the detection."""
    fused = Fused(detection.score, detection.reference)
    asked = replace(recipe, members=detection.recipe.members, fusion=detection.recipe.fusion)
    decided = _decide(asked, detection.clips, detection.train, fused, detection.self_ranked)
    return replace(detection, recipe=asked, decided=decided)


def bounded(recipe: Recipe) -> bool:
    """Whether its scores are fused positions in (0, 1), not a detector's own or z-scores."""
    return len(recipe.members) > 1 and fusion(recipe.fusion).calibration == "ecdf"


def _decide(recipe: Recipe, scored: ClipTable, train: ClipTable, fused: Fused, self_ranked: bool) -> Decisions:
    """Decisions on fused scores; the domain of a test clip counts only where the recipe says that it is known."""
    reference = _placed(train, fused.reference, recipe.pool_sections)
    test = _placed(scored, fused.scores, recipe.pool_sections)
    if recipe.domains == "known":
        reference, test = (replace(p, domain=c.column("domain")) for p, c in ((reference, train), (test, scored)))
    try:
        return decisions(
            reference if self_ranked else test,
            reference,
            rate=recipe.false_alarm_rate,
            method=recipe.threshold,
            fdr=recipe.fdr,
            scale=Scale(surprise, from_surprise) if bounded(recipe) else None,
        )
    except ValueError as error:
        raise DataError(str(error)) from error
