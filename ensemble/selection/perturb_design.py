"""Which clip is perturbed how: the balanced design, the names of perturbed clips, and their rows when a view is read.

One change of one clip is the same in every embedding and view: the same donor, the same seed, the same severity
relative to how the section's normal clips spread there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from zlib import crc32

import numpy as np

from ensemble.selection.perturb import PERTURBATIONS, Bank, find, perturb
from featstore.anomalies.design import AnomalyDesign
from featstore.errors import DataError

SEVERITIES_DB = (-5.0, 0.0, 5.0)


@dataclass(frozen=True, kw_only=True)
class PerturbDesign(AnomalyDesign):
    """Which perturbations are made, and of how many clips.

    per_pair: clips of every (perturbation, severity) in each section and domain; all of them where there are fewer.
    """

    per_pair: int = 40
    severities_db: tuple[float, ...] = SEVERITIES_DB

    def __post_init__(self) -> None:
        self.check(find, self.per_pair)


@dataclass(frozen=True, eq=False)
class Changes:
    """Perturbed clips in columns (v,); origin and donor are numbers of recordings, donor -1 where there is none."""

    name: np.ndarray
    severity_db: np.ndarray
    origin: np.ndarray
    donor: np.ndarray
    seed: np.ndarray

    def __len__(self) -> int:
        return len(self.name)

    def __getitem__(self, at: np.ndarray) -> "Changes":
        return Changes(self.name[at], self.severity_db[at], self.origin[at], self.donor[at], self.seed[at])

    def variants(self, keys: Sequence[str]) -> list[str]:
        """How a clip is named after its change, with the keys of all recordings: `noise@0dB#7`, `away@0dB#3<x.wav`."""
        columns = (self.name, self.severity_db, self.seed, self.donor)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return [f"{name}@{db:g}dB#{seed}{'<' + keys[at] if at >= 0 else ''}" for name, db, seed, at in rows]


class Recordings(Protocol):
    """Recordings in columns (n,), as a validation holds them: `section` counts in `sections`."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Key of every recording."""
        ...

    @property
    def sections(self) -> tuple[tuple[str, str], ...]:
        """Every (machine, section)."""
        ...

    @property
    def section(self) -> np.ndarray:
        """Number of each recording's section."""
        ...

    @property
    def domain(self) -> np.ndarray:
        """Domain of each."""
        ...


def plan(recordings: Recordings, design: PerturbDesign) -> Changes:
    """Which change is made of which recording: every pair of as many clips in each section and domain.

    A change has the same clips, donors and seeds at every severity: a stronger one is the same fault further on.
    Nothing depends on the order of the recordings. A perturbation that needs a donor is left out where there is
    none; DataError where nothing is left.
    """
    keys, order = recordings.keys, np.argsort(np.array(recordings.keys, dtype=object), kind="stable")
    section, domain = recordings.section[order], recordings.domain[order]
    rows: list[tuple[str, float, int, int, int]] = []
    for one, side in sorted(set(zip(section.tolist(), domain.tolist(), strict=True))):
        members = order[(section == one) & (domain == side)]
        label = f"{'/'.join(recordings.sections[one])}/{side}"
        donors = {False: np.array([-1]), True: _donors(recordings, order, one, side)}
        for name in design.transforms or PERTURBATIONS:
            pool = donors[PERTURBATIONS[name].donor]
            rng = np.random.default_rng([design.seed, _number(f"{name}/{label}")])
            chosen = members[np.sort(rng.permutation(len(members))[: design.per_pair])]
            lots = rng.uniform(size=len(chosen))
            for at, lot in zip(chosen.tolist() if len(pool) else (), lots.tolist(), strict=False):
                donor, seed = int(pool[int(lot * len(pool))]), _number(f"{design.seed}/{name}/{keys[at]}")
                rows += [(name, db, at, donor, seed) for db in design.severities_db]
    if not rows:
        raise DataError(f"{', '.join(design.transforms)}: no clip has a donor in another section or machine")
    return Changes(*(np.array(column) for column in zip(*rows, strict=True)))


def _number(text: str) -> int:
    return crc32(text.encode("utf-8", "surrogateescape"))


def _donors(recordings: Recordings, order: np.ndarray, section: int, domain: str) -> np.ndarray:
    """Possible donors: clips of another machine, or else of another section; of the same domain, or else of any."""
    machine = np.array([machine for machine, _ in recordings.sections])[recordings.section[order]]
    elsewhere = machine != recordings.sections[section][0]
    possible = elsewhere if elsewhere.any() else recordings.section[order] != section
    same = possible & (recordings.domain[order] == domain)
    return np.asarray(order[same if same.any() else possible])


def perturbed_rows(X: np.ndarray, changes: Changes, bank: np.ndarray) -> np.ndarray:
    """Rows (v, d), float32, of changes of recordings X (n, d) that the recordings `bank` (numbers) score."""
    out = np.empty((len(changes), X.shape[1]), dtype=np.float32)
    normal = Bank.of(X[bank])
    for name in sorted(set(changes.name.tolist())):
        of_name = np.flatnonzero(changes.name == name)
        for db in sorted(set(changes.severity_db[of_name].tolist())):
            at = of_name[changes.severity_db[of_name] == db]
            rngs = [np.random.default_rng(seed) for seed in changes.seed[at].tolist()]
            donors = X[changes.donor[at]] if PERTURBATIONS[name].donor else None
            out[at] = perturb(name, X[changes.origin[at]], normal, db, rngs=rngs, donors=donors)
    return out
