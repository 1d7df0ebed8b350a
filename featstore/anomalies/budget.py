"""`--anomalies auto`: as many generated anomalies as the time of a build allows, spread evenly, strong ones first.

Every machine, section and domain gets an equal share, also one with few recordings. A section with one training clip
gets none, because no detector can learn from one clip. Within a share every pair of a kind
and a strength comes equally often; what is left over goes to the strongest pairs. Anomalies that the store already
holds count, so a resumed or repeated build generates what the first one would have, and new recordings make no
anomaly obsolete.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np

from featstore.anomalies.table import find
from featstore.anomalies.variants import (
    OUTSIDE,
    SEVERITIES_DB,
    Group,
    Outside,
    Variant,
    VariantDesign,
    available,
    donors_of,
    groups_of,
)
from featstore.clip import Clip
from featstore.errors import DataError

FLOOR = 1400
"""Anomalies of ten-second clips that the start-up time of a build pays for (scripts/bench_build_auto.py)."""

CLIP_S = 10.0
"""Length of the clips that FLOOR is stated for; of longer clips fewer are made."""

PER_RECORDING = 0.5
"""Further anomalies per recording; rendering and embedding one takes longer than a recording does."""

MOST_PER_PAIR = 12
"""Most anomalies per pair of kind and strength in a machine, section and domain."""

LEAST_CLIPS = 2
"""Fewest training clips of a section that a detector learns from."""

STRONGEST_FIRST = tuple(sorted(SEVERITIES_DB, reverse=True))
"""Severities in dB; a share that is too small for all pairs leaves out the last ones."""

Pair = tuple[str, float]
"""Transform and severity in dB."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How many anomalies are generated; the fields are explained at the constants."""

    floor: int = FLOOR
    per_recording: float = PER_RECORDING
    most_per_pair: int = MOST_PER_PAIR
    severities_db: tuple[float, ...] = STRONGEST_FIRST

    def total(self, recordings: int, clip_s: float = CLIP_S) -> int:
        """Anomalies for a number of recordings of a typical length."""
        return int(self.floor * min(1.0, CLIP_S / clip_s) + self.per_recording * recordings)


def auto_variants(
    clips: Sequence[Clip],
    budget: Budget | None = None,
    *,
    clip_s: float = CLIP_S,
    stored: Sequence[Clip] = (),
    outside: Outside | None = None,
) -> list[Clip]:
    """Generated anomalies of the training clips within a budget for all `clips`, those in `stored` included.

    clip_s: typical length of a recording. stored: variants that exist already; those of a listed recording stay.
    outside: as in `variants_of`.
    """
    budget = budget or Budget()
    groups = groups_of(clips)
    sharing = _sharing(groups)
    share, extra = divmod(budget.total(sum(not clip.variant for clip in clips), clip_s), max(1, len(sharing)))
    shares = {group: share + (number < extra) for number, group in enumerate(sharing)}
    existing = _by_group(stored, groups)
    variants: list[Clip] = []
    for group, members in groups.items():
        donors = donors_of(group, groups, outside or {})
        counts = _counts(group, groups, available(donors), shares.get(group, 0), budget)
        of_group = [*existing.get(group, {}).values()]
        of_group += _missing("/".join(group), members, counts, donors, of_group)
        variants += sorted(of_group, key=lambda clip: (clip.place, clip.path, clip.variant))
    return variants


def _sharing(groups: Mapping[Group, Sequence[Clip]]) -> list[Group]:
    """The groups of sections that a detector can learn from; all groups where there is no such section."""
    clips: Counter[tuple[str, str]] = Counter()
    for (machine, section, _), members in groups.items():
        clips[machine, section] += len(members)
    return [group for group in groups if clips[group[:2]] >= LEAST_CLIPS] or list(groups)


