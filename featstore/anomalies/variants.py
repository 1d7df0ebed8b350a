"""Which generated anomaly is made of which clip: names of variants, the balanced design, rendering while a build reads.

A variant is a Clip like its source, labelled anomaly, whose `variant` names everything it is made from:
`impacts@-5dB#17`, or `mix@0dB#3<pump/train/normal_0007.wav` with the donor's path. It is a training clip by its split
and an anomaly by its label, so nothing takes it for normal, and no test clip becomes one.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zlib import crc32

import numpy as np

from featstore import registry
from featstore.anomalies.design import AnomalyDesign
from featstore.anomalies.table import ANOMALIES, SHORTEST_SAMPLES, find, render
from featstore.audio import AudioPolicy, RejectedAudio, read_recording
from featstore.clip import VARIANT_MARK, Clip
from featstore.errors import DataError

SEVERITIES_DB = (-20.0, -15.0, -10.0, -5.0, 0.0, 5.0)
"""Strong on purpose: anomalies that hardly any detector notices rank detectors by noise."""

LEAST_PER_PAIR = 6
"""Clips of every (transform, severity) in each domain of a section: few target clips get more variants each."""

_TEXT = re.compile(r"(?P<name>[a-z_]+)@(?P<severity>-?[0-9.]+)dB#(?P<seed>[0-9]+)(?:<(?P<donor>.+))?", re.DOTALL)


@dataclass(frozen=True)
class Variant:
    """A generated anomaly; donor: path of the second recording, below the data root or absolute."""

    name: str
    severity_db: float
    seed: int
    donor: str = ""

    def __str__(self) -> str:
        """The form that `Clip.variant` holds."""
        return f"{self.name}@{self.severity_db + 0:g}dB#{self.seed}{'<' if self.donor else ''}{self.donor}"

    @classmethod
    def parse(cls, text: str) -> "Variant":
        """Inverse of `str`; DataError says what is wrong."""
        match = _TEXT.fullmatch(text)
        if match is None or not registry.is_known("anomaly", match["name"]):
            known = ", ".join(registry.names("anomaly"))
            raise DataError(f"variant {text!r}: expected NAME@SEVERITYdB#SEED[<DONOR], NAME of {known}")
        return cls(match["name"], float(match["severity"]), int(match["seed"]), match["donor"] or "")

    def rng(self) -> np.random.Generator:
        """The same at every severity, so that a stronger variant is the same fault further on."""
        return np.random.default_rng([self.seed, crc32(self.name.encode())])


@dataclass(frozen=True, kw_only=True)
class VariantDesign(AnomalyDesign):
    """Which variants are made of the training clips, and how many per clip.

    A severity above what a transform reaches (`Anomaly.most_db`) is left out for it.
    """

    per_clip: int = 6
    severities_db: tuple[float, ...] = SEVERITIES_DB

    def __post_init__(self) -> None:
        self.check(find, self.per_clip)

    @classmethod
    def parse(cls, text: str) -> "VariantDesign":
        """`N[:TRANSFORM,...][@DB,...]`: "2", "4:impacts,leak", "2@-5,0"."""
        match = re.fullmatch(r"([0-9]+)(?::([^@]+))?(?:@(.+))?", text)
        try:
            if match is None:
                raise ValueError("no number of variants per clip")
            severities = tuple(float(part) for part in match[3].split(",")) if match[3] else SEVERITIES_DB
            transforms = tuple(match[2].split(",")) if match[2] else ()
            return cls(per_clip=int(match[1]), transforms=transforms, severities_db=severities)
        except ValueError as error:
            raise DataError(f"anomalies {text!r}: expected N[:TRANSFORM,...][@DB,...]: {error}") from error

    def pairs(self, available: Sequence[str]) -> list[tuple[str, float]]:
        """Every (transform, severity) for the transforms that are `available`."""
        wanted = self.transforms or [name for name, anomaly in ANOMALIES.items() if anomaly.usual]
        names = [name for name in registry.names("anomaly") if name in available and name in wanted]
        return [
            (name, severity)
            for name in names
            for severity in self.severities_db
            if severity <= max(find(name).most_db, min(self.severities_db))
        ]


def variants_of(
    clips: Sequence[Clip], design: VariantDesign | None = None, *, recorded: Mapping[str, Sequence[str]] | None = None
) -> list[Clip]:
    """Generated anomalies of the training clips, balanced over (transform, severity) in every section and domain.

    recorded: paths of recorded anomalies by machine ("" for any machine), for the transform of that name. Donors are
    training clips of another section or machine, of the same domain where there are any; without one the transform is
    left out. Clips that are added later and sort behind the known ones change nothing for those but donors.
    """
    design = design or VariantDesign()
    sources = [clip for clip in clips if clip.split == "train" and clip.label != "anomaly" and not clip.variant]
    groups: dict[tuple[str, str, str], list[Clip]] = {}
    for clip in sorted(sources, key=lambda clip: clip.path):
        groups.setdefault((clip.machine, clip.section, clip.domain), []).append(clip)
    planned: list[Clip] = []
    for group, members in sorted(groups.items()):
        machine = group[0]
        donors = _donors(group, groups)
        donors["recorded"] = [*(recorded or {}).get(machine, ()), *(recorded or {}).get("", ())]
        planned += _of_group(members, f"{design.seed}/{'/'.join(group)}", design, donors)
    return planned


def _of_group(
    members: Sequence[Clip], name: str, design: VariantDesign, donors: Mapping[str, Sequence[str]]
) -> Iterator[Clip]:
    """Variants of the clips of one section and domain; consecutive clips draw from shuffled rounds of all pairs."""
    wanted = [name for name in registry.names("anomaly") if name in ANOMALIES or name in design.transforms]
    available = [name for name in wanted if not find(name).donor or donors[find(name).donor]]
    pairs = design.pairs(available)
    per_clip = max(design.per_clip, -(-LEAST_PER_PAIR * len(pairs) // len(members)))
    for slot in range(per_clip * len(members) if pairs else 0):
        turn, position = divmod(slot, len(pairs))
        if position == 0:
            rng = np.random.default_rng([crc32(name.encode("utf-8", "surrogateescape")), turn])
            order, lots = rng.permutation(len(pairs)), rng.uniform(size=len(pairs))
        transform, severity = pairs[order[position]]
        pool = donors.get(find(transform).donor, ())
        donor = pool[int(lots[position] * len(pool))] if pool else ""
        variant = Variant(transform, severity, design.seed * 1_000_000 + slot, donor)
        yield replace(members[slot // per_clip], label="anomaly", variant=str(variant))


def _donors(
    group: tuple[str, str, str], groups: Mapping[tuple[str, str, str], Sequence[Clip]]
) -> dict[str, Sequence[str]]:
    """Paths of possible donors for a section and domain: nearest kind first, of the same domain if possible."""
    machine, section, domain = group
    elsewhere = [other for other in groups if other[0] != machine]
    beside = [other for other in groups if other[0] == machine and other[1] != section]

    def paths(chosen: Sequence[tuple[str, str, str]]) -> list[str]:
        same = [other for other in chosen if other[2] == domain] or chosen
        return [clip.path for other in sorted(same) for clip in groups[other]]

    return {"section": paths(beside or elsewhere), "machine": paths(elsewhere or beside)}


@dataclass(frozen=True)
class Renderer:
    """Makes a variant from its source's wave; the `render` of a build. root, policy: as the build reads its clips."""

    root: Path
    policy: AudioPolicy

    def __call__(self, wave: np.ndarray, sample_rate_hz: int, variant: str) -> np.ndarray:
        """The anomalous wave, float32 (time,); RejectedAudio where the clip is too short or the donor unreadable."""
        if len(wave) < SHORTEST_SAMPLES:
            raise RejectedAudio(f"{len(wave)} samples are too few to make an anomaly of")
        made = Variant.parse(variant)
        donor = self._donor(made, sample_rate_hz) if made.donor else None
        return render(made.name, wave, sample_rate_hz, made.severity_db, rng=made.rng(), donor=donor)

    def _donor(self, made: Variant, sample_rate_hz: int) -> np.ndarray:
        recorded = find(made.name).donor == "recorded"
        policy = AudioPolicy(max_seconds=self.policy.max_seconds) if recorded else self.policy
        try:
            return read_recording(self.root / made.donor, sample_rate_hz, policy).wave
        except RejectedAudio as error:
            raise RejectedAudio(f"its donor {made.donor}: {error}") from error


def refuse_marks(path: str) -> str:
    """The path, or DataError where it could not stand in a clip's key."""
    if VARIANT_MARK in path:
        raise DataError(f"{path!r}: {VARIANT_MARK!r} marks generated variants; rename the file or folder")
    return path
