"""What a simulated plant consists of: its parameters, and every clip with its condition, fault and day.

A clip depends only on the seed and on its machine, split, domain, label and number: more clips or other machines do
not change it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from featstore.errors import DataError
from featstore.plant.days import draw_day
from featstore.plant.grid import rng_of
from featstore.plant.machines import MACHINES
from featstore.plant.pair import Pair

RAW = "dev_data/raw"
SEVERITIES = (0.25, 0.5, 0.75, 1.0)
WAV_HEADER_BYTES = 44


@dataclass(frozen=True)
class Plant:
    """Parameters of a simulated plant; equal plants give equal recordings.

    clips: all recordings of all machines, training and test. Of a machine's clips two fifths, but at most 200, are test
    clips, in equal parts source/target and normal/anomaly. Of its training clips 1 in 100, but at least 10 (or a tenth,
    if that is fewer), are from the target domain. pair: two microphones and what they hear; None is one microphone.
    days: recordings of so many days, the attribute `day`; the last third are the days of the test clips. 0: no days.
    """

    clips: int = 1200
    machines: tuple[str, ...] = tuple(MACHINES)
    seed: int = 0
    seconds: float = 10.0
    sample_rate_hz: int = 16000
    pair: Pair | None = None
    days: int = 0

    def __post_init__(self) -> None:
        unknown = [name for name in self.machines if name not in MACHINES]
        if unknown or not self.machines or len(set(self.machines)) < len(self.machines):
            raise DataError(
                f"machines {', '.join(self.machines) or '(none)'}: choose one or more, each once, from "
                f"{', '.join(MACHINES)}"
            )
        if self.clips < 8 * len(self.machines):
            raise DataError(
                f"{self.clips} clips for {len(self.machines)} machines: a simulated machine needs at least 8; "
                f"choose {8 * len(self.machines)} clips or more, or fewer machines"
            )
        if not 1 <= self.seconds <= 600 or not 8000 <= self.sample_rate_hz <= 192000 or self.seed < 0:
            raise DataError(
                "expected recordings of 1 to 600 seconds at 8000 to 192000 Hz and a seed of at least 0, "
                f"got {self.seconds:g} s, {self.sample_rate_hz} Hz, seed {self.seed}"
            )
        if self.days and not 3 <= self.days <= 999:
            raise DataError(
                f"{self.days} days: expected 3 to 999, of which the last third are the days of the test clips; or 0 "
                "for a plant without days"
            )

    @property
    def samples(self) -> int:
        """Samples per recording."""
        return round(self.seconds * self.sample_rate_hz)

    @property
    def file_bytes(self) -> int:
        """Size of one WAV file."""
        return WAV_HEADER_BYTES + 2 * self.samples * self.channels

    @property
    def channels(self) -> int:
        """Channels of one WAV file."""
        return 2 if self.pair else 1


@dataclass(frozen=True)
class SimulatedClip:
    """One recording of the plant, without its sound."""

    machine: str
    split: str
    domain: str
    label: str
    number: int
    attributes: tuple[tuple[str, str], ...] = ()
    fault: str = ""
    severity: float = 0.0

    @property
    def identity(self) -> tuple[str, str, str, str, int]:
        """What the random numbers depend on, besides the seed."""
        return self.machine, self.split, self.domain, self.label, self.number

    @property
    def path(self) -> str:
        """Path below the data root, named as in DCASE 2023, without fault and severity."""
        attributes = "_".join(f"{key}_{value}" for key, value in self.attributes)
        stem = f"section_00_{self.domain}_{self.split}_{self.label}_{self.number:04d}_{attributes}"
        return f"{RAW}/{self.machine}/{self.split}/{stem}.wav"


def plan(plant: Plant) -> Iterator[SimulatedClip]:
    """Every clip of `plant`, in the order of their files."""
    for position, machine in enumerate(plant.machines):
        share = plant.clips // len(plant.machines) + (position < plant.clips % len(plant.machines))
        quarter = max(1, min(50, share // 10))
        train = share - 4 * quarter
        target = max(train // 100, min(10, train // 10), 1)
        counts = {("train", "source", "normal"): train - target, ("train", "target", "normal"): target}
        counts |= {
            ("test", domain, label): quarter for domain in ("source", "target") for label in ("normal", "anomaly")
        }
        for (split, domain, label), count in counts.items():
            for number in range(count):
                yield _draw(plant, SimulatedClip(machine, split, domain, label, number))


def _draw(plant: Plant, clip: SimulatedClip) -> SimulatedClip:
    """`clip` with a random operating condition and day and, if it is an anomaly, a random fault."""
    rng = rng_of(plant.seed, *clip.identity, "plan")
    machine = MACHINES[clip.machine]
    choices = machine.source if clip.domain == "source" else machine.target
    attributes = tuple((name, str(rng.choice(values))) for name, values in choices.items())
    if plant.days:
        day = draw_day(rng_of(plant.seed, *clip.identity, "day"), plant.days, clip.split)
        attributes += (("day", f"{day:0{len(str(plant.days))}d}"),)
    if clip.label == "normal":
        return replace(clip, attributes=attributes)
    fault, severity = str(rng.choice(machine.faults)), float(rng.choice(SEVERITIES))
    return replace(clip, attributes=attributes, fault=fault, severity=severity)
