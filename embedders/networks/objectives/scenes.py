"""Clean waves as two microphones hear them in simulated rooms: the near one, the far one, and noise sources at both.

The rooms are those of `featstore.plant.rooms`. Their responses are drawn once (`room_pool`); each scene then draws a
room, noise and a signal-to-noise ratio, so that it costs a few Fourier transforms.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from featstore.plant.pair import machine_responses, noise_responses
from featstore.plant.rooms import draw_noise_place, draw_room, draw_stand

SHARE_DB = 3.0
"""Standard deviation of the level of a noise source."""

STEEPEST = 2.0
"""Shaped noise has a power of f ** -a with a from 0 (white) to this (brown), and is flat below LOWEST_HZ."""

LOWEST_HZ = 50.0

Range = tuple[float, ...]
"""Least and greatest value."""


@dataclass(frozen=True)
class Scenes:
    """What rooms and noise are like.

    rooms: number of rooms. sources: noise sources in each; half of the sources are other clips of the batch, the others
    shaped noise. leak_db: level of the machine at the far microphone, relative to the near one, drawn for each room.
    snr_db: level of the clean sound above the noise at the near microphone, drawn for each scene.
    """

    rate_hz: int
    rooms: int
    sources: int
    leak_db: Range
    snr_db: Range

    def render(self, waves: Tensor, rng: torch.Generator, seed: int) -> tuple[Tensor, Tensor]:
        """Noisy pairs (batch, 2, time) and clean near waves (batch, time) of clean waves (batch, time).

        rng: draws the scenes; of the CPU, so that all devices draw the same. seed: of the rooms. Sounds wrap around:
        the end of a wave reverberates at its start.
        """
        responses = torch.from_numpy(room_pool(self.rooms, self.sources, self.leak_db, self.rate_hz, seed))
        responses = responses[torch.randint(len(responses), (len(waves),), generator=rng)].to(waves.device)
        clean = heard(waves[:, None], responses[:, :1])[:, 0]
        noise = heard(self._noise(waves, rng), responses[:, 1:]).sum(dim=1)
        low, high = self.snr_db
        snr_db = low + (high - low) * torch.rand(len(waves), generator=rng).to(waves)
        return clean + noise * noise_gain(clean[:, 0], noise[:, 0], snr_db)[:, None, None], clean[:, 0]

    def _noise(self, waves: Tensor, rng: torch.Generator) -> Tensor:
        """Waves (batch, source, time) of all noise sources, each with a power around 1."""
        n, length = waves.shape
        noise = shaped_noise(n * self.sources, length, self.rate_hz, rng).view(n, self.sources, length).to(waves)
        if n > 1:
            others = [_others(waves, rng) for _ in range(self.sources)]
            by_clip = torch.rand(n, self.sources, 1, generator=rng).to(waves.device) < 0.5
            noise = torch.where(by_clip, torch.stack(others, dim=1), noise)
        level_db = SHARE_DB * torch.randn(n, self.sources, 1, generator=rng).to(waves)
        return unit_power(noise) * 10 ** (level_db / 20)


@lru_cache(maxsize=4)
def room_pool(rooms: int, sources: int, leak_db: Range, rate_hz: int, seed: int) -> np.ndarray:
    """Responses (room, 1 + sources, 2, time), float32: of the machine, then of each noise source, at both microphones.

    At the near microphone that of the machine has the energy 1, and those of noise sources have it on average.
    """
    pool = []
    for i in range(rooms):
        rng = np.random.default_rng([seed, i])
        room = draw_room(rng)
        stand = draw_stand(rng, room)
        machine = machine_responses(room, stand, float(rng.uniform(leak_db[0], leak_db[1])), rate_hz, rng)
        places = np.stack([draw_noise_place(rng, room, stand) for _ in range(sources)])
        pool.append(np.concatenate([machine[None], noise_responses(room, stand, places, rate_hz, rng)]))
    longest = max(responses.shape[-1] for responses in pool)
    padded = [np.pad(responses, [(0, 0), (0, 0), (0, longest - responses.shape[-1])]) for responses in pool]
    return np.stack(padded).astype(np.float32)


def heard(sources: Tensor, responses: Tensor) -> Tensor:
    """Waves (batch, source, 2, time) at both microphones of waves (batch, source, time), which wrap around.

    responses: (batch, source, 2, time); what is longer than a wave is left out.
    """
    n = sources.shape[-1]
    spectrum = torch.fft.rfft(sources)[:, :, None] * torch.fft.rfft(responses, n)
    both: Tensor = torch.fft.irfft(spectrum, n)
    return both


def shaped_noise(count: int, length: int, rate_hz: int, rng: torch.Generator) -> Tensor:
    """Gaussian noise (count, length) whose power falls by a random power of the frequency."""
    spectrum = torch.fft.rfft(torch.randn(count, length, generator=rng))
    frequency = torch.fft.rfftfreq(length, 1 / rate_hz).clamp(min=LOWEST_HZ) / LOWEST_HZ
    steepness = STEEPEST * torch.rand(count, 1, generator=rng)
    noise: Tensor = torch.fft.irfft(spectrum * frequency ** (-steepness / 2), length)
    return noise


def noise_gain(clean: Tensor, noise: Tensor, snr_db: Tensor) -> Tensor:
    """Factor (batch,) of noise (batch, time) that puts it snr_db below the clean waves; 0 for silent clean waves."""
    ratio = _power(clean) / _power(noise).clamp(min=torch.finfo(noise.dtype).tiny)
    gain: Tensor = (ratio * 10 ** (-snr_db / 10)).sqrt()
    return gain


def unit_power(waves: Tensor) -> Tensor:
    """Waves (..., time) of mean square 1; silence stays silent."""
    return waves / _power(waves).clamp(min=torch.finfo(waves.dtype).tiny).sqrt()[..., None]


def _others(waves: Tensor, rng: torch.Generator) -> Tensor:
    """For every wave (batch, time) another one of the batch, from a random time on."""
    clip = int(torch.randint(1, len(waves), (), generator=rng))
    time = int(torch.randint(waves.shape[1], (), generator=rng))
    return waves.roll((clip, time), dims=(0, 1))


def _power(waves: Tensor) -> Tensor:
    return waves.square().mean(dim=-1)
