"""Fused scores without the offset between the domains of each section, learned from the training clips' scores."""

from dataclasses import dataclass

import numpy as np

from ensemble.decision.banks import DOMAINS, Scale
from ensemble.decision.conformal import from_surprise, surprise
from ensemble.domains.shift import Shift
from featstore.table import ClipTable


def scale_of(honest: np.ndarray, *, fused: bool) -> Scale:
    """The scale on which scores are shifted: surprise for fused positions, the logarithm of positive raw scores."""
    if fused:
        return Scale(surprise, from_surprise)
    return Scale(np.log, np.exp) if len(honest) and honest.min() > 0 else Scale()


@dataclass(frozen=True, eq=False)
class Correction:
    """The offset of target scores in every section, and the scale on which it is removed."""

    shift: Shift
    scale: Scale

    @classmethod
    def of(cls, honest: np.ndarray, train: ClipTable, scale: Scale) -> "Correction":
        """From the honest scores (n,) of the training clips and their domains."""
        domain = train.column("domain")
        known = np.isin(domain, DOMAINS)
        machine, section = (train.column(name)[known] for name in ("machine", "section"))
        return cls(Shift.of(scale.forward(honest[known]), machine, section, domain[known] == DOMAINS[1]), scale)

    def removed(self, scores: np.ndarray, clips: ClipTable, probability: np.ndarray) -> np.ndarray:
        """Scores (m,) without the offset, by each clip's probability (m,) of the target domain."""
        if self.scale.forward is np.log:  # a distance of 0 has no logarithm
            scores = np.maximum(scores, np.finfo(np.float64).tiny)
        machine, section = clips.column("machine"), clips.column("section")
        shifted = self.shift.removed(self.scale.forward(scores), machine, section, probability)
        return np.asarray(self.scale.back(shifted))
