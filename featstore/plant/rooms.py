"""Rooms with two microphones: where everything stands, and the responses from the sources to the microphones.

A response has two parts. Up to EARLY_S it is the sum of all mirror images of the source in a box-shaped room (image
sources: Allen and Berkley, JASA 65, 1979), whose sound loses energy by the length of its path, so that the response
decays by 60 dB in the reverberation time. Later it is Gaussian noise of the power that these images have on average.
The late noise of two microphones is independent, as it is in a diffuse field, for distances above half a wavelength.
"""

from dataclasses import dataclass

import numpy as np

SOUND_M_S = 343.0
EARLY_S = 0.05
REVERBERATION_S = (0.2, 0.6)
WALL_M = 0.3
"""No source and no microphone is nearer to a wall."""

NEAR_M, FAR_M, NOISE_M = (0.3, 0.6), (1.5, 3.0), 1.0
"""Distances from the machine to the near and the far microphone, and the least from a noise source to either."""


@dataclass(frozen=True)
class Room:
    """A box: length, width and height in m, and its reverberation time (60 dB)."""

    size_m: tuple[float, float, float]
    reverberation_s: float

    @property
    def volume_m3(self) -> float:
        """Volume."""
        return float(np.prod(self.size_m))

    def holds(self, place: np.ndarray) -> bool:
        """Whether a place (3,) is inside, away from the walls."""
        return bool(np.all(place >= WALL_M) and np.all(place <= np.array(self.size_m) - WALL_M))


@dataclass(frozen=True)
class Stand:
    """Where the machine and both microphones stand, each (x, y, z) in m."""

    machine: tuple[float, ...]
    near: tuple[float, ...]
    far: tuple[float, ...]


def draw_room(rng: np.random.Generator, reverberation_s: tuple[float, float] = REVERBERATION_S) -> Room:
    """A room of 6 to 10 by 5 to 8 by 2.8 to 4.5 m, with a reverberation time from the range."""
    length, width, height = rng.uniform((6, 5, 2.8), (10, 8, 4.5)).tolist()
    return Room((length, width, height), float(rng.uniform(*reverberation_s)))


def draw_stand(rng: np.random.Generator, room: Room) -> Stand:
    """A machine somewhere in the room, the near microphone before it and the far one further away (NEAR_M, FAR_M)."""
    while True:
        machine = _inside(rng, room)
        near, far = (machine + _direction(rng) * rng.uniform(*distance) for distance in (NEAR_M, FAR_M))
        if room.holds(near) and room.holds(far):
            return Stand(*(tuple(place.tolist()) for place in (machine, near, far)))


def draw_noise_place(rng: np.random.Generator, room: Room, stand: Stand) -> np.ndarray:
    """A place (3,) of a noise source, at least NOISE_M from both microphones."""
    while True:
        place = _inside(rng, room)
        if all(np.linalg.norm(place - microphone) >= NOISE_M for microphone in (stand.near, stand.far)):
            return place


def draw_path(rng: np.random.Generator, room: Room, stand: Stand, steps: int) -> np.ndarray:
    """A straight path (steps, 3) between two places that are 2 to 4 m apart; it keeps away from the microphones."""
    while True:
        first, last = (draw_noise_place(rng, room, stand) for _ in range(2))
        path = np.linspace(first, last, steps)
        distances = [np.linalg.norm(path - microphone, axis=1).min() for microphone in (stand.near, stand.far)]
        if 2 <= np.linalg.norm(last - first) <= 4 and min(distances) >= NOISE_M / 2:
            return path


def response(
    room: Room, source: np.ndarray, microphone: np.ndarray, rate_hz: int, rng: np.random.Generator
) -> np.ndarray:
    """Response (time,), float32, from a source to a microphone; the amplitude of the direct sound is 1 / distance.

    As long as the reverberation time. `rng` draws the late part.
    """
    samples = max(int(room.reverberation_s * rate_hz), int(EARLY_S * rate_hz) + 1)
    direct_m = float(np.linalg.norm(np.subtract(source, microphone)))
    late = rng.standard_normal(samples, dtype=np.float32)
    late *= np.sqrt(_late_power(room, np.arange(samples) / rate_hz, direct_m) / rate_hz).astype(np.float32)
    late[: int(EARLY_S * rate_hz)] = 0
    return np.asarray(late + _early(room, np.asarray(source), np.asarray(microphone), rate_hz, samples))


def images(room: Room, source: np.ndarray, within_m: float) -> np.ndarray:
    """Places (n, 3) of the source and of its mirror images, along each axis up to `within_m` and one room away."""
    axes = []
    for size, place in zip(room.size_m, source, strict=True):
        order = np.arange(-int(within_m / size) - 2, int(within_m / size) + 3)
        axes.append(np.where(order % 2, (order + 1) * size - place, order * size + place))
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def _early(room: Room, source: np.ndarray, microphone: np.ndarray, rate_hz: int, samples: int) -> np.ndarray:
    """The image sources up to EARLY_S; a time between two samples is divided between them."""
    direct_m = float(np.linalg.norm(source - microphone))
    distance = np.linalg.norm(images(room, source, EARLY_S * SOUND_M_S) - microphone, axis=1)
    distance = distance[distance < EARLY_S * SOUND_M_S]
    amplitude = _loss(room, distance - direct_m) / distance
    at = distance / SOUND_M_S * rate_hz
    first = at.astype(np.int64)
    early = np.bincount(first, amplitude * (1 - (at - first)), samples + 1)
    early += np.bincount(first + 1, amplitude * (at - first), samples + 1)
    return early[:samples].astype(np.float32)


def _loss(room: Room, further_m: np.ndarray) -> np.ndarray:
    """Amplitude that is left after a path so much longer than the direct one."""
    return np.asarray(10 ** (-3 * further_m / (SOUND_M_S * room.reverberation_s)))


def _late_power(room: Room, time_s: np.ndarray, direct_m: float) -> np.ndarray:
    """Mean energy per second of the images: of 4 pi c^3 t^2 / V images in a second, each has (loss / (c t))^2."""
    return 4 * np.pi * SOUND_M_S / room.volume_m3 * _loss(room, SOUND_M_S * time_s - direct_m) ** 2


def _inside(rng: np.random.Generator, room: Room) -> np.ndarray:
    """A place (3,) in the room, 0.5 to 2 m above the floor."""
    length, width, _ = room.size_m
    return rng.uniform((WALL_M, WALL_M, 0.5), (length - WALL_M, width - WALL_M, 2.0))


def _direction(rng: np.random.Generator) -> np.ndarray:
    """A direction (3,), nearly horizontal."""
    angle, height = rng.uniform(0, 2 * np.pi), rng.uniform(-0.3, 0.3)
    direction = np.array([np.cos(angle), np.sin(angle), height])
    return np.asarray(direction / np.linalg.norm(direction))
