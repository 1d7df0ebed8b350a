"""What a plant with several machines of one kind consists of: parameters, and every clip with its condition and fault.

A clip depends only on the seed and on its machine, individual, split, label and number.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from featstore.errors import DataError
from featstore.plant.grid import rng_of
from featstore.plant.individuals.faults import SEVERITIES
from featstore.plant.machines import MACHINES
from featstore.plant.plan import RAW, WAV_HEADER_BYTES, Plant

CLIPS_PER_ID = 500
TEST_CLIPS = 200


@dataclass(frozen=True)
class Fleet:
    """Parameters of a plant with several machines of one kind; equal fleets give equal recordings.

    clips: all recordings, training and test; 0 is CLIPS_PER_ID per individual. Of an individual's clips two fifths, but
    at most TEST_CLIPS, are test clips, half of them anomalies. ids: individuals per type.
    """

    clips: int = 0
    machines: tuple[str, ...] = tuple(MACHINES)
    seed: int = 0
    seconds: float = 10.0
    sample_rate_hz: int = 16000
    ids: int = 7

    def __post_init__(self) -> None:
        if not 1 <= self.ids <= 99:
            raise DataError(f"{self.ids} machines of a type: expected 1 to 99")
        Plant(machines=self.machines, seed=self.seed, seconds=self.seconds, sample_rate_hz=self.sample_rate_hz)
        least = 8 * self.ids * len(self.machines)
        if self.clips and self.clips < least:
            raise DataError(
                f"{self.clips} clips for {len(self.machines)} types of {self.ids} machines: each machine needs at "
                f"least 8; choose {least} clips or more, or fewer machines"
            )

    @property
    def samples(self) -> int:
        """Samples per recording."""
        return round(self.seconds * self.sample_rate_hz)

    @property
    def file_bytes(self) -> int:
        """Size of one WAV file."""
        return WAV_HEADER_BYTES + 2 * self.samples

    @property
    def channels(self) -> int:
        """Channels of one WAV file."""
        return 1


@dataclass(frozen=True)
class FleetClip:
    """One recording of an individual, without its sound. condition: speed, load and others, by name."""

    machine: str
    id: int
    split: str
    label: str
    number: int
    condition: tuple[tuple[str, float], ...] = ()
    fault: str = ""
    severity: float = 0.0

    @property
    def identity(self) -> tuple[str, int, str, str, int]:
        """What the random numbers depend on, besides the seed."""
        return self.machine, self.id, self.split, self.label, self.number

    @property
    def path(self) -> str:
        """Path below the root, named as in DCASE 2020, without fault and severity."""
        return f"{RAW}/{self.machine}/{self.split}/{self.label}_id_{self.id:02d}_{self.number:08d}.wav"


def plan(fleet: Fleet) -> Iterator[FleetClip]:
    """Every clip of `fleet`, in the order of machines and individuals."""
    individuals = [(machine, number) for machine in fleet.machines for number in range(fleet.ids)]
    clips = fleet.clips or CLIPS_PER_ID * len(individuals)
    for position, (machine, individual) in enumerate(individuals):
        share = clips // len(individuals) + (position < clips % len(individuals))
        half = min(TEST_CLIPS // 2, share // 5)
        counts = {("train", "normal"): share - 2 * half, ("test", "normal"): half, ("test", "anomaly"): half}
        for (split, label), count in counts.items():
            for number in range(count):
                yield _draw(fleet, FleetClip(machine, individual, split, label, number))


def _draw(fleet: Fleet, clip: FleetClip) -> FleetClip:
    """`clip` with a random operating condition and, if it is an anomaly, a random fault."""
    rng = rng_of(fleet.seed, *clip.identity, "plan")
    condition = tuple((name, float(rng.uniform(*limits))) for name, limits in limits_of(clip.machine).items())
    if clip.label == "normal":
        return replace(clip, condition=condition)
    fault, severity = str(rng.choice(MACHINES[clip.machine].faults)), float(rng.choice(SEVERITIES))
    return replace(clip, condition=condition, fault=fault, severity=severity)


def limits_of(machine: str) -> dict[str, tuple[float, float]]:
    """Least and largest value of speed, load and others, over all that the type has in other plants."""
    kind = MACHINES[machine]
    values = {name: np.array([*kind.source[name], *kind.target[name]], float) for name in kind.source if name != "bg"}
    return {name: (float(all_.min()), float(all_.max())) for name, all_ in values.items()}
