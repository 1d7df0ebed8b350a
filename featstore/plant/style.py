"""What distinguishes styles of simulated plants: their clips, sounds, parameters and tables; and the style of 2023."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from featstore.plant.days import drift_of
from featstore.plant.pair_scene import room_of
from featstore.plant.plan import RAW, Plant, SimulatedClip, plan
from featstore.plant.synthesis import place_of, synthesise

Table = tuple[str, Sequence[Sequence[str]]]
"""Path of a CSV file below the folder, and its rows."""


class AnyPlant(Protocol):
    """What parameters of every style have."""

    @property
    def clips(self) -> int:
        """All recordings; 0 for a number by default."""
        ...

    @property
    def machines(self) -> tuple[str, ...]:
        """Machine types."""

    @property
    def sample_rate_hz(self) -> int:
        """Sample rate."""

    @property
    def channels(self) -> int:
        """Channels of one WAV file."""

    @property
    def file_bytes(self) -> int:
        """Size of one WAV file."""


class AnyClip(Protocol):
    """What clips of every style have."""

    @property
    def path(self) -> str:
        """Path below the folder."""


P = TypeVar("P", bound=AnyPlant)
C = TypeVar("C", bound=AnyClip)


@dataclass(frozen=True)
class Style(Generic[P, C]):
    """How plants of a style are made.

    plan: all clips. synthesise: sound of a clip, float32 within [-1, 1]. parameters: what simulation.json says. tables:
    CSV files beside the recordings, written in this order when all recordings are done.
    """

    plan: Callable[[P], Iterator[C]]
    synthesise: Callable[[P, C], np.ndarray]
    parameters: Callable[[P], dict[str, Any]]
    tables: Callable[[P, Sequence[C]], Iterator[Table]]


def _parameters(plant: Plant) -> dict[str, Any]:
    """The parameters, without those of two microphones and of days where there are none: as earlier versions did."""
    values = asdict(plant)
    return {name: value for name, value in values.items() if name not in ("pair", "days") or value}


def _tables(plant: Plant, clips: Sequence[SimulatedClip]) -> Iterator[Table]:
    """attributes_00.csv of every machine, then truth.csv."""
    for machine in plant.machines:
        yield _attributes([clip for clip in clips if clip.machine == machine])
    yield _truth(plant, clips)


def _attributes(clips: Sequence[SimulatedClip]) -> Table:
    """attributes_00.csv of one machine in the official form."""
    width = max(len(clip.attributes) for clip in clips)
    header = ["file_name", *(f"d{number}{kind}" for number in range(1, width + 1) for kind in "pv")]
    names = [clip.path.removeprefix(f"{RAW}/") for clip in clips]
    rows = [[name, *chain.from_iterable(clip.attributes)] for name, clip in zip(names, clips, strict=True)]
    return f"{RAW}/{clips[0].machine}/attributes_00.csv", [header, *rows]


def _truth(plant: Plant, clips: Sequence[SimulatedClip]) -> Table:
    """Fault, severity, room and day of every clip, outside the data, for analysis only."""
    header = ["file_name", "machine", "split", "domain", "label", "number", "fault", "severity"]
    rows = [[clip.path, *map(str, clip.identity), clip.fault, f"{clip.severity:g}"] for clip in clips]
    facts = [_facts(plant, clip) for clip in clips]
    header += list(facts[0])
    return "truth.csv", [header, *([*row, *fact.values()] for row, fact in zip(rows, facts, strict=True))]


def _facts(plant: Plant, clip: SimulatedClip) -> dict[str, str]:
    """Columns of truth.csv that only plants with two microphones or with days have."""
    place = place_of(plant, clip)
    facts = {}
    if plant.pair:
        facts["reverberation_s"] = f"{room_of(place).reverberation_s:.3f}"
        facts["leak_db"] = f"{plant.pair.leak_db:g}"
    if plant.days:
        facts["day"] = str(place.day)
        facts["background_db"] = f"{drift_of(place.seed, place.machine, place.day).level_db:.2f}"
    return facts


DCASE2023 = Style(plan, synthesise, _parameters, _tables)
"""One machine of each type, in two domains: featstore.plant.plan."""
