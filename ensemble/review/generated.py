"""Scores of the generated anomalies of a store under the recipe of a run, on the scale of the run's scores.

They are computed as a selection scores candidates: the training clips of a section are divided into folds, and a clip,
with everything made from it, is scored by detectors that were fitted to the clips of the other folds. So no anomaly
profits from its own original in the bank. Positions, fusion and the correction for domains are those of the run, with
these scores of the training clips as reference. A bank holds four fifths of the clips of the run's bank, so anomalies
are found slightly less easily than by the run itself. Raw scores of a single detector are brought to the run's
scale by the quantiles of the two honest scores of the section's training clips.
"""

import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ensemble.fitting.decide import bounded
from ensemble.fitting.reference import Reference
from ensemble.inputs import evidence_of, machine_section
from ensemble.marks.apply import with_marks
from ensemble.members import placed
from ensemble.page.scored import Scored
from ensemble.recipe import PREDICTED, Recipe, recipe_of
from ensemble.review.whatif import Generated
from ensemble.selection.kept import KeptChoices
from ensemble.selection.scoring.cache import ScoreCache, SpareCache
from ensemble.selection.scoring.domains import validation_posterior
from ensemble.selection.scoring.score_candidates import score_candidates
from ensemble.selection.scoring.validation import NORMAL, Validation, plan_validation
from featstore import registry
from featstore.errors import AsdError, DataError, reason_of
from featstore.store import FeatureStore
from featstore.table import ClipTable, encode

COMPUTING, READY, NONE = "computing", "ready", "none"
SectionScores = Mapping[tuple[str, str], Generated]


def generated_scores(store: FeatureStore, scored: Scored) -> dict[tuple[str, str], Generated]:
    """Scores of the generated anomalies by machine and section; empty where the store has none for the recipe.

    DataError for a recipe with scores of another system or code of one's own, which cannot be fitted here.
    """
    recipe = recipe_of(scored.recipe)
    _refuse_unknown_code(recipe)
    store = with_marks(store, recipe.marks)
    base = evidence_of(store, recipe).embedding
    clips = store.clips(base)
    if clips.where(variant="").all():
        return {}
    taken = _pooled(clips) if recipe.pool_sections else clips
    validation = plan_validation(
        taken, store.facts(base), group=recipe.group, faults=dict.fromkeys(recipe.confirmed_faults, True)
    )
    with tempfile.TemporaryDirectory(prefix="review-") as folder:
        cache = _Beside(Path(folder), own=None if recipe.pool_sections else KeptChoices(store.path).cache)
        members = [replace(member, weight=1.0) for member in recipe.members]
        result = score_candidates(store, members, validation, cache, workers=1)
    if result.failed:
        raise DataError(
            f"not every member can be fitted without a fold: {': '.join(next(iter(result.failed.items())))}"
        )
    return _by_section(store, recipe, validation, clips[validation.rows], result.scores, scored)


@dataclass(frozen=True)
class _Beside(ScoreCache):
    """A cache that reads what the store keeps and writes elsewhere: a page leaves the store as it is."""

    own: SpareCache | None = None

    def get(self, key: str) -> np.ndarray | None:
        """Scores (n,) of a key, of the store or of this folder; None where there are none."""
        kept = self.own.get(key) if self.own else None
        return super().get(key) if kept is None else kept


def _refuse_unknown_code(recipe: Recipe) -> None:
    for member in recipe.members:
        if member.file:
            raise DataError(f"{member.name}: scores of another system; it cannot score generated anomalies here")
        if registry.names_class("detector", member.detector):
            raise DataError(f"{member.name}: code of one's own, which the page does not run")


def _pooled(clips: ClipTable) -> ClipTable:
    """The clips with one section for each machine, as a recipe that pools sections compares them."""
    _, section = machine_section(clips, pool_sections=True)
    return ClipTable({**clips.columns, "section": encode(section.tolist())})


