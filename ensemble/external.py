"""Scores of other systems: a CSV of `clip,score`. The clips that it covers decide how it can be used.

- Test clips only: `fuse_transductive` ranks it beside a detection, among the test clips themselves (transductive). It
  cannot be calibrated, weighted or chosen, so it is not a member and does not affect decisions.
- Also the normal training clips: it is a member like any other. Its training scores must be honest: each by a system
  that was not trained on the clip (leave-one-out or cross-fitted). Otherwise every threshold is too low.
- Also the generated anomalies: `detect select` judges it like any candidate.

A clip is named by its key, as `featstore export` prints it: its path below the data folder and, for a generated
anomaly, the variant. Labels are not used.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from detectors.metrics.scores import ScoreTable, read_scores
from ensemble.decision.calibrate import transductive_rank
from ensemble.recipe import SCORES, Member, Recipe
from featstore.errors import DataError, reason_of
from featstore.store import FeatureStore
from featstore.table import ClipTable
from featstore.terminal.shown import counted

NAME = "transductive rank fusion"
ITERATIONS = 100


@dataclass(frozen=True)
class Coverage:
    """How many test clips, normal training clips and generated anomalies of a store a score file covers."""

    test: int
    train: int
    generated: int

    @property
    def summary(self) -> str:
        """The counts, and how the file can be used."""
        counts = ", ".join(
            [
                counted(self.test, "test clip"),
                counted(self.train, "training clip"),
                counted(self.generated, "generated anomaly", "generated anomalies"),
            ]
        )
        if not self.train:
            return f"{counts}: without scores of training clips, ranking only; it does not affect decisions"
        judged = "can judge it" if self.generated else "cannot judge it without scores of generated anomalies"
        return f"{counts}: calibrated by its training clips; detect select {judged}"


def external_member(path: Path) -> Member:
    """A score file as a member, with the fingerprint of its present content."""
    return Member("", f"{SCORES}{path}", fingerprint=_sha256(path))


def verified(store: FeatureStore, member: Member) -> Member:
    """The member with the fingerprint of its file.

    DataError where the file has changed, names clips that the store lacks, or covers no training clips.
    """
    fingerprint = _sha256(Path(member.file))
    if member.fingerprint not in ("", fingerprint):
        raise DataError(
            f"{member.file}: the recipe was made with another content (SHA-256 {member.fingerprint[:12]}, now "
            f"{fingerprint[:12]}); restore the file, or delete the recipe's fingerprint line to accept this content"
        )
    covered = coverage(store, member)
    if not covered.train:
        raise DataError(
            f"{member.file}: {covered.summary}. A member needs a score of every normal training clip; to rank the file "
            "beside a detection, remove it from the recipe and pass it with --scores"
        )
    return replace(member, fingerprint=fingerprint)


def scores_of(member: Member, keys: Sequence[str], what: str) -> np.ndarray:
    """The member's scores of the clips `keys`, (len(keys),); `what` names these clips in the DataError."""
    table = read_scores(Path(member.file))
    try:
        return table.aligned(keys)
    except ValueError:
        known = set(table.keys)
    missing = [key for key in keys if key not in known]
    raise DataError(
        f"{member.file}: {len(missing):,} of {len(keys):,} {what} have no score, first {missing[0]!r}; "
        "the file must hold a score of each"
    )


def coverage(store: FeatureStore, member: Member) -> Coverage:
    """The clips that a score file covers; DataError where it scores a clip that the store does not have."""
    scored = set(read_scores(Path(member.file)).keys)
    covered: dict[str, set[str]] = {"test": set(), "train": set(), "generated": set()}
    unknown = set(scored)
    for name in store.embeddings:
        clips = store.clips(name)
        recorded = clips.where(variant="")
        roles = {
            "test": recorded & clips.where(split="test"),
            "train": recorded & clips.where(split="train") & ~clips.where(label="anomaly"),
            "generated": ~recorded,
        }
        for role, mask in roles.items():
            covered[role] |= scored.intersection(clips[mask].keys())
        unknown -= {*clips.keys(), *(rejected.key for rejected in store.rejected(name))}
    if unknown:
        raise DataError(
            f"{member.file}: {len(unknown):,} of {len(scored):,} scores belong to no clip of {store.path}, first "
            f"{min(unknown)!r}; expected paths below the data folder, as `featstore export` prints them"
        )
    return Coverage(**{role: len(keys) for role, keys in covered.items()})


def joined(recipe: Recipe | None, members: Sequence[Member], fusion: str) -> Recipe:
    """The recipe with `members` added, each with the mean weight of the present ones.

    `fusion` is used where the recipe had no more than one member to fuse.
    """
    if recipe is None:
        return Recipe(tuple(members), name="external", fusion=fusion)
    weight = float(np.mean([member.weight for member in recipe.members]))
    all_members = (*recipe.members, *(replace(member, weight=weight) for member in members))
    return replace(recipe, members=all_members, fusion=recipe.fusion if len(recipe.members) > 1 else fusion)


def fuse_transductive(tables: Sequence[ScoreTable], clips: ClipTable, *, weighted: bool = True) -> ScoreTable:
    """Mean over the systems of each clip's rank, in [0, 1], among the test clips of its section.

    The systems' weights are `consensus_weights` of their rank correlations, averaged over the sections, or equal with
    `weighted=False`. ValueError names the first clip without a score.
    """
    if not tables:
        raise ValueError("a fusion needs the scores of at least one system")
    keys = clips.keys()
    scores = np.array([table.aligned(keys) for table in tables])
    sections = [np.flatnonzero(clips.where(machine=machine, section=section)) for machine, section in clips.sections()]
    ranks = np.empty(scores.shape)
    for rows in sections:
        ranks[:, rows] = [transductive_rank(system_scores) for system_scores in scores[:, rows]]
    weights = np.full(len(tables), 1 / len(tables))
    if weighted:
        weights = consensus_weights(np.mean([correlations(ranks[:, rows]) for rows in sections], axis=0))
    return ScoreTable(NAME, tuple(keys), weights @ ranks)


def correlations(ranks: np.ndarray) -> np.ndarray:
    """Correlation of every two systems' ranks (systems, m); 0 where a system scores all clips alike."""
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = centred / np.where(length > 0, length, 1)
    return np.asarray(unit @ unit.T)


def consensus_weights(C: np.ndarray) -> np.ndarray:
    """Weights (systems,), summing to 1, from correlations C: squared correlations with the weighted mean.

    This is a fixed point, found by iteration from equal weights. A system with a negative correlation gets weight 0. If
    the systems' errors were independent, the correlation would measure how good each system is (Parisi et al. 2014).
    The square favours systems that agree; it was chosen on one half of the measured machines. Mistakes that most
    systems share count as agreement too.
    """
    weights = equal = np.full(len(C), 1 / len(C))
    for _ in range(ITERATIONS):
        variance = weights @ C @ weights
        agreement = np.clip(C @ weights, 0, None) ** 2
        if variance <= 0 or agreement.sum() <= 0:
            return equal
        weights = agreement / agreement.sum()
    return np.asarray(weights)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot read the scores: {reason_of(error)}") from error
