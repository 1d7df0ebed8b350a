"""A fitted recipe: detectors and reference scores of every section, ready to decide new clips from their rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from detectors.base import Detector
from detectors.shared import sharing
from ensemble.checks.flat import is_flat
from ensemble.decision.calibrate import PlacedScores
from ensemble.decision.fuse import Fused
from ensemble.domains.correct import FittedDomains
from ensemble.fitting.decide import Sides, decide
from ensemble.fitting.evidence import Evidence
from ensemble.fitting.reference import Reference
from ensemble.inputs import banks_of, machine_section, one_view
from ensemble.members import placed
from ensemble.recipe import Member, Recipe
from ensemble.run import Detection
from featstore.disk.shard import EmbeddingInfo
from featstore.errors import DataError
from featstore.spec import did_you_mean
from featstore.table import ClipTable

Bank = tuple[str, str]
"""Machine and section whose clips are compared with each other; section "all" where a recipe pools sections."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted recipe, which scores and decides new clips.

    embeddings: those that the members, the evidence and the domains read. train: the training clips. blocks (n,): see
    `ensemble.groups`. contents (n,): the hash of each recording's bytes, "" where it is unknown. rows: of the training
    clips in every embedding, (n, *shape). honest: raw reference scores (members, n). detectors: one per member.
    evidence: the member whose view gives the nearest training clip.
    """

    recipe: Recipe
    embeddings: Mapping[str, EmbeddingInfo]
    train: ClipTable
    blocks: np.ndarray | None
    contents: Sequence[str]
    rows: Mapping[str, np.ndarray]
    honest: np.ndarray
    detectors: Mapping[Bank, Sequence[Detector]]
    domains: FittedDomains | None
    evidence: Member

    @cached_property
    def reference(self) -> Reference:
        """Fused and corrected scores of the training clips."""
        pooled, flat = self.recipe.pool_sections, self.flat
        members = [
            placed(self.train, row, pooled, self.blocks, of_row) for row, of_row in zip(self.honest, flat, strict=True)
        ]
        return Reference.of(self.recipe, members, self.train, self.domains.train if self.domains else None)

    @cached_property
    def flat(self) -> np.ndarray:
        """Training clips (members, n) of sections whose rows tell a member nothing, see `checks.flat`."""
        flat, banks = np.zeros((len(self.recipe.members), len(self.train)), dtype=bool), self.banks_of(self.train)
        of_bank = {bank: np.flatnonzero([own == bank for own in banks]) for bank in sorted(set(banks))}
        for source in {member.source: member for member in self.recipe.members}.values():
            X = self.view(self.rows, source)
            same = np.flatnonzero([member.source == source.source for member in self.recipe.members])
            for rows in of_bank.values():
                flat[np.ix_(same, rows)] = is_flat(X[rows])
        return flat

    @cached_property
    def nearest(self) -> Evidence:
        """The search for the most similar training clips."""
        X = self.view(self.rows, self.evidence)
        return Evidence.of(X, self.train, pool_sections=self.recipe.pool_sections)

    def detect(self, clips: ClipTable, rows: Mapping[str, np.ndarray]) -> Detection:
        """Score and decide clips from their rows (m, *shape) in every embedding; no clip influences another.

        DataError for a section without training clips.
        """
        self.check_sections(clips)
        domains = self.domains.scored(lambda view: self.view(rows, view), clips) if self.domains else None
        probability = domains.scored if domains else None
        fused, percentiles = self.reference.fuse(self._scores(clips, rows), clips, probability)
        keys, distances = self.nearest.nearest(self.view(rows, self.evidence), clips)
        return Detection(
            recipe=self.recipe,
            clips=clips,
            score=fused.scores,
            decided=decide(self.recipe, fused, Sides(clips, self.train, probability, self.blocks, self_ranked=False)),
            member_percentiles=percentiles,
            nearest=keys,
            nearest_distance=distances,
            train=self.train,
            reference=fused.reference,
            domains=domains,
            remarks=domains.notes if domains else (),
            blocks=self.blocks,
        )

    def thresholds(self) -> dict[tuple[str, str, str], tuple[int, float]]:
        """Number of reference scores and threshold by machine, section and domain, "" for any domain.

        DataError where the recipe's rules cannot give one.
        """
        reference, probability = self.reference.scores, None
        if self.domains:  # a machine whose domains were not learned has one threshold for both
            learned = ~np.isnan(self.domains.train)
            probability = np.where(learned, self.train.column("domain") == "target", np.nan)
        sides = Sides(self.train, self.train, probability, self.blocks, self_ranked=False)
        decided = decide(self.recipe, Fused(reference, reference), sides)
        pairs = zip(decided.banks, decided.thresholds, strict=True)
        return {
            (bank.machine, bank.section, bank.domain): (len(bank.reference), limit.value)
            for bank, limit in pairs
            if limit is not None
        }

    def banks_of(self, clips: ClipTable) -> list[Bank]:
        """Machine and section of every clip, as `detectors` names them."""
        return banks_of(clips, self.recipe.pool_sections)

    def check_sections(self, clips: ClipTable) -> None:
        """Raise DataError for a clip of a section that has no detectors."""
        for bank in sorted(set(self.banks_of(clips)) - set(self.detectors)):
            texts = [f"{machine}/{section}" for machine, section in self.detectors]
            hint = did_you_mean("/".join(bank), texts)
            raise DataError(
                f"{'/'.join(bank)}: no such machine and section; there are {', '.join(sorted(texts))}{hint}"
            )

    def _scores(self, clips: ClipTable, rows: Mapping[str, np.ndarray]) -> list[PlacedScores]:
        """Raw scores of every member."""
        scores = np.empty((len(self.recipe.members), len(clips)))
        banks = self.banks_of(clips)
        views = {member.source: self.view(rows, member) for member in self.recipe.members}
        for bank in sorted(set(banks)):
            here = np.flatnonzero([own == bank for own in banks])
            of_view = {source: np.ascontiguousarray(X[here]) for source, X in views.items()}
            with sharing():
                for i, (member, detector) in enumerate(zip(self.recipe.members, self.detectors[bank], strict=True)):
                    scores[i, here] = detector.anomaly_score(of_view[member.source])
        finite = np.isfinite(scores)
        if not finite.all():
            member, clip = np.argwhere(~finite)[0].tolist()
            raise DataError(
                f"{clips[clip].key}: {self.recipe.members[member].name} gives the score {scores[member, clip]}"
            )
        machine, section = machine_section(clips, self.recipe.pool_sections)
        return [PlacedScores(row, machine, section) for row in scores]

    def view(self, rows: Mapping[str, np.ndarray], member: Member) -> np.ndarray:
        """Rows (n, d) of a member's view."""
        views = self.embeddings[member.embedding].views
        return one_view(rows[member.embedding], views.index(member.view) if member.view else None)
