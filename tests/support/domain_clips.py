"""Training clips of one machine in two sections, and new clips of both domains, whose rows tell the domains apart."""

import numpy as np

from ensemble.domains.clips import Clips


def domain_clips(
    rng: np.random.Generator, source: int = 90, target: int = 10, new: int = 200, machine: str = "fan"
) -> tuple[Clips, np.ndarray, np.ndarray, np.ndarray]:
    """Training clips, rows (n + new, 12) of training and new clips, all sections, and which are target clips.

    Target clips differ in one direction; half of the new clips are target clips.
    """
    n = source + target
    is_target = np.concatenate([np.arange(n) >= source, np.arange(new) % 2 == 1])
    section = np.where(rng.random(n + new) < 0.5, "00", "01")
    X = rng.normal(size=(n + new, 12)) * np.linspace(0.1, 30, 12)
    X[section == "01"] += 1000 * rng.normal(size=12)
    X[is_target, 3] += 4 * np.linspace(0.1, 30, 12)[3]
    fold = rng.permutation(n) % 5
    return Clips(np.full(n, machine), section[:n], is_target[:n], np.ones(n, dtype=bool), fold), X, section, is_target
