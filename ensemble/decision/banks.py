"""Banks: the reference scores that the scored clips of a section are compared with.

Without domains a section has one bank. Where the domain of a scored clip is known or predicted, its bank is the
reference scores of its domain in the section. If these are too few for the requested rate, those of the machine's other
sections are added, each moved by the level (median) of its section's source clips. If these are still too few, a tail
model may stand in:

- `spread`: the level comes from the domain, the spread around it from all clips of the section. It assumes that normal
  clips of both domains scatter alike around their level. Such a bank is called shifted; its rate is approximate.
- `none`: the clips of the domain alone. The lowest rate that n clips allow is 1 / (n + 1).

A clip of either domain is compared with both banks, and the larger p-value counts.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ensemble.decision.blocks import independent
from ensemble.decision.calibrate import PlacedScores

DOMAINS = ("source", "target")
EITHER = "either"
"""Domain of a clip that can be of both."""

TAILS = ("spread", "none")


@dataclass(frozen=True)
class Scale:
    """Maps scores to a scale on which they can be shifted, and back."""

    forward: Callable[[np.ndarray], np.ndarray] = np.asarray
    back: Callable[[np.ndarray], np.ndarray] = np.asarray


@dataclass(frozen=True, eq=False)
class Bank:
    """The reference scores (n,) that the scored clips `rows` of one section are compared with.

    `domain` is empty where clips of any domain share the bank. `shifted`: see the module docstring. `independent`: the
    number of independent scores that the reference is worth; less than n where training clips have blocks.
    """

    machine: str
    section: str
    domain: str
    rows: np.ndarray
    reference: np.ndarray
    independent: float
    shifted: bool = False


@dataclass(frozen=True)
class BankRule:
    """How banks are made: the p-value that a domain's bank must reach, the scale of shifts, and the tail model."""

    level: float
    scale: Scale
    tail: str = TAILS[0]

    def enough(self, scores: np.ndarray) -> bool:
        """Whether so many reference scores can give the p-value."""
        return len(scores) + 1 >= 1 / self.level - 1e-9


def banks(test: PlacedScores, reference: PlacedScores, rule: BankRule) -> Iterator[Bank]:
    """Every bank that test clips need, sections sorted; by domain only where both sides give domains."""
    by_domain = test.domain is not None and reference.domain is not None
    for (machine, section), rows in test.groups():
        of_section = reference.rows_of((machine, section))
        worth = 1.0 if reference.block is None else independent(reference.block[of_section]) / len(of_section)
        domain = test.domain[rows] if by_domain and test.domain is not None else np.full(len(rows), "")
        own = {
            name: bank
            for name in DOMAINS
            if np.isin(domain, (name, EITHER)).any()
            and (bank := _of_domain(reference, machine, of_section, name, rule)) is not None
        }
        domain = _settled(domain, test.scores[rows], {name: scores for name, (scores, _) in own.items()})
        for name, (scores, shifted) in own.items():
            if (domain == name).any():
                yield Bank(machine, section, name, rows[domain == name], scores, worth * len(scores), shifted)
        pooled = ~np.isin(domain, list(own))
        if pooled.any():
            scores = reference.scores[of_section]
            yield Bank(machine, section, "", rows[pooled], scores, worth * len(scores))


def p_values(scores: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Conformal p-value of each score (m,) among n reference scores, in [1 / (n + 1), 1]."""
    at_least = len(reference) - np.searchsorted(np.sort(reference), scores, side="left")
    return np.asarray((1 + at_least) / (len(reference) + 1))


def _settled(domain: np.ndarray, scores: np.ndarray, own: Mapping[str, np.ndarray]) -> np.ndarray:
    """The domains with EITHER replaced by the one whose bank gives the larger p-value."""
    if not own or not (domain == EITHER).any():
        return domain
    names = np.array(list(own))
    larger = np.argmax([p_values(scores, bank) for bank in own.values()], axis=0)
    return np.where(domain == EITHER, names[larger], domain)


def _of_domain(
    reference: PlacedScores, machine: str, of_section: np.ndarray, name: str, rule: BankRule
) -> tuple[np.ndarray, bool] | None:
    """Reference scores for clips of a domain in a section, and whether they are shifted; None where there are none."""
    own = of_section[reference.domain[of_section] == name]  # type: ignore[index]
    scores = reference.scores[own]
    if not rule.enough(scores):
        scores = _pooled(reference, machine, of_section, name, rule.scale)
    if not len(scores):
        return None
    if rule.enough(scores) or rule.tail == "none":
        return scores, False
    level = float(np.median(rule.scale.forward(scores)))
    domain = reference.domain[of_section]  # type: ignore[index]
    shifted = shifted_reference(reference.scores[of_section], domain, level, rule.scale)
    return (scores, False) if shifted is None else (shifted, True)


def _pooled(reference: PlacedScores, machine: str, of_section: np.ndarray, name: str, scale: Scale) -> np.ndarray:
    """Scores of a domain in all sections of the machine, moved from the level of their section to that of this one.

    The level is that of the section's source clips, or of all its clips where it has no source clips.
    """
    here = _level(reference, of_section, scale)
    parts = []
    of_machine = np.flatnonzero(reference.machine == machine)
    for section in np.unique(reference.section[of_machine]):
        rows = of_machine[reference.section[of_machine] == section]
        own = rows[reference.domain[rows] == name]  # type: ignore[index]
        same = np.array_equal(rows, of_section)
        move = 0.0 if same else here - _level(reference, rows, scale)
        moved = scale.forward(reference.scores[own]) + move
        parts.append(reference.scores[own] if same else scale.back(moved))
    return np.concatenate(parts)


def _level(reference: PlacedScores, rows: np.ndarray, scale: Scale) -> float:
    source = rows[reference.domain[rows] == DOMAINS[0]]  # type: ignore[index]
    return float(np.median(scale.forward(reference.scores[source if len(source) else rows])))


def shifted_reference(scores: np.ndarray, domain: np.ndarray, level: float, scale: Scale) -> np.ndarray | None:
    """Reference scores (n,) of a section, moved from the level of their own domain to `level`, on the scale.

    A single clip of a domain has no residual and is left out; None where no residual is left.
    """
    scaled = scale.forward(scores)
    by_domain = [scaled[domain == name] for name in np.unique(domain)]
    residuals = [median_residuals(values) for values in by_domain if len(values) > 1]
    return scale.back(level + np.concatenate(residuals)) if residuals else None


def median_residuals(values: np.ndarray) -> np.ndarray:
    """Each value (n >= 2) minus the median of the others."""
    n, order = len(values), np.argsort(values, kind="stable")
    place = np.empty(n, dtype=np.intp)
    place[order] = np.arange(n)
    ranked = values[order]
    low, high = (n - 2) // 2, (n - 1) // 2  # middle places among the n - 1 others
    others = (ranked[low + (place <= low)] + ranked[high + (place <= high)]) / 2
    return np.asarray(values - others)
