"""A detection: runs a recipe on a store and decides every test clip, with the evidence for the decision.

Training clips are the normal and the unlabelled clips of the training split. Supplemental and silent recordings never
enter a bank. Where the store has no test clips, the training clips are ranked among themselves by their honest scores.
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
"""With fewer clips the matrices are so small that threads cost more than they save (on a busy host 50 times more)."""


@dataclass(frozen=True)
class Roles:
    """Rows of an embedding that train and rows that are scored; `self_ranked` where these are the same clips."""

    train: np.ndarray
    scored: np.ndarray
    self_ranked: bool


@dataclass(frozen=True, eq=False)
class Detection:
    """Every scored clip with its fused score, decision and evidence; arrays are (m,).

    member_percentiles: (members, m). nearest, nearest_distance: key of the closest training clip of the section and
    its cosine distance in the embedding of `evidence_of`. reference: honest fused scores (n,) of the training clips
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
    remarks: tuple[str, ...]

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
    recipe's. DataError for an unknown detector, fusion or threshold rule, or a score file that has changed.
    """
    members = []
    for kind, rule, known in (("fusion", recipe.fusion, FUSIONS), ("threshold", recipe.threshold, THRESHOLDS)):
        if rule not in known:
            raise DataError(f"unknown {kind} {rule!r}; choose from {', '.join(sorted(known))}")
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
                f"{member.fingerprint[:12]}, here {info.fingerprint[:12]}); build that embedding, or delete the "
                "recipe's fingerprint line to use this one"
            )
        members.append(replace(member, fingerprint=info.fingerprint))
    return replace(recipe, members=tuple(members))


def evidence_of(store: FeatureStore, recipe: Recipe) -> Member:
    """The member whose embedding lists the clips and gives the nearest training clips.

    It is the first member with an embedding. Where all members are score files, it is the store's first embedding.
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

    StoreError or DataError where an embedding, a machine, a clip or the training clips of a section are missing.
    """
    recipe = resolve(store, recipe)
    inputs = _Inputs(store, recipe, machines)
    roles, total = inputs.roles, len(recipe.members)
    scored, train = inputs.clips[roles.scored], inputs.clips[roles.train]
    # Score files come first: a clip that one of them lacks is an error before anything is computed.
    of_files = {member.name: _file_scores(inputs, member, recipe) for member in recipe.members if member.file}
    test, reference = [], []
    with threadpool_limits(1 if len(inputs.clips) < MANY_CLIPS else None):
        for i, member in enumerate(recipe.members):
            progress(i, total)
            scores = of_files[member.name] if member.file else _detector_scores(inputs, member, recipe)
            test.append(scores[0])
            reference.append(scores[1])
    progress(total, total)
    fused, percentiles = _fuse(recipe, test, reference, roles.self_ranked)
    keys, distances = _evidence(inputs, recipe)
    return Detection(
        recipe=recipe,
        clips=scored,
        score=fused.scores,
        decided=_decide(recipe, scored, train, fused, roles.self_ranked),
        member_percentiles=percentiles,
        nearest=keys,
        nearest_distance=distances,
        train=train,
        reference=fused.reference,
        remarks=inputs.notes,
    )


class _Inputs:
    """The recordings of a store with their roles, and their rows in every embedding."""

    def __init__(self, store: FeatureStore, recipe: Recipe, machines: Sequence[str]) -> None:
        self.store = store
        self.evidence = evidence_of(store, recipe)
        self.base = base = self.evidence.embedding
        stored = store.clips(base)
        _refuse_unknown(machines, stored, store)
        wanted = np.isin(stored.column("machine"), machines) if machines else np.ones(len(stored), dtype=bool)
        recordings = np.flatnonzero(stored.where(variant="") & wanted)  # generated anomalies are for selection only
        self.clips = stored[recordings]
        silent = store.facts(base)["outcome"][recordings] == b"silent"
        columns = _machine_section(self.clips, recipe.pool_sections)
        banks = list(zip(*(column.tolist() for column in columns), strict=True))
        self.roles, notes = _roles(self.clips, banks, silent, f"{store.path}: {base}")
        self.notes = (*store.warnings, *filter(None, [unfinished(store.path)]), *notes)
        self._order: dict[str, np.ndarray] = {base: recordings}
        self._matrix: tuple[str, np.ndarray] = ("", np.empty(0))

    def matrix(self, member: Member) -> np.ndarray:
        """Rows (n, d) of a member's view; all views joined where it names none."""
        if self._matrix[0] != member.embedding:  # only one embedding at a time is in memory
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
    """Which rows train and which are scored, and notes on clips that are left out."""
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
    _refuse_small_banks(banks, train, scored)
    train, left_out = _without_single_clips(banks, train, scored)
    notes += [
        f"{machine} section {section}: left out, because its single clip has nothing to be compared with"
        for machine, section in left_out
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


def _refuse_small_banks(banks: list[tuple[str, str]], train: np.ndarray, scored: np.ndarray) -> None:
    """DataError that names every bank with test clips and fewer than two training clips."""
    n_train, n_test = Counter(banks[i] for i in train), Counter(banks[i] for i in scored)
    small = sorted(bank for bank in n_test if n_train[bank] < 2)
    if small:
        counts = [f"{m} section {s} has {n_train[m, s]} for {n_test[m, s]} test clips" for m, s in small]
        raise DataError(
            f"a section needs at least two normal training clips: {'; '.join(counts)}. Add recordings, join the "
            "sections of a machine into one bank with --pool-sections, or name only the other machines with --machine"
        )


def _without_single_clips(
    banks: list[tuple[str, str]], train: np.ndarray, scored: np.ndarray
) -> tuple[np.ndarray, list[tuple[str, str]]]:
    """Training rows without the banks of a single clip that no test clip needs, and these banks."""
    n_train, needed = Counter(banks[i] for i in train), {banks[i] for i in scored}
    left_out = sorted(bank for bank, n in n_train.items() if n == 1 and bank not in needed)
    return np.array([i for i in train if banks[i] not in left_out], dtype=np.intp), left_out


def _detector_scores(inputs: _Inputs, member: Member, recipe: Recipe) -> tuple[PlacedScores, PlacedScores]:
    """Scores of the scored clips and honest scores of the training clips by a detector."""
    X, roles = inputs.matrix(member), inputs.roles
    train, scored = inputs.clips[roles.train], inputs.clips[roles.scored]
    test = scored[:0] if roles.self_ranked else scored
    result = score_sections(
        member.detector,
        X[roles.train],
        train,
        X[roles.scored[: len(test)]],
        test,
        pool_sections=recipe.pool_sections,
        group_by=recipe.group_by or None,
    )
    scores = result.reference if roles.self_ranked else result.scores
    return _placed(scored, scores, recipe.pool_sections), _placed(train, result.reference, recipe.pool_sections)


def _file_scores(inputs: _Inputs, member: Member, recipe: Recipe) -> tuple[PlacedScores, PlacedScores]:
    """Scores of the scored clips and of the training clips from the score file of another system."""
    train, scored = inputs.clips[inputs.roles.train], inputs.clips[inputs.roles.scored]
    scores, honest = scores_of(member, scored.keys(), "test clips"), scores_of(member, train.keys(), "training clips")
    return _placed(scored, scores, recipe.pool_sections), _placed(train, honest, recipe.pool_sections)


def _machine_section(clips: ClipTable, pool_sections: bool) -> tuple[np.ndarray, np.ndarray]:
    machine = clips.column("machine")
    return machine, np.full(len(clips), "all") if pool_sections else clips.column("section")


def _placed(clips: ClipTable, scores: np.ndarray, pool_sections: bool) -> PlacedScores:
    """Scores with their sections, without domains: the domain of a real test clip is unknown."""
    return PlacedScores(scores, *_machine_section(clips, pool_sections))


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


def _evidence(inputs: _Inputs, recipe: Recipe) -> tuple[list[str], np.ndarray]:
    """Key and cosine distance of the closest training clip of each scored clip's section, itself excluded."""
    X, roles = inputs.matrix(inputs.evidence), inputs.roles
    train, scored = inputs.clips[roles.train], inputs.clips[roles.scored]
    bank = _placed(train, np.zeros(len(train)), recipe.pool_sections)
    queries = _placed(scored, np.zeros(len(scored)), recipe.pool_sections)
    train_keys = train.keys()
    keys, distances = [""] * len(scored), np.full(len(scored), np.nan)
    for group, rows in queries.groups():
        of_section = bank.rows_of(group)
        own = np.arange(len(rows)) if roles.self_ranked else None
        if own is not None and len(of_section) < 2:
            continue
        distance, index = nearest(X[roles.scored[rows]], X[roles.train[of_section]], 1, exclude=own)
        distances[rows] = distance[:, 0]
        for row, i in zip(rows, of_section[index[:, 0]], strict=True):
            keys[row] = train_keys[i]
    return keys, distances


def redecided(detection: Detection, recipe: Recipe) -> Detection:
    """The same scores decided again by the rates, threshold rule and domains of `recipe`; its members are ignored."""
    fused = Fused(detection.score, detection.reference)
    recipe = replace(recipe, members=detection.recipe.members, fusion=detection.recipe.fusion)
    decided = _decide(recipe, detection.clips, detection.train, fused, detection.self_ranked)
    return replace(detection, recipe=recipe, decided=decided)


def bounded(recipe: Recipe) -> bool:
    """Whether the recipe's scores are fused positions in (0, 1), not raw scores or z-scores."""
    return len(recipe.members) > 1 and fusion(recipe.fusion).calibration == "ecdf"


def _decide(recipe: Recipe, scored: ClipTable, train: ClipTable, fused: Fused, self_ranked: bool) -> Decisions:
    """Decisions on fused scores; they use the domains of test clips only where the recipe says that these are known."""
    reference = _placed(train, fused.reference, recipe.pool_sections)
    test = _placed(scored, fused.scores, recipe.pool_sections)
    if recipe.domains == "known":
        reference = replace(reference, domain=train.column("domain"))
        test = replace(test, domain=scored.column("domain"))
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