def _by_section(  # noqa: PLR0917 - one caller
    store: FeatureStore,
    recipe: Recipe,
    validation: Validation,
    clips: ClipTable,
    scores: np.ndarray,
    scored: Scored,
) -> dict[tuple[str, str], Generated]:
    """The members' scores (members, n) on a validation as the run fuses and corrects them."""
    train, made = np.flatnonzero(validation.training), np.flatnonzero(validation.pair != NORMAL)
    probability = None
    if recipe.domains == PREDICTED:
        names = list(dict.fromkeys(member.embedding for member in recipe.members))
        posterior = validation_posterior(store, names, validation)
        probability = posterior.probability if posterior else None
    pooled, block = recipe.pool_sections, validation.block
    own_block = None if block is None else block[train]
    honest = [placed(clips[train], row[train], pooled, own_block) for row in scores]
    reference = Reference.of(recipe, honest, clips[train], None if probability is None else probability[train])
    anomalies = [placed(clips[made], row[made], pooled) for row in scores]
    fused = reference.fuse(anomalies, clips[made], None if probability is None else probability[made])[0].scores
    if not bounded(recipe) and len(recipe.members) == 1:
        fused = _on_scale_of_run(scored, clips[train], reference.scores, clips[made], fused)
    kinds = [validation.pairs[number].transform for number in validation.pair[made]]
    result = {}
    for machine, section in clips[made].sections():
        here = np.flatnonzero(clips[made].where(machine=machine, section=section))
        result[machine, section] = Generated(fused[here], [kinds[i] for i in here.tolist()])
    return result


def _on_scale_of_run(
    scored: Scored, train: ClipTable, crossed: np.ndarray, made: ClipTable, scores: np.ndarray
) -> np.ndarray:
    """Raw scores of the clips `made` by smaller banks, on the scale of the run's own.

    crossed: those of the training clips by the smaller banks. Where a score has as many of them below it, it gets the
    value that as many of the run's honest scores lie below; beyond them, the distance to the outermost stays.
    """
    row_of = {key: row for row, key in enumerate(scored.train.keys())}
    rows = np.array([row_of.get(key, -1) for key in train.keys()], dtype=np.intp)  # noqa: SIM118 - a table
    own, of_made = (machine_section(clips, scored.pool_sections) for clips in (train, made))
    moved = scores.copy()
    for machine, section in set(zip(*of_made, strict=True)):
        here = (own[0] == machine) & (own[1] == section) & (rows >= 0)
        anomalies = (of_made[0] == machine) & (of_made[1] == section)
        if here.any():
            moved[anomalies] = _mapped(scores[anomalies], np.sort(crossed[here]), np.sort(scored.reference[rows[here]]))
    return moved


def _mapped(scores: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Scores with the quantiles of `source` moved to those of `target`; both (n,) rise."""
    outside = np.where(scores > source[-1], scores - source[-1], np.minimum(scores - source[0], 0.0))
    return np.asarray(np.interp(scores, source, target) + outside)


@dataclass(frozen=True)
class State:
    """Where the computation stands: COMPUTING, READY, or NONE with the reason."""

    name: str
    scores: SectionScores
    reason: str = ""


class Background:
    """Computes something once in a thread of its own, when it is first asked for."""

    def __init__(self, compute: Callable[[], SectionScores]) -> None:
        self._compute = compute
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._state = State(COMPUTING, {})

    def state(self) -> State:
        """How far it is; the first call starts it."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="generated anomalies", daemon=True)
                self._thread.start()
            return self._state

    def wait(self, seconds: float) -> State:
        """The state after at most so many seconds."""
        self.state()
        if self._thread:
            self._thread.join(seconds)
        return self.state()

    def _run(self) -> None:
        try:
            scores = self._compute()
            state = State(READY, scores) if scores else State(NONE, {}, NO_ANOMALIES)
        except (AsdError, OSError, ValueError, MemoryError) as error:
            state = State(NONE, {}, reason_of(error))
        with self._lock:
            self._state = state


NO_ANOMALIES = "the store has no generated anomalies; featstore build DATA STORE --anomalies auto makes some"
