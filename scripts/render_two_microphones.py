#!/usr/bin/env python3
"""Render flights and background noise through rooms, for a near and a far microphone: OUT/dev_data/raw/UAV/*/*.wav

    python scripts/render_two_microphones.py FLIGHTS NOISE OUT [--snr-db -10] [--leak-db -10] [--noise-sources 1]
        [--diffuse 0] [--moving] [--reverberation 0.2,0.6] [--seed 0]

FLIGHTS holds recordings and their manifest.csv with the columns file, section, split and label. NOISE holds recordings
KIND_*.ogg of rain, sea, fire, helicopter and chainsaw. The background is the domain: rain, sea and fire are the source
domain, helicopter and chainsaw the target domain, which has three training clips per section. Channel 0 of the output
is the near microphone, channel 1 the far one.

Every section has its own room, in which the machine and both microphones stay where they are. The noise sources stand
at new places in every clip; the first of them plays the recording that a rendering with one microphone would add
(same draws), the others other recordings of the same domain. SNR: of the machine to all noise, at the near microphone.
The options of two microphones are those of `featstore simulate`. Deterministic for one set of options.
"""

import argparse
import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from scipy import fft

from featstore.plant.grid import rng_of
from featstore.plant.pair import Pair, heard, heard_moving, machine_responses, noise_responses, shares
from featstore.plant.rooms import REVERBERATION_S, Room, Stand, draw_noise_place, draw_room, draw_stand

RATE_HZ = 16_000
DOMAIN_NOISES = {"source": ("rain", "sea", "fire"), "target": ("helicopter", "chainsaw")}
TARGET_TRAIN_CLIPS = 3
RMS = 0.1
SENSOR_DB = -60.0
"""Level of the sensor noise of each microphone, relative to the near one's recording."""


@dataclass(frozen=True)
class Rendering:
    """Options of a rendering."""

    snr_db: float
    pair: Pair
    reverberation_s: tuple[float, float]
    seed: int


@dataclass(frozen=True)
class Flight:
    """One clip: its recording, its new name without the folder, and the wave of its first noise source."""

    file: str
    section: str
    split: str
    domain: str
    name: str
    noise: np.ndarray


def load_noises(folder: Path) -> dict[str, list[np.ndarray]]:
    """Background recordings at RATE_HZ by kind."""
    noises: dict[str, list[np.ndarray]] = {}
    for path in sorted(folder.glob("*.ogg")):
        wave, rate_hz = soundfile.read(path, dtype="float64")
        wave = wave.mean(axis=1) if wave.ndim == 2 else wave
        smooth = np.convolve(wave, np.ones(3) / 3, mode="same")
        position = np.arange(0, len(wave) - 1, rate_hz / RATE_HZ)
        noises.setdefault(path.name.split("_")[0], []).append(np.interp(position, np.arange(len(wave)), smooth))
    return noises


