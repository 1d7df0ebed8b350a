"""Which generated anomalies are made of which clips: names of variants, the balanced design, rendering during a build.

A variant is a Clip like its source, but labelled anomaly. Its field `variant` states how it is made: `impacts@-5dB#17`,
or with the path of a donor `mix@0dB#3<pump/train/normal_0007.wav`, or with another level at the far microphones than
FAR_DB `impacts@-5dB~-10dB#17`. Its split is train and its label anomaly, so it is
never used as a normal clip. Variants are made of training clips only.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zlib import crc32

import numpy as np

from featstore import registry
from featstore.anomalies.design import AnomalyDesign
from featstore.anomalies.far import FAR_DB
from featstore.anomalies.table import ANOMALIES, SHORTEST_SAMPLES, find, render
from featstore.anomalies.translated import located
from featstore.audio.policy import AudioPolicy
from featstore.audio.read import read_clip
from featstore.clip import Clip
from featstore.errors import DataError, RejectedAudio

SEVERITIES_DB = (-20.0, -15.0, -10.0, -5.0, 0.0, 5.0)
"""Strong on purpose: anomalies that hardly any detector finds rank the detectors at random."""

MIN_PER_PAIR = 6
"""Least number of clips per (transform, severity) in each domain of a section; few clips get more variants each."""

Group = tuple[str, str, str]
"""Machine, section and domain."""

MOST_DB = 200.0
"""Largest level in the text of a variant."""

OUTSIDE = ("recorded", "described", "translated")
"""Kinds of donors that are no clips of the data: paths of recorded anomalies, texts of chains (`chain.py`), and texts
of faults that a network learnt (`translated.py`)."""

Outside = Mapping[str, Mapping[str, Sequence[str]]]
"""Kind in OUTSIDE -> machine ("" for any machine) -> donors."""

_TEXT = re.compile(
    r"(?P<name>[a-z_]+)@(?P<severity>-?[0-9.]+)dB(?:~(?P<far>-?[0-9]+(?:\.[0-9]+)?)dB)?#(?P<seed>[0-9]{1,40})(?:<(?P<donor>.+))?",
    re.DOTALL,
)


@dataclass(frozen=True)
class Variant:
    """A generated anomaly.

    donor: path of the second recording or window, below the data root or absolute, or the text of a chain or of a fault
    that a network learnt. far_db: level of the fault at the other microphones, where a policy needs several
    (`anomalies.far`).
    """

    name: str
    severity_db: float
    seed: int
    donor: str = ""
    far_db: float = FAR_DB

    def __str__(self) -> str:
        """The text in `Clip.variant`."""
        far = "" if self.far_db == FAR_DB else f"~{self.far_db + 0:g}dB"
        return f"{self.name}@{self.severity_db + 0:g}dB{far}#{self.seed}{'<' if self.donor else ''}{self.donor}"

    @classmethod
    def parse(cls, text: str) -> "Variant":
        """Inverse of `str`; DataError for another text."""
        match = _TEXT.fullmatch(text)
        if match is None or not registry.is_known("anomaly", match["name"]):
            known = ", ".join(registry.names("anomaly"))
            raise DataError(
                f"variant {text!r:.200}: expected NAME@SEVERITYdB#SEED[<DONOR], or SEVERITYdB~FARdB, "
                f"NAME one of {known}"
            )
        far_db = float(match["far"]) if match["far"] else FAR_DB
        severity_db = _number(match["severity"])
        if not max(abs(severity_db), abs(far_db)) <= MOST_DB or "\0" in (match["donor"] or ""):
            raise DataError(
                f"variant {text!r:.200}: expected levels of -{MOST_DB:g} to {MOST_DB:g} dB and a donor without NUL"
            )
        return cls(match["name"], severity_db, int(match["seed"]), match["donor"] or "", far_db)

    def rng(self) -> np.random.Generator:
        """A generator that is the same at every severity: a stronger variant is a later state of the same fault."""
        return np.random.default_rng([self.seed, crc32(self.name.encode())])


@dataclass(frozen=True, kw_only=True)
class VariantDesign(AnomalyDesign):
    """Which variants are made of the training clips, and how many per clip.

    For a transform, severities that it cannot reach (`Anomaly.max_db`) are left out. far_db: as in Variant.
    """

    per_clip: int = 6
    severities_db: tuple[float, ...] = SEVERITIES_DB
    far_db: float = FAR_DB

    def __post_init__(self) -> None:
        self.check(find, self.per_clip)
        if not all(abs(severity) <= MOST_DB for severity in self.severities_db):
            raise ValueError(f"expected severities of -{MOST_DB:g} to {MOST_DB:g} dB, got {self.severities_db}")
        if not -60 <= self.far_db <= 0 or self.far_db != round(self.far_db, 2):
            raise ValueError(
                f"the level at the far microphones is {self.far_db:g} dB, expected -60 to 0, with two decimals"
            )

    @classmethod
    def parse(cls, text: str) -> "VariantDesign":
        """`N[:TRANSFORM,...][@DB,...][~DB]`: "2", "4:impacts,leak", "2@-5,0", "2@-5,0~-10"."""
        match = re.fullmatch(r"([0-9]+)(?::([^@~]+))?(?:@([^~]+))?(?:~(.+))?", text)
        try:
            if match is None:
                raise ValueError("it starts with no whole number of anomalies per clip, such as 4")
            severities = tuple(map(_decibel, match[3].split(","))) if match[3] else SEVERITIES_DB
            transforms = tuple(match[2].split(",")) if match[2] else ()
            far_db = _decibel(match[4], FAR_SAID) if match[4] else FAR_DB
            return cls(per_clip=int(match[1]), transforms=transforms, severities_db=severities, far_db=far_db)
        except ValueError as error:
            raise DataError(
                f"--anomalies {text}: expected auto, none or N[:TRANSFORM,...][@DB,...][~DB]: {error}"
            ) from error

    def pairs(self, available: Sequence[str]) -> list[tuple[str, float]]:
        """Every (transform, severity) for the transforms that are `available`."""
        chosen = self.transforms or [name for name, anomaly in ANOMALIES.items() if anomaly.default]
        names = [name for name in registry.names("anomaly") if name in available and name in chosen]
        return [
            (name, severity)
            for name in names
            for severity in self.severities_db
            if severity <= max(find(name).max_db, min(self.severities_db))
        ]


def _number(text: str) -> float:
    """The number of a text, NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


