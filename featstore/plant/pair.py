"""Two microphones in the simulated plant: channel 0 stands near the machine, channel 1 further away.

Both hear the machine, the noise sources and a diffuse field by responses of one room (`featstore.plant.rooms`), and
each has its own sensor noise. What the far microphone hears of the machine has the level `leak_db`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import fft

from featstore.errors import DataError
from featstore.plant.rooms import Room, Stand, draw_path, response

STEPS = 16
"""Places at which the response of a moving source is computed; in between, two of them are mixed."""


@dataclass(frozen=True)
class Pair:
    """What the far microphone hears, and what it cannot explain.

    leak_db: level of the machine at the far microphone, relative to the near one. noise_sources: separate sources, each
    at its own place. diffuse: share of the noise power that is independent at the two microphones. moving: the first
    noise source walks through the room during a recording.
    """

    leak_db: float = -10.0
    noise_sources: int = 2
    diffuse: float = 0.0
    moving: bool = False

    def __post_init__(self) -> None:
        """Raise DataError for values outside of their ranges."""
        if not -80 <= self.leak_db <= 20:
            raise DataError(f"leak_db={self.leak_db:g}: expected a level from -80 to 20 dB")
        if not 1 <= self.noise_sources <= 8:
            raise DataError(f"noise_sources={self.noise_sources}: expected 1 to 8")
        if not 0 <= self.diffuse <= 1:
            raise DataError(f"diffuse={self.diffuse:g}: expected a share from 0 to 1")


def pair_of(microphones: int, options: Mapping[str, Any]) -> Pair | None:
    """The two microphones that a command asks for, None for one; an option that is None has its default.

    DataError for options of two microphones where there is only one.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if microphones == 2:
        return Pair(**given)
    if given:
        names = ", ".join("--" + name.replace("_", "-") for name in given)
        raise DataError(f"{names}: only for two microphones; add --microphones 2")
    return None


def machine_responses(room: Room, stand: Stand, leak_db: float, rate_hz: int, rng: np.random.Generator) -> np.ndarray:
    """Responses (2, time) from the machine to both microphones: the near one has the energy 1, the far one the leak."""
    place = np.array(stand.machine)
    near, far = (_unit(response(room, place, np.array(to), rate_hz, rng)) for to in (stand.near, stand.far))
    return np.stack([near, np.float32(10 ** (leak_db / 20)) * far])


def noise_responses(room: Room, stand: Stand, places: np.ndarray, rate_hz: int, rng: np.random.Generator) -> np.ndarray:
    """Responses (places, 2, time) from every place (places, 3) of a source; at the near one their mean energy is 1."""
    both = [[response(room, place, np.array(to), rate_hz, rng) for to in (stand.near, stand.far)] for place in places]
    responses = np.array(both)
    return np.asarray(responses / np.sqrt(np.square(responses[:, 0]).sum(axis=1).mean()))


def heard(spectrum: np.ndarray, responses: np.ndarray, n: int) -> np.ndarray:
    """Spectra (2, bins) of a source that stands, by responses (2, time); its wave has n samples and wraps around."""
    return np.asarray(spectrum * fft.rfft(responses, n, axis=1))


def heard_moving(wave: np.ndarray, room: Room, stand: Stand, rate_hz: int, rng: np.random.Generator) -> np.ndarray:
    """Waves (2, time) of a source that walks along a random path during its wave (time,)."""
    return moved(wave, noise_responses(room, stand, draw_path(rng, room, stand, STEPS), rate_hz, rng))


def moved(wave: np.ndarray, responses: np.ndarray) -> np.ndarray:
    """Waves (2, time) of a source with one response after another (steps, 2, time), in equal steps of time.

    From step to step both responses fade so that their powers add up to 1: their sounds hardly resemble each other.
    """
    steps, _, taps = responses.shape
    centres = np.linspace(0, len(wave), steps)
    width = len(wave) / (steps - 1)
    size = fft.next_fast_len(int(2 * width) + 2 + taps, real=True)
    out = np.zeros((2, len(wave) + size), dtype=np.float32)
    for centre, step in zip(centres, responses, strict=True):
        start, end = max(0, int(np.ceil(centre - width))), min(len(wave), int(centre + width) + 1)
        away = np.minimum(np.abs(np.arange(start, end) - centre) / width, 1)
        part = wave[start:end] * np.cos(np.pi / 2 * away).astype(np.float32)
        out[:, start : start + size] += fft.irfft(fft.rfft(part, size) * fft.rfft(step, size, axis=1), size, axis=1)
    return out[:, : len(wave)]


def shares(rng: np.random.Generator, count: int) -> np.ndarray:
    """Shares of the noise power of every source (count,), of which none is much weaker than the others (3 dB)."""
    power = 10 ** (rng.normal(0, 3, count) / 10)
    return np.asarray(power / power.sum())


def _unit(wave: np.ndarray) -> np.ndarray:
    return np.asarray(wave / np.sqrt(np.square(wave).sum()))
