#!/usr/bin/env python3
"""Render a forest watch from real recordings, where the anomaly is a chainsaw: OUT/dev_data/raw/forest/*/*.wav

    python scripts/render_forest.py NOISE OUT [--snr-db 0] [--seed 0]

NOISE holds recordings KIND_*.ogg of rain, sea, fire, helicopter and chainsaw. A normal clip is five seconds of one
recording, at a level of +-6 dB: rain, sea and fire are the source domain, a helicopter in the air the target domain.
In an anomaly, a chainsaw runs in addition, at the given ratio to the rest. The first half of the recordings of a kind
is for training clips, the second half for test clips, so every test recording is new; the attribute `rec` names it
(`--group rec`). 150 + 10 training clips, 4 times 50 test clips. Deterministic for one set of options.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from render_two_microphones import RATE_HZ, load_noises, unit

DOMAINS = {"source": ("rain", "sea", "fire"), "target": ("helicopter",)}
ANOMALY = "chainsaw"
SECONDS = 5
RMS, LEVEL_DB = 0.05, 6.0
CLIPS = (
    *(("train", "normal", "source", 150), ("train", "normal", "target", 10)),
    *(("test", label, domain, 50) for label in ("normal", "anomaly") for domain in DOMAINS),
)

Noises = dict[str, list[np.ndarray]]


def part(noises: Noises, kind: str, numbers: range, rng: np.random.Generator) -> tuple[int, np.ndarray]:
    """Number of one of the recordings of a kind, and SECONDS of it from a random start on, with RMS 1."""
    number = int(rng.choice(numbers))
    wave = noises[kind][number]
    return number, unit(np.resize(np.roll(wave, rng.integers(len(wave))), SECONDS * RATE_HZ))


def clips(noises: Noises, snr_db: float, seed: int) -> Iterator[tuple[str, str, np.ndarray]]:
    """Split, file name and wave (time,) of every clip."""
    rng = np.random.default_rng(seed)
    count = 0
    for split, label, domain, n in CLIPS:
        for _ in range(n):
            kind = str(rng.choice(DOMAINS[domain]))
            half = len(noises[kind]) // 2
            numbers = range(half) if split == "train" else range(half, len(noises[kind]))
            number, wave = part(noises, kind, numbers, rng)
            if label == "anomaly":
                wave = wave + 10 ** (snr_db / 20) * part(noises, ANOMALY, range(len(noises[ANOMALY])), rng)[1]
            wave = RMS * 10 ** (rng.uniform(-LEVEL_DB, LEVEL_DB) / 20) * unit(wave)
            name = f"section_00_{domain}_{split}_{label}_{count:04d}_bg_{kind}_rec_{kind}{number}.wav"
            yield split, name, np.clip(wave, -1, 1)
            count += 1


def render(noise: Path, out: Path, snr_db: float, seed: int) -> int:
    """Write every clip below `out`; returns their number."""
    noises, count = load_noises(noise), 0
    for split, name, wave in clips(noises, snr_db, seed):
        folder = out / "dev_data" / "raw" / "forest" / split
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, wave, RATE_HZ, subtype="PCM_16")
        count += 1
    return count


def main() -> None:
    """Parse and render."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("noise", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--snr-db", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(f"{args.out}: {render(args.noise, args.out, args.snr_db, args.seed)} clips")


if __name__ == "__main__":
    main()
