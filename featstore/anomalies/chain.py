"""A fault as a chain of transforms with parameters, written as one line of text.

    impacts:per_second=12,resonance_hz=3200+leak:centre_hz=4000,octaves=1,level_db=-6

Steps are separated by `+`. Those that alter the clip come first, those that add a sound follow. `level_db` is the
strength of a step relative to the requested severity. What a step does not state is drawn at random, within the ranges
of the transform. Names may have capitals. A text is checked against `STEPS`, and nothing in it is executed.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from featstore.anomalies import added, altered
from featstore.errors import DataError, RejectedAudio
from featstore.spec import unknown

LEVEL = "level_db"
LEVELS_DB = (-30.0, 10.0)
MOST_STEPS = 4
LONGEST = 400
"""Characters of the text of a chain."""

Range = tuple[float, float]


@dataclass(frozen=True)
class Kind:
    """A transform that a chain may use, and the range of each parameter that may be given."""

    apply: Callable[..., np.ndarray]
    parameters: Mapping[str, Range] = field(default_factory=dict)
    adds: bool = False


_BAND: Mapping[str, Range] = {"centre_hz": (50.0, 20_000.0), "octaves": (0.1, 4.0)}
_DIRECTION: Mapping[str, Range] = {"up": (0.0, 1.0)}

STEPS: dict[str, Kind] = {
    "speed": Kind(altered.speed, _DIRECTION),
    "pitch": Kind(altered.pitch, _DIRECTION),
    "warp": Kind(altered.warp, _DIRECTION),
    "modulation": Kind(altered.modulation, {"frequency_hz": (0.2, 100.0)}),
    "blockage": Kind(altered.blockage),
    "bandstop": Kind(altered.bandstop, {"centre_hz": (50.0, 20_000.0)}),
    "dropouts": Kind(altered.dropouts),
    "stutter": Kind(altered.stutter),
    "clipping": Kind(altered.clipping),
    "impacts": Kind(added.impacts, {"per_second": (0.2, 400.0), "resonance_hz": (50.0, 20_000.0)}, adds=True),
    "squeal": Kind(added.squeal, {"pitch_hz": (30.0, 20_000.0)}, adds=True),
    "leak": Kind(added.leak, _BAND, adds=True),
    "bursts": Kind(added.bursts, _BAND, adds=True),
    "distortion": Kind(added.distortion, {"drive": (0.5, 20.0)}, adds=True),
}
"""Transforms by the names of the table of anomalies; those that need a second recording are left out."""


@dataclass(frozen=True)
class Step:
    """One transform of a chain; parameters: those that are not drawn at random."""

    name: str
    parameters: Mapping[str, float] = field(default_factory=dict)
    level_db: float = 0.0

    def __str__(self) -> str:
        """The text of the step."""
        values = {**self.parameters, **({LEVEL: self.level_db} if self.level_db else {})}
        items = ",".join(f"{key}={value:.6g}" for key, value in values.items())
        return f"{self.name}:{items}" if items else self.name


@dataclass(frozen=True)
class Chain:
    """One to four steps."""

    steps: tuple[Step, ...]

    def __str__(self) -> str:
        """The text of the chain; inverse of `parse`."""
        return "+".join(map(str, self.steps))

    @classmethod
    def parse(cls, text: str) -> "Chain":
        """Read the text of a chain; DataError names the step, parameter or value that does not fit."""
        if len(text) > LONGEST:
            raise DataError(f"fault {text!r:.60}...: {len(text):,} characters, at most {LONGEST} are read")
        steps = [_step(part, text) for part in text.split("+")]
        if len(steps) > MOST_STEPS:
            raise DataError(f"fault {text!r:.80}: {len(steps)} steps; at most {MOST_STEPS} are applied")
        return cls(tuple(sorted(steps, key=lambda step: STEPS[step.name].adds)))

    def apply(self, wave: np.ndarray, rate_hz: int, severity_db: float, rng: np.random.Generator) -> np.ndarray:
        """The wave float32 (time,) with the fault; the energies of all steps add up to the severity."""
        share = [10 ** (step.level_db / 10) for step in self.steps]
        largest = 10 ** (max(step.level_db for step in self.steps) / 10)
        out = wave
        for step, own in zip(self.steps, share, strict=True):
            kind, given = STEPS[step.name], _below_nyquist(step.parameters, rate_hz)
            step_db = severity_db + 10 * math.log10(own * largest / sum(share))
            if kind.adds:  # relative to the clip as it was, so that energies add up
                out = out + (kind.apply(wave, rate_hz, step_db, rng, **given) - wave)
            else:
                out = kind.apply(out, rate_hz, step_db, rng, **given)
        return out


def apply(wave: np.ndarray, rate_hz: int, severity_db: float, rng: np.random.Generator, donor: str) -> np.ndarray:
    """A fault described in words, as the chain that `donor` is the text of; RejectedAudio where it is none."""
    try:
        chain = Chain.parse(donor)
    except DataError as error:
        raise RejectedAudio(f"donor: {error}") from error
    return chain.apply(wave, rate_hz, severity_db, rng)


def _step(text: str, whole: str) -> Step:
    name, _, rest = (part.strip() for part in text.lower().partition(":"))
    if name not in STEPS:
        name, *rest_of_name = re.split(r"[ ,=]", name, maxsplit=1)
        if name in STEPS:
            meant = f"{name}:{rest_of_name[0].strip()}" if rest_of_name else name
            raise DataError(f"fault {whole!r:.80}: no colon after {name}; did you mean {meant}?")
        raise DataError(f"fault {whole!r:.80}: {unknown('transform', name, STEPS)}")
    ranges = {**STEPS[name].parameters, LEVEL: LEVELS_DB}
    values: dict[str, float] = {}
    for item in rest.split(",") if rest else ():
        key, mark, number = (part.strip() for part in item.partition("="))
        if key not in ranges:
            raise DataError(f"fault {whole!r:.80}: {unknown(f'parameter of {name}', key, ranges)}")
        low, high = ranges[key]
        try:
            value = float(number) if mark else math.nan
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise DataError(f"fault {whole!r:.80}: {name}: {item!r}, expected {key} of {low:g} to {high:g}")
        if key in values:
            raise DataError(f"fault {whole!r:.80}: {name}: {key} is given twice")
        values[key] = value
    return Step(name, {key: value for key, value in values.items() if key != LEVEL}, values.get(LEVEL, 0.0))


def _below_nyquist(parameters: Mapping[str, float], rate_hz: int) -> dict[str, float]:
    """Parameters whose frequencies a recording of this rate can hold."""
    return {key: min(value, 0.45 * rate_hz) if key.endswith("_hz") else value for key, value in parameters.items()}
