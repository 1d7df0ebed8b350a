"""Offset of normal scores between the domains of a section, and scores without it.

A test clip does not state its domain. Its posterior q = P(target) says by how much the offset applies to it. The offset
of a section is that of the medians of the honest scores of its source and target training clips. With few target clips
it is uncertain, and too large, because a held-out target clip is compared with fewer of its kind than a test clip is.
So it is halfway between the section's own and the mean over the machine's sections (in units of the spread of source
scores), and is shrunk by n / (n + PRIOR_CLIPS) for n target clips, and by its standard error.
"""

from dataclasses import dataclass

import numpy as np

PRIOR_CLIPS = 3
OWN = 0.5
"""Weight of the section's own offset; the rest is that of the machine's other sections."""

MEDIAN_VARIANCE = np.pi / 2
"""Variance of a median relative to that of a mean, for Gaussian values."""

DEVIATION = 1.4826
"""Standard deviation of a Gaussian relative to its median absolute deviation."""


@dataclass(frozen=True, eq=False)
class Shift:
    """Offset (..., s) of target scores in each of the sections (s,), 0 where a section or its machine has none."""

    sections: tuple[tuple[str, str], ...]
    offset: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray, machine: np.ndarray, section: np.ndarray, target: np.ndarray) -> "Shift":
        """From honest scores (..., n) of training clips; target (n,) is a mask."""
        sections = tuple(sorted(set(zip(machine.tolist(), section.tolist(), strict=True))))
        offset = np.zeros((*scores.shape[:-1], len(sections)))
        for name in sorted(set(machine.tolist())):
            numbers = [i for i, (of_machine, _) in enumerate(sections) if of_machine == name]
            here = [(machine == name) & (section == sections[i][1]) for i in numbers]
            parts = [_Part.of(scores[..., rows], target[rows]) if _has_both(target[rows]) else None for rows in here]
            both = [part for part in parts if part is not None]
            for i, part in zip(numbers, parts, strict=True):
                if part is not None:
                    offset[..., i] = _shrunk(part, both)
        return cls(sections, offset)

    def removed(
        self, scores: np.ndarray, machine: np.ndarray, section: np.ndarray, probability: np.ndarray
    ) -> np.ndarray:
        """Scores (..., m) without the offset, by the probability (m,) of the target domain; NaN changes nothing.

        The lower domain is raised, so scores that are bounded below stay in their range.
        """
        changed = np.array(scores, dtype=np.float64)
        certain = ~np.isnan(probability)
        for i, (of_machine, of_section) in enumerate(self.sections):
            rows = np.flatnonzero((machine == of_machine) & (section == of_section) & certain)
            offset, q = self.offset[..., i, None], probability[rows]
            changed[..., rows] += np.where(offset > 0, offset * (1 - q), -offset * q)
        return changed


def _has_both(target: np.ndarray) -> bool:
    return bool(target.any() and not target.all())


@dataclass(frozen=True, eq=False)
class _Part:
    """Of one section: offset of the medians and deviations of target clips, in spreads of source scores (...)."""

    spread: np.ndarray
    offset: np.ndarray
    residuals: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray, target: np.ndarray) -> "_Part":
        source, other = scores[..., ~target], scores[..., target]
        level, target_level = np.median(source, axis=-1), np.median(other, axis=-1)
        spread = DEVIATION * np.median(np.abs(source - level[..., None]), axis=-1)
        spread = np.where(spread > 0, spread, np.where(source.std(axis=-1) > 0, source.std(axis=-1), 1.0))
        return cls(spread, (target_level - level) / spread, (other - target_level[..., None]) / spread[..., None])

    @property
    def clips(self) -> int:
        return int(self.residuals.shape[-1])


def _shrunk(part: _Part, of_machine: list[_Part]) -> np.ndarray:
    """Offset (...) of a section in units of the scores."""
    clips = sum(each.clips for each in of_machine)
    squares = sum(np.square(each.residuals).sum(axis=-1) for each in of_machine)
    variance = squares / max(1, clips - len(of_machine))
    mean = np.mean([each.offset for each in of_machine], axis=0)
    offset = OWN * part.offset + (1 - OWN) * mean
    error = MEDIAN_VARIANCE * variance * (OWN**2 / part.clips + (1 - OWN) ** 2 / clips)
    square = np.square(offset)
    certain = np.divide(square - error, square, out=np.zeros_like(square), where=square > error)
    shrunk: np.ndarray = offset * part.spread * certain * part.clips / (part.clips + PRIOR_CLIPS)
    return shrunk
