"""Which clips are perturbed and how: the balanced design, the names of perturbed clips, and their rows in a view.

A change of a clip is the same in every embedding and view: the same donor, seed and severity, relative to the
distribution of the section's normal clips there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from zlib import crc32

import numpy as np

from ensemble.selection.scoring.perturb import PERTURBATIONS, Bank, find, perturb
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
    """Perturbed clips in columns (v,); origin and donor are positions of recordings, donor is -1 for none."""

    name: np.ndarray
    severity_db: np.ndarray
    origin: np.ndarray
    donor: np.ndarray
    seed: np.ndarray

    def __len__(self) -> int:
        return len(self.name)

    def __getitem__(self, rows: np.ndarray) -> "Changes":
        return Changes(self.name[rows], self.severity_db[rows], self.origin[rows], self.donor[rows], self.seed[rows])

    def variants(self, keys: Sequence[str]) -> list[str]:
        """Variant text of each change, from the keys of all recordings: `noise@0dB#7`, `away@0dB#3<x.wav`."""
        columns = (self.name, self.severity_db, self.seed, self.donor)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return [f"{name}@{db:g}dB#{seed}{'<' + keys[donor] if donor >= 0 else ''}" for name, db, seed, donor in rows]


class Recordings(Protocol):
    """Recordings in columns (n,), as a validation has them; `section` is an index into `sections`."""

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
        """Index of each recording's section."""
        ...

    @property
    def domain(self) -> np.ndarray:
        """Domain of each recording."""
        ...


def plan(recordings: Recordings, design: PerturbDesign) -> Changes:
    """Which changes are made of which recordings: every pair for equally many clips in each section and domain.

    A change has the same clips, donors and seeds at every severity: a stronger one is a later state of the same fault.
    The order of the recordings does not matter. Where there is no donor, perturbations that need one are left out;
    DataError where none is left.
    """
    keys, order = recordings.keys, np.argsort(np.array(recordings.keys, dtype=object), kind="stable")
    sections, domains = recordings.section[order], recordings.domain[order]
    rows: list[tuple[str, float, int, int, int]] = []
    for section, domain in sorted(set(zip(sections.tolist(), domains.tolist(), strict=True))):
        members = order[(sections == section) & (domains == domain)]
        label = f"{'/'.join(recordings.sections[section])}/{domain}"
        donors = {False: np.array([-1]), True: _donors(recordings, order, section, domain)}
        for name in design.transforms or PERTURBATIONS:
            pool = donors[PERTURBATIONS[name].donor]
            rng = np.random.default_rng([design.seed, _number(f"{name}/{label}")])
            chosen = members[np.sort(rng.permutation(len(members))[: design.per_pair])]
            draws = rng.uniform(size=len(chosen))
            for origin, draw in zip(chosen.tolist() if len(pool) else (), draws.tolist(), strict=False):
                donor, seed = int(pool[int(draw * len(pool))]), _number(f"{design.seed}/{name}/{keys[origin]}")
                rows += [(name, db, origin, donor, seed) for db in design.severities_db]
    if not rows:
        raise DataError(
            f"{', '.join(design.transforms)}: no clip has a donor in another section or machine; "
            "add recordings of one, or choose perturbations without a donor"
        )
    return Changes(*(np.array(column) for column in zip(*rows, strict=True)))


def _number(text: str) -> int:
    return crc32(text.encode("utf-8", "surrogateescape"))


def _donors(recordings: Recordings, order: np.ndarray, section: int, domain: str) -> np.ndarray:
    """Positions of possible donors: clips of other machines, else of other sections; of the domain, else of any."""
    machine = np.array([machine for machine, _ in recordings.sections])[recordings.section[order]]
    other_machine = machine != recordings.sections[section][0]
    possible = other_machine if other_machine.any() else recordings.section[order] != section
    same_domain = possible & (recordings.domain[order] == domain)
    return np.asarray(order[same_domain if same_domain.any() else possible])


def perturbed_rows(X: np.ndarray, changes: Changes, bank: np.ndarray) -> np.ndarray:
    """Rows float32 (v, d) of `changes` of recordings X (n, d); bank: positions of the recordings that score them."""
    out = np.empty((len(changes), X.shape[1]), dtype=np.float32)
    normal = Bank.of(X[bank])
    for name, db in sorted(set(zip(changes.name.tolist(), changes.severity_db.tolist(), strict=True))):
        rows = np.flatnonzero((changes.name == name) & (changes.severity_db == db))
        rngs = [np.random.default_rng(seed) for seed in changes.seed[rows].tolist()]
        donors = X[changes.donor[rows]] if PERTURBATIONS[name].donor else None
        out[rows] = perturb(name, X[changes.origin[rows]], normal, db, rngs=rngs, donors=donors)
    return out