STRENGTHS_SAID = "@ come strengths in dB, such as -5,0"
FAR_SAID = "~ comes the level in dB at the far microphones, such as -10"


def _decibel(text: str, what: str = STRENGTHS_SAID) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"after {what}, not {text!r}") from None


def variants_of(
    clips: Sequence[Clip], design: VariantDesign | None = None, *, outside: Outside | None = None
) -> list[Clip]:
    """Generated anomalies of the training clips, balanced over (transform, severity) in every section and domain.

    outside: donors that are no clips of the data, see `Outside`. Other donors are training clips of another section or
    machine, of the same domain if there are any; without a donor the transform is left out. New clips whose paths come
    after the known ones change only donors of the known ones.
    """
    design = design or VariantDesign()
    groups = groups_of(clips)
    variants: list[Clip] = []
    for group, members in groups.items():
        donors = donors_of(group, groups, outside or {})
        variants += _of_group(members, f"{design.seed}/{'/'.join(group)}", design, donors)
    return variants


def groups_of(clips: Sequence[Clip]) -> dict[Group, list[Clip]]:
    """The normal training recordings of every machine, section and domain, both sorted."""
    sources = [clip for clip in clips if clip.split == "train" and clip.label != "anomaly" and not clip.variant]
    groups: dict[Group, list[Clip]] = {}
    for clip in sorted(sources, key=lambda clip: clip.place):
        groups.setdefault((clip.machine, clip.section, clip.domain), []).append(clip)
    return dict(sorted(groups.items()))