def _by_group(stored: Sequence[Clip], groups: Mapping[Group, Sequence[Clip]]) -> dict[Group, dict[str, Clip]]:
    """The stored variants whose recording, and donor if any, are still listed, with the recording's attributes."""
    listed = {clip.path: (group, clip) for group, members in groups.items() for clip in members}
    chosen: dict[Group, dict[str, Clip]] = {}
    for clip in stored:
        try:
            variant = Variant.parse(clip.variant)
        except DataError:  # of a package that is no longer installed
            continue
        needs_listed = bool(variant.donor) and find(variant.name).donor not in OUTSIDE
        if clip.path in listed and not (needs_listed and variant.donor not in listed):
            group, source = listed[clip.path]
            chosen.setdefault(group, {})[clip.key] = replace(source, label="anomaly", variant=clip.variant)
    return chosen


def _counts(
    group: Group, groups: Mapping[Group, Sequence[Clip]], names: Sequence[str], share: int, budget: Budget
) -> dict[Pair, int]:
    """How often each pair comes in a group, the strongest pairs first.

    Groups of a machine start at different places of the list of transforms, so that a share that ends within a severity
    takes other transforms in every section.
    """
    pairs = VariantDesign(severities_db=budget.severities_db).pairs(names)
    start = _start(group, groups)
    order: list[Pair] = []
    for severity in budget.severities_db:
        level = [pair for pair in pairs if pair[1] == severity]
        first = int(start * len(level))
        order += level[first:] + level[:first]
    times, extra = divmod(share, max(1, len(order)))
    return {pair: min(times + (i < extra), budget.most_per_pair) for i, pair in enumerate(order)}


def _start(group: Group, groups: Mapping[Group, Sequence[Clip]]) -> float:
    """Where a group starts in the list of transforms, from 0 to 1: evenly spread over the sections and the domains."""
    machine, section, domain = group
    sections = sorted({other[1] for other in groups if other[0] == machine})
    domains = sorted({other[2] for other in groups if other[0] == machine})
    digits = f"{sections.index(section):b}"
    in_machine = int(digits[::-1], 2) / 2 ** len(digits)  # van der Corput: even for any number of sections
    return float((in_machine + domains.index(domain) / len(domains)) % 1)


def _missing(
    name: str,
    members: Sequence[Clip],
    counts: Mapping[Pair, int],
    donors: Mapping[str, Sequence[str]],
    existing: Sequence[Clip],
) -> Iterator[Clip]:
    """Variants that a group lacks: each pair has a fixed sequence of variants, of which the first missing are made."""
    keys = {clip.key for clip in existing}
    held: dict[Pair, int] = {}
    for clip in existing:
        variant = Variant.parse(clip.variant)
        held[variant.name, variant.severity_db] = held.get((variant.name, variant.severity_db), 0) + 1
    lacking = {pair: count - held.get(pair, 0) for pair, count in counts.items()}
    round_number = 0
    while any(lack > 0 for lack in lacking.values()):
        rng = np.random.default_rng([crc32(name.encode("utf-8", "surrogateescape")), round_number])
        sources, draws = rng.permutation(len(members)), rng.uniform(size=len(counts))
        for at, pair in enumerate(counts):
            if lacking[pair] > 0:
                clip = _variant(name, members[sources[at % len(members)]], pair, round_number, donors, draws[at])
                if clip.key not in keys:
                    lacking[pair] -= 1
                    yield clip
        round_number += 1


def _variant(  # noqa: PLR0917 - one clip from all that it depends on
    name: str, source: Clip, pair: Pair, round_number: int, donors: Mapping[str, Sequence[str]], draw: float
) -> Clip:
    """The anomaly of a pair in a round; its seed differs between groups, so that each hears other faults."""
    pool = donors.get(find(pair[0]).donor, ())
    donor = pool[int(draw * len(pool))] if pool else ""
    text = f"{name}/{pair[0]}@{pair[1]:g}".encode("utf-8", "surrogateescape")
    seed = crc32(text) % 10_000 * 100 + round_number
    return replace(source, label="anomaly", variant=str(Variant(*pair, seed, donor)))
