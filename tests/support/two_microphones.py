"""A small plant that two microphones hear: machine and noise at the near one, noise and some machine at the far one."""

from pathlib import Path

import numpy as np
import soundfile
from scored_plant import DOMAIN, PITCH_HZ, RATE

LISTED = "0,1,0-1"


def stereo(machine: str, i: int, split: str, seconds: float, *, common: bool = True) -> np.ndarray:
    """Near and far (time, 2): a hum, of which a tenth leaks, in noise of one source with paths of its own.

    The level of the noise changes from recording to recording. Every second test recording has a whistle, that leaks as
    the hum does. With `common` False the microphones hear independent noise, and nothing can be subtracted.
    """
    rng = np.random.default_rng([PITCH_HZ[machine], i, split == "test"])
    n = round(seconds * RATE)
    t = np.arange(n) / RATE
    own = 0.02 * np.sin(2 * np.pi * PITCH_HZ[machine] * t) + 0.003 * rng.normal(size=n)
    own += 0.01 * np.sin(2 * np.pi * 3700 * t) if split == "test" and i % 2 else 0.0
    level = 0.05 * 10 ** rng.uniform(-0.5, 0.3)
    noise = level * rng.normal(size=n + 8)
    far = noise if common else level * rng.normal(size=n + 8)
    path = np.array([0.9, -0.4, 0.2])
    return np.stack([own + np.convolve(noise, path)[8 : n + 8], far[8:] + 0.1 * own], axis=1)


def record_two(
    root: Path,
    *,
    train: int = 10,
    test: int = 4,
    seconds: float = 0.6,
    machines: tuple[str, ...] = ("fan", "pump"),
    common: bool = True,
) -> Path:
    """Stereo recordings in the DCASE layout, a section of every machine."""
    for machine in machines:
        for split, n in (("train", train), ("test", test)):
            (root / machine / split).mkdir(parents=True, exist_ok=True)
            for i in range(n):
                label = ("normal", "anomaly")[split == "test" and i % 2]
                name = f"section_00_{DOMAIN[i % 4]}_{split}_{label}_{i:04d}_noAttribute.wav"
                soundfile.write(root / machine / split / name, stereo(machine, i, split, seconds, common=common), RATE)
    return root