def flights(folder: Path, noises: dict[str, list[np.ndarray]], seed: int) -> Iterator[Flight]:
    """Every clip with its domain and noise, by the draws of a rendering with one microphone."""
    rng = np.random.default_rng(seed)
    counts: Counter[tuple[str, ...]] = Counter()
    with (folder / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        key = (row["section"], row["split"], row["label"])
        i = counts[key]
        counts[key] += 1
        target = i < TARGET_TRAIN_CLIPS if row["split"] == "train" else i % 2 == 1
        domain = "target" if target else "source"
        kind = str(rng.choice(DOMAIN_NOISES[domain]))
        noise = noises[kind][rng.integers(len(noises[kind]))]
        samples = soundfile.info(folder / row["file"]).frames
        noise = np.resize(np.roll(noise, rng.integers(len(noise))), samples)
        name = f"section_{row['section']}_{domain}_{row['split']}_{row['label']}_{i:04d}_bg_{kind}.wav"
        yield Flight(row["file"], row["section"], row["split"], domain, name, noise)


def room_and_stand(section: str, how: Rendering) -> tuple[Room, Stand]:
    """The room of a section, and where machine and microphones stand in it."""
    rng = rng_of(how.seed, "room", section)
    room = draw_room(rng, how.reverberation_s)
    return room, draw_stand(rng, room)


def rendered(wave: np.ndarray, flight: Flight, noises: dict[str, list[np.ndarray]], how: Rendering) -> np.ndarray:
    """Both channels (time, 2) of a clip, from the sound of its machine (time,)."""
    n = len(wave)
    room, stand = room_and_stand(flight.section, how)
    responses = machine_responses(room, stand, how.pair.leak_db, RATE_HZ, rng_of(how.seed, "machine", flight.section))
    machine = fft.irfft(heard(fft.rfft(unit(wave)), responses, n), n, axis=1)
    rng = rng_of(how.seed, "clip", flight.name)
    sources = [flight.noise, *(other_noise(rng, noises, flight.domain, n) for _ in range(how.pair.noise_sources - 1))]
    noise = np.zeros((2, n))
    for k, (source, share) in enumerate(zip(sources, shares(rng, len(sources)), strict=True)):
        own = unit(source).astype(np.float32)
        if k == 0 and how.pair.moving:
            pair = heard_moving(own, room, stand, RATE_HZ, rng)
        else:
            place = draw_noise_place(rng, room, stand)
            at = noise_responses(room, stand, place[None], RATE_HZ, rng)[0]
            pair = fft.irfft(heard(fft.rfft(own), at, n), n, axis=1)
        noise += np.sqrt(share) * pair / rms(pair[0])
    noise = np.sqrt(1 - how.pair.diffuse) * noise / rms(noise[0])
    if how.pair.diffuse:
        noise += np.sqrt(how.pair.diffuse) * np.stack([like(rng, flight.noise) for _ in range(2)])
    both = machine / rms(machine[0]) + noise * 10 ** (-how.snr_db / 20)
    both *= RMS / rms(both[0])
    both += RMS * 10 ** (SENSOR_DB / 20) * rng.normal(size=(2, n))
    return np.asarray((both * min(1.0, 0.99 / np.abs(both).max())).T)


def other_noise(rng: np.random.Generator, noises: dict[str, list[np.ndarray]], domain: str, samples: int) -> np.ndarray:
    """Part of a random background recording of a domain."""
    kind = noises[str(rng.choice(DOMAIN_NOISES[domain]))]
    wave = kind[rng.integers(len(kind))]
    return np.resize(np.roll(wave, rng.integers(len(wave))), samples)


def like(rng: np.random.Generator, wave: np.ndarray) -> np.ndarray:
    """Gaussian noise with the spectrum of a wave and RMS 1: the wave from everywhere."""
    return unit(fft.irfft(fft.rfft(rng.normal(size=len(wave))) * np.abs(fft.rfft(wave)), len(wave)))


def rms(wave: np.ndarray) -> float:
    """Root mean square, above 0."""
    return float(np.sqrt(np.mean(np.square(wave)) + 1e-12))


def unit(wave: np.ndarray) -> np.ndarray:
    """The wave with RMS 1."""
    return np.asarray(wave / rms(wave))


def render(flight_folder: Path, noise_folder: Path, out: Path, how: Rendering) -> int:
    """Write every clip below `out`; returns their number."""
    noises = load_noises(noise_folder)
    count = 0
    for flight in flights(flight_folder, noises, how.seed):
        wave, _ = soundfile.read(flight_folder / flight.file, dtype="float64")
        folder = out / "dev_data" / "raw" / "UAV" / flight.split
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / flight.name, rendered(wave, flight, noises, how), RATE_HZ, subtype="PCM_16")
        count += 1
    return count


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of a rendering."""
    parser.add_argument("--snr-db", type=float, default=-10.0)
    parser.add_argument("--leak-db", type=float, default=-10.0)
    parser.add_argument("--noise-sources", type=int, default=1)
    parser.add_argument("--diffuse", type=float, default=0.0)
    parser.add_argument("--moving", action="store_true")
    parser.add_argument("--reverberation", default=",".join(map(str, REVERBERATION_S)), metavar="FROM,TO")
    parser.add_argument("--seed", type=int, default=0)


def rendering(args: argparse.Namespace) -> Rendering:
    """The rendering of parsed options."""
    shortest, longest = map(float, args.reverberation.split(","))
    pair = Pair(args.leak_db, args.noise_sources, args.diffuse, args.moving)
    return Rendering(args.snr_db, pair, (shortest, longest), args.seed)


def main() -> None:
    """Parse and render."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("flights", type=Path)
    parser.add_argument("noise", type=Path)
    parser.add_argument("out", type=Path)
    add_options(parser)
    args = parser.parse_args()
    count = render(args.flights, args.noise, args.out, rendering(args))
    print(f"{args.out}: {count} clips of two channels")


if __name__ == "__main__":
    main()
