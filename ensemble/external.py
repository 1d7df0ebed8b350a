"""Scores of other systems as members: a CSV of `clip,score`, whose clips decide what it may do.

- Test clips only: it can be ranked only among the test clips themselves, which is transductive. Nothing can choose,
  weigh or calibrate it, so it is no member and decides nothing; `fuse_transductive` ranks it beside a detection.
- Also the normal training clips: a member like any other. Its training scores must be honest, each by a system that has
  not seen the clip (leave-one-out or cross-fitted); scores of clips it was trained on make every threshold too low.
- Also the generated anomalies: `detect select` judges it like any candidate.

A clip is named by its key: its path below the data folder and, for a generated anomaly, the variant, as
`featstore export` prints it. Labels play no part.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from detectors.metrics.scores import ScoreTable, read_scores
from ensemble.decision.calibrate import transductive_rank
from ensemble.recipe import SCORES, Member, Recipe
from featstore.errors import DataError
from featstore.store import FeatureStore
from featstore.table import ClipTable

NAME = "transductive rank fusion"
ROUNDS = 100


@dataclass(frozen=True)
class Holding:
    """How many test clips, training recordings and generated anomalies of a store a file of scores covers."""

    test: int
    train: int
    generated: int

    @property
    def said(self) -> str:
        """What follows from it, in words."""
        counts = f"{self.test:,} test clips, {self.train:,} training clips, {self.generated:,} generated anomalies"
        if not self.train:
            return f"{counts}: no reference scores, so it is only ranked among the test clips (transductive)"
        return f"{counts}: calibrated by its training clips" + (
            ", and judged by its generated anomalies" if self.generated else "; without anomalies nothing can choose it"
        )


def external_member(path: Path) -> Member:
    """A file of scores as a member, held to its present content."""
    return Member("", f"{SCORES}{path}", fingerprint=_sha256(path))


def verified(store: FeatureStore, member: Member) -> Member:
    """The member with the fingerprint of its file; DataError for changed, foreign or uncalibrated scores."""
    found = _sha256(Path(member.file))
    if member.fingerprint not in ("", found):
        raise DataError(
            f"{member.file}: the recipe was made with another content (SHA-256 {member.fingerprint[:12]}, here "
            f"{found[:12]}); restore that file, or remove the fingerprint line to accept this one"
        )
    held = holding(store, member)
    if not held.train:
        raise DataError(
            f"{member.file}: {held.said}; a member needs a score of every normal training clip. To rank it beside a "
            "detection, leave it out of the recipe and give it by --scores"
        )
    return replace(member, fingerprint=found)


def scores_of(member: Member, keys: Sequence[str], what: str) -> np.ndarray:
    """The member's scores of the clips `keys`, which `what` calls by their role; (len(keys),)."""
    table = read_scores(Path(member.file))
    try:
        return table.aligned(keys)
    except ValueError:
        known = set(table.keys)
    missing = [key for key in keys if key not in known]
    raise DataError(
        f"{member.file}: {len(missing):,} of {len(keys):,} {what} have no score, first {missing[0]!r}; "
        "score every one of them"
    )


def holding(store: FeatureStore, member: Member) -> Holding:
    """What a file covers; DataError for scores of clips that the store does not know."""
    given = set(read_scores(Path(member.file)).keys)
    found: dict[str, set[str]] = {"test": set(), "train": set(), "generated": set()}
    unknown = set(given)
    for name in store.embeddings:
        clips = store.clips(name)
        recorded = clips.where(variant="")
        roles = {
            "test": recorded & clips.where(split="test"),
            "train": recorded & clips.where(split="train") & ~clips.where(label="anomaly"),
            "generated": ~recorded,
        }
        for role, mask in roles.items():
            found[role] |= given.intersection(clips[mask].keys())
        unknown -= {*clips.keys(), *(one.key for one in store.rejected(name))}
    if unknown:
        raise DataError(
            f"{member.file}: {len(unknown):,} of {len(given):,} scores belong to no clip of {store.path}, first "
            f"{min(unknown)!r}; expected paths below the data folder, as `featstore export` prints them"
        )
    return Holding(**{role: len(keys) for role, keys in found.items()})


def joined(recipe: Recipe | None, members: Sequence[Member], fusion: str) -> Recipe:
    """The recipe with more members, each of the weight that the present ones have on average.

    `fusion` is the rule where there was no more than one member to fuse.
    """
    if recipe is None:
        return Recipe(tuple(members), name="external", fusion=fusion)
    weight = float(np.mean([member.weight for member in recipe.members]))
    together = (*recipe.members, *(replace(member, weight=weight) for member in members))
    return replace(recipe, members=together, fusion=recipe.fusion if len(recipe.members) > 1 else fusion)


def fuse_transductive(tables: Sequence[ScoreTable], clips: ClipTable, *, weighted: bool = True) -> ScoreTable:
    """Mean over the systems of each clip's rank, in [0, 1], among the test clips of its section.

    Systems weigh by `consensus_weights` of their correlations, averaged over the sections; `weighted=False` takes them
    alike. ValueError names the first clip that a system has no score for.
    """
    if not tables:
        raise ValueError("a fusion needs the scores of at least one system")
    keys = clips.keys()
    scores = np.array([table.aligned(keys) for table in tables])
    sections = [np.flatnonzero(clips.where(machine=machine, section=section)) for machine, section in clips.sections()]
    ranks = np.empty(scores.shape)
    for rows in sections:
        ranks[:, rows] = [transductive_rank(of_system) for of_system in scores[:, rows]]
    weights = np.full(len(tables), 1 / len(tables))
    if weighted:
        weights = consensus_weights(np.mean([correlations(ranks[:, rows]) for rows in sections], axis=0))
    return ScoreTable(NAME, tuple(keys), weights @ ranks)


def correlations(ranks: np.ndarray) -> np.ndarray:
    """Correlation of every two systems' ranks (systems, m), 0 where one of them tells no clip from another."""
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = centred / np.where(length > 0, length, 1)
    return np.asarray(unit @ unit.T)


def consensus_weights(C: np.ndarray) -> np.ndarray:
    """Weights (systems,) that sum to 1 from correlations C: each the square of the system's correlation with the mean.

    The mean is the weighted one, so this is a fixed point, found by repetition from equal weights. A system that
    contradicts the others weighs nothing. Were their errors independent, the correlation would tell how good each is
    (Parisi et al. 2014); the square, chosen on one half of the measured machines, trusts the agreeing ones more. What
    most systems share counts as truth, their common mistakes too.
    """
    weights = equal = np.full(len(C), 1 / len(C))
    for _ in range(ROUNDS):
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
        raise DataError(f"{path}: cannot read the scores: {error}") from error