def available(donors: Mapping[str, Sequence[str]], names: Sequence[str] = ()) -> list[str]:
    """The transforms of the table, and those of installed packages among `names`, whose donors exist."""
    candidates = [name for name in registry.names("anomaly") if name in ANOMALIES or name in names]
    return [name for name in candidates if not find(name).donor or donors[find(name).donor]]


def _of_group(
    members: Sequence[Clip], name: str, design: VariantDesign, donors: Mapping[str, Sequence[str]]
) -> Iterator[Clip]:
    """Variants of the clips of one section and domain: consecutive clips get the pairs of one shuffled list."""
    pairs = design.pairs(available(donors, design.transforms))
    per_clip = max(design.per_clip, -(-MIN_PER_PAIR * len(pairs) // len(members)))
    for slot in range(per_clip * len(members) if pairs else 0):
        round_number, position = divmod(slot, len(pairs))
        if position == 0:
            rng = np.random.default_rng([crc32(name.encode("utf-8", "surrogateescape")), round_number])
            order, draws = rng.permutation(len(pairs)), rng.uniform(size=len(pairs))
        transform, severity = pairs[order[position]]
        pool = donors.get(find(transform).donor, ())
        donor = pool[int(draws[position] * len(pool))] if pool else ""
        variant = Variant(transform, severity, design.seed * 1_000_000 + slot, donor, design.far_db)
        yield replace(members[slot // per_clip], label="anomaly", variant=str(variant))


def donors_of(group: Group, groups: Mapping[Group, Sequence[Clip]], outside: Outside) -> dict[str, Sequence[str]]:
    """Kind of donor -> paths of possible donors for a section and domain, of the same domain if possible.

    "section" falls back to other machines and "machine" to other sections where there are none of its own kind.
    """
    machine, section, domain = group
    other_machines = [other for other in groups if other[0] != machine]
    other_sections = [other for other in groups if other[0] == machine and other[1] != section]

    def paths(chosen: Sequence[Group]) -> list[str]:
        same = [other for other in chosen if other[2] == domain] or chosen
        return [clip.path for other in sorted(same) for clip in groups[other]]

    return {
        "section": paths(other_sections or other_machines),
        "machine": paths(other_machines or other_sections),
        **{kind: [*outside.get(kind, {}).get(machine, ()), *outside.get(kind, {}).get("", ())] for kind in OUTSIDE},
    }


@dataclass(frozen=True)
class Renderer:
    """Renders a variant from the wave of its source: the `render` of a build, whose root and policy it shares.

    Where the policy keeps several channels, the source and the donor are what the near one records.
    """

    root: Path
    policy: AudioPolicy

    def __call__(self, wave: np.ndarray, sample_rate_hz: int, variant: str) -> np.ndarray:
        """The anomalous wave, float32 (time,); RejectedAudio where clip, text or donor cannot be used."""
        if len(wave) < SHORTEST_SAMPLES:
            raise RejectedAudio(f"{len(wave)} samples; an anomaly needs at least {SHORTEST_SAMPLES}")
        try:
            anomaly = Variant.parse(variant)
        except DataError as error:
            raise RejectedAudio(str(error)) from error
        kind = find(anomaly.name).donor
        donor: str | np.ndarray | None = None
        if kind in ("described", "translated"):
            donor = anomaly.donor if kind == "described" else located(anomaly.donor, self.root)
        elif kind:
            donor = self._donor(anomaly, sample_rate_hz)
        return render(anomaly.name, wave, sample_rate_hz, anomaly.severity_db, rng=anomaly.rng(), donor=donor)

    def _donor(self, anomaly: Variant, sample_rate_hz: int) -> np.ndarray:
        recorded = find(anomaly.name).donor == "recorded"
        policy = AudioPolicy(max_seconds=self.policy.max_seconds) if recorded else self.policy.near
        try:
            return read_clip(self.root, anomaly.donor, sample_rate_hz, policy).wave
        except RejectedAudio as error:
            raise RejectedAudio(f"donor {anomaly.donor}: {error}") from error
